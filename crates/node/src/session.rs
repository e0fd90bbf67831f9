//! Sessions: who is connected, what they have proved, and which log each of their channels opens.

mod requests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::RangeInclusive,
};

use proto::{
    Code, Frame, Gauge, Hello, NodeId, Open, Peer, PublicKey, VERSIONS, limits, negotiate,
};

use crate::counters::increment;
pub(crate) use requests::{Asked, Asker};
use requests::{REQUESTS_MAX, Requests};

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: BTreeMap<Peer, Session>,
    /// Every channel that may read, by log.
    readers: BTreeSet<LogChannel>,
}

/// One connection.
#[derive(Debug)]
struct Session {
    node_nonce: [u8; 16],
    met_at: Option<SocketAddr>,
    /// From the client's Hello.
    client_nonce: Option<[u8; 16]>,
    channels: BTreeMap<u32, Access>,
    requests: Requests,
    signals: RateLimiter,
    questions: RateLimiter,
}

/// A connection's name for a log that it has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Channel {
    pub(crate) peer: Peer,
    pub(crate) number: u32,
}

/// A channel and the number of its log; ordered by log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogChannel {
    pub(crate) log: u64,
    pub(crate) channel: Channel,
}

impl LogChannel {
    /// The range of all channels of a log.
    pub(crate) fn all_of(log: u64) -> RangeInclusive<Self> {
        let channel = |byte, number| Channel { peer: PublicKey([byte; 32]), number };
        let (first, last) = (channel(0, 0), channel(0xFF, u32::MAX));
        Self { log, channel: first }..=Self { log, channel: last }
    }
}

/// A request of a peer that is answered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) peer: Peer,
    pub(crate) request: u32,
}

/// What a channel gives access to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
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
    /// An invite to an inbox: may write and take key packages, but not read.
    Guest,
    /// A write key of a conversation, of an open epoch or a closed one.
    Member,
    /// Another node that holds the log: may append the entries it has.
    Replica,
}

impl Role {
    /// Returns whether the role may read.
    pub(crate) fn reads(self) -> bool {
        match self {
            Self::Owner | Self::Member => true,
            Self::Guest | Self::Replica => false,
        }
    }
}

