//! How facts get about.

use std::time::Duration;

use proto::AccountId;

use super::world::{START, Said, World, address};

#[test]
fn a_fact_reaches_everybody_and_costs_one_message_a_node() {
    let mut world = World::joined(1, 300);
    assert_eq!(world.component(), 300);
    // The tree settles with the first facts from everywhere.
    for node in 0..10 {
        let (heard, all) = world.coverage(node * 29, Duration::from_secs(5));
        assert_eq!(heard, all);
    }
    world.said = Said::default();
    for node in 0..20 {
        let (heard, all) = world.coverage(node * 13 + 1, Duration::from_secs(5));
        assert_eq!(heard, all);
    }
    let said = world.said;
    let per_fact_and_node = |words: usize| words as f64 / (20.0 * 299.0);
    assert!(per_fact_and_node(said.facts) < 1.15, "{said:?}");
    assert!(per_fact_and_node(said.names) < 4.0, "{said:?}");
}

#[test]
fn a_quiet_network_shuffles_and_says_nothing_else() {
    let mut world = World::joined(2, 100);
    world.run(Duration::from_secs(300));
    world.said = Said::default();
    world.run(Duration::from_secs(600));
    let said = world.said;
    assert_eq!((said.facts, said.names, said.grafts, said.prunes), (0, 0, 0, 0), "{said:?}");
    // Ten minutes of shuffles that walk six hops, and of nodes with room for one more that ask
    // once.
    assert!(said.shuffles < 100 * 10 * 8, "{said:?}");
    assert!(said.others < 100 * 10, "{said:?}");
}

#[test]
fn everybody_is_known_to_have_joined_and_to_have_left() {
    let mut world = World::joined(3, 60);
    let new = world.add(vec![address(200)]);
    world.join(new, 7);
    world.run(Duration::from_secs(5));
    let id = world.id(new);
    assert!((0..60).all(|node| world.nodes[node].heard.contains_key(&id)));
    world.leave(new);
    world.run(Duration::from_secs(60));
    for node in 0..60 {
        assert!(world.nodes[node].left.contains(&id), "{node}");
        assert!(!world.nodes[node].dead.contains(&id), "a node that says goodbye is not suspected");
        assert!(world.nodes[node].gossip.contacts().all(|contact| contact.node != id), "{node}");
    }
}

#[test]
fn what_is_no_news_is_not_spread() {
    let mut world = World::joined(4, 20);
    world.said = Said::default();
    world.change(3, |says| says.region = "us".to_owned());
    world.change(3, |says| says.capacity_bytes -= says.capacity_bytes / 4);
    world.run(Duration::from_secs(5));
    assert_eq!(world.said.facts, 0);
    world.change(3, |says| says.capacity_bytes /= 2);
    world.run(Duration::from_secs(5));
    assert!(world.said.facts >= 19);
}

#[test]
fn a_node_that_cannot_be_dialled_takes_part_and_is_no_contact() {
    let mut world = World::joined(5, 40);
    let hidden = world.add(Vec::new());
    world.join(hidden, 11);
    world.run(Duration::from_secs(200));
    let id = world.id(hidden);
    assert!(!world.neighbours(hidden).is_empty());
    let (heard, all) = world.coverage(17, Duration::from_secs(5));
    assert_eq!(heard, all);
    let (heard, all) = world.coverage(hidden, Duration::from_secs(5));
    assert_eq!(heard, all);
    for node in 0..40 {
        let gossip = &world.nodes[node].gossip;
        let is_contact = gossip.contacts().any(|contact| contact.node == id);
        assert!(!is_contact || gossip.is_neighbour(&id), "{node}");
    }
    // Its shuffles have made it more neighbours than the one it has joined through.
    assert!(world.neighbours(hidden).len() > 1);
}

#[test]
fn a_question_reaches_everybody_once_and_not_too_often() {
    let mut world = World::joined(6, 50);
    let account = AccountId([7; 32]);
    let now = world.now;
    assert!(world.nodes[9].gossip.query(account, now));
    assert!(!world.nodes[9].gossip.query(account, now), "too soon");
    world.change(9, |_| {});
    let now = world.now;
    world.nodes[20].gossip.answered(account);
    world.run(Duration::from_secs(5));
    for node in (0..50).filter(|node| *node != 9) {
        let asked = &world.nodes[node].asked;
        assert_eq!(asked.len(), 1, "{node}");
        assert_eq!((asked[0].account, asked[0].origin.node), (account, world.id(9)));
    }
    assert!(world.now > now && now > START);
    let again = world.now.after(Duration::from_secs(10));
    assert!(world.nodes[9].gossip.query(account, again));
}

#[test]
fn a_thousand_nodes_join_through_one() {
    let mut world = World::joined(7, 1000);
    assert_eq!(world.component(), 1000);
    for node in [1, 500, 999] {
        let (heard, all) = world.coverage(node, Duration::from_secs(6));
        assert_eq!(heard, all);
    }
    let most = world.nodes.iter().map(|node| node.gossip.state_bytes()).max().unwrap();
    assert!(most < 24 * 1024, "{most}");
}
