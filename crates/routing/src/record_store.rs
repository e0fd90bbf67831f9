//! Records that this node keeps for others. They are in rows; an index and their expiry are in
//! memory. Specified in `spec/routing.md`, section 7.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    time::Duration,
};

use crypto::node::Verifier;
use prost::Message;
use proto::{
    Body, Code, Direction, Gauge, Instant, Key, Record, Rows, Table, WriteBatch, limits, wire,
};
use sha2::{Digest, Sha256};

use crate::{record::Verified, space::Distance};

/// The records kept for others.
#[derive(Debug)]
pub(crate) struct RecordStore {
    own_key: Key,
    verifier: Verifier,
    /// By distance from the own key: the last is the first to be evicted.
    entries: BTreeMap<Distance, Entry>,
    /// When each is due next.
    due: BTreeSet<(Instant, Distance)>,
    bytes: usize,
    records_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When its owner, or a home of its owner, has published it.
    published_s: u64,
    due: Instant,
    bytes: usize,
}

/// What is due for a record.
#[derive(Debug)]
pub(crate) enum Due {
    /// No node has stored it again for [`REPUBLISH`].
    Republish { record: Record, age_s: u32 },
}

impl RecordStore {
    /// Opens the store from rows.
    pub(crate) fn open(
        own_key: Key,
        records_max: usize,
        verifier: Verifier,
        now: Instant,
        rows: &dyn Rows,
    ) -> Self {
        let (entries, due) = (BTreeMap::new(), BTreeSet::new());
        let mut store = Self { own_key, verifier, entries, due, bytes: 0, records_max };
        rows.scan(RECORDS, &[], &[0xFF; 33], Direction::Forward, &mut |key, value| {
            if let (Ok(key), Some((published, record))) =
                (Key::try_from(key), value.split_first_chunk::<8>())
            {
                store.enter(
                    &key,
                    u64::from_be_bytes(*published),
                    record.len(),
                    now.after(REPUBLISH),
                );
            }
            ControlFlow::Continue(())
        });
        store
    }

    /// Returns the record of a key.
    pub(crate) fn get(&self, key: &Key, now: Instant, rows: &dyn Rows) -> Option<Record> {
        let entry = self.entries.get(&self.distance(key))?;
        if is_expired(entry, now) {
            return None;
        }
        Record::decode(rows.get(RECORDS, &key.0)?.get(8..)?).ok()
    }

    /// Stores a record, unless a better one is stored or there is no room for one so far away.
    /// `jitter` delays when it is republished.
    pub(crate) fn store(
        &mut self,
        record: &Record,
        age_s: u32,
        jitter: Duration,
        now: Instant,
        rows: &dyn Rows,
        batch: &mut WriteBatch,
    ) -> Result<Key, Refusal> {
        let mut published_s = now.as_secs().saturating_sub(age_s.into());
        let bytes = record.encode();
        let key = claimed_key(record).ok_or(Code::Invalid)?;
        let held = self.get(&key, now, rows);
        if held.as_ref() == Some(record) {
            // No signature to verify: most records are stored again unchanged.
            let before = self.entries.get(&self.distance(&key)).map(|entry| entry.published_s);
            published_s = published_s.max(before.unwrap_or_default());
        } else {
            let new = Verified::verify(record, &self.verifier).map_err(|_| Code::Invalid)?;
            let held = held.map(|held| (Verified::verify(&held, &self.verifier), held));
            if let Some((Ok(verified), held)) = held
                && new.compare(&verified) != Ordering::Greater
            {
                return Err(Refusal { code: Code::Stale, newer: held.encode() });
            }
        }
        if published_s.saturating_add(limits::RECORD_LIFE_S.into()) <= now.as_secs() {
            return Err(Code::Invalid.into());
        }
        self.make_room(&key, bytes.len(), batch)?;
        self.enter(&key, published_s, bytes.len(), now.after(REPUBLISH).after(jitter));
        batch.put(RECORDS, key.0, [published_s.to_be_bytes().as_slice(), &bytes].concat());
        Ok(key)
    }

