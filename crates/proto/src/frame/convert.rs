//! Between frames and their wire form.

use super::parts::{key_from_wire, key_package, key_to_wire, signature_from_wire};
use crate::{
    AccountId, Body, Code, Cursor, DecodeError, Entry, EnvelopeId, Expiry, Extension, Frame, Kind,
    LogId, NodeAck, NodeId, PublicKey, Reference,
    decode::{at_most, each},
    limits, wire,
};
use wire::frame::Body as Wire;

impl From<&Frame> for wire::Frame {
    fn from(frame: &Frame) -> Self {
        Self { request: frame.request, body: Some((&frame.body).into()) }
    }
}

impl From<&Body> for Wire {
    fn from(body: &Body) -> Self {
        match body {
            Body::Hello(hello) => Self::Hello(hello.into()),
            Body::Goodbye(code) => Self::Goodbye(wire::Goodbye { code: *code as u32 }),
            Body::Accepted { channel, sequence } => {
                Self::Accepted(wire::Accepted { channel: *channel, sequence: *sequence })
            }
            Body::Refused { code, newer } => {
                Self::Refused(wire::Refused { code: *code as u32, newer: newer.clone() })
            }
            Body::Open(open) => Self::Open(open.into()),
            Body::Opened { head, position } => Self::Opened(wire::Opened {
                incarnation: head.incarnation,
                sequence: head.sequence,
                position: *position,
            }),
            Body::Replicate(replicate) => Self::Replicate(replicate.into()),
            Body::Recruit(recruit) => Self::Recruit((&**recruit).into()),
            Body::Close { channel } => Self::Close(wire::Close { channel: *channel }),
            Body::Append { channel, entry, signature } => {
                Self::Append(append_to_wire(*channel, entry, signature))
            }
            Body::Deliver { channel, entry } => {
                Self::Deliver(wire::Deliver { channel: *channel, entry: Some(entry.into()) })
            }
            Body::Announce { channel, sequence, reference } => {
                Self::Announce(announce_to_wire(*channel, *sequence, reference))
            }
            Body::NodeAck { channel, reference, node, ack } => {
                Self::NodeAck(node_ack_to_wire(*channel, reference, node.as_ref(), ack))
            }
            Body::Challenge { channel, id, ack } => {
                Self::Challenge(challenge_to_wire(*channel, id, ack))
            }
            Body::Lost { signature } => Self::Lost(wire::Lost { signature: signature.to_vec() }),
            Body::Settled { channel, sequence } => {
                Self::Settled(wire::Settled { channel: *channel, sequence: *sequence })
            }
            Body::Compare(compare) => Self::Compare(compare.into()),
            Body::Symbols(portion) => Self::Symbols(wire::Symbols { portion: portion.clone() }),
            Body::Lacking { log, references } => Self::Lacking(lacking_to_wire(log, references)),
            Body::Signal { channel, ciphertext } => {
                Self::Signal(wire::Signal { channel: *channel, ciphertext: ciphertext.clone() })
            }
            Body::Read(read) => Self::Read(read.into()),
            Body::Fetch { channel, references } => Self::Fetch(fetch_to_wire(*channel, references)),
            Body::Page { entries, more } => Self::Page(wire::Page {
                entries: entries.iter().map(Into::into).collect(),
                more: *more,
            }),
            Body::PutBundle(bundle) => Self::PutBundle(wire::PutBundle { bundle: bundle.clone() }),
            Body::GetBundle(account) => {
                Self::GetBundle(wire::GetBundle { account: account.0.to_vec() })
            }
            Body::BundleIs(bundle) => Self::BundleIs(wire::BundleIs { bundle: bundle.clone() }),
            Body::PutKeyPackages(put) => Self::PutKeyPackages(put.into()),
            Body::TakeKeyPackages { channel } => {
                Self::TakeKeyPackages(wire::TakeKeyPackages { channel: *channel })
            }
            Body::KeyPackages { packages, left } => {
                Self::KeyPackages(wire::KeyPackages { packages: packages.clone(), left: *left })
            }
            Body::Routing(routing) => Self::Routing(routing.into()),
            Body::PutInvite { channel, key, expires_s, uses } => {
                Self::PutInvite(invite_to_wire(*channel, key, *expires_s, *uses))
            }
        }
    }
}

