//! Node acks: a node's signed statement that an entry is on its disk, its later statement that the
//! entry is lost, and the two together as proof for third parties. Specified in `spec/frames.md`,
//! section 5.
//!
//! An ack is for one copy of a log, named by its incarnation. A node that drops its copy, or
//! restores an older one, has another incarnation from then on, and is not held to what it signed
//! before.

use std::fmt;

use prost::Message;
use proto::{DecodeError, Envelope, EnvelopeId, Expiry, LogId, NodeAck, NodeId, PublicKey, wire};

use crate::signing::{BadSignature, SigningKey, verify};

/// A node signs that an entry is on its disk, in the copy of this incarnation.
pub fn sign_ack(key: &SigningKey, log: &LogId, id: &EnvelopeId, incarnation: u64) -> NodeAck {
    let signature = key.sign(ACK_CONTEXT, &ack_message(log, id, incarnation));
    NodeAck { incarnation, signature }
}

/// Checks a node's ack for an entry.
pub fn verify_ack(
    node: &NodeId,
    log: &LogId,
    id: &EnvelopeId,
    ack: &NodeAck,
) -> Result<(), BadSignature> {
    let message = ack_message(log, id, ack.incarnation);
    verify(&PublicKey(node.0), ACK_CONTEXT, &message, &ack.signature)
}

/// A node signs that it has not got an entry any more for which it gave this ack.
pub fn sign_lost(key: &SigningKey, log: &LogId, id: &EnvelopeId, ack: &NodeAck) -> [u8; 64] {
    key.sign(LOST_CONTEXT, &lost_message(log, id, ack))
}

/// Checks what a node has signed that has lost an entry.
fn verify_lost(
    node: &NodeId,
    log: &LogId,
    id: &EnvelopeId,
    ack: &NodeAck,
    lost: &[u8; 64],
) -> Result<(), BadSignature> {
    verify(&PublicKey(node.0), LOST_CONTEXT, &lost_message(log, id, ack), lost)
}

/// The entry's log is part of what its id is the hash of, and is named as well so that no verifier
/// needs the entry to know it.
fn ack_message(log: &LogId, id: &EnvelopeId, incarnation: u64) -> Vec<u8> {
    [log.0.as_slice(), &id.0, &incarnation.to_be_bytes()].concat()
}

/// Names the ack too: what was signed before it says nothing.
fn lost_message(log: &LogId, id: &EnvelopeId, ack: &NodeAck) -> Vec<u8> {
    let mut message = ack_message(log, id, ack.incarnation);
    message.extend(ack.signature);
    message
}

/// A node has lost an entry for which it has signed. Checked by itself, it convinces anybody.
#[derive(Clone, PartialEq, Eq)]
pub struct LossProof {
    /// Who has lost it.
    pub node: NodeId,
    /// What is lost. It says nothing to those who can't open it.
    pub envelope: Envelope,
    /// What the node signed when it had it.
    pub ack: NodeAck,
    /// What it signed when it was asked for it later.
    pub lost: [u8; 64],
}

/// Why something is no proof of a loss.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Malformed(#[from] DecodeError),
    /// A node may forget it in time.
    #[error("the entry expires, so the node may have swept it")]
    Expires,
    /// The node has not signed for the entry.
    #[error("the ack is not the node's")]
    NotHeld,
    /// The node has not signed that it is lost.
    #[error("the node has not signed that it lost the entry")]
    NotLost,
}

impl LossProof {
    /// Checks everything that it rests on.
    pub fn verify(&self) -> Result<(), NoProof> {
        let Self { node, envelope, ack, lost } = self;
        if envelope.head.expiry != Expiry::Never {
            return Err(NoProof::Expires);
        }
        let (log, id) = (&envelope.head.log, envelope.id());
        verify_ack(node, log, &id, ack).map_err(|_| NoProof::NotHeld)?;
        verify_lost(node, log, &id, ack, lost).map_err(|_| NoProof::NotLost)
    }

