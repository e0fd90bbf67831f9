//! Two people and their messages, by the command line alone.

use serde_json::Value;

use crate::people::{Person, Running, assert_fails, stderr, stdout};

/// Two people at two nodes who know each other. No daemon runs, so every step is a process that
/// goes online, does its part and ends.
struct Two {
    ada: Person,
    ben: Person,
    _nodes: [Running; 2],
    _places: [tempfile::TempDir; 2],
}

impl Two {
    fn who_know_each_other() -> Self {
        let places = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let nodes = [Running::node(places[0].path()), Running::node(places[1].path())];
        let ada = Person::with_account("Ada", nodes[0].address());
        let ben = Person::with_account("Ben", nodes[1].address());
        let invited = ada.json(&["contact", "invite"]);
        assert_eq!(invited["published"], true);
        let link = invited["link"].as_str().unwrap();
        let added = ben.json(&["contact", "add", link, "--name", "Ada"]);
        assert_eq!(added["state"], "requested");
        let accepted = ada.json(&["contact", "accept", "Ben"]);
        assert_eq!(accepted["state"], "established");
        let listed = ben.json(&["contact", "list"]);
        assert_eq!(listed[0]["state"], "established", "{listed}");
        Self { ada, ben, _nodes: nodes, _places: places }
    }
}

#[test]
fn two_people_talk_without_daemons() {
    let Two { ada, ben, .. } = &Two::who_know_each_other();
    let sent = ada.json(&["send", "Ben", "Hello \u{1b}[2Jthere\nline two"]);
    assert_eq!(sent["status"], "stored");
    let read = ben.text(&["read", "ada", "-n", "5"]);
    assert!(read.contains("␛[2Jthere\n    line two"), "{read}");
    assert!(!read.contains('\u{1b}'), "nothing that a terminal obeys: {read}");
    let items = ada.json(&["read", "Ben"]);
    assert_eq!(items[0]["status"], "read", "{items}");

    let id = sent["id"].as_str().unwrap();
    let piped = ben.pipe(&["--json", "send", "Ada", "-", "--reply-to", &id[..8]], "Hi!\n");
    let answer: Value = serde_json::from_slice(&piped.stdout).unwrap();
    ben.json(&["react", "Ada", id, "👍"]);
    ada.json(&["edit", "Ben", id, "Hello there"]);
    assert_fails(&ben.run(&["edit", "Ada", id, "no"]), 1, "only its author");
    ada.json(&["rekey", "Ben"]);
    ben.json(&["delete", "Ada", answer["id"].as_str().unwrap()]);
    let items = ada.json(&["read", "Ben", "--peek"]);
    let items = items.as_array().unwrap();
    assert_eq!(items.len(), 2, "{items:?}");
    assert_eq!(items[0]["text"], "Hello there");
    assert_eq!(items[0]["edited"], true);
    assert_eq!(items[0]["reactions"].as_object().unwrap().values().next().unwrap(), "👍");
    assert_eq!(items[1]["reply_to"], id);
    assert_eq!(items[1]["text"], Value::Null);
}

#[test]
fn daemons_deliver_at_once_and_commands_use_them() {
    let Two { ada, ben, .. } = &Two::who_know_each_other();
    let (_ada_up, ben_up) = (ada.up(), ben.up());
    assert_eq!(ben_up.first["account"], ben.json(&["account", "show"])["account"]);
    let number =
        |person: &Person, who| person.json(&["contact", "verify", who])["safety_number"].clone();
    assert_eq!(number(ada, "Ben"), number(ben, "Ada"));
    assert_eq!(ada.json(&["contact", "verify", "Ben", "--set"])["verified"], true);
    ada.json(&["send", "Ben", "one"]);
    ben.until(&["contact", "list"], |all| all[0]["unread"] == 1);
    ben.json(&["read", "Ada"]);
    ada.until(&["read", "Ben"], |items| items[0]["status"] == "read");
    ben.json(&["contact", "rename", "Ada", "Augusta"]);
    assert_fails(&ben.run(&["send", "Ada", "x"]), 1, "no contact is called");
    ben.json(&["contact", "remove", "Augusta"]);
    assert_eq!(ben.json(&["contact", "list"]), Value::Array(Vec::new()));
}

#[test]
fn what_can_not_be_sent_says_why() {
    let Two { ada, _nodes: nodes, .. } = Two::who_know_each_other();
    assert_fails(&ada.run(&["send", "Ben", ""]), 1, "empty");
    assert_fails(&ada.run(&["send", "Eve", "x"]), 1, "no contact is called `Eve`");
    assert_fails(&ada.run(&["contact", "add", "https://example.org"]), 1, "begins with");
    assert_fails(&ada.run(&["react", "Ben", "ffff", "x"]), 1, "no such message");
    let long = "x".repeat(100_000);
    let refused = ada.pipe(&["send", "Ben"], &long);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    drop(nodes);
    let late = ada.run(&["send", "Ben", "later", "--timeout", "1"]);
    assert_fails(&late, 3, "has not stored it");
    assert_eq!(stdout(&late).trim().len(), 64, "it has an id, for it is in the outbox");
    assert_eq!(ada.json(&["send", "Ben", "even later", "--no-wait"])["status"], "sent");
}
