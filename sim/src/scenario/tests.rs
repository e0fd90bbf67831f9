//! Scenarios as text: what is read, what is refused, and what churn comes to.

use std::{collections::BTreeSet, path::Path};

use super::*;

const LEAST: &str = "name = \"x\"\nnodes = 2\npeople = 3\nlasts = \"10s\"\n";

fn least() -> Scenario {
    Scenario::parse(LEAST).unwrap()
}

fn fault(at: &str, what: What, who: &str, lasts: Option<&str>) -> Fault {
    let lasts = lasts.map(|lasts| lasts.parse().unwrap());
    let (at, who) = (at.parse().unwrap(), vec![who.parse().unwrap()]);
    Fault { at, until: None, what, who, some_nodes: 0, lasts }
}

#[test]
fn a_scenario_is_harmless_unless_it_says_otherwise() {
    let scenario = least();
    assert_eq!((scenario.friends, scenario.acquainted), (1, false));
    assert_eq!(scenario.talk, Talk::default());
    assert_eq!(scenario.network, Weather::default());
    assert_eq!(scenario.disks, Disks::default());
    assert!(scenario.faults_of(1).is_empty() && !scenario.excused(0));
}

#[test]
fn spans_are_written_in_the_largest_whole_unit() {
    let written = ["0s", "500us", "250ms", "1500ms", "30s", "90s", "5m", "2h", "36h", "1d", "30d"];
    for text in written {
        assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
    }
    assert_eq!("120s".parse::<Span>().unwrap().to_string(), "2m");
}

#[test]
fn every_named_scenario_is_valid_and_survives_being_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["scenarios", "scenarios-large"].map(|folder| root.join(folder));
    let mut behaviours = BTreeSet::new();
    let mut whats = BTreeSet::new();
    let mut number = 0;
    for entry in folders.into_iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()) {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let scenario = Scenario::parse(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        assert_eq!(path.file_name().unwrap().to_str(), Some(&*format!("{}.toml", scenario.name)));
        assert!(!scenario.about.is_empty(), "{path:?} says nothing about itself");
        assert_eq!(Scenario::parse(&scenario.to_toml()), Ok(scenario.clone()), "{path:?}");
        behaviours.extend(
            scenario.adversaries.iter().map(|adversary| format!("{:?}", adversary.behaviour)),
        );
        whats.extend(scenario.faults.iter().map(|fault| format!("{:?}", fault.what)));
        number += 1;
    }
    assert!(
        number >= 25 && behaviours.len() == 9 && whats.len() == 10,
        "{number} {behaviours:?} {whats:?}"
    );
}

#[test]
fn what_is_wrong_with_a_text_is_said() {
    let table = [
        ("nodes = 2", "missing field `name`"),
        ("lasts = 10", "a length of time such as `30s`"),
        ("skew = \"10\"", "`10` is not a length of time"),
        ("skew = \"s\"", "`s` is not a length of time"),
        ("skew = \"-5s\"", "`-5s` is not a length of time"),
        ("skew = \"1.5s\"", "`1.5s` has none of the units d, h, m, s, ms, us"),
        ("skew = \"31d\"", "`31d` is more than 30d"),
        ("skew = \"99999999999999999999s\"", "is more than 30d"),
        ("skew = \"18446744073709551615d\"", "is more than 30d"),
        ("wind = 3", "unknown field `wind`"),
        ("[talk]\nsongs = 3", "unknown field `songs`"),
        ("[[adversary]]\nnode = 0\nlie = \"steals\"", "unknown variant `steals`"),
        (
            "[[fault]]\nat = \"1s\"\nwhat = \"kill\"\nwho = [3]",
            "expected a `node 3` or a `person 0`",
        ),
        (
            "[[fault]]\nat = \"1s\"\nwhat = \"kill\"\nwho = [\"node +1\"]",
            "`node +1` is neither a `node 3` nor a `person 0`",
        ),
    ];
    for (text, reason) in table {
        let key = text.split(' ').next().unwrap();
        let kept = LEAST.lines().filter(|line| key != "nodes" && !line.starts_with(key));
        let whole = kept.chain([text]).collect::<Vec<_>>().join("\n");
        let error = Scenario::parse(&whole).unwrap_err().to_string();
        assert!(error.contains(reason), "{whole}\n\n{error}");
    }
}

type Change = fn(&mut Scenario);

