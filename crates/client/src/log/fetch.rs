//! Fetching: what deferred entries wait for is asked of the primary home, every other time of the
//! secondary. Specified in `spec/delivery.md`, section 4.

use proto::{Body, Envelope, EnvelopeId, Reference, limits};

use super::{
    Log,
    deferred::{self, DeferredRow},
};
use crate::{
    link::{Links, back_off_time},
    step::Step,
    topics::{ConversationTimer, LogRequest, Request},
};

impl Log {
    /// Defers an entry that waits for these, if there is room, and asks for what is missing.
    pub(crate) fn defer(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        envelope: &Envelope,
        missing: Vec<Vec<u8>>,
    ) {
        if missing.len() > limits::DEPENDENCIES_MAX {
            return step.count_dropped();
        }
        let id = envelope.id();
        let before = deferred::row(step.rows(), &self.id, &id);
        let row = DeferredRow::new(envelope, missing, before.as_ref(), step.now());
        if !self.make_room(step, &id, &row) {
            return step.count_dropped();
        }
        deferred::put(step, &self.id, &id, &row);
        if self.deferred.add(id, &row) {
            self.disarm(step, ConversationTimer::Refetch);
        }
        self.fetch_missing(step, links);
    }

    /// Makes room for an entry that is to wait; returns whether there is any.
    ///
    /// Those with an unknown write key make room, that have waited longest first: it is not known
    /// whether a member wrote them, while one that waits for a dependency was opened. When the
    /// key arrives after all, what follows them names them, so that they are fetched again.
    fn make_room(&mut self, step: &mut Step<'_>, id: &EnvelopeId, row: &DeferredRow) -> bool {
        while !self.deferred.fits(id, row) {
            let Some(oldest) = self.deferred.oldest_unopened(id) else { return false };
            self.forget_deferred(step, &oldest);
            step.count_dropped();
        }
        true
    }

    /// An entry waits no longer, whether it was shown or dropped.
    pub(crate) fn forget_deferred(&mut self, step: &mut Step<'_>, id: &EnvelopeId) {
        if let Some(row) = deferred::row(step.rows(), &self.id, id) {
            deferred::delete(step, &self.id, id);
            self.deferred.remove(id, row.missing());
        }
    }

    /// Takes the envelopes that waited for nothing but this reference or write key.
    pub(crate) fn release(&mut self, step: &Step<'_>, arrived: &[u8]) -> Vec<Envelope> {
        let released = self.deferred.released(arrived);
        let load = |id| deferred::envelope(step.rows(), &self.id, id);
        released.iter().filter_map(load).collect()
    }

    /// Returns whether entries wait for this one and it is not here, not even waiting itself.
    pub(crate) fn misses(&self, reference: &Reference) -> bool {
        self.deferred.misses(reference)
    }

    /// A page of what was fetched is here; `more` did not fit, and some of the page was missed.
    pub(crate) fn on_page_taken_in(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        more_is_missing: bool,
    ) {
        if more_is_missing {
            self.deferred.fetch_again();
        }
        self.fetch_missing(step, links);
    }

    /// Asks for what entries wait for and was not asked for yet, one request at a time.
    pub(super) fn fetch_missing(&mut self, step: &mut Step<'_>, links: &mut Links) {
        let primary = self.primary().map(|address| address.node);
        let secondary = self.secondary().filter(|_| self.deferred.rounds() % 2 == 1);
        let nodes = [secondary, primary].into_iter().flatten();
        let mut open = nodes.filter_map(|node| Some((node, links.find_fetching(&node, &self.id)?)));
        let Some((node, (channel, key))) = open.next() else { return };
        let again = back_off_time(self.deferred.rounds());
        let log = self.id;
        let fetches = |request: &Request| matches!(request, Request::Log(at, LogRequest::Fetch(_)) if *at == log);
        if links.pending(&node, fetches) > 0 {
            return self.arm(step, again, ConversationTimer::Refetch);
        }
        let references = self.deferred.take_wanted();
        if !self.deferred.has_asked() {
            return;
        }
        self.arm(step, again, ConversationTimer::Refetch);
        if !references.is_empty() {
            let request = Request::Log(self.id, LogRequest::Fetch(key));
            links.request(step, &node, request, Body::Fetch { channel, references });
        }
    }

    /// Asks again for all that is still missing; with back-off if no node has it.
    pub(crate) fn refetch(&mut self, step: &mut Step<'_>, links: &mut Links) {
        self.deferred.next_round();
        self.fetch_missing(step, links);
    }
}
