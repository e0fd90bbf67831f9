//! Upkeep: joining, refreshing, remembering, republishing, being reachable, leaving.

use std::time::Duration;

use prost::Message;
use proto::{
    Contact, Instant, NodeAddress, Record, Routing, Rows, Table, WriteBatch, limits, wire,
};
use rand_core::Rng;

use super::{
    Purpose, Router,
    errands::{Origin, Then},
};
use crate::{
    RouterCommand, RouterConfig, RouterEvent,
    kept::Due,
    record::{NodeDraft, NodeRecord},
    space,
};

/// When what is next to be done.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// Whom this node remembers to have been there.
    remembered: Vec<Contact>,
    since_s: u64,
    /// A node was met.
    joined: bool,
    /// The own place was, or is being, looked up.
    begun: bool,
    leaving: bool,
    left: bool,
    next: Instant,
    rejoin_at: Instant,
    publish_at: Instant,
    remember_at: Instant,
    check_at: Instant,
}

impl Upkeep {
    pub(super) fn open(
        config: &RouterConfig,
        nonce: u64,
        now: Instant,
        rows: &dyn Rows,
        batch: &mut WriteBatch,
    ) -> Option<(Self, NodeRecord)> {
        let remembered = rows.get(SELF, REMEMBERED).and_then(|bytes| decode_contacts(&bytes));
        let says = NodeDraft {
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
        let upkeep = Self {
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
        Some((upkeep, own))
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.next
    }
}

impl Router {
    pub(super) fn command(&mut self, command: RouterCommand, now: Instant, rows: &dyn Rows) {
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
                // What changes by less is no news.
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

    /// Joins through whom it was told of and whom it remembers.
    pub(super) fn rejoin(&mut self, now: Instant) {
        for address in self.config.join.clone() {
            self.join_through(&address, now);
        }
        let mut remembered = self.upkeep.remembered.clone();
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

    /// A node has introduced itself: the first one is the way into the network.
    pub(super) fn met(&mut self, record: &NodeRecord, now: Instant) {
        if self.upkeep.joined || record.says().addresses.is_empty() {
            return;
        }
        self.upkeep.joined = true;
        self.gossip.join(record.contact(), now);
        self.upkeep.next = now;
    }

    /// The own place was looked up.
    pub(super) fn has_joined(&mut self, now: Instant, rows: &dyn Rows) {
        self.event(RouterEvent::Joined);
        let deepest = self.table.deepest().unwrap_or_default();
        // Near buckets were filled on the way; in the far ones only those who were asked are known.
        for bits in 0..deepest.min(REFRESHED_ON_JOIN_MAX) {
            self.refresh(bits, now, rows);
        }
        self.publish_own(now, rows);
    }

    fn refresh(&mut self, bits: u32, now: Instant, rows: &dyn Rows) {
        let random = self.random_key();
        let target = space::key_in_bucket(&self.own.place(), bits, random.0);
        self.look_up(target, false, Then::Refresh, now, rows);
    }

    /// Signs this node's record again, and publishes it.
    pub(super) fn renew_record(&mut self, now: Instant, rows: &dyn Rows) {
        let mut batch = WriteBatch::default();
        let serial =
            next_serial(now, rows, &mut batch).max(self.own.says().serial.saturating_add(1));
        let says = NodeDraft {
            serial,
            addresses: self.relayed_at.as_ref().unwrap_or(&self.config.addresses).clone(),
            capacity_bytes: self.config.capacity_bytes,
            since_s: self.upkeep.since_s,
            leaving: self.upkeep.leaving,
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
        if self.upkeep.joined && !self.upkeep.leaving {
            self.publish_own(now, rows);
        }
    }

    fn publish_own(&mut self, now: Instant, rows: &dyn Rows) {
        let jitter = self.jitter(PUBLISH_JITTER);
        self.upkeep.publish_at = now.after(PUBLISH).after(jitter);
        let record = Record::Node(self.own.as_bytes().to_vec());
        self.publish(record, 0, None, now, rows);
    }

    /// Does what is due, a step at a time.
    pub(super) fn upkeep(&mut self, now: Instant, rows: &dyn Rows) {
        if now < self.upkeep.next {
            return;
        }
        self.upkeep.next = now.after(STEP);
        if self.upkeep.leaving {
            return;
        }
        if self.upkeep.joined && !std::mem::replace(&mut self.upkeep.begun, true) {
            self.upkeep.rejoin_at = now.after(REJOIN);
            let place = self.own.place();
            return self.look_up(place, false, Then::Join, now, rows);
        }
        if self.table.len() == 0 && now >= self.upkeep.rejoin_at {
            self.upkeep.joined = false;
            self.upkeep.begun = false;
            self.upkeep.rejoin_at = now.after(REJOIN);
            self.rejoin(now);
        }
        if now >= self.upkeep.publish_at && self.upkeep.joined {
            self.publish_own(now, rows);
        }
        if now >= self.upkeep.remember_at {
            self.upkeep.remember_at = now.after(REMEMBER);
            self.remember();
        }
        if now >= self.upkeep.check_at {
            self.upkeep.check_at = now.after(CHECK);
            self.check(now, rows);
        }
        self.find_out_reach(now);
    }

    /// Asks the contact that was silent longest for a sign of life, and looks into a bucket in
    /// which nothing was looked up for long.
    fn check(&mut self, now: Instant, rows: &dyn Rows) {
        let before =
            |age: Duration| Instant::from_micros(now.as_micros().saturating_sub(micros(age)));
        for _ in 0..CHECKED_AT_A_TIME {
            let Some(contact) = self.table.most_silent(before(SILENT)) else { break };
            let word = Routing::Find { target: self.own.place(), record: false };
            if !self.ask(&contact, Purpose::Check, word, now) {
                break;
            }
            // So that the next one is another; an answer will say the same.
            self.table.asked(&contact.node, now);
        }
        if let Some(bits) = self.table.stale_bucket(before(REFRESH)) {
            self.refresh(bits, now, rows);
        }
    }

    /// Remembers whom to come back to.
    fn remember(&mut self) {
        let mut contacts = self.table.long_lived(REMEMBERED_MAX / 2);
        let views = self.gossip.contacts().filter(|contact| !contact.addresses.is_empty());
        for contact in views.cloned().collect::<Vec<_>>() {
            if contacts.len() < REMEMBERED_MAX && !contacts.contains(&contact) {
                contacts.push(contact);
            }
        }
        if contacts.is_empty() || contacts == self.upkeep.remembered {
            return;
        }
        let mut batch = WriteBatch::default();
        batch.put(SELF, REMEMBERED, encode_contacts(&contacts));
        self.upkeep.remembered = contacts;
        self.note(batch);
    }

    /// Republishes records that were not stored again for long, a few at a time.
    pub(super) fn keep(&mut self, now: Instant, rows: &dyn Rows) {
        for _ in 0..REPUBLISHED_AT_A_TIME {
            let mut batch = WriteBatch::default();
            let jitter = self.jitter(REPUBLISH_JITTER);
            let due = self.kept.timeout(jitter, now, rows, &mut batch);
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

    /// Tells all neighbours, and hands over stored records: each to the nearest node that is not
    /// known to have it, since nearer ones got it from its publisher.
    fn leave(&mut self, now: Instant, rows: &dyn Rows) {
        self.upkeep.leaving = true;
        self.renew_record(now, rows);
        self.gossip.leave(now);
        for (key, record, age_s) in self.kept.all(now, rows) {
            let per_network = self.per_network();
            let count = limits::BUCKET_MAX.saturating_add(1);
            let nearest = self.table.nearest(&key, count, None, per_network);
            if let Some(heir) = nearest.into_iter().next_back() {
                self.ask(&heir, Purpose::Gift, Routing::Store { record, age_s }, now);
            }
        }
    }

    /// All that was to be handed over is, or never will be.
    pub(super) fn has_left(&mut self) {
        if self.upkeep.leaving && !self.upkeep.left && self.links.is_quiet() {
            self.upkeep.left = true;
            self.event(RouterEvent::Left);
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

/// What a node knows of itself: [`SERIAL`], [`REMEMBERED`].
const SELF: Table = Table(33);
const SERIAL: &[u8] = b"serial";
const REMEMBERED: &[u8] = b"remembered";
const REMEMBERED_MAX: usize = 64;
/// Nodes to join through, besides those that are remembered.
const JOIN_MAX: usize = 16;
/// How often it is looked whether something is due.
const STEP: Duration = Duration::from_secs(5);
const REJOIN: Duration = Duration::from_secs(10);
const REJOIN_AT_A_TIME: usize = 4;
const PUBLISH: Duration = Duration::from_secs(3600);
const PUBLISH_JITTER: Duration = Duration::from_secs(900);
const REMEMBER: Duration = Duration::from_secs(300);
const CHECK: Duration = Duration::from_secs(60);
const CHECKED_AT_A_TIME: usize = 8;
/// A contact that was not heard of for so long is asked for a sign of life.
const SILENT: Duration = Duration::from_secs(900);
/// Kademlia, section 2.3.
const REFRESH: Duration = Duration::from_secs(3600);
/// Buckets beyond are nearly empty in any network there will be.
const REFRESHED_ON_JOIN_MAX: u32 = 32;
const REPUBLISHED_AT_A_TIME: usize = 4;
const REPUBLISH_JITTER: Duration = Duration::from_secs(1800);
