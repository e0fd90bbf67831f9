//! The queue: envelopes leave in order, as far as the window and the open channels allow.
//!
//! Delivery is at least once: an envelope is sent again on every new connection until its node has
//! accepted it, so the node must drop duplicates. Specified in `spec/delivery.md`, section 3.

use std::{collections::BTreeMap, time::Duration};

use proto::{Body, Code, Cursor, Entry, Envelope, Gauge, Kind, NodeId, PublicKey, limits};

use super::{
    Log, WriteKeys, cursor,
    outbox::{self, Refill},
};
use crate::{
    DeliveryStatus, entries,
    link::{Channel, ChannelUse, Links, LogUse, OpenLog, PAUSE_MIN, back_off_time, is_transient},
    rows::TimelineKey,
    step::{Misbehaviour, Step},
    topics::{ConversationTimer, LogRequest, Request, Timer},
};

/// What a node's answer to an append means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// The node holds the entry.
    Accepted,
    /// The other home has taken the entry before.
    TakenBefore,
    /// Nothing leaves until the entry is tried again.
    Blocked,
    /// The entry is refused finally, which its owner has to resolve.
    Refused,
}

/// An entry that its node will never take.
pub(crate) struct Refusal {
    pub(crate) number: u64,
    pub(crate) code: Code,
    pub(crate) envelope: Envelope,
}

/// Entries on their way, and what holds further ones back.
#[derive(Debug, Default)]
pub(super) struct SendWindow {
    /// The last number that was sent.
    sent: u64,
    /// The write key of all that is on its way; none if that is a key change, which travels alone:
    /// no answer to one entry may hang on that to another.
    together: Option<PublicKey>,
    /// What the node will never take, and why.
    refused: BTreeMap<u64, Code>,
    /// Nothing leaves until what was refused is dealt with, or its time has come.
    blocked: bool,
    /// The node took nothing recently, so that entries leave one at a time.
    probing: bool,
    /// How often the node was asked without success.
    tries: u32,
    /// How often in a row nodes would not take an entry for now.
    transient_refusals: u32,
    /// The last sequence that the log had when it was opened.
    log_end: u64,
}

impl SendWindow {
    pub(super) fn gauge(&self) -> Gauge {
        Gauge::new("refusals of a conversation", self.refused.len(), WINDOW)
    }

    /// The log is opened again, and what follows the entry `sent` is to be sent.
    fn restart(&mut self, sent: u64) {
        *self = Self {
            sent,
            tries: self.tries,
            transient_refusals: self.transient_refusals,
            ..Self::default()
        };
    }

    /// Nothing more leaves for now: what is behind an entry that was refused depends on it.
    fn block(&mut self) {
        self.blocked = true;
        self.probing = true;
    }

    /// Returns how many entries may be on their way at the same time.
    fn size(&self) -> usize {
        if self.probing { 1 } else { WINDOW }
    }
}

impl Log {
    /// Puts an envelope at the end of the outbox and sends what can be sent.
    pub(crate) fn append(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        keys: &impl WriteKeys,
        envelope: &Envelope,
    ) {
        self.enqueue(step, envelope);
        self.pump(step, links, keys);
    }

    fn enqueue(&mut self, step: &mut Step<'_>, envelope: &Envelope) {
        self.queued = self.queued.saturating_add(1);
        outbox::put(step, &self.id, self.queued, envelope);
    }

    /// Opens the log at its primary, to read and to write, and at the secondary home, if these are
    /// up.
    pub(crate) fn open(&mut self, step: &mut Step<'_>, links: &mut Links, keys: &impl WriteKeys) {
        self.open_secondary(step, links, keys);
        let Some(node) = self.primary().map(|address| address.node) else { return };
        if self.reads(links, &node) {
            return;
        }
        // Which nodes hold what was accepted on an earlier connection is not known any more.
        self.refill(step, Refill::Unsettled);
        self.window.restart(self.before_first(step));
        let opening = self.opening(step, keys, &node, LogUse::Read, self.window.tries);
        if let Some(opening) = opening {
            links.open(step, &node, opening);
        }
    }

