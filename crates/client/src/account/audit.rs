//! Audits: a home is asked now and then for entries that it has acknowledged, as for any others.
//! For what it does not hand over it is challenged: it has to hand it over after all, or to sign
//! that it has lost it. That and its ack prove to anybody that it has lost what it signed for, and
//! it is replaced. Specified in `spec/delivery.md`, section 9.
//!
//! ```text
//!  device ── Fetch{references} ──────▶ home         what any device asks at any time
//!         ◀─ Page ────────────────────              and for what is not in it:
//!         ── Challenge{id, ack} ─▶
//!         ◀─ Page, or Lost{signature} ─             a proof, and a record without that home
//! ```

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use crypto::node::LossProof;
use prost::Message;
use proto::{Body, Code, Entry, EnvelopeId, Expiry, LogId, NodeId, PublicKey, Rows, Table, limits};
use rand_core::Rng;

use super::Account;
use crate::{
    Event, entries,
    link::Links,
    log::{self, Acked},
    ranking::ACTIVE_HOMES,
    rows::{self, TimelineKey},
    step::{Durability, Misbehaviour, Step},
    topics::{AccountRequest, AccountTimer, Request, Timer},
};

/// Node → [`ConvictionRow`]: it is proven to have lost what it signed for.
const CONVICTIONS: Table = Table(25);

/// A node has lost what it signed for.
#[derive(Clone, PartialEq, Message)]
struct ConvictionRow {
    /// See [`LossProof`].
    #[prost(bytes = "vec", tag = "1")]
    proof: Vec<u8>,
    /// When that was proven.
    #[prost(uint64, tag = "2")]
    at_s: u64,
}

/// Returns the proofs that nodes have lost what they signed for, each with its time in seconds.
pub(crate) fn proofs(rows: &dyn Rows) -> Vec<(LossProof, u64)> {
    let rows = rows::load_all::<ConvictionRow>(rows, CONVICTIONS, b"").into_iter();
    rows.filter_map(|(_, row)| Some((LossProof::decode(&row.proof).ok()?, row.at_s))).collect()
}

pub(crate) fn faulty(rows: &dyn Rows) -> BTreeSet<NodeId> {
    let rows = rows::load_all::<ConvictionRow>(rows, CONVICTIONS, b"").into_iter();
    rows.filter_map(|(node, _)| NodeId::try_from(node.as_slice()).ok()).collect()
}

/// Asking.
impl Account {
    /// Resumes from what the device knew when it was closed.
    pub(crate) fn resume_audits(&mut self, step: &mut Step<'_>) {
        if log::first_acked(step.rows(), &[0; 32]).is_some() {
            self.plan_audit(step);
        }
    }

    /// A node has acknowledged an entry: plans to ask for it later.
    pub(crate) fn plan_audit(&mut self, step: &mut Step<'_>) {
        self.audits = 0;
        step.arm_by(AUDIT_MIN, Timer::Account(AccountTimer::Audit));
    }

    /// Asks the homes for some of what they have acknowledged, as long as there is anything that
    /// contacts have not acknowledged.
    pub(super) fn audit(&mut self, step: &mut Step<'_>, links: &mut Links) {
        let mut logs = BTreeSet::new();
        for _ in 0..LOGS_AT_A_TIME {
            let mut from = [0; 32];
            step.rng().fill_bytes(&mut from);
            logs.extend(log::first_acked(step.rows(), &from));
        }
        for log in &logs {
            self.audit_log(step, links, log);
        }
        if !logs.is_empty() {
            let pause = AUDIT_MIN.saturating_mul(1 << self.audits.min(DOUBLINGS_MAX));
            self.audits = self.audits.saturating_add(1);
            step.arm(pause, Timer::Account(AccountTimer::Audit));
        }
    }

    fn audit_log(&self, step: &mut Step<'_>, links: &mut Links, log: &LogId) {
        let acked = sample(step, log);
        for home in self.active_homes().iter().map(|home| home.node) {
            let incarnation = log::cursor(step.rows(), &home, log).incarnation;
            // What it has acknowledged for an older copy is no promise any more.
            let by_home = |ack: &Acked| ack.node == home && ack.ack.incarnation == incarnation;
            let asked = acked.iter().filter(|(_, acks)| acks.iter().any(by_home));
            let asked: Vec<_> = asked.map(|(key, _)| *key).take(limits::FETCH_MAX).collect();
            let fetching = links.find_fetching(&home, log).filter(|_| !asked.is_empty());
            let Some((channel, key)) = fetching else { continue };
            let references = asked.iter().map(|key| key.id.reference()).collect();
            let request = Request::Account(AccountRequest::Audit(*log, key, asked));
            links.request(step, &home, request, Body::Fetch { channel, references });
        }
    }
}

/// What is answered.
impl Account {
    /// A home answers an audit or a challenge. Returns false if that is no answer to it.
    pub(super) fn on_audit_answer(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        request: AccountRequest,
        answer: Body,
    ) -> bool {
        match (request, answer) {
            (AccountRequest::Audit(log, key, asked), Body::Page { entries, .. }) => {
                let there = ids(&log, key, &entries);
                for entry in asked.iter().filter(|entry| !there.contains(&entry.id)) {
                    challenge(step, links, node, &log, *entry);
                }
                true
            }
            (AccountRequest::Challenge(log, _, entry), Body::Lost { signature }) => {
                self.on_lost(step, links, node, &log, entry, signature);
                true
            }
            (AccountRequest::Challenge(log, key, entry), Body::Page { entries, .. }) => {
                ids(&log, key, &entries).contains(&entry.id)
            }
            _ => false,
        }
    }

