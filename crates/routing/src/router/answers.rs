//! What others answer to this node.

use proto::{Body, Code, Instant, Key, NodeId, Record, Routing, Rows};

use super::{Purpose, Router};
use crate::{lookup::Answer, record::Verified};

impl Router {
    /// Handles an answer, if it was requested.
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
        self.errands.measured(&from, took);
        match (purpose, word) {
            (Purpose::Lookup(number), Routing::Found { record, contacts }) => {
                let Some(target) = self.errands.target(number) else { return };
                let answer =
                    record.map_or(Answer::Nothing, |record| self.checked(&record, &target));
                self.lookup_answered(number, from, (answer, contacts), now, rows);
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

    /// A record in an answer: it must verify, and be the requested one.
    fn checked(&mut self, record: &Record, target: &Key) -> Answer {
        match Verified::verify(record, &self.config.verifier) {
            Ok(verified) if verified.key() == *target => Answer::Record(Box::new(verified)),
            Ok(_) | Err(_) => {
                self.drop_word();
                Answer::Nonsense
            }
        }
    }

    /// `Store` was answered, or something else was refused.
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

    /// A request takes long: its operation continues without it.
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

    /// A request has no answer.
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
