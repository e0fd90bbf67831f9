//! Ed25519 signatures that are bound to their purpose, and the one key derivation function.

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey, ed25519::signature::MultipartSigner};
use hmac::{Hmac, KeyInit, Mac};
use proto::{LogId, NodeId, PublicKey};
use sha2::Sha256;
use zeroize::Zeroizing;

/// An Ed25519 private key. Wiped when dropped.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key that 32 secret bytes stand for (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// The secret bytes.
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The key that others verify with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `context` ‖ `message`. Each purpose has a context of its own, which ends in the byte
    /// 1, so that a signature made for one purpose means nothing to another.
    pub fn sign(&self, context: &[u8], message: &[u8]) -> [u8; 64] {
        self.0.multipart_sign(&[context, message]).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(_) = self;
        f.write_str("SigningKey(..)")
    }
}

/// Verifies what [`SigningKey::sign`] made. Strict: keys and nonces of small order are refused, so
/// that a signature fits one key and one message only.
pub fn verify(
    key: &PublicKey,
    context: &[u8],
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), BadSignature> {
    let key = VerifyingKey::from_bytes(&key.0).map_err(|_| BadSignature)?;
    let signature = Signature::from_bytes(signature);
    key.verify_strict(&[context, message].concat(), &signature).map_err(|_| BadSignature)
}

/// Returns whether a key is of small order: nearly anything counts as signed by it, so no log may
/// take it as one of its keys.
pub fn is_weak(key: &PublicKey) -> bool {
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| key.is_weak())
}

/// The signature is not by this key over this message for this purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not valid")]
pub struct BadSignature;

/// Derives one secret from another: HKDF-Expand-SHA256 (RFC 5869) to 32 bytes, with the info
///
/// ```text
/// ┌────────┬────────┬────────────┬───────┬────────┬─────────┐
/// │ 0x0020 │ length │ "siskin1 " │ label │ length │ context │
/// │ 2      │ 1      │ 8          │       │ 1      │         │
/// └────────┴────────┴────────────┴───────┴────────┴─────────┘
/// ```
///
/// where the first length is that of prefix and label. A label has at most 247 bytes, a context
/// 255; labels are constants, contexts constants and hashes.
pub fn derive_key(secret: &[u8; 32], label: &str, context: &[u8]) -> Zeroizing<[u8; 32]> {
    debug_assert!(label.len() <= 247 && context.len() <= 255);
    let length = |bytes: usize| u8::try_from(bytes).unwrap_or(u8::MAX);
    // HMAC pads a short key with zeros to its block; doing so here leaves no key length to check.
    let mut block = Zeroizing::new([0; 64]);
    let (key, _) = block.split_at_mut(secret.len());
    key.copy_from_slice(secret);

    let mut mac = Hmac::<Sha256>::new((&*block).into());
    mac.update(&[0, 32, length(LABEL_PREFIX.len().saturating_add(label.len()))]);
    mac.update(LABEL_PREFIX);
    mac.update(label.as_bytes());
    mac.update(&[length(context.len())]);
    mac.update(context);
    mac.update(&[1]);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// What is signed, under [`OPEN_CONTEXT`], to open a log: proof of one of its keys that is good for
/// this connection only.
pub fn open_proof_message(
    node_nonce: &[u8; 16],
    client_nonce: &[u8; 16],
    client: &PublicKey,
    node: &NodeId,
    log: &LogId,
    channel: u32,
) -> Vec<u8> {
    let channel = channel.to_be_bytes();
    [node_nonce.as_slice(), client_nonce, &client.0, &node.0, &log.0, &channel].concat()
}

/// The context of the proof in an `Open`.
pub const OPEN_CONTEXT: &[u8] = b"siskin1 open\x01";

const LABEL_PREFIX: &[u8] = b"siskin1 ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::unhex;

    #[test]
    fn a_signature_holds_for_one_key_purpose_and_message() {
        let key = SigningKey::from_seed([1; 32]);
        let signature = key.sign(b"a\x01", b"message");

        assert_eq!(verify(&key.public(), b"a\x01", b"message", &signature), Ok(()));
        let other = SigningKey::from_seed([2; 32]).public();
        assert_eq!(verify(&other, b"a\x01", b"message", &signature), Err(BadSignature));
        assert_eq!(verify(&key.public(), b"b\x01", b"message", &signature), Err(BadSignature));
        assert_eq!(verify(&key.public(), b"a\x01", b"massage", &signature), Err(BadSignature));
        for byte in 0..64 {
            let mut broken = signature;
            broken[byte] ^= 1;
            assert_eq!(verify(&key.public(), b"a\x01", b"message", &broken), Err(BadSignature));
        }
    }

    #[test]
    fn a_key_of_small_order_signs_nothing() {
        // The neutral element as key and as nonce, with s = 0, satisfies the plain equation.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert_eq!(verify(&PublicKey(neutral), b"", b"", &signature), Err(BadSignature));
        assert!(is_weak(&PublicKey(neutral)));
        assert!(!is_weak(&SigningKey::from_seed([1; 32]).public()));
    }

    #[test]
    fn agrees_with_rfc_8032() {
        // Section 7.1, test 3: the private key, the public key and a two-byte message.
        let seed = unhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
        let public = unhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
        let signature = unhex(concat!(
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ));
        let key = SigningKey::from_seed(seed.try_into().unwrap());
        assert_eq!(key.public().0.to_vec(), public);
        assert_eq!(key.sign(&[0xaf], &[0x82]).to_vec(), signature);
    }

    #[test]
    fn derives_what_hkdf_expand_derives() {
        let secret = [7; 32];
        let hkdf = hkdf::Hkdf::<Sha256>::from_prk(&secret).unwrap();
        let mut expected = [0; 32];
        hkdf.expand(b"\x00\x20\x0csiskin1 tree\x03abc", &mut expected).unwrap();
        assert_eq!(*derive_key(&secret, "tree", b"abc"), expected);
        assert_ne!(*derive_key(&secret, "tree", b"abd"), expected);
        assert_ne!(*derive_key(&secret, "trea", b"abc"), expected);
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SigningKey::from_seed([0xab; 32]);
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
    }
}
