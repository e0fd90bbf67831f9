//! The outbox: envelopes that their node has not accepted yet.
//!
//! Delivery is at least once: an envelope is sent again on every new connection until its node has
//! accepted it, so the node must drop duplicates. Specified in `spec/delivery.md`, section 3.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    time::Duration,
};

use prost::Message;
use proto::{
    AccountId, Body, Code, Content, ContentBody, Direction, Entry, Envelope, EnvelopeId, Instant,
    Kind, LogId, NodeId, PublicKey, Rows, limits,
};

use crate::{
    Client, CommandError, Event, Mark, Reply,
    conversation::Conversation,
    errand::may_pass,
    link::{Ask, Handle, Opening, Purpose},
    machine::{PAUSE_MIN, Timer, pause},
    receipts::has_signed,
    schema::{
        self, CHANGES, DRAFTS, KEPT, MARKS, OUTBOX, Outgoing, Place, RECEIPTS, join, numbered,
        prefix_range,
    },
    step::Step,
    sync,
    timeline::Written,
    trust::Offence,
};

/// The last number in use, 0 if the outbox of this log is empty.
pub(crate) fn last_number(rows: &dyn Rows, log: &LogId) -> u64 {
    let mut last = 0;
    let (from, to) = prefix_range(&log.0);
    rows.scan(OUTBOX, &from, &to, Direction::Backward, &mut |key, _| {
        last = key.last_chunk::<8>().map_or(0, |number| u64::from_be_bytes(*number));
        ControlFlow::Break(())
    });
    last
}

impl Client {
    /// Says something in a conversation: seals, places and queues it, all in this commit.
    pub(crate) fn say(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        body: ContentBody,
    ) -> Option<EnvelopeId> {
        self.say_with_key(step, log, body).map(|(id, _)| id)
    }

    /// The same; tells as well whether the message's key was set aside by an earlier commit.
    pub(crate) fn say_with_key(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        body: ContentBody,
    ) -> Option<(EnvelopeId, bool)> {
        step.must_last();
        let bundle_seen = self.untold_bundle(step, log);
        let sent_at_s = step.now.as_secs();
        self.seal(step, log, Content { sent_at_s, body, bundle_seen, ..Content::default() })
    }

    /// Seals, places and queues a content that gets its dependencies here.
    pub(crate) fn seal(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        content: Content,
    ) -> Option<(EnvelopeId, bool)> {
        let me = self.me.as_ref()?;
        let author = me.account;
        let conversation = self.conversations.get_mut(log)?;
        let said = conversation.say(step, &me.device, content)?;
        let (content, bytes) = (&said.content, said.bytes.as_slice());
        self.insert(step, log, said.place, &Written { author, content, bytes, own: true });
        self.queue(step, log, &said.envelope);
        Some((said.place.id, said.key_was_set_aside))
    }

    /// Puts an envelope at the end of the outbox and sends what can be sent.
    pub(crate) fn queue(&mut self, step: &mut Step<'_>, log: &LogId, envelope: &Envelope) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        conversation.queued = conversation.queued.saturating_add(1);
        let row = Outgoing { envelope: envelope.encode() };
        step.draft.put(OUTBOX, numbered(log, conversation.queued), row.encode_to_vec());
        self.pump(step, log);
    }

    /// Opens the log of a conversation whose node is up, to read and to write.
    pub(crate) fn open_conversation(&mut self, step: &mut Step<'_>, log: &LogId) {
        self.stand_by(step, log);
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let Some(node) = conversation.node().map(|address| address.node) else { return };
        if self.links.reads(&node, log) {
            return;
        }
        // Who holds what was accepted on an earlier connection nobody knows any more.
        self.refill(step, log, Refill::Unsettled);
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let sent = before_first(&step.draft, conversation);
        conversation.flow = Flow { sent, ..conversation.flow.anew() };
        let tries = conversation.flow.tries;
        let opening = opening_at(&step.draft, conversation, &node, Purpose::Read, tries);
        let Some(opening) = opening else { return };
        self.links.open(step, &node, opening);
    }

