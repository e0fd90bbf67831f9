//! Values on the command line that several commands share.

use std::time::Duration;

use clap::Args;
use proto::{AccountId, Key, NodeId};

/// Whose record to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sought {
    Account(AccountId),
    Node(NodeId),
}

impl Sought {
    /// Returns the key under which the record is stored in the network.
    pub(crate) fn key(self) -> Key {
        match self {
            Self::Account(account) => account.into(),
            Self::Node(node) => node.into(),
        }
    }
}

/// How long to wait for a node.
#[derive(Args, Clone, Copy)]
pub(crate) struct WaitArgs {
    /// Wait this many seconds for a node to accept
    #[arg(
        long,
        default_value_t = 30,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    timeout: u32,
    /// Don't wait; the rest is done when the account is next online
    #[arg(long)]
    no_wait: bool,
}

impl WaitArgs {
    /// Returns the number of seconds to wait.
    pub(crate) fn seconds(self) -> u32 {
        if self.no_wait { 0 } else { self.timeout }
    }
}

/// Parses an account or a node, with or without its address.
pub(super) fn sought(text: &str) -> Result<Sought, String> {
    let account = text.parse().map(Sought::Account);
    let node = text.split('@').next().unwrap_or_default().parse().map(Sought::Node);
    let wrong = |_| format!("`{text}` is neither an account (siskin1…) nor a node (sisknode1…)");
    account.or(node).map_err(wrong)
}

/// Parses a duration such as `90s`, `30m`, `12h` or `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration, such as 30m, 12h or 7d");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text.strip_suffix(unit).unwrap_or_default().parse().map_err(|_| wrong())?;
    let total = number.checked_mul(seconds).filter(|total| (1..=TIME_MAX).contains(total));
    total.map(Duration::from_secs).ok_or_else(wrong)
}

/// Ten years.
const TIME_MAX: u64 = 10 * 366 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "7", "d", "0s", "-1h", "1y", "99999999999d", "1hh", "7µ"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
