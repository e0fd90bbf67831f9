//! Authority: the key of an account's full devices, and the chain that makes it one.

use std::fmt;

use prost::Message;
use proto::{AccountId, DecodeError, limits, wire};
use rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use super::{
    Bundle, BundleError, Phrase, UnsignedRecord, chain::Chain, delegation, genesis::Genesis,
    record, rotation,
};
use crate::SigningKey;

/// What a full device holds: the authority's key with its delegation.
#[derive(Clone)]
pub struct Authority {
    pub(super) chain: Chain,
    key: SigningKey,
}

impl Authority {
    /// The authority of a new account.
    pub fn create(phrase: &Phrase, rng: &mut impl CryptoRng) -> Self {
        Self::appoint(phrase.genesis(), Vec::new(), &phrase.recovery_key(), 1, rng)
    }

    /// A new authority in place of that of `old`; whatever the old one signs, now or later, loses.
    /// Without `old` this is [`create`](Self::create).
    pub fn delegate(
        phrase: &Phrase,
        old: Option<&Bundle>,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, DelegateError> {
        let Some(old) = old else { return Ok(Self::create(phrase, rng)) };
        let recovery = owner(phrase, old)?;
        let serial = next_serial(old)?;
        let Chain { genesis, rotations, .. } = old.chain.clone();
        Ok(Self::appoint(genesis, rotations, &recovery, serial, rng))
    }

    /// Signs a record. An error means that the draft is beyond what everyone accepts, or that the
    /// bundle would be larger than [`limits::BUNDLE_MAX`].
    pub fn sign_record(&self, draft: UnsignedRecord) -> Result<Bundle, BundleError> {
        let record = record::sign(&self.key, self.chain.account, self.chain.serial, draft);
        Bundle::verify(&self.chain.to_wire(Some(record)).encode_to_vec())
    }

    /// Whose authority it is.
    pub fn account(&self) -> AccountId {
        self.chain.account
    }

    /// The bytes to keep, secret: 1 ‖ seed of the key (32) ‖ bundle without a record.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let chain = self.chain.to_wire(None).encode_to_vec();
        let seed = self.key.to_seed();
        Zeroizing::new([&[ENCODING_VERSION], seed.as_slice(), &chain].concat())
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&version, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
        if version != ENCODING_VERSION {
            return Err(DecodeError::Version);
        }
        let (seed, chain) = rest.split_first_chunk::<32>().ok_or(DecodeError::Truncated)?;
        let key = SigningKey::from_seed(*seed);
        let chain = Chain::verify(&wire::Bundle::decode(chain)?).map_err(|_| DecodeError::Wire)?;
        if key.public() != chain.authority {
            return Err(DecodeError::Wire);
        }
        Ok(Self { chain, key })
    }

    fn appoint(
        genesis: Genesis,
        rotations: Vec<wire::Signed>,
        recovery: &SigningKey,
        serial: u64,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let key = SigningKey::from_seed(seed);
        seed.zeroize();
        let (account, authority) = (genesis.account(), key.public());
        let delegation = delegation::sign(recovery, account, authority, serial);
        let recovery = recovery.public();
        let chain = Chain { genesis, account, rotations, delegation, recovery, authority, serial };
        Self { chain, key }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, key: _ } = self;
        write!(f, "Authority({:?}, serial {}, ..)", chain.account, chain.serial)
    }
}

/// Hands an account over from one phrase to the next. Returns the authority of the new delegation
/// that this takes; the account keeps its id, which the next phrase alone does not give.
pub fn rotate(
    current: &Phrase,
    next: &Phrase,
    old: &Bundle,
    rng: &mut impl CryptoRng,
) -> Result<Authority, DelegateError> {
    let recovery = owner(current, old)?;
    let next = next.recovery_key();
    let Chain { genesis, account, mut rotations, .. } = old.chain.clone();
    if rotations.len() >= limits::ROTATIONS_MAX {
        return Err(DelegateError::Exhausted);
    }
    let serial = old.chain.rotation_count().saturating_add(1);
    rotations.push(rotation::sign(&recovery, account, next.public(), serial));
    Ok(Authority::appoint(genesis, rotations, &next, next_serial(old)?, rng))
}

/// Why a new delegation can't be made. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelegateError {
    /// The phrase is not, or no longer, that of the account.
    #[error("these words are not the current recovery phrase of this account")]
    Phrase,
    /// The account has used up its rotations or serials.
    #[error("this account's recovery phrase can't be changed again")]
    Exhausted,
}

fn owner(phrase: &Phrase, bundle: &Bundle) -> Result<SigningKey, DelegateError> {
    let recovery = phrase.recovery_key();
    if recovery.public() != bundle.chain.recovery {
        return Err(DelegateError::Phrase);
    }
    Ok(recovery)
}

fn next_serial(old: &Bundle) -> Result<u64, DelegateError> {
    old.chain.serial.checked_add(1).ok_or(DelegateError::Exhausted)
}

const ENCODING_VERSION: u8 = 1;
