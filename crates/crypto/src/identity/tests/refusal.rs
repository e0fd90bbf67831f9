//! Bundles that are refused.

use prost::Message;
use proto::{AccountId, PublicKey, limits, wire};

use super::*;
use crate::identity::{delegation, genesis::Genesis, record, rotation};

#[test]
fn any_changed_byte_is_noticed() {
    let bundle = rotated();
    for i in 0..bundle.as_bytes().len() {
        for flip in [0x01, 0x10, 0x80, 0xff] {
            let mut broken = bundle.as_bytes().to_vec();
            broken[i] ^= flip;
            assert!(Bundle::verify(&broken).is_err(), "byte {i} ^ {flip:#x}");
        }
    }
}

#[test]
fn any_lost_or_added_byte_is_noticed() {
    let bundle = rotated();
    let bytes = bundle.as_bytes();
    for i in 0..bytes.len() {
        assert!(Bundle::verify(&bytes[..i]).is_err(), "cut at {i}");
        assert!(Bundle::verify(&bytes[i..]).is_ok() == (i == 0), "begun at {i}");
        let mut longer = bytes.to_vec();
        longer.insert(i, 0);
        assert!(Bundle::verify(&longer).is_err(), "a zero at {i}");
    }
    let oversized = vec![0; limits::BUNDLE_MAX + 1];
    assert_eq!(Bundle::verify(&oversized), Err(BundleError::TooLarge));
}

#[test]
fn a_bundle_has_one_encoding() {
    // Otherwise anyone could turn an honest bundle into the proof of a fork.
    let bundle = rotated();
    let bytes = bundle.as_bytes();
    let wire = wire::Bundle::decode(bytes).unwrap();
    let part = |tag: u32, signed: &wire::Signed| {
        let mut part = Vec::new();
        prost::encoding::message::encode(tag, signed, &mut part);
        part
    };
    let (delegation, record) = (wire.delegation.unwrap(), wire.record.unwrap());
    let padded_signed = {
        // The record's `Signed` with an unknown field 9.
        let mut signed = record.encode_to_vec();
        signed.extend([9 << 3, 1]);
        let mut part = vec![4 << 3 | 2];
        prost::encode_length_delimiter(signed.len(), &mut part).unwrap();
        part.extend(signed);
        part
    };
    let head = &bytes[..bytes.len() - part(3, &delegation).len() - part(4, &record).len()];
    let rebuilt = [head, &part(3, &delegation), &part(4, &record)].concat();
    assert_eq!(rebuilt, bytes, "the parts are cut right");
    for other in [
        [bytes, &[9 << 3, 1]].concat(),
        [bytes, &part(4, &record)].concat(),
        [head, &part(4, &record), &part(3, &delegation)].concat(),
        [head, &part(3, &delegation), &padded_signed].concat(),
    ] {
        assert!(wire::Bundle::decode(other.as_slice()).is_ok());
        assert_eq!(Bundle::verify(&other), Err(BundleError::Malformed));
    }
}

#[test]
fn fields_of_later_versions_survive() {
    // A later version may add to what is signed: here a field 100 in genesis and record.
    let (recovery, authority) = (device(1), device(2));
    let later = |mut bytes: Vec<u8>| {
        prost::encoding::uint32::encode(100, &7, &mut bytes);
        bytes
    };
    let genesis = later(Genesis::new(recovery.public(), [5; 16]).encode());
    let account = Genesis::decode(&genesis).unwrap().account();
    let body = later(record::sign(&authority, account, 1, draft(1, &device(3))).body);
    let signature = authority.sign(b"siskin1 record\x01", &body).to_vec();
    let bytes = wire::Bundle {
        genesis,
        rotations: Vec::new(),
        delegation: Some(delegation::sign(&recovery, account, authority.public(), 1)),
        record: Some(wire::Signed { body, signature }),
    }
    .encode_to_vec();

    let bundle = Bundle::verify(&bytes).unwrap();
    assert_eq!(bundle.account(), account);
    assert_eq!(bundle.as_bytes(), bytes);
    assert_ne!(account, Genesis::new(recovery.public(), [5; 16]).account());
}

