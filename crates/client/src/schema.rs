//! The rows of a device: which tables there are, how their keys are built, what they hold.
//!
//! Numbers in keys are big-endian, so that rows lie in the order in which they are read.

use std::ops::ControlFlow;

use prost::Message;
use proto::{
    AccountId, Direction, Envelope, EnvelopeId, LogId, NodeId, PublicKey, Reference, Rows, Table,
    Visit,
};

/// One row: this device and its account. Key: empty.
pub(crate) const ACCOUNT: Table = Table(1);
/// Account → [`Contact`].
pub(crate) const CONTACTS: Table = Table(2);
/// Invite key → [`Invite`].
pub(crate) const INVITES: Table = Table(3);
/// Hash of a key package → [`KeyPackage`].
pub(crate) const KEY_PACKAGES: Table = Table(4);
/// Log → [`Conversation`].
pub(crate) const CONVERSATIONS: Table = Table(5);
/// Log → [`Frontier`].
pub(crate) const FRONTIERS: Table = Table(6);
/// Log ‖ commit → [`Epoch`].
pub(crate) const EPOCHS: Table = Table(7);
/// Log ‖ commit → MLS state of that epoch.
pub(crate) const SNAPSHOTS: Table = Table(8);
/// Log ‖ commit → the counter below which this device may have sealed messages of that epoch,
/// 4 bytes.
pub(crate) const COUNTERS: Table = Table(9);
/// Log ‖ position ‖ id → [`Message`](MessageRow): the timeline.
pub(crate) const MESSAGES: Table = Table(10);
/// Log ‖ reference → position ‖ id.
pub(crate) const REFERENCES: Table = Table(11);
/// Log ‖ target reference ‖ position ‖ id → nothing: edits, deletions and reactions of a message.
pub(crate) const ANNOTATIONS: Table = Table(12);
/// Log ‖ position ‖ id → [`Mark`](crate::Mark), one byte.
pub(crate) const MARKS: Table = Table(13);
/// Log ‖ arrival number → position ‖ id.
pub(crate) const ARRIVALS: Table = Table(14);
/// Log ‖ commit ‖ leaf ‖ counter → id: finds a device that used one key twice.
pub(crate) const COUNTED: Table = Table(15);
/// Log ‖ id → [`Deferred`].
pub(crate) const DEFERRED: Table = Table(16);
/// Log ‖ number → [`Outgoing`].
pub(crate) const OUTBOX: Table = Table(17);
/// Node ‖ log → incarnation ‖ sequence.
pub(crate) const CURSORS: Table = Table(18);
/// Log ‖ number → [`Draft`]: texts that wait for the contact to accept.
pub(crate) const DRAFTS: Table = Table(19);
/// Log ‖ reference of an entry that was sealed anew → reference of what stands in its place.
pub(crate) const SUCCESSORS: Table = Table(20);

/// Log → number: conversations that others asked for and that are not to be asked for again.
pub(crate) const SETTLED: Table = Table(21);

/// Log ‖ position ‖ id → [`Outgoing`]: own envelopes that a home holds and of which the contact has
/// not said yet that they arrived. Another home is given them once more.
pub(crate) const KEPT: Table = Table(22);

/// Log ‖ commit → [`Outgoing`]: the envelope of the change that led to that epoch. A node that has no
/// copy of the log learns from it which keys may write.
pub(crate) const CHANGES: Table = Table(23);

/// Log ‖ position ‖ id → node ‖ incarnation ‖ signature, each after the other: who has signed that it holds an
/// own entry, until the contact has acknowledged that.
pub(crate) const RECEIPTS: Table = Table(24);

/// Node → [`Conviction`]: it is proved to have lost what it signed for.
pub(crate) const CONVICTIONS: Table = Table(25);

/// This device and its account.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Account {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) authority: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) device_seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) inbox_seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(crate) name: String,
    /// A newer bundle, not ours, that replaces this device's.
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) superseded_by: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    pub(crate) account: Vec<u8>,
    /// While the account moves: the record that the next home has to take.
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) next: Vec<u8>,
    /// Homes that the account has left and that have something to be told or to hand over.
    #[prost(message, repeated, tag = "10")]
    pub(crate) former: Vec<Former>,
    /// Homes that the user has pinned.
    #[prost(bytes = "vec", repeated, tag = "11")]
    pub(crate) pinned: Vec<Vec<u8>>,
    /// Why the next home does not take the account.
    #[prost(string, tag = "12")]
    pub(crate) moving_trouble: String,
    /// Homes that don't serve the account, and why.
    #[prost(message, repeated, tag = "13")]
    pub(crate) refusals: Vec<Refusal>,
    /// Nodes that have to hold an entry before it is called stored; 0: two.
    #[prost(uint32, tag = "14")]
    pub(crate) receipts: u32,
}

