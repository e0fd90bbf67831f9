//! What one port of a relay knows, and where it sends what comes: a pure part, without sockets.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use proto::RelayToken;

use super::{
    bucket::Bucket,
    header::{self, INNER_MAX, Received, plain},
    recent::Recent,
};

/// A port that is open for one node.
#[derive(Debug)]
pub(super) struct Reservation {
    token: RelayToken,
    /// Where the node was when it last showed the token: what its address translator made of it.
    node: Option<Place>,
    clients: Recent<Client>,
    inward: Bucket,
    outward: Bucket,
}

/// An address, and by which of the port's sockets it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) socket: usize,
    pub(super) address: SocketAddr,
}

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Course<'a> {
    /// This is sent there.
    To(Place, &'a [u8]),
    /// It was for the relay itself.
    Here,
    Dropped,
}

#[derive(Debug)]
struct Client {
    place: Place,
    /// How many packets may still go there before it must be heard again.
    credit: u32,
}

impl Reservation {
    pub(super) fn new(token: RelayToken, now: Instant) -> Self {
        Self {
            token,
            node: None,
            clients: Recent::new(CLIENTS_MAX, CLIENT_SILENT_MAX),
            inward: Bucket::new(BYTES_PER_S, BURST, now),
            outward: Bucket::new(BYTES_PER_S, BURST, now),
        }
    }

    /// Decides on a packet. What is to be sent may be put together in `wrapped`.
    pub(super) fn route<'a>(
        &mut self,
        from: Place,
        packet: &'a [u8],
        now: Instant,
        wrapped: &'a mut Vec<u8>,
    ) -> Course<'a> {
        let course = match header::read(packet, &self.token) {
            Received::Plain => self.inward(from, packet, now, wrapped),
            Received::KeepAlive => {
                self.node = Some(from);
                return Course::Here;
            }
            Received::Of(client, inner) => {
                self.node = Some(from);
                self.outward(client, inner, now)
            }
            Received::Nonsense => None,
        };
        course.unwrap_or(Course::Dropped)
    }

    /// A client's packet goes to the node.
    fn inward<'a>(
        &mut self,
        from: Place,
        packet: &[u8],
        now: Instant,
        wrapped: &'a mut Vec<u8>,
    ) -> Option<Course<'a>> {
        let node = self.node?;
        let fits = (1..=INNER_MAX).contains(&packet.len());
        if !fits || !self.inward.take(packet.len().max(SMALL), now) {
            return None;
        }
        let key = plain(from.address);
        match self.clients.hear(key, now) {
            Some(client) => {
                client.place = from;
                client.credit = client.credit.saturating_add(CREDIT).min(CREDIT_MAX);
            }
            None => self.clients.insert(key, Client { place: from, credit: CREDIT }, now),
        }
        header::write(&self.token, key, packet, wrapped);
        Some(Course::To(node, wrapped))
    }

    /// The node's packet goes to a client, if it is one.
    fn outward<'a>(
        &mut self,
        client: SocketAddr,
        inner: &'a [u8],
        now: Instant,
    ) -> Option<Course<'a>> {
        let client = self.clients.get(&client, now)?;
        let left = client.credit.checked_sub(1)?;
        if !self.outward.take(inner.len().max(SMALL), now) {
            return None;
        }
        client.credit = left;
        Some(Course::To(client.place, inner))
    }
}

/// What passes a port each way in the long run, without headers. 1 MiB/s: hundreds of people who
/// talk, or a few pages of history at once; and 64 ports take no more than half of a gigabit line.
const BYTES_PER_S: u32 = 1024 * 1024;
/// What passes at once: the window of one QUIC connection.
const BURST: u32 = 1024 * 1024;
/// What a packet counts for at least: 4,096 a second. The smallest ones are as much work as others.
const SMALL: usize = 256;
/// Clients that the node can answer at the same time: four times as many as it takes, so that
/// strangers who come and go push out nobody who talks.
pub(super) const CLIENTS_MAX: usize = 512;
/// Silence after which a client is none. 2 min: a connection is given up sooner.
const CLIENT_SILENT_MAX: Duration = Duration::from_secs(120);
/// Packets to a client for one of its own. QUIC acknowledges every tenth at the latest; and who
/// forges one packet of somebody's can't have the relay aim a stream at them.
const CREDIT: u32 = 64;
/// What a client can save up: the send window in packets.
const CREDIT_MAX: u32 = 1024;

#[cfg(test)]
mod tests;
