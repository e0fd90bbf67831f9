//! Conversations: what people say to each other, over one log. A conversation seals what leaves,
//! opens what arrives, and keeps the timeline; the [`Log`] below it carries the envelopes.
//!
//! ```text
//!  compose ─▶ group: seal ─▶ timeline ─▶ Log::append    Log ─▶ incoming ─▶ group: open ─▶ timeline
//!                 ▲ withdraw: what its node will never take leaves the timeline, and what depends
//!                   on it is sealed again
//! ```

mod compose;
mod drafts;
mod epoch;
mod frontier;
mod group;
mod incoming;
mod row;
mod timeline;
mod withdraw;

use std::{collections::BTreeSet, time::Duration};

use proto::{
    AccountId, Body, Code, ContentBody, ConversationId, Cursor, Gauge, LogId, NodeAddress, NodeId,
    Reference, Rows,
};

pub use compose::TEXT_MAX;
pub(crate) use compose::{check_emoji, check_text};
pub(crate) use drafts::{count_drafts, forget_drafts, keep_draft};
use frontier::Frontier;
pub(crate) use frontier::last_arrival;
use group::Group;
pub(crate) use row::{logs, placements};
pub(crate) use timeline::{unread, visit_annotations, visit_arrivals};

use crate::{
    Event,
    contact::{self, NewConversation},
    entries,
    identity::{ActiveHomes, Identity},
    link::{Links, LogUse, PAUSE_MIN},
    log::{Acked, Appended, Log, LogState, Policy},
    step::Step,
    topics::{ConversationTimer, LogRequest, Timer},
};

/// One conversation, as rows have it.
pub(crate) struct Conversation {
    contact: AccountId,
    log: Log,
    group: Group,
    frontier: Frontier,
    events: Vec<ConversationEvent>,
}

/// What others have to know of a conversation.
pub(crate) enum ConversationEvent {
    /// Its log was opened for the first time: the contact can be asked to join.
    Created,
    /// A contact has said which record of this account it has, by its hash.
    BundleSeen { author: AccountId, seen: [u8; 32] },
    /// A contact accepts, in place of another conversation if it says so.
    Accepted { author: AccountId, bundle: Vec<u8>, instead_of: Option<LogId> },
    /// A node has acknowledged an own entry which the contact is going to acknowledge too.
    Acked,
}

/// Setting up.
impl Conversation {
    /// Starts a conversation from its first epoch.
    pub(crate) fn create(
        step: &mut Step<'_>,
        new: NewConversation,
        homes: ActiveHomes,
        policy: Policy,
    ) -> Self {
        let NewConversation { genesis, contact, ranking, created, out, snapshot } = new;
        let unannounced = BTreeSet::new();
        let (exists, shared) = (false, false);
        let state = LogState { genesis, ranking, created, exists, shared, unannounced };
        let log = Log::load(step.rows(), state, homes, policy);
        let group = Group::create(step, *log.id(), out, &snapshot);
        let frontier = Frontier::default();
        let conversation = Self { contact, log, group, frontier, events: Vec::new() };
        conversation.save(step);
        conversation.frontier.save(step, conversation.log.id());
        conversation
    }

    pub(crate) fn load(
        rows: &dyn Rows,
        log: LogId,
        homes: ActiveHomes,
        policy: Policy,
    ) -> Option<Self> {
        let row = row::load(rows, &log)?;
        let contact = row.contact()?;
        let group = row.group(rows, log)?;
        let log = Log::load(rows, row.log_state()?, homes, policy);
        let frontier = Frontier::load(rows, log.id())?;
        Some(Self { contact, log, group, frontier, events: Vec::new() })
    }

    fn save(&self, step: &mut Step<'_>) {
        row::save(step, &self.contact, &self.log, &self.group);
    }

    /// Ends what an input led to here: saves what changed, and returns what others have to know.
    pub(crate) fn finish(&mut self, step: &mut Step<'_>) -> Vec<ConversationEvent> {
        let log_changed = self.log.take_changed();
        if self.group.take_changed() || log_changed {
            self.save(step);
        }
        std::mem::take(&mut self.events)
    }

    /// Forgets the conversation and whatever goes on in it. Its timeline stays in rows.
    pub(crate) fn forget(self, step: &mut Step<'_>, links: &mut Links) {
        let log = *self.log.id();
        row::forget(step, &log);
        step.timers().disarm_all(|timer| matches!(timer, Timer::Conversation(_, of) if *of == log));
        links.close(step, |channel| channel.is_of(&log));
    }
}

