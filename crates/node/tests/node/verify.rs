//! What an operator is told of damaged rows.

use node::{Fault, NodeConfig, Verified, Wrong, verify};
use proto::{Expiry, Rows, Seed, Table, WriteBatch};
use store::Store;

use crate::world::{Account, NODE, World, append, envelope, expiring, key_change};

const LOGS: Table = Table(2);
const STATES: Table = Table(3);
const ENTRIES: Table = Table(4);
const POSITIONS: Table = Table(5);
const REFERENCES: Table = Table(6);
const KEYS: Table = Table(8);
const BUNDLES: Table = Table(10);
const FINGERPRINTS: Table = Table(26);

/// An account with a request in its inbox, and a conversation whose keys have changed.
fn world() -> World {
    let mut world = World::new(NodeConfig::new(NODE));
    let owner = world.connect(1);
    let account = Account::new(1);
    world.register(&owner, &account);
    world.ask(&owner, append(1, &envelope(&account.device, account.inbox(), 1, b"request")));
    let talk = world.create(&owner, 2, 9);
    for position in 1..=300 {
        world.ask(&owner, append(2, &talk.envelope(position, b"something")));
    }
    let short = expiring(&talk.key, talk.log, b"short", Expiry::Day);
    world.ask(&owner, append(2, &short));
    let next = crypto::SigningKey::from_seed([77; 32]);
    world.ask(&owner, append(2, &key_change(&talk.key, talk.log, 301, &next)));
    world.pass(25 * 3600);
    world
}

fn seen(world: &World) -> Verified {
    verify(&world.store, Seed([1; 32]))
}

/// The last row of a table, with another value or none.
fn damage(world: &mut World, table: Table, bend: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
    let mut last = None;
    let backward = proto::Direction::Backward;
    world.store.scan(table, &[], &[0xFF; 80], backward, &mut |key, value| {
        last = Some((key.to_vec(), value.to_vec()));
        std::ops::ControlFlow::Break(())
    });
    let (key, value) = last.unwrap();
    let mut batch = WriteBatch::default();
    match bend(value) {
        Some(value) => batch.put(table, key, value),
        None => batch.delete(table, key),
    }
    world.store.apply(&batch).unwrap();
}

#[test]
fn what_a_node_has_written_is_right() {
    let seen = seen(&world());
    let Verified { logs, envelopes, bytes, bundles, faults, shown } = seen;
    assert_eq!((logs, envelopes, bundles), (2, 302, 1), "without what has expired");
    assert!(bytes > 302 * 100, "{bytes}");
    assert_eq!((faults, shown), (0, vec![]));
}

#[test]
fn each_kind_of_damage_is_told() {
    type Bend = fn(Vec<u8>) -> Option<Vec<u8>>;
    let flip: Bend = |mut bytes| {
        *bytes.last_mut().unwrap() ^= 1;
        Some(bytes)
    };
    let gone: Bend = |_| None;
    let short: Bend = |bytes| Some(bytes[..10].to_vec());
    let zero: Bend = |bytes| Some(vec![0; bytes.len()]);
    let other: Bend = |mut bytes| {
        bytes[17] ^= 1;
        Some(bytes)
    };
    // The flipped byte of an entry is its signature's last.
    let cases: [(Table, Bend, &[Wrong]); 13] = [
        (ENTRIES, flip, &[Wrong::BadSignature]),
        (ENTRIES, short, &[Wrong::Undecodable]),
        (ENTRIES, gone, &[Wrong::DeadEnd, Wrong::DeadEnd, Wrong::Fingerprint]),
        (FINGERPRINTS, flip, &[Wrong::Fingerprint]),
        (FINGERPRINTS, short, &[Wrong::Fingerprint]),
        (POSITIONS, gone, &[Wrong::Lost]),
        (REFERENCES, gone, &[Wrong::Lost]),
        (BUNDLES, short, &[Wrong::Bundle]),
        (STATES, gone, &[Wrong::Log]),
        (LOGS, short, &[Wrong::Log]),
        (STATES, zero, &[Wrong::Ahead]),
        (LOGS, gone, &[Wrong::Stray]),
        (LOGS, other, &[Wrong::Misplaced]),
    ];
    for (table, bend, expected) in cases {
        let mut world = world();
        damage(&mut world, table, bend);
        let seen = seen(&world);
        let told: Vec<Wrong> = seen.shown.iter().map(|fault| fault.what).collect();
        assert!(told.starts_with(expected), "{table:?}: {told:?}");
        assert_eq!(seen.shown.len() as u64, seen.faults.min(100), "{table:?}");
    }
}

#[test]
fn a_fault_names_its_place() {
    let mut world = world();
    damage(&mut world, ENTRIES, |_| Some(vec![1]));
    let fault: Fault = seen(&world).shown[0];
    let text = fault.to_string();
    assert!(text.ends_with(", entry 302: no envelope"), "{text}");
    assert!(text.starts_with("log "), "{text}");
}

#[test]
fn keys_that_are_no_longer_known_are_told() {
    let mut world = world();
    damage(&mut world, LOGS, |row| Some(row[..49].to_vec()));
    assert_eq!(seen(&world).faults, 0, "every key that there was is in a row of its own");
    damage(&mut world, KEYS, |_| None);
    damage(&mut world, KEYS, |_| None);
    assert!(seen(&world).shown.iter().any(|fault| fault.what == Wrong::UnknownKey));
}

#[test]
fn a_row_that_has_no_place_is_told() {
    let mut world = world();
    let mut batch = WriteBatch::default();
    batch.put(ENTRIES, [1, 2, 3], *b"what no node has written");
    world.store.apply(&batch).unwrap();
    assert_eq!(seen(&world).shown, [Fault { log: None, sequence: None, what: Wrong::Stray }]);
}
