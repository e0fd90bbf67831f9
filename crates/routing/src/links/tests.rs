//! Links as time passes.

use proto::Key;

use super::*;

const PEER: NodeId = NodeId([1; 32]);
const AT: [SocketAddr; 1] = [SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4440)];

/// Links of which one stands.
fn one_link(now: Instant) -> Links<u8> {
    let mut links = Links::new();
    assert!(links.dial(PEER, &AT, now));
    links.connected(PEER, Some(AT[0]), now);
    links
}

fn find() -> Routing {
    Routing::Find { target: Key([7; 32]), record: false }
}

fn probe() -> Routing {
    let contact = proto::Contact { node: NodeId([2; 32]), nonce: 0, addresses: AT.to_vec() };
    Routing::Probe { contact, anew: false }
}

fn milliseconds(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// Asks and is answered after so long.
fn answered_after(links: &mut Links<u8>, word: Routing, took: Duration, now: Instant) -> Instant {
    assert!(links.ask((PEER, &[]), 0, word, now));
    let (request, later) = (links.requests, now.after(took));
    assert_eq!(links.answered(&PEER, request, later), Some((0, took)));
    later
}

/// Whether a request is late after so long.
fn is_late_after(links: &mut Links<u8>, took: Duration, now: Instant) -> bool {
    assert!(links.ask((PEER, &[]), 9, find(), now));
    links.timeout(now.after(took)).iter().any(|turn| matches!(turn, Turn::Late(_, 9)))
}

#[test]
fn what_takes_long_by_its_nature_makes_nobody_slow() {
    let mut now = Instant::from_secs(1_800_000_000);
    let mut links = one_link(now);
    for _ in 0..20 {
        now = answered_after(&mut links, find(), milliseconds(50), now);
    }
    // Somebody else was dialled, in vain.
    for _ in 0..20 {
        now = answered_after(&mut links, probe(), milliseconds(3_000), now);
    }
    assert!(!is_late_after(&mut links, milliseconds(55), now));
    assert!(is_late_after(&mut links, milliseconds(100), now));
}

#[test]
fn who_keeps_somebody_waiting_is_late_from_the_start() {
    let now = Instant::from_secs(1_800_000_000);
    let mut links = one_link(now);
    assert!(!is_late_after(&mut links, Duration::ZERO, now));
    assert!(is_late_after(&mut links, milliseconds(999), now));
    let (waiting, later) = (links.requests, now.after(milliseconds(1_000)));
    assert!(is_late_after(&mut links, Duration::ZERO, later));
    // Until it answers, whatever it was asked that takes long.
    assert!(links.ask((PEER, &[]), 0, probe(), now));
    assert!(links.timeout(later).iter().any(|turn| matches!(turn, Turn::Late(_, 0))));
    for request in [1, waiting, waiting.saturating_add(1)] {
        links.answered(&PEER, request, later);
    }
    assert!(!is_late_after(&mut links, Duration::ZERO, later));
}
