//! One service node: it keeps inboxes and conversation logs for people whose names, contacts and
//! words it can't know, hands them to whoever proves a key of theirs, and refuses the rest.
//!
//! [`Node`] is a [`proto::Machine`]: frames in, frames and rows out. It only routes; each concern
//! is a module:
//!
//! ```text
//!  Frame ─▶ session   who is this, which log is that handle, which key was proved
//!             ├─▶ account, key_package, invite    what an account keeps here
//!             ├─▶ log        check, store, read      ─▶ Commit   ─▶ Accepted
//!             │    └─▶ quota what it may cost
//!             ├─▶ tail       who follows, how far    ─▶ Deliver
//!             ├─▶ replica    which nodes lack what   ─▶ Append to them
//!             ├─▶ receipts   who wants to hear that others have it ─▶ Held
//!             ├─▶ compare    what others lack or this one ─▶ Compare
//!             └─▶ routes     other nodes, what they keep, where accounts are found
//! ```
//!
//! Specified in `spec/frames.md`, `spec/logs.md` and `spec/routing.md`.

mod account;
mod acks;
mod anti_entropy;
mod batch_verifier;
mod cache;
mod command;
mod config;
mod counters;
mod fingerprint;
mod invite;
mod key_package;
mod layout;
mod log;
mod node;
mod placement;
mod quota;
mod replica;
mod restore;
mod routes;
mod scrub;
mod session;
mod status;
mod tail;
mod verify;

pub use command::{NodeCommand, NodeEvent};
pub use config::{NodeConfig, Registration};
pub use counters::{Counters, Dropped};
pub use layout::{LAYOUT_NAME, LAYOUT_VERSION};
pub use node::Node;
pub use restore::Restore;
pub use status::{Drained, NodePeer, Status};
pub use verify::{Fault, Verified, Wrong, verify};
