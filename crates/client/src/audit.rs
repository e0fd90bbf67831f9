//! Audits: a home is asked now and then for entries that it has signed for, as for any others. What it does not
//! hand over it is challenged for: it has to hand it over after all, or to sign that it has lost it. That
//! and its receipt prove to anybody that it has lost what it signed for, and it is replaced. Specified in
//! `spec/delivery.md`, section 9.
//!
//! ```text
//!  device ── Fetch{references} ──────▶ home         what any device asks at any time
//!         ◀─ Page ────────────────────              and for what is not in it:
//!         ── Challenge{id, receipt} ─▶
//!         ◀─ Page, or Lost{signature} ─             a proof, and a record without that home
//! ```

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use crypto::LossProof;
use prost::Message;
use proto::{
    Body, Code, Content, ContentBody, Direction, Entry, Envelope, EnvelopeId, Expiry, Instant,
    LogId, NodeId, PublicKey, Rows, limits,
};
use rand_core::Rng;

use crate::{
    Client, Event,
    account::HOMES_SERVED,
    link::Ask,
    machine::Timer,
    receipts::{self, Holder, receipt_of},
    schema::{
        self, CONVICTIONS, KEPT, MESSAGES, MessageRow, Outgoing, Place, RECEIPTS, prefix_range,
    },
    step::Step,
    sync,
    trust::Offence,
};

/// How often in a row nothing new was signed for between two audits.
#[derive(Debug, Default)]
pub(crate) struct Audits {
    rounds: u32,
}

/// Asking.
impl Client {
    /// What a device knew when it was closed.
    pub(crate) fn audits_resume(&mut self, step: &Step<'_>) {
        self.standing.trust.convict(convicted(&step.draft));
        if any_log(&step.draft, &[0; 32]).is_some() {
            self.plan_audit(step.now);
        }
    }

    /// A node has signed for an entry.
    pub(crate) fn signed(&mut self, step: &Step<'_>, log: &LogId, place: Place) {
        if is_worth_it(&step.draft, log, place) {
            self.plan_audit(step.now);
        }
    }

    fn plan_audit(&mut self, now: Instant) {
        self.audits.rounds = 0;
        self.arm_by(now.after(AUDIT_MIN), Timer::Audit);
    }

    /// Asks the homes for some of what they have signed for, as long as there is anything of which the
    /// contacts have not said that it arrived.
    pub(crate) fn audit(&mut self, step: &mut Step<'_>) {
        let mut logs = BTreeSet::new();
        for _ in 0..LOGS_AT_A_TIME {
            let mut from = [0; 32];
            step.rng.fill_bytes(&mut from);
            logs.extend(any_log(&step.draft, &from));
        }
        for log in &logs {
            self.audit_log(step, log);
        }
        if !logs.is_empty() {
            let pause = AUDIT_MIN.saturating_mul(1 << self.audits.rounds.min(DOUBLINGS_MAX));
            self.audits.rounds = self.audits.rounds.saturating_add(1);
            self.arm(step.now.after(pause), Timer::Audit);
        }
    }

    fn audit_log(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(me) = &self.me else { return };
        let homes: Vec<NodeId> = me.served().iter().map(|home| home.node).collect();
        let signed = sample(step, log);
        for home in homes {
            let incarnation = sync::cursor(&step.draft, &home, log).incarnation;
            // What it signed for an older copy is no promise any more.
            let by_home =
                |holder: &Holder| holder.node == home && holder.receipt.incarnation == incarnation;
            let places = signed.iter().filter(|(_, holders)| holders.iter().any(by_home));
            let places: Vec<Place> =
                places.map(|(place, _)| *place).take(limits::FETCH_MAX).collect();
            let Some((handle, key)) = self.fetching(&home, log).filter(|_| !places.is_empty())
            else {
                continue;
            };
            let references = places.iter().map(|place| place.id.reference()).collect();
            let body = Body::Fetch { handle, references };
            self.links.ask(step, &home, Ask::Audit(*log, key, places), body);
        }
    }

