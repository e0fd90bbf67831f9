//! A port that a relay has open for one node: its sockets and their tasks.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

use proto::RelayToken;
use tokio::{
    net::UdpSocket,
    task::{JoinSet, yield_now},
};

use super::{
    header::{HEADER, INNER_MAX},
    reservation::{Course, Place, Reservation},
};
use crate::{hub::Hub, lock::lock};

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
pub(super) async fn serve(hub: Arc<Hub>, sockets: Vec<UdpSocket>, token: RelayToken) {
    let reservation = Mutex::new(Reservation::new(token, Instant::now()));
    let port = Arc::new(Port { hub, sockets, reservation });
    let mut pumps = JoinSet::new();
    for socket in 0..port.sockets.len() {
        pumps.spawn(Arc::clone(&port).pump(socket));
    }
    while pumps.join_next().await.is_some() {}
}

struct Port {
    hub: Arc<Hub>,
    sockets: Vec<UdpSocket>,
    reservation: Mutex<Reservation>,
}

impl Port {
    /// Sends on what comes to one socket: a packet at a time, so that whatever comes too fast waits
    /// in the system's buffer and is dropped there.
    async fn pump(self: Arc<Self>, number: usize) {
        let Some(socket) = self.sockets.get(number) else { return };
        let (mut packet, mut wrapped) = (vec![0; PACKET_MAX], Vec::new());
        loop {
            let Ok((length, address)) = socket.recv_from(&mut packet).await else {
                // Told of an earlier packet that did not arrive.
                yield_now().await;
                continue;
            };
            let from = Place { socket: number, address };
            let packet = packet.get(..length).unwrap_or_default();
            let now = Instant::now();
            let course = lock(&self.reservation).route(from, packet, now, &mut wrapped);
            self.carry_out(course).await;
        }
    }

    async fn carry_out(&self, course: Course<'_>) {
        let tally = &self.hub.tally;
        let Course::To(place, bytes) = course else {
            tally.dropped_datagrams.add(u64::from(course == Course::Dropped));
            return;
        };
        let Some(socket) = self.sockets.get(place.socket) else { return };
        if socket.send_to(bytes, place.address).await.is_ok() {
            tally.relayed_datagrams.add(1);
            tally.relayed_bytes.add(bytes.len() as u64);
        } else {
            tally.dropped_datagrams.add(1);
        }
    }
}

const ATTEMPTS: usize = 8;
/// Whatever is longer shows, and is dropped.
pub(super) const PACKET_MAX: usize = HEADER + INNER_MAX + 1;
