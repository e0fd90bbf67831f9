//! Delegation: the recovery key names the authority, which signs daily life.

use proto::{AccountId, PublicKey, wire};

use super::{BundleError, statement};
use crate::SigningKey;

/// Signs the delegation number `serial` of an account.
pub(super) fn sign(
    recovery: &SigningKey,
    account: AccountId,
    authority: PublicKey,
    serial: u64,
) -> wire::Signed {
    let (account, authority_key) = (account.0.to_vec(), authority.0.to_vec());
    statement::sign(recovery, CONTEXT, &wire::Delegation { account, authority_key, serial })
}

/// Checks a delegation and returns the authority's key and the serial.
pub(super) fn open(
    signed: &wire::Signed,
    recovery: &PublicKey,
    account: AccountId,
) -> Result<(PublicKey, u64), BundleError> {
    let delegation: wire::Delegation = statement::open(signed, CONTEXT, recovery)?;
    if delegation.account != account.0 {
        return Err(BundleError::Account);
    }
    if delegation.serial == 0 {
        return Err(BundleError::Serial);
    }
    let authority = delegation.authority_key.as_slice().try_into();
    Ok((authority.map_err(|_| BundleError::Malformed)?, delegation.serial))
}

const CONTEXT: &[u8] = b"siskin1 delegation\x01";
