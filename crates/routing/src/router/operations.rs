//! Operations: lookups, publications and samples in progress, and what follows when they end.

mod publish;
mod sample;
mod then;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use proto::{Body, Contact, Gauge, Instant, Key, NodeId, Query, Record, Routing, Rows, limits};

use super::{Router, purpose::Purpose};
use crate::{
    LookedUp, RouterEvent,
    command::account_at,
    lookup::{Answer, Lookup},
    record::Verified,
};

use self::{
    publish::{PUBLICATIONS_MAX, Publication, WAITING_MAX},
    sample::Sampling,
    then::Unpublished,
};

pub(super) use self::then::{Origin, Then};

/// All operations in progress.
#[derive(Debug, Default)]
pub(super) struct Operations {
    lookups: BTreeMap<u64, Running>,
    publications: BTreeMap<u64, Publication>,
    samplings: BTreeMap<u64, Sampling>,
    /// Records to publish when there is room.
    waiting: VecDeque<Unpublished>,
    /// Accounts that every node was asked for.
    queries: BTreeMap<Key, Queried>,
    /// Operations with news, to be advanced.
    touched: BTreeSet<u64>,
    numbers: u64,
}

#[derive(Debug)]
struct Running {
    lookup: Lookup,
    then: Then,
    told: bool,
}

#[derive(Debug)]
struct Queried {
    until: Instant,
    asked_by: Vec<(u64, LookedUp)>,
}

impl Operations {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.queries.values().map(|queried| queried.until).min()
    }

    /// Returns whether one more lookup can be made for a peer.
    pub(super) fn has_room_for(&self, peer: &NodeId) -> bool {
        let is_theirs =
            |origin: &Origin| matches!(origin, Origin::Peer { peer: p, .. } if p == peer);
        let lookups = self.lookups.values().filter(|running| match &running.then {
            Then::LookedUp(origin) => is_theirs(origin),
            Then::Publish(_) | Then::Refresh | Then::Join | Then::Sample(_) => false,
        });
        let samplings = self.samplings.values().filter(|sampling| is_theirs(sampling.origin()));
        lookups.count().saturating_add(samplings.count()) < LOOKUPS_OF_PEER_MAX
            && self.lookups.len() < LOOKUPS_FOR_OTHERS_MAX
    }

    /// Returns the target of a lookup in progress.
    pub(super) fn target(&self, number: u64) -> Option<Key> {
        self.lookups.get(&number).map(|running| running.lookup.target())
    }

    pub(super) fn gauges(&self) -> [Gauge; 4] {
        [
            Gauge::new("lookups", self.lookups.len(), LOOKUPS_MAX),
            Gauge::new("publications", self.publications.len(), PUBLICATIONS_MAX),
            Gauge::new("waiting publications", self.waiting.len(), WAITING_MAX),
            Gauge::new("queries", self.queries.len(), QUERIES_MAX),
        ]
    }

    pub(super) fn state_bytes(&self) -> usize {
        let lookups = self.lookups.values().map(|running| running.lookup.state_bytes());
        let waiting = self.waiting.len().saturating_mul(limits::NODE_RECORD_MAX);
        lookups.sum::<usize>().saturating_add(waiting)
    }

    fn number(&mut self) -> u64 {
        self.numbers = self.numbers.saturating_add(1);
        self.numbers
    }
}

impl Router {
    /// Starts a lookup. If there are too many, it ends at once without a result.
    pub(super) fn look_up(
        &mut self,
        target: Key,
        record: bool,
        then: Then,
        now: Instant,
        rows: &dyn Rows,
    ) {
        let number = self.operations.number();
        let rules = self.config.lookup_rules();
        let per_network = self.per_network();
        let nearest = if self.operations.lookups.len() < LOOKUPS_MAX {
            self.table.nearest(&target, limits::BUCKET_MAX, None, per_network)
        } else {
            Vec::new()
        };
        self.table.looked(&target, now);
        let mut lookup = Lookup::new(target, record, rules, nearest);
        let mut told = false;
        if record
            && let Some(kept) = self.records.get(&target, now, rows)
            && let Ok(verified) = Verified::verify(&kept, &self.config.verifier)
        {
            lookup.knows(verified);
            // It may be old, but the first valid one is reported at once.
            if let Then::LookedUp(Origin::Command { ticket, .. }) = then {
                self.emit(RouterEvent::Found { ticket, record: kept });
                told = true;
            }
        }
        if self.operations.lookups.len() >= LOOKUPS_MAX {
            return self.finish(Running { lookup, then, told }, now, rows);
        }
        self.operations.lookups.insert(number, Running { lookup, then, told });
        self.operations.touched.insert(number);
    }