    /// How the log is opened at an own home that has refused it so often before: to read, or to be
    /// told what is there.
    ///
    /// A node that may have no copy can only make one for the first key. That, too, is why every
    /// other try after a refusal is made with it; else with the newest key that the node knows, not
    /// those that commits in the outbox announce.
    pub(super) fn opening<'a>(
        &self,
        step: &Step<'_>,
        keys: &'a impl WriteKeys,
        node: &NodeId,
        used_for: LogUse,
        tries: u32,
    ) -> Option<OpenLog<'a>> {
        let tail = cursor(step.rows(), node, &self.id);
        let founds = tail.incarnation == 0 || tries % 2 == 1;
        let first = keys.first().filter(|_| founds);
        let newest =
            || keys.published(&outbox::announced_keys(step.rows(), &self.id)).first().copied();
        let opening = OpenLog::to_write(self.id, first.or_else(newest)?, ChannelUse::Log(used_for))
            .founding(first.map(|_| self.state.genesis.encode()))
            .from(tail)
            .announcing(self.ranking_to_announce().cloned());
        Some(opening)
    }

    /// The primary has opened the log for reading; its copy stands at `head`. Returns whether
    /// no device had opened the log before.
    pub(crate) fn on_opened(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        keys: &impl WriteKeys,
    ) -> bool {
        self.deferred.restart();
        let is_new = !std::mem::replace(&mut self.state.exists, true);
        self.changed |= is_new;
        self.disarm(step, ConversationTimer::Refetch);
        // A refusal from before it was opened may have come meanwhile.
        self.resend_all(step, links, keys);
        self.fetch_missing(step, links);
        is_new
    }

    /// A node has opened the log, whatever for. Where it was read it may have another copy now.
    pub(crate) fn on_copy(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        used_for: LogUse,
        head: Cursor,
    ) {
        let is_another = cursor::on_copy(step, node, &self.id, head);
        if is_another && used_for == LogUse::Read {
            self.refill(step, Refill::All);
        }
        self.window.log_end = head.sequence;
        self.window.tries = 0;
    }

    /// The node is up again, and refusals from before say nothing any more.
    pub(crate) fn forget_refusals(&mut self) {
        self.window.tries = 0;
        self.window.transient_refusals = 0;
    }

    /// Another node is the primary: tries at the one before say nothing any more.
    pub(super) fn forget_tries(&mut self) {
        self.window.tries = 0;
    }

    /// The primary would not open the log.
    pub(crate) fn on_open_refused(
        &mut self,
        step: &mut Step<'_>,
        links: &Links,
        used_for: LogUse,
        code: Code,
    ) {
        let later = back_off_time(self.window.tries);
        self.window.tries = self.window.tries.saturating_add(1);
        let without_success = self.window.tries >= OPENINGS_REFUSED_MAX;
        self.retry_later(step, later);
        if let Some(home) = self.primary().map(|address| address.node)
            && without_success
            && self.is_open_at_secondary(links)
        {
            step.report(&home, Misbehaviour::Refused);
        }
        // A node that does not know the write key of what is to be sent, and still does not a while
        // later, will not hear of the change from another node either: the one that had taken it is
        // gone. The next try begins with all changes.
        if used_for == LogUse::Write && code == Code::Forbidden && without_success {
            self.refill(step, Refill::Changes);
        }
    }

    /// Sends what the outbox holds, in order, as far as the window and the open channels allow.
    pub(crate) fn pump(&mut self, step: &mut Step<'_>, links: &mut Links, keys: &impl WriteKeys) {
        let Some((node, _)) = self.reading(links) else { return };
        if self.window.blocked || self.window.sent >= self.queued {
            return;
        }
        let mut on_the_way = self.sending(links);
        while on_the_way < self.window.size() && self.window.sent < self.queued {
            if !links.has_room(&node) {
                return self.retry_later(step, PAUSE_MIN);
            }
            let number = self.window.sent.saturating_add(1);
            if let Some(envelope) = outbox::get(step.rows(), &self.id, number) {
                let key = envelope.head.write_key;
                let alone = envelope.head.kind == Kind::KeyChange;
                if on_the_way > 0 && (alone || self.window.together != Some(key)) {
                    return;
                }
                let fits = |channel: &Channel| channel.writes(&self.id, &key);
                let Some(channel) = links.find(&node, fits) else {
                    if on_the_way == 0 {
                        self.open_to_write(step, links, keys, &node, number, &envelope);
                    }
                    return;
                };
                let entry = Entry::from_envelope(&envelope, 0, key);
                let body = Body::Append { channel, entry, signature: envelope.signature };
                let request = Request::Log(self.id, LogRequest::Append(number));
                links.request(step, &node, request, body);
                self.window.together = (!alone).then_some(key);
                on_the_way = on_the_way.saturating_add(1);
            }
            self.window.sent = number;
        }
    }

    /// Opens the log with the write key of the entry that is to leave next. Nothing is on its way
    /// on the channels of other epochs, so those are closed.
    fn open_to_write(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        keys: &impl WriteKeys,
        node: &NodeId,
        number: u64,
        envelope: &Envelope,
    ) {
        let Some(key) = keys.find(&envelope.head.write_key) else {
            // Its epoch was forgotten, so that it can't be sent any more.
            return self.refuse(step, number, Code::Forbidden);
        };
        let public = key.public();
        let stale =
            |channel: &Channel| channel.serves(&self.id, LogUse::Write) && channel.key() != public;
        links.close(step, stale);
        links.open(step, node, OpenLog::to_write(self.id, key, ChannelUse::Log(LogUse::Write)));
    }

    /// The primary holds an entry durably.
    pub(crate) fn on_accepted(
        &mut self,
        step: &mut Step<'_>,
        links: &Links,
        node: &NodeId,
        number: u64,
    ) -> Appended {
        let envelope = outbox::get(step.rows(), &self.id, number);
        if envelope.is_none() && !outbox::has(step.rows(), &self.id, number) {
            // The other home has taken it in the meantime. What is behind it may have waited for
            // this answer.
            return Appended::TakenBefore;
        }
        outbox::delete(step, &self.id, number);
        // What has no status is a change of keys by another member.
        if let Some(envelope) = envelope {
            let key = TimelineKey::of(&envelope);
            if entries::status(step.rows(), &self.id, key).is_some() {
                outbox::keep(step, &self.id, &envelope);
                self.await_acks(step, links, key, node);
            }
        }
        if number.is_multiple_of(SWEEP_EVERY) {
            outbox::sweep(step, &self.id);
        }
        self.window.probing = false;
        self.window.tries = 0;
        self.window.transient_refusals = 0;
        if number == self.queued {
            step.outbox_emptied(&self.id);
        }
        Appended::Accepted
    }

    /// The primary won't have an entry: for now, or finally.
    pub(crate) fn on_refused(
        &mut self,
        step: &mut Step<'_>,
        links: &Links,
        node: &NodeId,
        number: u64,
        code: Code,
    ) -> Appended {
        let Some(envelope) = outbox::get(step.rows(), &self.id, number) else {
            return Appended::TakenBefore;
        };
        step.report(node, Misbehaviour::Refused);
        // The position of an own entry is right: a node that says otherwise may accept it later.
        let is_transient = is_transient(code) || code == Code::Position;
        let key = TimelineKey::of(&envelope);
        if !is_transient && self.is_acked_by(step, node, key) {
            // Whatever it says now, its copy has the entry: appended again it would be there twice.
            return self.on_accepted(step, links, node, number);
        }
        if is_transient {
            let later = back_off_time(self.window.transient_refusals).min(BACK_OFF_MAX);
            // A full node may stay full for hours. Of all that was on its way together the first
            // counts.
            let is_first = !self.window.blocked;
            self.window.transient_refusals =
                self.window.transient_refusals.saturating_add(u32::from(is_first));
            self.window.block();
            self.retry_later(step, later);
        } else if self.probe_refusal(step, key, *node) {
            self.window.block();
            self.retry_later(step, PAUSE_MIN);
        } else {
            self.refuse(step, number, code);
            return Appended::Refused;
        }
        Appended::Blocked
    }

    /// An entry is refused finally. Its owner resolves that, now or when the retry is due.
    fn refuse(&mut self, step: &mut Step<'_>, number: u64, code: Code) {
        self.window.block();
        self.window.refused.insert(number, code);
        self.retry_later(step, back_off_time(self.window.tries));
    }

    /// Returns true while a final refusal by one home is not confirmed by the other, and the other
    /// may still answer.
    fn probe_refusal(&mut self, step: &Step<'_>, key: TimelineKey, home: NodeId) -> bool {
        if self.secondary().is_none() {
            return false;
        }
        let (first, since) = *self.doubted.entry(key).or_insert_with(|| (home, step.now()));
        while self.doubted.len() > WINDOW {
            self.doubted.pop_first();
        }
        first == home && step.now() < since.after(DOUBT_MAX)
    }

    /// Returns the first entry of the outbox if it was refused finally and no answer is awaited any
    /// more; else something before it waits for room or may yet be stored.
    pub(crate) fn next_refusal(&self, step: &Step<'_>, links: &Links) -> Option<Refusal> {
        let (number, code) = self.window.refused.first_key_value()?;
        let (first, envelope) = outbox::first(step.rows(), &self.id)?;
        let is_due = first == *number && self.primary().is_some() && self.sending(links) == 0;
        is_due.then_some(Refusal { number: first, code: *code, envelope })
    }

    /// Returns whether the primary has delivered everything that its copy had when it was opened.
    pub(crate) fn has_caught_up(&self, step: &Step<'_>) -> bool {
        self.primary().is_some_and(|primary| {
            let cursor = cursor(step.rows(), &primary.node, &self.id);
            cursor.sequence >= self.window.log_end
        })
    }

    /// A refusal was resolved: what is left in the outbox is sent from its beginning.
    pub(crate) fn on_refusal_resolved(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        keys: &impl WriteKeys,
    ) {
        self.window.probing = false;
        self.window.tries = 0;
        self.disarm(step, ConversationTimer::Retry);
        self.resend_all(step, links, keys);
    }

    pub(crate) fn take_back(&self, step: &mut Step<'_>, number: u64) {
        outbox::delete(step, &self.id, number);
    }

    /// Tries again what the primary would not do: opens the log, or sends what is still in the
    /// outbox.
    pub(crate) fn retry(&mut self, step: &mut Step<'_>, links: &mut Links, keys: &impl WriteKeys) {
        if !self.window.refused.is_empty() {
            self.window.tries = self.window.tries.saturating_add(1);
        }
        self.resend_all(step, links, keys);
    }

    /// Sends what is in the outbox from its beginning on.
    fn resend_all(&mut self, step: &mut Step<'_>, links: &mut Links, keys: &impl WriteKeys) {
        self.window.sent = self.before_first(step);
        self.window.refused.clear();
        self.window.blocked = false;
        self.pump(step, links, keys);
    }

    /// Plans to try again what the primary would not do.
    pub(crate) fn retry_later(&self, step: &mut Step<'_>, pause: Duration) {
        self.arm(step, pause, ConversationTimer::Retry);
    }

    pub(super) fn arm(&self, step: &mut Step<'_>, after: Duration, timer: ConversationTimer) {
        step.arm(after, Timer::Conversation(timer, self.id));
    }

    pub(super) fn disarm(&self, step: &mut Step<'_>, timer: ConversationTimer) {
        step.timers().disarm(Timer::Conversation(timer, self.id));
    }

    /// Returns how many appends the primary has not answered.
    pub(crate) fn sending(&self, links: &Links) -> usize {
        let log = self.id;
        let appends = |request: &Request| matches!(request, Request::Log(at, LogRequest::Append(_)) if *at == log);
        self.primary().map_or(0, |primary| links.pending(&primary.node, appends))
    }

    /// Returns whether anything waits in the outbox.
    pub(crate) fn has_outgoing(&self, step: &Step<'_>) -> bool {
        outbox::first(step.rows(), &self.id).is_some()
    }

    /// Another node is the primary, or it has another copy than before. What the contact has not
    /// acknowledged is sent once more, for the only copy may be gone, and so are all changes of
    /// keys, by any member: they may be at no node of the ranking any more.
    pub(super) fn refill(&mut self, step: &mut Step<'_>, which: Refill) {
        let Some(envelopes) = outbox::take_refill(step, &self.id, which) else { return };
        self.window.restart(0);
        for envelope in envelopes.into_values() {
            self.enqueue(step, &envelope);
        }
    }

    /// The number before that of the first envelope.
    fn before_first(&self, step: &Step<'_>) -> u64 {
        let first = outbox::first(step.rows(), &self.id);
        first.map_or(self.queued, |(number, _)| number.saturating_sub(1))
    }

    /// An entry of the outbox is stored already, whatever the node says now, as is what others
    /// made, which has no status.
    pub(crate) fn is_stored(&self, step: &Step<'_>, key: TimelineKey) -> bool {
        let status = entries::status(step.rows(), &self.id, key);
        status.is_none_or(|status| status > DeliveryStatus::Sent)
    }
}

/// Entries of one log that are on their way at the same time: enough to fill a second's worth of
/// disk syncs, half of what may wait for one peer.
pub(crate) const WINDOW: usize = limits::QUEUE_FRAMES_MAX / 2;
/// Refusals to open a log that the secondary home has open before that one takes the primary's
/// place: the first may be for the key.
const OPENINGS_REFUSED_MAX: u32 = 2;
/// How long the secondary home has to confirm a final refusal before it is believed although the
/// secondary can't be asked.
const DOUBT_MAX: Duration = Duration::from_secs(600);
/// How long to wait at most for a node that has no room: its operator may be about to make
/// some.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// Own entries that are kept are counted once in so many.
const SWEEP_EVERY: u64 = 64;
