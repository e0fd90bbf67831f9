//! Frames: the messages that two machines exchange. Specified in `spec/frames.md`.

use prost::Message;

use crate::{
    AccountId, Compare, DecodeError, Envelope, EnvelopeId, Expiry, Extension, Head, Kind, LogId,
    NodeAddress, NodeId, PublicKey, Reference, Routing, wire,
};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Chosen by the requesting side and echoed in the answer; 0 where no answer is expected.
    pub request: u32,
    /// The content.
    pub body: Body,
}

/// The content of a frame.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// First frame in each direction.
    Hello(Hello),
    /// Last frame in a direction: why this side closes.
    Goodbye(Code),
    /// Durably stored, so the sender may forget it: the request, or all of `channel` up to
    /// `sequence`.
    Accepted { channel: u32, sequence: u64 },
    /// Refused; nothing was stored. `newer` is the better record if the code is `Stale`.
    Refused { code: Code, newer: Vec<u8> },
    /// Opens a log.
    Open(Open),
    /// The log is open.
    Opened { head: Cursor, position: u64 },
    /// From a node to another one of a log's ranking: opens its copy, to append what this one has.
    Replicate(Replicate),
    /// From a home of an account to another one: makes a copy of a log, because a third home is
    /// gone.
    Recruit(Box<Recruit>),
    /// Closes a channel.
    Close { channel: u32 },
    /// Stores an envelope in the log open as `channel`, whose log and write key it has. From a node
    /// the entry names its key, and its sequence in that node's copy.
    Append { channel: u32, entry: Entry, signature: [u8; 64] },
    /// Delivers an envelope to a reader.
    Deliver { channel: u32, entry: Entry },
    /// Announces an entry's id to a reader that wants ids only.
    Announce { channel: u32, sequence: u64, reference: Reference },
    /// A node's signed ack that an entry appended on `channel` is on its disk; without a name, the
    /// sender's.
    NodeAck { channel: u32, reference: Reference, node: Option<NodeId>, ack: NodeAck },
    /// The node has acked an entry and did not have it when asked: it must return it, or sign that
    /// it has lost it.
    Challenge { channel: u32, id: EnvelopeId, ack: NodeAck },
    /// A node's signed statement that it has lost an entry.
    Lost { signature: [u8; 64] },
    /// From a node to another one of a log's ranking: all others have its copy up to `sequence`.
    Settled { channel: u32, sequence: u64 },
    /// From a node to another one that holds the same logs: asks what it has, in coded symbols.
    Compare(Compare),
    /// Coded symbols.
    Symbols(Vec<u8>),
    /// From a node to the one it has compared a log with: the sender lacks these entries.
    Lacking { log: LogId, references: Vec<Reference> },
    /// Forwards a message that is not stored.
    Signal { channel: u32, ciphertext: Vec<u8> },
    /// Asks for entries in timeline order.
    Read(Read),
    /// Asks for entries by id; unknown ones are left out of the page.
    Fetch { channel: u32, references: Vec<Reference> },
    /// Entries, and whether there are more in that direction.
    Page { entries: Vec<Entry>, more: bool },
    /// Stores an account's bundle.
    PutBundle(Vec<u8>),
    /// Asks for an account's bundle.
    GetBundle(AccountId),
    /// An account's bundle.
    BundleIs(Vec<u8>),
    /// Stores key packages of one device.
    PutKeyPackages(PutKeyPackages),
    /// Asks for one key package per device of the account whose inbox is open as `channel`.
    TakeKeyPackages { channel: u32 },
    /// Key packages, one per device; to their owner, how many one-time ones are left.
    KeyPackages { packages: Vec<Vec<u8>>, left: u32 },
    /// Lets `key` append to the inbox open as `channel`; with `uses` 0 no longer.
    PutInvite { channel: u32, key: PublicKey, expires_s: u64, uses: u32 },
    /// A routing message.
    Routing(Routing),
}

/// A node's signed ack that an entry is on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeAck {
    /// Of the copy of the log that has it.
    pub incarnation: u64,
    /// Over log, entry and incarnation; see `spec/frames.md`, section 5.
    pub signature: [u8; 64],
}

