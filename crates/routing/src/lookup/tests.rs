//! Tests of lookups.

use std::net::SocketAddr;

use crypto::SigningKey;

use super::*;
use crate::{NodeRecord, UnsignedNodeRecord, record::Verified};

const NOW: Instant = Instant::from_secs(1_800_000_000);
const TARGET: Key = Key([0x33; 32]);
const RULES: LookupRules = LookupRules { paths: 3, parallel: 3, by_network: true, work_bits: 0 };

fn contact(number: u32) -> Contact {
    let mut node = [1; 32];
    node[..4].copy_from_slice(&number.to_be_bytes());
    let address: SocketAddr =
        format!("11.{}.{}.1:4440", number / 250, number % 250).parse().unwrap();
    Contact { node: NodeId(node), nonce: 0, addresses: vec![address] }
}

/// Contacts in the order of their distance from the target.
fn sorted(count: u32) -> Vec<Contact> {
    let mut contacts: Vec<Contact> = (0..count).map(contact).collect();
    contacts.sort_by_key(|c| Distance::between(&NodeRecord::key_of(c, 0).unwrap(), &TARGET));
    contacts
}

/// A record of some node, said so often.
fn record(serial: u64) -> Answer {
    let key = SigningKey::from_seed([5; 32]);
    let says = UnsignedNodeRecord { serial, ..UnsignedNodeRecord::default() };
    let record = NodeRecord::sign(&key, &says, 0).unwrap();
    Answer::Record(Box::new(Verified::Node(Box::new(record))))
}

fn asks(lookup: &mut Lookup) -> Vec<Contact> {
    std::iter::from_fn(|| lookup.next(NOW)).collect()
}

#[test]
fn three_paths_ask_the_nearest_and_share_no_node() {
    let contacts = sorted(60);
    let mut lookup = Lookup::new(TARGET, false, RULES, contacts[..20].to_vec());
    let first = asks(&mut lookup);
    assert_eq!(first, contacts[..3]);
    // What one path is told of, the others leave to it.
    lookup.answered(&first[0].node, Answer::Nothing, contacts[..20].to_vec(), NOW);
    assert_eq!(asks(&mut lookup), contacts[3..4], "the next of the first path");
    while let [next, ..] = asks(&mut lookup).as_slice() {
        lookup.answered(&next.node, Answer::Nothing, Vec::new(), NOW);
    }
    let mut asked: Vec<NodeId> = lookup.hops().iter().map(|hop| hop.node).collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), lookup.hops().len(), "no node was asked twice");
}

#[test]
fn a_record_is_believed_when_three_have_it_on_more_than_one_path() {
    let contacts = sorted(20);
    let mut lookup = Lookup::new(TARGET, true, RULES, contacts);
    let first = asks(&mut lookup);
    assert!(lookup.answered(&first[0].node, record(1), Vec::new(), NOW), "the first");
    for _ in 0..2 {
        let next = asks(&mut lookup);
        assert_eq!(next.len(), 1, "the first path goes on");
        assert!(!lookup.answered(&next[0].node, record(1), Vec::new(), NOW));
    }
    assert!(!lookup.is_done(), "three of one path may be in one hand");
    assert!(!lookup.answered(&first[1].node, record(1), Vec::new(), NOW));
    assert!(lookup.is_done());
}

#[test]
fn the_newer_record_wins_and_who_had_the_older_one_is_told() {
    let mut lookup = Lookup::new(TARGET, true, RULES, sorted(20));
    let first = asks(&mut lookup);
    lookup.answered(&first[0].node, record(1), Vec::new(), NOW);
    assert!(lookup.answered(&first[1].node, record(2), Vec::new(), NOW), "a better one");
    lookup.answered(&first[2].node, record(1), Vec::new(), NOW);
    let losers: Vec<NodeId> = lookup.losers().iter().map(|c| c.node).collect();
    assert_eq!(losers, [first[0].node, first[2].node]);
    let outcomes: Vec<HopOutcome> = lookup.hops().iter().map(|hop| hop.outcome).collect();
    assert_eq!(outcomes, [HopOutcome::Record, HopOutcome::Record, HopOutcome::Stale]);
}

#[test]
fn who_is_late_is_not_waited_for() {
    let contacts = sorted(20);
    let mut lookup = Lookup::new(TARGET, false, RULES, contacts.clone());
    assert_eq!(asks(&mut lookup).len(), 3);
    lookup.late(&contacts[0].node);
    assert_eq!(asks(&mut lookup), contacts[3..4], "the path goes on");
    lookup.answered(&contacts[0].node, Answer::Nothing, Vec::new(), NOW);
    assert_eq!(lookup.nearest(1), contacts[..1], "and takes a late answer");
    lookup.failed(&contacts[1].node, NOW);
    assert!(!lookup.nearest(20).contains(&contacts[1]));
}

#[test]
fn results_prefer_those_of_whom_more_than_one_path_knows() {
    let contacts = sorted(40);
    let mut lookup = Lookup::new(TARGET, false, RULES, contacts[20..26].to_vec());
    let first = asks(&mut lookup);
    // One path learns of near nodes that no other node knows; two learn of others.
    lookup.answered(&first[0].node, Answer::Nothing, contacts[..5].to_vec(), NOW);
    lookup.answered(&first[1].node, Answer::Nothing, contacts[5..10].to_vec(), NOW);
    lookup.answered(&first[2].node, Answer::Nothing, contacts[5..10].to_vec(), NOW);
    assert_eq!(lookup.nearest(5), contacts[5..10]);
}

#[test]
fn results_take_one_of_a_network() {
    let crowd = (0..30).map(|n| {
        let address: SocketAddr = format!("11.0.0.{n}:4440").parse().unwrap();
        Contact { addresses: vec![address], ..contact(n) }
    });
    let mut lookup = Lookup::new(TARGET, false, RULES, crowd.take(20).collect());
    assert_eq!(lookup.nearest(20).len(), 1);
    lookup.rules.by_network = false;
    assert_eq!(lookup.nearest(20).len(), 20);
}

#[test]
fn contacts_that_were_not_paid_for_are_not_asked() {
    let rules = LookupRules { work_bits: 8, ..RULES };
    let paid: Vec<Contact> = (0..20)
        .map(|number| {
            let contact = contact(number);
            Contact { nonce: NodeRecord::prove_work(&contact.node, 8), ..contact }
        })
        .collect();
    let unpaid = paid.iter().map(|c| Contact { nonce: c.nonce.wrapping_add(1 << 40), ..c.clone() });
    let mut lookup = Lookup::new(TARGET, false, rules, unpaid.collect());
    assert!(asks(&mut lookup).len() < 2, "one in 256 is paid for by chance");
    assert_eq!(asks(&mut Lookup::new(TARGET, false, rules, paid)).len(), 3);
}
