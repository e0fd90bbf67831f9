//! MLS cipher suite 3 (X25519, ChaCha20-Poly1305, SHA-256, Ed25519) with randomness from a seed:
//! the same inputs give the same bytes.
//!
//! Two checks are stricter than RFC 9420 demands: Ed25519 signatures are verified as everywhere
//! else in this crate, and a shared X25519 secret of zeros, the result of a public key of small
//! order, is an error (RFC 9180, section 7.1.4).

mod primitives;

use hmac::{Hmac, KeyInit, Mac};
use mls_rs::{CipherSuite, CipherSuiteProvider, CryptoProvider};
use mls_rs_core::crypto::{
    HpkeCiphertext, HpkePsk, HpkePublicKey, HpkeSecretKey, SignaturePublicKey, SignatureSecretKey,
};
use mls_rs_crypto_hpke::{
    context::{ContextR, ContextS},
    dhkem::DhKem,
    hpke::Hpke,
};
use mls_rs_crypto_traits::{AeadType, KdfType, KemId};
use proto::PublicKey;
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use self::primitives::{ChaChaPoly, HkdfSha256, Randomness, SuiteError, X25519};
use crate::signing::{SigningKey, verify};

/// The one cipher suite.
pub(super) const SUITE: CipherSuite = CipherSuite::CURVE25519_CHACHA;

/// Provides the one cipher suite.
#[derive(Clone)]
pub(super) struct Seeded(Randomness);

impl Seeded {
    /// All randomness comes from `rng`, by way of a seed.
    pub(super) fn new(rng: &mut impl CryptoRng) -> Self {
        Self(Randomness::new(rng))
    }
}

impl CryptoProvider for Seeded {
    type CipherSuiteProvider = SeededSuite;

    fn supported_cipher_suites(&self) -> Vec<CipherSuite> {
        vec![SUITE]
    }

    fn cipher_suite_provider(&self, suite: CipherSuite) -> Option<SeededSuite> {
        (suite == SUITE).then(|| {
            let id = KemId::DhKemX25519Sha256;
            let kem = DhKem::new(X25519(self.0.clone()), HkdfSha256, id as u16, id.n_secret());
            let hpke = Hpke::new(kem, HkdfSha256, Some(ChaChaPoly));
            SeededSuite { hpke, randomness: self.0.clone() }
        })
    }
}

/// Suite 3.
#[derive(Clone)]
pub(super) struct SeededSuite {
    hpke: Hpke<DhKem<X25519, HkdfSha256>, HkdfSha256, ChaChaPoly>,
    randomness: Randomness,
}

impl CipherSuiteProvider for SeededSuite {
    type Error = SuiteError;
    type HpkeContextS = ContextS<HkdfSha256, ChaChaPoly>;
    type HpkeContextR = ContextR<HkdfSha256, ChaChaPoly>;

    fn cipher_suite(&self) -> CipherSuite {
        SUITE
    }

    fn aead_key_size(&self) -> usize {
        ChaChaPoly.key_size()
    }

    fn aead_nonce_size(&self) -> usize {
        ChaChaPoly.nonce_size()
    }

    fn kdf_extract_size(&self) -> usize {
        HkdfSha256.extract_size()
    }

    fn hash(&self, data: &[u8]) -> Result<Vec<u8>, SuiteError> {
        Ok(Sha256::digest(data).to_vec())
    }

