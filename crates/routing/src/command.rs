//! What a node is configured to be, what its application asks of routing, and what it is told.

use std::{fmt, net::SocketAddr, time::Duration};

use crypto::{SigningKey, Verifier};
use proto::{AccountId, Contact, Hop, Key, NodeAddress, NodeId, PublicKey, Query, Record, limits};

use crate::{NodeRecord, lookup::LookupRules};

/// How a node takes part in routing. Start from [`RouterConfig::new`].
#[derive(Clone)]
pub struct RouterConfig {
    /// The node's key.
    pub key: SigningKey,
    /// Where others can dial it; none if they can't.
    pub addresses: Vec<SocketAddr>,
    /// Whom to join through; remembered nodes are tried too.
    pub join: Vec<NodeAddress>,
    /// What it may store, as it tells others.
    pub capacity_bytes: u64,
    /// Of the operator's choice, such as a country; at most 16 bytes.
    pub region: String,
    /// A key of an operator of several nodes, so that no account chooses two of them as homes.
    pub operator: Option<PublicKey>,
    /// What others have to prove. The work is the same in a whole network.
    pub verifier: Verifier,
    /// Defences against many nodes of one hand.
    pub defences: Defences,
    /// Records kept for others. 65,536 by default, at most 128 MiB.
    pub records_max: usize,
}

/// Defences against eclipse attacks. All on, except where their effect is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defences {
    /// Disjoint paths of a lookup: 3 (S/Kademlia, section 4.4); 1 is plain Kademlia.
    pub paths: u32,
    /// One network (/24, /48) takes only so many places in buckets, answers and results.
    pub by_network: bool,
}

impl Default for Defences {
    fn default() -> Self {
        Self { paths: 3, by_network: true }
    }
}

impl RouterConfig {
    /// The defaults, for a node that can't be dialled yet.
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
            records_max: crate::kept::RECORDS_MAX,
        }
    }

    pub(crate) fn lookup_rules(&self) -> LookupRules {
        LookupRules {
            paths: self.defences.paths,
            parallel: PARALLEL,
            by_network: self.defences.by_network,
            work_bits: self.verifier.work_bits(),
        }
    }
}

impl fmt::Debug for RouterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouterConfig({:?}, {:?}, ..)", self.addresses, self.defences)
    }
}

/// What the application asks. A ticket is of its choice and comes back with the answer.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug)]
pub enum RouterCommand {
    /// Joins through this node too.
    Join(NodeAddress),
    /// Others can dial this node at these addresses from now on.
    Addresses(Vec<SocketAddr>),
    /// It may store so much.
    Capacity(u64),
    /// Stores an account's bundle where lookups find it.
    Publish { ticket: u64, bundle: Vec<u8> },
    /// Looks something up. If nothing is found and `insist` is set, everybody is asked.
    Lookup { ticket: u64, target: Key, insist: bool },
    /// Draws nodes at random.
    Sample { ticket: u64 },
    /// Answers the question of [`RouterEvent::Asked`].
    Answer { query: Query, bundle: Vec<u8> },
    /// Leaves: tells others and hands over stored records.
    Leave,
}

/// What the application is told.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug, PartialEq)]
pub enum RouterEvent {
    /// The own place in the network is found; lookups work.
    Joined,
    /// The first valid record of a lookup; the newest comes with [`RouterEvent::LookedUp`].
    Found { ticket: u64, record: Record },
    /// A lookup has ended.
    LookedUp { ticket: u64, result: LookedUp },
    /// A bundle is stored at so many nodes, after so many requests.
    Published { ticket: u64, copies: usize, requests: u32 },
    /// Nodes drawn at random, with the time to them and back.
    Sampled { ticket: u64, nodes: Vec<(NodeRecord, Duration)> },
    /// A node broadcasts a query for this account.
    Asked(Query),
    /// Others can't dial this node where it says they can.
    Unreachable,
    /// Others reach this node at these addresses from now on, by a port of another one; at none if
    /// that is gone.
    Addresses(Vec<SocketAddr>),
    /// A node is gone, as far as two observers can tell.
    Dead(NodeId),
    /// All is handed over.
    Left,
}

/// How a lookup has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookedUp {
    /// The newest record of all answers.
    pub record: Option<Record>,
    /// The nodes nearest to the target.
    pub nearest: Vec<Contact>,
    /// Each request.
    pub hops: Vec<Hop>,
    /// Requests in a row until the record, or the nearest nodes, were found.
    pub rounds: u32,
    /// Requests in all.
    pub requests: u32,
}

/// A number of what routing has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterCounters {
    /// Words that were refused, for whatever reason.
    pub refused: u64,
    /// Messages that were not requested or did not verify.
    pub dropped: u64,
    /// Requests said to others.
    pub requests: u64,
    /// Requests answered to others.
    pub answers: u64,
}

/// The account that a key is the place of.
pub(crate) fn account_at(key: &Key) -> AccountId {
    AccountId(key.0)
}

/// α of Kademlia, section 2.3.
const PARALLEL: u32 = 3;