/// What is known of it.
impl Conversation {
    pub(crate) fn contact(&self) -> &AccountId {
        &self.contact
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Resumes what the device was closed in the middle of.
    pub(crate) fn resume(&self, step: &mut Step<'_>) {
        if self.frontier.owes_receipt() {
            self.arm(step, Duration::ZERO, ConversationTimer::Receipt);
        }
    }

    pub(crate) fn needed_nodes(&self) -> impl Iterator<Item = &NodeAddress> {
        self.log.primary().into_iter().chain(self.log.unannounced_addresses())
    }

    pub(crate) fn gauges(&self) -> Vec<Gauge> {
        let heads = [self.frontier.gauge()];
        self.group.gauges().into_iter().chain(heads).chain(self.log.gauges()).collect()
    }
}

/// Nodes.
impl Conversation {
    /// Opens its log where it is.
    pub(crate) fn open(&mut self, step: &mut Step<'_>, links: &mut Links, own: Identity<'_>) {
        self.log.open(step, links, &self.group);
        self.resolve_refused(step, links, own, false);
    }

    /// An active home is up: opens the log there.
    pub(crate) fn on_home_up(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        node: &NodeId,
    ) {
        self.log.forget_refusals();
        if self.log.is_primary(node) {
            step.timers().disarm(Timer::Conversation(ConversationTimer::Retry, *self.log.id()));
            self.open(step, links, own);
        } else {
            self.log.open_secondary(step, links, &self.group);
        }
    }

    /// Other homes are active, or the same in other roles; if another one is the primary, the log
    /// is opened there.
    pub(crate) fn on_homes_changed(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        is_failover: bool,
    ) {
        self.log.set_homes(own.homes);
        if is_failover {
            self.log.fail_over(step, links, &self.group);
            self.resolve_refused(step, links, own, false);
        }
    }

    /// The own account has another record, and perhaps moves by it. Links to the nodes that have to
    /// be told are wanted.
    pub(crate) fn on_own_record(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        moves: bool,
    ) {
        let theirs = contact::bundle(step.rows(), &self.contact);
        self.log.set_homes(own.homes);
        self.log.on_own_record(step, links, own.bundle, theirs.as_ref(), moves);
        for node in self.log.unannounced_addresses() {
            links.want(step, node);
        }
    }

    /// The contact has a newer record: the log is opened again where it is by that. Returns whether
    /// it is ranked differently.
    pub(crate) fn on_contact_record(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
    ) -> bool {
        let Some(theirs) = contact::bundle(step.rows(), &self.contact) else { return false };
        if !self.log.on_contact_record(step, links, own.bundle, &theirs) {
            return false;
        }
        if let Some(node) = self.log.primary() {
            links.want(step, node);
        }
        self.open(step, links, own);
        for node in self.log.unannounced_addresses() {
            links.want(step, node);
        }
        step.drop_idle_links();
        true
    }

    /// All nodes of the ranking but the own homes have to be told of it.
    pub(crate) fn announce_to_all(&mut self, step: &mut Step<'_>, links: &mut Links) {
        self.log.announce_to_all();
        for node in self.log.unannounced_addresses() {
            links.want(step, node);
        }
    }

    /// Says which record of this account counts now; `instead_of` is the conversation that this one
    /// replaces.
    pub(crate) fn send_record(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        instead_of: Option<LogId>,
    ) {
        let bundle = own.bundle.as_bytes().to_vec();
        let _ = self.send(step, links, own, ContentBody::Accept { bundle, instead_of });
    }

    pub(crate) fn announce(&self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        self.log.announce(step, links, &self.group, node, 0);
    }

    /// Returns whether its nodes are others than the contact was told when it asked; then all have
    /// to be told.
    pub(crate) fn check_told(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        told: &[NodeAddress],
    ) {
        if let Some(node) = self.log.primary() {
            links.want(step, node);
        }
        if self.log.state().ranking.nodes != told {
            // One of the two has moved since they asked, and their node does not know where to.
            self.announce_to_all(step, links);
        }
    }
}

/// Channels and answers.
impl Conversation {
    pub(crate) fn on_opened(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        node: &NodeId,
        used_for: LogUse,
        head: Cursor,
    ) {
        if let LogUse::Announce(_) = used_for {
            return self.log.on_announced_ranking(step, links, node);
        }
        self.log.on_copy(step, node, used_for, head);
        match used_for {
            LogUse::Read => {
                if self.log.on_opened(step, links, &self.group) {
                    self.events.push(ConversationEvent::Created);
                }
            }
            LogUse::Write if self.log.is_primary(node) => {
                self.log.pump(step, links, &self.group);
            }
            LogUse::Write => self.log.hedge(step, links, &self.group),
            LogUse::Have => self.log.on_secondary_opened(step, links, &self.group),
            LogUse::Announce(_) => {}
        }
        self.resolve_refused(step, links, own, false);
    }