    pub(super) fn lookup_answered(
        &mut self,
        number: u64,
        from: NodeId,
        answer: Answer,
        contacts: Vec<Contact>,
        now: Instant,
    ) {
        self.operations.touched.insert(number);
        let own = self.own.node();
        let contacts = contacts.into_iter().filter(|contact| contact.node != own).collect();
        let record = self.links.record(&from);
        let Some(running) = self.operations.lookups.get_mut(&number) else { return };
        let is_better = running.lookup.answered(&from, answer, contacts, now);
        let is_sample =
            if let Then::Sample(sampling) = running.then { Some(sampling) } else { None };
        if is_better
            && let Then::LookedUp(Origin::Command { ticket, .. }) = running.then
            && !std::mem::replace(&mut running.told, true)
            && let Some(best) = running.lookup.best()
        {
            let record = best.to_record();
            self.emit(RouterEvent::Found { ticket, record });
        }
        if let (Some(sampling), Some(record)) = (is_sample, record) {
            self.operations.sampled(sampling, record);
        }
    }

    pub(super) fn lookup_late(&mut self, number: u64, node: &NodeId, _now: Instant) {
        if let Some(running) = self.operations.lookups.get_mut(&number) {
            running.lookup.late(node);
            self.operations.touched.insert(number);
        }
    }

    pub(super) fn lookup_lost(&mut self, number: u64, node: &NodeId, now: Instant) {
        if let Some(running) = self.operations.lookups.get_mut(&number) {
            running.lookup.failed(node, now);
            self.operations.touched.insert(number);
        }
    }

    /// Advances one operation with news. Returns false if there was none.
    pub(super) fn advance(&mut self, now: Instant, rows: &dyn Rows) -> bool {
        let Some(number) = self.operations.touched.pop_first() else { return false };
        if self.operations.publications.contains_key(&number) {
            self.advance_publication(number, now);
            return true;
        }
        let Some(mut running) = self.operations.lookups.remove(&number) else { return true };
        while let Some(contact) = running.lookup.next(now) {
            let word = Routing::Find {
                target: running.lookup.target(),
                record: running.lookup.wants_record(),
            };
            if !self.ask(&contact, Purpose::Lookup(number), word, now) {
                running.lookup.failed(&contact.node, now);
            }
        }
        if running.lookup.is_done() {
            self.finish(running, now, rows);
        } else {
            self.operations.lookups.insert(number, running);
        }
        true
    }

    fn finish(&mut self, running: Running, now: Instant, rows: &dyn Rows) {
        let Running { lookup, then, told: _ } = running;
        if lookup.wants_record() {
            self.spread_best(&lookup, now);
        }
        match then {
            Then::LookedUp(origin) => self.tell(origin, &lookup, now),
            Then::Publish(unpublished) => {
                self.start_publication(&lookup, unpublished, now, rows);
            }
            Then::Refresh => {}
            Then::Join => self.on_joined(now, rows),
            Then::Sample(sampling) => self.continue_sampling(sampling, &lookup, now, rows),
        }
        self.start_waiting(now, rows);
    }

    /// Sends the best record to the nodes that had an older one, and a copy to the nearest node on
    /// the path that had none.
    fn spread_best(&mut self, lookup: &Lookup, now: Instant) {
        let Some(best) = lookup.best() else { return };
        let record = best.to_record();
        for loser in lookup.losers() {
            let word = Routing::Store { record: record.clone(), age_s: 0 };
            self.ask(loser, Purpose::Gift, word, now);
        }
        if let Some((contact, nearer)) = lookup.to_cache_at() {
            // Half as long for each node that is nearer (Kademlia, section 2.3).
            let life_s = limits::RECORD_LIFE_S.checked_shr(nearer.saturating_add(1)).unwrap_or(0);
            let age_s = limits::RECORD_LIFE_S.saturating_sub(life_s.max(CACHED_MIN_S));
            self.ask(&contact, Purpose::Gift, Routing::Store { record, age_s }, now);
        }
    }

