//! Tests of the table.

use std::net::SocketAddr;

use crypto::SigningKey;

use super::*;
use crate::{UnsignedNodeRecord, record::NodeRecord};

const START: Instant = Instant::from_secs(1_800_000_000);

/// A node with an address, whose place is wherever its key puts it.
fn node(number: u32, address: &str) -> NodeRecord {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    let addresses: Vec<SocketAddr> = vec![address.parse().unwrap()];
    let says = UnsignedNodeRecord { serial: 1, addresses, ..UnsignedNodeRecord::default() };
    NodeRecord::sign(&SigningKey::from_seed(seed), &says, 0).unwrap()
}

/// Nodes of networks of their own that are all in the bucket of those that share no bit.
fn far_nodes(table: &Table, count: usize) -> Vec<NodeRecord> {
    let nodes = (0..).map(|n: u32| node(n, &format!("11.{}.{}.1:4440", n / 250, n % 250)));
    let far = nodes.filter(|node| table.own_key.shared_bits(&node.dht_key()) == 0);
    far.take(count).collect()
}

fn table() -> Table {
    Table::new(Key([0x55; 32]), true)
}

#[test]
fn who_has_been_there_for_long_stays() {
    let mut table = table();
    let nodes = far_nodes(&table, 30);
    for node in &nodes {
        table.heard(node, true, START);
    }
    assert_eq!(table.len(), limits::BUCKET_MAX);
    assert!(table.key_of(&nodes[0].node()).is_some());
    assert!(table.key_of(&nodes[29].node()).is_none());
    // One that goes is followed by the newest of those that wait.
    let later = START.after(Duration::from_secs(700));
    table.answered(&nodes[0].node(), later);
    assert_eq!(table.missed(&nodes[0].node()), Missed::Nothing);
    assert_eq!(table.missed(&nodes[0].node()), Missed::Gone(Duration::from_secs(700)));
    assert_eq!(table.len(), limits::BUCKET_MAX);
    assert!(table.key_of(&nodes[29].node()).is_some());
}

#[test]
fn one_network_takes_few_places() {
    let mut table = table();
    for number in 0..100 {
        table.heard(&node(number, &format!("11.0.0.{number}:4440")), true, START);
    }
    assert!(table.len() <= PER_NETWORK_MAX, "{}", table.len());
    for bucket in table.buckets.values() {
        assert!(bucket.entries.len() <= PER_NETWORK_AND_BUCKET_MAX);
    }
    let mut open = Table::new(Key([0x55; 32]), false);
    for number in 0..100 {
        open.heard(&node(number, &format!("11.0.0.{number}:4440")), true, START);
    }
    assert!(open.len() > 2 * PER_NETWORK_MAX, "{}", open.len());
}

#[test]
fn a_public_node_takes_no_contact_that_is_reached_in_one_network_only() {
    let mut table = table();
    table.heard(&node(1, "10.0.0.1:4440"), true, START);
    assert_eq!(table.len(), 1);
    table.set_public(true);
    table.heard(&node(2, "10.0.0.2:4440"), true, START);
    table.heard(&node(3, "192.0.2.7:4440"), true, START);
    assert_eq!(table.len(), 2);
    assert!(table.key_of(&node(2, "10.0.0.2:4440").node()).is_none());
}

#[test]
fn the_nearest_come_first_and_those_in_doubt_last() {
    let mut table = table();
    let nodes = far_nodes(&table, 10);
    nodes.iter().for_each(|node| table.heard(node, true, START));
    let target = nodes[4].dht_key();
    assert_eq!(table.nearest(&target, 3, None, 2)[0].node, nodes[4].node());
    assert!(table.nearest(&target, 10, Some(&nodes[4].node()), 2).len() == 9);
    table.missed(&nodes[4].node());
    assert_eq!(table.nearest(&target, 10, None, 2)[9].node, nodes[4].node());
    table.answered(&nodes[4].node(), START);
    assert_eq!(table.nearest(&target, 3, None, 2)[0].node, nodes[4].node());
}

#[test]
fn who_leaves_is_gone() {
    let mut table = table();
    let key = SigningKey::from_seed([3; 32]);
    let addresses: Vec<SocketAddr> = vec!["192.0.2.7:4440".parse().unwrap()];
    let mut says = UnsignedNodeRecord { serial: 1, addresses, ..UnsignedNodeRecord::default() };
    table.heard(&NodeRecord::sign(&key, &says, 0).unwrap(), true, START);
    assert_eq!(table.len(), 1);
    says = UnsignedNodeRecord { serial: 2, leaving: true, ..says };
    table.heard(&NodeRecord::sign(&key, &says, 0).unwrap(), true, START);
    assert_eq!(table.len(), 0);
}

#[test]
fn who_has_not_proved_to_be_there_does_not_enter_and_who_moves_goes() {
    let mut table = table();
    let here = node(1, "11.0.0.1:4440");
    table.heard(&here, false, START);
    assert_eq!(table.len(), 0);
    table.heard(&here, true, START);
    table.heard(&here, false, START);
    assert!(table.key_of(&here.node()).is_some(), "it was there, and says nothing new");
    let elsewhere = node(1, "12.0.0.1:4440");
    table.heard(&elsewhere, false, START);
    assert_eq!(table.len(), 0, "anybody can say so");
    table.heard(&elsewhere, true, START);
    assert_eq!(table.nearest(&here.dht_key(), 1, None, 2)[0].addresses, elsewhere.says().addresses);
}

#[test]
fn one_whom_others_call_dead_comes_last_and_is_asked_next() {
    let mut table = table();
    let nodes = far_nodes(&table, 5);
    nodes.iter().for_each(|node| table.heard(node, true, START));
    let called_dead = nodes[2].node();
    table.doubt(&called_dead);
    let nearest = table.nearest(&nodes[2].dht_key(), 5, None, 2);
    assert_eq!(nearest.last().map(|contact| contact.node), Some(called_dead));
    assert_eq!(table.most_silent(START).map(|contact| contact.node), Some(called_dead));
    table.answered(&called_dead, START);
    assert_eq!(table.nearest(&nodes[2].dht_key(), 1, None, 2)[0].node, called_dead, "it was a lie");
    table.doubt(&called_dead);
    table.missed(&called_dead);
    assert_eq!(table.len(), 4);
}
