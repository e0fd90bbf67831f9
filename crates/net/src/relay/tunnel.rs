//! The way through a relay's port to this machine, from within: for each client a socket of its
//! own towards the endpoint that listens here, so that QUIC sees nothing but addresses.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use proto::{Peer, RelayToken};
use tokio::{net::UdpSocket, task::yield_now, time::sleep};

use super::{
    Task,
    bucket::Bucket,
    header::{self, Received},
    port::PACKET_MAX,
    recent::Recent,
};
use crate::{accept::Notice, hub::Hub};

/// Where a tunnel leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) through: Peer,
    /// The relay's port.
    pub(super) at: SocketAddr,
    pub(super) token: RelayToken,
    /// Where this machine listens.
    pub(super) own: SocketAddr,
}

/// Keeps the way open until dropped.
pub(super) async fn keep(hub: Arc<Hub>, ends: Ends) {
    let relay = loop {
        match connected(any(ends.at), ends.at) {
            Ok(relay) => break Arc::new(relay),
            Err(error) => tracing::warn!(at = %ends.at, %error, "no way to the relay"),
        }
        sleep(KEEP_ALIVE).await;
    };
    let keep_alive = header::keep_alive(&ends.token);
    let clients = Recent::new(CLIENTS_MAX, IDLE_MAX);
    let newcomers = Bucket::new(NEWCOMERS_PER_S, NEWCOMERS_AT_ONCE, Instant::now());
    let mut tunnel = Tunnel { hub, ends, relay, clients, newcomers };
    let (mut packet, mut due) = (vec![0; PACKET_MAX], pin!(sleep(Duration::ZERO)));
    // The first ones follow each other soon, for any may be lost.
    let mut pause = KEEP_ALIVE_FIRST;
    loop {
        tokio::select! {
            received = tunnel.relay.recv(&mut packet) => match received {
                Ok(length) => tunnel.take(packet.get(..length).unwrap_or_default()).await,
                // Told of an earlier packet that did not arrive.
                Err(_) => yield_now().await,
            },
            () = &mut due => {
                let _ = tunnel.relay.send(&keep_alive).await;
                tunnel.clients.expire(Instant::now());
                due.set(sleep(pause));
                pause = pause.saturating_mul(2).min(KEEP_ALIVE);
            }
        }
    }
}

struct Tunnel {
    hub: Arc<Hub>,
    ends: Ends,
    relay: Arc<UdpSocket>,
    clients: Recent<Client>,
    newcomers: Bucket,
}

/// One that has come through the relay.
struct Client {
    socket: Arc<UdpSocket>,
    _back: Task,
    _notice: Notice,
}

impl Tunnel {
    /// Hands a packet of the relay's to the endpoint.
    async fn take(&mut self, packet: &[u8]) {
        let now = Instant::now();
        let sent = match header::read(packet, &self.ends.token) {
            Received::Of(client, inner) => match self.socket(client, now) {
                Ok(socket) => socket.send(inner).await.is_ok(),
                Err(error) => {
                    tracing::debug!(%error, "no socket for a client");
                    false
                }
            },
            Received::Plain | Received::KeepAlive | Received::Nonsense => false,
        };
        self.hub.tally.dropped_datagrams.add(u64::from(!sent));
    }

    /// The client's socket, opened if it has none.
    fn socket(&mut self, client: SocketAddr, now: Instant) -> io::Result<Arc<UdpSocket>> {
        if let Some(known) = self.clients.hear(client, now) {
            return Ok(Arc::clone(&known.socket));
        }
        if !self.newcomers.take(1, now) {
            return Err(io::Error::other("too many newcomers"));
        }
        let mut from = self.ends.own;
        from.set_port(0);
        let socket = Arc::new(connected(from, self.ends.own)?);
        let notice =
            Notice::put_up(&self.hub, socket.local_addr()?, self.ends.through, client.ip());
        let back = back(Arc::clone(&socket), Arc::clone(&self.relay), self.ends.token, client);
        let back = Task(tokio::spawn(back));
        let socket_of_client = Arc::clone(&socket);
        self.clients.insert(client, Client { socket, _back: back, _notice: notice }, now);
        Ok(socket_of_client)
    }
}

/// Sends what the endpoint answers a client to the relay.
async fn back(own: Arc<UdpSocket>, relay: Arc<UdpSocket>, token: RelayToken, client: SocketAddr) {
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

/// The address by which this machine reaches what listens at `listening`.
pub(super) fn own(listening: SocketAddr) -> SocketAddr {
    match listening {
        SocketAddr::V4(at) if at.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, at.port()).into(),
        SocketAddr::V6(at) if at.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, at.port()).into(),
        specific @ (SocketAddr::V4(_) | SocketAddr::V6(_)) => specific,
    }
}

fn any(towards: SocketAddr) -> SocketAddr {
    match towards {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// A socket that hears nobody but `to`.
fn connected(from: SocketAddr, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(from)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Clients of one tunnel at the same time: with [`TUNNELS_MAX`] a third of the 1,024 files that a
/// process may usually have open. Whoever gives way to others comes back by another socket, which
/// is to QUIC as if it had moved.
///
/// [`TUNNELS_MAX`]: super::TUNNELS_MAX
pub(crate) const CLIENTS_MAX: usize = 128;
/// Clients a second for whom a socket is opened: all may be strangers who give an address that is
/// not theirs, and those who talk must not have to give way faster than they speak.
const NEWCOMERS_PER_S: u32 = 32;
/// All that have been here come back at once after a failure.
const NEWCOMERS_AT_ONCE: u32 = 128;
/// Silence after which a client is gone: its connection was given up long before.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// Address translators forget a UDP flow after 30 s, some after 20 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_FIRST: Duration = Duration::from_secs(1);

#[test]
fn what_listens_everywhere_is_reached_on_this_machine() {
    for (listening, reached) in [
        ("0.0.0.0:7", "127.0.0.1:7"),
        ("[::]:7", "[::1]:7"),
        ("192.0.2.1:7", "192.0.2.1:7"),
        ("[2001:db8::1]:7", "[2001:db8::1]:7"),
    ] {
        assert_eq!(own(listening.parse().unwrap()), reached.parse().unwrap());
    }
}
