//! Strangers that misuse a relay, floods, and a relay that lies.

use std::{io::ErrorKind, net::SocketAddr};

use proto::RelayToken;
use store::Memory;
use tokio::net::UdpSocket;

use super::{
    harness::*,
    relay::{raw, received, relay_for, version_probe},
};
use crate::relay::testing;

/// A relay with a node and a client that are mere sockets.
struct Bare {
    relay: Side,
    _peer: Side,
    token: RelayToken,
    at: SocketAddr,
    node: UdpSocket,
    client: UdpSocket,
}

impl Bare {
    async fn new() -> Self {
        let mut relay = start(node(1, 0), Memory::new()).await;
        let mut peer = start(device(2), Memory::new()).await;
        peer.connect(&mut relay).await;
        let (port, at) = relay_for(&mut relay, &peer).await;
        let bare = Self {
            relay,
            _peer: peer,
            token: port.token,
            at,
            node: raw().await,
            client: raw().await,
        };
        bare.send(&bare.node, &testing::keep_alive(&bare.token)).await;
        bare.reaches_node(b"question").await;
        bare
    }

    async fn send(&self, from: &UdpSocket, packet: &[u8]) {
        from.send_to(packet, self.at).await.unwrap();
    }

    /// The client's packet arrives at the node and nowhere else.
    async fn reaches_node(&self, packet: &[u8]) {
        self.send(&self.client, packet).await;
        let client = self.client.local_addr().unwrap();
        let expected = testing::wrap(&self.token, client, packet);
        assert_eq!(received(&self.node).await, (expected, self.at));
    }

    /// What `from` sends makes the relay send nothing.
    async fn is_dropped(&self, from: &UdpSocket, packet: &[u8], why: &str) {
        let before = self.relay.running.counters();
        self.send(from, packet).await;
        let now = || self.relay.running.counters();
        until(|| now().dropped_datagrams > before.dropped_datagrams).await;
        assert_eq!(now().relayed_datagrams, before.relayed_datagrams, "{why}");
    }
}

#[tokio::test]
async fn a_relay_passes_packets_as_they_are() {
    let bare = Bare::new().await;
    let client = bare.client.local_addr().unwrap();
    let largest = vec![0x40; testing::INNER_MAX];
    bare.reaches_node(&largest).await;
    bare.send(&bare.node, &testing::wrap(&bare.token, client, &largest)).await;
    assert_eq!(received(&bare.client).await, (largest, bare.at), "from the port that was dialled");
}

#[tokio::test]
async fn a_stranger_changes_nothing_and_a_relay_reflects_nothing() {
    let bare = Bare::new().await;
    let (stranger, victim) = (raw().await, raw().await);
    let client = bare.client.local_addr().unwrap();
    let wrong = RelayToken([0xEE; 16]);
    let keep_alive = testing::keep_alive(&wrong);
    bare.is_dropped(&stranger, &keep_alive, "a wrong token").await;
    let packet = testing::wrap(&wrong, client, b"lie");
    bare.is_dropped(&stranger, &packet, "a wrong token reaches no client").await;
    bare.is_dropped(&stranger, &[0x40; 1600], "too large").await;
    bare.reaches_node(b"still there").await;
    let packet = testing::wrap(&bare.token, victim.local_addr().unwrap(), b"unwanted");
    bare.is_dropped(&bare.node, &packet, "who has not spoken is sent nothing").await;
    for socket in [&victim, &bare.client, &stranger] {
        assert_eq!(socket.try_recv(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn a_flood_is_limited_to_the_rate_of_the_port() {
    let bare = Bare::new().await;
    let before = bare.relay.running.counters();
    let packet = [0x40; testing::INNER_MAX];
    within(async {
        // Until the bucket is empty: then some of each burst is dropped.
        while bare.relay.running.counters().dropped_datagrams < before.dropped_datagrams + 10 {
            for _ in 0..20 {
                bare.send(&bare.client, &packet).await;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The node's packets have a budget of their own.
    let client = bare.client.local_addr().unwrap();
    bare.send(&bare.node, &testing::wrap(&bare.token, client, b"answer")).await;
    assert_eq!(received(&bare.client).await.0, b"answer");
}

#[tokio::test]
async fn a_tunnel_serves_any_number_of_clients_in_turn_and_believes_its_relay_only() {
    let mut relay = start(node(1, 0), Memory::new()).await;
    let mut hidden = start(node(2, 0), Memory::new()).await;
    hidden.connect(&mut relay).await;
    let (port, token) = (raw().await, RelayToken([7; 16]));
    let at = port.local_addr().unwrap();
    hidden.tell(Tell::Tunnel(relay.key, at, token)).await;
    let (_, tunnel) = received(&port).await;
    let dropped = || hidden.running.counters().dropped_datagrams;
    let client = SocketAddr::from(([192, 0, 2, 1], 9));
    for nonsense in [
        version_probe(),
        testing::wrap(&RelayToken([8; 16]), client, &version_probe()),
        testing::keep_alive(&token),
        Vec::new(),
    ] {
        let before = dropped();
        port.send_to(&nonsense, tunnel).await.unwrap();
        until(|| dropped() == before + 1).await;
    }
    // Not all of a crowd get a socket.
    let before = dropped();
    let mut crowd = (1..).map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
    while dropped() == before {
        let client = crowd.next().unwrap();
        port.send_to(&testing::wrap(&token, client, &version_probe()), tunnel).await.unwrap();
        tokio::task::yield_now().await;
    }
    // But a client that tries again does, and evicts another one.
    for client in crowd.take(5) {
        let packet = testing::wrap(&token, client, &version_probe());
        let mut answer = Vec::new();
        while answer.is_empty() {
            let before = dropped();
            port.send_to(&packet, tunnel).await.unwrap();
            until(|| {
                answer = answered(&port, &testing::wrap(&token, client, b""));
                !answer.is_empty() || dropped() > before
            })
            .await;
        }
        assert_eq!(answer[1..5], [0; 4], "QUIC's answer: which versions there are");
    }
}

/// Takes the packets that wait at a relay's port under this header, and drops the rest.
fn answered(port: &UdpSocket, header: &[u8]) -> Vec<u8> {
    let mut packet = [0; 2048];
    while let Ok(length) = port.try_recv(&mut packet) {
        if let Some(inner) = packet[..length].strip_prefix(header) {
            return inner.to_vec();
        }
    }
    Vec::new()
}
