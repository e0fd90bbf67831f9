//! The provider against the one it stands on.

use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use super::*;

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
        assert!(suite.hpke_seal(&small, b"", None, b"").is_err());
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
