//! Trust: a home that will not serve, or says what no honest node says, is called upon only in need for
//! a while. Specified in `spec/delivery.md`, section 8.
//!
//! It is about which of two homes does the work, never about what is true: that is checked entry by
//! entry. So nothing is remembered for ever, nor written down, but what is proved (section 9).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::{Gauge, Instant, NodeId, limits};

/// What may be held against a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offence {
    /// It would not do what it is there for. An honest node may be full, or have lost something.
    Unwilling,
    /// It said what no honest node says, whatever has happened to its disk or its connection.
    Caught,
}

/// Homes that have offended of late, and nodes that are proved to have lost what they signed for.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    offenders: BTreeMap<NodeId, Record>,
    convicted: BTreeSet<NodeId>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Until when it is shunned.
    until: Instant,
    /// How often it offended anew after it was trusted again.
    times: u32,
}

impl Trust {
    /// A home has offended. Whatever it does while it is shunned only makes that last longer.
    pub(crate) fn note(&mut self, node: NodeId, offence: Offence, now: Instant) {
        self.offenders.retain(|_, record| now < record.until.after(FORGOTTEN_AFTER));
        let before = self.offenders.get(&node).copied();
        let times = before.map_or(0, |before| {
            before.times.saturating_add(u32::from(before.until <= now)).min(DOUBLINGS_MAX)
        });
        let (least, most) = match offence {
            Offence::Unwilling => (UNWILLING_MIN, UNWILLING_MAX),
            Offence::Caught => (CAUGHT_MIN, CAUGHT_MAX),
        };
        let until = now.after(least.saturating_mul(1 << times).min(most));
        let until = before.map_or(until, |before| before.until.max(until));
        self.offenders.insert(node, Record { until, times });
        if self.offenders.len() > limits::RANKING_MAX {
            let first = self.offenders.iter().min_by_key(|(_, record)| record.until);
            let first = first.map(|(node, _)| *node);
            first.map(|node| self.offenders.remove(&node));
        }
    }

    /// These are proved to have lost what they signed for.
    pub(crate) fn convict(&mut self, nodes: BTreeSet<NodeId>) {
        self.convicted = nodes;
    }

    pub(crate) fn is_convicted(&self, node: &NodeId) -> bool {
        self.convicted.contains(node)
    }

    /// Until when a home is shunned, if it is.
    pub(crate) fn shunned_until(&self, node: &NodeId, now: Instant) -> Option<Instant> {
        if self.is_convicted(node) {
            return Some(now.after(CAUGHT_MAX));
        }
        self.offenders.get(node).map(|record| record.until).filter(|until| *until > now)
    }

    pub(crate) fn gauge(&self) -> Gauge {
        Gauge::new("offences of homes", self.offenders.len(), limits::RANKING_MAX)
    }
}

/// For how long a home is shunned that would not serve: at first no longer than it takes to start again, and
/// never longer than somebody waits who has made room at it.
const UNWILLING_MIN: Duration = Duration::from_secs(30);
const UNWILLING_MAX: Duration = Duration::from_secs(600);
/// For how long one that was caught.
const CAUGHT_MIN: Duration = Duration::from_secs(600);
const CAUGHT_MAX: Duration = Duration::from_secs(24 * 3600);
const DOUBLINGS_MAX: u32 = 8;
/// When an offence is as if it had never been.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(1_000_000).after(Duration::from_secs(seconds))
    }

    /// For how many seconds the node is shunned after an offence.
    fn shunned_s(trust: &mut Trust, offence: Offence, now: Instant) -> u64 {
        trust.note(NODE, offence, now);
        trust.shunned_until(&NODE, now).map_or(0, |until| until.since(now).as_secs())
    }

    #[test]
    fn who_offends_again_is_shunned_for_longer_and_never_for_ever() {
        let mut trust = Trust::default();
        let (mut now, mut last) = (at(0), 0);
        for _ in 0..20 {
            let seconds = shunned_s(&mut trust, Offence::Caught, now);
            assert!(seconds >= last && seconds <= 24 * 3600, "{seconds}");
            now = now.after(Duration::from_secs(seconds));
            assert_eq!(trust.shunned_until(&NODE, now), None);
            last = seconds;
        }
        assert_eq!(last, 24 * 3600);
        let now = now.after(FORGOTTEN_AFTER);
        assert_eq!(shunned_s(&mut trust, Offence::Unwilling, now), 30, "all is forgotten");
    }

    #[test]
    fn a_flood_of_offences_counts_once() {
        let mut trust = Trust::default();
        for _ in 0..1_000 {
            assert_eq!(shunned_s(&mut trust, Offence::Unwilling, at(0)), 30);
        }
        assert_eq!(shunned_s(&mut trust, Offence::Caught, at(0)), 600);
        assert_eq!(shunned_s(&mut trust, Offence::Unwilling, at(1)), 599, "not for less");
    }

    #[test]
    fn of_too_many_the_one_that_is_trusted_soonest_is_forgotten() {
        let mut trust = Trust::default();
        for number in 0..=limits::RANKING_MAX {
            let node = NodeId([u8::try_from(number).unwrap(); 32]);
            trust.note(node, Offence::Unwilling, at(number as u64));
            assert!(trust.gauge().value <= trust.gauge().limit);
        }
        assert_eq!(trust.shunned_until(&NodeId([0; 32]), at(0)), None);
        assert!(trust.shunned_until(&NODE, at(0)).is_some());
    }
}
