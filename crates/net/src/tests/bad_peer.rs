//! Peers with a wrong key, and peers that send malformed frames, flood, or don't read.

use proto::{AccountId, Body, Code, Frame, FrameReader, Peer, limits, write_frame};
use quinn::{ApplicationClose, Connection, ConnectionError, RecvStream, SendStream};
use store::Memory;

use super::harness::*;
use crate::{Identity, endpoint::Endpoints};

/// A peer without a driver.
struct Raw {
    connection: Connection,
    lanes: Vec<(SendStream, RecvStream)>,
    _endpoints: Endpoints,
}

impl Raw {
    async fn connect(node: &Side, seed: u8) -> Self {
        let endpoints = Endpoints::bind(&device(seed)).unwrap();
        let identity = Identity::from_seed([seed; 32]);
        let connecting = endpoints.connect(&identity, node.key, node.address()).unwrap();
        let connection = within(connecting).await.unwrap();
        Self { connection, lanes: Vec::new(), _endpoints: endpoints }
    }

    async fn with_lanes(node: &Side, seed: u8) -> Self {
        let mut raw = Self::connect(node, seed).await;
        for number in 0..3 {
            raw.open(&[number]).await;
        }
        raw
    }

    async fn open(&mut self, first: &[u8]) {
        let (mut send, recv) = within(self.connection.open_bi()).await.unwrap();
        send.write_all(first).await.unwrap();
        self.lanes.push((send, recv));
    }

    async fn frame(&mut self, lane: usize) -> Frame {
        let mut reader = FrameReader::default();
        loop {
            let chunk = within(self.lanes[lane].1.read_chunk(1024, true)).await.unwrap().unwrap();
            reader.push(&chunk.bytes);
            if let Some((frame, _)) = reader.next_frame().unwrap() {
                return frame;
            }
        }
    }

    async fn closed(&self) -> Option<Code> {
        match within(self.connection.closed()).await {
            ConnectionError::ApplicationClosed(ApplicationClose { error_code, .. }) => {
                Some(Code::from_number(u32::try_from(error_code.into_inner()).unwrap()))
            }
            _ => None,
        }
    }
}

fn key(seed: u8) -> Peer {
    Identity::from_seed([seed; 32]).public()
}

#[tokio::test]
async fn a_node_with_another_key_is_refused() {
    let mut node = start(node(1, 0), Memory::new()).await;
    let mut device = start(device(2), Memory::new()).await;
    device.tell(Tell::Connect(key(9), vec![node.address()])).await;
    until(|| device.running.counters().refused_handshakes > 0).await;
    until(|| node.running.counters().refused_handshakes > 0).await;
    assert!(device.events.try_recv().is_none() && node.events.try_recv().is_none());
    // With the right key the same address is fine.
    device.connect(&mut node).await;
}

#[tokio::test]
async fn malformed_frames_are_refused_and_counted_and_lost_framing_ends_the_connection() {
    enum Then {
        Refused(u32, Code),
        Closed,
    }
    let unknown = [&[0x08, 42][..], &[0xfa, 0x3f, 1, 7]].concat();
    let mut huge = Vec::new();
    huge.extend([0x81, 0x80, 0x10]);
    let cases: [(&str, Vec<u8>, Then); 8] = [
        ("an unknown frame", delimited(&unknown), Then::Refused(42, Code::UnknownFrame)),
        ("no frame at all", delimited(&[]), Then::Refused(0, Code::UnknownFrame)),
        ("not protobuf", delimited(&[0xff; 20]), Then::Refused(0, Code::Malformed)),
        ("cut short inside", delimited(&[0x12, 0x7f, 1]), Then::Refused(0, Code::Malformed)),
        ("a key of 3 bytes", delimited(&short_bundle_request()), Then::Refused(0, Code::Malformed)),
        ("longer than allowed", huge, Then::Closed),
        ("an endless length", vec![0xff; 11], Then::Closed),
        ("a length of 2^63", [vec![0x80; 9], vec![1]].concat(), Then::Closed),
    ];
    let mut node = start(node(1, 0), Memory::new()).await;
    for (seed, (name, bytes, then)) in (10..).zip(cases) {
        let before = node.running.counters().malformed_frames;
        let mut raw = Raw::with_lanes(&node, seed).await;
        assert_eq!(node.connected().await, key(seed));
        raw.lanes[1].0.write_all(&bytes).await.unwrap();
        match then {
            Then::Refused(request, code) => {
                let body = Body::Refused { code, newer: Vec::new() };
                assert_eq!(raw.frame(1).await, Frame { request, body }, "{name}");
                let mut next = Vec::new();
                write_frame(&Frame { request: 5, body: append(10) }, &mut next);
                raw.lanes[1].0.write_all(&next).await.unwrap();
                assert_eq!(raw.frame(1).await.request, 5, "{name}: what follows is read");
            }
            Then::Closed => {
                assert_eq!(raw.frame(0).await.body, Body::Goodbye(Code::Malformed), "{name}");
                assert_eq!(node.disconnected().await, key(seed));
            }
        }
        assert_eq!(node.running.counters().malformed_frames, before + 1, "{name}");
    }
}

