//! The routing table: contacts by their shared prefix with the own key (Kademlia, section 2.4),
//! with limits that keep one network from filling it. Specified in `spec/routing.md`, section 5.

use std::{collections::BTreeMap, time::Duration};

use proto::{Contact, Gauge, Instant, Key, Network, NodeId, limits};

use crate::{
    compact::CompactContact,
    record::NodeRecord,
    space::{self, Distance},
};

/// All buckets.
#[derive(Debug)]
pub(crate) struct Table {
    own_key: Key,
    buckets: BTreeMap<u32, Bucket>,
    /// Whether the contacts of one network are limited.
    by_network: bool,
    /// The own node has a public address.
    public: bool,
}

#[derive(Debug)]
struct Bucket {
    entries: Vec<Entry>,
    /// Replacements for entries that fail; the newest last.
    waiting: Vec<Entry>,
    /// When a key in it was last looked up.
    looked: Instant,
}

/// A contact that has introduced itself or answered.
#[derive(Clone, Debug)]
struct Entry {
    contact: CompactContact,
    key: Key,
    since_s: u32,
    seen_s: u32,
    failures: u8,
}

/// What happened to a contact that did not answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// It is not in the table, or stays for now.
    Nothing,
    /// It was removed, having answered for so long.
    Gone(Duration),
}

impl Table {
    pub(crate) fn new(own_key: Key, by_network: bool) -> Self {
        Self { own_key, buckets: BTreeMap::new(), by_network, public: false }
    }

    /// Sets whether the own node has a public address.
    pub(crate) fn set_public(&mut self, public: bool) {
        self.public = public;
    }

    /// Handles a node's introduction or newer record. A node that has not proved its address does
    /// not enter, and one that claims another address is removed until it has proved that: an
    /// attacker with one network could name many.
    pub(crate) fn heard(&mut self, record: &NodeRecord, proved: bool, now: Instant) {
        let known = self.find(&record.node());
        let trusted = proved || known.is_some_and(|known| known.contact.is_at(record));
        if record.says().leaving || !trusted || !self.takes(&record.says().addresses) {
            self.remove(&record.node());
            return;
        }
        let key = record.dht_key();
        if key == self.own_key {
            return;
        }
        let contact = CompactContact::new(&record.contact());
        let entry = Entry { contact, key, since_s: secs(now), seen_s: secs(now), failures: 0 };
        let number = self.own_key.shared_bits(&key);
        if let Some(known) = self.find(&record.node()) {
            // Asking does not prove that it answers: a failed node must answer first.
            let moved = known.contact != entry.contact;
            known.contact = entry.contact;
            known.key = key;
            known.seen_s = secs(now);
            if moved {
                known.failures = 0;
            }
            return;
        }
        let fits = self.has_room_for_networks(number, &entry.contact);
        let bucket = self.buckets.entry(number).or_insert_with(|| Bucket::new(now));
        bucket.waiting.retain(|waiting| waiting.contact.node() != entry.contact.node());
        if fits && bucket.entries.len() < limits::BUCKET_MAX {
            bucket.entries.push(entry);
        } else {
            if bucket.waiting.len() >= WAITING_MAX {
                bucket.waiting.remove(0);
            }
            bucket.waiting.push(entry);
        }
    }

    /// Handles a node that has answered.
    pub(crate) fn answered(&mut self, node: &NodeId, now: Instant) {
        if let Some(entry) = self.find(node) {
            entry.seen_s = secs(now);
            entry.failures = 0;
        }
    }

    /// Handles a node that others report as dead: it comes after all others until it answers, and
    /// is pinged next.
    pub(crate) fn doubt(&mut self, node: &NodeId) {
        self.forget_waiting(node);
        if let Some(entry) = self.find(node) {
            entry.failures = entry.failures.max(1);
            entry.seen_s = 0;
        }
    }

    /// Handles a node that was pinged; another one is next.
    pub(crate) fn asked(&mut self, node: &NodeId, now: Instant) {
        if let Some(entry) = self.find(node) {
            entry.seen_s = secs(now);
        }
    }

