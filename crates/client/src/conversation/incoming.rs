//! What arrives: each entry is taken in once and after what it depends on.
//! Specified in `spec/delivery.md`, section 4.

use std::time::Duration;

use crypto::group::Allowed;
use proto::{
    AccountId, Content, ContentBody, Entry, Envelope, EnvelopeId, PublicKey, Receipt, Reference,
};

use super::{
    Conversation, ConversationEvent,
    group::{Committer, Group, OpenedEntry, Unopened},
    timeline::{self, NewEntry},
};
use crate::{
    DeliveryStatus, contact, entries,
    identity::Identity,
    link::{ChannelAt, Links},
    log,
    rows::TimelineKey,
    step::{Durability, Step},
    topics::ConversationTimer,
};

/// Why an envelope was not placed.
enum NotPlaced {
    /// It waits for these.
    Waits(Vec<Vec<u8>>),
    /// It is not what a member may send.
    Invalid,
}

impl Conversation {
    /// Takes a delivered entry in and moves the cursor, in one commit.
    pub(crate) fn on_delivered(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        at: ChannelAt<'_>,
        key: PublicKey,
        entry: Entry,
    ) {
        let sequence = entry.sequence;
        let log = *self.log.id();
        step.require(Durability::Later);
        let envelope = entry.into_envelope(log, key, NO_SIGNATURE);
        self.take_in(step, links, own, envelope);
        links.check_order(step, at, sequence);
        log::put_cursor(step, at.node, &log, sequence);
        self.log.check_announced(step, links);
        self.resolve_refused(step, links, own, false);
        links.on_delivered(step, at, sequence, ACKNOWLEDGE_DELAY);
    }

    /// Takes the entries of a page in that was fetched on a channel with this key because they were
    /// missing; there may be `more` that did not fit.
    pub(super) fn on_fetched(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        key: PublicKey,
        entries: Vec<Entry>,
        more: bool,
    ) {
        let log = *self.log.id();
        let mut useful = false;
        for entry in entries {
            let envelope = entry.into_envelope(log, key, NO_SIGNATURE);
            let reference = envelope.id().reference();
            let was_missing = self.log.misses(&reference);
            self.take_in(step, links, own, envelope);
            useful |= was_missing && !self.log.misses(&reference);
        }
        // A page may end before the answer does.
        self.log.on_page_taken_in(step, links, more && useful);
        self.resolve_refused(step, links, own, false);
    }

    /// Takes an envelope in, and whatever waited for it.
    fn take_in(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        envelope: Envelope,
    ) {
        let mut ready = vec![envelope];
        while let Some(envelope) = ready.pop() {
            let id = envelope.id();
            let reference = id.reference();
            if entries::has(step.rows(), self.log.id(), &reference) {
                self.log.forget_deferred(step, &id);
                continue;
            }
            let knew_key = self.group.has_key(&envelope.head.write_key);
            match self.place(step, links, own, &id, &envelope) {
                Ok(()) => {
                    self.log.forget_deferred(step, &id);
                    ready.extend(self.log.release(step, &reference.0));
                    let announced = envelope.head.extension.announced_key();
                    if let Some(announced) = announced.filter(|_| knew_key) {
                        ready.extend(self.log.release(step, &announced.0));
                    }
                }
                Err(NotPlaced::Waits(missing)) => self.log.defer(step, links, &envelope, missing),
                Err(NotPlaced::Invalid) => {
                    self.log.forget_deferred(step, &id);
                    step.count_dropped();
                }
            }
        }
    }

    fn place(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        id: &EnvelopeId,
        envelope: &Envelope,
    ) -> Result<(), NotPlaced> {
        let key = TimelineKey { position: envelope.head.position, id: *id };
        match self.group.open(envelope) {
            Ok(OpenedEntry::Said { author, content, bytes, counted }) => {
                self.check(step, key, &content.dependencies)?;
                Group::count_key(step, counted, key);
                let is_own = own.account == author;
                let entry = NewEntry { author, content: &content, bytes: &bytes, own: is_own };
                self.insert(step, key, &entry);
                if is_own {
                    // A crash lost it here, or another device of ours wrote it.
                    let log = *self.log.id();
                    entries::set_status(step, &log, key, DeliveryStatus::Stored);
                } else {
                    self.events.extend(control(author, content));
                }
                Ok(())
            }
            Ok(OpenedEntry::Changed { mls, dependencies }) => {
                self.check(step, key, &dependencies)?;
                self.follow(step, own, key, envelope, &mls, dependencies)?;
                self.log.pump(step, links, &self.group);
                Ok(())
            }
            Err(Unopened::UnknownEpoch(key)) => Err(NotPlaced::Waits(vec![key.0.to_vec()])),
            Err(Unopened::Bad) => Err(NotPlaced::Invalid),
        }
    }