#[tokio::test]
async fn a_peer_that_sends_only_malformed_frames_is_disconnected() {
    let mut node = start(node(1, 0), Memory::new()).await;
    let mut raw = Raw::with_lanes(&node, 2).await;
    node.connected().await;
    raw.lanes[2].0.write_all(&delimited(&[0xff; 3]).repeat(100)).await.unwrap();
    assert_eq!(raw.frame(0).await.body, Body::Goodbye(Code::Malformed));
    node.disconnected().await;
    assert_eq!(node.running.counters().malformed_frames, 17);
}

#[tokio::test]
async fn invalid_and_duplicate_lanes_are_refused() {
    let node = start(node(1, 0), Memory::new()).await;
    for (seed, numbers) in [(2, [0, 1, 3]), (3, [0, 1, 1])] {
        let before = node.running.counters().refused_handshakes;
        let mut raw = Raw::connect(&node, seed).await;
        for number in numbers {
            raw.open(&[number]).await;
        }
        within(raw.connection.closed()).await;
        assert_eq!(node.running.counters().refused_handshakes, before + 1);
    }
    let raw = Raw::with_lanes(&node, 4).await;
    let fourth =
        tokio::time::timeout(std::time::Duration::from_millis(50), raw.connection.open_bi());
    assert!(fourth.await.is_err(), "a fourth stream was allowed");
}

#[tokio::test]
async fn a_peer_that_does_not_read_loses_its_connection_and_no_other_peer_notices() {
    let mut node = start(node(1, 0), Memory::new()).await;
    let deaf = Raw::with_lanes(&node, 2).await;
    assert_eq!(node.connected().await, key(2));
    let mut device = start(device(3), Memory::new()).await;
    device.connect(&mut node).await;
    for request in 0..1_000 {
        node.say(key(2), 0, Body::Deliver { channel: 1, entry: entry(60_000) }).await;
        if request % 100 == 0 {
            device.say(node.key, request, Body::GetBundle(AccountId([3; 32]))).await;
            assert_eq!(device.frame().await.request, request);
        }
        if node.running.counters().dropped_frames > 0 {
            break;
        }
    }
    assert_eq!(node.running.counters().dropped_frames, 1);
    assert_eq!(deaf.closed().await, Some(Code::Busy));
    assert_eq!(node.disconnected().await, key(2));
    let most = 256 * (limits::ENVELOPE_MAX + 1024) + (2 << 20);
    assert!(node.running.counters().bytes_out < most as u64);
}

#[tokio::test]
async fn a_blocked_lane_blocks_no_other() {
    let mut node = start(node(1, 0), Memory::new()).await;
    let mut raw = Raw::with_lanes(&node, 2).await;
    let peer = node.connected().await;
    // More than the stream's window, less than what may wait: the bulk lane blocks.
    for _ in 0..10 {
        node.say(peer, 0, page(BULK_BYTES)).await;
    }
    for request in 1..=100 {
        let mut bytes = Vec::new();
        write_frame(&Frame { request, body: append(300) }, &mut bytes);
        raw.lanes[1].0.write_all(&bytes).await.unwrap();
        assert_eq!(raw.frame(1).await.request, request);
    }
    // And it continues where it was blocked.
    let mut reader = FrameReader::default();
    let mut pages = 0;
    while pages < 10 {
        let chunk = within(raw.lanes[2].1.read_chunk(1 << 20, true)).await.unwrap().unwrap();
        reader.push(&chunk.bytes);
        while let Some((frame, _)) = reader.next_frame().unwrap() {
            assert_eq!(frame.body, page(BULK_BYTES));
            pages += 1;
        }
    }
}

#[tokio::test]
async fn too_many_connections_of_one_address_are_refused() {
    let settings = crate::Settings { connections_per_ip_max: 2, ..node(1, 0) };
    let node = start(settings, Memory::new()).await;
    let _two = [Raw::with_lanes(&node, 2).await, Raw::with_lanes(&node, 3).await];
    let endpoints = Endpoints::bind(&device(4)).unwrap();
    let third = endpoints.connect(&Identity::from_seed([4; 32]), node.key, node.address()).unwrap();
    assert!(within(third).await.is_err());
    assert_eq!(node.running.counters().refused_handshakes, 1);
}

fn delimited(body: &[u8]) -> Vec<u8> {
    [&[u8::try_from(body.len()).unwrap()], body].concat()
}

/// `GetBundle` of an account whose name has three bytes.
fn short_bundle_request() -> Vec<u8> {
    let mut whole = Vec::new();
    write_frame(&Frame::new(Body::GetBundle(AccountId([3; 32]))), &mut whole);
    // Length of all, tag and length of the body, tag and length of the field.
    let at = whole.iter().position(|byte| *byte == 3).unwrap();
    let mut body = whole[1..at + 3].to_vec();
    let last = body.len() - 3;
    body[last - 1] = 3;
    let tag = body.len() - 3 - 3;
    body[tag] = u8::try_from(body.len() - tag - 1).unwrap();
    body
}

