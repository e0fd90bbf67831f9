//! Real nodes are killed while people write. Nothing is lost, nothing arrives twice, and messages
//! keep arriving.
//!
//! Ten rounds by default. The long run also prints how long it took until the next message arrived:
//! `SISKIN_KILLS=50 cargo nextest run --release -p siskin --test failover --no-capture`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test may stop on the first thing that is not as it should be, and has a clock"
)]

mod town;

use std::time::{Duration, Instant};

use town::{Node, Person, acquaint};

/// What befalls a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// `kill -9`; it is started again.
    Kill,
    /// `SIGSTOP`: it is there and says nothing; it goes on later.
    Stall,
}

#[test]
fn people_go_on_while_any_of_their_nodes_is_killed_or_stalls() {
    let rounds = std::env::var("SISKIN_KILLS").map_or(10, |rounds| rounds.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut nodes: Vec<Node> =
        (0..4).map(|n| Node::start(&directory.path().join(format!("node{n}")))).collect();
    let at = |homes: [usize; 2]| homes.map(|home| nodes[home].address.as_str());
    let ada = Person::with_account_at(&directory.path().join("ada"), "Ada", &at([0, 1]));
    let ben = Person::with_account_at(&directory.path().join("ben"), "Ben", &at([2, 3]));
    acquaint((&ada, "Ada"), (&ben, "Ben"));
    exchange((&ada, "Ada"), (&ben, "Ben"), "at first");

    let mut took: Vec<(Blow, Duration)> = Vec::new();
    let mut said = vec!["at first".to_owned(), "at first too".to_owned()];
    for round in 0..rounds {
        let blow = if round % 3 == 2 { Blow::Stall } else { Blow::Kill };
        let node = &mut nodes[round % 4];
        let begun = Instant::now();
        match blow {
            Blow::Kill => node.kill(),
            Blow::Stall => node.stall(true),
        }
        let text = format!("round {round}");
        exchange((&ada, "Ada"), (&ben, "Ben"), &text);
        took.push((blow, begun.elapsed()));
        said.extend([text.clone(), format!("{text} too")]);
        match blow {
            Blow::Kill => node.restart(),
            Blow::Stall => node.stall(false),
        }
        // It has all that was said meanwhile before another one is struck.
        for (person, other) in [(&ada, "Ben"), (&ben, "Ada")] {
            person.until("both homes are connected", |person| {
                let homes = person.call("home.list", serde_json::json!({}));
                homes["homes"].as_array().unwrap().iter().all(|home| home["up"] == true)
            });
            person.until("two nodes hold everything", |person| {
                let all = person.messages(other);
                all.iter().all(|message| message["status"].is_null() || message["status"] != "sent")
            });
        }
    }
    for (person, other) in [(&ada, "Ben"), (&ben, "Ada")] {
        assert_eq!(person.texts(other), said, "once each, in order");
    }
    report(took);
}

/// The first says something, the second answers once it is there, and the first has the answer.
fn exchange(first: (&Person, &str), second: (&Person, &str), text: &str) {
    first.0.say(second.1, text);
    second.0.until("it has arrived", |person| {
        person.texts(first.1).last().is_some_and(|last| last == text)
    });
    let answer = format!("{text} too");
    second.0.say(first.1, &answer);
    first.0.until("the answer has arrived", |person| {
        person.texts(second.1).last().is_some_and(|last| *last == answer)
    });
}

fn report(took: Vec<(Blow, Duration)>) {
    for blow in [Blow::Kill, Blow::Stall] {
        let of_it = took.iter().filter(|(what, _)| *what == blow);
        let mut times: Vec<_> = of_it.map(|(_, time)| time.as_millis()).collect();
        times.sort_unstable();
        if let (Some(worst), Some(median)) = (times.last(), times.get(times.len() / 2)) {
            let count = times.len();
            println!(
                "{blow:?}: {count} times; there and back: median {median} ms, worst {worst} ms"
            );
        }
    }
}
