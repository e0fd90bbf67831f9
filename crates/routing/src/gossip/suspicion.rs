//! Suspicions: which nodes are suspected by which observers, and when they count as dead. Specified
//! in `spec/routing.md`, section 9. The two steps from suspected to dead are SWIM's (section 4.2),
//! with a second observer in place of SWIM's timeout, because any observer may lie.

use std::{collections::VecDeque, time::Duration};

use proto::{Gauge, Instant, NodeId};

use super::{facts::Networks, recent::short};
use crate::record::{NodeRecord, Suspicion};

/// The recent suspicions. The oldest is evicted.
#[derive(Debug)]
pub(super) struct Suspicions {
    suspected: VecDeque<Suspected>,
    /// This node has a public address.
    public: bool,
}

/// A suspected node.
#[derive(Debug)]
struct Suspected {
    node: NodeId,
    since: Instant,
    /// The highest suspected serial, if the node counts as dead; `observers` is empty then.
    dead: Option<u64>,
    observers: Vec<Observer>,
}

#[derive(Debug)]
struct Observer {
    short: u64,
    serial: u64,
    networks: Networks,
}

/// The effect of a suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspecting {
    /// None: its observer is known, or the node counts as dead already.
    Known,
    /// The suspicion is new.
    New,
    /// The suspicion is new, and the node counts as dead.
    Dead,
}

impl Suspicions {
    pub(super) fn new() -> Self {
        Self { suspected: VecDeque::with_capacity(SUSPECTED_MAX), public: false }
    }

    pub(super) fn set_public(&mut self, public: bool) {
        self.public = public;
    }

    /// Adds a suspicion.
    pub(super) fn suspect(&mut self, suspicion: &Suspicion, now: Instant) -> Suspecting {
        self.suspected.retain(|suspected| now.since(suspected.since) < SUSPECTED_FOR);
        let at = self.suspected.iter().position(|suspected| suspected.node == suspicion.node);
        let at = at.unwrap_or_else(|| self.begin(suspicion.node, now));
        let public = self.public;
        let Some(suspected) = self.suspected.get_mut(at) else { return Suspecting::Known };
        let observer = Observer {
            short: short(&suspicion.observer.0),
            serial: suspicion.serial,
            networks: Networks::of(&suspicion.addresses),
        };
        let known = suspected.observers.iter().any(|known| known.short == observer.short);
        if suspected.dead.is_some() || known || suspected.observers.len() >= OBSERVERS_MAX {
            return Suspecting::Known;
        }
        suspected.observers.reserve_exact(1);
        suspected.observers.push(observer);
        if suspected.confirm(public) { Suspecting::Dead } else { Suspecting::New }
    }

    /// Removes the suspicions that are older than this record.
    pub(super) fn refute(&mut self, record: &NodeRecord) {
        let serial = record.says().serial;
        self.suspected.retain_mut(|suspected| {
            if suspected.node != record.node() {
                return true;
            }
            suspected.observers.retain(|observer| observer.serial >= serial);
            !suspected.observers.is_empty() || suspected.dead.is_some_and(|dead| dead >= serial)
        });
    }

    /// Returns whether a node counts as dead.
    pub(super) fn is_dead(&self, node: &NodeId) -> bool {
        self.suspected.iter().any(|suspected| suspected.node == *node && suspected.dead.is_some())
    }

    /// Returns whether a further suspicion of a node would change nothing.
    pub(super) fn is_settled(&self, node: &NodeId) -> bool {
        self.suspected.iter().any(|suspected| {
            suspected.node == *node
                && (suspected.dead.is_some() || suspected.observers.len() >= SETTLED)
        })
    }

    pub(super) fn gauges(&self) -> [Gauge; 2] {
        let observers = self.suspected.iter().map(|suspected| suspected.observers.len()).max();
        [
            Gauge::new("suspected nodes", self.suspected.len(), SUSPECTED_MAX),
            Gauge::new("observers of a suspected node", observers.unwrap_or(0), OBSERVERS_MAX),
        ]
    }

    pub(super) fn state_bytes(&self) -> usize {
        let observers: usize =
            self.suspected.iter().map(|suspected| suspected.observers.capacity()).sum();
        let suspected = self.suspected.capacity().saturating_mul(size_of::<Suspected>());
        suspected.saturating_add(observers.saturating_mul(size_of::<Observer>()))
    }

    fn begin(&mut self, node: NodeId, now: Instant) -> usize {
        if self.suspected.len() >= SUSPECTED_MAX {
            self.suspected.pop_front();
        }
        let observers = Vec::new();
        self.suspected.push_back(Suspected { node, since: now, dead: None, observers });
        self.suspected.len().saturating_sub(1)
    }
}

impl Suspected {
    /// Marks the node as dead if two observers differ. Returns whether it did.
    fn confirm(&mut self, public: bool) -> bool {
        let known: Vec<Networks> =
            self.observers.iter().map(|observer| observer.networks).collect();
        let differ = |a: &Networks| known.iter().any(|b| are_two(a, b, public));
        // An observer differs from itself only where networks don't count; so two are required.
        let dead = known.len() >= 2 && known.iter().any(differ);
        if dead {
            self.dead = self.observers.iter().map(|observer| observer.serial).max();
            self.observers = Vec::new();
        }
        dead
    }
}

/// Returns whether two observers count as different. Observers without a public address may all run
/// on one host; they count only in a network that is private as a whole.
fn are_two(a: &Networks, b: &Networks, public: bool) -> bool {
    match (a.is_public(), b.is_public()) {
        (true, true) => !a.meets(b),
        (false, false) => !public,
        _ => true,
    }
}

/// Nodes that are suspected at the same time: with 10,000 nodes of which half come and go within an
/// hour, those of the last 20 s. The observers of one failure report within that.
const SUSPECTED_MAX: usize = 32;
/// As many as are forwarded within an hour.
const OBSERVERS_MAX: usize = 4;
/// So many observers are enough, even if their networks are unknown.
const SETTLED: usize = 3;
/// How long suspicions wait for a second observer. Lookups meet a dead contact only rarely.
const SUSPECTED_FOR: Duration = Duration::from_secs(600);
