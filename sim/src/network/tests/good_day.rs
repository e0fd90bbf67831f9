//! What is sent arrives, and takes its time.

use super::*;

/// Everything at once.
pub(super) fn stormy() -> Weather {
    Weather { regions: 4, jitter: ms(50), loss: 0.1, duplication: 0.05, reordering: 0.1, ..calm() }
}

#[test]
fn the_dialler_is_connected_after_a_round_trip_and_the_listener_half_of_one_later() {
    let mut rig = Rig::calm();
    let start = rig.now;
    rig.dial(0, 1, 1);
    rig.run(1.0);
    let [(first, Notice::Connected { host, side, peer, .. }), (second, Notice::Connected { .. })] =
        rig.seen[..]
    else {
        panic!("{:?}", rig.seen)
    };
    assert_eq!((host, side, peer), (rig.hosts[0].0, Side::Dialler, key(1)));
    assert_eq!(first.since(start).as_millis(), 20);
    assert_eq!(second.since(start).as_millis(), 30);
    let (_, Notice::Connected { host, side, peer, .. }) = rig.seen[1] else { panic!() };
    assert_eq!((host, side, peer), (rig.hosts[1].0, Side::Listener, key(0)));
}

#[test]
fn a_host_behind_nat_can_dial_but_not_be_dialled() {
    let mut rig = Rig::calm();
    let hidden = rig.add(Port { key: Some(key(3)), reachable: false, bps: 0 });
    let start = rig.now;
    rig.dial(0, hidden, 3);
    rig.run(10.0);
    assert!(matches!(rig.seen[..], [(when, Notice::NotConnected { .. })]
        if when == start.after(Duration::from_secs(5))));
    rig.seen.clear();
    rig.dial(hidden, 0, 0);
    rig.run(1.0);
    assert!(matches!(rig.seen[..], [(_, Notice::Connected { .. }), (_, Notice::Connected { .. })]));
}

#[test]
fn another_key_than_expected_is_noticed_at_once() {
    let mut rig = Rig::calm();
    let start = rig.now;
    rig.dial(0, 1, 2);
    rig.run(10.0);
    let [(when, Notice::NotConnected { host, peer })] = rig.seen[..] else {
        panic!("{:?}", rig.seen)
    };
    assert_eq!((host, peer, when.since(start).as_millis()), (rig.hosts[0].0, key(2), 20));
    rig.assert_forgotten();
}

#[test]
fn there_and_back_differ_between_regions() {
    let mut rig = Rig::new(Weather { regions: 8, ..calm() }, 3, 30, 0);
    let differs = |rig: &Rig, a: usize, b: usize| {
        let far = |a: usize, b: usize| {
            let (a, b) = (rig.hosts[a].0, rig.hosts[b].0);
            rig.network.paths.base(a, b)
        };
        far(a, b) != far(b, a)
    };
    assert!((1..30).any(|other| differs(&rig, 0, other)));
    let link = rig.connect();
    let mut trip = |side, at| {
        let start = rig.now;
        rig.send(link, side, Lane::Control, b"how far?");
        rig.run(1.0);
        rig.arrived(at)[0].0.since(start)
    };
    let (there, back) = (trip(Side::Dialler, 1), trip(Side::Listener, 0));
    let [a, b] = [rig.hosts[0].0, rig.hosts[1].0];
    assert_eq!((there, back), (rig.network.paths.base(a, b), rig.network.paths.base(b, a)));
}

#[test]
fn hosts_have_addresses_of_their_own_and_regions_a_network_each() {
    let mut rig = Rig::new(Weather { regions: 3, ..calm() }, 1, 0, 0);
    let port = Port { key: None, reachable: true, bps: 0 };
    let all: std::collections::BTreeSet<_> = (0..15_000).map(|_| rig.network.add(port).1).collect();
    assert_eq!(all.len(), 15_000);
    let mut regions = [0; 3];
    for address in all {
        let SocketAddr::V4(address) = address else { panic!("{address}") };
        assert_eq!((address.ip().octets()[0], address.port()), (10, 4440));
        regions[usize::from(address.ip().octets()[1])] += 1;
    }
    assert!(regions.iter().all(|hosts| *hosts > 4_000), "{regions:?}");
}

