//! MLS cipher suite 3 with randomness from a seed: RustCrypto's, but each random byte comes from
//! a generator that the caller seeds, so that the same inputs give the same bytes.
//!
//! It is also stricter: Ed25519 signatures are verified as everywhere else here, and a shared
//! X25519 secret of zeros, which a public key of small order gives, is an error (RFC 9180, section
//! 7.1.4).

use std::sync::{Arc, Mutex, PoisonError};

use mls_rs::{CipherSuite, CipherSuiteProvider, CryptoProvider};
use mls_rs_core::{
    crypto::{
        HpkeCiphertext, HpkePsk, HpkePublicKey, HpkeSecretKey, SignaturePublicKey,
        SignatureSecretKey,
    },
    error::IntoAnyError,
};
use mls_rs_crypto_hpke::{
    context::{ContextR, ContextS},
    dhkem::DhKem,
};
use mls_rs_crypto_rustcrypto::{
    RustCryptoCipherSuite, RustCryptoError,
    aead::Aead,
    ecdh::{Ecdh, EcdhKemError},
    kdf::Kdf,
};
use mls_rs_crypto_traits::{DhType, KemId, SamplingMethod};
use proto::PublicKey;
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, Rng, SeedableRng};
use zeroize::Zeroizing;

use crate::signing::{SigningKey, verify};

/// The one cipher suite.
pub(super) const SUITE: CipherSuite = CipherSuite::CURVE25519_CHACHA;

/// Gives out the one cipher suite.
#[derive(Clone)]
pub(super) struct Seeded(Randomness);

impl Seeded {
    /// All randomness comes from `rng`, by way of a seed.
    pub(super) fn new(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Self(Randomness(Arc::new(Mutex::new(ChaCha20Rng::from_seed(*seed)))))
    }
}

impl CryptoProvider for Seeded {
    type CipherSuiteProvider = SeededSuite;

    fn supported_cipher_suites(&self) -> Vec<CipherSuite> {
        vec![SUITE]
    }

    fn cipher_suite_provider(&self, suite: CipherSuite) -> Option<SeededSuite> {
        if suite != SUITE {
            return None;
        }
        let (kdf, kem_id) = (Kdf::new(SUITE)?, KemId::new(SUITE)?);
        let dh = SeededDh { ecdh: Ecdh::new(SUITE)?, randomness: self.0.clone() };
        let kem = DhKem::new(dh, kdf, kem_id as u16, kem_id.n_secret());
        let inner = RustCryptoCipherSuite::new(SUITE, kem, kdf, Aead::new(SUITE)?)?;
        Some(SeededSuite { inner, randomness: self.0.clone() })
    }
}

/// Suite 3.
#[derive(Clone)]
pub(super) struct SeededSuite {
    inner: RustCryptoCipherSuite<DhKem<SeededDh, Kdf>, Kdf, Aead>,
    randomness: Randomness,
}

/// What goes wrong inside.
#[derive(Debug, thiserror::Error)]
pub(super) enum SuiteError {
    #[error(transparent)]
    Inner(#[from] RustCryptoError),
    #[error("the signature or its key is not valid")]
    Signature,
}

impl IntoAnyError for SuiteError {}

/// Hands the named calls on to the inner suite.
macro_rules! delegate {
    ($(fn $name:ident(&self $(, $argument:ident: $type:ty)* $(,)?) -> $output:ty;)*) => {$(
        fn $name(&self $(, $argument: $type)*) -> Result<$output, SuiteError> {
            Ok(self.inner.$name($($argument),*)?)
        }
    )*};
}

impl CipherSuiteProvider for SeededSuite {
    type Error = SuiteError;
    type HpkeContextS = ContextS<Kdf, Aead>;
    type HpkeContextR = ContextR<Kdf, Aead>;