    /// Sends what the outbox holds, in order, as far as the window and the open handles allow.
    pub(crate) fn pump(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let Some(node) = conversation.node().map(|address| address.node) else { return };
        let reads = |handle: &Handle| handle.log == *log && handle.purpose == Purpose::Read;
        let Flow { sent, stalled, .. } = conversation.flow;
        if stalled || sent >= conversation.queued || self.links.find(&node, reads).is_none() {
            return;
        }
        let mut on_the_way = self.links.awaited(&node, appends(log));
        let window = if conversation.flow.doubtful { 1 } else { WINDOW };
        while on_the_way < window && conversation.flow.sent < conversation.queued {
            if !self.links.has_room(&node) {
                return self.retry_later(step, log, PAUSE_MIN);
            }
            let number = conversation.flow.sent.saturating_add(1);
            let row: Option<Outgoing> = schema::load(&step.draft, OUTBOX, &numbered(log, number));
            if let Some(envelope) = row.and_then(|row| Envelope::decode(&row.envelope).ok()) {
                let key = envelope.head.write_key;
                let alone = envelope.head.kind == Kind::KeyChange;
                if on_the_way > 0 && (alone || conversation.flow.together != Some(key)) {
                    return;
                }
                let fits = |handle: &Handle| handle.log == *log && handle.key == key;
                let Some(handle) = self.links.find(&node, fits) else {
                    if on_the_way > 0 {
                        return;
                    }
                    let Some(key) = conversation.key(&key) else {
                        // Its epoch was forgotten, so that it can't be sent any more.
                        return self.will_never_be_taken(step, log, number, Code::Forbidden);
                    };
                    // Nothing is on the way on the handles of other epochs either.
                    let public = key.public();
                    let stale = |handle: &Handle| {
                        handle.log == *log
                            && handle.purpose == Purpose::Write
                            && handle.key != public
                    };
                    self.links.close(step, stale);
                    let purpose = Purpose::Write;
                    let (log, genesis, tail, brief, ranking) = (*log, None, None, false, None);
                    let opening = Opening { log, key, purpose, genesis, tail, brief, ranking };
                    return self.links.open(step, &node, opening);
                };
                let signature = envelope.signature;
                let entry = Entry::from_envelope(&envelope, 0, key);
                let body = Body::Append { handle, entry, signature };
                self.links.ask(step, &node, Ask::Append(*log, number), body);
                conversation.flow.together = (!alone).then_some(key);
                on_the_way = on_the_way.saturating_add(1);
            }
            conversation.flow.sent = number;
        }
    }

    /// A node holds an envelope durably.
    pub(crate) fn append_accepted(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        log: &LogId,
        number: u64,
    ) {
        let key = numbered(log, number);
        let Some(row) = schema::load::<Outgoing>(&step.draft, OUTBOX, &key) else {
            // The other home has taken it in the meantime. What is behind it may have waited for the answer.
            return self.go_on(step, log);
        };
        step.draft.delete(OUTBOX, key);
        // What bears no mark is a change of keys by somebody else.
        if let Ok(envelope) = Envelope::decode(&row.envelope)
            && mark_of(&step.draft, log, Place::of(&envelope)).is_some()
        {
            let place = Place::of(&envelope);
            keep(step, log, place, row);
            self.await_receipts(step, log, place, node);
        }
        if number.is_multiple_of(KEPT_SWEPT) {
            sweep_kept(step, log);
        }
        if let Some(conversation) = self.conversations.get_mut(log) {
            conversation.flow.doubtful = false;
            conversation.flow.tries = 0;
            conversation.flow.put_off = 0;
            if number == conversation.queued {
                step.event(Event::Sent(*log));
            }
        }
        if self.conversations.get(log).is_some_and(|c| c.frontier.unacknowledged) {
            self.arm(step.now, Timer::Receipt(*log));
        }
        self.go_on(step, log);
    }

    /// An answer is there.
    fn go_on(&mut self, step: &mut Step<'_>, log: &LogId) {
        self.pump(step, log);
        self.settle(step, log, false);
    }

