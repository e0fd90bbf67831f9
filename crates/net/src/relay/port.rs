//! A port that a relay has open for one node: its sockets and their tasks.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use proto::RelayToken;
use tokio::{
    net::UdpSocket,
    task::{JoinSet, yield_now},
};

use super::{
    header::{HEADER, INNER_MAX},
    reservation::{Action, Reservation, Source},
};
use crate::{lock::lock, registry::Registry};

/// Binds one port number on the IP of each listening socket, within a tokio runtime.
pub(super) fn bind(listening: &[SocketAddr]) -> io::Result<(u16, Vec<UdpSocket>)> {
    let mut bound = Err(io::Error::other("nothing listens here"));
    for _ in 0..ATTEMPTS {
        bound = bind_once(listening);
        // Free on one IP, taken on another.
        if !matches!(&bound, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
            break;
        }
    }
    bound
}

fn bind_once(listening: &[SocketAddr]) -> io::Result<(u16, Vec<UdpSocket>)> {
    let (mut port, mut sockets) = (0, Vec::new());
    for address in listening {
        let mut address = *address;
        address.set_port(port);
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        port = socket.local_addr()?.port();
        sockets.push(UdpSocket::from_std(socket)?);
    }
    if sockets.is_empty() {
        Err(io::ErrorKind::AddrNotAvailable.into())
    } else {
        Ok((port, sockets))
    }
}

/// Relays until dropped.
pub(super) async fn serve(registry: Arc<Registry>, sockets: Vec<UdpSocket>, token: RelayToken) {
    let reservation = Mutex::new(Reservation::new(token, registry.clock().now()));
    let port = Arc::new(Port { registry, sockets, reservation });
    let mut pumps = JoinSet::new();
    for socket in 0..port.sockets.len() {
        pumps.spawn(Arc::clone(&port).pump(socket));
    }
    while pumps.join_next().await.is_some() {}
}

struct Port {
    registry: Arc<Registry>,
    sockets: Vec<UdpSocket>,
    reservation: Mutex<Reservation>,
}

impl Port {
    /// Forwards what arrives at one socket, a packet at a time: packets that arrive too fast wait
    /// in the system's buffer and are dropped there.
    async fn pump(self: Arc<Self>, number: usize) {
        let Some(socket) = self.sockets.get(number) else { return };
        let (mut packet, mut wrapped) = (vec![0; PACKET_MAX], Vec::new());
        loop {
            let Ok((length, address)) = socket.recv_from(&mut packet).await else {
                // The system reports an earlier packet that did not arrive.
                yield_now().await;
                continue;
            };
            let from = Source::new(number, address);
            let packet = packet.get(..length).unwrap_or_default();
            let now = self.registry.clock().now();
            let action = lock(&self.reservation).route(from, packet, now, &mut wrapped);
            self.carry_out(action).await;
        }
    }

    async fn carry_out(&self, action: Action<'_>) {
        let tally = self.registry.tally();
        let (to, bytes) = match action {
            Action::Forward(to, bytes) => (to, bytes),
            Action::Consumed => return,
            Action::Dropped => return tally.count_dropped_datagram(),
        };
        let Some(socket) = self.sockets.get(to.socket()) else { return };
        if socket.send_to(bytes, to.address()).await.is_ok() {
            tally.count_relayed_datagram(bytes.len());
        } else {
            tally.count_dropped_datagram();
        }
    }
}

const ATTEMPTS: usize = 8;
/// One byte more than the longest valid packet, so that longer ones show and are dropped.
pub(super) const PACKET_MAX: usize = HEADER + INNER_MAX + 1;
