//! Reputation: a home that refuses to serve, or sends what no honest node sends, is penalised: it
//! is used only when needed for a while. Specified in `spec/delivery.md`, section 8.
//!
//! It decides which of two homes does the work, never what is true: that is checked entry by entry.
//! So nothing is remembered indefinitely or written down except what is proven (section 9).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::{Gauge, Instant, NodeId, limits};

use crate::step::Misbehaviour;

/// Homes that misbehaved recently, and nodes that are proven faulty.
#[derive(Debug, Default)]
pub(super) struct Reputation {
    penalties: BTreeMap<NodeId, Penalty>,
    faulty: BTreeSet<NodeId>,
}

#[derive(Clone, Copy, Debug)]
struct Penalty {
    /// Until when it lasts.
    until: Instant,
    /// How often the home misbehaved again after a penalty.
    times: u32,
}

impl Reputation {
    /// A home has misbehaved. During a penalty that only makes it last longer.
    pub(super) fn note(&mut self, node: NodeId, kind: Misbehaviour, now: Instant) {
        self.penalties.retain(|_, penalty| now < penalty.until.after(FORGOTTEN_AFTER));
        let before = self.penalties.get(&node).copied();
        let times = before.map_or(0, |before| {
            before.times.saturating_add(u32::from(before.until <= now)).min(DOUBLINGS_MAX)
        });
        let (least, most) = match kind {
            Misbehaviour::Refused => (REFUSED_MIN, REFUSED_MAX),
            Misbehaviour::Invalid => (INVALID_MIN, INVALID_MAX),
        };
        let until = now.after(least.saturating_mul(1 << times).min(most));
        let until = before.map_or(until, |before| before.until.max(until));
        self.penalties.insert(node, Penalty { until, times });
        if self.penalties.len() > limits::RANKING_MAX {
            let first = self.penalties.iter().min_by_key(|(_, penalty)| penalty.until);
            let first = first.map(|(node, _)| *node);
            first.map(|node| self.penalties.remove(&node));
        }
    }

    pub(super) fn set_faulty(&mut self, nodes: BTreeSet<NodeId>) {
        self.faulty = nodes;
    }

    pub(super) fn faulty(&self) -> &BTreeSet<NodeId> {
        &self.faulty
    }

    pub(super) fn is_faulty(&self, node: &NodeId) -> bool {
        self.faulty.contains(node)
    }

    /// Returns until when a home is penalised, if it is.
    pub(super) fn penalised_until(&self, node: &NodeId, now: Instant) -> Option<Instant> {
        if self.is_faulty(node) {
            return Some(now.after(INVALID_MAX));
        }
        self.penalties.get(node).map(|penalty| penalty.until).filter(|until| *until > now)
    }

    pub(super) fn gauge(&self) -> Gauge {
        Gauge::new("offences of homes", self.penalties.len(), limits::RANKING_MAX)
    }
}

/// How long a home that refused is penalised: at first no longer than it takes to start again, and
/// never longer than its operator waits after making room.
const REFUSED_MIN: Duration = Duration::from_secs(30);
const REFUSED_MAX: Duration = Duration::from_secs(600);
/// How long one that sent something invalid is.
const INVALID_MIN: Duration = Duration::from_secs(600);
const INVALID_MAX: Duration = Duration::from_secs(24 * 3600);
const DOUBLINGS_MAX: u32 = 8;
/// How long after a penalty it counts no more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(1_000_000).after(Duration::from_secs(seconds))
    }

    /// For how many seconds the node is penalised.
    fn penalised_s(reputation: &mut Reputation, kind: Misbehaviour, now: Instant) -> u64 {
        reputation.note(NODE, kind, now);
        reputation.penalised_until(&NODE, now).map_or(0, |until| until.since(now).as_secs())
    }

    #[test]
    fn who_misbehaves_again_is_penalised_for_longer_up_to_a_bound() {
        let mut reputation = Reputation::default();
        let (mut now, mut last) = (at(0), 0);
        for _ in 0..20 {
            let seconds = penalised_s(&mut reputation, Misbehaviour::Invalid, now);
            assert!(seconds >= last && seconds <= 24 * 3600, "{seconds}");
            now = now.after(Duration::from_secs(seconds));
            assert_eq!(reputation.penalised_until(&NODE, now), None);
            last = seconds;
        }
        assert_eq!(last, 24 * 3600);
        let now = now.after(FORGOTTEN_AFTER);
        assert_eq!(
            penalised_s(&mut reputation, Misbehaviour::Refused, now),
            30,
            "all is forgotten"
        );
    }

    #[test]
    fn a_flood_of_misbehaviour_counts_once() {
        let mut reputation = Reputation::default();
        for _ in 0..1_000 {
            assert_eq!(penalised_s(&mut reputation, Misbehaviour::Refused, at(0)), 30);
        }
        assert_eq!(penalised_s(&mut reputation, Misbehaviour::Invalid, at(0)), 600);
        assert_eq!(penalised_s(&mut reputation, Misbehaviour::Refused, at(1)), 599, "not for less");
    }

    #[test]
    fn of_too_many_penalties_the_one_that_ends_first_is_forgotten() {
        let mut reputation = Reputation::default();
        for number in 0..=limits::RANKING_MAX {
            let node = NodeId([u8::try_from(number).unwrap(); 32]);
            reputation.note(node, Misbehaviour::Refused, at(number as u64));
            assert!(reputation.gauge().value <= reputation.gauge().limit);
        }
        assert_eq!(reputation.penalised_until(&NodeId([0; 32]), at(0)), None);
        assert!(reputation.penalised_until(&NODE, at(0)).is_some());
    }
}
