//! Sync: taking in what nodes deliver, each entry once and after what it depends on.

use std::time::Duration;

use prost::Message;
use proto::{
    Body, ContentBody, Cursor, Draft, Entry as WireEntry, Envelope, EnvelopeId, Frame, LogId,
    NodeId, PublicKey, Reference, Rows, limits,
};

use crate::{
    Client, Mark,
    conversation::{Entry, Unopened},
    link::{Ask, Handle, Purpose},
    machine::{Timer, pause},
    schema::{self, COUNTED, CURSORS, DEFERRED, MARKS, Place, REFERENCES, cursor_key, join},
    step::{Durability, Step},
    timeline::{self, Written},
    trust::Offence,
};

/// Deliveries of one handle that the node has not been told of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unaccepted {
    pub(crate) sequence: u64,
    pub(crate) count: u64,
}

/// Where this device stands in a node's copy of a log.
pub(crate) fn cursor(rows: &dyn Rows, node: &NodeId, log: &LogId) -> Cursor {
    let row = rows.get(CURSORS, &cursor_key(node, log)).unwrap_or_default();
    let parts = row.split_first_chunk::<8>().and_then(|(incarnation, sequence)| {
        Some(Cursor {
            incarnation: u64::from_be_bytes(*incarnation),
            sequence: u64::from_be_bytes(sequence.try_into().ok()?),
        })
    });
    parts.unwrap_or_default()
}

fn put_cursor(step: &mut Step<'_>, node: &NodeId, log: &LogId, cursor: Cursor) {
    let mut row = cursor.incarnation.to_be_bytes().to_vec();
    row.extend(cursor.sequence.to_be_bytes());
    step.draft.put(CURSORS, cursor_key(node, log), row);
}

/// A node says where its copy of a log stands. Another copy than the one that was known is read from its
/// beginning; tells whether there was one.
pub(crate) fn opened(step: &mut Step<'_>, node: &NodeId, log: &LogId, head: Cursor) -> bool {
    let ours = cursor(&step.draft, node, log);
    if ours.incarnation == head.incarnation {
        return false;
    }
    put_cursor(step, node, log, Cursor { incarnation: head.incarnation, sequence: 0 });
    ours.incarnation != 0
}

/// All of a node's copy is here up to `sequence`; tells whether that is news.
pub(crate) fn advance(step: &mut Step<'_>, node: &NodeId, log: &LogId, sequence: u64) -> bool {
    let ours = cursor(&step.draft, node, log);
    if ours.sequence >= sequence {
        return false;
    }
    put_cursor(step, node, log, Cursor { sequence, ..ours });
    true
}

/// A node stored an own entry as the next one: it need not be delivered here.
pub(crate) fn stored(step: &mut Step<'_>, node: &NodeId, log: &LogId, sequence: u64) {
    let ours = cursor(&step.draft, node, log);
    if ours.sequence.checked_add(1) == Some(sequence) {
        put_cursor(step, node, log, Cursor { sequence, ..ours });
    }
}

impl Client {
    /// Takes a delivered entry in and moves the cursor, in one commit.
    pub(crate) fn delivered(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        (number, handle): (u32, Handle),
        entry: WireEntry,
    ) {
        let sequence = entry.sequence;
        let envelope = entry.into_envelope(handle.log, handle.key, NO_SIGNATURE);
        match handle.purpose {
            Purpose::Home | Purpose::Former => self.request_arrived(step, &envelope),
            Purpose::Read => {
                step.durability = Durability::Later;
                self.arrived(step, &handle.log, envelope);
            }
            Purpose::Write | Purpose::Brief | Purpose::Invited(_) | Purpose::Tell(_) => {
                return self.count_dropped();
            }
        }
        if !self.links.follows(node, number, sequence) {
            self.offended(step.now, node, Offence::Caught);
        }
        let ours = cursor(&step.draft, node, &handle.log);
        put_cursor(step, node, &handle.log, Cursor { sequence, ..ours });
        self.check_briefs(step, &handle.log);
        self.settle(step, &handle.log, false);
        let unaccepted = self.unaccepted.entry((*node, number)).or_default();
        unaccepted.sequence = sequence;
        unaccepted.count = unaccepted.count.saturating_add(1);
        if handle.purpose == Purpose::Former {
            self.former_goes_on(step, node);
        } else if unaccepted.count >= ACCEPT_EVERY {
            self.accept_deliveries(step, node);
        } else {
            self.arm(step.now.after(ACCEPT_DELAY), Timer::Accept(*node));
        }
    }