#[test]
fn each_lane_keeps_its_order_and_nothing_is_lost_or_doubled_in_any_weather() {
    for seed in 0..50 {
        let mut rig = Rig::new(stormy(), seed, 2, 2_000_000);
        rig.dial(0, 1, 1);
        rig.run(4.0);
        let (_, Notice::Connected { link, .. }) = rig.seen[0] else { panic!("{:?}", rig.seen) };
        if !matches!(rig.seen[..], [_, (_, Notice::Connected { .. })]) {
            continue;
        }
        rig.seen.clear();
        let lanes = [Lane::Control, Lane::Messages, Lane::Bulk];
        for number in 0..300_u32 {
            let lane = lanes[number as usize % 3];
            let mut bytes = vec![lane as u8; if number % 50 == 0 { 9_000 } else { 40 }];
            bytes[1..5].copy_from_slice(&number.to_be_bytes());
            rig.send(link, Side::Listener, lane, &bytes);
            rig.run(0.01);
        }
        rig.run(100.0);
        let numbers: Vec<_> =
            rig.arrived(0).iter().map(|(_, b)| (b[0], b[1..5].to_vec())).collect();
        assert_eq!(numbers.len(), 300, "seed {seed}");
        assert!(!numbers.is_sorted_by_key(|(_, number)| number), "lanes overtake each other");
        for lane in 0..3 {
            let of_lane = numbers.iter().filter(|(l, _)| *l == lane).map(|(_, number)| number);
            assert!(of_lane.is_sorted(), "seed {seed}, lane {lane}");
        }
    }
}

#[test]
fn frames_queue_for_both_the_uplink_and_the_downlink() {
    // 100 bytes take 100 ms.
    let mut rig = Rig::new(calm(), 1, 3, 8_000);
    let link = rig.connect();
    rig.dial(2, 1, 1);
    rig.run(1.0);
    let (_, Notice::Connected { link: second, .. }) = rig.seen[0] else { panic!() };
    rig.seen.clear();
    let start = rig.now;
    for _ in 0..2 {
        rig.send(link, Side::Dialler, Lane::Messages, &[0; 100]);
        rig.send(second, Side::Dialler, Lane::Messages, &[2; 100]);
    }
    rig.run(5.0);
    let times: Vec<_> =
        rig.arrived(1).iter().map(|(when, b)| (when.since(start).as_millis(), b[0])).collect();
    assert_eq!(times, [(210, 0), (310, 2), (410, 0), (510, 2)]);
}

#[test]
fn hanging_up_lets_everything_arrive_first() {
    let mut rig = Rig::new(Weather { regions: 1, ..stormy() }, 5, 2, 100_000);
    rig.dial(0, 1, 1);
    rig.run(3.0);
    let (_, Notice::Connected { link, .. }) = rig.seen[0] else { panic!() };
    rig.seen.clear();
    for number in 0..30 {
        let lane = if number % 2 == 0 { Lane::Bulk } else { Lane::Control };
        rig.send(link, Side::Listener, lane, &[number; 2_000]);
    }
    rig.hang_up(link, Side::Listener);
    rig.send(link, Side::Listener, Lane::Control, b"too late");
    rig.run(60.0);
    assert!(matches!(rig.seen.last(), Some((_, Notice::Ended { .. }))));
    assert!(rig.ended(0).is_some() && rig.ended(1).is_none());
    assert_eq!(rig.arrived(0).len(), 30);
    rig.assert_forgotten();
}

#[test]
fn the_end_comes_after_frames_that_wait_for_the_downlink() {
    // 100 bytes take 100 ms.
    let mut rig = Rig::new(calm(), 1, 3, 8_000);
    let link = rig.connect();
    rig.dial(2, 1, 1);
    rig.run(1.0);
    let (_, Notice::Connected { link: second, .. }) = rig.seen[0] else { panic!() };
    rig.seen.clear();
    for _ in 0..10 {
        rig.send(second, Side::Dialler, Lane::Messages, &[2; 100]);
        rig.send(link, Side::Dialler, Lane::Messages, &[0; 100]);
    }
    rig.hang_up(link, Side::Dialler);
    rig.run(20.0);
    assert!(rig.ended(1).is_some());
    assert_eq!(rig.arrived(1).len(), 20);
}

#[test]
fn hanging_up_before_the_listener_knows_ends_what_it_then_learns() {
    let mut rig = Rig::calm();
    rig.dial(0, 1, 1);
    rig.run(0.025);
    let [(_, Notice::Connected { link, .. })] = rig.seen[..] else { panic!("{:?}", rig.seen) };
    rig.send(link, Side::Dialler, Lane::Bulk, b"one word");
    rig.hang_up(link, Side::Dialler);
    rig.run(1.0);
    let kinds: Vec<_> = rig.seen.iter().map(|(_, notice)| notice).collect();
    assert!(matches!(
        kinds[1..],
        [Notice::Connected { .. }, Notice::Arrived { .. }, Notice::Ended { .. }]
    ));
    rig.assert_forgotten();
}

#[test]
fn an_idle_connection_costs_nothing() {
    let mut rig = Rig::calm();
    rig.connect();
    assert!(rig.queue.next_until(Instant::from_micros(u64::MAX)).is_none());
}

#[test]
fn the_same_rng_show_the_same() {
    let run = |seed| {
        let mut rig = Rig::new(stormy(), seed, 2, 1_000_000);
        rig.dial(0, 1, 1);
        rig.run(4.0);
        let (_, Notice::Connected { link, .. }) = rig.seen[0] else { panic!() };
        for number in 0..100 {
            rig.send(link, Side::Dialler, Lane::Messages, &[number; 3_000]);
        }
        rig.run(100.0);
        format!("{:?}", rig.seen)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
