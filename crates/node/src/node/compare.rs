//! Comparing with other nodes, and with itself: what is there and what should be.

use proto::{Body, Code, Compare, Draft, Frame, Instant, LogId, Peer, Reference, Rows};

use super::Node;
use crate::{compare::Around, log::Logs, replica::Answered};

impl Node {
    /// A peer has said Hello. It may be a node that holds logs of this one.
    pub(super) fn node_greeted(&mut self, peer: Peer, draft: &mut Draft<'_>, now: Instant) {
        if self.replicas.greeted(peer, now) {
            self.copier_is_there(now);
        }
        if self.replicas.wants(&peer) {
            self.comparisons.greeted(peer, now);
            self.tell_next_record(&peer, draft);
        }
    }

    /// Another node wants to know what is here.
    pub(super) fn compare(
        &mut self,
        peer: Peer,
        request: u32,
        compare: &Compare,
        rows: &dyn Rows,
        now: Instant,
    ) -> Result<(), Code> {
        let Self { comparisons, logs, replicas, counting, .. } = self;
        let around = &mut Around { rows, logs, replicas, counters: &mut counting.counters };
        comparisons.ask(peer, request, compare, around, now)
    }

    /// Takes a frame in that answers a question of what is at another node; tells whether it does.
    pub(super) fn is_compared(
        &mut self,
        peer: Peer,
        frame: &Frame,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> bool {
        let answered = self.comparisons.answered(peer, frame, now);
        if let Answered::NoCopy(number) = answered {
            // It may have given its copy up when nobody told this node.
            self.take_part(number, &peer, false, draft, now);
        }
        answered != Answered::Unasked
    }

    /// Another node says that it lacks something.
    pub(super) fn lacking(
        &mut self,
        peer: Peer,
        log: LogId,
        references: &[Reference],
        rows: &dyn Rows,
    ) -> Result<Body, Code> {
        let Self { comparisons, logs, replicas, counting, .. } = self;
        let around = &mut Around { rows, logs, replicas, counters: &mut counting.counters };
        comparisons.lacking(peer, log, references, around)
    }

    pub(super) fn compare_timeout(&mut self, draft: &mut Draft<'_>, now: Instant) {
        let Self { comparisons, recount, logs, replicas, counting, .. } = self;
        let counters = &mut counting.counters;
        let (changed, mended) = recount.timeout(logs, draft, now);
        counters.mended = counters.mended.saturating_add(mended);
        for number in changed {
            comparisons.changed(nodes_of(logs, number, draft), now);
        }
        comparisons.timeout(&mut Around { rows: draft, logs, replicas, counters }, now);
    }
}

fn nodes_of<'a>(logs: &'a mut Logs, number: u64, rows: &dyn Rows) -> &'a [Peer] {
    logs.get(rows, number).map(|log| log.nodes.as_slice()).unwrap_or_default()
}
