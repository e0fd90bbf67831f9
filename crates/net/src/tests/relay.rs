//! Nodes that cannot be dialled, and clients that reach them through a relay.

use std::{collections::BTreeSet, net::SocketAddr};

use proto::{AccountId, Body, EnvelopeId, Read, RelayPort, RelayToken};
use store::Memory;
use tokio::net::UdpSocket;

use super::{
    harness::*,
    nat::{Mapping, Nat},
};
use crate::{Identity, Settings, admission::RELAYED_CLIENTS_MAX, relay::testing};

/// A relay, a node behind a NAT, and the port by which it is reached.
struct World {
    relay: Side,
    hidden: Side,
    nat: Nat,
    port: RelayPort,
    at: SocketAddr,
}

impl World {
    async fn new(mapping: Mapping) -> Self {
        Self::with(mapping, node(1, 0), node(2, 0)).await
    }

    async fn with(mapping: Mapping, relay: Settings, hidden: Settings) -> Self {
        let mut relay = start(relay, Memory::new()).await;
        let mut hidden = start(hidden, Memory::new()).await;
        let nat = Nat::new(mapping);
        let way = nat.way_to(reachable(relay.address())).await;
        hidden.tell(Tell::Connect(relay.key, vec![way])).await;
        hidden.connected().await;
        assert_eq!(relay.connected().await, hidden.key);
        let (port, at) = relay_for(&mut relay, &hidden).await;
        let way = nat.way_to(at).await;
        let before = nat.passed();
        hidden.tell(Tell::Tunnel(relay.key, way, port.token)).await;
        until(|| nat.passed() > before).await;
        Self { relay, hidden, nat, port, at }
    }

    /// Starts a device that has dialled the port and met the node's key there.
    async fn dialled(&mut self, seed: u8) -> Side {
        let mut device = start(device(seed), Memory::new()).await;
        device.tell(Tell::Connect(self.hidden.key, vec![self.at])).await;
        assert_eq!(device.met().await, (self.hidden.key, Some(self.at)));
        assert_eq!(self.hidden.met().await, (device.key, None), "a relay may say anything");
        device
    }
}

pub(super) async fn relay_for(relay: &mut Side, hidden: &Side) -> (RelayPort, SocketAddr) {
    relay.tell(Tell::Relay(hidden.key)).await;
    let (peer, port) = relay.relayed().await;
    assert_eq!(peer, hidden.key);
    let port = port.unwrap();
    (port, SocketAddr::new(reachable(relay.address()).ip(), port.port))
}

/// Returns the address by which this host is reached when it listens on all.
fn reachable(listening: SocketAddr) -> SocketAddr {
    if listening.ip().is_unspecified() {
        // Also of a socket that listens on IPv6.
        ([127, 0, 0, 1], listening.port()).into()
    } else {
        listening
    }
}

fn listening(seed: u8, at: &str) -> Settings {
    Settings { listen: Some(vec![at.parse().unwrap()]), ..node(seed, 0) }
}

pub(super) async fn raw() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

pub(super) async fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut packet = [0; 2048];
    let (length, from) = within(socket.recv_from(&mut packet)).await.unwrap();
    (packet[..length].to_vec(), from)
}

/// Exchanges a request in each direction.
async fn talk(device: &mut Side, hidden: &mut Side, request: u32) {
    device.say(hidden.key, request, append(300)).await;
    let answer = device.frame().await;
    assert!(matches!(answer.body, Body::Accepted { .. }) && answer.request == request);
    assert_eq!(hidden.frame().await.body, append(300));
    hidden.say(device.key, request, Body::GetBundle(AccountId([3; 32]))).await;
    assert_eq!(device.frame().await.body, Body::GetBundle(AccountId([3; 32])));
    assert_eq!(hidden.frame().await.body, Body::BundleIs(vec![3; 32]));
}

#[tokio::test]
async fn a_client_that_dials_the_relay_reaches_the_node_behind_it() {
    for mapping in [Mapping::Symmetric, Mapping::Cone] {
        // All clients come from one address of this host, which is not one network.
        let hidden = Settings { connections_per_ip_max: 1, ..node(2, 0) };
        let mut world = World::with(mapping, node(1, 0), hidden).await;
        let mut devices = Vec::new();
        for seed in 10..14 {
            devices.push(world.dialled(seed).await);
        }
        for request in 1..=3 {
            for device in &mut devices {
                talk(device, &mut world.hidden, request).await;
            }
        }
        assert_eq!(world.relay.running.counters().connections, 1, "that of the node");
        assert_eq!(world.hidden.running.counters().connections, 5);
        assert!(world.relay.running.counters().relayed_datagrams > 0);
    }
}

