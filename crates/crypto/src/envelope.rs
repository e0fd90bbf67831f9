//! Signing and verifying envelopes. Their bytes are drawn in `spec/logs.md`, section 2.

use proto::{Envelope, Head};

use crate::{BadSignature, SigningKey, verify};

/// Signs an envelope. `head.write_key` must be the public half of `key`; an envelope that names
/// another key is refused by everyone.
pub fn sign_envelope(key: &SigningKey, head: Head, ciphertext: Vec<u8>) -> Envelope {
    debug_assert_eq!(head.write_key, key.public());
    let mut envelope = Envelope { head, ciphertext, signature: [0; 64] };
    envelope.signature = key.sign(Envelope::SIGNATURE_CONTEXT, &envelope.signed_bytes());
    envelope
}

/// Checks that the write key which an envelope names has signed it. Whether that key may write is
/// for the log to say.
pub fn verify_envelope(envelope: &Envelope) -> Result<(), BadSignature> {
    let signed = envelope.signed_bytes();
    verify(&envelope.head.write_key, Envelope::SIGNATURE_CONTEXT, &signed, &envelope.signature)
}

#[cfg(test)]
mod tests {
    use proto::{Expiry, Extension, Kind, LogId, PublicKey};

    use super::*;

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
}
