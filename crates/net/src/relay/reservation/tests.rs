//! Packets of nodes, clients and strangers, without sockets.

use proptest::prelude::*;

use super::{super::header::HEADER, *};

const TOKEN: RelayToken = RelayToken([7; 16]);
const NODE: u16 = 1;

fn source(port: u16) -> Source {
    Source::new(0, SocketAddr::from(([192, 0, 2, 1], port)))
}

fn to(client: u16, inner: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    header::write(&TOKEN, source(client).address(), inner, &mut packet);
    packet
}

/// Where a packet goes, and how long it then is.
fn route(
    reservation: &mut Reservation,
    from: u16,
    packet: &[u8],
    now: Instant,
) -> Option<(u16, usize)> {
    match reservation.route(source(from), packet, now, &mut Vec::new()) {
        Action::Forward(to, bytes) => Some((to.address().port(), bytes.len())),
        Action::Consumed | Action::Dropped => None,
    }
}

/// One whose node is known, and the time.
fn reserved() -> (Reservation, Instant) {
    let now = Instant::from_secs(1_800_000_000);
    let mut reservation = Reservation::new(TOKEN, now);
    assert_eq!(route(&mut reservation, 5, b"early", now), None, "the node is not known yet");
    let keep_alive = header::keep_alive(&TOKEN);
    assert_eq!(
        reservation.route(source(NODE), &keep_alive, now, &mut Vec::new()),
        Action::Consumed
    );
    (reservation, now)
}

#[test]
fn packets_pass_both_ways() {
    let (mut reservation, now) = reserved();
    let mut wrapped = Vec::new();
    let action = reservation.route(source(5), b"question", now, &mut wrapped);
    assert_eq!(action, Action::Forward(source(NODE), &to(5, b"question")));
    let answer = to(5, b"answer");
    let action = reservation.route(source(NODE), &answer, now, &mut wrapped);
    assert_eq!(action, Action::Forward(source(5), b"answer"));
}

#[test]
fn a_node_that_moves_is_followed_and_a_wrong_token_is_not() {
    let (mut reservation, now) = reserved();
    let keep_alive = header::keep_alive(&RelayToken([8; 16]));
    assert_eq!(route(&mut reservation, 66, &keep_alive, now), None);
    assert_eq!(route(&mut reservation, 5, b"1", now), Some((NODE, HEADER + 1)));
    assert_eq!(route(&mut reservation, 2, &header::keep_alive(&TOKEN), now), None);
    assert_eq!(route(&mut reservation, 5, b"1", now), Some((2, HEADER + 1)));
    assert_eq!(route(&mut reservation, 3, &to(5, b"1"), now), Some((5, 1)));
    assert_eq!(route(&mut reservation, 5, b"1", now), Some((3, HEADER + 1)));
}

#[test]
fn nothing_is_sent_to_a_client_that_was_not_heard_recently() {
    let (mut reservation, now) = reserved();
    assert_eq!(route(&mut reservation, NODE, &to(5, b"1"), now), None);
    route(&mut reservation, 5, b"1", now);
    assert_eq!(route(&mut reservation, NODE, &to(5, b"1"), now), Some((5, 1)));
    assert_eq!(route(&mut reservation, NODE, &to(6, b"1"), now), None);
    let late = now.after(CLIENT_SILENT_MAX);
    assert_eq!(route(&mut reservation, NODE, &to(5, b"1"), late), None);
}

#[test]
fn one_packet_earns_a_client_so_many_and_no_stream() {
    let (mut reservation, now) = reserved();
    let answers = |reservation: &mut Reservation| {
        (0..10_000).filter(|_| route(reservation, NODE, &to(5, b"1"), now).is_some()).count()
    };
    route(&mut reservation, 5, b"1", now);
    assert_eq!(answers(&mut reservation), CREDIT as usize);
    for _ in 0..100 {
        route(&mut reservation, 5, b"1", now);
    }
    assert_eq!(answers(&mut reservation), CREDIT_MAX as usize);
}

#[test]
fn packets_that_are_too_large_or_too_many_are_dropped() {
    let (mut reservation, now) = reserved();
    let large = [0x40; INNER_MAX + 1];
    assert_eq!(route(&mut reservation, 5, &large, now), None);
    assert_eq!(route(&mut reservation, 5, &[], now), None);
    let largest = &large[1..];
    assert_eq!(route(&mut reservation, 5, largest, now), Some((NODE, HEADER + INNER_MAX)));
    let passed = (0..10_000).filter(|_| route(&mut reservation, 5, largest, now).is_some());
    assert!(passed.count() < 1_000);
    // A flood from outside takes nothing from what the node says.
    assert_eq!(route(&mut reservation, NODE, &to(5, b"1"), now), Some((5, 1)));
}

#[test]
fn clients_have_a_limit() {
    let (mut reservation, now) = reserved();
    for client in (10..).take(CLIENTS_MAX + 1) {
        route(&mut reservation, client, b"1", now);
    }
    assert_eq!(route(&mut reservation, NODE, &to(10, b"1"), now), None, "the first was evicted");
    assert_eq!(route(&mut reservation, NODE, &to(11, b"1"), now), Some((11, 1)));
}

proptest! {
    #[test]
    fn at_most_one_packet_for_one_and_no_larger_than_a_header_more(
        packets in prop::collection::vec((0..4_u16, 0..5_u8, any::<Vec<u8>>()), 0..50),
    ) {
        let (mut reservation, now) = reserved();
        for (from, kind, bytes) in packets {
            let packet = match kind {
                0 => header::keep_alive(&TOKEN),
                1 | 2 => to(from.wrapping_add(1), &bytes),
                _ => bytes,
            };
            if let Some((_, length)) = route(&mut reservation, from, &packet, now) {
                prop_assert!(length.saturating_sub(HEADER) <= packet.len());
            }
        }
    }
}