    /// Handles a node that has not answered.
    pub(crate) fn missed(&mut self, node: &NodeId) -> Missed {
        let Some(entry) = self.find(node) else {
            self.forget_waiting(node);
            return Missed::Nothing;
        };
        entry.failures = entry.failures.saturating_add(1);
        let answered_for = entry.seen_s.saturating_sub(entry.since_s);
        if entry.failures < FAILURES_MAX {
            return Missed::Nothing;
        }
        self.remove(node);
        Missed::Gone(Duration::from_secs(answered_for.into()))
    }

    /// Removes a node and promotes a waiting one.
    pub(crate) fn remove(&mut self, node: &NodeId) {
        self.forget_waiting(node);
        let is_it = |entry: &Entry| entry.contact.node() == node;
        let number = self.buckets.iter().find(|(_, bucket)| bucket.entries.iter().any(is_it));
        let Some(number) = number.map(|(number, _)| *number) else { return };
        let Some(bucket) = self.buckets.get_mut(&number) else { return };
        bucket.entries.retain(|entry| !is_it(entry));
        let waiting = bucket.waiting.clone();
        let next =
            waiting.iter().rposition(|entry| self.has_room_for_networks(number, &entry.contact));
        if let (Some(next), Some(bucket)) = (next, self.buckets.get_mut(&number)) {
            let entry = bucket.waiting.remove(next);
            bucket.entries.push(entry);
        }
    }

    /// Returns the contacts nearest to a key, except `but`; of a network at most `per_network`.
    pub(crate) fn nearest(
        &self,
        target: &Key,
        count: usize,
        but: Option<&NodeId>,
        per_network: usize,
    ) -> Vec<Contact> {
        let mut sorted: Vec<(Distance, &Entry)> = self
            .entries()
            .filter(|entry| but != Some(entry.contact.node()))
            .map(|entry| (Distance::between(&entry.key, target), entry))
            .collect();
        sorted.sort_unstable_by_key(|(distance, entry)| (entry.failures > 0, *distance));
        let mut networks = Networks::new(if self.by_network { per_network } else { usize::MAX });
        let fits = |(_, entry): &(Distance, &Entry)| networks.admit(entry.contact.networks());
        sorted.into_iter().filter(fits).take(count).map(|(_, e)| e.contact.contact()).collect()
    }

    /// Returns the key of a contact.
    pub(crate) fn key_of(&self, node: &NodeId) -> Option<Key> {
        self.entries().find(|entry| entry.contact.node() == node).map(|entry| entry.key)
    }

    /// Notes that a key was looked up.
    pub(crate) fn looked(&mut self, target: &Key, now: Instant) {
        let number = self.own_key.shared_bits(target);
        if let Some(bucket) = self.buckets.get_mut(&number) {
            bucket.looked = now;
        }
    }

    /// Returns the number of a non-empty bucket in which no key was looked up since `before`.
    pub(crate) fn stale_bucket(&self, before: Instant) -> Option<u32> {
        let mut buckets = self.buckets.iter().filter(|(_, bucket)| !bucket.entries.is_empty());
        buckets.find(|(_, bucket)| bucket.looked < before).map(|(number, _)| *number)
    }

    /// Returns the number of the bucket of the nearest contact; deeper ones need no refresh.
    pub(crate) fn deepest(&self) -> Option<u32> {
        let filled = self.buckets.iter().filter(|(_, bucket)| !bucket.entries.is_empty());
        filled.map(|(number, _)| *number).next_back()
    }

    /// Returns the contact silent for longest, if it was silent since `before`.
    pub(crate) fn most_silent(&self, before: Instant) -> Option<Contact> {
        let silent = self.entries().filter(|entry| entry.seen_s < secs(before));
        silent.min_by_key(|entry| entry.seen_s).map(|entry| entry.contact.contact())
    }

    /// Returns the contacts that have answered for longest: the best to rejoin through.
    pub(crate) fn long_lived(&self, count: usize) -> Vec<Contact> {
        let mut entries: Vec<&Entry> = self.entries().collect();
        entries.sort_by_key(|entry| (entry.failures, entry.since_s, entry.key));
        entries.into_iter().take(count).map(|entry| entry.contact.contact()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.entries.len()).sum()
    }

