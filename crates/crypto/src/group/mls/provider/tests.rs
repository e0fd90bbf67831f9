//! The provider against RustCrypto's, and against the vectors of RFC 9180.

use mls_rs_crypto_rustcrypto::{RustCryptoError, RustCryptoProvider};
use proptest::{collection::vec, prelude::*};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::vectors::unhex;

fn suite(seed: u8) -> SeededSuite {
    Seeded::new(&mut ChaCha20Rng::from_seed([seed; 32])).cipher_suite_provider(SUITE).unwrap()
}

fn plain() -> impl CipherSuiteProvider<Error = RustCryptoError> {
    RustCryptoProvider::new().cipher_suite_provider(SUITE).unwrap()
}

#[test]
fn hpke_meets_rustcrypto_s_in_both_directions() {
    let (ours, theirs) = (suite(1), plain());
    let (secret, public) = ours.kem_generate().unwrap();
    let (psk, aad) = (HpkePsk::new(b"id", &[1; 32]), Some(&b"aad"[..]));

    let sealed = theirs.hpke_seal(&public, b"info", aad, b"hello").unwrap();
    let opened = ours.hpke_open(&sealed, &secret, &public, b"info", aad).unwrap();
    assert_eq!(*opened, b"hello");
    let sealed = ours.hpke_seal(&public, b"info", aad, b"hello").unwrap();
    let opened = theirs.hpke_open(&sealed, &secret, &public, b"info", aad).unwrap();
    assert_eq!(*opened, b"hello");
    assert!(ours.hpke_open(&sealed, &secret, &public, b"else", aad).is_err());

    let sealed = ours.hpke_seal_psk(&public, b"info", None, b"hello", psk.clone()).unwrap();
    let opened = theirs.hpke_open_psk(&sealed, &secret, &public, b"info", None, psk).unwrap();
    assert_eq!(*opened, b"hello");
}

#[test]
fn hpke_contexts_meet_rustcrypto_s_in_both_directions() {
    use mls_rs_core::crypto::{HpkeContextR, HpkeContextS};

    let (ours, theirs) = (suite(1), plain());
    let (secret, public) = theirs.kem_generate().unwrap();
    let (output, mut sender) = ours.hpke_setup_s(&public, b"info").unwrap();
    let mut receiver = theirs.hpke_setup_r(&output, &secret, &public, b"info").unwrap();
    let sealed = sender.seal(None, b"hello").unwrap();
    assert_eq!(*receiver.open(None, &sealed).unwrap(), b"hello");
    assert_eq!(sender.export(b"x", 32).unwrap(), receiver.export(b"x", 32).unwrap());

    let (output, mut sender) = theirs.hpke_setup_s(&public, b"info").unwrap();
    let mut receiver = ours.hpke_setup_r(&output, &secret, &public, b"info").unwrap();
    let sealed = sender.seal(None, b"hello").unwrap();
    assert_eq!(*receiver.open(None, &sealed).unwrap(), b"hello");
}

#[test]
fn derived_keys_and_signatures_are_rustcrypto_s() {
    let (ours, theirs) = (suite(1), plain());
    assert_eq!(ours.kem_derive(b"ikm").unwrap(), theirs.kem_derive(b"ikm").unwrap());
    let (secret, public) = ours.signature_key_generate().unwrap();
    assert_eq!(theirs.signature_key_derive_public(&secret).unwrap(), public);
    let signature = ours.sign(&secret, b"message").unwrap();
    assert_eq!(theirs.sign(&secret, b"message").unwrap(), signature);
    assert!(ours.verify(&public, &signature, b"message").is_ok());
    assert!(ours.verify(&public, &signature, b"massage").is_err());
}

proptest! {
    #[test]
    fn hashes_and_keys_are_rustcrypto_s(
        a in vec(any::<u8>(), 0..200), b in vec(any::<u8>(), 0..200), len in 0..200_usize,
    ) {
        let (ours, theirs) = (suite(1), plain());
        prop_assert_eq!(ours.hash(&a).unwrap(), theirs.hash(&a).unwrap());
        prop_assert_eq!(ours.mac(&a, &b).unwrap(), theirs.mac(&a, &b).unwrap());
        prop_assert_eq!(ours.kdf_extract(&a, &b).ok(), theirs.kdf_extract(&a, &b).ok());
        prop_assert_eq!(ours.kdf_expand(&a, &b, len).ok(), theirs.kdf_expand(&a, &b, len).ok());
        prop_assert_eq!(ours.kem_derive(&a).unwrap(), theirs.kem_derive(&a).unwrap());
    }

    #[test]
    fn ciphertexts_are_rustcrypto_s(
        key in vec(any::<u8>(), 31..34), nonce in vec(any::<u8>(), 11..14),
        data in vec(any::<u8>(), 0..100), aad in proptest::option::of(vec(any::<u8>(), 0..50)),
    ) {
        let (ours, theirs, aad) = (suite(1), plain(), aad.as_deref());
        let sealed = theirs.aead_seal(&key, &data, aad, &nonce).ok();
        prop_assert_eq!(&ours.aead_seal(&key, &data, aad, &nonce).ok(), &sealed);
        let sealed = sealed.unwrap_or(data);
        let opened = theirs.aead_open(&key, &sealed, aad, &nonce).ok();
        prop_assert_eq!(ours.aead_open(&key, &sealed, aad, &nonce).ok(), opened);
        prop_assert!(ours.aead_open(&key, &sealed, Some(b"else"), &nonce).is_err());
    }
}

