//! Tests of accounts, and the sample accounts that other tests use.

mod phrase;
mod refusal;
mod vectors;
mod winner;

use proto::{NodeAddress, NodeId};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::SigningKey;

pub(crate) fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// A phrase of its own for each number.
pub(crate) fn phrase(seed: u8) -> Phrase {
    Phrase::generate(&mut rng(seed))
}

pub(crate) fn device(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

pub(crate) fn home(seed: u8) -> NodeAddress {
    NodeAddress { node: NodeId([seed; 32]), addresses: vec!["192.0.2.1:4440".parse().unwrap()] }
}

/// A draft with one device and one home.
pub(crate) fn draft(version: u64, key: &SigningKey) -> UnsignedRecord {
    UnsignedRecord {
        version,
        devices: vec![Device { key: key.public(), added_s: 1_750_000_000 }],
        homes: vec![home(1)],
        copies: 2,
        inbox_key: InboxKey::from_seed([7; 32]).public(),
    }
}

#[test]
fn a_bundle_says_what_was_signed() {
    let phrase = phrase(1);
    let authority = Authority::create(&phrase, &mut rng(2));
    let bundle = authority.sign_record(draft(5, &device(3))).unwrap();

    assert_eq!(bundle.account(), phrase.account());
    assert_eq!(bundle.rank(), (0, 1, 5));
    assert_eq!(bundle.chain.authority, authority.chain.authority);
    assert!(bundle.has_device(&device(3).public()));
    assert!(!bundle.has_device(&device(4).public()));
    assert_eq!(bundle.next_record(), draft(6, &device(3)));
    assert_eq!(Bundle::verify(bundle.as_bytes()), Ok(bundle.clone()));
    assert!(bundle.as_bytes().len() < 1700, "{}", bundle.as_bytes().len());
}

#[test]
fn the_phrase_alone_brings_the_account_back() {
    let phrase = phrase(1);
    let account = Authority::create(&phrase, &mut rng(2)).account();
    let written_down = phrase.words();

    let recovered = Phrase::parse(&written_down).unwrap();
    assert_eq!(recovered.account(), account);
    assert_eq!(Authority::delegate(&recovered, None, &mut rng(3)).unwrap().account(), account);
}

#[test]
fn a_rotated_account_keeps_its_id_and_obeys_the_next_phrase_only() {
    let (first, second) = (phrase(1), phrase(2));
    let old = Authority::create(&first, &mut rng(3)).sign_record(draft(9, &device(3))).unwrap();

    let authority = rotate(&first, &second, &old, &mut rng(4)).unwrap();
    let rotated = authority.sign_record(draft(1, &device(3))).unwrap();
    assert_eq!(rotated.account(), old.account());
    assert_eq!(rotated.rank(), (1, 2, 1));
    assert_eq!(rotated.compare(&old), Precedence::Newer);

    let again = Authority::delegate(&first, Some(&rotated), &mut rng(5));
    assert_eq!(again.err(), Some(DelegateError::Phrase));
    let again = Authority::delegate(&second, Some(&rotated), &mut rng(5)).unwrap();
    assert_eq!(again.chain.serial, 3);

    // A finder of the first phrase can still sign by the chain that it knows, and loses.
    let thief = Authority::delegate(&first, Some(&old), &mut rng(6)).unwrap();
    let stolen = thief.sign_record(draft(u64::MAX, &device(6))).unwrap();
    assert_eq!(stolen.compare(&rotated), Precedence::Older);
}

#[test]
fn the_eighth_rotation_is_the_last() {
    let mut bundle =
        Authority::create(&phrase(0), &mut rng(1)).sign_record(draft(1, &device(1))).unwrap();
    for i in 0..8 {
        let authority = rotate(&phrase(i), &phrase(i + 1), &bundle, &mut rng(i)).unwrap();
        bundle = authority.sign_record(draft(1, &device(1))).unwrap();
    }
    assert_eq!(bundle.rank(), (8, 9, 1));
    let ninth = rotate(&phrase(8), &phrase(9), &bundle, &mut rng(9));
    assert_eq!(ninth.err(), Some(DelegateError::Exhausted));
}

#[test]
fn an_authority_survives_being_kept() {
    let authority = Authority::create(&phrase(1), &mut rng(2));
    let kept = authority.encode();
    let restored = Authority::decode(&kept).unwrap();
    let bundle = restored.sign_record(draft(1, &device(3))).unwrap();
    assert_eq!(bundle, authority.sign_record(draft(1, &device(3))).unwrap());

    for i in 0..kept.len() {
        assert!(Authority::decode(&kept[..i]).is_err(), "cut at {i}");
        let mut broken = kept.to_vec();
        broken[i] ^= 4;
        assert!(Authority::decode(&broken).is_err(), "byte {i}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let phrase = phrase(1);
    assert_eq!(format!("{phrase:?}"), "Phrase(..)");
    let authority = Authority::create(&phrase, &mut rng(2));
    let account = phrase.account();
    assert_eq!(format!("{authority:?}"), format!("Authority({account:?}, serial 1, ..)"));
    let bundle = authority.sign_record(draft(1, &device(1))).unwrap();
    assert_eq!(format!("{bundle:?}"), format!("Bundle({account:?}, (0, 1, 1))"));
}
