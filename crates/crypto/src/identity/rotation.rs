//! Rotation: a recovery key names the next one.

use proto::{AccountId, PublicKey, wire};

use super::{BundleError, statement};
use crate::SigningKey;

/// Signs the rotation number `serial` of an account.
pub(super) fn sign(
    current: &SigningKey,
    account: AccountId,
    next: PublicKey,
    serial: u64,
) -> wire::Signed {
    let (account, next_recovery_key) = (account.0.to_vec(), next.0.to_vec());
    statement::sign(current, CONTEXT, &wire::Rotation { account, next_recovery_key, serial })
}

/// Checks the rotation number `serial` of an account and returns the next recovery key.
pub(super) fn open(
    signed: &wire::Signed,
    current: &PublicKey,
    account: AccountId,
    serial: u64,
) -> Result<PublicKey, BundleError> {
    let rotation: wire::Rotation = statement::open(signed, CONTEXT, current)?;
    if rotation.account != account.0 {
        return Err(BundleError::Account);
    }
    if rotation.serial != serial {
        return Err(BundleError::Serial);
    }
    rotation.next_recovery_key.as_slice().try_into().map_err(|_| BundleError::Malformed)
}

const CONTEXT: &[u8] = b"siskin1 rotation\x01";