    /// The node won't have an envelope: for now, or for ever.
    pub(crate) fn append_refused(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        number: u64,
        code: Code,
    ) {
        let row: Option<Outgoing> = schema::load(&step.draft, OUTBOX, &numbered(log, number));
        let envelope = row.and_then(|row| Envelope::decode(&row.envelope).ok());
        let (Some(envelope), Some(home)) = (envelope, self.talks_with(log)) else {
            // The other home has taken it.
            return self.go_on(step, log);
        };
        self.offended(step.now, &home, Offence::Unwilling);
        // Positions of one's own are right: a node that says otherwise may think better of it.
        let passes = may_pass(code) || code == Code::Position;
        let place = Place::of(&envelope);
        if !passes && has_signed(step, &home, log, place) {
            // Whatever it says now, its copy has it: said anew it would be there twice.
            return self.append_accepted(step, &home, log, number);
        }
        if passes {
            let later = self.put_off_until_it_passes(log);
            return self.retry_later(step, log, later);
        }
        if self.doubts(step.now, log, place, home) {
            self.stall(log);
            return self.retry_later(step, log, PAUSE_MIN);
        }
        self.will_never_be_taken(step, log, number, code);
    }

    /// A full node may be so for hours. Returns when it is to be asked again.
    fn put_off_until_it_passes(&mut self, log: &LogId) -> Duration {
        let Some(conversation) = self.conversations.get_mut(log) else { return PAUSE_MIN };
        let flow = &mut conversation.flow;
        let later = pause(flow.put_off).min(PUT_OFF_MAX);
        // Of all that was on the way together the first one counts.
        flow.put_off = flow.put_off.saturating_add(u32::from(!flow.stalled));
        self.stall(log);
        later
    }

    /// Nothing more leaves for now: what is behind an entry that was refused depends on it.
    fn stall(&mut self, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        conversation.flow.stalled = true;
        conversation.flow.doubtful = true;
    }

    fn will_never_be_taken(&mut self, step: &mut Step<'_>, log: &LogId, number: u64, code: Code) {
        self.stall(log);
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        conversation.flow.refused.insert(number, code);
        let later = pause(conversation.flow.tries);
        if !self.settle(step, log, false) {
            self.retry_later(step, log, later);
        }
    }

    /// Whether the home is not to be believed that an entry will never be taken: the other one has neither
    /// said so yet, nor been out of reach for so long that it is not waited for.
    fn doubts(&mut self, now: Instant, log: &LogId, place: Place, home: NodeId) -> bool {
        let Some(conversation) = self.conversations.get_mut(log) else { return false };
        if conversation.stand_in().is_none() {
            return false;
        }
        let doubted = &mut conversation.doubted;
        let (first, since) = *doubted.entry(place).or_insert((home, now));
        while doubted.len() > WINDOW {
            doubted.pop_first();
        }
        first == home && now < since.after(DOUBT_MAX)
    }

    /// Tries again what the node would not do: opens the log, sends what is still in the outbox.
    pub(crate) fn retry(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let Some(node) = conversation.node().map(|address| address.node) else { return };
        let reads = |handle: &Handle| handle.log == *log && handle.purpose == Purpose::Read;
        if self.links.find(&node, reads).is_none() {
            return self.open_conversation(step, log);
        }
        if self.links.awaited(&node, appends(log)) > 0 {
            return self.retry_later(step, log, PAUSE_MIN);
        }
        if self.settle(step, log, true) {
            return;
        }
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        if !conversation.flow.refused.is_empty() {
            conversation.flow.tries = conversation.flow.tries.saturating_add(1);
        }
        self.start_over(step, log);
    }

    /// Sends what is in the outbox from its beginning on.
    pub(crate) fn start_over(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        conversation.flow.sent = before_first(&step.draft, conversation);
        conversation.flow.refused.clear();
        conversation.flow.stalled = false;
        self.pump(step, log);
    }

