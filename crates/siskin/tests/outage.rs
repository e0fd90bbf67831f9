//! Everything is killed while people write: nothing is lost, nothing comes twice.

#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test may stop on the first thing that is not as it should be"
)]

mod town;

use town::{Node, Person, acquaint};

#[test]
fn a_thousand_messages_survive_five_kills_of_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&directory.path().join("node"));
    let ada = Person::with_account(&directory.path().join("ada"), "Ada", &node.address);
    let mut ben = Person::with_account(&directory.path().join("ben"), "Ben", &node.address);
    acquaint((&ada, "Ada"), (&ben, "Ben"));
    ben.go_offline();

    let sent: Vec<String> = (0..1000).map(|i| format!("message {i}")).collect();
    for (i, text) in sent.iter().enumerate() {
        ada.say("Ben", text);
        if i % 200 == 100 {
            // Whatever is on its way now gets lost.
            node.kill_and_restart();
        }
    }
    ada.until("the node has everything", |ada| ada.contact("Ben").unwrap()["outgoing"] == 0);
    let mark = |person: &Person, mark: &str| {
        person.messages("Ben").iter().filter(|message| message["status"] == mark).count()
    };
    assert_eq!(mark(&ada, "stored"), 1000, "Ben has seen nothing yet");

    ben.come_online();
    ben.until("all have arrived", |ben| ben.contact("Ada").unwrap()["unread"] == 1000);
    assert_eq!(ben.texts("Ada"), sent, "once each, in order");
    ada.until("Ben's device has told", |ada| mark(ada, "delivered") == 1000);
    ben.call("message.read", serde_json::json!({ "conversation": ben.account_of("Ada") }));
    ada.until("Ben has read", |ada| mark(ada, "read") == 1000);
    ben.go_offline();
    ben.come_online();
    assert_eq!(ben.texts("Ada"), sent, "nothing comes again");
}