    pub(crate) fn gauges(&self) -> [Gauge; 2] {
        let most = |of: fn(&Bucket) -> usize| self.buckets.values().map(of).max().unwrap_or(0);
        [
            Gauge::new("bucket", most(|b| b.entries.len()), limits::BUCKET_MAX),
            Gauge::new("bucket's waiting", most(|b| b.waiting.len()), WAITING_MAX),
        ]
    }

    /// Returns roughly how much memory this takes.
    pub(crate) fn state_bytes(&self) -> usize {
        let entries =
            self.buckets.values().flat_map(|bucket| bucket.entries.iter().chain(&bucket.waiting));
        let entries: usize = entries.map(Entry::state_bytes).sum();
        entries.saturating_add(self.buckets.len().saturating_mul(size_of::<Bucket>()))
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.values().flat_map(|bucket| &bucket.entries)
    }

    fn find(&mut self, node: &NodeId) -> Option<&mut Entry> {
        let mut entries = self.buckets.values_mut().flat_map(|bucket| &mut bucket.entries);
        entries.find(|entry| entry.contact.node() == node)
    }

    fn forget_waiting(&mut self, node: &NodeId) {
        for bucket in self.buckets.values_mut() {
            bucket.waiting.retain(|entry| entry.contact.node() != node);
        }
    }

    /// Returns whether others can dial a node at one of these addresses from outside its network.
    fn takes(&self, addresses: &[std::net::SocketAddr]) -> bool {
        let mut public = addresses.iter().map(|address| space::is_public(&address.ip()));
        !addresses.is_empty() && (!self.public || public.any(|public| public))
    }

    fn has_room_for_networks(&self, number: u32, contact: &CompactContact) -> bool {
        if !self.by_network {
            return true;
        }
        contact.networks().all(|network| {
            let is_in = |entry: &&Entry| entry.contact.networks().any(|other| other == network);
            let bucket = self.buckets.get(&number);
            let here = bucket.map_or(0, |bucket| bucket.entries.iter().filter(is_in).count());
            here < PER_NETWORK_AND_BUCKET_MAX
                && self.entries().filter(is_in).count() < PER_NETWORK_MAX
        })
    }
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { entries: Vec::new(), waiting: Vec::new(), looked: now }
    }
}

impl Entry {
    fn state_bytes(&self) -> usize {
        let contact = self.contact.state_bytes().saturating_sub(size_of::<CompactContact>());
        size_of::<Self>().saturating_add(contact)
    }
}

/// Returns whole seconds, which are precise enough here and take half the memory.
fn secs(instant: Instant) -> u32 {
    u32::try_from(instant.as_secs()).unwrap_or(u32::MAX)
}

/// Counts contacts by network.
#[derive(Debug)]
pub(crate) struct Networks {
    counts: BTreeMap<Network, usize>,
    most: usize,
}

impl Networks {
    pub(crate) fn new(most: usize) -> Self {
        Self { counts: BTreeMap::new(), most }
    }

    /// Counts a contact of these networks, if there is room for one more of each.
    pub(crate) fn admit(&mut self, networks: impl Iterator<Item = Network> + Clone) -> bool {
        let full = |network| self.counts.get(&network).is_some_and(|count| *count >= self.most);
        if networks.clone().any(full) {
            return false;
        }
        for network in networks {
            let count = self.counts.entry(network).or_default();
            *count = count.saturating_add(1);
        }
        true
    }
}

/// Contacts that wait for room in a bucket: enough for those that fail within an hour.
const WAITING_MAX: usize = 2;
/// A single request may be lost.
const FAILURES_MAX: u8 = 2;
/// As go-libp2p has it: a network of 256 addresses costs about as much as one of its addresses.
const PER_NETWORK_AND_BUCKET_MAX: usize = 2;
/// The same for all buckets together.
const PER_NETWORK_MAX: usize = 8;

#[cfg(test)]
mod tests;
