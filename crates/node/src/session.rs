//! Sessions: who is connected, what they have proved, and which logs they call by which handle.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use proto::{Code, Gauge, Hello, NodeId, Open, Peer, PublicKey, VERSIONS, limits, negotiate};

use crate::counters::increment;

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: BTreeMap<Peer, Session>,
    /// Every handle that may read, by log.
    readers: BTreeSet<(u64, Peer, u32)>,
}

/// One connection.
#[derive(Debug)]
struct Session {
    node_nonce: [u8; 16],
    met_at: Option<SocketAddr>,
    /// From the client's Hello.
    client_nonce: Option<[u8; 16]>,
    handles: BTreeMap<u32, Handle>,
    signals: (u64, u64),
    questions: (u64, u64),
}

/// A log that a connection has open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle {
    /// The log's number.
    pub(crate) log: u64,
    /// The key whose possession was proved.
    pub(crate) key: PublicKey,
    /// What the key is to the log.
    pub(crate) role: Role,
}

/// What a key is to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A device of the inbox's account.
    Owner,
    /// An invite to an inbox: may write and take key packages, not read.
    Guest,
    /// A write key of a conversation, of an open epoch or a closed one.
    Member,
    /// Another node that holds the log: may append what it has.
    Replica,
}

impl Role {
    pub(crate) fn reads(self) -> bool {
        match self {
            Self::Owner | Self::Member => true,
            Self::Guest | Self::Replica => false,
        }
    }
}

impl Sessions {
    /// Starts a session with a peer that was met there, whose Hello carries `node_nonce`.
    pub(crate) fn connected(
        &mut self,
        peer: Peer,
        met_at: Option<SocketAddr>,
        node_nonce: [u8; 16],
    ) {
        let session = Session {
            node_nonce,
            met_at,
            client_nonce: None,
            handles: BTreeMap::new(),
            signals: (0, 0),
            questions: (0, 0),
        };
        self.sessions.insert(peer, session);
    }

    /// Where a peer was met, if it has proved to be there.
    pub(crate) fn met_at(&self, peer: Peer) -> Option<SocketAddr> {
        self.sessions.get(&peer)?.met_at
    }

    /// Ends a session and returns what it had open.
    pub(crate) fn disconnected(&mut self, peer: Peer) -> BTreeMap<u32, Handle> {
        let session = self.sessions.remove(&peer);
        let handles = session.map(|session| session.handles).unwrap_or_default();
        for (number, handle) in &handles {
            self.readers.remove(&(handle.log, peer, *number));
        }
        handles
    }

