//! Bundles: everything that others need to know, and to believe, about an account.

use std::{cmp::Ordering, fmt};

use prost::Message;
use proto::{AccountId, NodeAddress, PublicKey, limits, wire};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};

use super::{
    bundle_error::BundleError,
    chain::Chain,
    inbox,
    record::{self, Device, UnsignedRecord},
};

/// A verified bundle, with the bytes it came in.
///
/// Of two bundles of one account the one of the higher [`rank`](Self::rank) wins, always and
/// everywhere. Two different ones of equal rank prove that a holder of the keys misbehaved:
/// [`Precedence::Forked`].
#[derive(Clone, PartialEq)]
pub struct Bundle {
    pub(super) chain: Chain,
    record: UnsignedRecord,
    bytes: Vec<u8>,
}

impl Bundle {
    /// Checks every signature, serial and limit. The caller compares
    /// [`account`](Self::account) with the account it asked for.
    pub fn verify(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > limits::BUNDLE_MAX {
            return Err(BundleError::TooLarge);
        }
        let wire = wire::Bundle::decode(bytes).map_err(|_| BundleError::Malformed)?;
        // No signature covers the frame around the statements. If it could be written in two ways,
        // anyone could make a fork out of an honest bundle.
        if wire.encode_to_vec() != bytes {
            return Err(BundleError::Malformed);
        }
        let chain = Chain::verify(&wire)?;
        let signed = wire.record.as_ref().ok_or(BundleError::Malformed)?;
        let record = record::open(signed, &chain.authority, chain.account, chain.serial)?;
        Ok(Self { chain, record, bytes: bytes.to_vec() })
    }

    /// Whose bundle it is.
    pub fn account(&self) -> AccountId {
        self.chain.account
    }

    /// The bytes that were verified, fields of later versions included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes: how contacts tell each other which bundle they know.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }

    /// The number of rotations, the delegation's serial and the record's version, compared in this
    /// order.
    pub fn rank(&self) -> (u64, u64, u64) {
        (self.chain.rotation_count(), self.chain.serial, self.record.version)
    }

    /// The account's devices: 1 to [`limits::DEVICES_MAX`].
    pub fn devices(&self) -> &[Device] {
        &self.record.devices
    }

    /// Returns whether a device belongs to the account.
    pub fn has_device(&self, key: &PublicKey) -> bool {
        self.record.devices.iter().any(|device| device.key == *key)
    }

    /// The home set: 1 to [`limits::RANKING_MAX`] nodes in order of preference.
    pub fn homes(&self) -> &[NodeAddress] {
        &self.record.homes
    }

    /// How many home nodes, from the first reachable one, hold everything the account has.
    pub fn copies(&self) -> usize {
        (self.record.copies as usize).min(self.record.homes.len())
    }

    /// Seals `plaintext` so that only this account opens it, and only with the same `aad`. Nothing
    /// if it is too large.
    pub fn seal_to_inbox(
        &self,
        aad: &[u8],
        plaintext: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Option<Vec<u8>> {
        inbox::seal(&self.record.inbox_key, aad, plaintext, rng).ok()
    }

    /// A draft of the next record, to be changed and signed.
    pub fn next_record(&self) -> UnsignedRecord {
        let version = self.record.version.saturating_add(1);
        UnsignedRecord { version, ..self.record.clone() }
    }

    /// How this bundle stands to another one of the same account.
    pub fn compare(&self, other: &Self) -> Precedence {
        match self.rank().cmp(&other.rank()) {
            // Never let another account's bundle take this one's place, nor accuse anyone.
            _ if self.account() != other.account() => Precedence::Older,
            Ordering::Greater => Precedence::Newer,
            Ordering::Less => Precedence::Older,
            Ordering::Equal if self.bytes == other.bytes => Precedence::Same,
            Ordering::Equal => Precedence::Forked,
        }
    }

    /// Returns whether this bundle replaces `held`: if it is newer, or forked and of the lower
    /// hash, so that every program uses the same one until a higher rank ends the fork.
    pub fn replaces(&self, held: &Self) -> bool {
        match self.compare(held) {
            Precedence::Newer => true,
            Precedence::Forked => self.hash() < held.hash(),
            Precedence::Same | Precedence::Older => false,
        }
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundle({:?}, {:?})", self.account(), self.rank())
    }
}

/// How one bundle stands to another one of the same account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// It wins.
    Newer,
    /// It is the other.
    Same,
    /// It loses.
    Older,
    /// Equal rank, other content: a proof of misbehaviour, to be kept and shown.
    Forked,
}
