//! Nodes: what they say of themselves and of each other, and what their keys in the DHT cost.
//! Specified in `spec/routing.md`, sections 2, 3 and 9.

mod ack;
mod suspicion;
mod verifier;
mod work;

use std::{cmp::Ordering, fmt, net::SocketAddr};

use prost::Message;
use proto::{Contact, Key, NodeId, PublicKey, limits, pack, unpack, wire};

use self::work::dht_key;
use crate::{SigningKey, identity::statement};

pub use ack::{LossProof, NoProof, sign_ack, sign_lost, verify_ack};
pub use suspicion::Suspicion;
pub use verifier::Verifier;

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnsignedNodeRecord {
    /// Its proof of work.
    pub nonce: u64,
    /// Seconds since the Unix epoch at which this was said; the higher one wins.
    pub serial: u64,
    /// Where it can be dialled; none if it can't.
    pub addresses: Vec<SocketAddr>,
    /// What it may store.
    pub capacity_bytes: u64,
    /// Since when it has been running without a break, in seconds since the Unix epoch.
    pub since_s: u64,
    /// Of its operator's choice; at most [`limits::REGION_MAX`] bytes.
    pub region: String,
    /// A key of an operator of several nodes.
    pub operator: Option<PublicKey>,
    /// Of its software; at most [`limits::REGION_MAX`] bytes.
    pub version: String,
    /// It leaves, permanently or temporarily.
    pub leaving: bool,
}

/// What a node says of itself, verified, with the bytes that it signed.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeRecord {
    node: NodeId,
    dht_key: Key,
    says: UnsignedNodeRecord,
    bytes: Vec<u8>,
}

impl NodeRecord {
    /// Signs what the node of this key says. Nothing if it is beyond what others accept.
    pub fn sign(key: &SigningKey, says: &UnsignedNodeRecord, work_bits: u32) -> Option<Self> {
        let record = wire::NodeRecord {
            node: key.public().0.to_vec(),
            nonce: says.nonce,
            serial: says.serial,
            addresses: says.addresses.iter().map(pack).collect(),
            capacity_bytes: says.capacity_bytes,
            since_s: says.since_s,
            region: says.region.clone(),
            operator: says.operator.map(|key| key.0.to_vec()).unwrap_or_default(),
            version: says.version.clone(),
            leaving: says.leaving,
        };
        let bytes = statement::sign(key, CONTEXT, &record).encode_to_vec();
        Self::verify(&bytes, work_bits).ok()
    }

    /// Checks signature, work and limits.
    pub fn verify(bytes: &[u8], work_bits: u32) -> Result<Self, RecordError> {
        if bytes.len() > limits::NODE_RECORD_MAX {
            return Err(RecordError::Malformed);
        }
        let signed = only_encoding::<wire::Signed>(bytes)?;
        let record =
            wire::NodeRecord::decode(signed.body.as_slice()).map_err(|_| RecordError::Malformed)?;
        let node = NodeId::try_from(record.node.as_slice()).map_err(|_| RecordError::Malformed)?;
        let dht_key = dht_key(&node, record.nonce, work_bits).ok_or(RecordError::Work)?;
        let says = draft(record)?;
        statement::check(&signed, CONTEXT, &PublicKey(node.0))
            .map_err(|_| RecordError::Signature)?;
        Ok(Self { node, dht_key, says, bytes: bytes.to_vec() })
    }

    /// Reads the bytes of a record that was verified before.
    pub fn reread(bytes: &[u8]) -> Option<Self> {
        let signed = wire::Signed::decode(bytes).ok()?;
        let record = wire::NodeRecord::decode(signed.body.as_slice()).ok()?;
        let node = NodeId::try_from(record.node.as_slice()).ok()?;
        let dht_key = dht_key(&node, record.nonce, 0)?;
        Some(Self { node, dht_key, says: draft(record).ok()?, bytes: bytes.to_vec() })
    }

    /// Whose record it is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Returns the node's key in the DHT.
    pub fn dht_key(&self) -> Key {
        self.dht_key
    }

    /// Returns the key in the DHT of a node that is known by its contact only. Nothing if the
    /// contact proves less work.
    pub fn key_of(contact: &Contact, work_bits: u32) -> Option<Key> {
        dht_key(&contact.node, contact.nonce, work_bits)
    }

    /// Does the work that a node's key costs: returns the smallest nonce. Takes about 2^`work_bits`
    /// tries.
    pub fn prove_work(node: &NodeId, work_bits: u32) -> u64 {
        work::prove(node, work_bits)
    }

    /// What it says.
    pub fn says(&self) -> &UnsignedNodeRecord {
        &self.says
    }

    /// The bytes that were verified.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How to reach the node.
    pub fn contact(&self) -> Contact {
        let UnsignedNodeRecord { nonce, addresses, .. } = &self.says;
        Contact { node: self.node, nonce: *nonce, addresses: addresses.clone() }
    }

    /// Returns whether this record replaces `held`.
    pub fn replaces(&self, held: &Self) -> bool {
        self.node == held.node
            && match self.says.serial.cmp(&held.says.serial) {
                Ordering::Greater => true,
                Ordering::Less => false,
                // A node that signed two records with one serial: every program uses the same one.
                Ordering::Equal => self.bytes < held.bytes,
            }
    }
}

impl fmt::Debug for NodeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeRecord({:?}, {})", self.node, self.says.serial)
    }
}

/// Why bytes are no record. Nothing was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not the one encoding of a record, or beyond a limit.
    #[error("not a record of this version")]
    Malformed,
    /// The node's key in the DHT was not paid for.
    #[error("the proof of work is missing")]
    Work,
    /// Not signed by the node.
    #[error("the signature is not the node's")]
    Signature,
}

fn draft(record: wire::NodeRecord) -> Result<UnsignedNodeRecord, RecordError> {
    let is_short = |text: &str| text.len() <= limits::REGION_MAX;
    if record.addresses.len() > limits::NODE_ADDRESSES_MAX
        || !is_short(&record.region)
        || !is_short(&record.version)
    {
        return Err(RecordError::Malformed);
    }
    let addresses = record.addresses.iter().map(|bytes| unpack(bytes));
    let operator = match record.operator.as_slice() {
        [] => None,
        key => Some(PublicKey::try_from(key).map_err(|_| RecordError::Malformed)?),
    };
    Ok(UnsignedNodeRecord {
        nonce: record.nonce,
        serial: record.serial,
        addresses: addresses.collect::<Result<_, _>>().map_err(|_| RecordError::Malformed)?,
        capacity_bytes: record.capacity_bytes,
        since_s: record.since_s,
        region: record.region,
        operator,
        version: record.version,
        leaving: record.leaving,
    })
}

/// No signature covers the frame around the statement: it must not be writable in two ways.
fn only_encoding<M: Message + Default>(bytes: &[u8]) -> Result<M, RecordError> {
    let message = M::decode(bytes).map_err(|_| RecordError::Malformed)?;
    if message.encode_to_vec() == bytes { Ok(message) } else { Err(RecordError::Malformed) }
}

const CONTEXT: &[u8] = b"siskin1 node record\x01";

#[cfg(test)]
mod tests;
