//! Relaying for nodes that cannot be dialled: a relay opens a port for a node and forwards packets,
//! and the node keeps a tunnel to that port. Specified in `spec/transport.md`, section 7.
//!
//! ```text
//!  client ──QUIC──▶ port ══header + QUIC══▶ tunnel ──QUIC──▶ endpoint
//!                  (relay)                  └────── one host ───────┘
//! ```
//!
//! A client that dials the port meets the key of the node behind it: QUIC is end to end, and
//! neither end knows of the relay. The relay sees packets, not their content.

mod header;
mod port;
mod recent;
mod reservation;
mod task;
mod tunnel;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use proto::{Peer, RelayPort, RelayToken};

use crate::{admission::AdmissionLimiter, registry::Registry};

use self::task::Task;

pub(crate) use self::tunnel::TunnelEnds;

/// The ports and tunnels of one driver, each open as long as the connection to its peer.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    ports: BTreeMap<Peer, (RelayPort, Task)>,
    tunnels: BTreeMap<Peer, (TunnelEnds, Task)>,
}

impl Relays {
    /// Opens a port through which `peer` is reached, unless it has one, on the IP of each listening
    /// socket. Call within a tokio runtime.
    pub(crate) fn open(
        &mut self,
        registry: &Arc<Registry>,
        peer: Peer,
        listening: &[SocketAddr],
    ) -> Option<RelayPort> {
        if let Some((port, _)) = self.ports.get(&peer) {
            return Some(*port);
        }
        if self.ports.len() >= registry.settings().relays_max {
            return None;
        }
        let mut token = RelayToken([0; 16]);
        getrandom::fill(&mut token.0).ok()?;
        let (number, sockets) = port::bind(listening)
            .inspect_err(|error| tracing::warn!(%error, "no port for a relay"))
            .ok()?;
        let task = Task::spawn(port::serve(Arc::clone(registry), sockets, token));
        let port = RelayPort { port: number, token };
        self.ports.insert(peer, (port, task));
        Some(port)
    }

    /// Opens a tunnel, replacing another one through the same peer. Call within a tokio runtime.
    pub(crate) fn tunnel(
        &mut self,
        registry: &Arc<Registry>,
        limiter: &Arc<AdmissionLimiter>,
        ends: TunnelEnds,
    ) {
        let through = ends.through();
        if self.tunnels.get(&through).is_some_and(|(known, _)| *known == ends) {
            return;
        }
        self.tunnels.remove(&through);
        if self.tunnels.len() >= TUNNELS_MAX {
            return tracing::warn!("too many tunnels");
        }
        let task = Task::spawn(tunnel::keep(Arc::clone(registry), Arc::clone(limiter), ends));
        self.tunnels.insert(through, (ends, task));
    }

    /// Closes the port and the tunnel that depend on the connection to `peer`.
    pub(crate) fn close(&mut self, peer: &Peer) {
        self.ports.remove(peer);
        self.tunnels.remove(peer);
    }
}

/// Tunnels of one driver: two relays, and a third while one of them changes.
const TUNNELS_MAX: usize = 3;

/// The header, for tests that act as a relay or a node themselves.
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
