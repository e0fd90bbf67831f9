//! Maintenance: joining, refreshing, remembering, republishing, staying reachable, leaving.

use std::time::Duration;

use prost::Message;
use proto::{
    Contact, Instant, NodeAddress, Record, Routing, Rows, Table, WriteBatch, limits, wire,
};
use rand_core::Rng;

use super::{
    Router,
    operations::{Origin, Then},
    purpose::Purpose,
};
use crate::{
    RouterCommand, RouterConfig, RouterEvent,
    record::{NodeRecord, UnsignedNodeRecord},
    record_store::Due,
    space,
};

/// When each task is due next.
#[derive(Debug)]
pub(super) struct Maintenance {
    /// Contacts remembered in rows.
    remembered: Vec<Contact>,
    since_s: u64,
    /// A node was met.
    joined: bool,
    /// The own key was, or is being, looked up.
    begun: bool,
    leaving: bool,
    left: bool,
    next: Instant,
    rejoin_at: Instant,
    publish_at: Instant,
    remember_at: Instant,
    check_at: Instant,
}

impl Maintenance {
    pub(super) fn open(
        config: &RouterConfig,
        nonce: u64,
        now: Instant,
        rows: &dyn Rows,
        batch: &mut WriteBatch,
    ) -> Option<(Self, NodeRecord)> {
        let remembered = rows.get(SELF, REMEMBERED).and_then(|bytes| decode_contacts(&bytes));
        let says = UnsignedNodeRecord {
            nonce,
            serial: next_serial(now, rows, batch),
            addresses: config.addresses.clone(),
            capacity_bytes: config.capacity_bytes,
            since_s: now.as_secs(),
            region: config.region.clone(),
            operator: config.operator,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            leaving: false,
        };
        let own = NodeRecord::sign(&config.key, &says, config.verifier.work_bits())?;
        let maintenance = Self {
            remembered: remembered.unwrap_or_default(),
            since_s: now.as_secs(),
            joined: false,
            begun: false,
            leaving: false,
            left: false,
            next: now.after(STEP),
            rejoin_at: now.after(REJOIN),
            publish_at: now.after(PUBLISH),
            remember_at: now.after(REMEMBER),
            check_at: now.after(CHECK),
        };
        Some((maintenance, own))
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.next
    }
}

impl Router {
    pub(super) fn on_command(&mut self, command: RouterCommand, now: Instant, rows: &dyn Rows) {
        match command {
            RouterCommand::Join(address) => {
                self.join_through(&address, now);
                if !self.config.join.contains(&address) && self.config.join.len() < JOIN_MAX {
                    self.config.join.push(address);
                }
            }
            RouterCommand::Addresses(addresses) => {
                self.config.addresses = addresses;
                self.relayed_at = None;
                self.reach.restart(now);
                self.renew_record(now, rows);
            }
            RouterCommand::Capacity(bytes) => {
                let (old, new) = (self.config.capacity_bytes, bytes);
                self.config.capacity_bytes = bytes;
                // Smaller changes are no news.
                if new < old / 2 || new / 2 > old {
                    self.renew_record(now, rows);
                }
            }
            RouterCommand::Publish { ticket, bundle } => {
                self.publish(Record::Account(bundle), 0, Some(ticket), now, rows);
            }
            RouterCommand::Lookup { ticket, target, insist } => {
                let then = Then::LookedUp(Origin::Command { ticket, insist });
                self.look_up(target, true, then, now, rows);
            }
            RouterCommand::Sample { ticket } => {
                self.sample(Origin::Command { ticket, insist: false }, now, rows);
            }
            RouterCommand::Answer { query, bundle } => {
                self.answer_query(&query, Record::Account(bundle), now);
            }
            RouterCommand::Leave => self.leave(now, rows),
        }
    }

    /// Joins through the configured nodes and some of the remembered ones.
    pub(super) fn rejoin(&mut self, now: Instant) {
        for address in self.config.join.clone() {
            self.join_through(&address, now);
        }
        let mut remembered = self.maintenance.remembered.clone();
        for _ in 0..REJOIN_AT_A_TIME.min(remembered.len()) {
            let drawn = usize::try_from(self.rng.next_u32()).unwrap_or_default();
            let drawn = drawn.checked_rem(remembered.len()).unwrap_or_default();
            let contact = remembered.swap_remove(drawn);
            let address = NodeAddress { node: contact.node, addresses: contact.addresses };
            self.join_through(&address, now);
        }
    }

    fn join_through(&mut self, address: &NodeAddress, now: Instant) {
        if address.node != self.own.node() {
            self.links.dial(address.node, &address.addresses, now);
        }
    }

