//! Genesis: what an account starts from; its hash is the account's id.

use prost::Message;
use proto::{AccountId, DecodeError, PublicKey, wire};
use sha2::{Digest, Sha256};

/// The first recovery key of an account and a salt, kept as the bytes that are hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Genesis {
    bytes: Vec<u8>,
    recovery_key: PublicKey,
}

impl Genesis {
    /// The genesis of a new account.
    pub(super) fn new(recovery_key: PublicKey, salt: [u8; 16]) -> Self {
        let wire = wire::Genesis {
            version: VERSION,
            recovery_key: recovery_key.0.to_vec(),
            salt: salt.to_vec(),
        };
        Self { bytes: wire.encode_to_vec(), recovery_key }
    }

    /// The account's id: SHA-256 of the bytes.
    pub(super) fn account(&self) -> AccountId {
        AccountId(Sha256::digest(&self.bytes).into())
    }

    /// The recovery key that the account starts with.
    pub(super) fn recovery_key(&self) -> PublicKey {
        self.recovery_key
    }

    /// The bytes that are hashed.
    pub(super) fn encode(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// Reads a genesis; fields of later versions survive.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = wire::Genesis::decode(bytes)?;
        if wire.version != VERSION {
            return Err(DecodeError::Version);
        }
        if wire.salt.len() != 16 {
            return Err(DecodeError::Length);
        }
        let recovery_key = PublicKey::try_from(wire.recovery_key.as_slice())?;
        Ok(Self { bytes: bytes.to_vec(), recovery_key })
    }
}

const VERSION: u32 = 1;
