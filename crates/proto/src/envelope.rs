//! Envelopes: the immutable, opaque, signed entries of logs. Drawn in `spec/logs.md`, section 2.

use prost::Message;
use sha2::{Digest, Sha256};

use crate::{AccountId, DecodeError, EnvelopeId, LogId, PublicKey, limits, wire};

/// The part of an envelope that nodes read.
///
/// ```text
/// ┌─────────┬──────┬────────┬──────────┬────────┬───────────┬────────┬───────────┬────────────┐
/// │ version │ kind │ expiry │ position │ log id │ write key │ length │ extension │ ciphertext │
/// │ 1       │ 1    │ 1      │ 8        │ 32     │ 32        │ 2      │ ≤ 1,024   │ the rest   │
/// └─────────┴──────┴────────┴──────────┴────────┴───────────┴────────┴───────────┴────────────┘
///  ◀─────────────────────────── the head ───────────────────────────────────────▶
/// ```
///
/// Numbers are big-endian. The signature, 64 bytes, follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its role in the log.
    pub kind: Kind,
    /// How long nodes keep it.
    pub expiry: Expiry,
    /// 1 + the largest position among the envelopes it depends on.
    pub position: u64,
    /// The log it belongs to.
    pub log: LogId,
    /// The key that signs it.
    pub write_key: PublicKey,
    /// Cleartext fields; those of later versions are preserved.
    pub extension: Extension,
}

impl Head {
    /// Returns the bytes that precede the ciphertext, which are also its associated data.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_LEN.saturating_add(self.extension.0.len()));
        bytes.push(ENVELOPE_VERSION);
        bytes.push(self.kind as u8);
        bytes.push(self.expiry as u8);
        bytes.extend(self.position.to_be_bytes());
        bytes.extend(self.log.0);
        bytes.extend(self.write_key.0);
        bytes.extend(u16::try_from(self.extension.0.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(&self.extension.0);
        bytes
    }
}

/// One immutable entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The part that nodes read.
    pub head: Head,
    /// The part that they don't.
    pub ciphertext: Vec<u8>,
    /// By the write key, over `"siskin1 env\x01"` and the signed bytes.
    pub signature: [u8; 64],
}

impl Envelope {
    /// Returns the bytes that the id and, after [`SIGNATURE_CONTEXT`](Self::SIGNATURE_CONTEXT), the
    /// signature cover.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.encode();
        bytes.extend(&self.ciphertext);
        bytes
    }

    /// Returns its id: SHA-256 over the signed bytes, without the signature, so that a second valid
    /// signature makes no second envelope.
    pub fn id(&self) -> EnvelopeId {
        let mut hash = Sha256::new();
        hash.update(self.head.encode());
        hash.update(&self.ciphertext);
        EnvelopeId(hash.finalize().into())
    }

    /// Returns the bytes that a log stores: signed bytes, then signature.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.signed_bytes();
        bytes.extend(self.signature);
        bytes
    }

    /// Decodes the output of [`encode`](Self::encode).
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (signed, signature) = bytes.split_last_chunk::<64>().ok_or(DecodeError::Truncated)?;
        if signed.len() > limits::ENVELOPE_MAX {
            return Err(DecodeError::TooLarge);
        }
        let (&[version, kind, expiry], rest) =
            signed.split_first_chunk::<3>().ok_or(DecodeError::Truncated)?;
        if version != ENVELOPE_VERSION {
            return Err(DecodeError::Version);
        }
        let (position, rest) = rest.split_first_chunk::<8>().ok_or(DecodeError::Truncated)?;
        let (log, rest) = rest.split_first_chunk::<32>().ok_or(DecodeError::Truncated)?;
        let (write_key, rest) = rest.split_first_chunk::<32>().ok_or(DecodeError::Truncated)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(DecodeError::Truncated)?;
        let (extension, ciphertext) = rest
            .split_at_checked(usize::from(u16::from_be_bytes(*length)))
            .ok_or(DecodeError::Truncated)?;
        let head = Head {
            kind: Kind::try_from(u32::from(kind))?,
            expiry: Expiry::try_from(u32::from(expiry))?,
            position: u64::from_be_bytes(*position),
            log: LogId(*log),
            write_key: PublicKey(*write_key),
            extension: Extension::decode(extension)?,
        };
        Ok(Self { head, ciphertext: ciphertext.to_vec(), signature: *signature })
    }

    /// The domain separation of envelope signatures.
    pub const SIGNATURE_CONTEXT: &'static [u8] = b"siskin1 env\x01";
}

