//! Envelopes, their extensions, and the geneses of logs.

use proptest::{collection::vec, prelude::*};
use proto::{DecodeError, Envelope, Extension, LogGenesis, limits};

use crate::{
    any,
    bent::{bend, bends},
};

/// An envelope is named by its bytes, so there must be one encoding of each and no other.
fn has_one_encoding(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::decode(bytes) {
        assert_eq!(envelope.encode(), bytes);
    }
}

fn genesis_decodes_stably(bytes: &[u8]) {
    if let Ok(genesis) = LogGenesis::decode(bytes) {
        assert_eq!(LogGenesis::decode(&genesis.encode()), Ok(genesis));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn come_back(envelope in any::envelope()) {
        prop_assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }

    #[test]
    fn bent_envelopes_do_not_panic(envelope in any::envelope(), bends in bends()) {
        has_one_encoding(&bend(envelope.encode(), &bends));
    }

    #[test]
    fn noise_does_not_panic(bytes in vec(any::<u8>(), 0..300)) {
        has_one_encoding(&bytes);
        // And behind the right version, kind and expiry.
        has_one_encoding(&[&[1, 0, 0], bytes.as_slice()].concat());
        genesis_decodes_stably(&bytes);
        if let Ok(extension) = Extension::decode(&bytes) {
            prop_assert_eq!(extension.as_bytes(), bytes);
        }
    }

    #[test]
    fn the_id_leaves_only_the_signature_out(envelope in any::envelope(), bends in bends()) {
        let resigned = Envelope { signature: [9; 64], ..envelope.clone() };
        prop_assert_eq!(resigned.id(), envelope.id());
        if let Ok(bent) = Envelope::decode(&bend(envelope.encode(), &bends)) {
            prop_assert_eq!(bent.id() == envelope.id(), bent.signed_bytes() == envelope.signed_bytes());
        }
    }

    #[test]
    fn fields_of_a_later_version_survive_in_an_extension(
        key in any::key(),
        unknown in any::unknown_fields(),
    ) {
        let bytes = [&unknown, Extension::next_key(key).as_bytes()].concat();
        let extension = Extension::decode(&bytes).unwrap();
        prop_assert_eq!(extension.as_bytes(), bytes);
        prop_assert_eq!(extension.announced_key(), Some(key));
    }

    #[test]
    fn geneses_come_back(genesis in any::genesis(), bends in bends()) {
        prop_assert_eq!(LogGenesis::decode(&genesis.encode()), Ok(genesis));
        genesis_decodes_stably(&bend(genesis.encode(), &bends));
    }
}

#[test]
fn an_envelope_has_a_largest_size() {
    let bytes = |ciphertext: usize| [vec![1, 0, 0], vec![0; 8 + 64 + 2 + ciphertext + 64]].concat();
    let largest = limits::ENVELOPE_MAX - 77;
    assert!(Envelope::decode(&bytes(largest)).is_ok());
    assert_eq!(Envelope::decode(&bytes(largest + 1)), Err(DecodeError::TooLarge));
}

#[test]
fn an_extension_has_a_largest_size() {
    // Field 99: two bytes for the field, two for the length.
    let bytes = |length: usize| {
        let mut bytes = vec![0x9a, 0x06];
        prost::encode_length_delimiter(length, &mut bytes).unwrap();
        bytes.resize(bytes.len() + length, 7);
        bytes
    };
    assert!(Extension::decode(&bytes(limits::EXTENSION_MAX - 4)).is_ok());
    assert_eq!(Extension::decode(&bytes(limits::EXTENSION_MAX - 3)), Err(DecodeError::TooLarge));
}
