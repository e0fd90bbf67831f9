//! Reaching peers that cannot be dialled: relay ports, tunnels and dial probes.

use std::{fmt, net::SocketAddr};

use crate::Peer;

/// What a machine asks its driver to do so that nodes behind a NAT can be reached.
#[derive(Debug)]
pub enum Reach {
    /// Open a port of this host through which others reach this peer, which cannot be dialled.
    ///
    /// The port is open as long as the connection to the peer. Answered by [`Reached::Relayed`], a
    /// second time with the same port. Dropped if there is no connection.
    Relay(Peer),
    /// Let others reach this machine through the port that `through` has opened for it.
    ///
    /// The tunnel lives as long as the connection to `through`; a newer one replaces an older one.
    /// Dropped if there is no connection.
    Tunnel {
        /// The peer that opened the port.
        through: Peer,
        /// The address of the peer, with the port.
        at: SocketAddr,
        /// The token that the port was opened with.
        token: RelayToken,
    },
    /// Find out whether this peer can be dialled at one of these addresses.
    ///
    /// The driver dials from another port, independently of any connection to the peer, and
    /// answers with [`Reached::Tried`] within 3 s.
    Try(Peer, Vec<SocketAddr>),
}

/// The driver's answers to [`Reach`].
#[derive(Debug)]
pub enum Reached {
    /// The answer to [`Reach::Relay`]: the port, or `None` if none is available.
    Relayed(Peer, Option<RelayPort>),
    /// The answer to [`Reach::Try`]: whether the peer answered.
    Tried(Peer, bool),
}

/// A port through which others reach a peer that cannot be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayPort {
    /// The port number, the same at each address where this host listens.
    pub port: u16,
    /// For the peer alone.
    pub token: RelayToken,
}

/// Proves to a relay that a packet comes from the peer for which it has opened the port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RelayToken(pub [u8; 16]);

impl fmt::Debug for RelayToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayToken(..)")
    }
}
