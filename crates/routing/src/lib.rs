//! Who is alive and who holds what: a distributed hash table after Kademlia, and gossip.
//!
//! [`Router`] is a [`proto::Machine`]: words of other nodes in, words and rows out. It only routes;
//! each concern is a module:
//!
//! ```text
//!  Frame ─▶ router ─┬─▶ links    who is connected, what was asked and not answered
//!                   ├─▶ table    contacts by distance           (Kademlia's buckets)
//!                   ├─▶ lookup   whom to ask next, on three paths
//!                   ├─▶ kept     records that are kept for others
//!                   └─▶ gossip   views, the tree, facts about nodes, who is dead
//! ```
//!
//! Specified in `spec/routing.md`.

mod command;
mod gossip;
mod kept;
mod links;
mod lookup;
mod pace;
mod packed;
mod record;
mod router;
mod space;
mod table;

pub use command::{Defences, LookedUp, RouterCommand, RouterConfig, RouterCounters, RouterEvent};
pub use crypto::{NodeDraft, NodeRecord, RecordError, Suspicion, prove_work};
pub use router::Router;
