//! One service node: it stores inboxes and conversation logs of people whose names, contacts and
//! texts it can't know, and serves them to any peer that proves one of their keys.
//!
//! [`Node`] is a [`proto::Machine`]: frames in, frames and rows out. It only routes; each concern
//! is a module:
//!
//! ```text
//!  Frame ─▶ session   which peer, which log is on that channel, which key was proved
//!             ├─▶ account, key_package, invite    what an account keeps here
//!             ├─▶ log        check, store, read      ─▶ Commit   ─▶ Accepted
//!             │    └─▶ quota what may be stored
//!             ├─▶ tail       which readers follow   ─▶ Deliver
//!             ├─▶ replica    which nodes lack what  ─▶ Append to them
//!             ├─▶ acks       which devices await acks ─▶ NodeAck
//!             ├─▶ anti_entropy  what either node lacks ─▶ Compare
//!             ├─▶ placement  which nodes should hold a log ─▶ Recruit
//!             └─▶ routes     the router: other nodes, records, look-ups
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