#[tokio::test]
async fn many_clients_at_once_and_large_frames_pass() {
    let mut world = World::new(Mapping::Symmetric).await;
    let mut devices = Vec::new();
    for seed in 10..14 {
        devices.push(world.dialled(seed).await);
    }
    let from = (0, EnvelopeId::default());
    for device in &devices {
        let read = Read { channel: 1, from, backward: false, limit: 9 };
        device.say(world.hidden.key, 7, Body::Read(read)).await;
        device.say(world.hidden.key, 8, append(60_000)).await;
    }
    for device in &mut devices {
        let mut answered = BTreeSet::new();
        for _ in 0..2 {
            let frame = device.frame().await;
            assert!(frame.request == 8 || frame.body == page(BULK_BYTES));
            answered.insert(frame.request);
        }
        assert_eq!(answered, BTreeSet::from([7, 8]));
    }
}

#[tokio::test]
async fn it_works_wherever_the_two_listen() {
    for at in ["0.0.0.0:0", "[::]:0", "[::1]:0"] {
        if std::net::UdpSocket::bind(at).is_err() {
            // A host without IPv6.
            continue;
        }
        let mut world = World::with(Mapping::Cone, listening(1, at), listening(2, at)).await;
        let mut device = world.dialled(10).await;
        talk(&mut device, &mut world.hidden, 1).await;
    }
}

#[tokio::test]
async fn one_port_number_is_open_wherever_the_relay_listens() {
    let both = ["127.0.0.1:0", "127.0.0.2:0"].map(|at| at.parse().unwrap());
    if std::net::UdpSocket::bind(both[1]).is_err() {
        // A host with a single loopback address.
        return;
    }
    let relay = Settings { listen: Some(both.to_vec()), ..node(1, 0) };
    let mut world = World::with(Mapping::Cone, relay, node(2, 0)).await;
    // The node is known at the first, and reached by the second.
    world.at.set_ip(both[1].ip());
    let mut device = world.dialled(10).await;
    talk(&mut device, &mut world.hidden, 1).await;
}

#[tokio::test]
async fn the_nat_lets_in_no_other_peer() {
    let world = World::new(Mapping::Symmetric).await;
    let stranger = raw().await;
    for outside in world.nat.outsides() {
        stranger.send_to(&testing::keep_alive(&world.port.token), outside).await.unwrap();
    }
    until(|| world.nat.refused() == 2).await;
}

#[tokio::test]
async fn a_peer_connected_to_a_hidden_node_does_not_take_it_for_dialable() {
    let mut world = World::new(Mapping::Cone).await;
    let hidden = world.hidden.key;
    for outside in world.nat.outsides() {
        assert!(!world.relay.reaches(hidden, outside).await);
    }
    assert!(world.relay.reaches(hidden, world.at).await, "through the relay's port");
    let mut device = world.dialled(10).await;
    talk(&mut device, &mut world.hidden, 1).await;
}

#[tokio::test]
async fn a_node_whose_nat_changes_its_address_is_followed() {
    for mapping in [Mapping::Symmetric, Mapping::Cone] {
        let mut world = World::new(mapping).await;
        let mut device = world.dialled(10).await;
        world.nat.move_on().await;
        // Whatever it sends next shows where it is.
        let question = Body::GetBundle(AccountId([3; 32]));
        world.hidden.say(device.key, 1, question.clone()).await;
        assert_eq!(device.frame().await.body, question);
        assert_eq!(world.hidden.frame().await.body, Body::BundleIs(vec![3; 32]));
        talk(&mut device, &mut world.hidden, 2).await;
    }
}

