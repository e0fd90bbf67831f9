//! A tunnel from a relay's port to this host, seen from this host: each client gets a local socket
//! of its own towards the listening endpoint, so that QUIC sees only addresses.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use proto::{Instant, Peer, RateLimiter, RelayToken};
use tokio::{net::UdpSocket, task::yield_now, time::sleep};

use super::{
    header::{self, Received},
    port::PACKET_MAX,
    recent::Recent,
    task::Task,
};
use crate::{
    address::{any_towards, local},
    admission::{AdmissionLimiter, RELAYED_CLIENTS_MAX, TunnelSocket},
    registry::Registry,
};

/// Where a tunnel leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TunnelEnds {
    through: Peer,
    /// The relay's port.
    at: SocketAddr,
    token: RelayToken,
    /// Where this host reaches its own listening socket.
    own: SocketAddr,
}

impl TunnelEnds {
    /// From the port at `at`, opened by `through`, to the socket bound to `listening`.
    pub(crate) fn new(
        through: Peer,
        at: SocketAddr,
        token: RelayToken,
        listening: SocketAddr,
    ) -> Self {
        Self { through, at, token, own: local(listening) }
    }

    pub(super) fn through(&self) -> Peer {
        self.through
    }
}

/// Keeps the tunnel open until dropped.
pub(super) async fn keep(
    registry: Arc<Registry>,
    limiter: Arc<AdmissionLimiter>,
    ends: TunnelEnds,
) {
    let relay = loop {
        match connected(any_towards(ends.at), ends.at) {
            Ok(relay) => break Arc::new(relay),
            Err(error) => tracing::warn!(at = %ends.at, %error, "can't reach the relay"),
        }
        // Nothing tells when there is a route again.
        sleep(KEEP_ALIVE).await;
    };
    let keep_alive = header::keep_alive(&ends.token);
    let clients = Recent::new(RELAYED_CLIENTS_MAX, IDLE_MAX);
    let newcomers =
        RateLimiter::with_burst(NEWCOMERS_PER_S, NEWCOMERS_AT_ONCE, registry.clock().now());
    let mut tunnel = Tunnel { registry, limiter, ends, relay, clients, newcomers };
    let (mut packet, mut due) = (vec![0; PACKET_MAX], pin!(sleep(Duration::ZERO)));
    // The first keep-alives follow each other soon, for any may be lost.
    let mut pause = KEEP_ALIVE_FIRST;
    loop {
        tokio::select! {
            received = tunnel.relay.recv(&mut packet) => match received {
                Ok(length) => tunnel.deliver(packet.get(..length).unwrap_or_default()).await,
                // The system reports an earlier packet that did not arrive.
                Err(_) => yield_now().await,
            },
            () = &mut due => {
                let _ = tunnel.relay.send(&keep_alive).await;
                tunnel.clients.expire(tunnel.registry.clock().now());
                due.set(sleep(pause));
                pause = pause.saturating_mul(2).min(KEEP_ALIVE);
            }
        }
    }
}

struct Tunnel {
    registry: Arc<Registry>,
    limiter: Arc<AdmissionLimiter>,
    ends: TunnelEnds,
    relay: Arc<UdpSocket>,
    clients: Recent<Client>,
    newcomers: RateLimiter,
}

/// A client of the relay.
struct Client {
    socket: Arc<UdpSocket>,
    _answers: Task,
    _attribution: TunnelSocket,
}

impl Tunnel {
    /// Hands a packet from the relay to the endpoint.
    async fn deliver(&mut self, packet: &[u8]) {
        let now = self.registry.clock().now();
        let sent = match header::read(packet, &self.ends.token) {
            Received::Of(client, inner) => match self.socket(client, now) {
                Ok(socket) => socket.send(inner).await.is_ok(),
                Err(error) => {
                    tracing::debug!(%error, "no socket for a client");
                    false
                }
            },
            Received::Plain | Received::KeepAlive | Received::Invalid => false,
        };
        if !sent {
            self.registry.tally().count_dropped_datagram();
        }
    }

    /// Returns the client's socket, opened if it has none.
    fn socket(&mut self, client: SocketAddr, now: Instant) -> io::Result<Arc<UdpSocket>> {
        if let Some(known) = self.clients.touch(client, now) {
            return Ok(Arc::clone(&known.socket));
        }
        if !self.newcomers.take(now) {
            return Err(io::Error::other("too many newcomers"));
        }
        let mut from = self.ends.own;
        from.set_port(0);
        let socket = Arc::new(connected(from, self.ends.own)?);
        let _attribution = TunnelSocket::register(
            &self.limiter,
            socket.local_addr()?,
            self.ends.through,
            client.ip(),
        );
        let answers =
            return_answers(Arc::clone(&socket), Arc::clone(&self.relay), self.ends.token, client);
        let _answers = Task::spawn(answers);
        let own = Arc::clone(&socket);
        self.clients.insert(client, Client { socket, _answers, _attribution }, now);
        Ok(own)
    }
}

/// Sends the endpoint's packets for a client to the relay.
async fn return_answers(
    own: Arc<UdpSocket>,
    relay: Arc<UdpSocket>,
    token: RelayToken,
    client: SocketAddr,
) {
    let (mut packet, mut wrapped) = (vec![0; PACKET_MAX], Vec::new());
    loop {
        let Ok(length) = own.recv(&mut packet).await else {
            yield_now().await;
            continue;
        };
        header::write(&token, client, packet.get(..length).unwrap_or_default(), &mut wrapped);
        let _ = relay.send(&wrapped).await;
    }
}

/// Opens a socket that exchanges packets with `to` only.
fn connected(from: SocketAddr, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(from)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Clients a second for which a socket is opened: all may have forged addresses, and must not evict
/// active clients faster than those send.
const NEWCOMERS_PER_S: u32 = 32;
/// After a failure, all clients come back at once.
const NEWCOMERS_AT_ONCE: u32 = 128;
/// Silence after which a client is removed; its connection has timed out long before.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// NATs forget a UDP flow after 30 s, some after 20 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_FIRST: Duration = Duration::from_secs(1);