/// First frame in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The versions this side speaks, oldest and newest.
    pub versions: (u32, u32),
    /// Random, mixed into every proof of this connection.
    pub nonce: [u8; 16],
}

/// Opens a log under a number of the opener's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The opener's number for it.
    pub channel: u32,
    /// Which log.
    pub log: LogId,
    /// A key that the log knows: a device of an inbox's owner, an invite, an epoch's write key.
    pub key: PublicKey,
    /// The key's signature over this connection and this log.
    pub proof: [u8; 64],
    /// The log's genesis, to create it if it does not exist.
    pub genesis: Option<Vec<u8>>,
    /// Deliver everything after this, and what is appended from now on.
    pub tail: Option<Cursor>,
    /// Announce ids instead of delivering.
    pub announce: bool,
    /// The nodes that hold the log, as known to the opener.
    pub ranking: Option<Box<Ranking>>,
}

/// The nodes that may hold a log, in order, as announced by its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// The larger one wins.
    pub version: u64,
    /// The nodes that hold it, at least one.
    pub nodes: Vec<NodeAddress>,
    /// The reserve, which replaces nodes that are gone. Both together are at most
    /// [`limits::RANKING_MAX`](crate::limits::RANKING_MAX).
    pub reserve: Vec<NodeAddress>,
}

/// Asks another home of an account to create a copy of one of its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recruit {
    /// The account's bundle, which names both homes.
    pub bundle: Vec<u8>,
    /// A conversation's genesis and ranking; without, the log is the account's inbox.
    pub conversation: Option<(Vec<u8>, Ranking)>,
}

/// Opens another node's copy of a log, to append to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicate {
    /// The sender's number for it.
    pub channel: u32,
    /// Which log.
    pub log: LogId,
    /// Where the sender's copy ends.
    pub head: Cursor,
}

/// A position in the order in which one node received a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Identifies this node's copy of the log; another copy has another order.
    pub incarnation: u64,
    /// Counts from 1; 0 is before the first.
    pub sequence: u64,
}

/// Asks for entries in timeline order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The open log.
    pub channel: u32,
    /// Where to start, exclusive.
    pub from: (u64, EnvelopeId),
    /// Against timeline order.
    pub backward: bool,
    /// How many at most.
    pub limit: u32,
}

/// Stores key packages of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutKeyPackages {
    /// The owner's open inbox.
    pub channel: u32,
    /// The device of the packages.
    pub device: PublicKey,
    /// Each handed out once.
    pub one_time: Vec<Vec<u8>>,
    /// Handed out when those have run out; empty keeps the old one.
    pub last_resort: Vec<u8>,
}

/// An envelope without its log and signature, which follow from the channel; `write_key` only if it
/// differs from the channel's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its sequence in the node's copy; 0 from a device.
    pub sequence: u64,
    /// As in [`Head`].
    pub kind: Kind,
    /// As in [`Head`].
    pub expiry: Expiry,
    /// As in [`Head`].
    pub position: u64,
    /// As in [`Head`].
    pub extension: Extension,
    /// As in [`Envelope`].
    pub ciphertext: Vec<u8>,
    /// As in [`Head`], if it isn't the channel's.
    pub write_key: Option<PublicKey>,
}

impl Entry {
    /// Returns the entry for `envelope` on a channel of `key`.
    pub fn from_envelope(envelope: &Envelope, sequence: u64, key: PublicKey) -> Self {
        let Head { kind, expiry, position, log: _, write_key, extension } = &envelope.head;
        Self {
            sequence,
            kind: *kind,
            expiry: *expiry,
            position: *position,
            extension: extension.clone(),
            ciphertext: envelope.ciphertext.clone(),
            write_key: (*write_key != key).then_some(*write_key),
        }
    }

