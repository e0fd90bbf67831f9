//! What works when all peers behave.

use std::sync::{Arc, Mutex};

use proto::{AccountId, Body, Code, EnvelopeId, Peer, Read};
use store::Memory;

use super::harness::*;
use crate::{Driver, Identity, Keys, Settings, StartError};

#[tokio::test]
async fn a_request_is_answered() {
    let mut node = start(node(1, 0), Memory::new()).await;
    let mut device = start(device(2), Memory::new()).await;
    device.connect(&mut node).await;

    device.say(node.key, 9, append(300)).await;
    assert_eq!(node.frame().await.body, append(300));
    let answer = device.frame().await;
    assert_eq!((answer.request, answer.body), (9, Body::Accepted { channel: 1, sequence: 1 }));
    assert_eq!(node.running.read(count).await, Ok(1));

    let (here, there) = (device.running.counters(), node.running.counters());
    assert_eq!((here.frames_out, here.bytes_out), (there.frames_in, there.bytes_in));
    assert_eq!((there.syncs, there.connections, there.malformed_frames), (1, 1, 0));
    assert!(there.udp_bytes_in > there.bytes_in);
    device.shutdown().await.unwrap();
    assert_eq!(node.disconnected().await, Identity::from_seed([2; 32]).public());
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn each_side_learns_the_address_of_the_other() {
    let mut node = start(node(1, 0), Memory::new()).await;
    let mut device = start(device(2), Memory::new()).await;
    device.tell(Tell::Connect(node.key, vec![node.address()])).await;
    assert_eq!(device.met().await, (node.key, Some(node.address())));
    // A device lets the system choose its port.
    let (peer, met_at) = node.met().await;
    assert_eq!((peer, met_at.map(|at| at.ip())), (device.key, Some(node.address().ip())));
}

#[tokio::test]
async fn the_largest_frames_pass_in_both_directions() {
    let mut node = start(node(1, 0), Memory::new()).await;
    let mut device = start(device(2), Memory::new()).await;
    device.connect(&mut node).await;
    for _ in 0..5 {
        device.say(node.key, 1, append(60_000)).await;
        device.say(node.key, 2, read()).await;
    }
    let mut pages = 0;
    for _ in 0..10 {
        let body = device.frame().await.body;
        pages += usize::from(body == page(BULK_BYTES));
    }
    assert_eq!(pages, 5);
}

#[tokio::test]
async fn what_was_accepted_survives_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let layout = store::Layout { name: "echo", version: 1, migrations: &[] };
    for round in 1..=2 {
        let store = store::Fjall::open(dir.path(), &layout).unwrap();
        let mut node = start(node(1, 0), store).await;
        let mut device = start(device(2), Memory::new()).await;
        device.connect(&mut node).await;
        device.say(node.key, 1, append(300)).await;
        assert_eq!(device.frame().await.body, Body::Accepted { channel: 1, sequence: round });
        node.shutdown().await.unwrap();
        assert_eq!(device.frame().await.body, Body::Goodbye(Code::Done));
    }
}

#[tokio::test]
async fn a_device_shows_each_node_another_key() {
    let mut one = start(node(1, 0), Memory::new()).await;
    let mut two = start(node(2, 0), Memory::new()).await;
    let asked: Arc<Mutex<Vec<Peer>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let keys = Keys::PerPeer(Box::new(move |peer| {
        seen.lock().unwrap().push(*peer);
        peer.0.map(|byte| byte ^ 0x55)
    }));
    let device = start(Settings::new(keys), Memory::new()).await;
    for node in [&one, &two] {
        device.tell(Tell::Connect(node.key, vec![node.address()])).await;
    }
    let shown = [one.connected().await, two.connected().await];
    assert_ne!(shown[0], shown[1]);
    let expected = Identity::from_seed(one.key.0.map(|byte| byte ^ 0x55)).public();
    assert_eq!(shown[0], expected);
    assert!(asked.lock().unwrap().contains(&two.key));
}

#[tokio::test]
async fn only_one_identity_can_listen() {
    let keys = Keys::PerPeer(Box::new(|_| [1; 32]));
    let settings = Settings { listen: node(1, 0).listen, ..Settings::new(keys) };
    let error = Driver::<Echo>::start(settings, Vec::new(), Memory::new()).await.unwrap_err();
    assert!(matches!(error, StartError::NoIdentity));
}

