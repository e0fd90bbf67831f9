//! Being reached where nobody can dial: a relay opens a port for a peer and passes packets on, the
//! peer keeps a tunnel to that port. Specified in `spec/transport.md`, section 7.
//!
//! ```text
//!  client ──QUIC──▶ port ══header + QUIC══▶ tunnel ──QUIC──▶ endpoint
//!                  (relay)                  └────── one machine ─────┘
//! ```
//!
//! Whoever dials the port finds the key of the peer behind it: QUIC goes from end to end, and
//! neither end knows that something is in between. The relay sees packets, not what is in them.

mod bucket;
mod header;
mod port;
mod recent;
mod reservation;
mod tunnel;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use proto::{Peer, RelayPort, RelayToken};
use tokio::task::JoinHandle;

use crate::hub::Hub;

pub(crate) use header::plain;
pub(crate) use tunnel::CLIENTS_MAX;

/// What one machine has open, for as long as it is connected to the peer.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    ports: BTreeMap<Peer, (RelayPort, Task)>,
    tunnels: BTreeMap<Peer, (tunnel::Ends, Task)>,
}

impl Relays {
    /// Opens a port through which `peer` is reached, unless it has one.
    pub(crate) fn open(&mut self, hub: &Arc<Hub>, peer: Peer) -> Option<RelayPort> {
        if let Some((port, _)) = self.ports.get(&peer) {
            return Some(*port);
        }
        if self.ports.len() >= hub.settings.relays_max {
            return None;
        }
        let mut token = RelayToken([0; 16]);
        getrandom::fill(&mut token.0).ok()?;
        let _runtime = hub.runtime.enter();
        let (number, sockets) = port::bind(&hub.endpoints.addresses())
            .inspect_err(|error| tracing::warn!(%error, "no port for a relay"))
            .ok()?;
        let task = Task(tokio::spawn(port::serve(Arc::clone(hub), sockets, token)));
        let port = RelayPort { port: number, token };
        self.ports.insert(peer, (port, task));
        Some(port)
    }

    /// Has this machine reached through the port that `through` opened.
    pub(crate) fn tunnel(
        &mut self,
        hub: &Arc<Hub>,
        through: Peer,
        at: SocketAddr,
        token: RelayToken,
    ) {
        let Some(listening) = hub.endpoints.addresses().first().copied() else {
            return tracing::warn!("a tunnel to where nothing listens");
        };
        let ends = tunnel::Ends { through, at, token, own: tunnel::own(listening) };
        if self.tunnels.get(&through).is_some_and(|(known, _)| *known == ends) {
            return;
        }
        self.tunnels.remove(&through);
        if self.tunnels.len() >= TUNNELS_MAX {
            return tracing::warn!("too many tunnels");
        }
        let task = Task(hub.runtime.spawn(tunnel::keep(Arc::clone(hub), ends)));
        self.tunnels.insert(through, (ends, task));
    }

    /// The connection to `peer` is gone, and with it what was open for it or through it.
    pub(crate) fn close(&mut self, peer: &Peer) {
        self.ports.remove(peer);
        self.tunnels.remove(peer);
    }
}

/// The header, for tests that are a relay or a node themselves.
#[cfg(test)]
pub(crate) mod testing {
    use std::net::SocketAddr;

    use proto::RelayToken;

    pub(crate) use super::header::{INNER_MAX, keep_alive};

    pub(crate) fn wrap(token: &RelayToken, client: SocketAddr, inner: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        super::header::write(token, client, inner, &mut packet);
        packet
    }
}

/// A task that ends when this is dropped.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tunnels of one machine: two relays, and a third while one of them changes.
const TUNNELS_MAX: usize = 3;
