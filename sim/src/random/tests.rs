//! The generator keeps to what a scenario may be, and draws everything there is.

use std::collections::BTreeMap;

use super::*;

fn first_500() -> Vec<Scenario> {
    (0..500).map(random).collect()
}

#[test]
fn whatever_is_drawn_is_valid() {
    for seed in 0..2_000 {
        let scenario = random(seed);
        assert_eq!(scenario.check(), Ok(()), "{}", scenario.to_toml());
        assert_eq!(Scenario::parse(&scenario.to_toml()), Ok(scenario));
    }
}

#[test]
fn whatever_bytes_choose_is_valid() {
    let mut rng = Rng::new(1, "bytes", 0);
    for round in 0..2_000 {
        let bytes: [u8; 400] = rng.bytes();
        let chosen = from_bytes(bytes.get(..rng.index(400)).unwrap());
        assert_eq!(chosen.check(), Ok(()), "round {round}: {}", chosen.to_toml());
    }
    for byte in 0..=255 {
        assert_eq!(from_bytes(&[byte; 400]).check(), Ok(()), "all {byte}");
    }
}

#[test]
fn no_bytes_choose_the_calmest_world() {
    let calm = from_bytes(&[]);
    assert_eq!((calm.nodes, calm.people, calm.talk.acts), (1, 2, 3));
    assert_eq!((&calm.network, &calm.disks), (&Weather::default(), &Disks::default()));
    assert!(calm.faults.is_empty() && calm.adversaries.is_empty() && calm.churn.is_none());
}

#[test]
fn a_seed_makes_one_scenario() {
    assert_eq!(random(42), random(42));
    assert_eq!(random(42).name, "random 42");
    assert_ne!(random(42).faults, random(43).faults);
}

#[test]
fn everything_that_can_go_wrong_does_so_in_the_first_500_seeds() {
    let mut whats = BTreeMap::new();
    let mut behaviours = BTreeMap::new();
    let mut part = BTreeMap::new();
    for scenario in first_500() {
        for fault in &scenario.faults {
            *whats.entry(format!("{:?}", fault.what)).or_insert(0) += 1;
        }
        for adversary in &scenario.adversaries {
            *behaviours.entry(format!("{:?}", adversary.behaviour)).or_insert(0) += 1;
        }
        let is = [
            ("acquainted", scenario.acquainted),
            ("with churn", scenario.churn.is_some()),
            ("with adversaries", !scenario.adversaries.is_empty()),
            ("calm", scenario.faults.is_empty()),
            ("bad weather", scenario.network.loss > 0.0),
            ("small disks", scenario.disks.node_bytes > 0),
            ("wrong by a day", scenario.skew.0 > Duration::from_secs(24 * 3600)),
            ("behind a NAT", !scenario.behind_nat.is_empty()),
            ("left permanently", (0..scenario.nodes).any(|n| scenario.leaves(Who::Node(n)))),
            ("all excused", (0..scenario.nodes).all(|n| scenario.excused(n))),
            ("overlapping", overlapping(&scenario)),
            ("long", scenario.lasts.0 > DAY),
            ("away for a day", away_for_a_day(&scenario)),
        ];
        for (name, so) in is {
            *part.entry(name).or_insert(0) += u32::from(so);
        }
    }
    assert_eq!((whats.len(), behaviours.len()), (10, 9), "{whats:?} {behaviours:?}");
    assert!(whats.values().all(|times| *times >= 30), "{whats:?}");
    let bounds = BTreeMap::from([
        ("acquainted", 200..300),
        ("with churn", 30..100),
        ("with adversaries", 50..120),
        ("calm", 20..100),
        ("bad weather", 40..150),
        ("small disks", 5..40),
        ("wrong by a day", 20..150),
        ("behind a NAT", 5..60),
        ("left permanently", 15..100),
        ("all excused", 10..150),
        ("overlapping", 50..400),
        ("long", 30..80),
        ("away for a day", 5..60),
    ]);
    for (name, bound) in bounds {
        assert!(bound.contains(&part[name]), "{name}: {part:?}");
    }
}

/// Returns whether a host is kept from the others for a day and comes back.
fn away_for_a_day(scenario: &Scenario) -> bool {
    let mut faults = scenario.faults.iter();
    faults.any(|fault| fault.lasts.is_some_and(|lasts| lasts.0 >= DAY))
}

/// Returns whether one host has two faults at once.
fn overlapping(scenario: &Scenario) -> bool {
    let mut ends = BTreeMap::new();
    scenario.faults.iter().filter(|fault| fault.what != What::Join).any(|fault| {
        let end = fault.lasts.map_or(Duration::MAX, |lasts| fault.at.0.saturating_add(lasts.0));
        let hit = |who: &Who| ends.insert(*who, end).is_some_and(|end| end > fault.at.0);
        fault.who.iter().map(hit).filter(|hit| *hit).count() > 0
    })
}
