//! Two people at home on different nodes, which had never met: messages arrive both ways, also when
//! a node is killed and comes back; nothing is lost, nothing comes twice.

#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test may stop on the first thing that is not as it should be"
)]

mod town;

use std::collections::BTreeSet;

use town::{Node, Person, acquaint};

#[test]
fn messages_cross_nodes_and_survive_kills_of_either() {
    let directory = tempfile::tempdir().unwrap();
    let mut adas_node = Node::start(&directory.path().join("node-ada"));
    let mut bens_node = Node::start(&directory.path().join("node-ben"));
    let ada = Person::with_account(&directory.path().join("ada"), "Ada", &adas_node.address);
    let ben = Person::with_account(&directory.path().join("ben"), "Ben", &bens_node.address);
    acquaint((&ada, "Ada"), (&ben, "Ben"));

    ada.say("Ben", "over the river");
    ben.say("Ada", "and back");
    for (person, contact) in [(&ada, "Ben"), (&ben, "Ada")] {
        person.until("both are there", |person| person.texts(contact).len() == 2);
    }

    // Ada's node is away: Ben's takes what he says, Ada's device keeps what she says.
    adas_node.kill();
    for i in 0..50 {
        ada.say("Ben", &format!("ada {i}"));
        ben.say("Ada", &format!("ben {i}"));
    }
    ben.until("his node has everything", |ben| ben.contact("Ada").unwrap()["outgoing"] == 0);
    assert_eq!(ben.texts("Ada").len(), 52);
    adas_node.restart();
    arrived(&ada, &ben, 102);

    // Whatever is on its way now gets lost.
    for i in 0..300 {
        ada.say("Ben", &format!("ada again {i}"));
        ben.say("Ada", &format!("ben again {i}"));
        match i % 100 {
            30 => adas_node.kill_and_restart(),
            70 => bens_node.kill_and_restart(),
            _ => {}
        }
    }
    arrived(&ada, &ben, 702);
}

/// Waits until both have all, and checks that it is the same, once.
fn arrived(ada: &Person, ben: &Person, count: usize) {
    for (person, contact) in [(ada, "Ben"), (ben, "Ada")] {
        person.until("all have arrived", |person| person.texts(contact).len() == count);
        person.until("all are told of", |person| {
            let marks = person.messages(contact).into_iter().filter(|m| m["own"] == true);
            marks.into_iter().all(|m| m["status"] == "delivered" || m["status"] == "read")
        });
    }
    let texts = ada.texts("Ben");
    assert_eq!(texts, ben.texts("Ada"), "in one order");
    assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), count, "once each");
}
