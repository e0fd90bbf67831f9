//! Answers of other nodes.

use proto::{Body, Code, Instant, Key, NodeId, Record, Routing, Rows};

use super::{Router, purpose::Purpose};
use crate::{lookup::Answer, record::Verified};

impl Router {
    /// Handles an answer, if it was asked for.
    pub(super) fn answer(
        &mut self,
        from: NodeId,
        request: u32,
        word: Routing,
        now: Instant,
        rows: &dyn Rows,
    ) {
        let Some((purpose, took)) = self.links.answered(&from, request, now) else {
            return self.drop_word();
        };
        self.table.answered(&from, now);
        self.operations.measured(&from, took);
        match (purpose, word) {
            (Purpose::Lookup(number), Routing::Found { record, contacts }) => {
                let Some(target) = self.operations.target(number) else { return };
                let answer =
                    record.map_or(Answer::Nothing, |record| self.checked(&record, &target));
                self.lookup_answered(number, from, answer, contacts, now);
            }
            (Purpose::Check, Routing::Found { .. }) => {}
            (Purpose::Probe(asker, request), Routing::Found { .. }) => {
                self.reply(asker, request, Body::Routing(Routing::Probed(Some(true))));
            }
            (Purpose::PassedOn(asker, request), Routing::Probed(outcome)) => {
                self.reply(asker, request, Body::Routing(Routing::Probed(outcome)));
            }
            (Purpose::ProbeThrough(node), Routing::Probed(outcome)) => {
                self.gossip.probed(node, from, outcome, now);
            }
            (Purpose::Reach, Routing::Probed(outcome)) => self.reach_told(outcome, now, rows),
            (Purpose::Relay, Routing::RelayIs { addresses, token }) => {
                self.relay_given(from, addresses, token, now, rows);
            }
            _ => self.drop_word(),
        }
    }

    /// Verifies a record in an answer, which must be the one asked for.
    fn checked(&mut self, record: &Record, target: &Key) -> Answer {
        match Verified::verify(record, &self.config.verifier) {
            Ok(verified) if verified.key() == *target => Answer::Record(Box::new(verified)),
            Ok(_) | Err(_) => {
                self.drop_word();
                Answer::Invalid
            }
        }
    }

    /// Handles the answer to `Store`, or a refusal.
    pub(super) fn stored(
        &mut self,
        from: NodeId,
        purpose: Purpose,
        answer: Result<(), (Code, Vec<u8>)>,
        now: Instant,
        rows: &dyn Rows,
    ) {
        match purpose {
            Purpose::Store(number) => self.publication_answered(number, from, answer, now, rows),
            Purpose::Gift | Purpose::Check => {}
            Purpose::Lookup(_)
            | Purpose::Probe(..)
            | Purpose::PassedOn(..)
            | Purpose::ProbeThrough(_)
            | Purpose::Reach
            | Purpose::Relay => self.lost(from, purpose, now),
        }
    }

    /// Handles a late answer: the operation that waits for it continues without.
    pub(super) fn late(&mut self, node: NodeId, purpose: &Purpose, now: Instant) {
        match purpose {
            Purpose::Lookup(number) => self.lookup_late(*number, &node, now),
            Purpose::Store(number) => self.publication_late(*number, &node),
            Purpose::Gift
            | Purpose::Check
            | Purpose::Probe(..)
            | Purpose::PassedOn(..)
            | Purpose::ProbeThrough(_)
            | Purpose::Reach
            | Purpose::Relay => {}
        }
    }

    /// Handles a request that will not be answered.
    pub(super) fn lost(&mut self, node: NodeId, purpose: Purpose, now: Instant) {
        match purpose {
            Purpose::Lookup(number) => self.lookup_lost(number, &node, now),
            Purpose::Store(number) => self.publication_lost(number, &node),
            // For reach and relays another node is asked soon.
            Purpose::Gift | Purpose::Check | Purpose::Reach | Purpose::Relay => {}
            Purpose::Probe(asker, request) => {
                self.reply(asker, request, Body::Routing(Routing::Probed(Some(false))));
            }
            Purpose::PassedOn(asker, request) => {
                self.reply(asker, request, Body::Routing(Routing::Probed(None)));
            }
            Purpose::ProbeThrough(of) => self.gossip.probed(of, node, None, now),
        }
    }
}