    /// An encoded `LossProof` of `spec/proto/records.proto`.
    pub fn encode(&self) -> Vec<u8> {
        let Self { node, envelope, ack, lost } = self;
        let proof = wire::LossProof {
            node: node.0.to_vec(),
            envelope: envelope.encode(),
            incarnation: ack.incarnation,
            held: ack.signature.to_vec(),
            lost: lost.to_vec(),
        };
        proof.encode_to_vec()
    }

    /// Reads one and checks it.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoProof> {
        let wire = wire::LossProof::decode(bytes).map_err(DecodeError::from)?;
        let signature = |bytes: Vec<u8>| bytes.try_into().map_err(|_| DecodeError::Length);
        let proof = Self {
            node: NodeId::try_from(wire.node.as_slice()).map_err(DecodeError::from)?,
            envelope: Envelope::decode(&wire.envelope)?,
            ack: NodeAck { incarnation: wire.incarnation, signature: signature(wire.held)? },
            lost: signature(wire.lost)?,
        };
        proof.verify()?;
        Ok(proof)
    }
}

impl fmt::Debug for LossProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (log, id) = (&self.envelope.head.log, self.envelope.id());
        write!(f, "LossProof({:?} lost {id:?} of {log:?})", self.node)
    }
}

const ACK_CONTEXT: &[u8] = b"siskin1 held\x01";
const LOST_CONTEXT: &[u8] = b"siskin1 lost\x01";

#[cfg(test)]
mod tests {
    use proto::{Extension, Head, Kind};

    use super::*;

    fn node() -> SigningKey {
        SigningKey::from_seed([1; 32])
    }

    fn envelope(expiry: Expiry) -> Envelope {
        let head = Head {
            kind: Kind::Entry,
            expiry,
            position: 1,
            log: LogId([2; 32]),
            write_key: PublicKey([3; 32]),
            extension: Extension::default(),
        };
        Envelope { head, ciphertext: b"ciphertext".to_vec(), signature: [4; 64] }
    }

    fn proof(expiry: Expiry) -> LossProof {
        let envelope = envelope(expiry);
        let (log, id) = (envelope.head.log, envelope.id());
        let ack = sign_ack(&node(), &log, &id, 7);
        let lost = sign_lost(&node(), &log, &id, &ack);
        LossProof { node: NodeId(node().public().0), envelope, ack, lost }
    }

    #[test]
    fn who_signed_and_lost_is_proved_to_have_lost() {
        let proof = proof(Expiry::Never);
        assert_eq!(proof.verify(), Ok(()));
        assert_eq!(LossProof::decode(&proof.encode()), Ok(proof));
    }

    #[test]
    fn what_may_be_forgotten_is_no_loss() {
        assert_eq!(proof(Expiry::Day).verify(), Err(NoProof::Expires));
    }

    #[test]
    fn nothing_else_proves_a_fault() {
        let good = proof(Expiry::Never);
        let (log, id) = (good.envelope.head.log, good.envelope.id());
        let other = SigningKey::from_seed([9; 32]);
        let of_another = LossProof { node: NodeId(other.public().0), ..good.clone() };
        assert_eq!(of_another.verify(), Err(NoProof::NotHeld));
        let mut of_another_entry = good.clone();
        of_another_entry.envelope.ciphertext.push(0);
        assert_eq!(of_another_entry.verify(), Err(NoProof::NotHeld));
        let mut of_another_copy = good.clone();
        of_another_copy.ack.incarnation = 8;
        assert_eq!(of_another_copy.verify(), Err(NoProof::NotHeld));
        // What it said of an older ack, before it got the entry.
        let older = sign_ack(&node(), &log, &id, 6);
        let lost = sign_lost(&node(), &log, &id, &older);
        assert_eq!(LossProof { lost, ..good.clone() }.verify(), Err(NoProof::NotLost));
        let lost = good.ack.signature;
        assert_eq!(LossProof { lost, ..good.clone() }.verify(), Err(NoProof::NotLost));
        let bytes = good.encode();
        for end in 0..bytes.len() {
            assert!(LossProof::decode(&bytes[..end]).is_err(), "{end}");
        }
    }
}
