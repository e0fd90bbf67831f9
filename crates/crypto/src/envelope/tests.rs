//! Envelope signatures, good, bad and odd ones: checked singly and in batches.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test may panic, and the group has no overflow"
)]

use curve25519_dalek::{
    EdwardsPoint, Scalar,
    constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION},
};
use proptest::prelude::*;
use proto::{Expiry, Extension, Kind, LogId, PublicKey};
use sha2::{Digest, Sha512};

use super::*;
use crate::{is_weak, vectors::unhex, verify};

#[test]
fn what_was_signed_verifies() {
    assert_eq!(verify_envelope(&sample()), Ok(()));
}

#[test]
fn any_change_is_noticed() {
    let bytes = sample().encode();
    for (i, bit) in (0..bytes.len()).flat_map(|i| [(i, 1), (i, 0x80)]) {
        let mut broken = bytes.clone();
        broken[i] ^= bit;
        let verdict = Envelope::decode(&broken).map(|envelope| verify_envelope(&envelope));
        assert!(!matches!(verdict, Ok(Ok(()))), "byte {i}, bit {bit:#x}");
    }
}

#[test]
fn another_key_can_not_take_the_envelope_over() {
    let mut envelope = sample();
    envelope.head.write_key = SigningKey::from_seed([9; 32]).public();
    assert_eq!(verify_envelope(&envelope), Err(BadSignature));
}

