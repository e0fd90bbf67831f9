//! What is chosen, and what is kept.

use serde_json::{Value, json};

use super::*;

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn home(number: u8, pinned: bool, proven_faulty: bool) -> Value {
    json!({
        "address": format!("{}@192.0.2.{number}:4433", node(number)),
        "pinned": pinned,
        "active": true,
        "has_copies": true,
        "proven_faulty": proven_faulty,
        "up": true,
    })
}

#[test]
fn no_node_that_is_proved_to_have_lost_something_is_kept_or_chosen_at_random() {
    let list = json!({
        "homes": [home(1, true, true), home(2, true, false), home(3, false, false)],
        "copies": 2,
        "acks": 2,
        "next": [],
        "previous": [],
        "proven_faulty": [node(4).to_string()],
        "published": true,
        "cost": {
            "conversations": 0, "entries": 0, "bytes": 0, "bytes_stored": 0, "copies_min": 0,
            "copies_max": 0, "unacknowledged": 0,
        },
    });
    let before = Before::of(serde_json::from_value(list).unwrap()).unwrap();
    let kept = [1, 2, 3, 4, 5].map(|number| before.is_kept(&node(number)));
    assert_eq!(kept, [false, true, false, false, false]);
    let chosen = [1, 2, 3, 4, 5].map(|number| before.may_become_home(&node(number)));
    assert_eq!(chosen, [false, true, true, false, true]);
}
