//! The primitives of suite 3 behind the traits from which mls-rs builds HPKE: HKDF-SHA256,
//! ChaCha20-Poly1305 and X25519.

use std::sync::{Arc, Mutex, PoisonError};

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use mls_rs_core::{
    crypto::{HpkePublicKey, HpkeSecretKey},
    error::IntoAnyError,
};
use mls_rs_crypto_hpke::hpke::HpkeError;
use mls_rs_crypto_traits::{AeadId, AeadType, DhType, KdfId, KdfType, SamplingMethod};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, Rng, SeedableRng};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// HKDF-SHA256 (RFC 5869).
#[derive(Clone)]
pub(in crate::group::mls) struct HkdfSha256;

impl KdfType for HkdfSha256 {
    type Error = SuiteError;

    fn kdf_id(&self) -> u16 {
        KdfId::HkdfSha256 as u16
    }

    fn expand(&self, prk: &[u8], info: &[u8], len: usize) -> Result<Vec<u8>, SuiteError> {
        let hkdf = Hkdf::<Sha256>::from_prk(prk).map_err(|_| SuiteError::Length)?;
        let mut out = vec![0; len];
        hkdf.expand(info, &mut out).map_err(|_| SuiteError::Length)?;
        Ok(out)
    }

    fn extract(&self, salt: &[u8], ikm: &[u8]) -> Result<Vec<u8>, SuiteError> {
        if ikm.is_empty() {
            return Err(SuiteError::Length);
        }
        Ok(Hkdf::<Sha256>::extract(Some(salt), ikm).0.to_vec())
    }

    fn extract_size(&self) -> usize {
        KdfId::HkdfSha256.extract_size()
    }
}

/// ChaCha20-Poly1305 (RFC 8439). Refuses empty plaintexts: MLS has none.
#[derive(Clone)]
pub(in crate::group::mls) struct ChaChaPoly;

impl ChaChaPoly {
    fn cipher(key: &[u8]) -> Result<ChaCha20Poly1305, SuiteError> {
        ChaCha20Poly1305::new_from_slice(key).map_err(|_| SuiteError::Length)
    }
}

impl AeadType for ChaChaPoly {
    type Error = SuiteError;

    fn aead_id(&self) -> u16 {
        AeadId::Chacha20Poly1305 as u16
    }

    fn seal(
        &self,
        key: &[u8],
        data: &[u8],
        aad: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<Vec<u8>, SuiteError> {
        if data.is_empty() {
            return Err(SuiteError::Length);
        }
        let nonce = nonce.try_into().map_err(|_| SuiteError::Length)?;
        let payload = Payload { msg: data, aad: aad.unwrap_or_default() };
        Self::cipher(key)?.encrypt(nonce, payload).map_err(|_| SuiteError::Aead)
    }

    fn open(
        &self,
        key: &[u8],
        ciphertext: &[u8],
        aad: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<Vec<u8>, SuiteError> {
        if ciphertext.len() <= TAG_LEN {
            return Err(SuiteError::Length);
        }
        let nonce = nonce.try_into().map_err(|_| SuiteError::Length)?;
        let payload = Payload { msg: ciphertext, aad: aad.unwrap_or_default() };
        Self::cipher(key)?.decrypt(nonce, payload).map_err(|_| SuiteError::Aead)
    }

    fn key_size(&self) -> usize {
        AeadId::Chacha20Poly1305.key_size()
    }

    fn nonce_size(&self) -> usize {
        AeadId::Chacha20Poly1305.nonce_size()
    }
}

/// X25519 (RFC 7748) whose new keys, those of HPKE's sender among them, come from the generator.
#[derive(Clone)]
pub(in crate::group::mls) struct X25519(pub(super) Randomness);

impl DhType for X25519 {
    type Error = SuiteError;

    fn dh(&self, secret: &HpkeSecretKey, public: &HpkePublicKey) -> Result<Vec<u8>, SuiteError> {
        let public = PublicKey::from(array(public)?);
        let shared = secret_key(secret)?.diffie_hellman(&public);
        // The sender of a key of small order knows the result in advance: it is no secret.
        if shared.was_contributory() {
            Ok(shared.to_bytes().to_vec())
        } else {
            Err(SuiteError::Key)
        }
    }

    fn generate(&self) -> Result<(HpkeSecretKey, HpkePublicKey), SuiteError> {
        let mut secret = vec![0; KEY_LEN];
        self.0.fill(&mut secret);
        let secret = HpkeSecretKey::from(secret);
        let public = self.to_public(&secret)?;
        Ok((secret, public))
    }

    fn to_public(&self, secret: &HpkeSecretKey) -> Result<HpkePublicKey, SuiteError> {
        Ok(PublicKey::from(&secret_key(secret)?).to_bytes().to_vec().into())
    }

    fn bitmask_for_rejection_sampling(&self) -> SamplingMethod {
        SamplingMethod::HpkeWithoutBitmask
    }

    fn secret_key_size(&self) -> usize {
        KEY_LEN
    }

    fn public_key_size(&self) -> usize {
        KEY_LEN
    }

    fn public_key_validate(&self, key: &HpkePublicKey) -> Result<(), SuiteError> {
        array(key).map(|_| ())
    }
}

fn secret_key(secret: &HpkeSecretKey) -> Result<StaticSecret, SuiteError> {
    let bytes = Zeroizing::new(array(secret)?);
    Ok(StaticSecret::from(*bytes))
}

fn array(bytes: &[u8]) -> Result<[u8; KEY_LEN], SuiteError> {
    bytes.try_into().map_err(|_| SuiteError::Key)
}

/// The generator, shared by all parts of one call into MLS.
#[derive(Clone)]
pub(in crate::group::mls) struct Randomness(Arc<Mutex<ChaCha20Rng>>);

impl Randomness {
    /// Seeds the generator with 32 bytes of `rng`.
    pub(super) fn new(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Self(Arc::new(Mutex::new(ChaCha20Rng::from_seed(*seed))))
    }

    pub(super) fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

/// Why the suite refuses an input.
#[derive(Debug, thiserror::Error)]
pub(in crate::group::mls) enum SuiteError {
    #[error(transparent)]
    Hpke(#[from] HpkeError),
    #[error("the ciphertext, its key or the associated data is not valid")]
    Aead,
    #[error("the key is not valid")]
    Key,
    #[error("an input of the wrong length")]
    Length,
    #[error("the signature or its key is not valid")]
    Signature,
}

impl IntoAnyError for SuiteError {}

const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
