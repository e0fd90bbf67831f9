//! What the user says in conversations. Specified in `spec/content.md`.

use proto::{
    AccountId, Body, ContentBody, Direction, EnvelopeId, Frame, LogId, Reference, Rows, limits,
    wire,
};

use crate::{
    Client, CommandError, ContactState, Reply, contact,
    link::{Handle, Purpose},
    outbox::{KEY_CHANGES_MAX, announced},
    schema::{self, MESSAGES, MessageRow, Place, current, place_of, prefix_range},
    step::{Durability, Step},
    timeline::{Written, renamed},
};

/// Bytes of one text: what fits an envelope beside everything that is sealed with it.
pub const TEXT_MAX: usize = limits::ENVELOPE_MAX - 4096;

impl Client {
    pub(crate) fn send(
        &mut self,
        step: &mut Step<'_>,
        contact: &AccountId,
        text: &str,
        reply_to: Option<Reference>,
    ) -> Result<Reply, CommandError> {
        check_text(text)?;
        self.active()?;
        let row = contact::load(&step.draft, contact).ok_or(CommandError::NoContact)?;
        if row.state() != ContactState::Established {
            if reply_to.is_some() {
                return Err(CommandError::NotAccepted);
            }
            return Self::draft(step, contact, text);
        }
        let log = row.log().ok_or(CommandError::NoContact)?;
        if let Some(target) = &reply_to {
            place_now(&step.draft, &log, target).ok_or(CommandError::NoMessage)?;
        }
        self.utter(step, &log, ContentBody::Text { text: text.to_owned(), reply_to })
    }

    pub(crate) fn edit(
        &mut self,
        step: &mut Step<'_>,
        contact: &AccountId,
        target: Reference,
        text: &str,
    ) -> Result<Reply, CommandError> {
        check_text(text)?;
        let log = self.own_message(step, contact, &target)?;
        self.utter(step, &log, ContentBody::Edit { target, text: text.to_owned() })
    }

    pub(crate) fn delete(
        &mut self,
        step: &mut Step<'_>,
        contact: &AccountId,
        target: Reference,
    ) -> Result<Reply, CommandError> {
        let log = self.own_message(step, contact, &target)?;
        self.utter(step, &log, ContentBody::Delete { target })
    }

    pub(crate) fn react(
        &mut self,
        step: &mut Step<'_>,
        contact: &AccountId,
        target: Reference,
        emoji: String,
    ) -> Result<Reply, CommandError> {
        if emoji.len() > limits::EMOJI_MAX {
            return Err(CommandError::TooLong(limits::EMOJI_MAX));
        }
        let log = self.established(step, contact)?;
        place_now(&step.draft, &log, &target).ok_or(CommandError::NoMessage)?;
        self.utter(step, &log, ContentBody::Reaction { target, emoji })
    }

    /// Tells the contact that everything shown was read, if something new was.
    pub(crate) fn mark_read(
        &mut self,
        step: &mut Step<'_>,
        contact: &AccountId,
    ) -> Result<Reply, CommandError> {
        let log = self.established(step, contact)?;
        let Some(conversation) = self.conversations.get_mut(&log) else {
            return Err(CommandError::NoContact);
        };
        let Some(latest) = latest_of(&step.draft, &log, contact) else { return Ok(Reply::Nothing) };
        if latest > conversation.frontier.read {
            conversation.frontier.read = latest;
            conversation.frontier.unread = Some(0);
            conversation.save_frontier(step);
            self.send_receipt(step, &log, true);
        }
        Ok(Reply::Nothing)
    }

    pub(crate) fn typing(
        &self,
        step: &mut Step<'_>,
        contact: &AccountId,
    ) -> Result<Reply, CommandError> {
        let log = self.established(step, contact)?;
        let conversation = self.conversations.get(&log).ok_or(CommandError::NoContact)?;
        let activity = wire::Activity { typing: true };
        let sealed = conversation.seal_activity(step, activity);
        let ciphertext = sealed.ok_or(CommandError::NoContact)?;
        let reads = |handle: &Handle| handle.log == log && handle.purpose == Purpose::Read;
        if let Some(node) = conversation.node()
            && let Some(handle) = self.links.find(&node.node, reads)
        {
            step.transmit(&node.node, Frame::new(Body::Signal { handle, ciphertext }));
        }
        Ok(Reply::Nothing)
    }

