//! The frontier of a conversation: the edge of what is shown here, and how much of it was read.

use std::collections::BTreeSet;

use prost::Message;
use proto::{LogId, Reference, Rows, Table, limits};

use crate::{
    rows::{self, TimelineKey},
    step::Step,
};

/// Log → [`FrontierRow`].
const FRONTIERS: Table = Table(6);

/// What of a conversation changes with every message.
#[derive(Clone, PartialEq, Message)]
struct FrontierRow {
    /// Position ‖ id of shown entries that nothing shown depends on.
    #[prost(bytes = "vec", repeated, tag = "1")]
    heads: Vec<Vec<u8>>,
    #[prost(uint64, tag = "2")]
    arrivals: u64,
    /// Position ‖ id up to which the user has read.
    #[prost(bytes = "vec", tag = "3")]
    read: Vec<u8>,
    #[prost(bool, tag = "4")]
    unacknowledged: bool,
    /// Texts of the contact behind `read`; not there if they were never counted.
    #[prost(uint64, optional, tag = "5")]
    unread: Option<u64>,
}

/// The edge of what is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frontier {
    /// Shown entries on which nothing shown depends.
    pub(crate) heads: BTreeSet<TimelineKey>,
    pub(crate) arrivals: u64,
    /// Up to where the user has read.
    pub(crate) read: TimelineKey,
    /// Texts of the contact behind that, once they were counted.
    pub(crate) unread: Option<u64>,
    /// Something arrived of which the author has not been told.
    pub(crate) unacknowledged: bool,
}

/// Where the next entry of this device stands.
pub(super) struct NextEntry {
    pub(crate) position: u64,
    pub(crate) dependencies: Vec<Reference>,
}

impl Frontier {
    /// Notes that an entry is shown.
    pub(super) fn show(&mut self, key: TimelineKey, dependencies: &BTreeSet<&Reference>) {
        self.arrivals = self.arrivals.saturating_add(1);
        self.heads.retain(|head| !dependencies.contains(&head.id.reference()));
        self.add_heads([key]);
    }

    /// Adds heads. Of too many those with the smallest positions go: they stay shown, but nothing
    /// said here will depend on them.
    pub(super) fn add_heads(&mut self, heads: impl IntoIterator<Item = TimelineKey>) {
        self.heads.extend(heads);
        while self.heads.len() > limits::HEADS_MAX {
            self.heads.pop_first();
        }
    }

    pub(crate) fn load(rows: &dyn Rows, log: &LogId) -> Option<Self> {
        Some(Self::from_row(&rows::load(rows, FRONTIERS, &log.0)?))
    }

    pub(super) fn save(&self, step: &mut Step<'_>, log: &LogId) {
        step.rows.put(FRONTIERS, log.0, self.to_row().encode_to_vec());
    }

    /// Returns where the next entry stands: 1 + the largest position of the heads, and depending on
    /// them.
    pub(super) fn next_entry(&self) -> NextEntry {
        let position = self.heads.last().map_or(0, |key| key.position);
        NextEntry { position: position.saturating_add(1), dependencies: self.newest_heads() }
    }

    /// Returns as many heads as an entry may depend on, the newest first.
    pub(super) fn newest_heads(&self) -> Vec<Reference> {
        let heads = self.heads.iter().rev().take(limits::DEPENDENCIES_MAX);
        heads.map(|key| key.id.reference()).collect()
    }

    fn from_row(row: &FrontierRow) -> Self {
        Self {
            heads: row.heads.iter().filter_map(|head| TimelineKey::decode(head)).collect(),
            arrivals: row.arrivals,
            read: TimelineKey::decode(&row.read).unwrap_or_default(),
            unread: row.unread,
            unacknowledged: row.unacknowledged,
        }
    }

    fn to_row(&self) -> FrontierRow {
        FrontierRow {
            heads: self.heads.iter().map(|key| key.encode()).collect(),
            arrivals: self.arrivals,
            read: self.read.encode(),
            unread: self.unread,
            unacknowledged: self.unacknowledged,
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::EnvelopeId;

    use super::*;

    #[test]
    fn of_too_many_heads_the_newest_stay() {
        let mut frontier = Frontier::default();
        let key = |position| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&u64::to_be_bytes(position));
            TimelineKey { position, id: EnvelopeId(id) }
        };
        for position in 1..=1000 {
            frontier.show(key(position), &BTreeSet::new());
            assert!(frontier.heads.len() <= limits::HEADS_MAX);
        }
        assert_eq!(frontier.heads.last(), Some(&key(1000)));
        frontier.show(key(1), &BTreeSet::new());
        assert!(!frontier.heads.contains(&key(1)), "an old one does not push a newer one out");
        let heads: Vec<Reference> = frontier.heads.iter().map(|head| head.id.reference()).collect();
        frontier.show(key(1001), &heads.iter().collect());
        assert_eq!(frontier.heads.len(), 1);
    }
}