    /// Returns at most one record that is due, and deletes an expired one.
    pub(crate) fn timeout(
        &mut self,
        jitter: Duration,
        now: Instant,
        rows: &dyn Rows,
        batch: &mut WriteBatch,
    ) -> Option<Due> {
        let (due, distance) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        let key = distance.from(&self.own_key);
        let entry = *self.entries.get(&distance)?;
        let record = self.get(&key, now, rows);
        let Some(record) = record else {
            self.remove(&distance, batch);
            return None;
        };
        self.due.remove(&(due, distance));
        let due = now.after(REPUBLISH).after(jitter);
        self.due.insert((due, distance));
        if let Some(entry) = self.entries.get_mut(&distance) {
            entry.due = due;
        }
        Some(Due::Republish { record, age_s: age_s(&entry, now) })
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Returns the records with their ages, nearest first.
    pub(crate) fn all(&self, now: Instant, rows: &dyn Rows) -> Vec<(Key, Record, u32)> {
        let each = self.entries.iter().filter_map(|(distance, entry)| {
            let key = distance.from(&self.own_key);
            Some((key, self.get(&key, now, rows)?, age_s(entry, now)))
        });
        each.take(HANDED_OVER_MAX).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn gauges(&self) -> [Gauge; 2] {
        [
            Gauge::new("kept records", self.entries.len(), self.records_max),
            Gauge::new("bytes of kept records", self.bytes, BYTES_MAX),
        ]
    }

    fn distance(&self, key: &Key) -> Distance {
        Distance::between(key, &self.own_key)
    }

    fn enter(&mut self, key: &Key, published_s: u64, bytes: usize, due: Instant) {
        let distance = self.distance(key);
        if let Some(old) = self.entries.insert(distance, Entry { published_s, due, bytes }) {
            self.due.remove(&(old.due, distance));
            self.bytes = self.bytes.saturating_sub(old.bytes);
        }
        self.due.insert((due, distance));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Evicts records that are farther away than `key` until there is room.
    fn make_room(&mut self, key: &Key, bytes: usize, batch: &mut WriteBatch) -> Result<(), Code> {
        let distance = self.distance(key);
        let is_new = !self.entries.contains_key(&distance);
        while (is_new && self.entries.len() >= self.records_max)
            || self.bytes.saturating_add(bytes) > BYTES_MAX
        {
            match self.entries.last_key_value() {
                Some((farthest, _)) if *farthest > distance => {
                    let farthest = *farthest;
                    self.remove(&farthest, batch);
                }
                _ => return Err(Code::Full),
            }
        }
        Ok(())
    }

    fn remove(&mut self, distance: &Distance, batch: &mut WriteBatch) {
        if let Some(old) = self.entries.remove(distance) {
            self.due.remove(&(old.due, *distance));
            self.bytes = self.bytes.saturating_sub(old.bytes);
            batch.delete(RECORDS, distance.from(&self.own_key).0);
        }
    }
}

/// Why a record is not stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: Code,
    /// The stored one, if it is better.
    newer: Vec<u8>,
}

impl From<Refusal> for Body {
    fn from(Refusal { code, newer }: Refusal) -> Self {
        Self::Refused { code, newer }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self { code, newer: Vec::new() }
    }
}

/// Returns the key that a record claims, before it is verified.
fn claimed_key(record: &Record) -> Option<Key> {
    match record {
        Record::Account(bundle) => {
            let bundle = wire::Bundle::decode(bundle.as_slice()).ok()?;
            Some(Key(Sha256::digest(bundle.genesis).into()))
        }
        Record::Node(record) => {
            let signed = wire::Signed::decode(record.as_slice()).ok()?;
            let record = wire::NodeRecord::decode(signed.body.as_slice()).ok()?;
            Key::try_from(record.node.as_slice()).ok()
        }
    }
}

fn is_expired(entry: &Entry, now: Instant) -> bool {
    entry.published_s.saturating_add(limits::RECORD_LIFE_S.into()) <= now.as_secs()
}

fn age_s(entry: &Entry, now: Instant) -> u32 {
    u32::try_from(now.as_secs().saturating_sub(entry.published_s)).unwrap_or(u32::MAX)
}

/// Key → when it was published (seconds, 8 bytes) ‖ record.
const RECORDS: Table = Table(32);
/// How long until a record is republished if no node stores it again.
const REPUBLISH: Duration = Duration::from_secs(3600);
/// The default limit: at 20 copies each, 3,276 accounts per node.
pub(crate) const RECORDS_MAX: usize = 65_536;
const BYTES_MAX: usize = 128 << 20;
/// Records that a leaving node hands over.
const HANDED_OVER_MAX: usize = 1_000;

#[cfg(test)]
mod tests;