    delegate! {
        fn hash(&self, data: &[u8]) -> Vec<u8>;
        fn mac(&self, key: &[u8], data: &[u8]) -> Vec<u8>;
        fn aead_seal(&self, key: &[u8], data: &[u8], aad: Option<&[u8]>, nonce: &[u8]) -> Vec<u8>;
        fn aead_open(
            &self, key: &[u8], sealed: &[u8], aad: Option<&[u8]>, nonce: &[u8],
        ) -> Zeroizing<Vec<u8>>;
        fn kdf_extract(&self, salt: &[u8], ikm: &[u8]) -> Zeroizing<Vec<u8>>;
        fn kdf_expand(&self, prk: &[u8], info: &[u8], len: usize) -> Zeroizing<Vec<u8>>;
        fn hpke_seal(
            &self, key: &HpkePublicKey, info: &[u8], aad: Option<&[u8]>, plaintext: &[u8],
        ) -> HpkeCiphertext;
        fn hpke_seal_psk(
            &self, key: &HpkePublicKey, info: &[u8], aad: Option<&[u8]>, plaintext: &[u8],
            psk: HpkePsk<'_>,
        ) -> HpkeCiphertext;
        fn hpke_open(
            &self, sealed: &HpkeCiphertext, secret: &HpkeSecretKey, public: &HpkePublicKey,
            info: &[u8], aad: Option<&[u8]>,
        ) -> Zeroizing<Vec<u8>>;
        fn hpke_open_psk(
            &self, sealed: &HpkeCiphertext, secret: &HpkeSecretKey, public: &HpkePublicKey,
            info: &[u8], aad: Option<&[u8]>, psk: HpkePsk<'_>,
        ) -> Zeroizing<Vec<u8>>;
        fn hpke_setup_s(
            &self, key: &HpkePublicKey, info: &[u8],
        ) -> (Vec<u8>, ContextS<Kdf, Aead>);
        fn hpke_setup_r(
            &self, output: &[u8], secret: &HpkeSecretKey, public: &HpkePublicKey, info: &[u8],
        ) -> ContextR<Kdf, Aead>;
        fn kem_derive(&self, ikm: &[u8]) -> (HpkeSecretKey, HpkePublicKey);
        fn kem_generate(&self) -> (HpkeSecretKey, HpkePublicKey);
        fn kem_public_key_validate(&self, key: &HpkePublicKey) -> ();
        fn signature_key_derive_public(&self, secret: &SignatureSecretKey) -> SignaturePublicKey;
        fn sign(&self, secret: &SignatureSecretKey, data: &[u8]) -> Vec<u8>;
    }

    fn cipher_suite(&self) -> CipherSuite {
        SUITE
    }

    fn aead_key_size(&self) -> usize {
        self.inner.aead_key_size()
    }

    fn aead_nonce_size(&self) -> usize {
        self.inner.aead_nonce_size()
    }

    fn kdf_extract_size(&self) -> usize {
        self.inner.kdf_extract_size()
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

/// X25519 whose new keys, those of HPKE's sender among them, come from the generator.
#[derive(Clone)]
pub(super) struct SeededDh {
    ecdh: Ecdh,
    randomness: Randomness,
}

impl DhType for SeededDh {
    type Error = DhError;

    fn dh(&self, secret: &HpkeSecretKey, public: &HpkePublicKey) -> Result<Vec<u8>, DhError> {
        let shared = self.ecdh.dh(secret, public)?;
        // Whoever sent a key of small order knows the result, so it's no secret that differs.
        if shared.iter().all(|byte| *byte == 0) { Err(DhError::SmallOrder) } else { Ok(shared) }
    }

    fn generate(&self) -> Result<(HpkeSecretKey, HpkePublicKey), DhError> {
        let mut secret = vec![0; self.secret_key_size()];
        self.randomness.fill(&mut secret);
        let secret = HpkeSecretKey::from(secret);
        let public = self.ecdh.to_public(&secret)?;
        Ok((secret, public))
    }

    fn to_public(&self, secret: &HpkeSecretKey) -> Result<HpkePublicKey, DhError> {
        Ok(self.ecdh.to_public(secret)?)
    }

    fn bitmask_for_rejection_sampling(&self) -> SamplingMethod {
        self.ecdh.bitmask_for_rejection_sampling()
    }

    fn secret_key_size(&self) -> usize {
        DhType::secret_key_size(&self.ecdh)
    }

    fn public_key_size(&self) -> usize {
        DhType::public_key_size(&self.ecdh)
    }

    fn public_key_validate(&self, key: &HpkePublicKey) -> Result<(), DhError> {
        Ok(self.ecdh.public_key_validate(key)?)
    }
}

/// Why two keys have no secret in common.
#[derive(Debug, thiserror::Error)]
pub(super) enum DhError {
    #[error(transparent)]
    Inner(#[from] EcdhKemError),
    #[error("the public key is of small order")]
    SmallOrder,
}

impl IntoAnyError for DhError {}

/// The generator, shared by all parts of one call into MLS.
#[derive(Clone)]
struct Randomness(Arc<Mutex<ChaCha20Rng>>);

impl Randomness {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests;