#[test]
fn agrees_with_rfc_8032() {
    // Section 7.1, tests 1 to 3: public key, message, signature.
    let vectors = [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            concat!(
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
                "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            concat!(
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            concat!(
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
                "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ),
    ];
    let items = vectors.map(|(key, message, signature)| {
        let signature = unhex(signature).try_into().unwrap();
        item_of(unhex(key).try_into().unwrap(), &unhex(message), &signature)
    });
    assert!(all_verify(&items, &mut rng(1)));
    for item in items {
        assert!(item.verify_single().is_ok());
    }
}

/// The conformance cases of ZIP 215: keys and nonces of small order in all their encodings, with s
/// = 0. Its rules take all of them, which is why no log takes such a key.
#[test]
fn agrees_with_zip_215_on_small_orders() {
    let odd = ["01", "ec", "ee", "ee", "ed", "ed"].map(|first| unhex(first)[0]);
    let last = [0x80, 0xFF, 0x7F, 0xFF, 0x7F, 0xFF];
    let non_canonical = odd.into_iter().zip(last).map(|(first, last)| {
        let mut bytes = [if first == 1 { 0 } else { 0xFF }; 32];
        (bytes[0], bytes[31]) = (first, last);
        bytes
    });
    let encodings: Vec<[u8; 32]> =
        EIGHT_TORSION.iter().map(|point| point.compress().0).chain(non_canonical).collect();
    assert_eq!(encodings.len(), 14);
    let mut envelopes = Vec::new();
    for (key, nonce) in encodings.iter().flat_map(|a| encodings.iter().map(move |r| (a, r))) {
        let mut envelope = sample();
        envelope.head.write_key = PublicKey(*key);
        envelope.signature[..32].copy_from_slice(nonce);
        envelope.signature[32..].fill(0);
        assert_eq!(verify_envelope(&envelope), Ok(()));
        assert!(is_weak(&envelope.head.write_key));
        envelopes.push(envelope);
    }
    let all: Vec<&Envelope> = envelopes.iter().collect();
    assert_eq!(verify_envelopes(&all, &mut rng(1)), vec![true; 196]);
}

#[test]
fn s_must_be_reduced() {
    // s + the order of the group satisfies the equation as well.
    let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut envelope = sample();
    let mut carry = 0;
    for (digit, added) in envelope.signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*digit) + u16::from(added) + carry;
        (*digit, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(verify_envelope(&envelope), Err(BadSignature));
    let all = [&sample(), &envelope, &sample()];
    assert_eq!(verify_envelopes(&all, &mut rng(1)), [true, false, true]);
}

#[test]
fn a_batch_advances_the_generator_evenly() {
    let (good, mut bad) = (sample(), sample());
    bad.signature[..32].fill(0xFF);
    let (mut one, mut other) = (rng(1), rng(1));
    // The first nonce is no point at all, which the library notices before it draws anything.
    assert_eq!(verify_envelopes(&[&good, &good], &mut one), [true, true]);
    assert_eq!(verify_envelopes(&[&bad, &good], &mut other), [false, true]);
    assert_eq!(one, other);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the batch, each envelope gets the verdict it would get alone.
    #[test]
    fn a_batch_agrees_with_single_checks(
        cases in prop::collection::vec(any_case(), 0..100),
        seed: [u8; 32],
    ) {
        let envelopes: Vec<Envelope> = cases.iter().map(made).collect();
        let all: Vec<&Envelope> = envelopes.iter().collect();
        let verdicts = verify_envelopes(&all, &mut ChaCha20Rng::from_seed(seed));
        let singly: Vec<bool> = all.iter().map(|envelope| verify_envelope(envelope).is_ok()).collect();
        prop_assert_eq!(&verdicts, &singly);
        let expected: Vec<bool> = cases.iter().map(|case| case.flaw != Flaw::Bent).collect();
        prop_assert_eq!(&verdicts, &expected);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    /// One bit of the signature differs.
    Bent,
    /// Key and nonce have a part of small order, so that strict and plain rules refuse the
    /// signature, and batches without the cofactor take it now and then.
    Twisted,
}

#[derive(Clone, Debug)]
struct Case {
    key: u8,
    text: u8,
    flaw: Flaw,
    at: usize,
}

/// Good ones mostly, often by the same key.
fn any_case() -> impl Strategy<Value = Case> {
    let flaw = prop_oneof![
        40 => Just(Flaw::None),
        4 => Just(Flaw::Twisted),
        1 => Just(Flaw::Bent),
    ];
    (0u8..5, any::<u8>(), flaw, 0usize..512).prop_map(|(key, text, flaw, at)| Case {
        key,
        text,
        flaw,
        at,
    })
}

fn made(case: &Case) -> Envelope {
    let key = SigningKey::from_seed([case.key; 32]);
    let head = Head { write_key: key.public(), ..sample().head };
    let mut envelope = sign_envelope(&key, head, vec![case.text]);
    match case.flaw {
        Flaw::None => {}
        Flaw::Bent => envelope.signature[case.at / 8] ^= 1 << (case.at % 8),
        Flaw::Twisted => twist(&mut envelope, case),
    }
    envelope
}

/// Signs with a key and a nonce that are off the prime-order group.
fn twist(envelope: &mut Envelope, case: &Case) {
    let torsion: EdwardsPoint = EIGHT_TORSION[1 + case.at % 7];
    let (a, r) = (Scalar::from(1000 + u64::from(case.key)), Scalar::from(2000 + case.at as u64));
    let key = (ED25519_BASEPOINT_POINT * a + EIGHT_TORSION[1]).compress();
    let nonce = (ED25519_BASEPOINT_POINT * r + torsion).compress();
    envelope.head.write_key = PublicKey(key.0);
    let message = [Envelope::SIGNATURE_CONTEXT, &envelope.signed_bytes()].concat();
    let hash = Sha512::digest([&nonce.0[..], &key.0, &message].concat());
    let s = r + Scalar::from_bytes_mod_order_wide(&hash.into()) * a;
    envelope.signature[..32].copy_from_slice(&nonce.0);
    envelope.signature[32..].copy_from_slice(s.as_bytes());
}

#[test]
fn twisted_signatures_are_what_strict_rules_refuse() {
    let mut refused = 0;
    for at in 0..32 {
        let envelope = made(&Case { key: 1, text: 1, flaw: Flaw::Twisted, at });
        let signed = envelope.signed_bytes();
        let (key, signature) = (&envelope.head.write_key, &envelope.signature);
        assert!(!is_weak(key));
        refused += u8::from(verify(key, Envelope::SIGNATURE_CONTEXT, &signed, signature).is_err());
    }
    assert!(refused > 16, "{refused} of 32");
}

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn sample() -> Envelope {
    let key = SigningKey::from_seed([1; 32]);
    let head = Head {
        kind: Kind::KeyChange,
        expiry: Expiry::Year,
        position: 7,
        log: LogId([2; 32]),
        write_key: key.public(),
        extension: Extension::next_key(PublicKey([3; 32])),
    };
    sign_envelope(&key, head, b"opaque".to_vec())
}
