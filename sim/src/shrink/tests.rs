//! What shrinking takes away, and what it must leave.

use super::*;
use crate::{
    random::random,
    scenario::{Behaviour, What},
};

/// A scenario with all that the random ones have, and enough of it.
fn rich() -> Scenario {
    let mut all = (0..).map(random).filter(|scenario| {
        let whats = |what| scenario.faults.iter().filter(|f| f.what == what).count();
        scenario.nodes == 4
            && scenario.people == 5
            && whats(What::CrashInSync) >= 2
            && whats(What::Partition) >= 1
            && !scenario.adversaries.is_empty()
    });
    all.next().unwrap()
}

fn tried(scenario: Scenario, budget: u32, fails: impl Fn(&Scenario) -> bool) -> (Scenario, u32) {
    let mut tries = 0u32;
    let least = shrink(scenario, budget, |candidate| {
        assert_eq!(candidate.check(), Ok(()), "{}", candidate.to_toml());
        tries = tries.saturating_add(1);
        fails(candidate)
    });
    (least, tries)
}

#[test]
fn what_always_fails_shrinks_to_almost_nothing() {
    let (least, _) = tried(rich(), 10_000, |_| true);
    assert_eq!((least.nodes, least.people, least.friends, least.talk.acts), (1, 0, 0, 0));
    assert!(least.faults.is_empty() && least.adversaries.is_empty() && least.churn.is_none());
    assert_eq!((&least.network, &least.disks), (&Weather::default(), &Disks::default()));
    assert!(least.lasts < Span::from_millis(2_000) && least.skew == Span::default());
}

#[test]
fn what_never_fails_again_stays_as_it_is() {
    assert_eq!(tried(rich(), 10_000, |_| false).0, rich());
}

#[test]
fn two_faults_that_must_meet_are_all_that_is_left() {
    let fails = |scenario: &Scenario| {
        let on = |what, who: fn(&Who) -> bool| {
            scenario.faults.iter().any(|fault| fault.what == what && fault.who.iter().any(who))
        };
        on(What::CrashInSync, |_| true)
            && on(What::Partition, |who| matches!(who, Who::Node(_)))
            && scenario.people >= 2
    };
    let rich = (0..).map(random).find(|scenario| scenario.faults.len() > 6 && fails(scenario));
    let (least, tries) = tried(rich.unwrap(), 10_000, fails);
    assert!(tries < 400, "{tries} tries");
    assert_eq!((least.nodes, least.people, least.friends), (1, 2, 0));
    let mut whats: Vec<_> = least.faults.iter().map(|fault| fault.what).collect();
    whats.sort_by_key(|what| format!("{what:?}"));
    assert_eq!(whats, [What::CrashInSync, What::Partition]);
    for fault in &least.faults {
        assert_eq!((fault.at, fault.who.len()), (Span::default(), 1));
        assert_eq!(fault.lasts, Some(Fault::MIN));
    }
}

#[test]
fn hosts_that_stay_get_new_numbers() {
    let mut scenario = rich();
    scenario.adversaries =
        vec![crate::scenario::AdversaryAt { node: 3, behaviour: Behaviour::Forges }];
    scenario.behind_nat = vec![1, 3];
    let fails = |scenario: &Scenario| {
        let adversary = scenario.adversaries.first().map(|adversary| adversary.node);
        adversary.is_some_and(|node| scenario.behind_nat.contains(&node)) && scenario.people >= 3
    };
    let (least, _) = tried(scenario, 10_000, fails);
    assert_eq!((least.nodes, least.people), (1, 3));
    assert_eq!((least.adversaries.first().unwrap().node, least.behind_nat), (0, vec![0]));
}

#[test]
fn numbers_shrink_to_the_bound_that_matters() {
    let fails = |scenario: &Scenario| {
        scenario.people > 70 && scenario.talk.acts >= 7 && scenario.network.loss > 0.0
    };
    let mut scenario = Scenario { people: 300, nodes: 60, friends: 5, ..rich() };
    (scenario.network.loss, scenario.talk.acts) = (0.2, 25);
    let (least, _) = tried(scenario, 10_000, fails);
    assert_eq!((least.nodes, least.people, least.friends, least.talk.acts), (1, 71, 0, 7));
    assert_eq!(least.network, Weather { loss: 0.2, ..Weather::default() });
}

#[test]
fn the_budget_of_tries_is_kept() {
    for budget in [0, 1, 7, 50] {
        let (_, tries) = tried(rich(), budget, |scenario| scenario.people >= 2);
        assert!(tries <= budget, "{tries} tries");
    }
    let all = tried(rich(), 3, |_| true).1;
    assert_eq!(all, 3);
}
