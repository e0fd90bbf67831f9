//! Withdrawing: what its node will never take leaves the log on this device too, and what depends
//! on it is sealed anew. Specified in `spec/delivery.md`, section 3.

use std::collections::BTreeMap;

use prost::Message;
use proto::{Code, Content, ContentBody, Envelope, EnvelopeId, Kind, LogId, PublicKey, Reference};

use crate::{
    Client, Mark, contact,
    machine::Timer,
    outbox::{all_of, announced, appends, first_of, mark_of, raise},
    schema::{CONTACTS, OUTBOX, Place, SUCCESSORS, join, numbered},
    step::Step,
    sync::cursor,
    timeline::{self, renamed},
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
    /// It is said again, as what depends on it is.
    SaidAgain,
    /// It is shown as refused.
    Shown,
    /// It goes without a trace.
    Dropped,
}

impl Client {
    /// Deals with the first entry of the outbox if its node refused it for good, once all answers
    /// are there; tells whether it did. An entry that is to be sealed anew waits until the
    /// device has read the log up to where it was when it was opened, so that it knows the new key;
    /// or not, if it has waited long enough.
    pub(crate) fn settle(&mut self, step: &mut Step<'_>, log: &LogId, at_once: bool) -> bool {
        let Some(conversation) = self.conversations.get(log) else { return false };
        let flow = &conversation.flow;
        let Some((number, code)) = flow.refused.first_key_value().map(|(n, code)| (*n, *code))
        else {
            return false;
        };
        let Some(node) = conversation.node().map(|address| address.node) else { return false };
        let first = first_of(&step.draft, log).filter(|(first, _)| *first == number);
        let (Some((_, envelope)), 0) = (first, self.links.awaited(&node, appends(log))) else {
            // Something before it waits for room, or may yet be stored.
            return false;
        };
        if mark_of(&step.draft, log, Place::of(&envelope)).is_none_or(|mark| mark > Mark::Sent) {
            // The log has it, whatever the node says now; so it has what others made, which bears no
            // mark.
            step.draft.delete(OUTBOX, numbered(log, number));
            if conversation.frontier.unacknowledged {
                self.arm(step.now, Timer::Receipt(*log));
            }
        } else {
            let mut other_key = true;
            if code == Code::Forbidden {
                let caught_up = cursor(&step.draft, &node, log).sequence >= flow.log_end;
                let known = conversation.known_key(&announced(&step.draft, log));
                other_key = known.is_some_and(|key| key.public() != envelope.head.write_key);
                let waits = envelope.head.kind == Kind::Entry && !other_key;
                if waits || !(caught_up || at_once) {
                    return false;
                }
            }
            self.withdraw(step, log, &envelope, code == Code::Forbidden && other_key);
        }
        if let Some(conversation) = self.conversations.get_mut(log) {
            conversation.flow.doubtful = false;
            conversation.flow.tries = 0;
        }
        self.disarm(Timer::Retry(*log));
        self.start_over(step, log);
        true
    }

    /// Takes a refused entry and what depends on it out of the timeline and the outbox, and says
    /// the latter again, in the same order; the entry itself too, if another key may do.
    fn withdraw(&mut self, step: &mut Step<'_>, log: &LogId, refused: &Envelope, again: bool) {
        step.must_last();
        let Some(author) = self.me.as_ref().map(|me| me.account) else { return };
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let root = Place { position: refused.head.position, id: refused.id() };
        let mut queued = BTreeMap::new();
        for (number, envelope) in all_of(&step.draft, log) {
            let announces = envelope.head.extension.announced_key();
            queued.insert(envelope.id(), Queued { number, announces });
        }
        let gone = timeline::dependents(&step.draft, log, (root, &author));
        let fate = match gone.get(&root).map(|content| &content.body) {
            _ if again => Fate::SaidAgain,
            Some(ContentBody::Receipt(_) | ContentBody::Unknown) | None => Fate::Dropped,
            Some(_) => Fate::Shown,
        };
        timeline::retreat(step, conversation, &gone, (fate == Fate::Shown).then_some(root));
        for id in gone.keys().map(|place| &place.id).chain([&root.id]) {
            let Some(Queued { number, announces }) = queued.get(id) else { continue };
            step.draft.delete(OUTBOX, numbered(log, *number));
            if let Some(key) = announces {
                conversation.undo(step, key);
            }
        }
        // What they acknowledged is acknowledged by what is said now.
        let receipt =
            matches!(gone.get(&root), Some(c) if matches!(c.body, ContentBody::Receipt(_)));
        conversation.frontier.unacknowledged |= !receipt || again || gone.len() > 1;
        if fate == Fate::Shown {
            raise(step, log, Place::of(refused), Mark::Refused);
        }
        let mut gone = gone;
        if fate != Fate::SaidAgain
            && let Some(content) = gone.remove(&root)
        {
            self.untell(step, log, &content);
        }
        self.say_again(step, log, gone, &queued);
    }

    /// The contact was not told which bundle is known here, if this entry was to tell.
    fn untell(&self, step: &mut Step<'_>, log: &LogId, content: &Content) {
        let Some(contact) = self.conversations.get(log).map(|c| c.contact) else { return };
        if let (Some(_), Some(mut row)) =
            (content.bundle_seen, contact::load(&step.draft, &contact))
        {
            row.told = Vec::new();
            step.draft.put(CONTACTS, contact.0, row.encode_to_vec());
        }
    }

    fn say_again(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        gone: BTreeMap<Place, Content>,
        queued: &BTreeMap<EnvelopeId, Queued>,
    ) {
        let mut names: BTreeMap<Reference, Reference> = BTreeMap::new();
        for (place, content) in gone {
            let commits = queued.get(&place.id).is_some_and(|queued| queued.announces.is_some());
            let needless = content.body == ContentBody::Unknown
                || matches!(&content.body, ContentBody::Receipt(r) if r.read.is_empty());
            let said = if commits {
                self.change_keys(step, log)
            } else if needless {
                self.untell(step, log, &content);
                None
            } else {
                let bundle_seen = content.bundle_seen.or_else(|| self.untold_bundle(step, log));
                let name = |old: &Reference| names.get(old).copied().unwrap_or(*old);
                let body = renamed(content.body, name);
                let content = Content { body, bundle_seen, ..content };
                self.seal(step, log, content).map(|(id, _)| id)
            };
            if let Some(id) = said {
                let (old, new) = (place.id.reference(), id.reference());
                names.insert(old, new);
                step.draft.put(SUCCESSORS, join(log, old), new.0);
            }
        }
        let Some(conversation) = self.conversations.get(log) else { return };
        conversation.save_frontier(step);
        if conversation.frontier.unacknowledged {
            self.arm(step.now, Timer::Receipt(*log));
        }
    }
}
