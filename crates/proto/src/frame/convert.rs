//! Between frames and their wire form.

use crate::{
    AccountId, Body, Code, Compare, Cursor, DecodeError, Entry, EnvelopeId, Expiry, Extension,
    Frame, Hello, Kind, LogId, NodeAddress, NodeId, NodeReceipt, Open, Part, PublicKey,
    PutKeyPackages, Ranking, Read, Recruit, Reference, Replicate, limits, wire,
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
            Body::Accepted { handle, sequence } => {
                Self::Accepted(wire::Accepted { handle: *handle, sequence: *sequence })
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
            Body::Close { handle } => Self::Close(wire::Close { handle: *handle }),
            Body::Append { handle, entry, signature } => {
                Self::Append(append_to_wire(*handle, entry, signature))
            }
            Body::Deliver { handle, entry } => {
                Self::Deliver(wire::Deliver { handle: *handle, entry: Some(entry.into()) })
            }
            Body::Brief { handle, sequence, reference } => {
                Self::Brief(brief_to_wire(*handle, *sequence, reference))
            }
            Body::Held { handle, reference, node, receipt } => {
                Self::Held(held_to_wire(*handle, reference, node.as_ref(), receipt))
            }
            Body::Challenge { handle, id, receipt } => {
                Self::Challenge(challenge_to_wire(*handle, id, receipt))
            }
            Body::Lost { signature } => Self::Lost(wire::Lost { signature: signature.to_vec() }),
            Body::Settled { handle, sequence } => {
                Self::Settled(wire::Settled { handle: *handle, sequence: *sequence })
            }
            Body::Compare(compare) => Self::Compare(compare.into()),
            Body::Symbols(portion) => Self::Symbols(wire::Symbols { portion: portion.clone() }),
            Body::Lacking { log, references } => Self::Lacking(lacking_to_wire(log, references)),
            Body::Signal { handle, ciphertext } => {
                Self::Signal(wire::Signal { handle: *handle, ciphertext: ciphertext.clone() })
            }
            Body::Read(read) => Self::Read(read.into()),
            Body::Fetch { handle, references } => Self::Fetch(fetch_to_wire(*handle, references)),
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
            Body::TakeKeyPackages { handle } => {
                Self::TakeKeyPackages(wire::TakeKeyPackages { handle: *handle })
            }
            Body::KeyPackages { packages, left } => {
                Self::KeyPackages(wire::KeyPackages { packages: packages.clone(), left: *left })
            }
            Body::Routing(routing) => Self::Routing(routing.into()),
            Body::PutInvite { handle, key, expires_s, uses } => Self::PutInvite(wire::PutInvite {
                handle: *handle,
                key: key.0.to_vec(),
                expires_s: *expires_s,
                uses: *uses,
            }),
        }
    }
}

impl TryFrom<Wire> for Body {
    type Error = DecodeError;