impl TryFrom<Wire> for Body {
    type Error = DecodeError;

    fn try_from(wire: Wire) -> Result<Self, DecodeError> {
        Ok(match wire {
            Wire::Hello(hello) => Self::Hello(hello.try_into()?),
            Wire::Goodbye(goodbye) => Self::Goodbye(Code::from_number(goodbye.code)),
            Wire::Accepted(accepted) => {
                Self::Accepted { channel: accepted.channel, sequence: accepted.sequence }
            }
            Wire::Refused(refused) => Self::Refused {
                code: Code::from_number(refused.code),
                newer: at_most(refused.newer, limits::BUNDLE_MAX)?,
            },
            Wire::Open(open) => Self::Open(open.try_into()?),
            Wire::Opened(wire::Opened { incarnation, sequence, position }) => {
                Self::Opened { head: Cursor { incarnation, sequence }, position }
            }
            Wire::Replicate(replicate) => Self::Replicate(replicate.try_into()?),
            Wire::Recruit(recruit) => Self::Recruit(Box::new(recruit.try_into()?)),
            Wire::Close(close) => Self::Close { channel: close.channel },
            Wire::Append(append) => append_from_wire(append)?,
            Wire::Deliver(deliver) => Self::Deliver {
                channel: deliver.channel,
                entry: deliver.entry.ok_or(DecodeError::Truncated)?.try_into()?,
            },
            Wire::Announce(announce) => announce_from_wire(&announce)?,
            Wire::NodeAck(ack) => node_ack_from_wire(ack)?,
            Wire::Challenge(challenge) => challenge_from_wire(challenge)?,
            Wire::Lost(lost) => Self::Lost { signature: signature_from_wire(lost.signature)? },
            Wire::Settled(wire::Settled { channel, sequence }) => {
                Self::Settled { channel, sequence }
            }
            Wire::Compare(compare) => Self::Compare(compare.try_into()?),
            Wire::Symbols(wire::Symbols { portion }) => {
                Self::Symbols(at_most(portion, limits::PORTION_BYTES_MAX)?)
            }
            Wire::Lacking(lacking) => Self::Lacking {
                log: LogId::try_from(lacking.log.as_slice())?,
                references: references(lacking.references)?,
            },
            Wire::Signal(signal) => Self::Signal {
                channel: signal.channel,
                ciphertext: at_most(signal.ciphertext, limits::SIGNAL_MAX)?,
            },
            Wire::Read(read) => Self::Read(read.try_into()?),
            Wire::Fetch(fetch) => {
                Self::Fetch { channel: fetch.channel, references: references(fetch.references)? }
            }
            Wire::Page(page) => Self::Page {
                entries: each(page.entries, limits::PAGE_MAX, Entry::try_from)?,
                more: page.more,
            },
            Wire::PutBundle(put) => Self::PutBundle(at_most(put.bundle, limits::BUNDLE_MAX)?),
            Wire::GetBundle(get) => Self::GetBundle(AccountId::try_from(get.account.as_slice())?),
            Wire::BundleIs(is) => Self::BundleIs(at_most(is.bundle, limits::BUNDLE_MAX)?),
            Wire::PutKeyPackages(put) => Self::PutKeyPackages(put.try_into()?),
            Wire::TakeKeyPackages(take) => Self::TakeKeyPackages { channel: take.channel },
            Wire::KeyPackages(packages) => Self::KeyPackages {
                packages: each(packages.packages, limits::DEVICES_MAX, key_package)?,
                left: packages.left,
            },
            Wire::Routing(routing) => Self::Routing(routing.try_into()?),
            Wire::PutInvite(put) => Self::PutInvite {
                channel: put.channel,
                key: PublicKey::try_from(put.key.as_slice())?,
                expires_s: put.expires_s,
                uses: put.uses,
            },
        })
    }
}

