//! Facts: verification, deduplication, and rate limits.
//! Specified in `spec/routing.md`, section 8.

use std::net::SocketAddr;

use crypto::node::Verifier;
use proto::{
    Contact, Fact, FactId, Gauge, Instant, Network, NodeId, Query, RateLimiter, limits, networks,
};

use super::recent::{Recent, short};
use crate::record::{NodeRecord, Suspicion};

/// The facts that were seen, and how many there were of each subject.
#[derive(Debug)]
pub(super) struct Facts {
    verifier: Verifier,
    /// Ids of the facts that were handled.
    seen: Recent<()>,
    subjects: Recent<Subject>,
    passed: RateLimiter,
    queries: RateLimiter,
}

/// A fact that was verified.
#[derive(Debug)]
pub(super) enum Statement {
    Node(Box<NodeRecord>),
    Suspicion(Suspicion),
    Query(Query),
}

/// The first two public networks of a node's addresses: of IPv4 and of IPv6. Empty for a node
/// without a public address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Networks([Option<Network>; 2]);

/// What a fact is counted by. The order of the variants is part of the key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    Record,
    Suspected,
    Observer,
    Origin,
}

/// A subject of facts.
#[derive(Debug)]
struct Subject {
    /// The serial of the newest record that was spread.
    serial: u64,
    /// What is left of an hour's budget of facts.
    left_ms: u32,
    since_s: u32,
}

impl Facts {
    pub(super) fn new(verifier: Verifier) -> Self {
        let start = Instant::default();
        Self {
            verifier,
            seen: Recent::new(SEEN_MAX),
            subjects: Recent::new(SUBJECTS_MAX),
            passed: RateLimiter::new(PASSED_PER_S, start),
            queries: RateLimiter::new(QUERIES_PER_S, start),
        }
    }

    /// Marks a fact as seen. Returns false if it was seen before.
    pub(super) fn see(&mut self, id: &FactId) -> bool {
        let new = !self.has_seen(id);
        if new {
            self.seen.put(short(id), ());
        }
        new
    }

    pub(super) fn has_seen(&self, id: &FactId) -> bool {
        self.seen.get(short(id)).is_some()
    }

    /// Checks signatures, work and limits.
    pub(super) fn verify(&self, fact: &Fact) -> Option<Statement> {
        match fact {
            Fact::Node(record) => {
                let record = self.verifier.record(record).ok()?;
                Some(Statement::Node(Box::new(record)))
            }
            Fact::Suspicion(suspicion) => {
                let suspicion = self.verifier.suspicion(suspicion).ok()?;
                (suspicion.node != suspicion.observer).then_some(Statement::Suspicion(suspicion))
            }
            Fact::Query(query) => is_sound(&query.origin, self.verifier.work_bits())
                .then(|| Statement::Query(query.clone())),
        }
    }

    /// Takes one fact from a node's hourly budget. Returns false if that is used up; a node that
    /// keeps sending is not evicted.
    pub(super) fn admit(&mut self, of: Of, node: &NodeId, now: Instant) -> bool {
        let most = match of {
            Of::Record => RECORDS_PER_H,
            Of::Suspected => SUSPICIONS_PER_H,
            Of::Observer => OBSERVED_PER_H,
            Of::Origin => QUERIES_PER_H,
        };
        let now_s = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let key = subject(of, node);
        if self.subjects.get(key).is_none() {
            self.subjects.put(key, Subject { serial: 0, left_ms: HOUR_MS, since_s: now_s });
        }
        let Some(subject) = self.subjects.touch(key) else { return false };
        let passed_ms = now_s.saturating_sub(subject.since_s).saturating_mul(1000);
        subject.left_ms = subject.left_ms.saturating_add(passed_ms).min(HOUR_MS);
        subject.since_s = now_s;
        let price = HOUR_MS.checked_div(most).unwrap_or(HOUR_MS);
        let left = subject.left_ms.checked_sub(price);
        subject.left_ms = left.unwrap_or(subject.left_ms);
        left.is_some()
    }

    /// Returns the serial of a node's newest record that was spread, if still known.
    pub(super) fn newest(&self, node: &NodeId) -> Option<u64> {
        self.subjects.get(subject(Of::Record, node)).map(|subject| subject.serial)
    }

    /// Notes a record that was spread. Call after it was [admitted](Self::admit).
    pub(super) fn spread(&mut self, record: &NodeRecord) {
        if let Some(subject) = self.subjects.touch(subject(Of::Record, &record.node())) {
            subject.serial = subject.serial.max(record.says().serial);
        }
    }

    pub(super) fn may_pass(&mut self, now: Instant) -> bool {
        self.passed.take(now)
    }

    pub(super) fn may_pass_query(&mut self, now: Instant) -> bool {
        self.queries.take(now)
    }

    pub(super) fn gauges(&self) -> [Gauge; 2] {
        [
            Gauge::new("facts seen", self.seen.len(), SEEN_MAX),
            Gauge::new("subjects of facts", self.subjects.len(), SUBJECTS_MAX),
        ]
    }

    pub(super) fn state_bytes(&self) -> usize {
        self.seen.state_bytes().saturating_add(self.subjects.state_bytes())
    }
}

impl Networks {
    pub(super) fn of(addresses: &[SocketAddr]) -> Self {
        let mut all = networks(addresses);
        let first = all.next();
        Self([first, all.find(|other| Some(*other) != first)])
    }

    pub(super) fn is_public(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().flatten().any(|network| other.0.contains(&Some(*network)))
    }
}

/// Returns whether a contact has addresses and a valid proof of work.
pub(super) fn is_sound(contact: &Contact, work_bits: u32) -> bool {
    !contact.addresses.is_empty()
        && contact.addresses.len() <= limits::NODE_ADDRESSES_MAX
        && NodeRecord::key_of(contact, work_bits).is_some()
}

fn subject(of: Of, node: &NodeId) -> u64 {
    short(&node.0).wrapping_add(of as u64)
}

/// Facts that are recognised as duplicates: those of 40 s at the six a second of 10,000 nodes of
/// which half come and go within an hour, and of 8 s at the highest forwarding rate. A fact reaches
/// every node within two seconds.
const SEEN_MAX: usize = 256;
/// Subjects with a budget: a flooding one is always among the most recently touched.
const SUBJECTS_MAX: usize = 64;
/// Five times the rate of 10,000 nodes of which half come and go within an hour. Verifying so many
/// signatures takes some 0.2 % of a processor.
const PASSED_PER_S: u32 = 32;
const QUERIES_PER_S: u32 = 1;
/// It joins, leaves and changes something; and refutes each possible suspicion.
const RECORDS_PER_H: u32 = 8;
/// Two are enough if their observers are known; the other two are for nodes that don't know them.
const SUSPICIONS_PER_H: u32 = 4;
/// When a third of all nodes die at once, an observer loses so many neighbours and contacts.
const OBSERVED_PER_H: u32 = 16;
const QUERIES_PER_H: u32 = 15;
const HOUR_MS: u32 = 3600 * 1000;
