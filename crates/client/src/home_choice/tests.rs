//! Tests of the choice of homes.

use std::collections::BTreeMap;

use crypto::{SigningKey, node::UnsignedNodeRecord};

use super::*;

const NOW_S: u64 = 1_800_000_000;
const NEAR: Duration = Duration::from_millis(10);

fn node(number: u8, address: &str, change: impl Fn(&mut UnsignedNodeRecord)) -> NodeRecord {
    let mut says = UnsignedNodeRecord {
        serial: NOW_S,
        addresses: vec![address.parse().unwrap()],
        capacity_bytes: 8 << 30,
        since_s: NOW_S - 7 * 24 * 3600,
        ..UnsignedNodeRecord::default()
    };
    change(&mut says);
    NodeRecord::sign(&SigningKey::from_seed([number; 32]), &says, 0).unwrap()
}

/// Nodes in networks of their own.
fn apart(count: u8) -> Vec<(NodeRecord, Duration)> {
    (1..=count).map(|n| (node(n, &format!("11.0.{n}.1:4440"), |_| {}), NEAR)).collect()
}

#[test]
fn homes_are_in_different_networks_and_of_different_operators() {
    let operator = |says: &mut UnsignedNodeRecord| says.operator = Some(PublicKey([5; 32]));
    let mut sample = vec![
        (node(1, "11.0.1.1:4440", |_| {}), NEAR),
        (node(2, "11.0.1.2:4440", |_| {}), NEAR),
        (node(3, "11.0.2.1:4440", operator), NEAR),
        (node(4, "11.0.3.1:4440", operator), NEAR),
    ];
    for secret in 0..50 {
        let homes = choose_homes(&sample, &[], 3, &[secret; 32]);
        assert_eq!(homes.len(), 2, "one of each pair");
    }
    sample.push((node(6, "127.0.0.1:1", |_| {}), NEAR));
    sample.push((node(7, "127.0.0.1:2", |_| {}), NEAR));
    assert_eq!(choose_homes(&sample, &[], 8, &[0; 32]).len(), 4, "one machine, two nodes");
}

#[test]
fn what_is_pinned_stays_in_front() {
    let sample = apart(10);
    let pinned =
        NodeAddress { node: sample[6].0.node(), addresses: vec!["11.0.7.1:4440".parse().unwrap()] };
    let homes = choose_homes(&sample, std::slice::from_ref(&pinned), 3, &[1; 32]);
    assert_eq!(homes[0], pinned);
    assert_eq!(homes.len(), 3);
    assert!(homes[1..].iter().all(|home| home.node != pinned.node));
}

#[test]
fn the_choice_is_another_with_each_secret_and_follows_the_weights() {
    let mut sample = apart(10);
    // The last one is far away and small: 1 lot against 12.
    let small = node(10, "11.0.10.1:4440", |says| says.capacity_bytes = 0);
    sample[9] = (small, Duration::from_secs(1));
    let mut first: BTreeMap<NodeId, u32> = BTreeMap::new();
    for draw in 0..2_000_u32 {
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(&draw.to_be_bytes());
        let homes = choose_homes(&sample, &[], 1, &secret);
        *first.entry(homes[0].node).or_default() += 1;
    }
    let last = first.get(&sample[9].0.node()).copied().unwrap_or(0);
    assert!(last < 50, "{last} of 2,000 where 18 are expected");
    for (record, _) in &sample[..9] {
        let won = first[&record.node()];
        assert!((150..300).contains(&won), "{won} of 2,000 where 220 are expected");
    }
}

#[test]
fn who_leaves_or_cant_be_dialled_is_no_home() {
    let sample = vec![
        (node(1, "11.0.1.1:4440", |says| says.leaving = true), NEAR),
        (node(2, "11.0.2.1:4440", |says| says.addresses.clear()), NEAR),
    ];
    assert!(choose_homes(&sample, &[], 3, &[0; 32]).is_empty());
}