#[tokio::test]
async fn a_client_evicted_by_a_crowd_is_still_connected() {
    let mut world = World::new(Mapping::Symmetric).await;
    let mut device = world.dialled(10).await;
    talk(&mut device, &mut world.hidden, 1).await;
    let mut crowd = Vec::new();
    while crowd.len() < RELAYED_CLIENTS_MAX {
        let stranger = raw().await;
        let mut answer = [0; 2048];
        until(|| {
            // Repeated, for not so many are admitted at once.
            let _ = stranger.try_send_to(&version_probe(), world.at);
            stranger.try_recv(&mut answer).is_ok()
        })
        .await;
        crowd.push(stranger);
    }
    talk(&mut device, &mut world.hidden, 2).await;
    assert_eq!(world.hidden.running.counters().connections, 2, "the same as before");
    assert_eq!(device.running.counters().connections, 1);
    assert!(device.events.try_recv().is_none(), "it has noticed nothing");
}

/// Returns a packet that every QUIC endpoint answers: an initial packet of an unknown version.
pub(super) fn version_probe() -> Vec<u8> {
    let mut packet = vec![0xC0, 0x1A, 0x2A, 0x3A, 0x4A, 4, 1, 2, 3, 4, 4, 5, 6, 7, 8];
    packet.resize(1200, 0);
    packet
}

#[tokio::test]
async fn a_port_ends_with_the_connection() {
    let mut world = World::new(Mapping::Cone).await;
    let (hidden, relay) = (world.hidden.key, world.relay.key);
    world.hidden.tell(Tell::Disconnect(relay)).await;
    assert_eq!(world.relay.disconnected().await, hidden);
    until(|| std::net::UdpSocket::bind(world.at).is_ok()).await;
    // On the next connection there is another.
    let way = world.nat.way_to(world.relay.address()).await;
    world.hidden.tell(Tell::Connect(relay, vec![way])).await;
    world.relay.connected().await;
    world.hidden.connected().await;
    let (port, at) = relay_for(&mut world.relay, &world.hidden).await;
    assert_ne!(port.token, world.port.token);
    let way = world.nat.way_to(at).await;
    let before = world.nat.passed();
    world.hidden.tell(Tell::Tunnel(relay, way, port.token)).await;
    until(|| world.nat.passed() > before).await;
    world.at = at;
    let mut device = world.dialled(10).await;
    talk(&mut device, &mut world.hidden, 1).await;
    // And with the relay.
    world.relay.shutdown().await.unwrap();
    until(|| std::net::UdpSocket::bind(at).is_ok()).await;
}

#[tokio::test]
async fn a_tunnel_ends_with_the_connection() {
    let mut relay = start(node(1, 0), Memory::new()).await;
    let mut hidden = start(node(2, 0), Memory::new()).await;
    let (port, token) = (raw().await, RelayToken([7; 16]));
    let at = port.local_addr().unwrap();
    hidden.tell(Tell::Tunnel(relay.key, at, RelayToken([9; 16]))).await;
    hidden.connect(&mut relay).await;
    hidden.tell(Tell::Tunnel(relay.key, at, token)).await;
    let (packet, from) = received(&port).await;
    assert_eq!(packet, testing::keep_alive(&token), "nothing of before the connection");
    hidden.tell(Tell::Disconnect(relay.key)).await;
    until(|| std::net::UdpSocket::bind(from).is_ok()).await;
}

#[tokio::test]
async fn ports_have_a_limit_and_are_for_the_connected() {
    let settings = Settings { relays_max: 1, ..node(1, 0) };
    let mut relay = start(settings, Memory::new()).await;
    let (mut one, mut two) =
        (start(device(2), Memory::new()).await, start(device(3), Memory::new()).await);
    one.connect(&mut relay).await;
    two.connect(&mut relay).await;
    let stranger = Identity::from_seed([9; 32]).public();
    for peer in [stranger, one.key, one.key, two.key] {
        relay.tell(Tell::Relay(peer)).await;
    }
    let first = relay.relayed().await;
    assert!(first.0 == one.key && first.1.is_some());
    assert_eq!(relay.relayed().await, first, "the same again");
    assert_eq!(relay.relayed().await, (two.key, None));
    one.tell(Tell::Disconnect(relay.key)).await;
    relay.disconnected().await;
    relay.tell(Tell::Relay(two.key)).await;
    assert!(relay.relayed().await.1.is_some());
    // A side that does not listen can't relay.
    one.connect(&mut relay).await;
    one.tell(Tell::Relay(relay.key)).await;
    assert_eq!(one.relayed().await, (relay.key, None));
}