    fn tell(&mut self, origin: Origin, lookup: &Lookup, now: Instant) {
        let result = LookedUp {
            record: lookup.best().map(Verified::to_record),
            nearest: lookup.nearest(limits::BUCKET_MAX),
            hops: lookup.hops().to_vec(),
            rounds: lookup.rounds(),
            requests: lookup.requests(),
        };
        match origin {
            Origin::Command { ticket, insist } => {
                let found = result.record.is_some();
                if !found && insist && self.ask_everybody(lookup.target(), ticket, &result, now) {
                    return;
                }
                self.emit(RouterEvent::LookedUp { ticket, result });
            }
            Origin::Peer { peer, request, trace } => {
                let hops = if trace { result.hops } else { Vec::new() };
                let word = Routing::LookedUp { record: result.record, hops };
                self.reply(peer, request, Body::Routing(word));
            }
        }
    }

    /// Asks every node by gossip, as a last resort. Returns false if it is too soon for it.
    fn ask_everybody(&mut self, target: Key, ticket: u64, so_far: &LookedUp, now: Instant) -> bool {
        if let Some(queried) = self.operations.queries.get_mut(&target) {
            queried.asked_by.push((ticket, so_far.clone()));
            return true;
        }
        if self.operations.queries.len() >= QUERIES_MAX
            || !self.gossip.query(account_at(&target), now)
        {
            return false;
        }
        let queried =
            Queried { until: now.after(QUERY_WAIT), asked_by: vec![(ticket, so_far.clone())] };
        self.operations.queries.insert(target, queried);
        true
    }

    /// Handles a record that every node was asked for.
    pub(super) fn query_answered(&mut self, key: &Key, now: Instant, rows: &dyn Rows) {
        let Some(record) = self.records.get(key, now, rows) else { return };
        let Some(queried) = self.operations.queries.remove(key) else { return };
        self.gossip.answered(account_at(key));
        for (ticket, result) in queried.asked_by {
            let result = LookedUp { record: Some(record.clone()), ..result };
            self.emit(RouterEvent::LookedUp { ticket, result });
        }
    }

    pub(super) fn expire_queries(&mut self, now: Instant) {
        while let Some(key) = self
            .operations
            .queries
            .iter()
            .find(|(_, queried)| queried.until <= now)
            .map(|(key, _)| *key)
        {
            let Some(queried) = self.operations.queries.remove(&key) else { return };
            for (ticket, result) in queried.asked_by {
                self.emit(RouterEvent::LookedUp { ticket, result });
            }
        }
    }

    /// Handles a query to every node: this one answers if it stores the record, and the application
    /// may if it is a home.
    pub(super) fn asked_everybody(&mut self, query: Query, now: Instant, rows: &dyn Rows) {
        match self.records.get(&Key::from(query.account), now, rows) {
            Some(record) => self.answer_query(&query, record, now),
            None => self.emit(RouterEvent::Asked(query)),
        }
    }

    pub(super) fn answer_query(&mut self, query: &Query, record: Record, now: Instant) {
        let word = Routing::Store { record, age_s: 0 };
        self.ask(&query.origin, Purpose::Gift, word, now);
    }
}

/// Lookups in progress. Each takes some 10 KiB.
const LOOKUPS_MAX: usize = 64;
/// Lookups in progress beyond which none is started for another node.
const LOOKUPS_FOR_OTHERS_MAX: usize = 48;
/// Lookups and samples in progress for one peer.
const LOOKUPS_OF_PEER_MAX: usize = 8;
/// Accounts that every node is asked for at the same time.
const QUERIES_MAX: usize = 16;
const QUERY_WAIT: Duration = Duration::from_secs(5);
/// A copy that would expire sooner is not worth sending.
const CACHED_MIN_S: u32 = 300;