    /// Joins the network through the first node that introduces itself.
    pub(super) fn met(&mut self, record: &NodeRecord, now: Instant) {
        if self.maintenance.joined || record.says().addresses.is_empty() {
            return;
        }
        self.maintenance.joined = true;
        self.gossip.join(record.contact(), now);
        self.maintenance.next = now;
    }

    /// Continues joining after the own key was looked up.
    pub(super) fn on_joined(&mut self, now: Instant, rows: &dyn Rows) {
        self.emit(RouterEvent::Joined);
        let deepest = self.table.deepest().unwrap_or_default();
        // Near buckets were filled on the way; far ones hold only the nodes that were asked.
        for bits in 0..deepest.min(REFRESHED_ON_JOIN_MAX) {
            self.refresh(bits, now, rows);
        }
        self.publish_own(now, rows);
    }

    fn refresh(&mut self, bits: u32, now: Instant, rows: &dyn Rows) {
        let random = self.random_key();
        let target = space::key_in_bucket(&self.own.dht_key(), bits, random.0);
        self.look_up(target, false, Then::Refresh, now, rows);
    }

    /// Signs a newer record of this node, and spreads it.
    pub(super) fn renew_record(&mut self, now: Instant, rows: &dyn Rows) {
        let mut batch = WriteBatch::default();
        let serial =
            next_serial(now, rows, &mut batch).max(self.own.says().serial.saturating_add(1));
        let says = UnsignedNodeRecord {
            serial,
            addresses: self.relayed_at.as_ref().unwrap_or(&self.config.addresses).clone(),
            capacity_bytes: self.config.capacity_bytes,
            since_s: self.maintenance.since_s,
            leaving: self.maintenance.leaving,
            ..self.own.says().clone()
        };
        let work_bits = self.config.verifier.work_bits();
        let Some(own) = NodeRecord::sign(&self.config.key, &says, work_bits) else {
            return;
        };
        batch.put(SELF, SERIAL, serial.to_be_bytes());
        self.note(batch);
        self.own = own;
        let public = self.is_public();
        self.table.set_public(public);
        self.gossip.set_own(self.own.clone(), now);
        for node in self.links.nodes().collect::<Vec<_>>() {
            self.say(node, 0, Routing::Introduce(self.own.as_bytes().to_vec()));
        }
        if self.maintenance.joined && !self.maintenance.leaving {
            self.publish_own(now, rows);
        }
    }

    fn publish_own(&mut self, now: Instant, rows: &dyn Rows) {
        let jitter = self.jitter(PUBLISH_JITTER);
        self.maintenance.publish_at = now.after(PUBLISH).after(jitter);
        let record = Record::Node(self.own.as_bytes().to_vec());
        self.publish(record, 0, None, now, rows);
    }

    /// Runs the tasks that are due, every [`STEP`].
    pub(super) fn maintain(&mut self, now: Instant, rows: &dyn Rows) {
        if now < self.maintenance.next {
            return;
        }
        self.maintenance.next = now.after(STEP);
        if self.maintenance.leaving {
            return;
        }
        if self.maintenance.joined && !std::mem::replace(&mut self.maintenance.begun, true) {
            self.maintenance.rejoin_at = now.after(REJOIN);
            let own_key = self.own.dht_key();
            return self.look_up(own_key, false, Then::Join, now, rows);
        }
        if self.table.len() == 0 && now >= self.maintenance.rejoin_at {
            self.maintenance.joined = false;
            self.maintenance.begun = false;
            self.maintenance.rejoin_at = now.after(REJOIN);
            self.rejoin(now);
        }
        if now >= self.maintenance.publish_at && self.maintenance.joined {
            self.publish_own(now, rows);
        }
        if now >= self.maintenance.remember_at {
            self.maintenance.remember_at = now.after(REMEMBER);
            self.remember();
        }
        if now >= self.maintenance.check_at {
            self.maintenance.check_at = now.after(CHECK);
            self.check(now, rows);
        }
        self.find_out_reach(now);
    }

    /// Pings the contacts silent for longest, and refreshes a stale bucket.
    fn check(&mut self, now: Instant, rows: &dyn Rows) {
        let before =
            |age: Duration| Instant::from_micros(now.as_micros().saturating_sub(micros(age)));
        for _ in 0..CHECKED_AT_A_TIME {
            let Some(contact) = self.table.most_silent(before(SILENT)) else { break };
            let word = Routing::Find { target: self.own.dht_key(), record: false };
            if !self.ask(&contact, Purpose::Check, word, now) {
                break;
            }
            // So that the next one is another; an answer has the same effect.
            self.table.asked(&contact.node, now);
        }
        if let Some(bits) = self.table.stale_bucket(before(REFRESH)) {
            self.refresh(bits, now, rows);
        }
    }

