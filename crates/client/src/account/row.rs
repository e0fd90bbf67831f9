//! The row of the own account.

use crypto::{
    SigningKey,
    identity::{Authority, Bundle, InboxKey},
};
use prost::Message;
use proto::{AccountId, NodeAddress, NodeId, Rows, Table};

use super::previous::{PreviousHomeRow, PreviousHomes};
use crate::{Event, rows, step::Step};

/// One row: this device and its account. Key: empty.
const ACCOUNT: Table = Table(1);

/// This device and its account.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AccountRow {
    #[prost(bytes = "vec", tag = "1")]
    authority: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    device_seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    inbox_seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    /// A newer bundle, not ours, that replaces this device's.
    #[prost(bytes = "vec", tag = "6")]
    superseded_by: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    account: Vec<u8>,
    /// While the account moves: the record that the next home has to accept.
    #[prost(bytes = "vec", tag = "9")]
    next: Vec<u8>,
    /// Homes that the account has left and that have something to be told or to hand over.
    #[prost(message, repeated, tag = "10")]
    previous: Vec<PreviousHomeRow>,
    /// Homes that the user has pinned.
    #[prost(bytes = "vec", repeated, tag = "11")]
    pinned: Vec<Vec<u8>>,
    /// Why the next home does not accept the account.
    #[prost(string, tag = "12")]
    migration_trouble: String,
    /// Homes that don't serve the account, and why.
    #[prost(message, repeated, tag = "13")]
    refusals: Vec<RefusalRow>,
    /// Nodes that have to hold an entry before it is called stored; 0: two.
    #[prost(uint32, tag = "14")]
    acks_needed: u32,
}

/// A home does not serve the account.
#[derive(Clone, PartialEq, Message)]
struct RefusalRow {
    #[prost(bytes = "vec", tag = "1")]
    node: Vec<u8>,
    #[prost(string, tag = "2")]
    why: String,
}

pub(crate) fn load(rows: &dyn Rows) -> Option<AccountRow> {
    rows::load(rows, ACCOUNT, b"")
}

/// What is kept.
impl AccountRow {
    pub(super) fn new(
        authority: &Authority,
        device_seed: [u8; 32],
        inbox_seed: [u8; 32],
        bundle: &Bundle,
        name: String,
    ) -> Self {
        Self {
            authority: authority.encode().to_vec(),
            device_seed: device_seed.to_vec(),
            inbox_seed: inbox_seed.to_vec(),
            bundle: bundle.as_bytes().to_vec(),
            name,
            account: bundle.account().0.to_vec(),
            ..Self::default()
        }
    }

    pub(super) fn save(&self, step: &mut Step<'_>) {
        step.put(ACCOUNT, b"", self.encode_to_vec());
        step.emit(Event::Account);
    }

    pub(super) fn set_bundle(&mut self, bundle: &Bundle) {
        self.bundle = bundle.as_bytes().to_vec();
    }

    /// Keeps which record the next home has to accept, and which homes were left.
    pub(super) fn set_migration(&mut self, next: Option<&Bundle>, previous: &PreviousHomes) {
        self.next = next.map(|next| next.as_bytes().to_vec()).unwrap_or_default();
        self.previous = previous.to_rows();
    }

    /// Keeps why the next home does not accept the account.
    pub(super) fn set_migration_trouble(&mut self, why: String) {
        self.migration_trouble = why;
    }

    pub(super) fn pin<'a>(&mut self, nodes: impl Iterator<Item = &'a NodeId>) {
        self.pinned = nodes.map(|node| node.0.to_vec()).collect();
    }

    pub(super) fn set_acks_needed(&mut self, acks: u32) {
        self.acks_needed = acks;
    }

    /// A newer bundle, not ours, replaces this device's.
    pub(super) fn supersede(&mut self, newer: &Bundle) {
        self.superseded_by = newer.as_bytes().to_vec();
    }

    /// Keeps why a home does not serve the account, or that it does, and forgets homes that are not
    /// active any more; returns whether that changes anything.
    pub(super) fn set_refusal(
        &mut self,
        node: &NodeId,
        why: Option<String>,
        active: &[NodeAddress],
    ) -> bool {
        let others = self.refusals.iter().filter(|refusal| {
            let is_of = |home: &NodeAddress| home.node.0 == *refusal.node;
            refusal.node != node.0 && active.iter().any(is_of)
        });
        let this = why.map(|why| RefusalRow { node: node.0.to_vec(), why });
        let refusals: Vec<_> = others.cloned().chain(this).collect();
        let changes = self.refusals != refusals;
        self.refusals = refusals;
        changes
    }
}

/// What is known.
impl AccountRow {
    pub(super) fn authority(&self) -> Option<Authority> {
        Authority::decode(&self.authority).ok()
    }

    pub(super) fn device(&self) -> Option<SigningKey> {
        Some(SigningKey::from_seed(self.device_seed.as_slice().try_into().ok()?))
    }

    pub(super) fn inbox(&self) -> Option<InboxKey> {
        Some(InboxKey::from_seed(self.inbox_seed.as_slice().try_into().ok()?))
    }

    pub(super) fn previous(&self) -> PreviousHomes {
        PreviousHomes::load(&self.previous)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn migration_trouble(&self) -> &str {
        &self.migration_trouble
    }

    /// Returns the newest bundle that counts.
    pub(crate) fn bundle(&self) -> Option<Bundle> {
        Bundle::verify(&self.bundle).ok()
    }

    /// Returns the bundle with the record that the next home has to accept.
    pub(crate) fn next(&self) -> Option<Bundle> {
        (!self.next.is_empty()).then(|| Bundle::verify(&self.next).ok()).flatten()
    }

    /// Returns whether a newer bundle than this device's was published.
    pub(crate) fn is_locked_out(&self) -> bool {
        !self.superseded_by.is_empty()
    }

    pub(crate) fn account(&self) -> Option<AccountId> {
        AccountId::try_from(self.account.as_slice()).ok()
    }

    /// Returns the homes that were left and have something to be told or to hand over.
    pub(crate) fn previous_homes(&self) -> Vec<NodeAddress> {
        self.previous().addresses().cloned().collect()
    }

    pub(crate) fn pinned(&self) -> impl Iterator<Item = NodeId> {
        self.pinned.iter().flat_map(|node| NodeId::try_from(node.as_slice()))
    }

    /// Returns why a home does not serve the account, if it does not.
    pub(crate) fn refusal_of(&self, node: &NodeId) -> Option<&str> {
        let refusal = self.refusals.iter().find(|refusal| refusal.node == node.0)?;
        Some(&refusal.why)
    }

    /// Returns how many nodes have to hold an entry before it is called stored.
    pub(crate) fn acks_needed(&self) -> u32 {
        self.acks_needed.max(ACKS_NEEDED_MIN)
    }
}

/// Nodes that have to hold an entry before it is called stored, at least: any one of them may be
/// lost.
const ACKS_NEEDED_MIN: u32 = 2;