    /// Tells a node how far its deliveries have come.
    pub(crate) fn accept_deliveries(&mut self, step: &mut Step<'_>, node: &NodeId) {
        step.must_last();
        let (from, to) = ((*node, 0), (*node, u32::MAX));
        let due: Vec<_> = self.unaccepted.range(from..=to).map(|(key, due)| (*key, *due)).collect();
        for ((_, handle), Unaccepted { sequence, .. }) in due {
            self.unaccepted.remove(&(*node, handle));
            step.transmit(node, Frame::new(Body::Accepted { handle, sequence }));
        }
    }

    /// Takes the entries of a page in that was asked for because they were missing.
    pub(crate) fn fetched(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        key: PublicKey,
        (entries, more): (Vec<WireEntry>, bool),
    ) {
        let mut useful = false;
        for entry in entries {
            let envelope = entry.into_envelope(*log, key, NO_SIGNATURE);
            let reference = envelope.id().reference();
            let before = self.misses(log, &reference);
            self.arrived(step, log, envelope);
            useful |= before && !self.misses(log, &reference);
        }
        if let (true, Some(conversation)) = (more && useful, self.conversations.get_mut(log)) {
            // A page ended before the answer did.
            conversation.waiting.ask_again();
        }
        self.ask_for_missing(step, log);
        self.settle(step, log, false);
    }

    fn misses(&self, log: &LogId, reference: &Reference) -> bool {
        self.conversations.get(log).is_some_and(|c| c.waiting.misses(reference))
    }

    /// Takes an envelope of a conversation in, and whatever waited for it.
    pub(crate) fn arrived(&mut self, step: &mut Step<'_>, log: &LogId, envelope: Envelope) {
        let mut ready = vec![envelope];
        while let Some(envelope) = ready.pop() {
            let id = envelope.id();
            if step.draft.get(REFERENCES, &join(log, id.reference())).is_some() {
                self.forget_deferred(step, log, &id);
                continue;
            }
            let key = envelope.head.write_key;
            let keys_before = self.has_key(log, &key);
            match self.place(step, log, &id, &envelope) {
                Ok(()) => {
                    self.forget_deferred(step, log, &id);
                    ready.extend(self.released(step, log, &id.reference().0));
                    let opens = envelope.head.extension.announced_key();
                    if let (Some(opened), true) = (opens, keys_before) {
                        ready.extend(self.released(step, log, &opened.0));
                    }
                }
                Err(Kept::Waits(missing)) => self.defer(step, log, &id, &envelope, missing),
                Err(Kept::Dropped) => {
                    self.forget_deferred(step, log, &id);
                    self.count_dropped();
                }
            }
        }
    }

    fn has_key(&self, log: &LogId, key: &PublicKey) -> bool {
        self.conversations.get(log).is_some_and(|conversation| conversation.key(key).is_some())
    }

