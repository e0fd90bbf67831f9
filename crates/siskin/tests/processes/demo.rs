//! `siskin demo` from beginning to end.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::people::{Running, assert_fails, siskin, stderr, stdout};

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
    assert_eq!(number("/wire/messages"), 9.0, "until somebody goes offline");
    assert!(number("/wire/to_nodes_per_message") > 300.0, "{summary}");
    assert!(number("/wire/from_nodes_per_message") > 300.0, "{summary}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_script_of_ones_own_is_played() {
    let place = tempfile::tempdir().unwrap();
    let script = place.path().join("talk.txt");
    fs::write(&script, "ada: \u{1b}[31mred\u{1b}[0m\nben: /react 🎈\nben: /reply nice\n").unwrap();
    let play = |text: Option<&str>| {
        if let Some(text) = text {
            fs::write(&script, text).unwrap();
        }
        siskin(&["demo", "--pace", "0", "--from"]).arg(&script).output().unwrap()
    };
    let output = play(None);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(shown.contains("␛[31mred") && !shown.contains('\u{1b}'), "{shown}");
    assert!(shown.contains("2 messages, 0 of them"), "{shown}");
    assert_fails(&play(Some("eve: hello")), 2, "line 1");
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

/// A short demo that goes on; with the homes of its people.
fn keep(place: &Path) -> (Running, PathBuf, PathBuf) {
    let script = place.join("talk.txt");
    fs::write(&script, "ada: hello\n").unwrap();
    let mut command = siskin(&["demo", "--json", "--keep", "--pace", "0", "--from"]);
    let demo = Running::start(command.arg(&script).env("TMPDIR", place));
    fs::remove_file(&script).unwrap();
    let home = |name: &str| PathBuf::from(demo.first["join"][name].as_str().unwrap());
    let homes = (home("ada"), home("ben"));
    (demo, homes.0, homes.1)
}
