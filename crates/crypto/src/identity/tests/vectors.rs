//! Known answers: `spec/vectors/identity.txt`.

use super::*;
use crate::{
    derive_key,
    vectors::{hex, read, unhex},
};

#[test]
fn identities_agree_with_the_vectors() {
    let vectors = read(include_str!("../../../../../spec/vectors/identity.txt"));
    let phrase = Phrase::parse(vectors["phrase"]).unwrap();
    let next = Phrase::parse(vectors["next_phrase"]).unwrap();
    let genesis = phrase.genesis();
    let authority = Authority::create(&phrase, &mut rng(1));
    let bundle = authority.sign_record(sample()).unwrap();
    let rotated = rotate(&phrase, &next, &bundle, &mut rng(2)).unwrap();
    let rotated_bundle = rotated.sign_record(bundle.next_record()).unwrap();

    for (name, value) in [
        ("recovery_seed", hex(phrase.recovery_key().to_seed())),
        ("recovery_key", hex(phrase.recovery_key().public())),
        ("genesis", hex(genesis.encode())),
        ("account", hex(genesis.account())),
        ("account_text", genesis.account().to_string()),
        ("authority_seed", hex(&authority.encode()[1..33])),
        ("authority_key", hex(authority.chain.authority)),
        ("bundle", hex(bundle.as_bytes())),
        ("bundle_hash", hex(bundle.hash())),
        ("next_authority_seed", hex(&rotated.encode()[1..33])),
        ("rotated_bundle", hex(rotated_bundle.as_bytes())),
        ("rotated_bundle_hash", hex(rotated_bundle.hash())),
    ] {
        assert_eq!(Some(value.as_str()), vectors.get(name).copied(), "{name}");
    }
    let (bundle, rotated) = (unhex(vectors["bundle"]), unhex(vectors["rotated_bundle"]));
    let (bundle, rotated) = (Bundle::verify(&bundle).unwrap(), Bundle::verify(&rotated).unwrap());
    assert_eq!((bundle.rank(), rotated.rank()), ((0, 1, 1), (1, 2, 2)));
    assert_eq!(rotated.compare(&bundle), Precedence::Newer);
}

#[test]
fn derived_keys_agree_with_the_vectors() {
    let vectors = read(include_str!("../../../../../spec/vectors/identity.txt"));
    let secret = unhex(vectors["derive_secret"]).try_into().unwrap();
    let context = unhex(vectors["derive_context"]);
    let derived = derive_key(&secret, vectors["derive_label"], &context);
    assert_eq!(hex(derived), vectors["derive_key"]);
}

/// The inbox key is that of `inbox.txt`.
fn sample() -> UnsignedRecord {
    let second = Device { key: device(0xd2).public(), added_s: 1_760_000_000 };
    let mut draft = draft(1, &device(0xd1));
    draft.devices.push(second);
    draft.homes.push(NodeAddress {
        node: NodeId([2; 32]),
        addresses: vec![
            "198.51.100.7:4440".parse().unwrap(),
            "[2001:db8::7]:4440".parse().unwrap(),
        ],
    });
    draft
}
