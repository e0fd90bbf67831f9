//! What the network deals with: hosts, connections, what is on its way, and what drivers are told.

use std::net::SocketAddr;

use proto::{Instant, Peer};

use super::stream::Flying;

/// A host: a machine on the network. Numbered from 0 as they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostId(pub(crate) u32);

/// One connection. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Dialler,
    Listener,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkEnd {
    pub(crate) link: LinkId,
    pub(crate) side: Side,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Listener,
            Self::Listener => Self::Dialler,
        }
    }
}

/// What a driver must be told.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The connection stands, as this side sees it; frames may be sent. `peer` has proved its key.
    Connected { host: HostId, link: LinkId, side: Side, peer: Peer },
    /// A dial failed: no host answered, or one with another key.
    NotConnected { host: HostId, peer: Peer },
    /// A frame has arrived, as its bytes.
    Arrived { host: HostId, link: LinkId, bytes: Vec<u8> },
    /// The connection is over for this side.
    Ended { host: HostId, link: LinkId },
}

impl Notice {
    /// Who must be told.
    pub(crate) fn host(&self) -> HostId {
        match self {
            Self::Connected { host, .. }
            | Self::NotConnected { host, .. }
            | Self::Arrived { host, .. }
            | Self::Ended { host, .. } => *host,
        }
    }
}

/// What is on its way; only the network knows what it means.
#[derive(Debug)]
pub(crate) struct Packet(pub(super) Way);

#[derive(Debug)]
pub(super) enum Way {
    /// A dial has failed, as far as this life of the host can tell.
    Unanswered { host: HostId, life: u32, peer: Peer },
    /// Something on a link; nothing if that is over. `side` has said it, or it is for `side`.
    On { link: LinkId, side: Side, what: What },
}

/// What is on its way on a link.
#[derive(Debug)]
pub(super) enum What {
    /// The dialler's first packet.
    Hello,
    /// What the listener says to it.
    Answer {
        departs: Instant,
    },
    /// What the dialler says to that, and with which the listener is connected.
    Finish {
        departs: Instant,
    },
    Frame(Flying),
    /// The side has ended the connection: after all it had sent, if `flushed`.
    Bye {
        departs: Instant,
        flushed: bool,
    },
    /// After a cut, what was stuck is sent again.
    Release,
    /// A side checks whether it must close the connection. Stale if another time is due.
    Check {
        due: Instant,
    },
    /// For a side: the other host knows no such connection.
    Reset,
    /// For a side that must still be told that its connection is over.
    Over,
}

/// A host to add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    /// The key that it proves when dialled.
    pub(crate) key: Option<Peer>,
    /// Others can dial it.
    pub(crate) reachable: bool,
    /// Bits a second each way. 0 is without limit.
    pub(crate) bps: u64,
}

/// A host dials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) from: HostId,
    /// The key that the dialler proves.
    pub(crate) own: Peer,
    pub(crate) to: SocketAddr,
    /// Whose key is expected there.
    pub(crate) peer: Peer,
}