    fn try_from(wire: Wire) -> Result<Self, DecodeError> {
        Ok(match wire {
            Wire::Hello(hello) => Self::Hello(hello.try_into()?),
            Wire::Goodbye(goodbye) => Self::Goodbye(Code::from_number(goodbye.code)),
            Wire::Accepted(wire::Accepted { handle, sequence }) => {
                Self::Accepted { handle, sequence }
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
            Wire::Close(close) => Self::Close { handle: close.handle },
            Wire::Append(append) => append_from_wire(append)?,
            Wire::Deliver(deliver) => Self::Deliver {
                handle: deliver.handle,
                entry: deliver.entry.ok_or(DecodeError::Truncated)?.try_into()?,
            },
            Wire::Brief(brief) => Self::Brief {
                handle: brief.handle,
                sequence: brief.sequence,
                reference: Reference::try_from(brief.reference.as_slice())?,
            },
            Wire::Held(held) => held_from_wire(held)?,
            Wire::Challenge(challenge) => challenge_from_wire(challenge)?,
            Wire::Lost(lost) => Self::Lost { signature: signature_from_wire(lost.signature)? },
            Wire::Settled(wire::Settled { handle, sequence }) => Self::Settled { handle, sequence },
            Wire::Compare(compare) => Self::Compare(compare.try_into()?),
            Wire::Symbols(wire::Symbols { portion }) => {
                Self::Symbols(at_most(portion, limits::PORTION_BYTES_MAX)?)
            }
            Wire::Lacking(lacking) => Self::Lacking {
                log: LogId::try_from(lacking.log.as_slice())?,
                references: references(lacking.references)?,
            },
            Wire::Signal(signal) => Self::Signal {
                handle: signal.handle,
                ciphertext: at_most(signal.ciphertext, limits::SIGNAL_MAX)?,
            },
            Wire::Read(read) => Self::Read(read.try_into()?),
            Wire::Fetch(fetch) => {
                Self::Fetch { handle: fetch.handle, references: references(fetch.references)? }
            }
            Wire::Page(page) => Self::Page {
                entries: each(page.entries, limits::PAGE_MAX, Entry::try_from)?,
                more: page.more,
            },
            Wire::PutBundle(put) => Self::PutBundle(at_most(put.bundle, limits::BUNDLE_MAX)?),
            Wire::GetBundle(get) => Self::GetBundle(AccountId::try_from(get.account.as_slice())?),
            Wire::BundleIs(is) => Self::BundleIs(at_most(is.bundle, limits::BUNDLE_MAX)?),
            Wire::PutKeyPackages(put) => Self::PutKeyPackages(put.try_into()?),
            Wire::TakeKeyPackages(take) => Self::TakeKeyPackages { handle: take.handle },
            Wire::KeyPackages(packages) => Self::KeyPackages {
                packages: each(packages.packages, limits::DEVICES_MAX, key_package)?,
                left: packages.left,
            },
            Wire::Routing(routing) => Self::Routing(routing.try_into()?),
            Wire::PutInvite(put) => Self::PutInvite {
                handle: put.handle,
                key: PublicKey::try_from(put.key.as_slice())?,
                expires_s: put.expires_s,
                uses: put.uses,
            },
        })
    }
}

impl From<&Hello> for wire::Hello {
    fn from(hello: &Hello) -> Self {
        let (min_version, max_version) = hello.versions;
        Self { min_version, max_version, nonce: hello.nonce.to_vec() }
    }
}

impl TryFrom<wire::Hello> for Hello {
    type Error = DecodeError;

    fn try_from(wire: wire::Hello) -> Result<Self, DecodeError> {
        let nonce = wire.nonce.try_into().map_err(|_| DecodeError::Length)?;
        Ok(Self { versions: (wire.min_version, wire.max_version), nonce })
    }
}

impl From<&Open> for wire::Open {
    fn from(open: &Open) -> Self {
        let cursor = open.tail.unwrap_or_default();
        Self {
            handle: open.handle,
            log: open.log.0.to_vec(),
            key: open.key.0.to_vec(),
            proof: open.proof.to_vec(),
            genesis: open.genesis.clone().unwrap_or_default(),
            tail: open.tail.is_some(),
            incarnation: cursor.incarnation,
            sequence: cursor.sequence,
            ranking: open.ranking.as_deref().map(Into::into),
            brief: open.brief,
        }
    }
}

impl TryFrom<wire::Open> for Open {
    type Error = DecodeError;

    fn try_from(wire: wire::Open) -> Result<Self, DecodeError> {
        let cursor = Cursor { incarnation: wire.incarnation, sequence: wire.sequence };
        let genesis = at_most(wire.genesis, limits::EXTENSION_MAX)?;
        Ok(Self {
            handle: wire.handle,
            log: LogId::try_from(wire.log.as_slice())?,
            key: PublicKey::try_from(wire.key.as_slice())?,
            proof: signature_from_wire(wire.proof)?,
            genesis: (!genesis.is_empty()).then_some(genesis),
            tail: wire.tail.then_some(cursor),
            brief: wire.brief,
            ranking: wire.ranking.map(|wire| wire.try_into().map(Box::new)).transpose()?,
        })
    }
}

impl From<&Ranking> for wire::Ranking {
    fn from(ranking: &Ranking) -> Self {
        let Ranking { version, nodes, standbys } = ranking;
        let each = |nodes: &[NodeAddress]| nodes.iter().map(Into::into).collect();
        Self { version: *version, nodes: each(nodes), standbys: each(standbys) }
    }
}

impl TryFrom<wire::Ranking> for Ranking {
    type Error = DecodeError;