    /// How many are connected.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn gauges(&self) -> [Gauge; 2] {
        let handles = self.sessions.values().map(|session| session.handles.len()).max();
        let (mut most, mut readers, mut at) = (0, 0_usize, None);
        for (log, ..) in &self.readers {
            readers = if at == Some(log) { readers.saturating_add(1) } else { 1 };
            (most, at) = (readers.max(most), Some(log));
        }
        [
            Gauge::new("handles of a connection", handles.unwrap_or(0), limits::HANDLES_MAX),
            Gauge::new("readers of a log", most, limits::READERS_MAX),
        ]
    }

    /// Tells whether a log has as many readers as it may have.
    pub(crate) fn is_crowded(&self, log: u64) -> bool {
        self.readers(log).nth(limits::READERS_MAX.saturating_sub(1)).is_some()
    }

    /// Tells whether a connection has any log open.
    pub(crate) fn has_handles(&self, peer: Peer) -> bool {
        self.sessions.get(&peer).is_some_and(|session| !session.handles.is_empty())
    }

    pub(crate) fn is_connected(&self, peer: Peer) -> bool {
        self.sessions.contains_key(&peer)
    }

    /// Takes the client's Hello.
    pub(crate) fn hello(&mut self, peer: Peer, hello: &Hello) -> Result<(), Code> {
        let session = self.sessions.get_mut(&peer).ok_or(Code::Unexpected)?;
        if session.client_nonce.is_some() {
            return Err(Code::Unexpected);
        }
        negotiate(VERSIONS, hello.versions).ok_or(Code::Version)?;
        session.client_nonce = Some(hello.nonce);
        Ok(())
    }

    /// Checks that the client has said Hello.
    pub(crate) fn check_greeted(&self, peer: Peer) -> Result<(), Code> {
        let greeted = self.sessions.get(&peer).is_some_and(|s| s.client_nonce.is_some());
        if greeted { Ok(()) } else { Err(Code::Unexpected) }
    }

    /// Checks that there is room for one more handle and that the key's holder is at this very
    /// connection. Said once, for this log and this handle, the proof is worth nothing elsewhere.
    pub(crate) fn check_proof(&self, peer: Peer, node: NodeId, open: &Open) -> Result<(), Code> {
        let session = self.sessions.get(&peer).ok_or(Code::Unexpected)?;
        let client_nonce = session.client_nonce.ok_or(Code::Unexpected)?;
        let Open { handle, log, key, proof, genesis: _, tail: _, brief: _, ranking: _ } = open;
        session.check_room(*handle)?;
        let message = crypto::open_proof_message(
            &session.node_nonce,
            &client_nonce,
            &peer,
            &node,
            log,
            *handle,
        );
        crypto::verify(key, crypto::OPEN_CONTEXT, &message, proof).map_err(|_| Code::Forbidden)
    }

    /// Checks that there is room for one more handle.
    pub(crate) fn check_room(&self, peer: Peer, handle: u32) -> Result<(), Code> {
        self.sessions.get(&peer).ok_or(Code::Unexpected)?.check_room(handle)
    }

    /// The handles by which a peer may append to a log of which it holds a copy.
    pub(crate) fn replicated(&self, peer: Peer, log: u64) -> Vec<u32> {
        let handles = self.sessions.get(&peer).map(|session| &session.handles);
        let of_log = handles.into_iter().flatten();
        let of_log = of_log.filter(|(_, handle)| handle.log == log && handle.role == Role::Replica);
        of_log.map(|(number, _)| *number).collect()
    }

    /// Opens a handle. One of the same number must have been closed.
    pub(crate) fn open(&mut self, peer: Peer, number: u32, handle: Handle) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        session.handles.insert(number, handle);
        if handle.role.reads() {
            self.readers.insert((handle.log, peer, number));
        }
    }

    /// Forgets a handle and returns what it was.
    pub(crate) fn close(&mut self, peer: Peer, number: u32) -> Option<Handle> {
        let handle = self.sessions.get_mut(&peer)?.handles.remove(&number)?;
        self.readers.remove(&(handle.log, peer, number));
        Some(handle)
    }

    pub(crate) fn handle(&self, peer: Peer, number: u32) -> Result<Handle, Code> {
        let session = self.sessions.get(&peer).ok_or(Code::Unexpected)?;
        session.handles.get(&number).copied().ok_or(Code::Unexpected)
    }

    /// The number of an inbox that this connection has open as its owner.
    pub(crate) fn own_account(&self, peer: Peer) -> Option<u64> {
        let mut handles = self.sessions.get(&peer)?.handles.values();
        handles.find(|handle| handle.role == Role::Owner).map(|handle| handle.log)
    }

    /// The handles that may read a log.
    pub(crate) fn readers(&self, log: u64) -> impl Iterator<Item = (Peer, u32)> {
        let range = (log, PublicKey([0; 32]), 0)..=(log, PublicKey([0xFF; 32]), u32::MAX);
        self.readers.range(range).map(|(_, peer, number)| (*peer, *number))
    }

    /// The handles on an inbox whose keys are none of `devices`.
    pub(crate) fn strangers(&self, inbox: u64, devices: &[PublicKey]) -> Vec<(Peer, u32)> {
        let is_stranger = |(peer, number): &(Peer, u32)| {
            self.handle(*peer, *number).is_ok_and(|handle| !devices.contains(&handle.key))
        };
        self.readers(inbox).filter(is_stranger).collect()
    }

    /// Counts a signal against the connection's rate.
    pub(crate) fn signal(&mut self, peer: Peer, second: u64, max: u32) -> Result<(), Code> {
        let session = self.sessions.get_mut(&peer).ok_or(Code::Unexpected)?;
        count(&mut session.signals, second, max)
    }

    /// Counts a question about the network against the connection's rate.
    pub(crate) fn question(&mut self, peer: Peer, second: u64) -> Result<(), Code> {
        let session = self.sessions.get_mut(&peer).ok_or(Code::Unexpected)?;
        count(&mut session.questions, second, QUESTIONS_PER_S)
    }
}

/// Counts what may happen `max` times in a second.
fn count(counted: &mut (u64, u64), second: u64, max: u32) -> Result<(), Code> {
    if counted.0 != second {
        *counted = (second, 0);
    }
    if counted.1 >= u64::from(max) {
        return Err(Code::Busy);
    }
    increment(&mut counted.1);
    Ok(())
}

/// As many as a node may ask.
const QUESTIONS_PER_S: u32 = 64;
impl Session {
    fn check_room(&self, handle: u32) -> Result<(), Code> {
        let is_new = !self.handles.contains_key(&handle);
        if is_new && self.handles.len() >= limits::HANDLES_MAX {
            return Err(Code::Busy);
        }
        Ok(())
    }
}