    fn place(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        id: &EnvelopeId,
        envelope: &Envelope,
    ) -> Result<(), Kept> {
        let Some(conversation) = self.conversations.get(log) else { return Err(Kept::Dropped) };
        let place = Place { position: envelope.head.position, id: *id };
        match conversation.open(envelope) {
            Ok(Entry::Said { author, content, bytes, counted }) => {
                check(&step.draft, log, place, &content.dependencies)?;
                let key = counted.key(log);
                if step.draft.get(COUNTED, &key).is_some() {
                    self.counters.equivocations = self.counters.equivocations.saturating_add(1);
                }
                step.draft.put(COUNTED, key, id.0);
                let own = self.me.as_ref().is_some_and(|me| me.account == author);
                let written = Written { author, content: &content, bytes: &bytes, own };
                self.insert(step, log, place, &written);
                if own {
                    // A crash lost it here, or another device of ours wrote it.
                    step.draft.put(MARKS, place.key(log), [Mark::Stored as u8]);
                } else {
                    self.heed(step, log, author, content.body, content.bundle_seen);
                }
                Ok(())
            }
            Ok(Entry::Changed { mls, link }) => {
                let dependencies = link
                    .dependencies
                    .iter()
                    .map(|bytes| Reference::try_from(bytes.as_slice()))
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|_| Kept::Dropped)?;
                check(&step.draft, log, place, &dependencies)?;
                self.follow(step, log, place, (envelope, &mls), dependencies)
            }
            Err(Unopened::UnknownEpoch(key)) => Err(Kept::Waits(vec![key.0.to_vec()])),
            Err(Unopened::Bad) => Err(Kept::Dropped),
        }
    }

    fn follow(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        place: Place,
        change: (&Envelope, &[u8]),
        dependencies: Vec<Reference>,
    ) -> Result<(), Kept> {
        let allowed = self.allowed(&step.draft, log);
        let (Some(me), Some(conversation)) = (&self.me, self.conversations.get_mut(log)) else {
            return Err(Kept::Dropped);
        };
        let author = conversation.follow(step, &me.device, change, &allowed);
        let author = author.ok_or(Kept::Dropped)?;
        let own = author == me.account;
        let content = proto::Content { dependencies, ..Default::default() };
        let bytes = content.encode();
        self.insert(step, log, place, &Written { author, content: &content, bytes: &bytes, own });
        self.pump(step, log);
        Ok(())
    }

    /// Puts an entry into its place and sees to it that its author learns of it.
    pub(crate) fn insert(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        place: Place,
        written: &Written<'_>,
    ) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        timeline::insert(step, conversation, place, written);
        if conversation.frontier.unacknowledged {
            let jitter = Duration::from_millis(place.position.wrapping_mul(37) % 100);
            self.arm(step.now.after(RECEIPT_DELAY.saturating_add(jitter)), Timer::Receipt(*log));
        }
    }

    /// Says that everything up to the heads has arrived, unless a message has said so already.
    pub(crate) fn send_receipt(&mut self, step: &mut Step<'_>, log: &LogId, read: bool) {
        let Some(conversation) = self.conversations.get(log) else { return };
        if !conversation.frontier.unacknowledged && !read {
            return;
        }
        // While the node accepts nothing, what arrives must not fill the outbox with receipts.
        if !read && self.has_outgoing(step, log) {
            return;
        }
        let heads = conversation.frontier.heads.iter().rev().take(limits::DEPENDENCIES_MAX);
        let heads: Vec<_> = heads.map(|place| place.id.reference()).collect();
        // What was read has arrived; what depends on an entry says so too.
        let read = if read { heads } else { Vec::new() };
        let receipt = proto::Receipt { delivered: Vec::new(), read };
        let _ = self.say(step, log, ContentBody::Receipt(receipt));
    }

    fn defer(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        id: &EnvelopeId,
        envelope: &Envelope,
        missing: Vec<Vec<u8>>,
    ) {
        let key = join(log, id);
        if missing.len() > limits::DEPENDENCIES_MAX {
            return self.count_dropped();
        }
        let before: Option<schema::Deferred> = schema::load(&step.draft, DEFERRED, &key);
        let row = schema::Deferred {
            envelope: envelope.encode(),
            missing,
            since_us: before.map_or(step.now.as_micros(), |before| before.since_us),
        };
        if !self.make_room(step, log, id, &row) {
            return self.count_dropped();
        }
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        step.draft.put(DEFERRED, key, row.encode_to_vec());
        if conversation.waiting.add(*id, &row) {
            self.disarm(Timer::Refetch(*log));
        }
        self.ask_for_missing(step, log);
    }

    /// Asks the home for what entries wait for and was not asked for yet, every other time the stand-in;
    /// one question at a time.
    pub(crate) fn ask_for_missing(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let home = conversation.node().map(|address| address.node);
        let stand_in = conversation.stand_in().filter(|_| conversation.waiting.rounds() % 2 == 1);
        let reads = |handle: &Handle| {
            handle.log == *log && matches!(handle.purpose, Purpose::Read | Purpose::Brief)
        };
        let nodes = [stand_in, home].into_iter().flatten();
        let mut open = nodes.filter_map(|node| Some((node, self.links.find(&node, reads)?)));
        let Some((node, number)) = open.next() else { return };
        let Some(handle) = self.links.handle(&node, number) else { return };
        let again = step.now.after(pause(conversation.waiting.rounds()));
        let asks = |ask: &Ask| matches!(ask, Ask::Fetch(asked, _) if asked == log);
        if self.links.awaited(&node, asks) > 0 {
            return self.arm(again, Timer::Refetch(*log));
        }
        let references = conversation.waiting.ask();
        if !conversation.waiting.has_asked() {
            return;
        }
        self.arm(again, Timer::Refetch(*log));
        if !references.is_empty() {
            let ask = Ask::Fetch(*log, handle.key);
            self.links.ask(step, &node, ask, Body::Fetch { handle: number, references });
        }
    }

    /// Asks again for all that is still missing; less and less often if nobody has it.
    pub(crate) fn ask_again(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        conversation.waiting.next_round();
        self.ask_for_missing(step, log);
    }

    /// The envelopes that waited for nothing but `arrived`.
    fn released(&mut self, step: &Step<'_>, log: &LogId, arrived: &[u8]) -> Vec<Envelope> {
        let Some(conversation) = self.conversations.get_mut(log) else { return Vec::new() };
        let waiting = conversation.waiting.released(arrived);
        let load = |id: &EnvelopeId| {
            let row: schema::Deferred = schema::load(&step.draft, DEFERRED, &join(log, id))?;
            Envelope::decode(&row.envelope).ok()
        };
        waiting.iter().filter_map(load).collect()
    }

    pub(crate) fn forget_deferred(&mut self, step: &mut Step<'_>, log: &LogId, id: &EnvelopeId) {
        let key = join(log, id);
        let Some(row) = schema::load::<schema::Deferred>(&step.draft, DEFERRED, &key) else {
            return;
        };
        step.draft.delete(DEFERRED, key);
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        conversation.waiting.remove(id, &row.missing);
    }
}