    /// A node would not open a conversation's log.
    pub(crate) fn open_refused(&mut self, step: &Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let later = pause(conversation.flow.tries);
        conversation.flow.tries = conversation.flow.tries.saturating_add(1);
        let in_vain = conversation.flow.tries >= OPENED_IN_VAIN;
        self.retry_later(step, log, later);
        if let Some(home) = self.talks_with(log).filter(|_| in_vain && self.is_briefed(log)) {
            self.offended(step.now, &home, Offence::Unwilling);
        }
    }

    /// A node does not know the write key of what is to be sent next. If it still does not a while later, it
    /// will not hear of the change from another node either: who had taken that is gone. The next try
    /// begins with all changes.
    pub(crate) fn key_is_unknown(&mut self, step: &mut Step<'_>, log: &LogId) {
        let tries = self.conversations.get(log).map_or(0, |conversation| conversation.flow.tries);
        if tries >= OPENED_IN_VAIN {
            self.refill(step, log, Refill::Changes);
        }
    }

    fn retry_later(&mut self, step: &Step<'_>, log: &LogId, pause: Duration) {
        self.arm(step.now.after(pause), Timer::Retry(*log));
    }

    /// Another node is the home, or it has another copy than before. What the contact has not
    /// acknowledged is sent once more, for the only copy may be gone, and so are all changes of keys,
    /// whoever made them: they may be at no node of the ranking any more.
    ///
    /// Or only the latter, or only those of which it is not known that enough nodes hold them.
    pub(crate) fn refill(&mut self, step: &mut Step<'_>, log: &LogId, which: Refill) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let mut envelopes: BTreeMap<Place, Envelope> = BTreeMap::new();
        let tables = match which {
            Refill::All => &[CHANGES, KEPT][..],
            Refill::Changes => &[CHANGES],
            Refill::Unsettled => &[KEPT],
        };
        let rows = |table| schema::load_all::<Outgoing>(&step.draft, table, &log.0);
        for (_, row) in tables.iter().flat_map(|table| rows(*table)) {
            if let Ok(envelope) = Envelope::decode(&row.envelope)
                && (which != Refill::Unsettled
                    || mark_of(&step.draft, log, Place::of(&envelope)) == Some(Mark::Sent))
            {
                envelopes.insert(Place::of(&envelope), envelope);
            }
        }
        if envelopes.is_empty() && which != Refill::All {
            return;
        }
        conversation.flow = conversation.flow.anew();
        for (number, envelope) in all_of(&step.draft, log) {
            step.draft.delete(OUTBOX, numbered(log, number));
            envelopes.insert(Place::of(&envelope), envelope);
        }
        // In an order in which each key is announced before it is used.
        for (place, envelope) in envelopes {
            step.draft.delete(KEPT, place.key(log));
            let row = Outgoing { envelope: envelope.encode() };
            conversation.queued = conversation.queued.saturating_add(1);
            step.draft.put(OUTBOX, numbered(log, conversation.queued), row.encode_to_vec());
        }
    }

    /// Keeps a text until the contact accepts.
    pub(crate) fn draft(
        step: &mut Step<'_>,
        contact: &AccountId,
        text: &str,
    ) -> Result<Reply, CommandError> {
        let (mut number, mut count) = (0_u64, 0_usize);
        schema::each(&step.draft, DRAFTS, &contact.0, &mut |key, _| {
            count = count.saturating_add(1);
            number = key.first_chunk::<8>().map_or(0, |last| u64::from_be_bytes(*last));
            ControlFlow::Continue(())
        });
        if count >= DRAFTS_MAX {
            return Err(CommandError::TooMany(DRAFTS_MAX));
        }
        let number = number.saturating_add(1).to_be_bytes();
        let row = schema::Draft { text: text.to_owned(), written_s: step.now.as_secs() };
        step.draft.put(DRAFTS, [contact.0.as_slice(), &number].concat(), row.encode_to_vec());
        Ok(Reply::Waiting)
    }

    /// Tells whether anything waits in the outbox that its node may still take.
    pub(crate) fn has_outgoing(&self, step: &Step<'_>, log: &LogId) -> bool {
        first_of(&step.draft, log).is_some()
    }