impl Sessions {
    /// Starts a session. `met_at` is the peer's proved address; this node's Hello carries
    /// `node_nonce`.
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
            channels: BTreeMap::new(),
            requests: Requests::default(),
            signals: RateLimiter::default(),
            questions: RateLimiter::default(),
        };
        self.sessions.insert(peer, session);
    }

    /// Returns the address at which a peer was met, if the peer has proved to be there.
    pub(crate) fn met_at(&self, peer: Peer) -> Option<SocketAddr> {
        self.sessions.get(&peer)?.met_at
    }

    /// Ends a session and returns the channels that it had open.
    pub(crate) fn disconnected(&mut self, peer: Peer) -> Vec<LogChannel> {
        let session = self.sessions.remove(&peer);
        let channels = session.into_iter().flat_map(|session| session.channels);
        let channels = channels.map(|(number, access)| LogChannel {
            log: access.log,
            channel: Channel { peer, number },
        });
        let channels: Vec<LogChannel> = channels.collect();
        for channel in &channels {
            self.readers.remove(channel);
        }
        channels
    }

    /// Returns the number of connections.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn gauges(&self) -> [Gauge; 3] {
        let channels = self.sessions.values().map(|session| session.channels.len()).max();
        let requests = self.sessions.values().map(|session| session.requests.len()).max();
        let (mut most, mut readers, mut at) = (0, 0_usize, None);
        for LogChannel { log, .. } in &self.readers {
            readers = if at == Some(log) { readers.saturating_add(1) } else { 1 };
            (most, at) = (readers.max(most), Some(log));
        }
        [
            Gauge::new("channels of a connection", channels.unwrap_or(0), limits::CHANNELS_MAX),
            Gauge::new("readers of a log", most, limits::READERS_MAX),
            Gauge::new("requests of a connection", requests.unwrap_or(0), REQUESTS_MAX),
        ]
    }

    /// Returns whether a log has as many readers as it may have.
    pub(crate) fn is_crowded(&self, log: u64) -> bool {
        self.readers(log).nth(limits::READERS_MAX.saturating_sub(1)).is_some()
    }

    /// Returns whether a connection has any log open.
    pub(crate) fn has_channels(&self, peer: Peer) -> bool {
        self.sessions.get(&peer).is_some_and(|session| !session.channels.is_empty())
    }

    pub(crate) fn is_connected(&self, peer: Peer) -> bool {
        self.sessions.contains_key(&peer)
    }

    /// Takes the client's Hello.
    pub(crate) fn on_hello(&mut self, peer: Peer, hello: &Hello) -> Result<(), Code> {
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

    /// Checks that there is room for one more channel and that this very connection proves the key.
    /// The proof names the connection, the log and the channel, so it is worth nothing elsewhere.
    pub(crate) fn check_proof(&self, peer: Peer, node: NodeId, open: &Open) -> Result<(), Code> {
        let session = self.sessions.get(&peer).ok_or(Code::Unexpected)?;
        let client_nonce = session.client_nonce.ok_or(Code::Unexpected)?;
        let Open { channel, log, key, proof, genesis: _, tail: _, announce: _, ranking: _ } = open;
        session.check_room(*channel)?;
        let message = crypto::open_proof_message(
            &session.node_nonce,
            &client_nonce,
            &peer,
            &node,
            log,
            *channel,
        );
        crypto::verify(key, crypto::OPEN_CONTEXT, &message, proof).map_err(|_| Code::Forbidden)
    }

    /// Checks that there is room for one more channel.
    pub(crate) fn check_room(&self, channel: Channel) -> Result<(), Code> {
        self.sessions.get(&channel.peer).ok_or(Code::Unexpected)?.check_room(channel.number)
    }

    /// Returns the channels by which a peer may append to a log of which it holds a copy.
    pub(crate) fn replicated(&self, peer: Peer, log: u64) -> Vec<Channel> {
        let channels = self.sessions.get(&peer).map(|session| &session.channels);
        let of_log = channels.into_iter().flatten();
        let of_log = of_log.filter(|(_, access)| access.log == log && access.role == Role::Replica);
        of_log.map(|(number, _)| Channel { peer, number: *number }).collect()
    }

    /// Opens a channel. One of the same number must have been closed.
    pub(crate) fn open(&mut self, channel: Channel, access: Access) {
        let Some(session) = self.sessions.get_mut(&channel.peer) else { return };
        session.channels.insert(channel.number, access);
        if access.role.reads() {
            self.readers.insert(LogChannel { log: access.log, channel });
        }
    }

    /// Closes a channel and returns what it gave access to.
    pub(crate) fn close(&mut self, channel: Channel) -> Option<Access> {
        let session = self.sessions.get_mut(&channel.peer)?;
        let access = session.channels.remove(&channel.number)?;
        self.readers.remove(&LogChannel { log: access.log, channel });
        Some(access)
    }

    /// Returns what a channel gives access to.
    pub(crate) fn access(&self, channel: Channel) -> Result<Access, Code> {
        let session = self.sessions.get(&channel.peer).ok_or(Code::Unexpected)?;
        session.channels.get(&channel.number).copied().ok_or(Code::Unexpected)
    }

    /// Returns the number of an inbox that this connection has open as its owner.
    pub(crate) fn own_account(&self, peer: Peer) -> Option<u64> {
        let mut channels = self.sessions.get(&peer)?.channels.values();
        channels.find(|access| access.role == Role::Owner).map(|access| access.log)
    }

    /// Returns the channels that may read a log.
    pub(crate) fn readers(&self, log: u64) -> impl Iterator<Item = Channel> {
        self.readers.range(LogChannel::all_of(log)).map(|reader| reader.channel)
    }

    /// Returns the channels on an inbox whose keys are not in `devices`.
    pub(crate) fn strangers(&self, inbox: u64, devices: &[PublicKey]) -> Vec<Channel> {
        let is_stranger = |channel: &Channel| {
            self.access(*channel).is_ok_and(|access| !devices.contains(&access.key))
        };
        self.readers(inbox).filter(is_stranger).collect()
    }

    /// Gives a frame of a part of this node its number on the connection, if the frame is a
    /// request.
    pub(crate) fn assign_number(&mut self, peer: Peer, asker: Asker, frame: &mut Frame) {
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.requests.assign_number(asker, frame);
        }
    }

    /// Takes the request of this node that a frame answers.
    pub(crate) fn take(&mut self, peer: Peer, frame: &Frame) -> Option<Asked> {
        self.sessions.get_mut(&peer)?.requests.take(frame)
    }

    /// Forgets the requests of a part of this node: it has forgotten them itself.
    pub(crate) fn forget(&mut self, peer: Peer, asker: Asker) {
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.requests.forget(asker);
        }
    }

    /// Counts a signal against the connection's rate.
    pub(crate) fn admit_signal(&mut self, peer: Peer, second: u64, max: u32) -> Result<(), Code> {
        let session = self.sessions.get_mut(&peer).ok_or(Code::Unexpected)?;
        session.signals.admit(second, max)
    }

    /// Counts a question about the network against the connection's rate.
    pub(crate) fn admit_question(&mut self, peer: Peer, second: u64) -> Result<(), Code> {
        let session = self.sessions.get_mut(&peer).ok_or(Code::Unexpected)?;
        session.questions.admit(second, QUESTIONS_PER_S)
    }
}

impl Session {
    fn check_room(&self, number: u32) -> Result<(), Code> {
        let is_new = !self.channels.contains_key(&number);
        if is_new && self.channels.len() >= limits::CHANNELS_MAX {
            return Err(Code::Busy);
        }
        Ok(())
    }
}

/// Admits so many events in each second.
#[derive(Debug, Default)]
struct RateLimiter {
    second: u64,
    count: u64,
}

impl RateLimiter {
    fn admit(&mut self, second: u64, max: u32) -> Result<(), Code> {
        if self.second != second {
            *self = Self { second, count: 0 };
        }
        if self.count >= u64::from(max) {
            return Err(Code::Busy);
        }
        increment(&mut self.count);
        Ok(())
    }
}

/// As many as a node may ask.
const QUESTIONS_PER_S: u32 = 64;
