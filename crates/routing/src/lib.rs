//! Who is alive and who holds what: a distributed hash table after Kademlia, and gossip.
//!
//! [`Router`] is a [`proto::Machine`]: messages of other nodes in, messages and rows out. It only
//! dispatches; each concern is a module:
//!
//! ```text
//!  Frame ─▶ router ─┬─▶ links         connections and pending requests
//!                   ├─▶ table         contacts by distance           (Kademlia's buckets)
//!                   ├─▶ lookup        which node to ask next, on three paths
//!                   ├─▶ record_store  records kept for others
//!                   └─▶ gossip        views, the tree, facts about nodes, failures
//! ```
//!
//! Specified in `spec/routing.md`.

mod command;
mod compact;
mod gossip;
mod links;
mod lookup;
mod record;
mod record_store;
mod router;
mod rtt;
mod space;
mod table;

pub use command::{Defences, LookedUp, RouterCommand, RouterConfig, RouterCounters, RouterEvent};
pub use crypto::node::{NodeRecord, RecordError, Suspicion, UnsignedNodeRecord};
pub use router::Router;
