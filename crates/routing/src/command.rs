//! The router's configuration, commands and events.

use std::{fmt, net::SocketAddr, time::Duration};

use crypto::{SigningKey, node::Verifier};
use proto::{AccountId, Contact, Hop, Key, NodeAddress, NodeId, PublicKey, Query, Record, limits};

use crate::{NodeRecord, lookup::LookupRules};

/// How a node takes part in routing. Start from [`RouterConfig::new`].
#[derive(Clone)]
pub struct RouterConfig {
    /// The node's key.
    pub key: SigningKey,
    /// Where others can dial it; empty if they can't.
    pub addresses: Vec<SocketAddr>,
    /// The nodes to join through; remembered nodes are tried too.
    pub join: Vec<NodeAddress>,
    /// How much it may store, as announced to others.
    pub capacity_bytes: u64,
    /// Of the operator's choice, such as a country; at most 16 bytes.
    pub region: String,
    /// The operator's key, if it runs several nodes: no account takes two of them for homes.
    pub operator: Option<PublicKey>,
    /// Verifies other nodes' proofs of work, which are equally hard in a whole network.
    pub verifier: Verifier,
    /// Defences against Sybil and eclipse attacks.
    pub defences: Defences,
    /// Records kept for others. 65,536 by default, at most 128 MiB.
    pub records_max: usize,
}

/// Defences against one attacker with many nodes (Sybil and eclipse attacks). All are on, except
/// where their effect is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defences {
    /// Disjoint paths of a lookup: 3 (S/Kademlia, section 4.4); 1 is plain Kademlia.
    pub paths: u32,
    /// Limits the contacts of one network (/24, /48) in buckets, answers and results.
    pub by_network: bool,
}

impl Default for Defences {
    fn default() -> Self {
        Self { paths: 3, by_network: true }
    }
}

impl RouterConfig {
    /// Returns the defaults, for a node without an address.
    pub fn new(key: SigningKey) -> Self {
        Self {
            key,
            addresses: Vec::new(),
            join: Vec::new(),
            capacity_bytes: 8 << 30,
            region: String::new(),
            operator: None,
            verifier: Verifier::new(limits::NODE_WORK_BITS),
            defences: Defences::default(),
            records_max: crate::record_store::RECORDS_MAX,
        }
    }

    pub(crate) fn lookup_rules(&self) -> LookupRules {
        let Defences { paths, by_network } = self.defences;
        LookupRules::new(paths, PARALLEL, by_network, self.verifier.work_bits())
    }
}

impl fmt::Debug for RouterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouterConfig({:?}, {:?}, ..)", self.addresses, self.defences)
    }
}

/// A command of the application. It chooses the ticket, which comes back with the answer.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug)]
pub enum RouterCommand {
    /// Join through this node too.
    Join(NodeAddress),
    /// Others can dial this node at these addresses from now on.
    Addresses(Vec<SocketAddr>),
    /// This node may store so many bytes.
    Capacity(u64),
    /// Publish an account's bundle.
    Publish { ticket: u64, bundle: Vec<u8> },
    /// Look up a key. If nothing is found and `insist` is set, ask every node by gossip.
    Lookup { ticket: u64, target: Key, insist: bool },
    /// Sample nodes at random.
    Sample { ticket: u64 },
    /// Answer the query of [`RouterEvent::Asked`].
    Answer { query: Query, bundle: Vec<u8> },
    /// Leave: tell other nodes and hand their records over.
    Leave,
}

/// An event for the application.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug, PartialEq)]
pub enum RouterEvent {
    /// This node has joined the network; lookups work.
    Joined,
    /// The first valid record of a lookup; the newest comes with [`RouterEvent::LookedUp`].
    Found { ticket: u64, record: Record },
    /// A lookup has ended.
    LookedUp { ticket: u64, result: LookedUp },
    /// A bundle is stored by so many nodes, after so many requests.
    Published { ticket: u64, copies: usize, requests: u32 },
    /// Random nodes with their round-trip times.
    Sampled { ticket: u64, nodes: Vec<(NodeRecord, Duration)> },
    /// A node asks every node for this account.
    Asked(Query),
    /// Other nodes cannot dial this node at its addresses.
    Unreachable,
    /// Others reach this node at these addresses of a relay from now on; empty if the relay is
    /// gone.
    Addresses(Vec<SocketAddr>),
    /// A node is dead, according to two observers.
    Dead(NodeId),
    /// This node has left; all records are handed over.
    Left,
}

/// The result of a lookup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookedUp {
    /// The newest record of all answers.
    pub record: Option<Record>,
    /// The nodes nearest to the target.
    pub nearest: Vec<Contact>,
    /// Each request.
    pub hops: Vec<Hop>,
    /// Sequential requests until the record, or the nearest nodes, were found.
    pub rounds: u32,
    /// Requests in all.
    pub requests: u32,
}

/// What routing has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterCounters {
    /// Messages that were refused, for any reason.
    pub refused: u64,
    /// Messages that were not asked for or did not verify.
    pub dropped: u64,
    /// Requests to others.
    pub requests: u64,
    /// Answers to others.
    pub answers: u64,
}

/// Returns the account whose record has this key.
pub(crate) fn account_at(key: &Key) -> AccountId {
    AccountId(key.0)
}

/// α of Kademlia, section 2.3.
const PARALLEL: u32 = 3;
