//! Suspicions: a node says that it can't reach another one.

use std::net::SocketAddr;

use prost::Message;
use proto::{Contact, NodeId, PublicKey, limits, pack, unpack, wire};

use super::{RecordError, only_encoding, work::dht_key};
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
    /// Where the observer says it is.
    pub addresses: Vec<SocketAddr>,
    /// When it was signed, in seconds since the Unix epoch.
    pub at_s: u64,
}

impl Suspicion {
    /// Signs a suspicion of `node` by the observer whose key this is, and which has done its work.
    /// `serial` is that of the newest record of `node` which the observer knows.
    pub fn sign(
        key: &SigningKey,
        observer: &Contact,
        node: NodeId,
        serial: u64,
        at_s: u64,
    ) -> Vec<u8> {
        let body = wire::Suspicion {
            node: node.0.to_vec(),
            serial,
            observer: key.public().0.to_vec(),
            observer_nonce: observer.nonce,
            observer_addresses: observer.addresses.iter().map(pack).collect(),
            at_s,
        };
        statement::sign(key, CONTEXT, &body).encode_to_vec()
    }

    /// Checks signature, work and limits.
    pub(super) fn verify(bytes: &[u8], work_bits: u32) -> Result<Self, RecordError> {
        if bytes.len() > limits::SUSPICION_MAX {
            return Err(RecordError::Malformed);
        }
        let signed = only_encoding::<wire::Signed>(bytes)?;
        let (says, nonce) = read(&signed.body)?;
        dht_key(&says.observer, nonce, work_bits).ok_or(RecordError::Work)?;
        statement::check(&signed, CONTEXT, &PublicKey(says.observer.0))
            .map_err(|_| RecordError::Signature)?;
        Ok(says)
    }

    /// Reads the bytes of a suspicion that was verified before.
    pub(super) fn reread(bytes: &[u8]) -> Result<Self, RecordError> {
        let signed = wire::Signed::decode(bytes).map_err(|_| RecordError::Malformed)?;
        Ok(read(&signed.body)?.0)
    }
}

/// What a suspicion says, and its observer's proof of work.
fn read(body: &[u8]) -> Result<(Suspicion, u64), RecordError> {
    let body = wire::Suspicion::decode(body).map_err(|_| RecordError::Malformed)?;
    if body.observer_addresses.len() > limits::NODE_ADDRESSES_MAX {
        return Err(RecordError::Malformed);
    }
    let id = |bytes: &[u8]| NodeId::try_from(bytes).map_err(|_| RecordError::Malformed);
    let addresses = body.observer_addresses.iter().map(|bytes| unpack(bytes));
    let says = Suspicion {
        node: id(&body.node)?,
        serial: body.serial,
        observer: id(&body.observer)?,
        addresses: addresses.collect::<Result<_, _>>().map_err(|_| RecordError::Malformed)?,
        at_s: body.at_s,
    };
    Ok((says, body.observer_nonce))
}

const CONTEXT: &[u8] = b"siskin1 suspicion\x01";