#[tokio::test]
async fn a_node_that_lost_its_connections_resets_them() {
    let mut before = start(node(1, 0), Memory::new()).await;
    let mut after = start(node(1, 0), Memory::new()).await;
    let road = Road::to(before.address()).await;
    let mut device = start(device(2), Memory::new()).await;
    device.tell(Tell::Connect(before.key, vec![road.entrance])).await;
    assert_eq!(device.connected().await, before.key);
    before.connected().await;
    // As after a crash: the same key at the same address knows nothing of the connection.
    road.lead_to(after.address());
    device.say(before.key, 1, append(10)).await;
    assert_eq!(device.disconnected().await, before.key);
    device.connected().await;
    after.connected().await;
}

#[tokio::test]
async fn a_node_that_comes_back_at_once_is_refused_at_most_once() {
    let mut seeds = [2, 3];
    seeds.sort_by_key(|seed| key(*seed));
    let mut smaller = start(node(seeds[0], 0), Memory::new()).await;
    let mut other = start(node(seeds[1], 0), Memory::new()).await;
    smaller.connect(&mut other).await;
    // A connection of the same key, from elsewhere: `other` was restarted, as after a crash.
    let mut turned_away = 0;
    loop {
        let raw = Raw::with_lanes(&smaller, seeds[1]).await;
        tokio::select! {
            code = raw.closed() => {
                assert_eq!(code, Some(Code::Replaced));
                turned_away += 1;
            }
            peer = smaller.connected() => {
                assert_eq!(peer, other.key);
                break;
            }
        }
    }
    assert!(turned_away <= 1, "{turned_away} times");
}

#[tokio::test]
async fn a_peer_that_falls_silent_on_an_idle_connection_is_noticed_long_before_quic_times_out() {
    let mut node = start(node(1, 0), Memory::new()).await;
    let road = Road::to(node.address()).await;
    let keep_alive = std::time::Duration::from_millis(200);
    let settings = crate::Settings { keep_alive, ..device(2) };
    let mut device = start(settings, Memory::new()).await;
    device.tell(Tell::Connect(node.key, vec![road.entrance])).await;
    assert_eq!(device.connected().await, node.key);
    node.connected().await;
    let before = device.running.counters().udp_datagrams_in;
    until(|| device.running.counters().udp_datagrams_in > before + 3).await;
    assert!(device.events.try_recv().is_none(), "keep-alives are answered");
    // A socket that is never read.
    let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    road.lead_to(nowhere.local_addr().unwrap());
    assert_eq!(device.disconnected().await, node.key);
    road.lead_to(node.address());
    device.running.dial_now();
    assert_eq!(device.connected().await, node.key);
}

#[tokio::test]
async fn a_dialled_side_that_wants_the_connection_does_not_wait_for_quic_either() {
    let mut node = start(node(1, 0), Memory::new()).await;
    let mut other = start(super::harness::node(2, 0), Memory::new()).await;
    let road = Road::to(node.address()).await;
    other.tell(Tell::Connect(node.key, vec![road.entrance])).await;
    assert_eq!(node.connected().await, other.key);
    other.connected().await;
    node.tell(Tell::Connect(other.key, vec![other.address()])).await;
    // The other side's packets are lost; it receives this side's, and has no reason to dial.
    let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    road.lead_to(nowhere.local_addr().unwrap());
    node.say(other.key, 1, append(10)).await;
    assert_eq!(node.disconnected().await, other.key);
    assert_eq!(node.connected().await, other.key);
    node.say(other.key, 2, append(10)).await;
    assert_eq!(node.frame().await.request, 2);
}

/// Forwards datagrams between one sender and a place that can change.
struct Road {
    entrance: std::net::SocketAddr,
    exit: tokio::sync::watch::Sender<std::net::SocketAddr>,
}

impl Road {
    async fn to(exit: std::net::SocketAddr) -> Self {
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let inside = tokio::net::UdpSocket::bind(any).await.unwrap();
        let outside = tokio::net::UdpSocket::bind(any).await.unwrap();
        let entrance = inside.local_addr().unwrap();
        let (exit, leads_to) = tokio::sync::watch::channel(exit);
        tokio::spawn(async move {
            let (mut there, mut back, mut sender) = ([0; 2048], [0; 2048], any);
            loop {
                tokio::select! {
                    Ok((length, from)) = inside.recv_from(&mut there) => {
                        sender = from;
                        let exit = *leads_to.borrow();
                        let _ = outside.send_to(&there[..length], exit).await;
                    }
                    Ok((length, _)) = outside.recv_from(&mut back) => {
                        let _ = inside.send_to(&back[..length], sender).await;
                    }
                }
            }
        });
        Self { entrance, exit }
    }

    fn lead_to(&self, exit: std::net::SocketAddr) {
        self.exit.send_replace(exit);
    }
}
