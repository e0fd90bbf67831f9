//! Account record: what the authority says about the account, version after version.

use std::collections::BTreeSet;

use proto::{AccountId, NodeAddress, PublicKey, limits, wire};

use super::inbox;
use super::{BundleError, statement};
use crate::{SigningKey, is_weak};

/// What the next record is to say. Everyone refuses a record beyond these bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedRecord {
    /// From 1; of two records of one delegation the larger wins.
    pub version: u64,
    /// 1 to [`limits::DEVICES_MAX`] devices, each once.
    pub devices: Vec<Device>,
    /// The home set: 1 to [`limits::RANKING_MAX`] nodes, each once, in order of preference.
    pub homes: Vec<NodeAddress>,
    /// How many of the homes are to hold all that the account has: [`limits::COPIES_MIN`] to
    /// [`limits::COPIES_MAX`], or as many as there are.
    pub copies: u32,
    /// The X-Wing public key that contact requests are sealed to.
    pub inbox_key: Vec<u8>,
}

/// One installation of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The key it signs with.
    pub key: PublicKey,
    /// When it was added, in seconds since the Unix epoch, by the clock of the device that added
    /// it.
    pub added_s: u64,
}

/// Signs a record.
pub(super) fn sign(
    authority: &SigningKey,
    account: AccountId,
    delegation_serial: u64,
    draft: UnsignedRecord,
) -> wire::Signed {
    let device =
        |device: &Device| wire::Device { key: device.key.0.to_vec(), added_s: device.added_s };
    let record = wire::AccountRecord {
        account: account.0.to_vec(),
        delegation_serial,
        version: draft.version,
        devices: draft.devices.iter().map(device).collect(),
        homes: draft.homes.iter().map(wire::NodeAddress::from).collect(),
        inbox_key: draft.inbox_key,
        copies: if draft.copies == limits::COPIES_MIN { 0 } else { draft.copies },
    };
    statement::sign(authority, CONTEXT, &record)
}

/// Checks a record and returns what it says.
pub(super) fn open(
    signed: &wire::Signed,
    authority: &PublicKey,
    account: AccountId,
    delegation_serial: u64,
) -> Result<UnsignedRecord, BundleError> {
    let record: wire::AccountRecord = statement::open(signed, CONTEXT, authority)?;
    if record.account != account.0 {
        return Err(BundleError::Account);
    }
    if record.delegation_serial != delegation_serial || record.version == 0 {
        return Err(BundleError::Serial);
    }
    if !inbox::is_public_key(&record.inbox_key) {
        return Err(BundleError::InboxKey);
    }
    Ok(UnsignedRecord {
        version: record.version,
        devices: devices(&record.devices)?,
        homes: homes(&record.homes)?,
        copies: copies(record.copies)?,
        inbox_key: record.inbox_key,
    })
}

fn devices(wire: &[wire::Device]) -> Result<Vec<Device>, BundleError> {
    if wire.is_empty() || wire.len() > limits::DEVICES_MAX {
        return Err(BundleError::Devices);
    }
    let device = |device: &wire::Device| {
        let key = PublicKey::try_from(device.key.as_slice()).map_err(|_| BundleError::Devices)?;
        if is_weak(&key) {
            return Err(BundleError::Devices);
        }
        Ok(Device { key, added_s: device.added_s })
    };
    let devices = wire.iter().map(device).collect::<Result<Vec<_>, BundleError>>()?;
    if devices.iter().map(|device| device.key).collect::<BTreeSet<_>>().len() < devices.len() {
        return Err(BundleError::Devices);
    }
    Ok(devices)
}

fn homes(wire: &[wire::NodeAddress]) -> Result<Vec<NodeAddress>, BundleError> {
    if wire.is_empty() || wire.len() > limits::RANKING_MAX {
        return Err(BundleError::Homes);
    }
    let homes = wire.iter().map(NodeAddress::try_from);
    let homes = homes.collect::<Result<Vec<_>, _>>().map_err(|_| BundleError::Homes)?;
    if homes.iter().map(|home| home.node).collect::<BTreeSet<_>>().len() < homes.len() {
        return Err(BundleError::Homes);
    }
    Ok(homes)
}

fn copies(wire: u32) -> Result<u32, BundleError> {
    match wire {
        0 => Ok(limits::COPIES_MIN),
        limits::COPIES_MIN..=limits::COPIES_MAX => Ok(wire),
        _ => Err(BundleError::Homes),
    }
}

const CONTEXT: &[u8] = b"siskin1 record\x01";
