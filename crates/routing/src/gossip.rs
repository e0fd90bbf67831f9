//! Stub.

use crate::NodeRecord;
use proto::{AccountId, Contact, Gauge, Instant, NodeId, Query};

#[derive(Debug)]
pub(crate) struct Gossip;
#[derive(Debug)]
pub(crate) enum GossipOutput {
    Say(NodeId, proto::Gossip),
    Connect(Contact),
    Release(NodeId),
    Probe { of: Contact, through: NodeId },
    News(News),
    Asked(Query),
}
#[derive(Debug)]
pub(crate) enum News {
    Node(NodeRecord),
    Leaving(NodeRecord),
    Dead(NodeId),
    SuspectedMyself,
}
#[derive(Debug)]
pub(crate) struct GossipConfig {
    pub(crate) key: crypto::SigningKey,
    pub(crate) nonce: u64,
    pub(crate) work_bits: u32,
}
impl Gossip {
    pub(crate) fn new(_: GossipConfig, _: rand_chacha::ChaCha20Rng) -> Self {
        Self
    }
    pub(crate) fn set_own(&mut self, _: NodeRecord, _: Instant) {}
    pub(crate) fn join(&mut self, _: Contact, _: Instant) {}
    pub(crate) fn connected(&mut self, _: NodeId, _: &NodeRecord, _: Instant) {}
    pub(crate) fn disconnected(&mut self, _: NodeId, _: Instant) {}
    pub(crate) fn word(&mut self, _: NodeId, _: proto::Gossip, _: Instant) {}
    pub(crate) fn lost(&mut self, _: &NodeRecord, _: Instant) {}
    pub(crate) fn probed(&mut self, _: NodeId, _: NodeId, _: Option<bool>, _: Instant) {}
    pub(crate) fn query(&mut self, _: AccountId, _: Instant) -> bool {
        false
    }
    pub(crate) fn answered(&mut self, _: AccountId) {}
    pub(crate) fn is_neighbour(&self, _: &NodeId) -> bool {
        false
    }
    pub(crate) fn contacts(&self) -> impl Iterator<Item = &Contact> {
        [].into_iter()
    }
    pub(crate) fn leave(&mut self, _: Instant) {}
    pub(crate) fn timeout(&mut self, _: Instant) {}
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub(crate) fn poll(&mut self) -> Option<GossipOutput> {
        None
    }
    pub(crate) fn gauges(&self) -> Vec<Gauge> {
        Vec::new()
    }
    pub(crate) fn state_bytes(&self) -> usize {
        0
    }
}
