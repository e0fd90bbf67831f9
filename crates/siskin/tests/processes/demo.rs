//! `siskin demo` from beginning to end.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::people::{Running, siskin, stderr, stdout};

#[test]
fn the_demo_tells_the_truth_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let mut command = siskin(&["demo", "--json", "--pace", "0"]);
    let output = command.env("TMPDIR", place.path()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    assert_eq!(stdout(&output).lines().count(), 1);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["messages"], 15);
    assert_eq!(summary["while_offline"], 3);
    let number = |path: &str| summary.pointer(path).and_then(Value::as_f64).unwrap();
    assert!(number("/delivery_p50_ms") > 0.0);
    assert!(number("/delivery_p99_ms") >= number("/delivery_p50_ms"));
    assert_eq!(number("/wire/messages"), 9.0, "until ben goes offline");
    assert!(number("/wire/to_nodes_per_message") > 300.0, "{summary}");
    assert!(number("/wire/from_nodes_per_message") > 300.0, "{summary}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn the_demo_shows_each_message_the_crash_and_how_to_join() {
    let output = siskin(&["demo", "--pace", "0"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&output);
    let lines = |part: &str| shown.lines().filter(|line| line.contains(part)).count();
    assert_eq!(lines(" ms  ✓✓ read"), 12, "{shown}");
    assert_eq!(lines("  ✓ stored"), 3, "{shown}");
    let killed = shown.find("ben's daemon is killed (kill -9)").unwrap();
    let back = shown.find("ben is back and has all 3 after").unwrap();
    let left = shown.find("your node keeps them for you").unwrap();
    assert!(killed < left && left < back, "{shown}");
    assert!(shown.contains("15 messages, 3 of them"), "{shown}");
    for join in ["siskin --dir DIR/ada tail", "siskin --dir DIR/ben send ada"] {
        assert_eq!(lines(join), 1, "{shown}");
    }
}

#[test]
fn what_is_kept_can_be_joined_until_it_is_interrupted() {
    let place = tempfile::tempdir().unwrap();
    let (demo, ada, _) = keep(place.path());
    let mut list = siskin(&["contact", "list", "--json"]);
    let listed = list.env("SISKIN_DIR", &ada).output().unwrap();
    assert!(stdout(&listed).contains("\"name\":\"ben\""), "{}", stderr(&listed));
    assert!(demo.terminate().success());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn no_process_outlives_a_demo_that_is_killed() {
    let place = tempfile::tempdir().unwrap();
    let (demo, ada, ben) = keep(place.path());
    drop(demo);
    for home in [ada, ben] {
        let gone = || UnixStream::connect(home.join("siskin.sock")).is_err();
        // Each look starts a process, so this is no busy loop.
        let ends = (0..500).any(|_| gone() || !siskin(&["man"]).output().unwrap().status.success());
        assert!(ends && gone(), "{} is still up", home.display());
    }
}

/// A demo that keeps running; with the directories of its people.
fn keep(place: &Path) -> (Running, PathBuf, PathBuf) {
    let mut command = siskin(&["demo", "--json", "--keep", "--pace", "0"]);
    let demo = Running::start(command.env("TMPDIR", place));
    let directory = |name: &str| PathBuf::from(demo.first["join"][name].as_str().unwrap());
    let directories = (directory("ada"), directory("ben"));
    (demo, directories.0, directories.1)
}
