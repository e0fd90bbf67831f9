//! Previous homes: those that the account has left. They have to be told the newer record, and to
//! hand over the rest of their inboxes. Specified in `spec/delivery.md`, section 7.

use prost::Message;
use proto::{NodeAddress, NodeId, limits, wire};

/// A home that the account has left.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PreviousHomeRow {
    #[prost(message, optional, tag = "1")]
    home: Option<wire::NodeAddress>,
    /// When it was left.
    #[prost(uint64, tag = "2")]
    since_s: u64,
}

/// The homes that the account has left.
#[derive(Debug, Default)]
pub(super) struct PreviousHomes(Vec<PreviousHome>);

#[derive(Debug)]
struct PreviousHome {
    home: NodeAddress,
    since_s: u64,
    /// It knows the newer record and lets no device in any more.
    is_informed: bool,
    /// The last sequence that its inbox has for this account.
    end: Option<u64>,
}

impl PreviousHomes {
    pub(super) fn load(rows: &[PreviousHomeRow]) -> Self {
        let previous = |row: &PreviousHomeRow| {
            let home = NodeAddress::try_from(row.home.as_ref()?).ok()?;
            Some(PreviousHome { home, since_s: row.since_s, is_informed: false, end: None })
        };
        Self(rows.iter().filter_map(previous).collect())
    }

    pub(super) fn to_rows(&self) -> Vec<PreviousHomeRow> {
        let row = |previous: &PreviousHome| {
            let home = Some(wire::NodeAddress::from(&previous.home));
            PreviousHomeRow { home, since_s: previous.since_s }
        };
        self.0.iter().map(row).collect()
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = &NodeAddress> {
        self.0.iter().map(|previous| &previous.home)
    }

    pub(super) fn contains(&self, node: &NodeId) -> bool {
        self.addresses().any(|home| home.node == *node)
    }

    /// Adds a home that is left now. Of too many the oldest are forgotten.
    pub(super) fn add(&mut self, home: NodeAddress, since_s: u64) {
        self.remove(&home.node);
        self.0.push(PreviousHome { home, since_s, is_informed: false, end: None });
        let excess = self.0.len().saturating_sub(PREVIOUS_MAX);
        self.0.drain(..excess);
    }

    pub(super) fn remove(&mut self, node: &NodeId) {
        self.0.retain(|previous| previous.home.node != *node);
    }

    /// Forgets homes that were left so long ago that no contact comes there any more; returns
    /// whether there was one.
    pub(super) fn forget_old(&mut self, now_s: u64) -> bool {
        let since = now_s.saturating_sub(KEPT_S);
        let before = self.0.len();
        self.0.retain(|previous| previous.since_s >= since);
        self.0.len() < before
    }

    /// There is a newer record, of which none of them knows.
    pub(super) fn on_record(&mut self) {
        self.0.iter_mut().for_each(|previous| previous.is_informed = false);
    }

    /// A home knows the newer record; returns whether it is one of these.
    pub(super) fn on_informed(&mut self, node: &NodeId) -> bool {
        let previous = self.find(node).map(|previous| previous.is_informed = true);
        previous.is_some()
    }

    /// Returns whether one that `is_up` has yet to be told of the newer record.
    pub(super) fn has_uninformed(&self, is_up: impl Fn(&NodeId) -> bool) -> bool {
        self.0.iter().any(|previous| !previous.is_informed && is_up(&previous.home.node))
    }

    /// The inbox that was left is open, up to `end`.
    pub(super) fn on_opened(&mut self, node: &NodeId, end: u64) {
        if let Some(previous) = self.find(node) {
            previous.end = Some(end);
        }
    }

    /// Returns whether the inbox that was left has nothing behind this sequence.
    pub(super) fn ends_at(&self, node: &NodeId, sequence: u64) -> bool {
        let mut ends = self.0.iter().filter(|previous| previous.home.node == *node);
        ends.any(|previous| previous.end.is_some_and(|end| sequence >= end))
    }

    fn find(&mut self, node: &NodeId) -> Option<&mut PreviousHome> {
        self.0.iter_mut().find(|previous| previous.home.node == *node)
    }
}

/// Homes that are remembered because they were left: as many as a record names.
const PREVIOUS_MAX: usize = limits::RANKING_MAX;
/// For how long: an invite that is older has most likely expired.
const KEPT_S: u64 = 60 * 24 * 3600;
