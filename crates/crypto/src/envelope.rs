//! Signing and verifying envelopes. Their bytes are drawn in `spec/logs.md`, section 2.
//!
//! These signatures alone follow the rules of ZIP 215, by which checking many at once and checking
//! each by itself never differ: two nodes must not disagree on what a log holds only because they
//! were busy at different times. Strict rules can't be checked in batches.

use ed25519_zebra::{
    Signature, VerificationKeyBytes,
    batch::{Item, Verifier},
};
use proto::{Envelope, Head};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng};
use zeroize::Zeroizing;

use crate::{BadSignature, SigningKey};

/// Signs an envelope. `head.write_key` must be the public half of `key`; an envelope that names
/// another key is refused by everyone.
pub fn sign_envelope(key: &SigningKey, head: Head, ciphertext: Vec<u8>) -> Envelope {
    debug_assert_eq!(head.write_key, key.public());
    let mut envelope = Envelope { head, ciphertext, signature: [0; 64] };
    envelope.signature = key.sign(Envelope::SIGNATURE_CONTEXT, &envelope.signed_bytes());
    envelope
}

/// Checks that the write key which an envelope names has signed it. Whether that key may write is
/// for the log to say, which must not have taken one that [`is_weak`](crate::is_weak).
pub fn verify_envelope(envelope: &Envelope) -> Result<(), BadSignature> {
    item(envelope).verify_single().map_err(|_| BadSignature)
}

/// Returns for each envelope whether [`verify_envelope`] accepts it, for less than half the work if
/// nearly all are good, and less than twice the work if none is. No author of envelopes may guess
/// what comes from `rng`.
pub fn verify_envelopes(envelopes: &[&Envelope], rng: &mut impl CryptoRng) -> Vec<bool> {
    let items: Vec<Item> = envelopes.iter().map(|envelope| item(envelope)).collect();
    if items.len() > GROUP && all_verify(&items, rng) {
        return vec![true; items.len()];
    }
    let mut verdicts = Vec::with_capacity(items.len());
    for group in items.chunks(GROUP) {
        let all = group.len() > 1 && all_verify(group, rng);
        verdicts.extend(group.iter().map(|item| all || item.clone().verify_single().is_ok()));
    }
    verdicts
}

fn all_verify(items: &[Item], rng: &mut impl CryptoRng) -> bool {
    // The library draws as many numbers as it needs until it is sure. A generator of its own keeps
    // what the caller draws next from depending on that.
    let mut seed = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *seed);
    let mut verifier = Verifier::new();
    for item in items {
        verifier.queue(item.clone());
    }
    verifier.verify(ChaCha20Rng::from_seed(*seed)).is_ok()
}

fn item(envelope: &Envelope) -> Item {
    let message = [Envelope::SIGNATURE_CONTEXT, &envelope.signed_bytes()].concat();
    item_of(envelope.head.write_key.0, &message, &envelope.signature)
}

fn item_of(key: [u8; 32], message: &[u8], signature: &[u8; 64]) -> Item {
    Item::from((VerificationKeyBytes::from(key), Signature::from_bytes(signature), message))
}

/// Envelopes to check together once a larger batch has failed. Larger groups would be hardly
/// cheaper, and one bad signature sends all of its group to be checked singly.
const GROUP: usize = 32;

#[cfg(test)]
mod tests;
