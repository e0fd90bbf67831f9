//! Channels: logs that are open on a connection.

use crypto::SigningKey;
use proto::{AccountId, Cursor, LogId, NodeId, PublicKey, Ranking};

/// Why a log is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelUse {
    /// The own inbox: read, and the way to everything an account does at its home.
    Inbox,
    /// A conversation: read, and written in the epoch of the channel's key.
    Read,
    /// A conversation: written in a later epoch.
    Write,
    /// A conversation at the secondary home, which announces what it holds.
    Have,
    /// The inbox of someone who gave an invite.
    Invited(AccountId),
    /// The inbox at a home that the account has left.
    PreviousInbox,
    /// A conversation, only to announce its ranking, with the write key so many epochs back.
    Announce(usize),
}

/// Which channel of which node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelAt<'a> {
    pub(crate) node: &'a NodeId,
    pub(crate) number: u32,
}

/// A log that is open, or is being opened, on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channel {
    pub(crate) log: LogId,
    pub(crate) key: PublicKey,
    pub(crate) used_for: ChannelUse,
    pub(crate) open: bool,
    /// The last sequence that the node delivered or announced on it.
    last: u64,
    unacknowledged: Deliveries,
}

/// Deliveries of which the node has not been told that they arrived.
#[derive(Clone, Copy, Debug, Default)]
struct Deliveries {
    sequence: u64,
    count: u64,
}

impl Channel {
    pub(crate) fn new(log: LogId, key: PublicKey, used_for: ChannelUse) -> Self {
        let unacknowledged = Deliveries::default();
        Self { log, key, used_for, open: false, last: 0, unacknowledged }
    }

    /// Returns whether it was opened for this use.
    pub(crate) fn serves(&self, log: &LogId, used_for: ChannelUse) -> bool {
        self.log == *log && self.used_for == used_for
    }

    /// Returns whether entries of a conversation's log can be fetched on it.
    pub(crate) fn fetches(&self, log: &LogId) -> bool {
        self.log == *log && matches!(self.used_for, ChannelUse::Read | ChannelUse::Have)
    }

    /// Returns whether it was opened to announce a ranking.
    pub(crate) fn announces(&self, log: &LogId) -> bool {
        self.log == *log && matches!(self.used_for, ChannelUse::Announce(_))
    }

    /// Notes the sequence of what the node delivers or announces; returns whether it grows, as it
    /// does on every channel of an honest node.
    pub(super) fn advance(&mut self, sequence: u64) -> bool {
        let before = std::mem::replace(&mut self.last, sequence);
        sequence > before
    }

    /// Notes that everything up to this sequence has arrived; returns how many deliveries the node
    /// has not been told of.
    pub(super) fn on_delivered(&mut self, sequence: u64) -> u64 {
        let count = self.unacknowledged.count.saturating_add(1);
        self.unacknowledged = Deliveries { sequence, count };
        count
    }

    /// Takes what the node is to be told: up to which sequence all has arrived.
    pub(super) fn take_unacknowledged(&mut self) -> Option<u64> {
        let Deliveries { sequence, count } = std::mem::take(&mut self.unacknowledged);
        (count > 0).then_some(sequence)
    }

    /// Returns whether the node has yet to be told of deliveries.
    pub(super) fn has_unacknowledged(&self) -> bool {
        self.unacknowledged.count > 0
    }
}

/// A log to open.
pub(crate) struct OpenLog<'a> {
    pub(crate) log: LogId,
    pub(crate) key: &'a SigningKey,
    pub(crate) used_for: ChannelUse,
    pub(crate) genesis: Option<Vec<u8>>,
    pub(crate) tail: Option<Cursor>,
    pub(crate) ranking: Option<Ranking>,
}

impl<'a> OpenLog<'a> {
    /// A log that exists, to be written only.
    pub(crate) fn to_write(log: LogId, key: &'a SigningKey, used_for: ChannelUse) -> Self {
        Self { log, key, used_for, genesis: None, tail: None, ranking: None }
    }
}
