//! Withdrawing: what its node will never take leaves the log on this device too, and what depends
//! on it is sealed again. Specified in `spec/delivery.md`, section 3.

use std::{collections::BTreeMap, time::Duration};

use proto::{Code, Content, ContentBody, Envelope, EnvelopeId, Kind, PublicKey, Reference};

use super::{
    Conversation,
    timeline::{self, renamed},
};
use crate::{
    DeliveryStatus, contact, entries,
    identity::Identity,
    link::Links,
    log::{self, Refusal, WriteKeys},
    rows::TimelineKey,
    step::{Durability, Step},
    topics::ConversationTimer,
};

/// What stands in the outbox for an entry.
struct Queued {
    number: u64,
    /// The key that it announces, if it is a commit.
    announces: Option<PublicKey>,
}

/// What becomes of an entry that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is sealed again, as what depends on it is.
    SealedAgain,
    /// It is shown as refused.
    Shown,
    /// It goes without a trace.
    Dropped,
}

impl Fate {
    fn of(refused: Option<&Content>, again: bool) -> Self {
        match refused.map(|content| &content.body) {
            _ if again => Self::SealedAgain,
            Some(ContentBody::Receipt(_) | ContentBody::Unknown) | None => Self::Dropped,
            Some(_) => Self::Shown,
        }
    }
}

impl Conversation {
    /// Resolves the first entries of the outbox that their node refused finally, once all answers
    /// are there; returns whether there was one. An entry that is to be sealed again waits until
    /// the device has read the log up to where it was when it was opened, so that it knows the new
    /// key; with `at_once` the first has waited long enough.
    pub(super) fn resolve_refused(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        at_once: bool,
    ) -> bool {
        let mut has_resolved = false;
        // Each leaves the outbox, or waits.
        while let Some(refusal) = self.log.next_refusal(step, links)
            && self.resolve(step, links, own, &refusal, at_once && !has_resolved)
        {
            self.log.on_refusal_resolved(step, links, &self.group);
            has_resolved = true;
        }
        has_resolved
    }

    fn resolve(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        Refusal { number, code, envelope }: &Refusal,
        at_once: bool,
    ) -> bool {
        if self.log.is_stored(step, TimelineKey::of(envelope)) {
            self.log.take_back(step, *number);
            if self.frontier.owes_receipt() {
                self.arm(step, Duration::ZERO, ConversationTimer::Receipt);
            }
            return true;
        }
        let is_key_refused = *code == Code::Forbidden;
        let mut other_key = true;
        if is_key_refused {
            let unpublished = log::announced_keys(step.rows(), self.log.id());
            let known = self.group.published(&unpublished).first().map(|key| key.public());
            other_key = known.is_some_and(|known| known != envelope.head.write_key);
            let waits = envelope.head.kind == Kind::Entry && !other_key;
            if waits || !(at_once || self.log.has_caught_up(step)) {
                return false;
            }
        }
        self.withdraw(step, links, own, envelope, is_key_refused && other_key);
        true
    }

    /// Takes a refused entry and what depends on it out of the timeline and the outbox, and seals
    /// the latter again, in the same order; the entry itself too, if another key may do.
    fn withdraw(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        refused: &Envelope,
        again: bool,
    ) {
        step.require(Durability::First);
        let log = *self.log.id();
        let root = TimelineKey::of(refused);
        let queued = queued(step, &log);
        let mut gone = timeline::dependents(step.rows(), &log, root, &own.account);
        let fate = Fate::of(gone.get(&root), again);
        let stays = (fate == Fate::Shown).then_some(root);
        timeline::retreat(step, &log, &mut self.frontier, &gone, stays);
        for id in gone.keys().map(|key| &key.id).chain([&root.id]) {
            let Some(Queued { number, announces }) = queued.get(id) else { continue };
            self.log.take_back(step, *number);
            if let Some(key) = announces {
                self.group.undo(step, key);
            }
        }
        // What they acknowledged is acknowledged by what is sent now.
        let is_receipt =
            matches!(gone.get(&root), Some(c) if matches!(c.body, ContentBody::Receipt(_)));
        if !is_receipt || again || gone.len() > 1 {
            self.frontier.set_owes_receipt(true);
        }
        if fate == Fate::Shown {
            entries::advance_status(step, &log, root, DeliveryStatus::Refused);
        }
        if fate != Fate::SealedAgain
            && let Some(content) = gone.remove(&root)
        {
            self.untell(step, &content);
        }
        self.reseal(step, links, own, gone, &queued);
    }

    /// The contact was not told which bundle is known here, if this entry was to tell.
    fn untell(&self, step: &mut Step<'_>, content: &Content) {
        if content.bundle_seen.is_some() {
            contact::forget_bundle_told(step, &self.contact);
        }
    }

    fn reseal(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        gone: BTreeMap<TimelineKey, Content>,
        queued: &BTreeMap<EnvelopeId, Queued>,
    ) {
        let log = *self.log.id();
        let mut names: BTreeMap<Reference, Reference> = BTreeMap::new();
        for (key, content) in gone {
            let commits = queued.get(&key.id).is_some_and(|queued| queued.announces.is_some());
            let needless = content.body == ContentBody::Unknown
                || matches!(&content.body, ContentBody::Receipt(r) if r.read.is_empty());
            let sealed = if commits {
                self.change_keys(step, links, own)
            } else if needless {
                self.untell(step, &content);
                None
            } else {
                let to_tell = || contact::take_bundle_to_tell(step, &self.contact);
                let bundle_seen = content.bundle_seen.or_else(to_tell);
                let name = |old: &Reference| names.get(old).copied().unwrap_or(*old);
                let body = renamed(content.body, name);
                let content = Content { body, bundle_seen, ..content };
                self.seal(step, links, own, content).map(|(id, _)| id)
            };
            if let Some(id) = sealed {
                let (old, new) = (key.id.reference(), id.reference());
                names.insert(old, new);
                entries::succeed(step, &log, old, new);
            }
        }
        self.frontier.save(step, &log);
        if self.frontier.owes_receipt() {
            self.arm(step, Duration::ZERO, ConversationTimer::Receipt);
        }
    }
}

fn queued(step: &Step<'_>, log: &proto::LogId) -> BTreeMap<EnvelopeId, Queued> {
    let outgoing = log::outgoing(step.rows(), log).into_iter();
    let queued = outgoing.map(|(number, envelope)| {
        let announces = envelope.head.extension.announced_key();
        (envelope.id(), Queued { number, announces })
    });
    queued.collect()
}
