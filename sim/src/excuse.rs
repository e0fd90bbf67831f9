//! Who may lose what they say: `spec/faults.md`, section 5.

use std::time::Duration;

use proto::Instant;

use crate::{
    network::HostId,
    report::BEGINNING,
    scenario::{What, Who},
    world::World,
};

impl World<'_> {
    /// Returns whether two people may lose what they say: all nodes that serve one of them are
    /// malicious or gone, or one of the two is gone.
    pub(crate) fn is_excused(&self, a: u32, b: u32) -> bool {
        [a, b]
            .into_iter()
            .any(|person| self.is_gone(Who::Person(person)) || !self.is_served_throughout(person))
    }

    /// Returns whether a host has left permanently.
    pub(crate) fn is_gone(&self, who: Who) -> bool {
        self.gone.contains_key(&self.host_of(who))
    }

    /// Returns whether at least one active home of a person could serve at all times.
    fn is_served_throughout(&self, person: u32) -> bool {
        let mut reserve: Vec<u32> = self.homes(person).collect();
        // Each with the time from which on it has all there is.
        let mut serving: Vec<(u32, Instant)> = Vec::new();
        for home in reserve.drain(..reserve.len().min(self.scenario.copies as usize)) {
            serving.push((home, BEGINNING));
        }
        let mut failures: Vec<(Instant, u32)> =
            self.homes(person).filter_map(|home| Some((self.fails_at(home)?, home))).collect();
        failures.sort_unstable();
        for (at, home) in failures {
            let before = serving.len();
            serving.retain(|(other, _)| *other != home);
            reserve.retain(|other| *other != home);
            if !serving.iter().any(|(_, since)| *since <= at) {
                return false;
            }
            let copied = at.after(COPIED_AFTER);
            let fit = |home: &u32| self.fails_at(*home).is_none_or(|at| at > copied);
            if serving.len() < before
                && at > BEGINNING
                && self.only_losses()
                && let Some(place) = reserve.iter().position(fit)
            {
                serving.push((reserve.remove(place), copied));
            }
        }
        true
    }

    /// When a node was no good any more, if it ever was not.
    fn fails_at(&self, node: u32) -> Option<Instant> {
        let gone = self.gone.get(&HostId(node)).filter(|_| !self.scenario.is_no_good(node));
        gone.copied().or_else(|| self.scenario.excused(node).then_some(BEGINNING))
    }

    /// Nothing happens to nodes but that they leave, so that nothing hinders the others in taking
    /// their places.
    fn only_losses(&self) -> bool {
        let leaves =
            |what| matches!(what, What::Crash | What::Kill | What::Stop | What::CrashInSync);
        let of_nodes = self
            .scenario
            .faults
            .iter()
            .filter(|fault| fault.who.iter().any(|who| matches!(who, Who::Node(_))));
        self.scenario.churn.is_none()
            && self.scenario.network.loss <= 0.0
            && of_nodes.into_iter().all(|fault| fault.is_permanent() && leaves(fault.what))
    }
}

/// A home counts as permanently lost after ten minutes; then a reserve home copies its logs.
const COPIED_AFTER: Duration = Duration::from_secs(12 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Scenario};

    /// Returns whether ada, at home at nodes 0 and 1 with 2 in reserve, and dan, at home at 3 and
    /// 4, are excused when these nodes have left in these minutes.
    fn is_excused(more: &str, lost: &[(u32, u64)]) -> bool {
        let text = format!(
            "name = 'x'\nnodes = 6\npeople = 4\nhomes = 3\nfriends = 3\nlasts = '1h'\n{more}"
        );
        let scenario = Scenario::parse(&text).unwrap();
        let mut world = World::new(&scenario, 1, Options::default());
        for (node, minute) in lost {
            let at = BEGINNING.after(Duration::from_secs(minute.saturating_mul(60)));
            world.gone.insert(HostId(*node), at);
        }
        world.is_excused(0, 3)
    }

    #[test]
    fn a_home_in_reserve_that_had_the_time_to_make_copies_is_as_good_as_the_first() {
        assert!(!is_excused("", &[]) && !is_excused("", &[(0, 1)]));
        assert!(is_excused("", &[(0, 1), (1, 12)]));
        assert!(!is_excused("", &[(0, 1), (1, 14)]));
        assert!(!is_excused("", &[(0, 1), (3, 2), (2, 3), (5, 4)]));
        assert!(is_excused("", &[(0, 1), (2, 3), (1, 30)]));
        assert!(is_excused("", &[(0, 1), (1, 20), (2, 40)]));
    }

    #[test]
    fn where_more_goes_wrong_the_first_two_homes_count() {
        let churn = "[churn]\nper_hour = 1.0\nungraceful = 0.5\naway = ['1s', '2s']";
        let stall = "[[fault]]\nat = '1s'\nwhat = 'stall'\nwho = ['node 5']\nlasts = '1s'";
        let adversary = "[[adversary]]\nnode = 0\nlie = 'refuses'";
        for more in [churn, stall, "[network]\nloss = 0.01", adversary] {
            assert!(is_excused(more, &[(0, 1), (1, 14)]), "{more}");
            assert!(!is_excused(more, &[(0, 1)]), "{more}");
        }
        let sleep = "[[fault]]\nat = '1s'\nwhat = 'stop'\nwho = ['person 0']\nlasts = '1s'";
        assert!(!is_excused(sleep, &[(0, 1), (1, 14)]));
    }
}
