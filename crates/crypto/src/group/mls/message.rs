//! Reading what peers send: MLS messages, and what commits say and change.

use mls_rs::{
    MlsMessage, WireFormat,
    group::{NewEpoch, proposal::Proposal},
    mls_rs_codec::MlsEncode,
};
use prost::Message;
use proto::{limits, wire::CommitRef};

use crate::group::cgka::{CgkaError, Intent};

/// Reads a message of one kind, of which there is one encoding only.
pub(super) fn read(bytes: &[u8], format: WireFormat) -> Result<MlsMessage, CgkaError> {
    let message = read_any(bytes)?;
    if message.wire_format() == format { Ok(message) } else { Err(CgkaError::Malformed) }
}

/// Reads a commit by a member, or by a device that joins.
pub(super) fn read_commit(bytes: &[u8]) -> Result<MlsMessage, CgkaError> {
    let message = read_any(bytes)?;
    let formats = [WireFormat::PrivateMessage, WireFormat::PublicMessage];
    if formats.contains(&message.wire_format()) { Ok(message) } else { Err(CgkaError::Malformed) }
}

fn read_any(bytes: &[u8]) -> Result<MlsMessage, CgkaError> {
    // MLS itself doesn't look at the version around a key package.
    if bytes.len() > limits::COMMIT_MAX || !bytes.starts_with(&MLS_10) {
        return Err(CgkaError::Malformed);
    }
    let message = MlsMessage::from_bytes(bytes)?;
    if message.to_bytes()? != bytes {
        return Err(CgkaError::Malformed);
    }
    Ok(message)
}

pub(super) fn read_key_package(bytes: &[u8]) -> Result<MlsMessage, CgkaError> {
    if bytes.len() > limits::KEY_PACKAGE_BYTES_MAX {
        return Err(CgkaError::Malformed);
    }
    read(bytes, WireFormat::KeyPackage)
}

pub(super) fn read_commit_ref(bytes: &[u8]) -> Result<CommitRef, CgkaError> {
    CommitRef::decode(bytes).map_err(|_| CgkaError::Malformed)
}

/// Returns what a commit changes, but for the leaf of a committer that joins.
pub(super) fn changes(epoch: &NewEpoch, is_external: bool) -> Result<Vec<Intent>, CgkaError> {
    let mut intents = Vec::new();
    for applied in epoch.applied_proposals() {
        if let Proposal::Add(add) = &applied.proposal {
            let mut key_package = KEY_PACKAGE_HEADER.to_vec();
            add.key_package().mls_encode(&mut key_package)?;
            intents.push(Intent::Add { key_package });
        } else if let Proposal::Remove(remove) = &applied.proposal {
            intents.push(Intent::Remove { leaf: remove.to_remove() });
        } else if !(is_external && matches!(applied.proposal, Proposal::ExternalInit(_))) {
            return Err(CgkaError::UnknownChange);
        }
    }
    Ok(intents)
}

const MLS_10: [u8; 2] = [0, 1];
/// MLS 1.0, and the wire format of a key package.
const KEY_PACKAGE_HEADER: [u8; 4] = [0, 1, 0, WireFormat::KeyPackage as u8];
