//! Anti-entropy frames and timers: comparing with other nodes, and scrubbing what is here.

use proto::{Body, Code, Compare, Frame, Instant, LogId, Peer, Reference, Rows, Transaction};

use super::Node;
use crate::{anti_entropy::Around, log::Logs, replica::Answered, session::Question};

impl Node {
    /// A peer has said Hello. It may be a node that holds logs of this one.
    pub(super) fn on_node_greeted(&mut self, peer: Peer, tx: &mut Transaction<'_>, now: Instant) {
        if self.replicas.greeted(peer, now) {
            self.copies.restart_if_wanted(now);
        }
        if self.replicas.wants(&peer) {
            self.anti_entropy.greeted(peer, now);
            self.pass_next_record_on(&peer, tx);
        }
    }

    /// Another node asks what is here.
    pub(super) fn on_compare(
        &mut self,
        question: Question,
        compare: &Compare,
        rows: &dyn Rows,
        now: Instant,
    ) -> Result<(), Code> {
        let Self { anti_entropy, logs, replicas, counting, .. } = self;
        let around = &mut Around { rows, logs, replicas, counters: &mut counting.counters };
        anti_entropy.on_compare(question, compare, around, now)
    }

    /// Takes a frame that answers a comparison of this node; returns whether it does.
    pub(super) fn on_anti_entropy_answer(
        &mut self,
        peer: Peer,
        frame: &Frame,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> bool {
        let answered = self.anti_entropy.on_answer(peer, frame, now);
        if let Answered::NoCopy(number) = answered {
            // It may have dropped its copy while it was not connected to this node.
            self.take_part(number, &peer, false, tx, now);
        }
        answered != Answered::Unasked
    }

    /// Another node says which entries it lacks.
    pub(super) fn on_lacking(
        &mut self,
        peer: Peer,
        log: LogId,
        references: &[Reference],
        rows: &dyn Rows,
    ) -> Result<Body, Code> {
        let Self { anti_entropy, logs, replicas, counting, .. } = self;
        let around = &mut Around { rows, logs, replicas, counters: &mut counting.counters };
        anti_entropy.on_lacking(peer, log, references, around)
    }

    pub(super) fn on_anti_entropy_timeout(&mut self, tx: &mut Transaction<'_>, now: Instant) {
        let Self { anti_entropy, scrub, logs, replicas, counting, .. } = self;
        let counters = &mut counting.counters;
        let scrubbed = scrub.on_timeout(logs, tx, now);
        counters.rows_repaired = counters.rows_repaired.saturating_add(scrubbed.repaired);
        for number in scrubbed.changed {
            anti_entropy.changed(nodes_of(logs, number, tx), now);
        }
        anti_entropy.on_timeout(&mut Around { rows: tx, logs, replicas, counters }, now);
    }
}

fn nodes_of<'a>(logs: &'a mut Logs, number: u64, rows: &dyn Rows) -> &'a [Peer] {
    logs.get(rows, number).map(|log| log.nodes.as_slice()).unwrap_or_default()
}
