//! Inbox sealing: X-Wing HPKE (RFC 9180, base mode), post-quantum because whoever records a
//! request today must not open it later. Specified in `spec/accounts.md`, section 6.

use std::fmt;

use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256,
    kem::XWing,
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// The private half of an account's inbox key. Wiped when dropped.
#[derive(Clone)]
pub struct InboxKey(Zeroizing<[u8; 32]>);

impl InboxKey {
    /// The key that 32 secret bytes stand for: X-Wing's decapsulation key is this seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Zeroizing::new(seed))
    }

    /// The secret bytes.
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// The key that others seal to, 1,216 bytes.
    pub fn public(&self) -> Vec<u8> {
        XWing::sk_to_pk(&self.private()).to_bytes().to_vec()
    }

    /// Opens what [`seal_to_inbox`] made for this key and with this `aad`.
    pub fn open(&self, aad: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (key, sealed) = ciphertext.split_at_checked(ENCAPSULATED_LEN).ok_or(SealError::Open)?;
        let key = <XWing as Kem>::EncappedKey::from_bytes(key).map_err(|_| SealError::Open)?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &self.private(),
            &key,
            INFO,
            sealed,
            aad,
        )
        .map(Zeroizing::new)
        .map_err(|_| SealError::Open)
    }

    #[expect(clippy::expect_used, reason = "any 32 bytes are an X-Wing private key")]
    fn private(&self) -> <XWing as Kem>::PrivateKey {
        <XWing as Kem>::PrivateKey::from_bytes(&*self.0).expect("32 bytes are a private key")
    }
}

impl fmt::Debug for InboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(_) = self;
        f.write_str("InboxKey(..)")
    }
}

/// Seals `plaintext` so that only the holder of the inbox key opens it, and only with the same
/// `aad`: encapsulated key (1,120 bytes) ‖ ciphertext, 16 bytes longer than the plaintext.
pub fn seal_to_inbox(
    public: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let public = <XWing as Kem>::PublicKey::from_bytes(public).map_err(|_| SealError::Key)?;
    let (key, sealed) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        &public,
        INFO,
        plaintext,
        aad,
        rng,
    )
    .map_err(|_| SealError::Key)?;
    Ok([key.to_bytes().as_slice(), &sealed].concat())
}

/// Tells whether bytes are a key that [`seal_to_inbox`] takes: of the right length, and each
/// coefficient of the ML-KEM part reduced (FIPS 203, section 7.2).
pub(crate) fn is_public_key(bytes: &[u8]) -> bool {
    <XWing as Kem>::PublicKey::from_bytes(bytes).is_ok()
}

/// Sealing or opening failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no sealing to this key.
    #[error("not a valid inbox key")]
    Key,
    /// Not sealed to this key with this head, or changed since.
    #[error("not sealed to this inbox, or damaged")]
    Open,
}

const INFO: &[u8] = b"siskin1 inbox";
const ENCAPSULATED_LEN: usize = 1120;
