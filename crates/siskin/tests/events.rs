//! Events of the local API, with real daemons and a real node.

mod town;

use serde_json::{Value, json};
use town::{Node, Person, acquaint};

#[test]
fn a_subscriber_misses_nothing_when_a_conversation_begins_again() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(&directory.path().join("node"));
    let ada = Person::with_account(&directory.path().join("ada"), "Ada", &node.address);
    let ben = Person::with_account(&directory.path().join("ben"), "Ben", &node.address);
    acquaint((&ada, "Ada"), (&ben, "Ben"));
    let old = ["one", "two", "three", "four"];
    old.iter().for_each(|text| ada.say("Ben", text));
    ben.until("all have arrived", |ben| ben.texts("Ada").len() == old.len());

    let cursors = ben.line().call("events.subscribe", json!({}))["after"].take();
    let live = ben.line().events_after(cursors.clone());
    ada.call("contact.remove", json!({ "contact": ada.account_of("Ben") }));
    ben.call("contact.remove", json!({ "contact": ben.account_of("Ada") }));
    acquaint((&ada, "Ada"), (&ben, "Ben"));
    let new = ["five", "six"];
    new.iter().for_each(|text| ada.say("Ben", text));
    let back = ben.line().events_after(cursors);
    for events in [live, back] {
        let messages = events.filter(|event| event["type"] == "message").take(new.len());
        let texts: Vec<Value> = messages.map(|event| event["message"]["text"].clone()).collect();
        assert_eq!(texts, new, "fewer than before, in another log");
    }
}
