//! The node's process: its settings, its key, its data directory.

use std::fs;

use crate::people::{Person, Running, assert_fails, siskin, stderr};

#[test]
fn a_node_keeps_its_name_and_has_its_directory_for_itself() {
    let place = tempfile::tempdir().unwrap();
    let node = Running::node(place.path());
    let name = node.first["node"].clone();
    assert!(node.address().starts_with(name.as_str().unwrap()), "{}", node.address());
    let mut second = siskin(&["node", "run", "--listen", "127.0.0.1:0", "--data-dir"]);
    assert_fails(&second.arg(place.path()).output().unwrap(), 6, "in use");
    assert!(node.terminate().success());
    assert_eq!(Running::node(place.path()).first["node"], name);
}

#[test]
fn settings_come_from_a_file_and_unknown_ones_are_named() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("node.toml");
    let run = |text: &str| {
        fs::write(&file, text).unwrap();
        siskin(&["node", "--config"]).arg(&file).output().unwrap()
    };
    assert_fails(&run("colour = 'green'"), 2, "`colour`");
    assert_fails(&run("disk_cap = 'much'"), 2, "`much`");
    assert_fails(&run("listen = ['127.0.0.1:0'"), 2, "node.toml");

    let data = place.path().join("data");
    let text = format!(
        "data_dir = {data:?}\nlisten = ['127.0.0.1:0']\nadvertise = ['192.0.2.7:4440']\n\
         registration = 'closed'\ndisk_cap = '1GiB'\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = siskin(&["node", "--json", "--config"]);
    command.arg(&file);
    let node = Running::start(&mut command);
    assert!(node.address().ends_with("@192.0.2.7:4440"), "{}", node.address());
    assert!(data.join("node.key").exists());
}

#[test]
fn a_node_refuses_what_a_newer_version_wrote() {
    let place = tempfile::tempdir().unwrap();
    let (name, version) = (node::LAYOUT_NAME, node::LAYOUT_VERSION + 1);
    let layout = store::Layout { name, version, migrations: &[] };
    drop(store::Fjall::open(place.path(), &layout).unwrap());
    let mut command = siskin(&["node", "--listen", "127.0.0.1:0", "--data-dir"]);
    assert_fails(&command.arg(place.path()).output().unwrap(), 6, "newer version");
    assert!(!place.path().join("node.key").exists(), "it is left as it was");
}

#[test]
fn a_node_opens_what_an_older_version_wrote() {
    let place = tempfile::tempdir().unwrap();
    let layout = store::Layout { name: node::LAYOUT_NAME, version: 2, migrations: &[] };
    drop(store::Fjall::open(place.path(), &layout).unwrap());
    assert!(Running::node(place.path()).address().starts_with("sisknode1"));
    let newer = store::Layout { version: node::LAYOUT_VERSION, ..layout };
    assert!(store::Fjall::open(place.path(), &newer).is_ok());
}

#[test]
fn a_port_in_use_is_named() {
    let place = tempfile::tempdir().unwrap();
    let node = Running::node(&place.path().join("one"));
    let taken = node.address().split_once('@').unwrap().1;
    let mut command = siskin(&["node", "--listen", taken, "--data-dir"]);
    assert_fails(&command.arg(place.path().join("two")).output().unwrap(), 1, taken);
}

#[test]
fn pages_and_completions_are_there() {
    let person = Person::new();
    assert!(person.text(&["man"]).contains("siskin"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(person.text(&["completions", shell]).contains("siskin"), "{shell}");
    }
    let pages = tempfile::tempdir().unwrap();
    assert!(person.command(&["man"]).arg(pages.path()).status().unwrap().success());
    assert!(pages.path().join("siskin-contact-add.1").exists());
    let usage = person.run(&["send"]);
    assert_eq!(usage.status.code(), Some(2), "{}", stderr(&usage));
}

#[test]
fn what_is_stored_can_be_verified_while_the_node_does_not_run() {
    let place = tempfile::tempdir().unwrap();
    let verify = |how: &[&str]| {
        let mut command = siskin(&["node", "verify", "--data-dir"]);
        command.arg(place.path()).args(how).output().unwrap()
    };
    let report =
        || -> serde_json::Value { serde_json::from_slice(&verify(&["--json"]).stdout).unwrap() };
    assert_fails(&verify(&[]), 1, "no node has run");
    assert!(fs::read_dir(place.path()).unwrap().next().is_none(), "nothing is made");
    let node = Running::node(place.path());
    let _ann = Person::with_account("Ann", node.address());
    assert_fails(&verify(&[]), 6, "in use");
    assert!(node.terminate().success());
    let sound = report();
    assert_eq!(
        (&sound["bundles"], &sound["logs"], &sound["faults"]),
        (&1.into(), &1.into(), &0.into())
    );

    let (name, version) = (node::LAYOUT_NAME, node::LAYOUT_VERSION);
    let layout = store::Layout { name, version, migrations: &[] };
    let mut store = store::Fjall::open(place.path(), &layout).unwrap();
    let mut batch = proto::WriteBatch::default();
    batch.put(proto::Table(4), [1; 16], *b"what no node has written");
    store::Store::apply(&mut store, &batch).unwrap();
    store::Store::sync(&mut store).unwrap();
    drop(store);
    assert_fails(&verify(&[]), 1, "1 faults");
    assert_eq!(report()["shown"][0], "an entry of no log");
}
