//! The row of the own account.

use crypto::identity::Bundle;
use prost::Message;
use proto::{AccountId, NodeAddress, NodeId, Rows, Table, wire};

use crate::{Event, rows, step::Step};

/// One row: this device and its account. Key: empty.
const ACCOUNT: Table = Table(1);

/// This device and its account.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AccountRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) authority: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) device_seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) inbox_seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(crate) name: String,
    /// A newer bundle, not ours, that replaces this device's.
    #[prost(bytes = "vec", tag = "6")]
    pub(super) superseded_by: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    pub(super) account: Vec<u8>,
    /// While the account moves: the record that the next home has to accept.
    #[prost(bytes = "vec", tag = "9")]
    pub(super) next: Vec<u8>,
    /// Homes that the account has left and that have something to be told or to hand over.
    #[prost(message, repeated, tag = "10")]
    pub(super) previous: Vec<PreviousHomeRow>,
    /// Homes that the user has pinned.
    #[prost(bytes = "vec", repeated, tag = "11")]
    pub(super) pinned: Vec<Vec<u8>>,
    /// Why the next home does not accept the account.
    #[prost(string, tag = "12")]
    pub(crate) migration_trouble: String,
    /// Homes that don't serve the account, and why.
    #[prost(message, repeated, tag = "13")]
    pub(super) refusals: Vec<RefusalRow>,
    /// Nodes that have to hold an entry before it is called stored; 0: two.
    #[prost(uint32, tag = "14")]
    pub(super) acks_needed: u32,
}

/// A home does not serve the account.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RefusalRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) node: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) why: String,
}

/// A home that the account has left.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PreviousHomeRow {
    #[prost(message, optional, tag = "1")]
    home: Option<wire::NodeAddress>,
    /// When it was left.
    #[prost(uint64, tag = "2")]
    since_s: u64,
}

/// A home that the account has left.
#[derive(Clone, Debug)]
pub(super) struct PreviousHome {
    pub(super) home: NodeAddress,
    pub(super) since_s: u64,
    /// It knows the newer record and lets no device in any more.
    pub(super) is_informed: bool,
    /// The last sequence that its inbox has for this account.
    pub(super) end: Option<u64>,
}

impl PreviousHome {
    pub(super) fn load(row: &PreviousHomeRow) -> Option<Self> {
        let home = NodeAddress::try_from(row.home.as_ref()?).ok()?;
        Some(Self { home, since_s: row.since_s, is_informed: false, end: None })
    }

    pub(super) fn to_row(&self) -> PreviousHomeRow {
        let home = Some(wire::NodeAddress::from(&self.home));
        PreviousHomeRow { home, since_s: self.since_s }
    }
}

pub(crate) fn load(rows: &dyn Rows) -> Option<AccountRow> {
    rows::load(rows, ACCOUNT, b"")
}

impl AccountRow {
    pub(super) fn save(&self, step: &mut Step<'_>) {
        step.rows.put(ACCOUNT, b"", self.encode_to_vec());
        step.event(Event::Account);
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

    /// Returns the account's id.
    pub(crate) fn account(&self) -> Option<AccountId> {
        AccountId::try_from(self.account.as_slice()).ok()
    }

    /// Returns the homes that were left and have something to be told or to hand over.
    pub(crate) fn previous_homes(&self) -> Vec<NodeAddress> {
        let previous = self.previous.iter().filter_map(PreviousHome::load);
        previous.map(|previous| previous.home).collect()
    }

    /// Returns the homes that the user has pinned.
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
