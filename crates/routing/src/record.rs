//! Records that nodes keep for each other, and their precedence. Specified in `spec/routing.md`,
//! section 3.

use std::cmp::Ordering;

use crypto::{
    identity::{Bundle, Precedence},
    node::Verifier,
};
use proto::{Key, Record};
use sha2::{Digest, Sha256};

pub(crate) use crypto::node::{NodeRecord, RecordError, Suspicion, UnsignedNodeRecord};

/// A verified record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verified {
    Account(Box<Bundle>),
    Node(Box<NodeRecord>),
}

impl Verified {
    pub(crate) fn verify(record: &Record, verifier: &Verifier) -> Result<Self, RecordError> {
        match record {
            Record::Account(bundle) => {
                let bundle = Bundle::verify(bundle).map_err(|_| RecordError::Malformed)?;
                Ok(Self::Account(Box::new(bundle)))
            }
            Record::Node(record) => Ok(Self::Node(Box::new(verifier.record(record)?))),
        }
    }

    /// Returns the key at which it is kept.
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

    /// Compares this record with another one of the same key. Of two different records of equal
    /// rank, every node prefers the same one.
    pub(crate) fn compare(&self, held: &Self) -> Ordering {
        match (self, held) {
            (Self::Account(new), Self::Account(held)) => match new.compare(held) {
                Precedence::Same => Ordering::Equal,
                _ if new.replaces(held) => Ordering::Greater,
                Precedence::Newer | Precedence::Older | Precedence::Forked => Ordering::Less,
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

/// Returns the SHA-256 of an encoded fact, truncated to an id.
pub(crate) fn fact_id(fact: &proto::Fact) -> proto::FactId {
    let mut id = [0; 16];
    let hash = Sha256::digest(fact.encode());
    id.copy_from_slice(hash.first_chunk::<16>().unwrap_or(&[0; 16]));
    id
}
