//! Ann migrates to another node while Ben writes. A stranger with an old invite finds her. Then her
//! old node is killed, and both keep writing. Nothing is lost, nothing arrives twice.

#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test may stop on the first thing that is not as it should be"
)]

mod town;

use std::{collections::BTreeSet, path::Path};

use serde_json::json;
use town::{Node, Person, acquaint, command};

#[test]
fn ann_moves_while_ben_writes_and_who_has_an_old_invite_finds_her() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mut old = Node::start(&at("old"));
    let bens = Node::join(&at("bens"), &old.address);
    let new = Node::join(&at("new"), &bens.address);
    let other = Node::join(&at("other"), &bens.address);
    let ann = Person::with_account(&at("ann"), "Ann", &old.address);
    let ben = Person::with_account(&at("ben"), "Ben", &bens.address);
    acquaint((&ann, "Ann"), (&ben, "Ben"));
    let invite = || {
        let invite = ann.call("contact.invite", json!({ "uses": 1 }));
        ann.until("the invite is known", |ann| {
            ann.call("account.show", json!({}))["published"] == true
        });
        invite["link"].as_str().unwrap().to_owned()
    };
    let (first, second) = (invite(), invite());

    for i in 0..20 {
        ben.say("Ann", &format!("ben before {i}"));
        ann.say("Ben", &format!("ann before {i}"));
    }
    let plan = command(&at("ann"), &["home", "move", &new.address, "--dry-run", "--json"]);
    assert_eq!(plan["conversations"], 1);
    assert!(plan["bytes"].as_u64().unwrap() > 0, "{plan}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..200 {
                ben.say("Ann", &format!("ben meanwhile {i}"));
            }
        });
        let moved = command(&at("ann"), &["home", "move", &new.address, "--yes", "--json"]);
        assert_eq!(moved["homes"][0]["address"], new.address.as_str(), "{moved}");
        assert_eq!(moved["previous"], json!([]), "{moved}");
        for i in 0..50 {
            ann.say("Ben", &format!("ann meanwhile {i}"));
        }
    });
    arrived(&ann, &ben, 290);

    // The old node knows where she went.
    let cem = Person::with_account(&at("cem"), "Cem", &other.address);
    cem.call("contact.add", json!({ "link": first, "name": "Ann" }));
    accepted(&ann, &cem, "Cem");

    // The old node is lost permanently: the network knows the new one.
    old.kill();
    let dot = Person::with_account(&at("dot"), "Dot", &other.address);
    dot.call("contact.add", json!({ "link": second, "name": "Ann" }));
    accepted(&ann, &dot, "Dot");
    for i in 0..20 {
        ben.say("Ann", &format!("ben after {i}"));
        ann.say("Ben", &format!("ann after {i}"));
    }
    arrived(&ann, &ben, 330);
    shown(&at("ann"), &new.address);
}

/// `siskin home list` says what is so.
fn shown(home: &Path, address: &str) {
    let homes = command(home, &["home", "list", "--json"]);
    let serving = &homes["homes"][0];
    assert_eq!(serving["address"], address);
    assert_eq!((&serving["up"], &serving["active"]), (&json!(true), &json!(true)));
    assert!(serving["round_trip_ms"].as_f64().unwrap() > 0.0);
    assert!(serving["capacity_bytes"].as_u64().unwrap() > 0);
    let cost = &homes["cost"];
    assert_eq!(cost["conversations"], 3);
    assert_eq!((&cost["copies_min"], &cost["copies_max"]), (&json!(2), &json!(2)));
    assert_eq!(cost["bytes_stored"].as_u64(), cost["bytes"].as_u64().map(|bytes| 2 * bytes));
    // Pinned, it stays in front when another one is added; unpinned, it is still the home.
    let pinned = command(home, &["home", "pin", address, "--json"]);
    assert_eq!(pinned["homes"][0]["pinned"], true);
    let unpinned = command(home, &["home", "unpin", address, "--json"]);
    assert_eq!(unpinned["homes"][0]["pinned"], false);
}

fn accepted(ann: &Person, asker: &Person, name: &str) {
    ann.until("the request has arrived", |ann| {
        ann.contact(name).is_some_and(|contact| contact["state"] == "asking")
    });
    ann.call("contact.accept", json!({ "contact": ann.account_of(name) }));
    asker.until("the request is accepted", |asker| {
        asker.contact("Ann").is_some_and(|contact| contact["state"] == "established")
    });
}

/// Waits until both have all, and checks that it is the same, once.
fn arrived(ann: &Person, ben: &Person, count: usize) {
    for (person, contact) in [(ann, "Ben"), (ben, "Ann")] {
        person.until("all have arrived", |person| person.texts(contact).len() == count);
    }
    let texts = ann.texts("Ben");
    assert_eq!(texts, ben.texts("Ann"), "in one order");
    assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), count, "once each");
}
