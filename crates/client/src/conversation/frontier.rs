//! The frontier of a conversation: the edge of what is shown here, and how much of it was read.

use std::collections::BTreeSet;

use prost::Message;
use proto::{Gauge, LogId, Reference, Rows, Table, limits};

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
pub(super) struct Frontier {
    /// Shown entries on which nothing shown depends.
    heads: BTreeSet<TimelineKey>,
    arrivals: u64,
    /// Up to where the user has read.
    read: TimelineKey,
    /// Texts of the contact behind that, once they were counted.
    unread: Option<u64>,
    /// Something arrived of which the author has not been told.
    unacknowledged: bool,
}

/// Returns the number of the last arrival.
pub(crate) fn last_arrival(rows: &dyn Rows, log: &LogId) -> u64 {
    Frontier::load(rows, log).map_or(0, |frontier| frontier.arrivals)
}

impl Frontier {
    pub(super) fn load(rows: &dyn Rows, log: &LogId) -> Option<Self> {
        Some(Self::from_row(&rows::load(rows, FRONTIERS, &log.0)?))
    }

    pub(super) fn save(&self, step: &mut Step<'_>, log: &LogId) {
        step.put(FRONTIERS, log.0, self.to_row().encode_to_vec());
    }

    /// Notes that an entry is shown; returns its arrival number.
    pub(super) fn show(&mut self, key: TimelineKey, dependencies: &BTreeSet<&Reference>) -> u64 {
        self.arrivals = self.arrivals.saturating_add(1);
        self.heads.retain(|head| !dependencies.contains(&head.id.reference()));
        self.add_heads([key]);
        self.arrivals
    }

    /// Entries are gone, and what they alone depended on is at the edge again.
    pub(super) fn retreat(&mut self, gone: impl Fn(&TimelineKey) -> bool, bare: Vec<TimelineKey>) {
        self.heads.retain(|head| !gone(head));
        self.add_heads(bare);
    }

    /// Adds heads. Of too many those with the smallest positions go: they stay shown, but nothing
    /// said here will depend on them.
    fn add_heads(&mut self, heads: impl IntoIterator<Item = TimelineKey>) {
        self.heads.extend(heads);
        while self.heads.len() > limits::HEADS_MAX {
            self.heads.pop_first();
        }
    }

    /// Returns where the next entry stands: 1 + the largest position of the heads.
    pub(super) fn next_position(&self) -> u64 {
        self.heads.last().map_or(0, |key| key.position).saturating_add(1)
    }

    /// Returns as many heads as an entry may depend on, the newest first.
    pub(super) fn newest_heads(&self) -> Vec<Reference> {
        let heads = self.heads.iter().rev().take(limits::DEPENDENCIES_MAX);
        heads.map(|key| key.id.reference()).collect()
    }

    /// Returns how many texts of the contact the user has not read; `count` counts those behind a
    /// place one by one.
    pub(super) fn unread(&self, count: impl FnOnce(TimelineKey) -> u64) -> u64 {
        self.unread.unwrap_or_else(|| count(self.read))
    }

    /// A text of the contact arrives, and is unread unless the user has read further.
    pub(super) fn add_unread(&mut self, key: TimelineKey, count: impl FnOnce(TimelineKey) -> u64) {
        if key > self.read {
            self.unread = Some(self.unread(count).saturating_add(1));
        }
    }

    /// The user has read up to here; returns whether that is news.
    pub(super) fn mark_read(&mut self, newest: TimelineKey) -> bool {
        let is_news = newest > self.read;
        if is_news {
            self.read = newest;
            self.unread = Some(0);
        }
        is_news
    }

    /// Returns whether something arrived of which the author has not been told.
    pub(super) fn owes_receipt(&self) -> bool {
        self.unacknowledged
    }

    pub(super) fn set_owes_receipt(&mut self, owes: bool) {
        self.unacknowledged = owes;
    }

    pub(super) fn gauge(&self) -> Gauge {
        Gauge::new("heads of a conversation", self.heads.len(), limits::HEADS_MAX)
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