    /// The handle on which entries of a log can be asked for at a node, and its key.
    fn fetching(&self, node: &NodeId, log: &LogId) -> Option<(u32, PublicKey)> {
        let number = self.links.find(node, |handle| handle.fetches(log))?;
        Some((number, self.links.handle(node, number)?.key))
    }
}

/// What is answered.
impl Client {
    /// A home answers to an audit, or to a challenge.
    pub(crate) fn audit_answered(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        ask: Ask,
        answer: Body,
    ) {
        match (ask, answer) {
            (Ask::Audit(log, key, places), Body::Page { entries, .. }) => {
                self.audited(step, node, (&log, key), places, &entries);
            }
            (Ask::Challenge(log, key, place), Body::Page { entries, .. })
                if ids(&log, key, &entries).contains(&place.id) => {}
            (Ask::Challenge(log, _, place), Body::Lost { signature }) => {
                self.has_lost(step, node, (&log, place), signature);
            }
            _ => self.caught(step.now, node),
        }
    }

    /// A home has handed over what it has of what it signed for.
    fn audited(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        (log, key): (&LogId, PublicKey),
        places: Vec<Place>,
        entries: &[Entry],
    ) {
        let there = ids(log, key, entries);
        for place in places.into_iter().filter(|place| !there.contains(&place.id)) {
            if let Some(receipt) = receipt_of(&step.draft, log, place, node)
                && let Some((handle, key)) = self.fetching(node, log)
            {
                let body = Body::Challenge { handle, id: place.id, receipt };
                self.links.ask(step, node, Ask::Challenge(*log, key, place), body);
            }
        }
    }

    /// A home would say nothing to a challenge. It may have another copy by now, or no room for questions; but
    /// whatever it may have lost, it knows its own signature.
    pub(crate) fn challenge_refused(&mut self, now: Instant, node: &NodeId, code: Code) {
        let may_be = matches!(code, Code::NotFound | Code::Unexpected | Code::Busy);
        let offence = if may_be { Offence::Unwilling } else { Offence::Caught };
        self.offended(now, node, offence);
    }

    /// A home says that it has lost what it signed for.
    fn has_lost(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        (log, place): (&LogId, Place),
        lost: [u8; 64],
    ) {
        let receipt = receipt_of(&step.draft, log, place, node);
        let (Some(envelope), Some(receipt)) = (kept(&step.draft, log, place), receipt) else {
            // It has arrived meanwhile, and nobody needs it any more.
            return;
        };
        let proof = LossProof { node: *node, envelope, receipt, lost };
        match proof.verify() {
            Ok(()) => self.convict(step, &proof),
            Err(_) => self.caught(step.now, node),
        }
    }

    fn convict(&mut self, step: &mut Step<'_>, proof: &LossProof) {
        let node = proof.node;
        if self.standing.trust.is_convicted(&node) {
            return;
        }
        step.must_last();
        let row = schema::Conviction { proof: proof.encode(), at_s: step.now.as_secs() };
        step.draft.put(CONVICTIONS, node.0, row.encode_to_vec());
        forget_oldest(step);
        self.standing.trust.convict(convicted(&step.draft));
        step.event(Event::Convicted(node));
        step.event(Event::Account);
        self.replace(step, &node);
    }

    /// Signs a record without a home, unless its user has pinned it or too few would be left: then it stays
    /// the last that is called upon.
    fn replace(&mut self, step: &mut Step<'_>, node: &NodeId) {
        let Some(me) = self.me.as_ref().filter(|me| !me.locked_out()) else { return };
        let homes = me.next_record().unwrap_or(&me.bundle).homes();
        let left: Vec<_> = homes.iter().filter(|home| home.node != *node).cloned().collect();
        let pinned: Vec<_> = me.pinned().collect();
        if left.len() == homes.len() || left.len() < HOMES_SERVED || pinned.contains(node) {
            return;
        }
        // Whoever can't be told now is told by the next move.
        let _ = self.move_home(step, left, &pinned);
    }
}

