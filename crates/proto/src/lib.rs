//! The words of the Siskin protocol: ids, envelopes, frames, contents, limits, and the [`Machine`]
//! trait with the rows it lives on. No logic: the crates above send, store and show.
//!
//! ```text
//!  bytes ──codec──▶ Frame ──▶ ┌─────────┐ ──▶ Commit(WriteBatch)   durable before
//!                   Timeout ▶ │ Machine │ ──▶ Transmit(peer, Frame)  anything after it leaves
//!                   Command ▶ └────┬────┘ ──▶ Event
//!                                  └── reads ──▶ Rows
//! ```
//!
//! Everything a peer sends is parsed here once, into types that can't hold nonsense; what does not
//! parse is a [`DecodeError`]. The specification is in `spec/`, the wire schema in `spec/proto/`.

mod codec;
mod compare;
mod content;
mod decode;
mod envelope;
mod frame;
mod gauge;
mod id;
pub mod limits;
mod machine;
mod network;
mod rate;
mod reach;
mod routing;
mod rows;
mod time;
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated; documented in spec/proto")]
#[rustfmt::skip]
pub mod wire;

pub use codec::{FrameReader, write_frame};
pub use compare::{Compare, Part};
pub use content::{Body as ContentBody, Content, Receipt};
pub use decode::DecodeError;
pub use envelope::{Envelope, Expiry, Extension, Head, Kind, LogGenesis};
pub use frame::{
    Body, Code, Cursor, Entry, Frame, Hello, Lane, NodeAck, Open, PutKeyPackages, Ranking, Read,
    Recruit, Replicate,
};
pub use gauge::Gauge;
pub use id::{
    AccountId, ConversationId, EnvelopeId, Key, LogId, NodeAddress, NodeId, ParseError, Peer,
    PublicKey, Reference,
};
pub use machine::{Input, Machine, OpenError, Output, Seed};
pub use network::{Network, is_public, networks};
pub use rate::RateLimiter;
pub use reach::{Reach, Reached, RelayPort, RelayToken};
pub use routing::{
    Contact, Fact, FactId, Gossip, Hop, HopOutcome, Query, Record, Routing, pack, unpack,
};
pub use rows::{Direction, Rows, Table, Transaction, Visit, WriteBatch};
pub use time::Instant;

/// The protocol versions this build speaks, oldest and newest.
pub const VERSIONS: (u32, u32) = (1, 1);

/// Returns the highest version both ranges hold, or nothing if they don't meet.
pub fn negotiate(ours: (u32, u32), theirs: (u32, u32)) -> Option<u32> {
    let highest = ours.1.min(theirs.1);
    (highest >= ours.0 && highest >= theirs.0 && theirs.0 <= theirs.1).then_some(highest)
}

#[test]
fn negotiates_the_highest_common_version() {
    assert_eq!(negotiate((1, 3), (2, 9)), Some(3));
    assert_eq!(negotiate((1, 1), (2, 9)), None);
    assert_eq!(negotiate((3, 4), (1, 2)), None);
    assert_eq!(negotiate((1, 4), (3, 2)), None, "a range turned round is no range");
}
