//! What the user says in a conversation. Specified in `spec/content.md`.

use proto::{Body, Content, ContentBody, EnvelopeId, Frame, Reference, limits, wire};

use super::{
    Conversation, drafts,
    group::SealedEntry,
    timeline::{self, NewEntry, renamed},
};
use crate::{
    CommandError, Reply, contact, entries,
    identity::Identity,
    link::Links,
    log,
    rows::TimelineKey,
    step::{Durability, Step},
};

/// Bytes of one text: what fits an envelope beside everything that is sealed with it.
pub const TEXT_MAX: usize = limits::ENVELOPE_MAX - 4096;

/// Commands.
impl Conversation {
    pub(crate) fn send_text(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        text: &str,
        reply_to: Option<Reference>,
    ) -> Result<Reply, CommandError> {
        if let Some(target) = &reply_to {
            self.find(step, target).ok_or(CommandError::NoMessage)?;
        }
        self.send_content(step, links, own, ContentBody::Text { text: text.to_owned(), reply_to })
    }

    pub(crate) fn edit(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        target: Reference,
        text: &str,
    ) -> Result<Reply, CommandError> {
        self.check_own(step, own, &target)?;
        self.send_content(step, links, own, ContentBody::Edit { target, text: text.to_owned() })
    }

    pub(crate) fn delete(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        target: Reference,
    ) -> Result<Reply, CommandError> {
        self.check_own(step, own, &target)?;
        self.send_content(step, links, own, ContentBody::Delete { target })
    }

    pub(crate) fn react(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        target: Reference,
        emoji: String,
    ) -> Result<Reply, CommandError> {
        self.find(step, &target).ok_or(CommandError::NoMessage)?;
        self.send_content(step, links, own, ContentBody::Reaction { target, emoji })
    }

    /// Tells the contact that everything shown was read, if something new was.
    pub(crate) fn mark_read(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
    ) -> Result<Reply, CommandError> {
        let log = *self.log.id();
        let newest = timeline::newest_of(step.rows(), &log, &self.contact);
        if newest.is_some_and(|newest| self.frontier.mark_read(newest)) {
            self.frontier.save(step, &log);
            self.send_receipt(step, links, own, true);
        }
        Ok(Reply::Nothing)
    }

    /// Tells the contact that the user is typing, if the primary is up.
    pub(crate) fn typing(&self, step: &mut Step<'_>, links: &Links) -> Result<Reply, CommandError> {
        let sealed = self.group.seal_activity(step, wire::Activity { typing: true });
        let ciphertext = sealed.ok_or(CommandError::NoContact)?;
        if let Some((node, channel)) = self.log.reading(links) {
            step.transmit(&node, Frame::new(Body::Signal { channel, ciphertext }));
        }
        Ok(Reply::Nothing)
    }

    /// Gives the group fresh keys.
    pub(crate) fn rekey(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
    ) -> Result<Reply, CommandError> {
        if log::announced_keys(step.rows(), self.log.id()).len() >= KEY_CHANGES_MAX {
            return Err(CommandError::TooMany(KEY_CHANGES_MAX));
        }
        let id = self.change_keys(step, links, own);
        self.resolve_refused(step, links, own, false);
        let id = id.ok_or(CommandError::BadRequest("the group can't be changed"))?;
        Ok(Reply::Envelope(id))
    }

    /// Sends what was written while the contact had not accepted.
    pub(crate) fn send_drafts(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
    ) {
        for (row_key, text) in drafts::drafts_of(step.rows(), &self.contact) {
            let body = ContentBody::Text { text, reply_to: None };
            if self.send(step, links, own, body).is_some() {
                drafts::forget(step, row_key);
            }
        }
    }

    /// Finds a message, also under the name that it had before it was sealed again.
    fn find(&self, step: &Step<'_>, reference: &Reference) -> Option<TimelineKey> {
        let current = entries::current(step.rows(), self.log.id(), reference);
        entries::find(step.rows(), self.log.id(), &current)
    }

    /// Checks that a message is the user's own.
    fn check_own(
        &self,
        step: &Step<'_>,
        own: Identity<'_>,
        target: &Reference,
    ) -> Result<(), CommandError> {
        let key = self.find(step, target).ok_or(CommandError::NoMessage)?;
        let row = entries::row(step.rows(), self.log.id(), key).ok_or(CommandError::NoMessage)?;
        if row.is_by(&own.account) { Ok(()) } else { Err(CommandError::NotYours) }
    }

    fn send_content(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        body: ContentBody,
    ) -> Result<Reply, CommandError> {
        let log = *self.log.id();
        let body = renamed(body, |target| entries::current(step.rows(), &log, target));
        let sent = self.send_with_key(step, links, own, body);
        let (id, key_was_set_aside) = sent.ok_or(CommandError::NoContact)?;
        if key_was_set_aside {
            step.require(Durability::Meanwhile);
        }
        Ok(Reply::Envelope(id))
    }
}

/// Sealing.
impl Conversation {
    pub(super) fn send(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        body: ContentBody,
    ) -> Option<EnvelopeId> {
        self.send_with_key(step, links, own, body).map(|(id, _)| id)
    }

    /// The same; returns as well whether the message's key was set aside by an earlier commit.
    fn send_with_key(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        body: ContentBody,
    ) -> Option<(EnvelopeId, bool)> {
        step.require(Durability::First);
        let bundle_seen = contact::take_bundle_to_tell(step, &self.contact);
        let sent_at_s = step.now().as_secs();
        let content = Content { sent_at_s, body, bundle_seen, ..Content::default() };
        let sent = self.seal(step, links, own, content);
        self.resolve_refused(step, links, own, false);
        sent
    }

    /// Seals, places and queues a content that gets its dependencies here.
    pub(super) fn seal(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        content: Content,
    ) -> Option<(EnvelopeId, bool)> {
        let content = Content { dependencies: self.frontier.newest_heads(), ..content };
        let sealed = self.group.seal(step, own.device, self.frontier.next_position(), content)?;
        self.append(step, links, own, &sealed);
        Some((sealed.key.id, sealed.key_was_set_aside))
    }

    /// Gives the group a new state, places the commit and queues it.
    pub(super) fn change_keys(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
    ) -> Option<EnvelopeId> {
        let allowed = self.allowed(step, own);
        let (position, dependencies) =
            (self.frontier.next_position(), self.frontier.newest_heads());
        let sealed = self.group.rekey(step, own.device, &allowed, position, dependencies)?;
        self.append(step, links, own, &sealed);
        Some(sealed.key.id)
    }

    fn append(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        SealedEntry { key, envelope, content, bytes, .. }: &SealedEntry,
    ) {
        self.insert(step, *key, &NewEntry { author: own.account, content, bytes, own: true });
        self.log.append(step, links, &self.group, envelope);
    }
}

/// Checks a text that the user wants to send.
pub(crate) fn check_text(text: &str) -> Result<(), CommandError> {
    if text.is_empty() {
        return Err(CommandError::Empty);
    }
    if text.len() > TEXT_MAX { Err(CommandError::TooLong(TEXT_MAX)) } else { Ok(()) }
}

/// Checks a reaction that the user wants to send.
pub(crate) fn check_emoji(emoji: &str) -> Result<(), CommandError> {
    if emoji.len() > limits::EMOJI_MAX {
        return Err(CommandError::TooLong(limits::EMOJI_MAX));
    }
    Ok(())
}

/// Key changes that wait in an outbox: few of the epochs that a device keeps, so that it never
/// forgets the last one that the node knows.
const KEY_CHANGES_MAX: usize = limits::EPOCHS_OPEN_MAX / 4;