    pub(crate) fn rekey(
        &mut self,
        step: &mut Step<'_>,
        contact: &AccountId,
    ) -> Result<Reply, CommandError> {
        let log = self.established(step, contact)?;
        if announced(&step.draft, &log).len() >= KEY_CHANGES_MAX {
            return Err(CommandError::TooMany(KEY_CHANGES_MAX));
        }
        let id = self.change_keys(step, &log);
        let id = id.ok_or(CommandError::BadRequest("the group can't be changed"))?;
        Ok(Reply::Envelope(id))
    }

    /// Gives the group a new state, places the commit and queues it.
    pub(crate) fn change_keys(&mut self, step: &mut Step<'_>, log: &LogId) -> Option<EnvelopeId> {
        let allowed = self.allowed(&step.draft, log);
        let (me, conversation) = (self.me.as_ref()?, self.conversations.get_mut(log)?);
        let author = me.account;
        let (place, envelope, content) = conversation.rekey(step, &me.device, &allowed)?;
        let bytes = content.encode();
        let written = Written { author, content: &content, bytes: &bytes, own: true };
        self.insert(step, log, place, &written);
        self.queue(step, log, &envelope);
        Some(place.id)
    }

    fn utter(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        body: ContentBody,
    ) -> Result<Reply, CommandError> {
        let body = renamed(body, |target| current(&step.draft, log, target));
        let said = self.say_with_key(step, log, body);
        let (id, key_was_set_aside) = said.ok_or(CommandError::NoContact)?;
        if key_was_set_aside {
            step.durability = Durability::Meanwhile;
        }
        Ok(Reply::Envelope(id))
    }

    /// The conversation with a contact that has accepted.
    fn established(&self, step: &Step<'_>, contact: &AccountId) -> Result<LogId, CommandError> {
        self.active()?;
        let row = contact::load(&step.draft, contact).ok_or(CommandError::NoContact)?;
        if row.state() != ContactState::Established {
            return Err(CommandError::NotAccepted);
        }
        row.log().ok_or(CommandError::NoContact)
    }

    /// The conversation in which `target` is a message of one's own.
    fn own_message(
        &self,
        step: &Step<'_>,
        contact: &AccountId,
        target: &Reference,
    ) -> Result<LogId, CommandError> {
        let log = self.established(step, contact)?;
        let me = self.active()?;
        let place = place_now(&step.draft, &log, target).ok_or(CommandError::NoMessage)?;
        let row: Option<MessageRow> = schema::load(&step.draft, MESSAGES, &place.key(&log));
        let row = row.ok_or(CommandError::NoMessage)?;
        if row.author == me.account.0 { Ok(log) } else { Err(CommandError::NotYours) }
    }
}

/// Where a message stands, also under the name that it had before it was sealed anew.
fn place_now(rows: &dyn Rows, log: &LogId, reference: &Reference) -> Option<Place> {
    place_of(rows, log, &current(rows, log, reference))
}

fn check_text(text: &str) -> Result<(), CommandError> {
    if text.is_empty() {
        return Err(CommandError::Empty);
    }
    if text.len() > TEXT_MAX { Err(CommandError::TooLong(TEXT_MAX)) } else { Ok(()) }
}

/// Where the newest entry of this author stands.
fn latest_of(rows: &dyn Rows, log: &LogId, author: &AccountId) -> Option<Place> {
    let (from, to) = prefix_range(&log.0);
    let mut latest = None;
    rows.scan(MESSAGES, &from, &to, Direction::Backward, &mut |key, value| {
        use prost::Message;
        let row = MessageRow::decode(value).unwrap_or_default();
        if row.author == author.0 {
            latest = key.get(log.0.len()..).and_then(Place::decode);
            return std::ops::ControlFlow::Break(());
        }
        std::ops::ControlFlow::Continue(())
    });
    latest
}