/// Why an envelope was not placed.
enum Kept {
    /// It waits for these.
    Waits(Vec<Vec<u8>>),
    /// It is not what a member may send.
    Dropped,
}

fn check(
    rows: &Draft<'_>,
    log: &LogId,
    place: Place,
    dependencies: &[Reference],
) -> Result<(), Kept> {
    match timeline::check_position(rows, log, place.position, dependencies) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Kept::Dropped),
        Err(missing) => Err(Kept::Waits(missing.iter().map(|m| m.0.to_vec()).collect())),
    }
}

impl crate::conversation::Counted {
    fn key(&self, log: &LogId) -> Vec<u8> {
        let (leaf, counter) = (self.leaf.to_be_bytes(), self.counter.to_be_bytes());
        [log.0.as_slice(), &self.commit.0, &leaf, &counter].concat()
    }
}

/// Readers get envelopes without the write key's signature; what they check is inside.
const NO_SIGNATURE: [u8; 64] = [0; 64];
/// Deliveries after which a node is told at once, well below [`limits::DELIVER_WINDOW`].
pub(crate) const ACCEPT_EVERY: u64 = 64;
/// How long a node may wait to be told; long enough to share a packet with a transport
/// acknowledgement.
const ACCEPT_DELAY: Duration = Duration::from_millis(20);
/// How long a receipt waits for more arrivals, or for a message that makes it needless.
const RECEIPT_DELAY: Duration = Duration::from_millis(200);
