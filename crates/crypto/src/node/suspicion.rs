//! Suspicions: a node says that it can't reach another one.

use prost::Message;
use proto::{NodeId, PublicKey, limits, wire};

use super::{RecordError, only_encoding, place};
use crate::{SigningKey, identity::statement};

/// A verified suspicion: `observer` can't reach `node`, nor can others whom it asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// Who seems to be gone.
    pub node: NodeId,
    /// Of its newest record that the observer knew; a newer one refutes.
    pub serial: u64,
    /// Who says so.
    pub observer: NodeId,
}

impl Suspicion {
    /// Signs a suspicion of the observer whose key this is, and which has done its work.
    pub fn sign(key: &SigningKey, observer_nonce: u64, node: NodeId, serial: u64) -> Vec<u8> {
        let observer = key.public().0.to_vec();
        let body = wire::Suspicion { node: node.0.to_vec(), serial, observer, observer_nonce };
        statement::sign(key, CONTEXT, &body).encode_to_vec()
    }

    /// Checks signature, work and limits.
    pub fn verify(bytes: &[u8], work_bits: u32) -> Result<Self, RecordError> {
        if bytes.len() > limits::SUSPICION_MAX {
            return Err(RecordError::Malformed);
        }
        let signed = only_encoding::<wire::Signed>(bytes)?;
        let body =
            wire::Suspicion::decode(signed.body.as_slice()).map_err(|_| RecordError::Malformed)?;
        let id = |bytes: &[u8]| NodeId::try_from(bytes).map_err(|_| RecordError::Malformed);
        let (node, observer) = (id(&body.node)?, id(&body.observer)?);
        place(&observer, body.observer_nonce, work_bits).ok_or(RecordError::Work)?;
        statement::check(&signed, CONTEXT, &PublicKey(observer.0))
            .map_err(|_| RecordError::Signature)?;
        Ok(Self { node, serial: body.serial, observer })
    }

    /// Reads the bytes of a suspicion that was verified before.
    pub(super) fn reread(bytes: &[u8]) -> Option<Self> {
        let signed = wire::Signed::decode(bytes).ok()?;
        let body = wire::Suspicion::decode(signed.body.as_slice()).ok()?;
        let id = |bytes: &[u8]| NodeId::try_from(bytes).ok();
        Some(Self { node: id(&body.node)?, serial: body.serial, observer: id(&body.observer)? })
    }
}

const CONTEXT: &[u8] = b"siskin1 suspicion\x01";