    /// Says what was written while the contact had not accepted.
    pub(crate) fn send_drafts(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(contact) = self.conversations.get(log).map(|c| c.contact) else { return };
        for (number, draft) in schema::load_all::<schema::Draft>(&step.draft, DRAFTS, &contact.0) {
            let body = ContentBody::Text { text: draft.text, reply_to: None };
            if self.say(step, log, body).is_some() {
                step.draft.delete(DRAFTS, [contact.0.as_slice(), &number].concat());
            }
        }
    }

    /// The conversations whose log is at this node.
    pub(crate) fn conversations_at(&self, node: &NodeId) -> Vec<LogId> {
        let at = self.conversations.values().filter(|conversation| {
            let is_there = conversation.node().is_some_and(|address| address.node == *node);
            is_there || conversation.stand_in() == Some(*node)
        });
        at.map(|conversation| conversation.log).collect()
    }
}

/// How the log of a conversation is opened at an own home, refused so often before: to read, or to be told
/// what is there.
///
/// A node that may have no copy can only make one for the first key. That, too, is why every other try
/// after a refusal is made with it; else with the newest key that the node knows, not those that commits in
/// the outbox announce.
pub(crate) fn opening_at<'a>(
    rows: &dyn Rows,
    conversation: &'a Conversation,
    node: &NodeId,
    purpose: Purpose,
    tries: u32,
) -> Option<Opening<'a>> {
    let log = conversation.log;
    let tail = sync::cursor(rows, node, &log);
    let founds = tail.incarnation == 0 || tries % 2 == 1;
    let first = conversation.first_key().filter(|_| founds);
    Some(Opening {
        log,
        key: first.or_else(|| conversation.known_key(&announced(rows, &log)))?,
        purpose,
        genesis: first.map(|_| conversation.genesis.encode()),
        tail: Some(tail),
        brief: purpose == Purpose::Brief,
        ranking: conversation.ranking_to_tell().cloned(),
    })
}

/// What goes into the outbox once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refill {
    All,
    Changes,
    Unsettled,
}

/// How far the outbox of a conversation has come since its log was opened.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// The last number that was handed to the link.
    pub(crate) sent: u64,
    /// The write key of all that is on the way; none if that is a key change, which travels alone:
    /// no answer to one entry may hang on that to another.
    together: Option<PublicKey>,
    /// What the node will never take, and why.
    pub(crate) refused: BTreeMap<u64, Code>,
    /// Nothing leaves until what was refused is dealt with, or its time has come.
    pub(crate) stalled: bool,
    /// The node took nothing of late, so entries leave one at a time.
    pub(crate) doubtful: bool,
    /// How often the node was asked in vain.
    pub(crate) tries: u32,
    /// How often in a row nodes would not take an entry for now.
    pub(crate) put_off: u32,
    /// The last sequence the log had when it was opened.
    pub(crate) log_end: u64,
}

impl Flow {
    /// As the log is opened once more.
    fn anew(&self) -> Self {
        Self { tries: self.tries, put_off: self.put_off, ..Self::default() }
    }
}