    pub(crate) fn on_open_refused(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        used_for: LogUse,
        code: Code,
    ) {
        match used_for {
            LogUse::Announce(back) => {
                self.log.on_announce_refused(step, links, &self.group, node, back, code);
            }
            LogUse::Read | LogUse::Write if self.log.is_primary(node) => {
                self.log.on_open_refused(step, links, used_for, code);
            }
            LogUse::Have => self.log.on_secondary_refused(step),
            LogUse::Read | LogUse::Write => {}
        }
    }

    /// A node answers a request. Returns false if that is no answer to it.
    pub(crate) fn on_answer(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        node: &NodeId,
        request: &LogRequest,
        answer: Body,
    ) -> bool {
        match (request, answer) {
            (LogRequest::Append(number), Body::Accepted { sequence, .. }) => {
                self.log.on_stored(step, node, sequence);
                if self.log.is_primary(node) {
                    let appended = self.log.on_accepted(step, links, node, *number);
                    self.on_append_answered(step, links, own, appended);
                }
            }
            (LogRequest::Hedge(_), Body::Accepted { sequence, .. }) => {
                self.log.on_stored(step, node, sequence);
            }
            (LogRequest::Fetch(key), Body::Page { entries, more }) => {
                self.on_fetched(step, links, own, *key, entries, more);
                self.log.on_announced_fetched(step, links, node, more);
            }
            _ => return false,
        }
        true
    }

    pub(crate) fn on_refused(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        node: &NodeId,
        request: &LogRequest,
        code: Code,
    ) {
        // Of an append to another node: that was the primary when it was asked.
        if let LogRequest::Append(number) = request
            && self.log.is_primary(node)
        {
            let appended = self.log.on_refused(step, links, node, *number, code);
            self.on_append_answered(step, links, own, appended);
        }
    }

    fn on_append_answered(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        appended: Appended,
    ) {
        if appended == Appended::Accepted && self.frontier.owes_receipt() {
            self.arm(step, Duration::ZERO, ConversationTimer::Receipt);
        }
        if appended != Appended::Blocked {
            self.log.pump(step, links, &self.group);
            self.resolve_refused(step, links, own, false);
        }
    }

    /// Returns the name by which the application addresses it.
    pub(crate) fn conversation_id(&self) -> ConversationId {
        ConversationId::Direct(self.contact)
    }

    /// A node says that it, or another one, holds an entry.
    pub(crate) fn on_ack(
        &mut self,
        step: &mut Step<'_>,
        links: &Links,
        node: &NodeId,
        reference: &Reference,
        ack: Acked,
    ) {
        if let Some(key) = self.log.on_ack(step, links, node, reference, ack)
            && entries::is_answered(step.rows(), self.log.id(), key)
        {
            self.events.push(ConversationEvent::Acked);
        }
    }

    /// A device of the conversation does something that is not stored.
    pub(crate) fn on_signal(&self, step: &mut Step<'_>, ciphertext: &[u8]) {
        match self.group.open_activity(ciphertext) {
            Some(activity) if activity.typing => {
                let conversation = self.conversation_id();
                step.emit(Event::Typing { conversation, account: self.contact });
            }
            Some(_) => {}
            None => step.count_dropped(),
        }
    }

    pub(crate) fn on_timer(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        timer: ConversationTimer,
    ) {
        match timer {
            ConversationTimer::Receipt => self.send_receipt(step, links, own, false),
            ConversationTimer::Retry => self.retry(step, links, own),
            ConversationTimer::Refetch => self.log.refetch(step, links),
            ConversationTimer::OpenSecondary => {
                self.log.open_secondary(step, links, &self.group);
            }
            ConversationTimer::FetchAnnounced => self.log.fetch_announced(step, links),
            ConversationTimer::Hedge => self.log.hedge(step, links, &self.group),
        }
    }

    /// Tries again what the primary would not do.
    fn retry(&mut self, step: &mut Step<'_>, links: &mut Links, own: Identity<'_>) {
        if self.log.reading(links).is_none() {
            return self.open(step, links, own);
        }
        if self.log.sending(links) > 0 {
            return self.log.retry_later(step, PAUSE_MIN);
        }
        if !self.resolve_refused(step, links, own, true) {
            self.log.retry(step, links, &self.group);
            self.resolve_refused(step, links, own, false);
        }
    }

    fn arm(&self, step: &mut Step<'_>, after: Duration, timer: ConversationTimer) {
        step.arm(after, Timer::Conversation(timer, *self.log.id()));
    }
}
