//! What nodes say to each other to find one another and what is stored where. Specified in
//! `spec/routing.md`.

use std::net::SocketAddr;

use crate::{AccountId, Key, NodeId};

mod convert;

pub use convert::{pack, unpack};

/// One word of routing, inside a frame.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing {
    /// First word of a node on a connection: its signed record.
    Introduce(Vec<u8>),
    /// Asks for the contacts nearest to `target`, and with `record` for the record of this key.
    Find { target: Key, record: bool },
    /// The record, if there is one, and contacts.
    Found { record: Option<Record>, contacts: Vec<Contact> },
    /// Stores a record that was published `age_s` ago. Answered with `Accepted` or `Refused`.
    Store { record: Record, age_s: u32 },
    /// Asks whether this node can be reached; with `dial`, over a new connection.
    Probe { contact: Contact, dial: bool },
    /// Whether it was reached; nothing if that could not be tried.
    Probed(Option<bool>),
    /// Asks for some nodes drawn at random.
    Sample,
    /// Nodes with their signed records and the milliseconds to them and back.
    Sampled(Vec<(Vec<u8>, u32)>),
    /// Asks to look a key up for the sender.
    Lookup { target: Key, trace: bool },
    /// What was found, and with `trace` how.
    LookedUp { record: Option<Record>, hops: Vec<Hop> },
    /// Asks for a relay port for the sender, which cannot be dialled.
    AskRelay,
    /// Here is one.
    RelayIs { addresses: Vec<SocketAddr>, token: [u8; 16] },
    /// What the gossip network says.
    Gossip(Gossip),
}

/// One word of gossip: HyParView for who talks with whom, PlumTree for what is spread.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gossip {
    /// Wants to be known.
    Join(Contact),
    /// A node joins; forwarded for so many more hops.
    ForwardJoin { contact: Contact, hops: u32 },
    /// Wants a place in the active view; if `urgent`, not to be refused.
    Neighbour { urgent: bool },
    /// Whether there is one.
    NeighbourIs { accepted: bool },
    /// Parts from a neighbour; if `leaving`, permanently.
    Part { leaving: bool },
    /// Some of the nodes that `origin` knows, for so many hops more.
    Shuffle { origin: Contact, contacts: Vec<Contact>, hops: u32 },
    /// Some in return.
    Shuffled(Vec<Contact>),
    /// A fact that has come so many hops.
    Spread { fact: Fact, hops: u32 },
    /// Facts that can be had.
    Have(Vec<FactId>),
    /// Send me these, and from now on all.
    Graft(Vec<FactId>),
    /// I had that already; from now on tell me names only.
    Prune,
}

/// How to reach a node. Hearsay, until the node was dialled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact {
    /// Whom to expect.
    pub node: NodeId,
    /// Its proof of work.
    pub nonce: u64,
    /// Where; at most [`limits::NODE_ADDRESSES_MAX`](crate::limits::NODE_ADDRESSES_MAX).
    pub addresses: Vec<SocketAddr>,
}

/// What is stored in the routing network, not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An account's bundle.
    Account(Vec<u8>),
    /// A node's signed record.
    Node(Vec<u8>),
}

/// What gossip spreads, not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A node's signed record.
    Node(Vec<u8>),
    /// A signed suspicion.
    Suspicion(Vec<u8>),
    /// Who knows this account? The last question of a lookup.
    Query(Query),
}

/// Who knows this account?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Whose bundle is sought.
    pub account: AccountId,
    /// Whom to tell.
    pub origin: Contact,
    /// Tells this question from others of the same origin.
    pub number: u64,
}

/// How facts are named: the first 16 bytes of the SHA-256 of their encoding.
pub type FactId = [u8; 16];

/// One request of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Who was asked.
    pub node: NodeId,
    /// Where it was reached, if that is known.
    pub address: Option<SocketAddr>,
    /// On which of the disjoint paths.
    pub path: u32,
    /// How many requests on this path led there.
    pub round: u32,
    /// What came of it.
    pub outcome: HopOutcome,
    /// How long that took.
    pub micros: u32,
    /// Leading bits that its id shares with the target.
    pub depth: u32,
}

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum HopOutcome {
    /// No answer in time.
    Silent = 0,
    /// Contacts and no record.
    Contacts = 1,
    /// The record.
    Record = 2,
    /// A record that another one is newer than.
    Stale = 3,
    /// Something that does not verify.
    Nonsense = 4,
}