/// A log that has receipts, the first one from a place on.
fn any_log(rows: &dyn Rows, from: &[u8; 32]) -> Option<LogId> {
    let mut log = None;
    for from in [from, &[0; 32]] {
        rows.scan(RECEIPTS, from, &[0xFF; 80], Direction::Forward, &mut |key, _| {
            log = key.first_chunk::<32>().map(|log| LogId(*log));
            ControlFlow::Break(())
        });
        if log.is_some() {
            break;
        }
    }
    log
}

/// Some entries of a log that nodes keep for ever and have signed for, from somewhere on, and who has.
fn sample(step: &mut Step<'_>, log: &LogId) -> Vec<(Place, Vec<Holder>)> {
    let (first, end) = prefix_range(&log.0);
    let mut last = 0;
    step.draft.scan(RECEIPTS, &first, &end, Direction::Backward, &mut |key, _| {
        last = place(key).map_or(0, |place| place.position);
        ControlFlow::Break(())
    });
    let position = step.rng.next_u64().checked_rem(last.saturating_add(1)).unwrap_or_default();
    let middle = [log.0.as_slice(), &position.to_be_bytes()].concat();
    let mut seen = Vec::new();
    for (from, to) in [(&middle, &end), (&first, &middle)] {
        step.draft.scan(RECEIPTS, from, to, Direction::Forward, &mut |key, row| {
            seen.extend(place(key).map(|place| (place, receipts::parse(row))));
            if seen.len() < SAMPLE_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if seen.len() >= SAMPLE_MAX {
            break;
        }
    }
    let is_kept_for_ever = |place: Place| {
        kept(&step.draft, log, place).is_some_and(|kept| kept.head.expiry == Expiry::Never)
    };
    seen.retain(|(place, _)| is_worth_it(&step.draft, log, *place) && is_kept_for_ever(*place));
    seen
}

/// Whether an entry is something that the contact acknowledges: else it would be asked for for ever.
fn is_worth_it(rows: &dyn Rows, log: &LogId, place: Place) -> bool {
    let row: Option<MessageRow> = schema::load(rows, MESSAGES, &place.key(log));
    let content = row.and_then(|row| Content::decode(&row.content).ok());
    content.is_some_and(|content| {
        !matches!(content.body, ContentBody::Receipt(_) | ContentBody::Unknown)
    })
}

fn place(key: &[u8]) -> Option<Place> {
    Place::decode(key.get(32..)?)
}

/// An own entry that the contact has not acknowledged.
fn kept(rows: &dyn Rows, log: &LogId, place: Place) -> Option<Envelope> {
    let row: Outgoing = schema::load(rows, KEPT, &place.key(log))?;
    Envelope::decode(&row.envelope).ok()
}

fn ids(log: &LogId, key: PublicKey, entries: &[Entry]) -> BTreeSet<EnvelopeId> {
    entries.iter().map(|entry| entry.clone().into_envelope(*log, key, [0; 64]).id()).collect()
}

/// All who are convicted.
fn convicted(rows: &dyn Rows) -> BTreeSet<NodeId> {
    let rows = schema::load_all::<schema::Conviction>(rows, CONVICTIONS, b"").into_iter();
    rows.filter_map(|(node, _)| NodeId::try_from(node.as_slice()).ok()).collect()
}

fn forget_oldest(step: &mut Step<'_>) {
    let mut rows = schema::load_all::<schema::Conviction>(&step.draft, CONVICTIONS, b"");
    rows.sort_by_key(|(_, row)| row.at_s);
    let excess = rows.len().saturating_sub(CONVICTIONS_MAX);
    for (node, _) in rows.into_iter().take(excess) {
        step.draft.delete(CONVICTIONS, node);
    }
}

/// When a home is asked after it has signed for something, and the pause before the next time, doubled each
/// time until something new is signed for.
const AUDIT_MIN: Duration = Duration::from_secs(600);
/// Up to a day and a half.
const DOUBLINGS_MAX: u32 = 8;
/// Conversations of which some entries are asked for at a time.
const LOGS_AT_A_TIME: usize = 4;
/// Entries of each that are asked for at a time, at each home.
const SAMPLE_MAX: usize = 16;
/// Nodes that are remembered to have lost what they signed for: twice as many as a record names.
const CONVICTIONS_MAX: usize = 2 * limits::RANKING_MAX;
