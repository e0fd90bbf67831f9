//! The secondary home holds everything too and announces only the ids of what it has. That costs
//! little, and the device knows at all times up to where it has everything, and notices what its
//! primary withholds. Specified in `spec/delivery.md`, section 8.
//!
//! ```text
//!  primary ──── Deliver ───▶ device ◀── Announce (ids) ── secondary
//!    times out, or gone ──▶ failover: logs are opened again from the cursor up to which everything
//!    announced is here, and what the primary has not answered goes to the secondary
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::{Body, NodeId, Reference, limits};

use super::{Log, WriteKeys, cursor, deferred};
use crate::{
    entries,
    link::{Channel, ChannelAt, Links, LogUse, back_off_time},
    step::{Durability, Step},
    topics::{ConversationTimer, LogRequest, Request},
};

/// What the secondary home has announced of one log.
#[derive(Debug, Default)]
pub(super) struct HaveList {
    /// The last sequence that was announced.
    seen: u64,
    /// What is not here, and its sequence there.
    missing: BTreeMap<Reference, u64>,
    /// What of that the secondary was asked for.
    asked: BTreeSet<Reference>,
    /// How often opening the log there was refused.
    tries: u32,
}

impl HaveList {
    pub(super) fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Up to where everything that was announced is here.
    fn complete(&self) -> u64 {
        self.missing.values().min().map_or(self.seen, |first| first.saturating_sub(1))
    }
}

impl Log {
    /// Opens the log at the secondary home, to be told what is there.
    pub(crate) fn open_secondary(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        keys: &impl WriteKeys,
    ) {
        let Some(node) = self.secondary() else { return };
        let has_it = |channel: &Channel| self.has_channel(channel);
        if !links.is_up(&node) || links.has(&node, has_it) {
            return;
        }
        let tries = self.have.tries;
        self.have = HaveList { tries, ..HaveList::default() };
        if let Some(opening) = self.opening(step, keys, &node, LogUse::Have, tries) {
            links.open(step, &node, opening);
        }
    }

    fn has_channel(&self, channel: &Channel) -> bool {
        channel.serves(&self.id, LogUse::Have)
    }

    /// Returns whether the secondary home has the log open.
    pub(super) fn is_open_at_secondary(&self, links: &Links) -> bool {
        self.secondary()
            .is_some_and(|node| links.find(&node, |channel| self.has_channel(channel)).is_some())
    }

    /// The secondary home has opened the log.
    pub(crate) fn on_secondary_opened(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        keys: &impl WriteKeys,
    ) {
        self.have.tries = 0;
        self.awaited.restart();
        // It may have been away when it was to be given something.
        self.hedge(step, links, keys);
    }

    /// The secondary home would not open the log.
    pub(crate) fn on_secondary_refused(&mut self, step: &mut Step<'_>) {
        let later = back_off_time(self.have.tries);
        self.have.tries = self.have.tries.saturating_add(1);
        self.arm(step, later, ConversationTimer::OpenSecondary);
    }

    /// The secondary home announces an entry, in order.
    pub(crate) fn on_announced(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        at: ChannelAt<'_>,
        sequence: u64,
        reference: Reference,
    ) {
        links.check_order(step, at, sequence);
        let is_here = self.is_here(step, &reference);
        if !is_here && self.have.missing.len() >= HAVE_MAX {
            return step.count_dropped();
        }
        self.have.seen = self.have.seen.max(sequence);
        step.require(Durability::Later);
        if !is_here {
            self.have.missing.insert(reference, sequence);
            let primary = self.primary().map(|address| address.node);
            let timeout = primary.map_or(Duration::ZERO, |node| links.response_timeout(&node));
            self.arm(step, timeout, ConversationTimer::FetchAnnounced);
        }
        self.advance_at(step, links, at);
    }

    /// Something has arrived that the secondary home may have announced.
    pub(crate) fn check_announced(&mut self, step: &mut Step<'_>, links: &mut Links) {
        if self.have.missing.is_empty() {
            return;
        }
        let mut missing = std::mem::take(&mut self.have.missing);
        missing.retain(|reference, _| !self.is_here(step, reference));
        self.have.missing = missing;
        self.advance_at_secondary(step, links);
    }

    fn advance_at_secondary(&self, step: &mut Step<'_>, links: &mut Links) {
        let Some(node) = self.secondary() else { return };
        if let Some(number) = links.find(&node, |channel| self.has_channel(channel)) {
            self.advance_at(step, links, ChannelAt { node: &node, number });
        }
    }

    /// The cursor at the secondary home follows what is here.
    fn advance_at(&self, step: &mut Step<'_>, links: &mut Links, at: ChannelAt<'_>) {
        let complete = self.have.complete();
        if cursor::advance_cursor(step, at.node, &self.id, complete) {
            links.on_delivered(step, at, complete, ACKNOWLEDGE_DELAY);
        }
    }

    /// What was announced should have come from the primary by now: it is fetched from the
    /// secondary, and the primary is asked for it too, which shows whether it still responds.
    pub(crate) fn fetch_announced(&mut self, step: &mut Step<'_>, links: &mut Links) {
        self.check_announced(step, links);
        let missing = self.have.missing.keys().copied();
        let references: Vec<_> = missing.take(limits::FETCH_MAX).collect();
        if references.is_empty() {
            return;
        }
        self.have.asked = references.iter().copied().collect();
        let primary = self.primary().map(|address| address.node);
        for node in [self.secondary(), primary].into_iter().flatten() {
            if let Some((channel, key)) = links.find_fetching(&node, &self.id) {
                let body = Body::Fetch { channel, references: references.clone() };
                let request = Request::Log(self.id, LogRequest::Fetch(key));
                links.request(step, &node, request, body);
            }
        }
        self.arm(step, FETCH_AGAIN, ConversationTimer::FetchAnnounced);
    }

    /// The secondary home has handed over what it had announced, unless there is `more`. What is
    /// still not here is nothing that a member may send.
    pub(crate) fn on_announced_fetched(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        more: bool,
    ) {
        if self.secondary() != Some(*node) {
            return;
        }
        let asked = std::mem::take(&mut self.have.asked);
        let mut missing = std::mem::take(&mut self.have.missing);
        let before = missing.len();
        missing.retain(|reference, _| {
            !self.is_here(step, reference) && (more || !asked.contains(reference))
        });
        let is_useful = missing.len() < before;
        self.have.missing = missing;
        self.advance_at_secondary(step, links);
        // What did not fit the answer, or the request, is asked for at once; of a node that says so
        // and hands over nothing, later.
        if is_useful {
            self.disarm(step, ConversationTimer::FetchAnnounced);
            self.fetch_announced(step, links);
        }
    }

    /// Returns whether an entry is shown, or waits for others.
    fn is_here(&self, step: &Step<'_>, reference: &Reference) -> bool {
        entries::has(step.rows(), &self.id, reference)
            || deferred::has(step.rows(), &self.id, reference)
    }
}

/// Entries of a log that were announced and are not here: as many as wait for one peer.
pub(super) const HAVE_MAX: usize = limits::QUEUE_FRAMES_MAX;
/// How long the secondary home may wait to be told what has arrived: nothing waits for that.
const ACKNOWLEDGE_DELAY: Duration = Duration::from_secs(10);
/// When to ask again for what was announced.
const FETCH_AGAIN: Duration = Duration::from_secs(5);
