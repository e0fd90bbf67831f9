//! Requests of other nodes. Specified in `spec/routing.md`, section 4.

use std::{cmp::Ordering, time::Duration};

use proto::{Body, Code, Contact, Instant, Key, NodeId, Record, Routing, Rows, WriteBatch, limits};
use rand_core::Rng;

use super::{
    Router,
    operations::{Origin, Then},
    purpose::Purpose,
};
use crate::{record::NodeRecord, record_store::Refusal, space::Distance};

impl Router {
    /// Handles a request, and answers it now or later.
    pub(super) fn question(
        &mut self,
        from: NodeId,
        request: u32,
        word: Routing,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<(), Code> {
        match word {
            Routing::Find { target, record } => {
                let answer = self.find(&from, &target, record, now, rows);
                self.counters.answers = self.counters.answers.saturating_add(1);
                self.reply(from, request, Body::Routing(answer));
                Ok(())
            }
            Routing::Store { record, age_s } => {
                self.store(from, request, &record, age_s, now, rows);
                Ok(())
            }
            Routing::Probe { contact, dial } => self.probe(from, request, contact, dial, now),
            Routing::Lookup { target, trace } => {
                if !self.operations.has_room_for(&from) {
                    return Err(Code::Busy);
                }
                let then = Then::LookedUp(Origin::Peer { peer: from, request, trace });
                self.look_up(target, true, then, now, rows);
                Ok(())
            }
            Routing::Sample => {
                if !self.operations.has_room_for(&from) {
                    return Err(Code::Busy);
                }
                self.sample(Origin::Peer { peer: from, request, trace: false }, now, rows);
                Ok(())
            }
            Routing::AskRelay => self.relay_asked(from, request),
            Routing::Introduce(_)
            | Routing::Found { .. }
            | Routing::Probed(_)
            | Routing::Sampled(_)
            | Routing::LookedUp { .. }
            | Routing::RelayIs { .. }
            | Routing::Gossip(_) => Err(Code::Unexpected),
        }
    }

    fn find(
        &self,
        from: &NodeId,
        target: &Key,
        record: bool,
        now: Instant,
        rows: &dyn Rows,
    ) -> Routing {
        let record = if record { self.records.get(target, now, rows) } else { None };
        let per_network = self.per_network();
        let contacts = self.table.nearest(target, limits::BUCKET_MAX, Some(from), per_network);
        Routing::Found { record, contacts }
    }

    fn store(
        &mut self,
        from: NodeId,
        request: u32,
        record: &Record,
        age_s: u32,
        now: Instant,
        rows: &dyn Rows,
    ) {
        let kept = if self.links.may_store(&from, now) {
            self.keep_record(record, age_s, now, rows)
        } else {
            Err(Code::Busy.into())
        };
        match kept {
            Ok(key) => {
                self.reply(from, request, Body::Accepted { channel: 0, sequence: 0 });
                self.query_answered(&key, now, rows);
            }
            Err(refusal) => {
                self.counters.refused = self.counters.refused.saturating_add(1);
                self.reply(from, request, refusal.into());
            }
        }
    }

    /// Stores a record.
    pub(super) fn keep_record(
        &mut self,
        record: &Record,
        age_s: u32,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<Key, Refusal> {
        let mut batch = WriteBatch::default();
        let jitter = self.jitter(REPUBLISH_JITTER);
        let kept = self.records.store(record, age_s, jitter, now, rows, &mut batch);
        self.note(batch);
        kept
    }

    /// Probes a node for another one. A node that asks about itself is connected already, so the
    /// probe is forwarded to another node.
    fn probe(
        &mut self,
        from: NodeId,
        request: u32,
        contact: Contact,
        dial: bool,
        now: Instant,
    ) -> Result<(), Code> {
        if NodeRecord::key_of(&contact, self.config.verifier.work_bits()).is_none() {
            return Err(Code::Invalid);
        }
        if !self.probes.take(now) {
            return Err(Code::Busy);
        }
        let cant_tell = Body::Routing(Routing::Probed(None));
        if contact.node == from {
            let others: Vec<NodeId> = self.links.nodes().filter(|node| *node != from).collect();
            let drawn = usize::try_from(self.rng.next_u32()).unwrap_or_default();
            let drawn = drawn.checked_rem(others.len()).and_then(|drawn| others.get(drawn));
            let asked = drawn.is_some_and(|other| {
                let word = Routing::Probe { contact, dial };
                self.links.ask(*other, &[], Purpose::PassedOn(from, request), word, now)
            });
            if !asked {
                self.reply(from, request, cant_tell);
            }
            return Ok(());
        }
        if dial {
            // A connection that the node may have made itself proves nothing.
            return self.try_to_dial(contact, (from, request));
        }
        let word = Routing::Find { target: Key::from(contact.node), record: false };
        if !self.ask(&contact, Purpose::Probe(from, request), word, now) {
            self.reply(from, request, cant_tell);
        }
        Ok(())
    }

    /// Returns whether this node is nearer to a key than the farthest of the nearest nodes.
    pub(super) fn is_nearer_than(&self, farthest: Option<&Contact>, target: &Key) -> bool {
        let Some(farthest) = farthest else { return true };
        let Some(key) = NodeRecord::key_of(farthest, 0) else { return true };
        let own = Distance::between(&self.own.dht_key(), target);
        own.cmp(&Distance::between(&key, target)) == Ordering::Less
    }
}

/// So that the first of the nodes that store a record republishes it, and the others need not.
const REPUBLISH_JITTER: Duration = Duration::from_secs(1800);