#[test]
fn sizes_are_rustcrypto_s() {
    let (ours, theirs) = (suite(1), plain());
    assert_eq!(ours.cipher_suite(), theirs.cipher_suite());
    assert_eq!(ours.aead_key_size(), theirs.aead_key_size());
    assert_eq!(ours.aead_nonce_size(), theirs.aead_nonce_size());
    assert_eq!(ours.kdf_extract_size(), theirs.kdf_extract_size());
}

#[test]
fn malformed_keys_are_refused() {
    let (ours, theirs) = (suite(1), plain());
    let (secret, public) = ours.signature_key_generate().unwrap();
    let other = ours.signature_key_generate().unwrap().1;
    let mixed = [&secret[..32], other.as_bytes()].concat();
    for malformed in [&secret[..32], &secret[..63], &mixed] {
        let malformed = SignatureSecretKey::new_slice(malformed);
        assert!(ours.sign(&malformed, b"").is_err() && theirs.sign(&malformed, b"").is_err());
    }
    for length in [0, 31, 33] {
        let key = HpkePublicKey::from(vec![9; length]);
        assert!(ours.kem_public_key_validate(&key).is_err());
        assert!(ours.hpke_seal(&key, b"", None, b"x").is_err());
    }
    let key = HpkePublicKey::from(public.as_bytes().to_vec());
    assert!(ours.kem_public_key_validate(&key).is_ok());
}

#[test]
fn agrees_with_rfc_9180() {
    // Appendix A.2.1, sequence number 0.
    let suite = suite(1);
    let ikm = unhex("1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df");
    let (secret, public) = suite.kem_derive(&ikm).unwrap();
    let expected = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb";
    assert_eq!(secret.to_vec(), unhex(expected));
    let expected = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a";
    assert_eq!(public.to_vec(), unhex(expected));

    let kem_output = unhex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a");
    let ciphertext = unhex(concat!(
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db",
        "21993c62ce81883d2dd1b51a28",
    ));
    let sealed = HpkeCiphertext { kem_output, ciphertext };
    let opened = suite.hpke_open(&sealed, &secret, &public, INFO, Some(b"Count-0")).unwrap();
    assert_eq!(*opened, b"Beauty is truth, truth beauty");
}

#[test]
fn all_randomness_is_the_seed_s() {
    let draw = |seed| {
        let suite = suite(seed);
        let (_, public) = suite.kem_generate().unwrap();
        let sealed = suite.hpke_seal(&public, b"", None, b"x").unwrap();
        let (_, signing) = suite.signature_key_generate().unwrap();
        (public, sealed.kem_output, signing, suite.random_bytes_vec(32).unwrap())
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1).0, draw(2).0);
    assert_ne!(draw(1).1, draw(2).1);
    assert_ne!(draw(1).2, draw(2).2);
    assert_ne!(draw(1).3, draw(2).3);
}

#[test]
fn each_draw_is_fresh() {
    let suite = suite(1);
    assert_ne!(suite.kem_generate().unwrap().1, suite.kem_generate().unwrap().1);
    assert_ne!(suite.random_bytes_vec(32).unwrap(), suite.random_bytes_vec(32).unwrap());
}

#[test]
fn keys_of_small_order_are_refused() {
    let suite = suite(1);
    for small in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let small = HpkePublicKey::from(small.to_vec());
        assert!(suite.hpke_seal(&small, b"", None, b"x").is_err());
    }
    // The neutral element as key and nonce, with s = 0, satisfies the plain equation.
    let mut signature = [0; 64];
    signature[0] = 1;
    let key = SignaturePublicKey::new_slice(&signature[..32]);
    assert!(suite.verify(&key, &signature, b"").is_err());
}

#[test]
fn there_is_one_suite() {
    let provider = Seeded::new(&mut ChaCha20Rng::from_seed([1; 32]));
    assert_eq!(provider.supported_cipher_suites(), [SUITE]);
    assert!(provider.cipher_suite_provider(CipherSuite::P256_AES128).is_none());
}

const INFO: &[u8] = b"Ode on a Grecian Urn";