/// The role of an envelope in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An entry for the members.
    Entry = 0,
    /// An entry for the members that also announces the write key of the next epoch.
    KeyChange = 1,
}

impl TryFrom<u32> for Kind {
    type Error = DecodeError;

    fn try_from(kind: u32) -> Result<Self, DecodeError> {
        match kind {
            0 => Ok(Self::Entry),
            1 => Ok(Self::KeyChange),
            _ => Err(DecodeError::Kind),
        }
    }
}

/// How long nodes keep an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// As long as the log lives.
    Never = 0,
    /// One year from arrival.
    Year = 1,
    /// Thirty days from arrival.
    Month = 2,
    /// One day from arrival.
    Day = 3,
}

impl Expiry {
    /// Returns the seconds from arrival, or `None` if it is kept.
    pub fn seconds(self) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::Year => Some(365 * 24 * 3600),
            Self::Month => Some(30 * 24 * 3600),
            Self::Day => Some(24 * 3600),
        }
    }
}

impl TryFrom<u32> for Expiry {
    type Error = DecodeError;

    fn try_from(expiry: u32) -> Result<Self, DecodeError> {
        match expiry {
            0 => Ok(Self::Never),
            1 => Ok(Self::Year),
            2 => Ok(Self::Month),
            3 => Ok(Self::Day),
            _ => Err(DecodeError::Kind),
        }
    }
}

/// The cleartext fields of an envelope besides its fixed ones, as the signed bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extension(Vec<u8>);

impl Extension {
    /// Announces the write key of the next epoch.
    pub fn next_key(key: PublicKey) -> Self {
        Self(wire::Extension { next_key: key.0.to_vec() }.encode_to_vec())
    }

    /// Checks size and known fields and keeps all bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > limits::EXTENSION_MAX {
            return Err(DecodeError::TooLarge);
        }
        let known = wire::Extension::decode(bytes)?;
        if !matches!(known.next_key.len(), 0 | 32) {
            return Err(DecodeError::Length);
        }
        Ok(Self(bytes.to_vec()))
    }

    /// Returns the announced write key, if there is one.
    pub fn announced_key(&self) -> Option<PublicKey> {
        let known = wire::Extension::decode(self.0.as_slice()).ok()?;
        PublicKey::try_from(known.next_key.as_slice()).ok()
    }

    /// Returns the signed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The start of a log. Its hash is the log's id, so that the log's kind and first key can be
/// verified without trusting a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogGenesis {
    /// An account's inbox.
    Inbox(AccountId),
    /// A conversation.
    Conversation {
        /// The write key of its first epoch.
        write_key: PublicKey,
        /// Distinguishes two logs of one key.
        salt: [u8; 16],
    },
}

impl LogGenesis {
    /// Returns the bytes that are hashed.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Inbox(account) => {
                wire::LogGenesis { kind: 1, account: account.0.to_vec(), ..Default::default() }
            }
            Self::Conversation { write_key, salt } => wire::LogGenesis {
                kind: 2,
                write_key: write_key.0.to_vec(),
                salt: salt.to_vec(),
                ..Default::default()
            },
        }
        .encode_to_vec()
    }

    /// Decodes the output of [`encode`](Self::encode) and nothing else: the id is a hash of all
    /// bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let genesis = Self::from_wire(wire::LogGenesis::decode(bytes)?)?;
        if genesis.encode() == bytes { Ok(genesis) } else { Err(DecodeError::Kind) }
    }

    fn from_wire(wire: wire::LogGenesis) -> Result<Self, DecodeError> {
        match wire.kind {
            1 => Ok(Self::Inbox(AccountId::try_from(wire.account.as_slice())?)),
            2 => Ok(Self::Conversation {
                write_key: PublicKey::try_from(wire.write_key.as_slice())?,
                salt: wire.salt.try_into().map_err(|_| DecodeError::Length)?,
            }),
            _ => Err(DecodeError::Kind),
        }
    }

    /// Returns the log's id.
    pub fn id(&self) -> LogId {
        LogId(Sha256::digest(self.encode()).into())
    }
}

const ENVELOPE_VERSION: u8 = 1;
const HEAD_LEN: usize = 77;