/// A home does not serve the account.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Refusal {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) node: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(crate) why: String,
}

/// A node has lost what it signed for.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Conviction {
    /// See [`LossProof`](crypto::LossProof).
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) proof: Vec<u8>,
    /// When that was proved.
    #[prost(uint64, tag = "2")]
    pub(crate) at_s: u64,
}

/// A home that the account has left.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Former {
    #[prost(message, optional, tag = "1")]
    pub(crate) home: Option<proto::wire::NodeAddress>,
    /// When it was left.
    #[prost(uint64, tag = "2")]
    pub(crate) since_s: u64,
}

/// Someone this account knows or has asked.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Contact {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(enumeration = "crate::ContactState", tag = "2")]
    pub(crate) state: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) bundle: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) conversation: Vec<u8>,
    #[prost(bool, tag = "5")]
    pub(crate) verified: bool,
    #[prost(uint64, tag = "6")]
    pub(crate) since_s: u64,
    /// While adding: the link that was given.
    #[prost(string, tag = "7")]
    pub(crate) link: String,
    /// While a request waits for an answer: what it asked.
    #[prost(message, optional, tag = "8")]
    pub(crate) request: Option<proto::wire::ContactRequest>,
    /// Two bundles of equal rank that differ were seen: the account's authority signs both.
    #[prost(bool, tag = "9")]
    pub(crate) forked: bool,
    /// Why adding failed, for the user.
    #[prost(string, tag = "10")]
    pub(crate) trouble: String,
    /// Hash of the bundle of theirs that they know we have.
    #[prost(bytes = "vec", tag = "11")]
    pub(crate) told: Vec<u8>,
    /// They have another bundle of ours than the one we have.
    #[prost(bool, tag = "12")]
    pub(crate) sees_other_bundle: bool,
    /// While adding: the envelope with the request, sealed once. An invite stores nothing after
    /// its last use but takes the same envelope again.
    #[prost(bytes = "vec", tag = "13")]
    pub(crate) sealed: Vec<u8>,
    /// Nodes of the link that have answered the request, from the first that took it on.
    #[prost(bytes = "vec", repeated, tag = "14")]
    pub(crate) answered: Vec<Vec<u8>>,
}

/// A capability that was given away.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Invite {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) token: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) expires_s: u64,
    #[prost(uint32, tag = "3")]
    pub(crate) uses: u32,
    /// How many have come by it: another home is told of the rest.
    #[prost(uint32, tag = "5")]
    pub(crate) used: u32,
    /// The homes that know it.
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub(crate) homes: Vec<Vec<u8>>,
}

/// A key package that others may use to welcome this device.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyPackage {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) public: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) secret: Vec<u8>,
    #[prost(bool, tag = "3")]
    pub(crate) last_resort: bool,
    #[prost(uint64, tag = "5")]
    pub(crate) made_s: u64,
    /// It was handed in, perhaps in vain: a one-time package never is a second time, as two people
    /// would get it.
    #[prost(bool, tag = "6")]
    pub(crate) offered: bool,
    /// The homes that have said that they hold it, or held it: one, but for the last resort.
    #[prost(bytes = "vec", repeated, tag = "7")]
    pub(crate) homes: Vec<Vec<u8>>,
}

/// What of a conversation rarely changes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Conversation {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) contact: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(crate) ranking: Option<proto::wire::Ranking>,
    /// Kept for ever: a node that has no copy yet, or no longer, makes one from it.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) genesis: Vec<u8>,
    /// The commit whose epoch this device sends on.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) head: Vec<u8>,
    /// The log was open at its node.
    #[prost(bool, tag = "5")]
    pub(crate) exists: bool,
    /// This account has created it.
    #[prost(bool, tag = "6")]
    pub(crate) created: bool,
    /// The seed of the first epoch's write key, kept for ever like the genesis.
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) first_key: Vec<u8>,
    /// Nodes of the ranking that don't know it yet, and that nobody else may tell.
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(crate) untold: Vec<Vec<u8>>,
    /// A node was told of others that hold the log.
    #[prost(bool, tag = "9")]
    pub(crate) shared: bool,
}

/// What of a conversation changes with every message.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Frontier {
    /// Position ‖ id of shown entries that nothing shown depends on.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) heads: Vec<Vec<u8>>,
    #[prost(uint64, tag = "2")]
    pub(crate) arrivals: u64,
    /// Position ‖ id up to which the user has read.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) read: Vec<u8>,
    #[prost(bool, tag = "4")]
    pub(crate) unacknowledged: bool,
    /// Texts of the contact behind `read`; not there if they were never counted.
    #[prost(uint64, optional, tag = "5")]
    pub(crate) unread: Option<u64>,
}

