//! Connections: who comes, who goes, and Hello.

use std::net::SocketAddr;

use proto::{Body, Code, Hello, Instant, Output, Peer, Transaction, VERSIONS};
use rand_core::Rng;

use super::Node;
use crate::counters::Dropped;

impl Node {
    pub(super) fn on_connected(
        &mut self,
        peer: Peer,
        met_at: Option<SocketAddr>,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        // A new connection replaces one whose end was not noticed.
        self.on_disconnected(peer, tx, now);
        if self.sessions.len() >= self.config.connections_max && !self.replicas.wants(&peer) {
            self.counting.dropped(Dropped::TooManyConnections);
            self.send(peer, Body::Goodbye(Code::Busy));
            self.replies.push_back(Output::Disconnect(peer));
            return;
        }
        let mut nonce = [0; 16];
        self.rng.fill_bytes(&mut nonce);
        self.sessions.connected(peer, met_at, nonce);
        self.send(peer, Body::Hello(Hello { versions: VERSIONS, nonce }));
    }

    pub(super) fn on_disconnected(&mut self, peer: Peer, tx: &mut Transaction<'_>, now: Instant) {
        for channel in self.sessions.disconnected(peer) {
            self.tails.close(channel);
        }
        self.tails.disconnected(peer);
        self.acks.disconnected(peer);
        self.replicas.disconnected(&peer, now);
        self.anti_entropy.disconnected(&peer);
        self.on_routing_disconnected(peer, tx, now);
    }

    pub(super) fn on_hello(
        &mut self,
        peer: Peer,
        hello: &Hello,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<(), Code> {
        let result = self.sessions.on_hello(peer, hello);
        match result {
            Ok(()) => {
                self.on_node_greeted(peer, tx, now);
                self.on_routing_greeted(peer, tx, now);
            }
            Err(Code::Version) => {
                self.send(peer, Body::Goodbye(Code::Version));
                self.hang_up(peer, tx, now);
                self.replicas.hung_up(&peer, now);
            }
            Err(_) => {}
        }
        result
    }

    /// Ends a connection.
    pub(super) fn hang_up(&mut self, peer: Peer, tx: &mut Transaction<'_>, now: Instant) {
        self.on_disconnected(peer, tx, now);
        self.replies.push_back(Output::Disconnect(peer));
    }
}