/// The first envelope in the outbox, and its number.
pub(crate) fn first_of(rows: &dyn Rows, log: &LogId) -> Option<(u64, Envelope)> {
    let mut first = None;
    schema::each(rows, OUTBOX, &log.0, &mut |key, row| {
        first = outgoing(key, row);
        if first.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    first
}

/// The number before that of the first envelope.
fn before_first(rows: &dyn Rows, conversation: &Conversation) -> u64 {
    let first = first_of(rows, &conversation.log);
    first.map_or(conversation.queued, |(number, _)| number.saturating_sub(1))
}

/// Everything in the outbox.
pub(crate) fn all_of(rows: &dyn Rows, log: &LogId) -> Vec<(u64, Envelope)> {
    let mut all = Vec::new();
    schema::each(rows, OUTBOX, &log.0, &mut |key, row| {
        all.extend(outgoing(key, row));
        ControlFlow::Continue(())
    });
    all
}

fn outgoing(key: &[u8], row: &[u8]) -> Option<(u64, Envelope)> {
    let number = u64::from_be_bytes(*key.last_chunk::<8>()?);
    Some((number, Envelope::decode(&Outgoing::decode(row).ok()?.envelope).ok()?))
}

/// The write keys that own commits announce which, for all one knows, nobody else has: they are in the
/// outbox, or too few nodes have signed for them.
pub(crate) fn announced(rows: &dyn Rows, log: &LogId) -> BTreeSet<PublicKey> {
    let kept = schema::load_all::<Outgoing>(rows, KEPT, &log.0).into_iter();
    let kept = kept.filter_map(|(_, row)| Envelope::decode(&row.envelope).ok());
    let all = all_of(rows, log).into_iter().map(|(_, envelope)| envelope).chain(kept);
    let changes = all.filter(|envelope| envelope.head.kind == Kind::KeyChange);
    let unseen = changes
        .filter(|change| mark_of(rows, log, Place::of(change)).is_some_and(|m| m <= Mark::Sent));
    unseen.filter_map(|envelope| envelope.head.extension.announced_key()).collect()
}

pub(crate) fn mark_of(rows: &dyn Rows, log: &LogId, place: Place) -> Option<Mark> {
    Mark::from_byte(*rows.get(MARKS, &place.key(log))?.first()?)
}

/// Keeps an own envelope that its node holds until the contact has acknowledged it.
fn keep(step: &mut Step<'_>, log: &LogId, place: Place, row: Outgoing) {
    if mark_of(&step.draft, log, place).is_none_or(|mark| mark <= Mark::Stored) {
        step.draft.put(KEPT, place.key(log), row.encode_to_vec());
    }
}

/// Of too many envelopes that are kept the oldest go: most likely they have arrived.
fn sweep_kept(step: &mut Step<'_>, log: &LogId) {
    let mut kept = Vec::new();
    schema::each(&step.draft, KEPT, &log.0, &mut |place, _| {
        kept.push(place.to_vec());
        ControlFlow::Continue(())
    });
    let excess = kept.len().saturating_sub(KEPT_MAX);
    for place in kept.into_iter().take(excess) {
        step.draft.delete(RECEIPTS, join(log, &place));
        step.draft.delete(KEPT, join(log, place));
    }
}

/// Fits the appends to a log whose answers are awaited.
pub(crate) fn appends(log: &LogId) -> impl Fn(&Ask) -> bool {
    let log = *log;
    move |ask| matches!(ask, Ask::Append(asked, _) if *asked == log)
}

pub(crate) fn raise(step: &mut Step<'_>, log: &LogId, place: Place, mark: Mark) {
    let key = place.key(log);
    if mark_of(&step.draft, log, place).is_none_or(|before| before < mark) {
        step.draft.put(MARKS, key, [mark as u8]);
        step.event(Event::Timeline(*log));
    }
}

/// Envelopes of one conversation that are on their way at the same time: enough to fill a second's
/// worth of disk syncs, half of what may wait for one peer.
pub(crate) const WINDOW: usize = limits::QUEUE_FRAMES_MAX / 2;
/// Refusals to open a log that the other home has open before that one takes the home's place: the first
/// may be for the key.
const OPENED_IN_VAIN: u32 = 2;
/// How long a home has to say that it will never take an entry before it is believed although the other one
/// can't be asked.
const DOUBT_MAX: Duration = Duration::from_secs(600);
/// How long one waits at most for a node that has no room: its user may have asked somebody to make some.
const PUT_OFF_MAX: Duration = Duration::from_secs(60);
/// Key changes that wait in an outbox: few of the epochs that a device keeps, so that it never
/// forgets the last one that the node knows.
pub(crate) const KEY_CHANGES_MAX: usize = limits::EPOCHS_OPEN_MAX / 4;
/// Own envelopes of a conversation that are kept because the contact has not acknowledged them: more
/// than anyone writes to who is away. They are counted once in so many.
const KEPT_MAX: usize = 4096;
const KEPT_SWEPT: u64 = 64;
/// Texts that wait for a contact to accept: more than anyone writes to who has not answered.
const DRAFTS_MAX: usize = 256;