    /// Returns the envelope in `log` for this entry on a channel of `key`. Readers get no
    /// signature: what members verify is inside the ciphertext.
    pub fn into_envelope(self, log: LogId, key: PublicKey, signature: [u8; 64]) -> Envelope {
        let head = Head {
            kind: self.kind,
            expiry: self.expiry,
            position: self.position,
            log,
            write_key: self.write_key.unwrap_or(key),
            extension: self.extension,
        };
        Envelope { head, ciphertext: self.ciphertext, signature }
    }
}

/// The stream of a connection that a frame takes, so that bulk never blocks messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Opening, closing, accounts.
    Control,
    /// Appends, deliveries, acceptances, signals.
    Messages,
    /// Pages of history, comparisons.
    Bulk,
}

impl Frame {
    /// Returns a frame that expects no answer.
    pub fn new(body: Body) -> Self {
        Self { request: 0, body }
    }

    /// Returns the stream it takes.
    pub fn lane(&self) -> Lane {
        match &self.body {
            Body::Accepted { .. }
            | Body::Refused { .. }
            | Body::Append { .. }
            | Body::Deliver { .. }
            | Body::Announce { .. }
            | Body::NodeAck { .. }
            | Body::Settled { .. }
            | Body::Signal { .. } => Lane::Messages,
            Body::Read(_)
            | Body::Fetch { .. }
            | Body::Page { .. }
            | Body::Challenge { .. }
            | Body::Lost { .. }
            | Body::Compare(_)
            | Body::Symbols(_)
            | Body::Lacking { .. } => Lane::Bulk,
            Body::Hello(_)
            | Body::Goodbye(_)
            | Body::Open(_)
            | Body::Opened { .. }
            | Body::Replicate(_)
            | Body::Recruit(_)
            | Body::Close { .. }
            | Body::PutBundle(_)
            | Body::GetBundle(_)
            | Body::BundleIs(_)
            | Body::PutKeyPackages(_)
            | Body::TakeKeyPackages { .. }
            | Body::KeyPackages { .. }
            | Body::PutInvite { .. }
            | Body::Routing(_) => Lane::Control,
        }
    }

    /// Decodes one frame.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = wire::Frame::decode(bytes)?;
        let body = wire.body.ok_or(DecodeError::UnknownFrame(wire.request))?;
        Ok(Self { request: wire.request, body: Body::try_from(body)? })
    }
}

/// Why a request was refused or a connection closed. The numbers never change: `spec/frames.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Code {
    /// No particular reason: shutting down, moving on.
    Done = 0,
    /// Not a frame this version knows.
    UnknownFrame = 1,
    /// Not a frame at all, or one that breaks a limit.
    Malformed = 2,
    /// No protocol version in common.
    Version = 3,
    /// A frame out of turn: before Hello, on a channel that isn't open.
    Unexpected = 4,
    /// The key is not one of the log's, or the proof does not match.
    Forbidden = 5,
    /// No such log, account or package.
    NotFound = 6,
    /// A signature does not match.
    BadSignature = 7,
    /// A position too far ahead, or none.
    Position = 8,
    /// The account's or the log's quota is used up.
    Quota = 9,
    /// The node's disk cap is reached.
    Full = 10,
    /// Too much at once; try again later.
    Busy = 11,
    /// A newer record is known; it is attached.
    Stale = 12,
    /// The record does not verify.
    Invalid = 13,
    /// This node does not take new accounts.
    Closed = 14,
    /// Another connection with the same key has replaced this one.
    Replaced = 15,
}

impl Code {
    /// Returns the code with this number; one of a later version reads as [`Code::Done`].
    pub fn from_number(number: u32) -> Self {
        CODES.into_iter().find(|code| *code as u32 == number).unwrap_or(Self::Done)
    }
}

const CODES: [Code; 16] = [
    Code::Done,
    Code::UnknownFrame,
    Code::Malformed,
    Code::Version,
    Code::Unexpected,
    Code::Forbidden,
    Code::NotFound,
    Code::BadSignature,
    Code::Position,
    Code::Quota,
    Code::Full,
    Code::Busy,
    Code::Stale,
    Code::Invalid,
    Code::Closed,
    Code::Replaced,
];

mod convert;
mod parts;