#[test]
fn statements_that_do_not_follow_one_another_are_refused() {
    let (zero, one, two) = (device(10), device(11), device(12));
    let (authority, stranger) = (device(13), device(14));
    let genesis = Genesis::new(zero.public(), [5; 16]);
    let (id, other) = (genesis.account(), AccountId([9; 32]));
    let rotate = |by: &SigningKey, id, to: &SigningKey, n| rotation::sign(by, id, to.public(), n);
    let delegate = |by: &SigningKey, id, n| delegation::sign(by, id, authority.public(), n);
    let declare = |by: &SigningKey, id, n| record::sign(by, id, n, draft(1, &device(3)));
    let verify = |rotations: &[wire::Signed], delegation, record| {
        let bundle = wire::Bundle {
            genesis: genesis.encode(),
            rotations: rotations.to_vec(),
            delegation,
            record,
        };
        Bundle::verify(&bundle.encode_to_vec()).err()
    };

    let rotations = [rotate(&zero, id, &one, 1), rotate(&one, id, &two, 2)];
    let (last, said) = (Some(delegate(&two, id, 3)), Some(declare(&authority, id, 3)));
    assert_eq!(verify(&rotations, last.clone(), said.clone()), None, "the one that is right");

    use BundleError::{Account, Malformed, Serial, Signature, TooLarge};
    let swapped = [rotations[1].clone(), rotations[0].clone()];
    let twice = [rotations[0].clone(), rotations[0].clone()];
    let leaping = [rotations[0].clone(), rotate(&one, id, &two, 3)];
    let from_zero = [rotate(&zero, id, &one, 0), rotate(&one, id, &two, 1)];
    let by_first = [rotations[0].clone(), rotate(&zero, id, &two, 2)];
    let by_stranger = [rotations[0].clone(), rotate(&stranger, id, &two, 2)];
    let borrowed = [rotations[0].clone(), rotate(&one, other, &two, 2)];
    for (name, rotations, expected) in [
        ("swapped rotations", &swapped[..], Signature),
        ("a rotation twice", &twice, Signature),
        ("a rotation left out", &leaping, Serial),
        ("rotations from zero", &from_zero, Serial),
        ("a rotation by the first key", &by_first, Signature),
        ("a rotation by a stranger", &by_stranger, Signature),
        ("a rotation of another account", &borrowed, Account),
        ("no rotations", &[], Signature),
        ("nine rotations", &vec![rotations[0].clone(); 9], TooLarge),
    ] {
        assert_eq!(verify(rotations, last.clone(), said.clone()), Some(expected), "{name}");
    }
    for (name, delegation, expected) in [
        ("no delegation", None, Malformed),
        ("a delegation by the first key", Some(delegate(&zero, id, 3)), Signature),
        ("a delegation by itself", Some(delegate(&authority, id, 3)), Signature),
        ("a delegation of another account", Some(delegate(&two, other, 3)), Account),
        ("another delegation than the record's", Some(delegate(&two, id, 4)), Serial),
        // Both have the same fields; the context tells them apart.
        ("a rotation as delegation", Some(rotate(&two, id, &authority, 3)), Signature),
    ] {
        assert_eq!(verify(&rotations, delegation, said.clone()), Some(expected), "{name}");
    }
    let zeroth = verify(&rotations, Some(delegate(&two, id, 0)), Some(declare(&authority, id, 0)));
    assert_eq!(zeroth, Some(Serial), "a delegation that counts from zero");
    for (name, record, expected) in [
        ("no record", None, Malformed),
        ("a record by the recovery key", Some(declare(&two, id, 3)), Signature),
        ("a record by a stranger", Some(declare(&stranger, id, 3)), Signature),
        ("a record of another account", Some(declare(&authority, other, 3)), Account),
        ("a record of an older delegation", Some(declare(&authority, id, 2)), Serial),
    ] {
        assert_eq!(verify(&rotations, last.clone(), record), Some(expected), "{name}");
    }
}

#[test]
fn records_beyond_the_limits_are_refused() {
    let authority = Authority::create(&phrase(1), &mut rng(1));
    let sign = |change: &dyn Fn(&mut UnsignedRecord)| {
        let mut draft = draft(1, &device(1));
        change(&mut draft);
        authority.sign_record(draft).err()
    };
    let devices = |n: u8| (0..n).map(|i| Device { key: device(i).public(), added_s: 1 }).collect();
    let homes = |n: u8| (0..n).map(home).collect();
    let addresses = |n: u16| (0..n).map(|i| ([192, 0, 2, 1], i).into()).collect();

    assert_eq!(sign(&|draft| draft.devices = devices(16)), None);
    assert_eq!(sign(&|draft| draft.homes = homes(8)), None);
    assert_eq!(sign(&|draft| draft.homes[0].addresses = addresses(4)), None);
    assert_eq!(sign(&|draft| draft.version = u64::MAX), None);
    assert_eq!(sign(&|draft| draft.copies = 4), None);

    use BundleError::{Devices, Homes, InboxKey, Serial, TooLarge};
    assert_eq!(sign(&|draft| draft.version = 0), Some(Serial));
    assert_eq!(sign(&|draft| draft.devices = devices(0)), Some(Devices));
    assert_eq!(sign(&|draft| draft.devices = devices(17)), Some(Devices));
    assert_eq!(sign(&|draft| draft.devices.push(draft.devices[0])), Some(Devices));
    assert_eq!(sign(&|draft| draft.devices[0].key = PublicKey([0; 32])), Some(Devices));
    assert_eq!(sign(&|draft| draft.homes = homes(0)), Some(Homes));
    assert_eq!(sign(&|draft| draft.homes = homes(9)), Some(Homes));
    assert_eq!(sign(&|draft| draft.homes.push(home(1))), Some(Homes));
    assert_eq!(sign(&|draft| draft.homes[0].addresses = addresses(0)), Some(Homes));
    assert_eq!(sign(&|draft| draft.homes[0].addresses = addresses(5)), Some(Homes));
    assert_eq!(sign(&|draft| draft.copies = 1), Some(Homes));
    assert_eq!(sign(&|draft| draft.copies = 5), Some(Homes));
    assert_eq!(sign(&|draft| draft.inbox_key.truncate(1215)), Some(InboxKey));
    assert_eq!(sign(&|draft| draft.inbox_key.push(0)), Some(InboxKey));
    // Right in length, but its coefficients are above ML-KEM's modulus.
    assert_eq!(sign(&|draft| draft.inbox_key[..1152].fill(0xff)), Some(InboxKey));
    // Each list within its limit, all together not.
    let all = |draft: &mut UnsignedRecord| {
        draft.devices = devices(16);
        draft.devices.iter_mut().for_each(|device| device.added_s = u64::MAX);
        draft.homes = homes(8);
        for home in &mut draft.homes {
            home.addresses = (0..4).map(|i| ([0xffff; 8], 0xffff - i).into()).collect();
        }
    };
    assert_eq!(sign(&all), Some(TooLarge));
}

/// A bundle with every part.
fn rotated() -> Bundle {
    let (first, second) = (phrase(1), phrase(2));
    let old = Authority::create(&first, &mut rng(3)).sign_record(draft(1, &device(3))).unwrap();
    let authority = rotate(&first, &second, &old, &mut rng(4)).unwrap();
    authority.sign_record(draft(300, &device(3))).unwrap()
}