/// One state of a conversation's group.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Epoch {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) secrets: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) parent: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub(crate) own_leaf: u32,
    #[prost(message, repeated, tag = "4")]
    pub(crate) members: Vec<Member>,
}

/// A device in a group.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Member {
    #[prost(uint32, tag = "1")]
    pub(crate) leaf: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) account: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) device: Vec<u8>,
}

/// One entry of a timeline.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MessageRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) author: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) content: Vec<u8>,
}

/// An envelope that can't be shown yet.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Deferred {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) envelope: Vec<u8>,
    /// The references it waits for; a write key, if its epoch is unknown.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) missing: Vec<Vec<u8>>,
    #[prost(uint64, tag = "3")]
    pub(crate) since_us: u64,
}

/// An envelope that its node has not accepted yet.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Outgoing {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) envelope: Vec<u8>,
}

/// A text that waits for the contact to accept.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Draft {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(uint64, tag = "2")]
    pub(crate) written_s: u64,
}

/// Reads one row and decodes it; `None` if it is missing or damaged.
pub(crate) fn load<M: Message + Default>(rows: &dyn Rows, table: Table, key: &[u8]) -> Option<M> {
    M::decode(rows.get(table, key)?.as_slice()).ok()
}

/// Visits all rows whose key begins with `prefix`, with what follows the prefix.
pub(crate) fn each(rows: &dyn Rows, table: Table, prefix: &[u8], visit: Visit<'_>) {
    let (from, to) = prefix_range(prefix);
    rows.scan(table, &from, &to, Direction::Forward, &mut |key, value| {
        visit(key.get(prefix.len()..).unwrap_or_default(), value)
    });
}

/// All rows below a prefix, decoded.
pub(crate) fn load_all<M: Message + Default>(
    rows: &dyn Rows,
    table: Table,
    prefix: &[u8],
) -> Vec<(Vec<u8>, M)> {
    let mut all = Vec::new();
    each(rows, table, prefix, &mut |key, value| {
        if let Ok(row) = M::decode(value) {
            all.push((key.to_vec(), row));
        }
        ControlFlow::Continue(())
    });
    all
}

/// The keys `from <= key < to` that begin with `prefix`, which is not all `0xff`.
pub(crate) fn prefix_range(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return (prefix.to_vec(), end);
        }
    }
    (prefix.to_vec(), vec![0xff; KEY_LEN_MAX])
}

/// Where an entry stands in its timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its depth in the graph of dependencies.
    pub position: u64,
    /// Its name, which orders entries of the same position.
    pub id: EnvelopeId,
}

impl Place {
    pub(crate) fn of(envelope: &Envelope) -> Self {
        Self { position: envelope.head.position, id: envelope.id() }
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        [self.position.to_be_bytes().as_slice(), &self.id.0].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (position, id) = bytes.split_first_chunk::<8>()?;
        Some(Self { position: u64::from_be_bytes(*position), id: EnvelopeId::try_from(id).ok()? })
    }

    pub(crate) fn key(self, log: &LogId) -> Vec<u8> {
        [log.0.as_slice(), &self.encode()].concat()
    }
}

/// Finds where an entry stands.
pub(crate) fn place_of(rows: &dyn Rows, log: &LogId, reference: &Reference) -> Option<Place> {
    Place::decode(&rows.get(REFERENCES, &join(log, reference))?)
}

/// The name that an entry has now: what was sealed anew goes by another.
pub(crate) fn current(rows: &dyn Rows, log: &LogId, reference: &Reference) -> Reference {
    let mut current = *reference;
    while let Some(next) = rows.get(SUCCESSORS, &join(log, current))
        && let Ok(next) = Reference::try_from(next.as_slice())
    {
        current = next;
    }
    current
}

/// The key of a row below a log.
pub(crate) fn join(log: &LogId, rest: impl AsRef<[u8]>) -> Vec<u8> {
    [log.0.as_slice(), rest.as_ref()].concat()
}

/// The key of a numbered row below a log.
pub(crate) fn numbered(log: &LogId, number: u64) -> Vec<u8> {
    join(log, number.to_be_bytes())
}

pub(crate) fn cursor_key(node: &NodeId, log: &LogId) -> Vec<u8> {
    [node.0, log.0].concat()
}

impl Member {
    pub(crate) fn account(&self) -> Option<AccountId> {
        AccountId::try_from(self.account.as_slice()).ok()
    }

    pub(crate) fn device(&self) -> Option<PublicKey> {
        PublicKey::try_from(self.device.as_slice()).ok()
    }
}

const KEY_LEN_MAX: usize = 255;
