//! The state of one relay port, and where it sends each packet: pure, without sockets.

use std::{net::SocketAddr, time::Duration};

use proto::{Instant, RateLimiter, RelayToken};

use super::{
    header::{self, INNER_MAX, Received},
    recent::Recent,
};
use crate::address::canonical;

/// A port that is open for one node.
#[derive(Debug)]
pub(super) struct Reservation {
    token: RelayToken,
    /// Where the node last showed the token: its address as translated by its NAT.
    node: Option<Source>,
    clients: Recent<Client>,
    inward: RateLimiter,
    outward: RateLimiter,
}

/// A remote address, and the number of the port's socket that reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    socket: usize,
    address: SocketAddr,
}

impl Source {
    pub(super) fn new(socket: usize, address: SocketAddr) -> Self {
        Self { socket, address }
    }

    pub(super) fn socket(&self) -> usize {
        self.socket
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What to do with a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action<'a> {
    /// Send these bytes there.
    Forward(Source, &'a [u8]),
    /// Nothing: it was for the relay itself.
    Consumed,
    Dropped,
}

#[derive(Debug)]
struct Client {
    source: Source,
    /// How many packets may still be sent there before one must be received.
    credit: u32,
}

impl Reservation {
    pub(super) fn new(token: RelayToken, now: Instant) -> Self {
        Self {
            token,
            node: None,
            clients: Recent::new(CLIENTS_MAX, CLIENT_SILENT_MAX),
            inward: RateLimiter::with_burst(BYTES_PER_S, BURST, now),
            outward: RateLimiter::with_burst(BYTES_PER_S, BURST, now),
        }
    }

    /// Decides on a packet. A forwarded one may be assembled in `wrapped`.
    pub(super) fn route<'a>(
        &mut self,
        from: Source,
        packet: &'a [u8],
        now: Instant,
        wrapped: &'a mut Vec<u8>,
    ) -> Action<'a> {
        let action = match header::read(packet, &self.token) {
            Received::Plain => self.inward(from, packet, now, wrapped),
            Received::KeepAlive => {
                self.node = Some(from);
                return Action::Consumed;
            }
            Received::Of(client, inner) => {
                self.node = Some(from);
                self.outward(client, inner, now)
            }
            Received::Invalid => None,
        };
        action.unwrap_or(Action::Dropped)
    }

    /// Forwards a client's packet to the node.
    fn inward<'a>(
        &mut self,
        from: Source,
        packet: &[u8],
        now: Instant,
        wrapped: &'a mut Vec<u8>,
    ) -> Option<Action<'a>> {
        let node = self.node?;
        let fits = (1..=INNER_MAX).contains(&packet.len());
        if !fits || !self.inward.take_many(packet.len().max(SMALL), now) {
            return None;
        }
        let key = canonical(from.address);
        match self.clients.touch(key, now) {
            Some(client) => {
                client.source = from;
                client.credit = client.credit.saturating_add(CREDIT).min(CREDIT_MAX);
            }
            None => self.clients.insert(key, Client { source: from, credit: CREDIT }, now),
        }
        header::write(&self.token, key, packet, wrapped);
        Some(Action::Forward(node, wrapped))
    }

    /// Forwards the node's packet to a client, if that is known.
    fn outward<'a>(
        &mut self,
        client: SocketAddr,
        inner: &'a [u8],
        now: Instant,
    ) -> Option<Action<'a>> {
        let client = self.clients.get(&client, now)?;
        let left = client.credit.checked_sub(1)?;
        if !self.outward.take_many(inner.len().max(SMALL), now) {
            return None;
        }
        client.credit = left;
        Some(Action::Forward(client.source, inner))
    }
}

/// The rate of a port in each direction, without headers. 1 MiB/s: hundreds of conversations, or a
/// few pages of history at once; and 64 ports take no more than half of a gigabit line.
const BYTES_PER_S: u32 = 1024 * 1024;
/// The burst: the window of one QUIC connection.
const BURST: u32 = 1024 * 1024;
/// The least that a packet counts for: 4,096 a second. Small packets cost as much work as others.
const SMALL: usize = 256;
/// Clients that the node can answer at the same time: four times as many as it accepts, so that
/// short-lived strangers don't evict clients that talk.
pub(super) const CLIENTS_MAX: usize = 512;
/// Silence after which a client is forgotten. 2 min: its connection times out sooner.
const CLIENT_SILENT_MAX: Duration = Duration::from_secs(120);
/// Packets to a client for each one from it. QUIC acknowledges at least every tenth; and a forged
/// packet cannot make the relay flood the forged address.
const CREDIT: u32 = 64;
/// What a client can save up: the send window in packets.
const CREDIT_MAX: u32 = 1024;

#[cfg(test)]
mod tests;
