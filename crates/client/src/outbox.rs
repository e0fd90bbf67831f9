//! The outbox: envelopes that their node has not accepted yet.
//!
//! Delivery is at least once: an envelope is sent again on every new connection until its node has
//! accepted it, so the node must drop duplicates. Specified in `spec/delivery.md`, section 3.

use std::{ops::ControlFlow, time::Duration};

use prost::Message;
use proto::{
    AccountId, Body, Code, ContentBody, Direction, Entry, Envelope, EnvelopeId, LogId, NodeId,
    Rows, limits,
};

use crate::{
    Client, CommandError, Event, Mark, Reply,
    link::{Ask, Handle, Opening, Purpose},
    machine::Timer,
    schema::{self, DRAFTS, MARKS, OUTBOX, Outgoing, Place, numbered, prefix_range},
    step::Step,
    sync,
    timeline::Written,
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
        let me = self.me.as_ref()?;
        let author = me.account;
        let conversation = self.conversations.get_mut(log)?;
        let said = conversation.say(step, &me.device, body, bundle_seen)?;
        let (content, bytes) = (&said.content, said.bytes.as_slice());
        self.insert(step, log, said.place, &Written { author, content, bytes, own: true });
        self.queue(step, log, &said.envelope);
        Some((said.place.id, said.key_was_set_aside))
    }

    /// Puts an envelope at the end of the outbox and sends what can be sent.
    pub(crate) fn queue(&mut self, step: &mut Step<'_>, log: &LogId, envelope: &Envelope) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        conversation.queued = conversation.queued.saturating_add(1);
        let row = Outgoing { envelope: envelope.encode(), refused: 0 };
        step.draft.put(OUTBOX, numbered(log, conversation.queued), row.encode_to_vec());
        self.pump(step, log);
    }

    /// Opens the log of a conversation whose node is up, to read and to write.
    pub(crate) fn open_conversation(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        // The node may not know the newest key yet: the commit that announces it may wait in the
        // outbox. It does know the key of the first envelope there.
        let first = first_of(&step.draft, log).and_then(|e| conversation.key(&e.head.write_key));
        let (Some(address), Some(key)) =
            (conversation.node(), first.or_else(|| conversation.write_key()))
        else {
            return;
        };
        let node = address.node;
        let opening = Opening {
            log: *log,
            key,
            purpose: Purpose::Read,
            genesis: conversation.genesis.clone(),
            tail: Some(sync::cursor(&step.draft, &node, log)),
        };
        self.links.open(step, &node, opening);
        conversation.sent = 0;
    }

    /// Sends what the outbox holds, in order, as far as the window and the open handles allow.
    pub(crate) fn pump(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let Some(node) = conversation.node().map(|address| address.node) else { return };
        let reads = |handle: &Handle| handle.log == *log && handle.purpose == Purpose::Read;
        if conversation.sent >= conversation.queued || self.links.find(&node, reads).is_none() {
            return;
        }
        let ours = |ask: &Ask| matches!(ask, Ask::Append(asked, _) if asked == log);
        let mut on_the_way = self.links.awaited(&node, ours);
        while on_the_way < WINDOW && conversation.sent < conversation.queued {
            if !self.links.has_room(&node) {
                return self.retry_later(step, log);
            }
            let number = conversation.sent.saturating_add(1);
            let row: Option<Outgoing> = schema::load(&step.draft, OUTBOX, &numbered(log, number));
            let envelope = row.filter(|row| row.refused == 0);
            let envelope = envelope.and_then(|row| Envelope::decode(&row.envelope).ok());
            if let Some(envelope) = envelope {
                let key = envelope.head.write_key;
                let fits = |handle: &Handle| handle.log == *log && handle.key == key;
                let Some(handle) = self.links.find(&node, fits) else {
                    // The node learns of the key from what is on the way.
                    if on_the_way > 0 {
                        return;
                    }
                    let Some(key) = conversation.key(&key) else {
                        // Its epoch was forgotten, so it can't be sent any more.
                        return self.append_refused(step, log, number, Code::Forbidden);
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
                    let opening = Opening { log: *log, key, purpose, genesis: None, tail: None };
                    return self.links.open(step, &node, opening);
                };
                let signature = envelope.signature;
                let entry = Entry::from_envelope(&envelope, 0, key);
                let body = Body::Append { handle, entry, signature };
                self.links.ask(step, &node, Ask::Append(*log, number), body);
                on_the_way = on_the_way.saturating_add(1);
            }
            conversation.sent = number;
        }
    }

    /// The node holds an envelope durably.
    pub(crate) fn append_accepted(&mut self, step: &mut Step<'_>, log: &LogId, number: u64) {
        let key = numbered(log, number);
        let Some(row) = schema::load::<Outgoing>(&step.draft, OUTBOX, &key) else { return };
        step.draft.delete(OUTBOX, key);
        if let Ok(envelope) = Envelope::decode(&row.envelope) {
            raise(step, log, &envelope, Mark::Stored);
        }
        if let Some(conversation) = self.conversations.get_mut(log)
            && number == conversation.queued
        {
            step.event(Event::Sent(*log));
        }
        if self.conversations.get(log).is_some_and(|c| c.frontier.unacknowledged) {
            self.arm(step.now, Timer::Receipt(*log));
        }
        self.pump(step, log);
    }

    /// The node won't have an envelope: for now, or for ever.
    pub(crate) fn append_refused(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        number: u64,
        code: Code,
    ) {
        if matches!(code, Code::Busy | Code::Full | Code::Quota | Code::Unexpected) {
            return self.retry_later(step, log);
        }
        let key = numbered(log, number);
        let Some(mut row) = schema::load::<Outgoing>(&step.draft, OUTBOX, &key) else { return };
        row.refused = code as u32;
        step.draft.put(OUTBOX, key, row.encode_to_vec());
        if let Ok(envelope) = Envelope::decode(&row.envelope) {
            raise(step, log, &envelope, Mark::Refused);
        }
        self.pump(step, log);
    }

    /// Tries again what the node would not do: opens the log, sends what is still in the outbox.
    pub(crate) fn retry(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let Some(node) = conversation.node().map(|address| address.node) else { return };
        let reads = |handle: &Handle| handle.log == *log && handle.purpose == Purpose::Read;
        if self.links.find(&node, reads).is_none() {
            return self.open_conversation(step, log);
        }
        let ours = |ask: &Ask| matches!(ask, Ask::Append(asked, _) if asked == log);
        if self.links.awaited(&node, ours) > 0 {
            return self.retry_later(step, log);
        }
        conversation.sent = 0;
        self.pump(step, log);
    }

    pub(crate) fn retry_later(&mut self, step: &Step<'_>, log: &LogId) {
        self.arm(step.now.after(RETRY_DELAY), Timer::Retry(*log));
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
            conversation.node().is_some_and(|address| address.node == *node)
        });
        at.map(|conversation| conversation.log).collect()
    }
}