    fn mac(&self, key: &[u8], data: &[u8]) -> Result<Vec<u8>, SuiteError> {
        let mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| SuiteError::Length)?;
        Ok(mac.chain_update(data).finalize().into_bytes().to_vec())
    }

    fn aead_seal(
        &self,
        key: &[u8],
        data: &[u8],
        aad: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<Vec<u8>, SuiteError> {
        ChaChaPoly.seal(key, data, aad, nonce)
    }

    fn aead_open(
        &self,
        key: &[u8],
        sealed: &[u8],
        aad: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        ChaChaPoly.open(key, sealed, aad, nonce).map(Zeroizing::new)
    }

    fn kdf_extract(&self, salt: &[u8], ikm: &[u8]) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        HkdfSha256.extract(salt, ikm).map(Zeroizing::new)
    }

    fn kdf_expand(
        &self,
        prk: &[u8],
        info: &[u8],
        len: usize,
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        HkdfSha256.expand(prk, info, len).map(Zeroizing::new)
    }

    fn hpke_seal(
        &self,
        key: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        plaintext: &[u8],
    ) -> Result<HpkeCiphertext, SuiteError> {
        Ok(self.hpke.seal(key, info, None, aad, plaintext)?)
    }

    fn hpke_seal_psk(
        &self,
        key: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        plaintext: &[u8],
        psk: HpkePsk<'_>,
    ) -> Result<HpkeCiphertext, SuiteError> {
        Ok(self.hpke.seal(key, info, Some(psk), aad, plaintext)?)
    }

    fn hpke_open(
        &self,
        sealed: &HpkeCiphertext,
        secret: &HpkeSecretKey,
        public: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        Ok(self.hpke.open(sealed, secret, public, info, None, aad)?)
    }

    fn hpke_open_psk(
        &self,
        sealed: &HpkeCiphertext,
        secret: &HpkeSecretKey,
        public: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        psk: HpkePsk<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        Ok(self.hpke.open(sealed, secret, public, info, Some(psk), aad)?)
    }

    fn hpke_setup_s(
        &self,
        key: &HpkePublicKey,
        info: &[u8],
    ) -> Result<(Vec<u8>, Self::HpkeContextS), SuiteError> {
        Ok(self.hpke.setup_sender(key, info, None)?)
    }

    fn hpke_setup_r(
        &self,
        output: &[u8],
        secret: &HpkeSecretKey,
        public: &HpkePublicKey,
        info: &[u8],
    ) -> Result<Self::HpkeContextR, SuiteError> {
        Ok(self.hpke.setup_receiver(output, secret, public, info, None)?)
    }

    fn kem_derive(&self, ikm: &[u8]) -> Result<(HpkeSecretKey, HpkePublicKey), SuiteError> {
        Ok(self.hpke.derive(ikm)?)
    }

    fn kem_generate(&self) -> Result<(HpkeSecretKey, HpkePublicKey), SuiteError> {
        Ok(self.hpke.generate()?)
    }

    fn kem_public_key_validate(&self, key: &HpkePublicKey) -> Result<(), SuiteError> {
        Ok(self.hpke.public_key_validate(key)?)
    }

    fn random_bytes(&self, out: &mut [u8]) -> Result<(), SuiteError> {
        self.randomness.fill(out);
        Ok(())
    }

    fn signature_key_generate(
        &self,
    ) -> Result<(SignatureSecretKey, SignaturePublicKey), SuiteError> {
        let mut seed = Zeroizing::new([0; 32]);
        self.randomness.fill(&mut *seed);
        Ok(signature_keys(&SigningKey::from_seed(*seed)))
    }

    fn signature_key_derive_public(
        &self,
        secret: &SignatureSecretKey,
    ) -> Result<SignaturePublicKey, SuiteError> {
        Ok(SignaturePublicKey::new_slice(&signing_key(secret)?.public().0))
    }

    fn sign(&self, secret: &SignatureSecretKey, data: &[u8]) -> Result<Vec<u8>, SuiteError> {
        Ok(signing_key(secret)?.sign(b"", data).to_vec())
    }

    fn verify(
        &self,
        key: &SignaturePublicKey,
        signature: &[u8],
        data: &[u8],
    ) -> Result<(), SuiteError> {
        let key = PublicKey::try_from(key.as_bytes()).map_err(|_| SuiteError::Signature)?;
        let signature = signature.try_into().map_err(|_| SuiteError::Signature)?;
        verify(&key, b"", data, signature).map_err(|_| SuiteError::Signature)
    }
}

/// A device's keys as MLS has them: the private one is seed ‖ public key.
pub(super) fn signature_keys(device: &SigningKey) -> (SignatureSecretKey, SignaturePublicKey) {
    let public = device.public().0;
    let secret = [&device.to_seed()[..], &public].concat();
    (SignatureSecretKey::new(secret), SignaturePublicKey::new_slice(&public))
}

/// Reads what [`signature_keys`] wrote; the public key must be that of the seed.
fn signing_key(secret: &SignatureSecretKey) -> Result<SigningKey, SuiteError> {
    let (seed, public) = secret.split_first_chunk::<32>().ok_or(SuiteError::Key)?;
    let key = SigningKey::from_seed(*seed);
    if key.public().0 == *public { Ok(key) } else { Err(SuiteError::Key) }
}

#[cfg(test)]
mod tests;