    /// Writes the contacts to rejoin through to rows.
    fn remember(&mut self) {
        let mut contacts = self.table.long_lived(REMEMBERED_MAX / 2);
        let views = self.gossip.contacts().filter(|contact| !contact.addresses.is_empty());
        for contact in views.cloned().collect::<Vec<_>>() {
            if contacts.len() < REMEMBERED_MAX && !contacts.contains(&contact) {
                contacts.push(contact);
            }
        }
        if contacts.is_empty() || contacts == self.maintenance.remembered {
            return;
        }
        let mut batch = WriteBatch::default();
        batch.put(SELF, REMEMBERED, encode_contacts(&contacts));
        self.maintenance.remembered = contacts;
        self.note(batch);
    }

    /// Republishes records that no node has stored again, a few at a time.
    pub(super) fn republish_due(&mut self, now: Instant, rows: &dyn Rows) {
        for _ in 0..REPUBLISHED_AT_A_TIME {
            let mut batch = WriteBatch::default();
            let jitter = self.jitter(REPUBLISH_JITTER);
            let due = self.records.timeout(jitter, now, rows, &mut batch);
            self.note(batch);
            match due {
                Some(Due::Republish { record, age_s }) => {
                    self.publish(record, age_s, None, now, rows);
                }
                None => return,
            }
        }
    }

    // Leaving.

    /// Announces that this node leaves, and hands its records over: each to the nearest node that
    /// is not known to have it, because the publisher has given it to the nearer ones.
    fn leave(&mut self, now: Instant, rows: &dyn Rows) {
        self.maintenance.leaving = true;
        self.renew_record(now, rows);
        self.gossip.leave(now);
        for (key, record, age_s) in self.records.all(now, rows) {
            let per_network = self.per_network();
            let count = limits::BUCKET_MAX.saturating_add(1);
            let nearest = self.table.nearest(&key, count, None, per_network);
            if let Some(heir) = nearest.into_iter().next_back() {
                self.ask(&heir, Purpose::Gift, Routing::Store { record, age_s }, now);
            }
        }
    }

    /// Reports that this node has left, once all hand-overs have ended.
    pub(super) fn report_left(&mut self) {
        if self.maintenance.leaving && !self.maintenance.left && self.links.is_quiet() {
            self.maintenance.left = true;
            self.emit(RouterEvent::Left);
        }
    }
}

fn next_serial(now: Instant, rows: &dyn Rows, batch: &mut WriteBatch) -> u64 {
    let last = rows.get(SELF, SERIAL).and_then(|bytes| bytes.try_into().ok());
    let serial = last.map_or(0, u64::from_be_bytes).saturating_add(1).max(now.as_secs());
    batch.put(SELF, SERIAL, serial.to_be_bytes());
    serial
}

fn encode_contacts(contacts: &[Contact]) -> Vec<u8> {
    wire::Shuffled { contacts: contacts.iter().map(Into::into).collect() }.encode_to_vec()
}

fn decode_contacts(bytes: &[u8]) -> Option<Vec<Contact>> {
    let wire = wire::Shuffled::decode(bytes).ok()?;
    let contacts = wire.contacts.into_iter().take(REMEMBERED_MAX);
    contacts.map(|contact| Contact::try_from(contact).ok()).collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The node's own state: [`SERIAL`], [`REMEMBERED`].
const SELF: Table = Table(33);
const SERIAL: &[u8] = b"serial";
const REMEMBERED: &[u8] = b"remembered";
const REMEMBERED_MAX: usize = 64;
/// Nodes to join through, besides those that are remembered.
const JOIN_MAX: usize = 16;
/// How often due tasks are run.
const STEP: Duration = Duration::from_secs(5);
const REJOIN: Duration = Duration::from_secs(10);
const REJOIN_AT_A_TIME: usize = 4;
const PUBLISH: Duration = Duration::from_secs(3600);
const PUBLISH_JITTER: Duration = Duration::from_secs(900);
const REMEMBER: Duration = Duration::from_secs(300);
const CHECK: Duration = Duration::from_secs(60);
const CHECKED_AT_A_TIME: usize = 8;
/// A contact that was silent for so long is pinged.
const SILENT: Duration = Duration::from_secs(900);
/// Kademlia, section 2.3.
const REFRESH: Duration = Duration::from_secs(3600);
/// Deeper buckets are nearly empty in any realistic network.
const REFRESHED_ON_JOIN_MAX: u32 = 32;
const REPUBLISHED_AT_A_TIME: usize = 4;
const REPUBLISH_JITTER: Duration = Duration::from_secs(1800);
