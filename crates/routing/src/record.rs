//! Records: what a node says of itself, signed with its own key, and which of two records wins.
//! Specified in `spec/routing.md`, section 3.

use std::{cmp::Ordering, fmt, net::SocketAddr};

use crypto::{Bundle, SigningKey, Standing, verify};
use prost::Message;
use proto::{Contact, Key, NodeId, PublicKey, Record, limits, pack, unpack, wire};
use sha2::{Digest, Sha256};

use crate::work;

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeDraft {
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
    /// A key of whoever runs several nodes.
    pub operator: Option<PublicKey>,
    /// Of its software; at most [`limits::REGION_MAX`] bytes.
    pub version: String,
    /// It goes, for good or for a while.
    pub leaving: bool,
}

/// What a node says of itself, verified, with the bytes that it signed.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeRecord {
    node: NodeId,
    place: Key,
    says: NodeDraft,
    bytes: Vec<u8>,
}

impl NodeRecord {
    /// Signs what the node of this key says. Nothing if it is beyond what others accept.
    pub fn sign(key: &SigningKey, says: &NodeDraft, work_bits: u32) -> Option<Self> {
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
        Self::verify(&signed(key, CONTEXT, &record), work_bits).ok()
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
        let place = work::place(&node, record.nonce, work_bits).ok_or(RecordError::Work)?;
        let says = draft(record)?;
        check(&signed, CONTEXT, &node)?;
        Ok(Self { node, place, says, bytes: bytes.to_vec() })
    }

    /// Whose record it is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where the node is in the key space.
    pub fn place(&self) -> Key {
        self.place
    }

    /// What it says.
    pub fn says(&self) -> &NodeDraft {
        &self.says
    }

    /// The bytes that were verified.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How to reach the node.
    pub fn contact(&self) -> Contact {
        let NodeDraft { nonce, addresses, .. } = &self.says;
        Contact { node: self.node, nonce: *nonce, addresses: addresses.clone() }
    }

    /// Tells whether this record takes the place of `held`.
    pub fn replaces(&self, held: &Self) -> bool {
        self.node == held.node
            && match self.says.serial.cmp(&held.says.serial) {
                Ordering::Greater => true,
                Ordering::Less => false,
                // A node that says two things at once: everyone goes on with the same one.
                Ordering::Equal => self.bytes < held.bytes,
            }
    }
}

impl fmt::Debug for NodeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeRecord({:?}, {})", self.node, self.says.serial)
    }
}

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
    pub(crate) fn sign(
        key: &SigningKey,
        observer_nonce: u64,
        node: NodeId,
        serial: u64,
    ) -> Vec<u8> {
        let observer = key.public().0.to_vec();
        let body = wire::Suspicion { node: node.0.to_vec(), serial, observer, observer_nonce };
        signed(key, SUSPICION_CONTEXT, &body)
    }

    /// Checks signature, work and limits.
    pub(crate) fn verify(bytes: &[u8], work_bits: u32) -> Result<Self, RecordError> {
        let signed = only_encoding::<wire::Signed>(bytes)?;
        let body =
            wire::Suspicion::decode(signed.body.as_slice()).map_err(|_| RecordError::Malformed)?;
        let id = |bytes: &[u8]| NodeId::try_from(bytes).map_err(|_| RecordError::Malformed);
        let (node, observer) = (id(&body.node)?, id(&body.observer)?);
        work::place(&observer, body.observer_nonce, work_bits).ok_or(RecordError::Work)?;
        check(&signed, SUSPICION_CONTEXT, &observer)?;
        Ok(Self { node, serial: body.serial, observer })
    }
}

/// A record that was verified.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verified {
    Account(Box<Bundle>),
    Node(Box<NodeRecord>),
}

impl Verified {
    pub(crate) fn verify(record: &Record, work_bits: u32) -> Result<Self, RecordError> {
        match record {
            Record::Account(bundle) => {
                let bundle = Bundle::verify(bundle).map_err(|_| RecordError::Bundle)?;
                Ok(Self::Account(Box::new(bundle)))
            }
            Record::Node(record) => {
                Ok(Self::Node(Box::new(NodeRecord::verify(record, work_bits)?)))
            }
        }
    }

    /// Where it is kept.
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Account(bundle) => bundle.account().into(),
            Self::Node(record) => record.node().into(),
        }
    }

    pub(crate) fn to_record(&self) -> Record {
        match self {
            Self::Account(bundle) => Record::Account(bundle.as_bytes().to_vec()),
            Self::Node(record) => Record::Node(record.as_bytes().to_vec()),
        }
    }

    /// How this record stands to another one of the same key. The winner of two that are equal in
    /// rank and different is the same everywhere.
    pub(crate) fn compare(&self, held: &Self) -> Ordering {
        match (self, held) {
            (Self::Account(new), Self::Account(held)) => match new.compare(held) {
                Standing::Same => Ordering::Equal,
                _ if new.replaces(held) => Ordering::Greater,
                Standing::Newer | Standing::Older | Standing::Forked => Ordering::Less,
            },
            (Self::Node(new), Self::Node(held)) => {
                if new == held {
                    Ordering::Equal
                } else if new.replaces(held) {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            // One name for an account and for a node takes a collision of hashes.
            (Self::Account(_), Self::Node(_)) => Ordering::Greater,
            (Self::Node(_), Self::Account(_)) => Ordering::Less,
        }
    }
}

/// Why bytes are no record. Nothing was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not the one encoding of a record, or beyond a limit.
    #[error("not a record of this version")]
    Malformed,
    /// The node's place in the key space was not paid for.
    #[error("the proof of work is missing")]
    Work,
    /// Not signed by the node.
    #[error("the signature is not the node's")]
    Signature,
    /// An account's bundle that does not verify.
    #[error("the account's bundle does not verify")]
    Bundle,
}

/// What SHA-256 makes of an encoded fact, cut to its name's length.
pub(crate) fn fact_id(fact: &proto::Fact) -> proto::FactId {
    let mut id = [0; 16];
    let hash = Sha256::digest(fact.encode());
    id.copy_from_slice(hash.first_chunk::<16>().unwrap_or(&[0; 16]));
    id
}

fn draft(record: wire::NodeRecord) -> Result<NodeDraft, RecordError> {
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
    Ok(NodeDraft {
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

fn signed(key: &SigningKey, context: &[u8], body: &impl Message) -> Vec<u8> {
    let body = body.encode_to_vec();
    let signature = key.sign(context, &body).to_vec();
    wire::Signed { body, signature }.encode_to_vec()
}

fn check(signed: &wire::Signed, context: &[u8], node: &NodeId) -> Result<(), RecordError> {
    let signature = signed.signature.as_slice().try_into().map_err(|_| RecordError::Signature)?;
    verify(&PublicKey(node.0), context, &signed.body, signature).map_err(|_| RecordError::Signature)
}

/// No signature covers the frame around the statement: it must not be writable in two ways.
fn only_encoding<M: Message + Default>(bytes: &[u8]) -> Result<M, RecordError> {
    let message = M::decode(bytes).map_err(|_| RecordError::Malformed)?;
    if message.encode_to_vec() == bytes { Ok(message) } else { Err(RecordError::Malformed) }
}

const CONTEXT: &[u8] = b"siskin1 node record\x01";
const SUSPICION_CONTEXT: &[u8] = b"siskin1 suspicion\x01";