fn assert_refused<const N: usize>(table: [(Change, &str); N]) {
    assert_eq!(least().check(), Ok(()));
    for (change, reason) in table {
        let mut scenario = least();
        change(&mut scenario);
        let error = scenario.check().unwrap_err().to_string();
        assert!(error.contains(reason), "{error} / {reason}");
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    assert_refused([
        (|s| s.name.clear(), "name must be one line"),
        (|s| s.nodes = 0, "nodes is 0, must be from 1 to 20000"),
        (|s| s.nodes = 20_001, "nodes is 20001"),
        (|s| s.people = 100_001, "people is 100001"),
        (|s| s.friends = 3, "friends is 3, must be from 0 to 2"),
        (|s| (s.people, s.friends) = (1, 1), "friends is 1, must be from 0 to 0"),
        (|s| (s.people, s.friends) = (100_000, 11), "people times friends is 1100000"),
        (|s| s.lasts = Span::default(), "lasts is 0s, must be from 1s to 30d"),
        (|s| s.skew = Span(Duration::MAX), "skew is"),
        (|s| s.talk.acts = u32::MAX, "people times talk.acts"),
        (|s| s.talk.every = Span::default(), "talk.every is 0s"),
        (|s| s.talk.edits = f64::NAN, "talk.edits is NaN, must be from 0 to 1"),
        (|s| s.talk.reads = -0.1, "talk.reads is -0.1"),
        (|s| s.talk.reads = 0.9, "talk: the chances add up to more than 1"),
        (|s| s.network.regions = 0, "network.regions is 0"),
        (|s| s.network.near.reverse(), "network.near: the least, 5ms, is above the most, 1ms"),
        (|s| s.network.far[1] = Span::from_millis(10_001), "network.far is 10001ms"),
        (|s| s.network.loss = 0.6, "network.loss is 0.6, must be from 0 to 0.5"),
        (|s| s.network.duplication = f64::INFINITY, "network.duplication is inf"),
        (|s| s.network.device_bps = 7_999, "network.device_bps is 7999, must be 0 or from 8000"),
        (|s| s.network.node_bps = u64::MAX, "network.node_bps is"),
        (|s| s.disks.device_sync[1] = Span::from_millis(1_001), "disks.device_sync is 1001ms"),
        (|s| s.disks.node_bytes = 1, "disks.node_bytes is 1, must be 0 or from 65536"),
        (|s| s.disks.checked_every = Span::default(), "disks.checked_every is 0s"),
        (|s| s.behind_nat = vec![0, 2], "behind_nat: there is no node 2"),
        (|s| s.behind_nat = vec![1, 1], "behind_nat: node 1 is there twice"),
    ]);
}

#[test]
fn faults_that_cannot_happen_are_refused() {
    assert_refused([
        (
            |s| s.faults.push(fault("1s", What::Kill, "person 3", None)),
            "fault 1: there is no person 3",
        ),
        (|s| s.faults.push(fault("11s", What::Kill, "node 0", None)), "fault 1: at is 11s"),
        (|s| s.faults.push(fault("1s", What::Stop, "node 0", Some("0s"))), "fault 1: lasts is 0s"),
        (
            |s| s.faults.push(Fault { who: vec![], ..fault("1s", What::Kill, "node 0", None) }),
            "fault 1: who is empty",
        ),
        (|s| s.faults.push(fault("1s", What::Join, "node 0", Some("1s"))), "a join has no `lasts`"),
        (
            |s| {
                s.acquainted = true;
                s.faults.push(fault("1s", What::Join, "node 0", None));
            },
            "fault 1: no host joins late if all are acquainted",
        ),
        (
            |s| {
                s.faults.push(fault("1s", What::Kill, "node 0", None));
                s.faults.push(fault("2s", What::Join, "node 0", None));
            },
            "fault 1: node 0 has not joined yet at 1s",
        ),
        (
            |s| {
                let away = [Span::from_millis(1), Span::from_millis(1)];
                s.churn = Some(Churn { per_hour: 3600.0, ungraceful: 0.0, away });
                (s.nodes, s.lasts) = (20_000, Span::MAX);
            },
            "nodes that churn takes down",
        ),
    ]);
}

#[test]
fn churn_comes_to_the_same_faults_for_the_same_seed() {
    let away = [Span::from_millis(100), Span::from_millis(200)];
    let mut scenario = Scenario { nodes: 10, lasts: "1h".parse().unwrap(), ..least() };
    scenario.churn = Some(Churn { per_hour: 2.05, ungraceful: 0.5, away });
    scenario.faults.push(fault("30m", What::Join, "node 0", None));
    scenario.faults.push(fault("10m", What::Kill, "node 1", None));
    let faults = scenario.faults_of(7);
    assert_eq!(faults, scenario.faults_of(7));
    assert_ne!(faults, scenario.faults_of(8));
    assert_eq!(scenario.settled(7).faults_of(9), faults);
    assert_eq!(scenario.settled(7).check(), Ok(()));
    assert!(faults.is_sorted_by_key(|fault| fault.at));
    assert!((12..=23).contains(&faults.len()), "{} faults", faults.len());
    for what in [What::Crash, What::Stop] {
        assert!(faults.iter().any(|fault| fault.what == what));
    }
    let drawn = faults.iter().filter(|fault| fault.lasts.is_some());
    let of = |number| drawn.clone().filter(move |fault| fault.who == [Who::Node(number)]);
    assert!(of(0).all(|fault| fault.at >= "30m".parse().unwrap()), "down before it joined");
    assert!(
        of(1).all(|fault| fault.at < "10m".parse().unwrap()),
        "came back after leaving permanently"
    );
}

#[test]
fn what_faults_may_leave_to_the_seed_has_limits() {
    let plain = || fault("1s", What::Kill, "node 0", None);
    let early = Fault { until: Some("900ms".parse().unwrap()), ..plain() };
    let table = [
        (early, "fault 1: until is 900ms, must be from 1s to 10s"),
        (Fault { some_nodes: 3, ..plain() }, "fault 1: some_nodes is 3, must be from 0 to 2"),
        (Fault { some_nodes: 1, what: What::Join, ..plain() }, "a join says when and of whom"),
    ];
    for (fault, reason) in table {
        let error = Scenario { faults: vec![fault], ..least() }.check().unwrap_err().to_string();
        assert!(error.contains(reason), "{error} / {reason}");
    }
}

#[test]
fn faults_that_leave_it_to_the_seed_hit_another_node_at_another_time() {
    let some = |at, until: &str, what, some_nodes| Fault {
        until: Some(until.parse().unwrap()),
        who: Vec::new(),
        some_nodes,
        ..fault(at, what, "node 0", None)
    };
    let mut scenario = Scenario { nodes: 5, ..least() };
    scenario.faults = vec![
        fault("1s", What::Kill, "node 4", None),
        some("2s", "8s", What::Kill, 1),
        some("3s", "3s", What::Stop, 2),
        some("9s", "9s", What::Crash, 5),
    ];
    assert_eq!(scenario.check(), Ok(()));
    let (mut nodes, mut times) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..100 {
        let drawn = scenario.drawn(seed);
        assert_eq!(drawn, scenario.drawn(seed));
        assert_eq!(drawn.check(), Ok(()));
        assert_eq!(scenario.settled(seed).drawn(9), scenario.settled(seed));
        // Each node leaves once at most, and in the end all have left.
        let left: Vec<_> = drawn.faults.iter().flat_map(|fault| fault.who.clone()).collect();
        assert_eq!(left.iter().collect::<BTreeSet<_>>().len(), left.len());
        assert_eq!(left.len(), 5);
        assert!((0..5).all(|node| drawn.excused(node)));
        nodes.insert(drawn.faults[1].who[0]);
        times.insert(drawn.faults[1].at);
        assert!(("2s".parse().unwrap()..="8s".parse().unwrap()).contains(&drawn.faults[1].at));
    }
    assert!(nodes.len() == 4 && times.len() == 100, "{nodes:?}, {} times", times.len());
}

#[test]
fn those_who_lie_leave_or_cannot_be_reached_are_excused() {
    let mut scenario = Scenario { nodes: 6, behind_nat: vec![4], ..least() };
    scenario.adversaries.push(AdversaryAt { node: 3, behaviour: Behaviour::Forges });
    scenario.faults = vec![
        fault("1s", What::Crash, "node 0", Some("1s")),
        fault("1s", What::FullDisk, "node 1", None),
        fault("1s", What::Join, "node 1", None),
        fault("1s", What::CrashInSync, "node 2", None),
        fault("1s", What::Kill, "person 1", None),
    ];
    let excused: Vec<_> = (0..6).filter(|node| scenario.excused(*node)).collect();
    assert_eq!(excused, [2, 3, 4]);
    assert!(scenario.leaves(Who::Person(1)) && !scenario.leaves(Who::Person(0)));
    scenario.disks.node_bytes = 100_000;
    assert!(scenario.excused(0));
}