    fn follow(
        &mut self,
        step: &mut Step<'_>,
        own: Identity<'_>,
        key: TimelineKey,
        envelope: &Envelope,
        mls: &[u8],
        dependencies: Vec<Reference>,
    ) -> Result<(), NotPlaced> {
        let allowed = self.allowed(step, own);
        let committer = self.group.follow(step, own.device, envelope, mls, &allowed);
        let author = match committer.ok_or(NotPlaced::Invalid)? {
            Committer::Member(author) => author,
            Committer::Unknown => self.contact,
        };
        let content = Content { dependencies, ..Default::default() };
        let bytes = content.encode();
        let own = author == own.account;
        self.insert(step, key, &NewEntry { author, content: &content, bytes: &bytes, own });
        Ok(())
    }

    /// The devices that may be in the group.
    pub(super) fn allowed(&self, step: &Step<'_>, own: Identity<'_>) -> Allowed {
        let theirs = contact::bundle(step.rows(), &self.contact);
        Allowed::new([own.bundle].into_iter().chain(&theirs))
    }

    /// Checks that an entry stands behind what it depends on, all of which has to be here.
    fn check(
        &self,
        step: &Step<'_>,
        key: TimelineKey,
        dependencies: &[Reference],
    ) -> Result<(), NotPlaced> {
        let position = key.position;
        match timeline::check_position(step.rows(), self.log.id(), position, dependencies) {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotPlaced::Invalid),
            Err(missing) => Err(NotPlaced::Waits(missing.iter().map(|m| m.0.to_vec()).collect())),
        }
    }

    /// Puts an entry into its place and sees to it that its author learns of it.
    pub(super) fn insert(&mut self, step: &mut Step<'_>, key: TimelineKey, entry: &NewEntry<'_>) {
        let log = *self.log.id();
        let Self { contact, frontier, .. } = self;
        timeline::insert(step, &log, std::slice::from_ref(contact), frontier, key, entry);
        if self.frontier.owes_receipt() {
            let jitter = Duration::from_millis(key.position.wrapping_mul(37) % 100);
            let after = RECEIPT_DELAY.saturating_add(jitter);
            self.arm(step, after, ConversationTimer::Receipt);
        }
    }

    /// Tells the contact that everything up to the heads has arrived, and with `read` was read,
    /// unless a message has said so already.
    pub(super) fn send_receipt(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        read: bool,
    ) {
        if !self.frontier.owes_receipt() && !read {
            return;
        }
        // While the node accepts nothing, what arrives must not fill the outbox with receipts.
        if !read && self.log.has_outgoing(step) {
            return;
        }
        // What was read has arrived; what depends on an entry says so too.
        let read = if read { self.frontier.newest_heads() } else { Vec::new() };
        let receipt = Receipt { delivered: Vec::new(), read };
        let _ = self.send(step, links, own, ContentBody::Receipt(receipt));
    }
}

/// What an entry of another account says that concerns more than the timeline.
fn control(author: AccountId, content: Content) -> impl Iterator<Item = ConversationEvent> {
    let seen = content.bundle_seen.map(|seen| ConversationEvent::BundleSeen { author, seen });
    let accepted = if let ContentBody::Accept { bundle, instead_of } = content.body {
        Some(ConversationEvent::Accepted { author, bundle, instead_of })
    } else {
        None
    };
    seen.into_iter().chain(accepted)
}

/// Readers get envelopes without the write key's signature; what they check is inside.
const NO_SIGNATURE: [u8; 64] = [0; 64];
/// How long a node may wait to be told what has arrived; long enough to share a packet with a
/// transport acknowledgement.
const ACKNOWLEDGE_DELAY: Duration = Duration::from_millis(20);
/// How long a receipt waits for more arrivals, or for a message that makes it needless.
const RECEIPT_DELAY: Duration = Duration::from_millis(200);