#[tokio::test]
async fn it_connects_again_when_the_node_is_back() {
    let mut first = start(node(1, 0), Memory::new()).await;
    let port = first.address().port();
    let mut device = start(device(2), Memory::new()).await;
    device.connect(&mut first).await;
    let key = first.key;
    first.shutdown().await.unwrap();
    assert_eq!(device.disconnected().await, key);
    let mut second = restart(port).await;
    device.running.dial_now();
    device.connected().await;
    second.connected().await;
    device.say(key, 5, append(1)).await;
    assert_eq!(device.frame().await.request, 5);
}

#[tokio::test]
async fn a_newer_connection_takes_the_place_of_the_older() {
    let mut node = start(node(1, 0), Memory::new()).await;
    let mut older = start(device(2), Memory::new()).await;
    older.connect(&mut node).await;
    let mut newer = start(device(2), Memory::new()).await;
    newer.tell(Tell::Connect(node.key, vec![node.address()])).await;
    let peer = Identity::from_seed([2; 32]).public();
    assert!(matches!(node.told().await, Told::Disconnected(gone) if gone == peer));
    assert!(matches!(node.told().await, Told::Connected(back, _) if back == peer));
    assert_eq!(newer.connected().await, node.key);
    assert_eq!(older.disconnected().await, node.key);
}

#[tokio::test]
async fn a_probed_peer_keeps_its_connection() {
    let mut one = start(node(1, 0), Memory::new()).await;
    let mut two = start(node(2, 0), Memory::new()).await;
    let (key, at) = (two.key, two.address());
    assert!(one.reaches(key, at).await, "without a connection");
    one.connect(&mut two).await;
    assert!(one.reaches(key, at).await);
    let stranger = Identity::from_seed([9; 32]).public();
    assert!(!one.reaches(stranger, at).await, "another peer is there");
    one.say(key, 5, append(1)).await;
    assert_eq!(one.frame().await.request, 5);
    assert_eq!(one.running.counters().connections, 1);
    two.shutdown().await.unwrap();
    assert!(!one.reaches(key, at).await, "no peer is there");
}

#[tokio::test]
async fn two_that_dial_each_other_keep_one_connection() {
    let mut one = start(node(1, 0), Memory::new()).await;
    let mut two = start(node(2, 0), Memory::new()).await;
    one.tell(Tell::Connect(two.key, vec![two.address()])).await;
    two.tell(Tell::Connect(one.key, vec![one.address()])).await;
    one.connected().await;
    two.connected().await;
    // Until one of them gets through on the connection that is left.
    let mut request = 0;
    until(|| {
        request += 1;
        let body = Body::GetBundle(AccountId([3; 32]));
        let _ = one.running.commands().try_send(Tell::Say(two.key, proto::Frame { request, body }));
        std::iter::from_fn(|| one.events.try_recv()).any(
            |told| matches!(told, Told::Frame(frame) if frame.body == Body::BundleIs(vec![3; 32])),
        )
    })
    .await;
    until(|| one.running.counters().connections == 1 && two.running.counters().connections == 1)
        .await;
}

#[tokio::test]
async fn hanging_up_flushes_the_last_frame() {
    let mut node = start(node(1, 0), Memory::new()).await;
    let mut device = start(device(2), Memory::new()).await;
    device.connect(&mut node).await;
    device.tell(Tell::Disconnect(node.key)).await;
    assert_eq!(node.frame().await.body, Body::Goodbye(Code::Done));
    node.disconnected().await;
    device.disconnected().await;
    device.connect(&mut node).await;
}

#[tokio::test]
async fn a_full_event_queue_stops_frames_but_nothing_else() {
    let mut node = start(node(1, 0), Memory::new()).await;
    let mut device = start(device(2), Memory::new()).await;
    device.connect(&mut node).await;
    let frames = 10_000;
    within(async {
        for request in 1..=frames {
            device.say(node.key, request, Body::GetBundle(AccountId([3; 32]))).await;
        }
    })
    .await;
    for request in 1..=frames {
        assert_eq!(node.frame().await.request, request);
        assert_eq!(device.frame().await.request, request);
    }
}

fn read() -> Body {
    Body::Read(Read { channel: 1, from: (0, EnvelopeId::default()), backward: false, limit: 9 })
}

/// Starts a node on a port that QUIC may still hold while its old connections drain.
async fn restart(port: u16) -> Side {
    within(async {
        loop {
            let started = Driver::<Echo>::start(node(1, port), Vec::new(), Memory::new()).await;
            if let Ok(running) = started {
                return Side::new(running, Identity::from_seed([1; 32]).public());
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
}
