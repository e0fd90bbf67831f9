//! The part of a bundle that recovery keys sign: from the genesis to the authority.

use proto::{AccountId, PublicKey, limits, wire};

use super::{BundleError, delegation, genesis::Genesis, rotation};

/// A verified genesis with its rotations and one delegation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chain {
    pub(super) genesis: Genesis,
    pub(super) account: AccountId,
    pub(super) rotations: Vec<wire::Signed>,
    pub(super) delegation: wire::Signed,
    /// The recovery key after all rotations.
    pub(super) recovery: PublicKey,
    pub(super) authority: PublicKey,
    /// The delegation's serial.
    pub(super) serial: u64,
}

impl Chain {
    /// Checks every statement but the record.
    pub(super) fn verify(bundle: &wire::Bundle) -> Result<Self, BundleError> {
        let genesis = Genesis::decode(&bundle.genesis).map_err(|_| BundleError::Malformed)?;
        let account = genesis.account();
        if bundle.rotations.len() > limits::ROTATIONS_MAX {
            return Err(BundleError::TooLarge);
        }
        let mut recovery = genesis.recovery_key();
        for (signed, serial) in bundle.rotations.iter().zip(1..) {
            recovery = rotation::open(signed, &recovery, account, serial)?;
        }
        let signed = bundle.delegation.as_ref().ok_or(BundleError::Malformed)?;
        let (authority, serial) = delegation::open(signed, &recovery, account)?;
        Ok(Self {
            genesis,
            account,
            rotations: bundle.rotations.clone(),
            delegation: signed.clone(),
            recovery,
            authority,
            serial,
        })
    }

    /// A bundle of this chain with a record, or the chain alone.
    pub(super) fn to_wire(&self, record: Option<wire::Signed>) -> wire::Bundle {
        wire::Bundle {
            genesis: self.genesis.encode(),
            rotations: self.rotations.clone(),
            delegation: Some(self.delegation.clone()),
            record,
        }
    }

    /// How often the recovery key was rotated.
    pub(super) fn rotation_count(&self) -> u64 {
        u64::try_from(self.rotations.len()).unwrap_or(u64::MAX)
    }
}