fn append_to_wire(channel: u32, entry: &Entry, signature: &[u8; 64]) -> wire::Append {
    wire::Append {
        channel,
        kind: entry.kind as u32,
        expiry: entry.expiry as u32,
        position: entry.position,
        extension: entry.extension.as_bytes().to_vec(),
        ciphertext: entry.ciphertext.clone(),
        signature: signature.to_vec(),
        write_key: key_to_wire(entry.write_key),
        sequence: entry.sequence,
    }
}

fn append_from_wire(wire: wire::Append) -> Result<Body, DecodeError> {
    let signature = signature_from_wire(wire.signature)?;
    let entry = Entry {
        sequence: wire.sequence,
        kind: Kind::try_from(wire.kind)?,
        expiry: Expiry::try_from(wire.expiry)?,
        position: wire.position,
        extension: Extension::decode(&wire.extension)?,
        ciphertext: at_most(wire.ciphertext, limits::ENVELOPE_MAX)?,
        write_key: key_from_wire(&wire.write_key)?,
    };
    Ok(Body::Append { channel: wire.channel, entry, signature })
}

fn invite_to_wire(channel: u32, key: &PublicKey, expires_s: u64, uses: u32) -> wire::PutInvite {
    wire::PutInvite { channel, key: key.0.to_vec(), expires_s, uses }
}

fn fetch_to_wire(channel: u32, references: &[Reference]) -> wire::Fetch {
    wire::Fetch { channel, references: references.iter().map(|r| r.0.to_vec()).collect() }
}

fn lacking_to_wire(log: &LogId, references: &[Reference]) -> wire::Lacking {
    let references = references.iter().map(|r| r.0.to_vec()).collect();
    wire::Lacking { log: log.0.to_vec(), references }
}

fn announce_to_wire(channel: u32, sequence: u64, reference: &Reference) -> wire::Announce {
    wire::Announce { channel, sequence, reference: reference.0.to_vec() }
}

fn node_ack_to_wire(
    channel: u32,
    reference: &Reference,
    node: Option<&NodeId>,
    ack: &NodeAck,
) -> wire::NodeAck {
    wire::NodeAck {
        channel,
        reference: reference.0.to_vec(),
        node: node.map(|node| node.0.to_vec()).unwrap_or_default(),
        signature: ack.signature.to_vec(),
        incarnation: ack.incarnation,
    }
}

fn challenge_to_wire(channel: u32, id: &EnvelopeId, ack: &NodeAck) -> wire::Challenge {
    wire::Challenge {
        channel,
        id: id.0.to_vec(),
        incarnation: ack.incarnation,
        signature: ack.signature.to_vec(),
    }
}

fn challenge_from_wire(wire: wire::Challenge) -> Result<Body, DecodeError> {
    let id = EnvelopeId::try_from(wire.id.as_slice())?;
    let ack = ack_from_wire(wire.incarnation, wire.signature)?;
    Ok(Body::Challenge { channel: wire.channel, id, ack })
}

fn announce_from_wire(wire: &wire::Announce) -> Result<Body, DecodeError> {
    let reference = Reference::try_from(wire.reference.as_slice())?;
    Ok(Body::Announce { channel: wire.channel, sequence: wire.sequence, reference })
}

fn node_ack_from_wire(wire: wire::NodeAck) -> Result<Body, DecodeError> {
    let node = match wire.node.as_slice() {
        [] => None,
        node => Some(NodeId::try_from(node)?),
    };
    let ack = ack_from_wire(wire.incarnation, wire.signature)?;
    let reference = Reference::try_from(wire.reference.as_slice())?;
    Ok(Body::NodeAck { channel: wire.channel, reference, node, ack })
}

fn ack_from_wire(incarnation: u64, signature: Vec<u8>) -> Result<NodeAck, DecodeError> {
    Ok(NodeAck { incarnation, signature: signature_from_wire(signature)? })
}

fn references(references: Vec<Vec<u8>>) -> Result<Vec<Reference>, DecodeError> {
    let parse = |reference: Vec<u8>| Ok(Reference::try_from(reference.as_slice())?);
    each(references, limits::FETCH_MAX, parse)
}