/// The first envelope in the outbox that its node may still take.
fn first_of(rows: &dyn Rows, log: &LogId) -> Option<Envelope> {
    let mut first = None;
    schema::each(rows, OUTBOX, &log.0, &mut |_, row| {
        let row = Outgoing::decode(row).ok().filter(|row| row.refused == 0);
        first = row.and_then(|row| Envelope::decode(&row.envelope).ok());
        if first.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    first
}

fn raise(step: &mut Step<'_>, log: &LogId, envelope: &Envelope, mark: Mark) {
    let place = Place { position: envelope.head.position, id: envelope.id() };
    let key = place.key(log);
    let before = step.draft.get(MARKS, &key).and_then(|mark| mark.first().copied());
    if before.and_then(Mark::from_byte).is_none_or(|before| before < mark) {
        step.draft.put(MARKS, key, [mark as u8]);
        step.event(Event::Timeline(*log));
    }
}

/// Envelopes of one conversation that are on their way at the same time: enough to fill a second's
/// worth of disk syncs, half of what may wait for one peer.
pub(crate) const WINDOW: usize = limits::QUEUE_FRAMES_MAX / 2;
/// Texts that wait for a contact to accept: more than anyone writes to who has not answered.
const DRAFTS_MAX: usize = 256;
/// How long to wait when a node has no room.
const RETRY_DELAY: Duration = Duration::from_secs(5);
