//! Inbox sealing: X-Wing HPKE (RFC 9180, base mode), post-quantum because an attacker who records a
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

    /// The key that others seal to, 1,216 bytes.
    pub fn public(&self) -> Vec<u8> {
        XWing::sk_to_pk(&self.private()).to_bytes().to_vec()
    }

    /// Opens what [`seal`] made for this key and with this `aad`.
    pub(super) fn open(
        &self,
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
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
pub(super) fn seal(
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

/// Returns whether bytes are a key that [`seal`] takes: of the right length, and each
/// coefficient of the ML-KEM part reduced (FIPS 203, section 7.2).
pub(super) fn is_public_key(bytes: &[u8]) -> bool {
    <XWing as Kem>::PublicKey::from_bytes(bytes).is_ok()
}

/// Sealing or opening failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    /// There is no sealing to this key.
    #[error("not a valid inbox key")]
    Key,
    /// Not sealed to this key with this head, or changed since.
    #[error("not sealed to this inbox, or damaged")]
    Open,
}

const INFO: &[u8] = b"siskin1 inbox";
const ENCAPSULATED_LEN: usize = 1120;

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;
    use crate::vectors::{hex, read, unhex};

    #[test]
    fn opens_what_another_implementation_sealed() {
        let vectors = read(include_str!("../../../../spec/vectors/inbox.txt"));
        let key = InboxKey::from_seed(unhex(vectors["seed"]).try_into().unwrap());
        assert_eq!(hex(key.public()), vectors["public_key"]);
        let opened = key.open(&unhex(vectors["aad"]), &unhex(vectors["ciphertext"]));
        assert_eq!(hex(opened.unwrap().as_slice()), vectors["plaintext"]);
    }

    #[test]
    fn only_the_right_key_and_head_open() {
        let (key, other) = (InboxKey::from_seed([1; 32]), InboxKey::from_seed([2; 32]));
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let sealed = seal(&key.public(), b"head", b"text", &mut rng).unwrap();

        assert_eq!(key.open(b"head", &sealed).as_deref().map(Vec::as_slice), Ok(&b"text"[..]));
        assert_eq!(key.open(b"heap", &sealed), Err(SealError::Open));
        assert_eq!(other.open(b"head", &sealed), Err(SealError::Open));
        for length in [0, 1119, 1120, 1135, sealed.len() - 1] {
            assert_eq!(key.open(b"head", &sealed[..length]), Err(SealError::Open), "{length}");
        }
        for i in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[i] ^= 1;
            assert_eq!(key.open(b"head", &broken), Err(SealError::Open), "byte {i}");
        }
    }

    #[test]
    fn each_sealing_is_another_one() {
        let public = InboxKey::from_seed([1; 32]).public();
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let mut seal = || seal(&public, b"", b"text", &mut rng).unwrap();
        assert_ne!(seal()[..1120], seal()[..1120]);
    }

    #[test]
    fn there_is_no_sealing_to_a_bad_key() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let public = InboxKey::from_seed([1; 32]).public();
        let mut unreduced = public.clone();
        unreduced[..1152].fill(0xff);
        for key in [&[][..], &public[1..], &unreduced] {
            assert_eq!(seal(key, b"", b"text", &mut rng), Err(SealError::Key));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", InboxKey::from_seed([0xab; 32])), "InboxKey(..)");
    }
}
