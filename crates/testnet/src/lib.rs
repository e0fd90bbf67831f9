//! Networks of machines over virtual time, for tests alone.
//!
//! A [`Host`] is one machine over rows in memory, which a crash sets back to the last sync. A
//! [`Net`] joins hosts: each frame is encoded and decoded on its hop, takes [`Net::latency`], and
//! passes a hook that may lose, hold, answer or replace it. There are no sockets, and time only
//! passes when the test says so. Random worlds with faults of disks and networks are the
//! simulator's business; here a test says what happens.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    missing_debug_implementations,
    reason = "a test may panic, and prints no machine"
)]

mod either;
pub use either::Either;
mod host;
pub use host::Host;
mod net;
pub use net::{Fate, Keys, Net, RELAYED, Sent};
#[cfg(test)]
mod tests;

use proto::Instant;

/// When every network begins.
pub const START: Instant = Instant::from_secs(1_800_000_000);
