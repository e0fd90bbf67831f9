//! Tests of what nodes say.

use super::*;

fn says(serial: u64) -> UnsignedNodeRecord {
    let key = key(1);
    UnsignedNodeRecord {
        nonce: NodeRecord::prove_work(&NodeId(key.public().0), BITS),
        serial,
        addresses: vec!["192.0.2.1:4440".parse().unwrap(), "[2001:db8::1]:4440".parse().unwrap()],
        capacity_bytes: 8 << 30,
        since_s: 1_800_000_000,
        region: "ch".to_owned(),
        operator: Some(PublicKey([7; 32])),
        version: "0.1.0".to_owned(),
        leaving: false,
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

#[test]
fn a_record_says_what_was_signed() {
    let record = NodeRecord::sign(&key(1), &says(5), BITS).unwrap();
    assert_eq!(record.says(), &says(5));
    assert_eq!(record.node().0, key(1).public().0);
    assert_eq!(NodeRecord::verify(record.as_bytes(), BITS), Ok(record.clone()));
    assert!(record.as_bytes().len() < 300, "{}", record.as_bytes().len());
}

#[test]
fn a_record_that_was_touched_does_not_verify() {
    let bytes = NodeRecord::sign(&key(1), &says(5), BITS).unwrap().as_bytes().to_vec();
    for byte in 0..bytes.len() {
        for bit in [1, 0x80] {
            let mut touched = bytes.clone();
            touched[byte] ^= bit;
            assert!(NodeRecord::verify(&touched, 0).is_err(), "byte {byte}");
        }
    }
    let padded = [bytes.as_slice(), &[0x78, 0]].concat();
    assert_eq!(NodeRecord::verify(&padded, 0), Err(RecordError::Malformed));
}

#[test]
fn a_key_in_the_dht_must_be_paid_for_and_limits_hold() {
    let unpaid = UnsignedNodeRecord { nonce: says(5).nonce.wrapping_sub(1), ..says(5) };
    assert_eq!(NodeRecord::sign(&key(1), &unpaid, BITS), None);
    let wordy = UnsignedNodeRecord { region: "x".repeat(limits::REGION_MAX + 1), ..says(5) };
    assert_eq!(NodeRecord::sign(&key(1), &wordy, BITS), None);
    let address = "192.0.2.1:4440".parse().unwrap();
    let everywhere =
        UnsignedNodeRecord { addresses: vec![address; limits::NODE_ADDRESSES_MAX + 1], ..says(5) };
    assert_eq!(NodeRecord::sign(&key(1), &everywhere, BITS), None);
}

#[test]
fn the_higher_serial_wins_and_equals_are_settled_the_same_way_everywhere() {
    let record = |says: UnsignedNodeRecord| NodeRecord::sign(&key(1), &says, BITS).unwrap();
    let (old, new) = (record(says(5)), record(says(6)));
    let other = record(UnsignedNodeRecord { region: "de".to_owned(), ..says(5) });
    assert!(new.replaces(&old) && !old.replaces(&new));
    assert!(old.replaces(&other) != other.replaces(&old));
    assert!(!old.replaces(&old));
}

#[test]
fn a_suspicion_is_the_observers() {
    let nonce = NodeRecord::prove_work(&NodeId(key(2).public().0), BITS);
    let observer = NodeId(key(2).public().0);
    let addresses: Vec<SocketAddr> =
        ["192.0.2.1:4440", "[2001:db8::1]:9"].map(|text| text.parse().unwrap()).to_vec();
    let contact = Contact { node: observer, nonce, addresses: addresses.clone() };
    let bytes = Suspicion::sign(&key(2), &contact, NodeId([9; 32]), 5, 7);
    let expected = Suspicion { node: NodeId([9; 32]), serial: 5, observer, addresses, at_s: 7 };
    assert_eq!(Suspicion::verify(&bytes, BITS), Ok(expected));
    for byte in 0..bytes.len() {
        let mut touched = bytes.clone();
        touched[byte] ^= 1;
        assert!(Suspicion::verify(&touched, 0).is_err(), "byte {byte}");
    }
    let addresses = vec![contact.addresses[1]; limits::NODE_ADDRESSES_MAX];
    let most = Contact { addresses, nonce, node: observer };
    let bytes = Suspicion::sign(&key(2), &most, NodeId([9; 32]), u64::MAX, u64::MAX);
    assert!(Suspicion::verify(&bytes, BITS).is_ok(), "{} bytes", bytes.len());
    let addresses = vec![contact.addresses[1]; limits::NODE_ADDRESSES_MAX + 1];
    let bytes = Suspicion::sign(&key(2), &Contact { addresses, ..most }, observer, 1, 1);
    assert_eq!(Suspicion::verify(&bytes, BITS), Err(RecordError::Malformed));
}

const BITS: u32 = 8;
