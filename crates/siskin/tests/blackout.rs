//! All nodes that ran when the accounts were created are lost permanently. Two people keep writing,
//! and keep their whole conversation.

#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop on the first thing that is not as it should be"
)]

mod town;

use std::path::Path;

use serde_json::json;
use town::{Node, Person, acquaint, command};

#[test]
fn people_move_one_after_the_other_and_go_on_when_all_their_first_nodes_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let mut town = Town::new(directory.path());
    let mut said = town.talk("at first", 50);
    let new = town.build();
    town.move_to(&town.ann, &new[..2]);
    said.extend(town.talk("while one has moved", 50));
    town.move_to(&town.ben, &new[2..]);
    said.extend(town.talk("when both have moved", 50));
    town.blackout();
    said.extend(town.talk("after the blackout", 50));
    town.agree(&said);
    town.restart_people();
    said.extend(town.talk("after a night", 50));
    town.agree(&said);
}

#[test]
fn people_move_after_all_their_nodes_are_gone_and_have_all_they_said() {
    let directory = tempfile::tempdir().unwrap();
    let mut town = Town::new(directory.path());
    let mut said = town.talk("at first", LONG);
    let new = town.build();
    town.blackout();
    // No node is reachable now; messages wait on the devices.
    town.ann.say("Ben", "is anybody there?");
    town.ben.say("Ann", "I hear nothing");
    town.move_to(&town.ann, &new[..2]);
    town.move_to(&town.ben, &new[2..]);
    arrived(&town.ann, "Ben", said.len() + 2);
    arrived(&town.ben, "Ann", said.len() + 2);
    said = town.ann.texts("Ben");
    said.extend(town.talk("after the blackout", 50));
    town.agree(&said);
    town.restart_people();
    said.extend(town.talk("after a night", 50));
    town.agree(&said);
}

/// Ann at two nodes, Ben at two others, and those that come later.
struct Town<'a> {
    place: &'a Path,
    nodes: Vec<Node>,
    ann: Person,
    ben: Person,
}

impl<'a> Town<'a> {
    fn new(place: &'a Path) -> Self {
        let nodes = add(place, 0, Vec::new());
        let at = |homes: [usize; 2]| homes.map(|home| nodes[home].address.as_str());
        let ann = Person::with_account_at(&place.join("ann"), "Ann", &at([0, 1]));
        let ben = Person::with_account_at(&place.join("ben"), "Ben", &at([2, 3]));
        acquaint((&ann, "Ann"), (&ben, "Ben"));
        Self { place, nodes, ann, ben }
    }

    /// Four more nodes join. Returns where they are.
    fn build(&mut self) -> Vec<String> {
        self.nodes = add(self.place, 4, std::mem::take(&mut self.nodes));
        self.nodes[4..].iter().map(|node| node.address.clone()).collect()
    }

    /// Kills the first four nodes permanently.
    fn blackout(&mut self) {
        for mut node in self.nodes.drain(..4) {
            node.kill();
            std::fs::remove_dir_all(&node.directory).unwrap();
        }
    }

    fn move_to(&self, person: &Person, nodes: &[String]) {
        let homes = person.call("home.set", json!({ "nodes": nodes, "wait_s": 0 }));
        assert_eq!(homes["trouble"], json!(null), "{homes}");
        person.until("the new homes serve", |person| {
            let homes = person.call("home.list", json!({}));
            let is_up = |home: &serde_json::Value| home["up"] == true;
            homes["next"] == json!([])
                && homes["published"] == true
                && homes["homes"].as_array().unwrap().iter().all(is_up)
        });
        let shown = command(&person.home, &["home", "list", "--json"]);
        assert_eq!(shown["homes"][0]["address"], nodes[0].as_str());
    }

    /// They say so much to each other, in turns. Returns it.
    fn talk(&self, what: &str, count: usize) -> Vec<String> {
        let mut said = Vec::new();
        for number in 0..count {
            let [writer, reader] = if number % 2 == 0 {
                [(&self.ann, "Ann"), (&self.ben, "Ben")]
            } else {
                [(&self.ben, "Ben"), (&self.ann, "Ann")]
            };
            let text = format!("{what} {number}");
            writer.0.say(reader.1, &text);
            reader.0.until("it has arrived", |person| last(person, writer.1) == text);
            said.push(text);
        }
        said
    }

    /// Both have all that was said, once, in order, and two nodes hold what was said last.
    fn agree(&self, said: &[String]) {
        for (person, other) in [(&self.ann, "Ben"), (&self.ben, "Ann")] {
            assert_eq!(person.texts(other), said, "once each, in order");
            person.until("nothing waits", |person| {
                let messages = person.messages(other);
                messages.iter().all(|message| message["status"] != "sent")
            });
        }
    }

    fn restart_people(&mut self) {
        for person in [&mut self.ann, &mut self.ben] {
            person.go_offline();
            person.come_online();
        }
    }
}

/// Four nodes join those that are there.
fn add(place: &Path, first: usize, mut nodes: Vec<Node>) -> Vec<Node> {
    for number in first..first + 4 {
        let directory = place.join(format!("node{number}"));
        let node = match nodes.first() {
            Some(through) => Node::join(&directory, &through.address),
            None => Node::start(&directory),
        };
        nodes.push(node);
    }
    nodes
}

fn last(person: &Person, contact: &str) -> String {
    let page = person
        .call("message.list", json!({ "conversation": person.account_of(contact), "limit": 1 }));
    page[0]["text"].as_str().unwrap_or_default().to_owned()
}

fn arrived(person: &Person, contact: &str, count: usize) {
    person.until("all have arrived", |person| person.texts(contact).len() == count);
}

/// Messages of a long conversation: more than a page of a node.
const LONG: usize = 150;
