//! Between the parts of frames and their wire form.

use crate::{
    Compare, Cursor, DecodeError, Entry, EnvelopeId, Expiry, Extension, Hello, Kind, LogId,
    NodeAddress, Open, Part, PublicKey, PutKeyPackages, Ranking, Read, Recruit, Replicate,
    decode::{at_most, each},
    limits, wire,
};

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
            channel: open.channel,
            log: open.log.0.to_vec(),
            key: open.key.0.to_vec(),
            proof: open.proof.to_vec(),
            genesis: open.genesis.clone().unwrap_or_default(),
            tail: open.tail.is_some(),
            incarnation: cursor.incarnation,
            sequence: cursor.sequence,
            ranking: open.ranking.as_deref().map(Into::into),
            announce: open.announce,
        }
    }
}

impl TryFrom<wire::Open> for Open {
    type Error = DecodeError;

    fn try_from(wire: wire::Open) -> Result<Self, DecodeError> {
        let cursor = Cursor { incarnation: wire.incarnation, sequence: wire.sequence };
        let genesis = at_most(wire.genesis, limits::EXTENSION_MAX)?;
        Ok(Self {
            channel: wire.channel,
            log: LogId::try_from(wire.log.as_slice())?,
            key: PublicKey::try_from(wire.key.as_slice())?,
            proof: signature_from_wire(wire.proof)?,
            genesis: (!genesis.is_empty()).then_some(genesis),
            tail: wire.tail.then_some(cursor),
            announce: wire.announce,
            ranking: wire.ranking.map(|wire| wire.try_into().map(Box::new)).transpose()?,
        })
    }
}

impl From<&Ranking> for wire::Ranking {
    fn from(ranking: &Ranking) -> Self {
        let Ranking { version, nodes, reserve } = ranking;
        let each = |nodes: &[NodeAddress]| nodes.iter().map(Into::into).collect();
        Self { version: *version, nodes: each(nodes), reserve: each(reserve) }
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
        let reserve = each(wire.reserve, rest, address)?;
        Ok(Self { version: wire.version, nodes, reserve })
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
            channel: replicate.channel,
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
        Ok(Self { channel: wire.channel, log: LogId::try_from(wire.log.as_slice())?, head })
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
            channel: read.channel,
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
        Ok(Self { channel: wire.channel, from, backward: wire.backward, limit: wire.limit })
    }
}

impl From<&PutKeyPackages> for wire::PutKeyPackages {
    fn from(put: &PutKeyPackages) -> Self {
        Self {
            channel: put.channel,
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
            channel: wire.channel,
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

pub(super) fn key_to_wire(key: Option<PublicKey>) -> Vec<u8> {
    key.map(|key| key.0.to_vec()).unwrap_or_default()
}

pub(super) fn key_from_wire(key: &[u8]) -> Result<Option<PublicKey>, DecodeError> {
    match key {
        [] => Ok(None),
        key => Ok(Some(PublicKey::try_from(key)?)),
    }
}

pub(super) fn signature_from_wire(signature: Vec<u8>) -> Result<[u8; 64], DecodeError> {
    signature.try_into().map_err(|_| DecodeError::Length)
}

pub(super) fn key_package(bytes: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    at_most(bytes, limits::KEY_PACKAGE_BYTES_MAX)
}