    fn try_from(wire: wire::Ranking) -> Result<Self, DecodeError> {
        if wire.nodes.is_empty() {
            return Err(DecodeError::Truncated);
        }
        let address = |node: wire::NodeAddress| Ok(NodeAddress::try_from(&node)?);
        let nodes = each(wire.nodes, limits::RANKING_MAX, address)?;
        let rest = limits::RANKING_MAX.saturating_sub(nodes.len());
        let standbys = each(wire.standbys, rest, address)?;
        Ok(Self { version: wire.version, nodes, standbys })
    }
}

impl From<&Recruit> for wire::Recruit {
    fn from(recruit: &Recruit) -> Self {
        let (genesis, ranking) = recruit.conversation.clone().unzip();
        Self {
            bundle: recruit.bundle.clone(),
            genesis: genesis.unwrap_or_default(),
            ranking: ranking.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<wire::Recruit> for Recruit {
    type Error = DecodeError;

    fn try_from(wire: wire::Recruit) -> Result<Self, DecodeError> {
        let genesis = at_most(wire.genesis, limits::EXTENSION_MAX)?;
        let conversation = match wire.ranking {
            None if genesis.is_empty() => None,
            Some(ranking) if !genesis.is_empty() => Some((genesis, ranking.try_into()?)),
            _ => return Err(DecodeError::Truncated),
        };
        Ok(Self { bundle: at_most(wire.bundle, limits::BUNDLE_MAX)?, conversation })
    }
}

impl From<&Replicate> for wire::Replicate {
    fn from(replicate: &Replicate) -> Self {
        Self {
            handle: replicate.handle,
            log: replicate.log.0.to_vec(),
            incarnation: replicate.head.incarnation,
            sequence: replicate.head.sequence,
        }
    }
}

impl TryFrom<wire::Replicate> for Replicate {
    type Error = DecodeError;

    fn try_from(wire: wire::Replicate) -> Result<Self, DecodeError> {
        let head = Cursor { incarnation: wire.incarnation, sequence: wire.sequence };
        Ok(Self { handle: wire.handle, log: LogId::try_from(wire.log.as_slice())?, head })
    }
}

impl From<&Compare> for wire::Compare {
    fn from(compare: &Compare) -> Self {
        let Compare { log, key, part, symbols: (from, to) } = compare;
        Self {
            log: log.map(|log| log.0.to_vec()).unwrap_or_default(),
            key: key.to_vec(),
            depth: part.depth(),
            bits: part.bits(),
            from: *from,
            to: *to,
        }
    }
}

impl TryFrom<wire::Compare> for Compare {
    type Error = DecodeError;

    fn try_from(wire: wire::Compare) -> Result<Self, DecodeError> {
        let log = match wire.log.as_slice() {
            [] => None,
            log => Some(LogId::try_from(log)?),
        };
        let key = wire.key.try_into().map_err(|_| DecodeError::Length)?;
        let part = Part::new(wire.depth, wire.bits).ok_or(DecodeError::TooLarge)?;
        Ok(Self { log, key, part, symbols: (wire.from, wire.to) })
    }
}

impl From<&Read> for wire::Read {
    fn from(read: &Read) -> Self {
        Self {
            handle: read.handle,
            position: read.from.0,
            id: read.from.1.0.to_vec(),
            backward: read.backward,
            limit: read.limit,
        }
    }
}

impl TryFrom<wire::Read> for Read {
    type Error = DecodeError;

    fn try_from(wire: wire::Read) -> Result<Self, DecodeError> {
        let from = (wire.position, EnvelopeId::try_from(wire.id.as_slice())?);
        Ok(Self { handle: wire.handle, from, backward: wire.backward, limit: wire.limit })
    }
}

impl From<&PutKeyPackages> for wire::PutKeyPackages {
    fn from(put: &PutKeyPackages) -> Self {
        Self {
            handle: put.handle,
            device: put.device.0.to_vec(),
            one_time: put.one_time.clone(),
            last_resort: put.last_resort.clone(),
        }
    }
}

impl TryFrom<wire::PutKeyPackages> for PutKeyPackages {
    type Error = DecodeError;

    fn try_from(wire: wire::PutKeyPackages) -> Result<Self, DecodeError> {
        Ok(Self {
            handle: wire.handle,
            device: PublicKey::try_from(wire.device.as_slice())?,
            one_time: each(wire.one_time, limits::KEY_PACKAGES_MAX, key_package)?,
            last_resort: key_package(wire.last_resort)?,
        })
    }
}

impl From<&Entry> for wire::Entry {
    fn from(entry: &Entry) -> Self {
        Self {
            sequence: entry.sequence,
            kind: entry.kind as u32,
            expiry: entry.expiry as u32,
            position: entry.position,
            extension: entry.extension.as_bytes().to_vec(),
            ciphertext: entry.ciphertext.clone(),
            write_key: key_to_wire(entry.write_key),
        }
    }
}

impl TryFrom<wire::Entry> for Entry {
    type Error = DecodeError;

    fn try_from(wire: wire::Entry) -> Result<Self, DecodeError> {
        let write_key = key_from_wire(&wire.write_key)?;
        Ok(Self {
            sequence: wire.sequence,
            kind: Kind::try_from(wire.kind)?,
            expiry: Expiry::try_from(wire.expiry)?,
            position: wire.position,
            extension: Extension::decode(&wire.extension)?,
            ciphertext: at_most(wire.ciphertext, limits::ENVELOPE_MAX)?,
            write_key,
        })
    }
}

fn key_to_wire(key: Option<PublicKey>) -> Vec<u8> {
    key.map(|key| key.0.to_vec()).unwrap_or_default()
}

fn key_from_wire(key: &[u8]) -> Result<Option<PublicKey>, DecodeError> {
    match key {
        [] => Ok(None),
        key => Ok(Some(PublicKey::try_from(key)?)),
    }
}

fn append_to_wire(handle: u32, entry: &Entry, signature: &[u8; 64]) -> wire::Append {
    wire::Append {
        handle,
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
    Ok(Body::Append { handle: wire.handle, entry, signature })
}

fn fetch_to_wire(handle: u32, references: &[Reference]) -> wire::Fetch {
    wire::Fetch { handle, references: references.iter().map(|r| r.0.to_vec()).collect() }
}

fn lacking_to_wire(log: &LogId, references: &[Reference]) -> wire::Lacking {
    let references = references.iter().map(|r| r.0.to_vec()).collect();
    wire::Lacking { log: log.0.to_vec(), references }
}

fn brief_to_wire(handle: u32, sequence: u64, reference: &Reference) -> wire::Brief {
    wire::Brief { handle, sequence, reference: reference.0.to_vec() }
}

fn held_to_wire(
    handle: u32,
    reference: &Reference,
    node: Option<&NodeId>,
    receipt: &NodeReceipt,
) -> wire::Held {
    wire::Held {
        handle,
        reference: reference.0.to_vec(),
        node: node.map(|node| node.0.to_vec()).unwrap_or_default(),
        signature: receipt.signature.to_vec(),
        incarnation: receipt.incarnation,
    }
}

fn challenge_to_wire(handle: u32, id: &EnvelopeId, receipt: &NodeReceipt) -> wire::Challenge {
    wire::Challenge {
        handle,
        id: id.0.to_vec(),
        incarnation: receipt.incarnation,
        signature: receipt.signature.to_vec(),
    }
}

fn challenge_from_wire(wire: wire::Challenge) -> Result<Body, DecodeError> {
    let id = EnvelopeId::try_from(wire.id.as_slice())?;
    let receipt = receipt_from_wire(wire.incarnation, wire.signature)?;
    Ok(Body::Challenge { handle: wire.handle, id, receipt })
}

fn held_from_wire(wire: wire::Held) -> Result<Body, DecodeError> {
    let node = match wire.node.as_slice() {
        [] => None,
        node => Some(NodeId::try_from(node)?),
    };
    let receipt = receipt_from_wire(wire.incarnation, wire.signature)?;
    let reference = Reference::try_from(wire.reference.as_slice())?;
    Ok(Body::Held { handle: wire.handle, reference, node, receipt })
}

fn receipt_from_wire(incarnation: u64, signature: Vec<u8>) -> Result<NodeReceipt, DecodeError> {
    Ok(NodeReceipt { incarnation, signature: signature_from_wire(signature)? })
}

fn signature_from_wire(signature: Vec<u8>) -> Result<[u8; 64], DecodeError> {
    signature.try_into().map_err(|_| DecodeError::Length)
}

fn references(references: Vec<Vec<u8>>) -> Result<Vec<Reference>, DecodeError> {
    let parse = |reference: Vec<u8>| Ok(Reference::try_from(reference.as_slice())?);
    each(references, limits::FETCH_MAX, parse)
}

pub(crate) fn at_most(bytes: Vec<u8>, max: usize) -> Result<Vec<u8>, DecodeError> {
    if bytes.len() > max { Err(DecodeError::TooLarge) } else { Ok(bytes) }
}

fn key_package(bytes: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    at_most(bytes, limits::KEY_PACKAGE_BYTES_MAX)
}

pub(crate) fn each<T, U>(
    items: Vec<T>,
    max: usize,
    convert: impl Fn(T) -> Result<U, DecodeError>,
) -> Result<Vec<U>, DecodeError> {
    if items.len() > max {
        return Err(DecodeError::TooLarge);
    }
    items.into_iter().map(convert).collect()
}