    fn on_lost(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        log: &LogId,
        entry: TimelineKey,
        lost: [u8; 64],
    ) {
        let ack = log::ack_of(step.rows(), log, entry, node);
        let (Some(envelope), Some(ack)) = (log::unacked(step.rows(), log, entry), ack) else {
            // It has arrived meanwhile, and is not needed any more.
            return;
        };
        let proof = LossProof { node: *node, envelope, ack, lost };
        if proof.verify().is_ok() {
            self.convict(step, links, &proof);
        } else {
            step.count_dropped();
            step.report(node, Misbehaviour::Invalid);
        }
    }

    fn convict(&mut self, step: &mut Step<'_>, links: &mut Links, proof: &LossProof) {
        let node = proof.node;
        if self.reputation.is_faulty(&node) {
            return;
        }
        step.require(Durability::First);
        let row = ConvictionRow { proof: proof.encode(), at_s: step.now().as_secs() };
        step.put(CONVICTIONS, node.0, row.encode_to_vec());
        forget_oldest(step);
        self.reputation.set_faulty(faulty(step.rows()));
        self.on_policy_changed();
        step.emit(Event::Convicted(node));
        step.emit(Event::Account);
        self.replace(step, links, &node);
    }

    /// Proposes a record without a home, unless its user has pinned it or too few would be left:
    /// then it stays the last that is used.
    fn replace(&mut self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        if self.is_locked_out() {
            return;
        }
        let homes = self.next.as_ref().unwrap_or(&self.bundle).homes();
        let left: Vec<_> = homes.iter().filter(|home| home.node != *node).cloned().collect();
        let pinned = self.pinned();
        if left.len() == homes.len() || left.len() < ACTIVE_HOMES || pinned.contains(node) {
            return;
        }
        // Contacts that can't be told now are told by the next migration.
        let _ = self.migrate(step, links, left, &pinned);
    }
}

/// A home did not hand over an entry that it has acknowledged: asks it what became of that.
fn challenge(
    step: &mut Step<'_>,
    links: &mut Links,
    node: &NodeId,
    log: &LogId,
    entry: TimelineKey,
) {
    if let Some(ack) = log::ack_of(step.rows(), log, entry, node)
        && let Some((channel, key)) = links.find_fetching(node, log)
    {
        let body = Body::Challenge { channel, id: entry.id, ack };
        let request = Request::Account(AccountRequest::Challenge(*log, key, entry));
        links.request(step, node, request, body);
    }
}

/// A home refused a challenge. It may have another copy by now, or no room for requests; but
/// whatever it may have lost, it knows its own signature.
pub(super) fn on_challenge_refused(step: &mut Step<'_>, node: &NodeId, code: Code) {
    let may_be = matches!(code, Code::NotFound | Code::Unexpected | Code::Busy);
    let kind = if may_be { Misbehaviour::Refused } else { Misbehaviour::Invalid };
    step.report(node, kind);
}

/// Draws some entries of a log that nodes keep without expiry and have acknowledged, and who has.
fn sample(step: &mut Step<'_>, log: &LogId) -> Vec<(TimelineKey, Vec<Acked>)> {
    let random = step.rng().next_u64();
    let choose = |last: u64| random.checked_rem(last.saturating_add(1)).unwrap_or_default();
    let mut seen = Vec::new();
    log::visit_acked(step.rows(), log, choose, &mut |key, acks| {
        seen.push((key, acks));
        if seen.len() < SAMPLE_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    seen.retain(|(key, _)| {
        let is_permanent = |entry: proto::Envelope| entry.head.expiry == Expiry::Never;
        entries::is_answered(step.rows(), log, *key)
            && log::unacked(step.rows(), log, *key).is_some_and(is_permanent)
    });
    seen
}

fn ids(log: &LogId, key: PublicKey, entries: &[Entry]) -> BTreeSet<EnvelopeId> {
    entries.iter().map(|entry| entry.clone().into_envelope(*log, key, [0; 64]).id()).collect()
}

fn forget_oldest(step: &mut Step<'_>) {
    let mut rows = rows::load_all::<ConvictionRow>(step.rows(), CONVICTIONS, b"");
    rows.sort_by_key(|(_, row)| row.at_s);
    let excess = rows.len().saturating_sub(CONVICTIONS_MAX);
    for (node, _) in rows.into_iter().take(excess) {
        step.delete(CONVICTIONS, node);
    }
}

/// When a home is asked after it has acknowledged something, and the pause before the next time,
/// doubled each time until something new is acknowledged.
const AUDIT_MIN: Duration = Duration::from_secs(600);
/// Up to a day and a half.
const DOUBLINGS_MAX: u32 = 8;
/// Logs of which some entries are asked for at a time.
const LOGS_AT_A_TIME: usize = 4;
/// Entries of each that are asked for at a time, at each home.
const SAMPLE_MAX: usize = 16;
/// Nodes that are remembered because they are proven faulty: twice as many as a record names.
const CONVICTIONS_MAX: usize = 2 * limits::RANKING_MAX;
