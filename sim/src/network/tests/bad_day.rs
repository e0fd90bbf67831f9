//! Hosts die, packets get lost, queues overflow.

use super::*;

#[test]
fn a_dialler_that_says_something_misses_the_answer_of_the_dead_after_five_seconds() {
    let mut rig = Rig::calm();
    let link = rig.connect();
    rig.run(7.0);
    rig.die(1);
    rig.run(3.0);
    let start = rig.now;
    rig.send(link, Side::Dialler, Lane::Messages, b"are you there?");
    rig.run(100.0);
    assert_eq!(rig.ended_after(0, start), 5.0);
    assert_eq!(rig.ended(1), None);
    rig.assert_forgotten();
}

#[test]
fn a_dialler_that_says_nothing_finds_the_dead_by_its_keep_alive() {
    for wait in [0.0, 24.0, 26.0, 70.0] {
        let mut rig = Rig::calm();
        rig.connect();
        rig.run(wait);
        rig.die(1);
        let start = rig.now;
        rig.run(100.0);
        let took = rig.ended_after(0, start);
        assert!((5.0..=30.0).contains(&took), "{took} after {wait}");
        rig.assert_forgotten();
    }
}

#[test]
fn a_listener_finds_the_dead_eighty_seconds_after_it_heard_of_it() {
    for wait in [0.0, 24.0, 26.0, 70.0] {
        let mut rig = Rig::calm();
        let link = rig.connect();
        rig.run(wait);
        rig.die(0);
        let start = rig.now;
        rig.run(1.0);
        rig.send(link, Side::Listener, Lane::Messages, b"are you there?");
        rig.run(100.0);
        let took = rig.ended_after(1, start);
        assert!((55.0..=80.0).contains(&took), "{took} after {wait}");
        rig.assert_forgotten();
    }
}

#[test]
fn who_has_risen_again_resets_old_connections() {
    let mut rig = Rig::calm();
    let link = rig.connect();
    rig.die(1);
    rig.rise(1);
    rig.run(2.0);
    let start = rig.now;
    rig.send(link, Side::Dialler, Lane::Messages, b"are you there?");
    rig.run(1.0);
    assert_eq!(rig.ended_after(0, start), 0.02);
    rig.assert_forgotten();
}

#[test]
fn who_waits_for_an_answer_is_reset_soon_after_the_other_is_back() {
    let mut rig = Rig::calm();
    let link = rig.connect();
    rig.die(1);
    rig.send(link, Side::Dialler, Lane::Messages, b"are you there?");
    rig.run(1.0);
    let start = rig.now;
    rig.rise(1);
    rig.run(10.0);
    let took = rig.ended_after(0, start);
    assert!((0.02..=1.02).contains(&took), "{took}");
}

#[test]
fn a_device_that_comes_back_knows_nothing_of_before() {
    let mut rig = Rig::calm();
    let device = rig.add(Port { key: None, reachable: false, bps: 0 });
    rig.dial(device, 1, 1);
    rig.run(1.0);
    let (_, Notice::Connected { link, .. }) = rig.seen[0] else { panic!() };
    rig.die(device);
    rig.rise(device);
    let start = rig.now;
    rig.send(link, Side::Listener, Lane::Messages, b"are you there?");
    rig.run(100.0);
    assert!(rig.ended_after(1, start) > 75.0);
    rig.assert_forgotten();
}

#[test]
fn what_has_not_left_the_dead_never_arrives_and_what_has_does() {
    // 100 bytes take 100 ms.
    let mut rig = Rig::new(calm(), 1, 2, 8_000);
    let link = rig.connect();
    for number in 0..5 {
        rig.send(link, Side::Dialler, Lane::Messages, &[number; 100]);
    }
    rig.run(0.25);
    rig.die(0);
    rig.run(100.0);
    assert!(rig.ended(1).is_some());
    assert_eq!(rig.arrived(1).len(), 2);
    // Nor does it keep anything of its next life waiting.
    rig.rise(0);
    let link = rig.connect();
    for _ in 0..100 {
        rig.send(link, Side::Dialler, Lane::Messages, &[8; 100]);
    }
    rig.die(0);
    rig.rise(0);
    rig.seen.clear();
    let link = rig.connect();
    rig.send(link, Side::Dialler, Lane::Messages, &[9; 100]);
    rig.run(1.0);
    assert_eq!(rig.arrived(1).len(), 1);
}

#[test]
fn a_target_that_dies_during_the_handshake_is_found_out_by_silence() {
    let mut rig = Rig::calm();
    let start = rig.now;
    rig.dial(0, 1, 1);
    rig.run(0.015);
    rig.die(1);
    rig.run(100.0);
    assert!(matches!(rig.seen[..], [(_, Notice::Connected { .. }), (_, Notice::Ended { .. })]));
    assert_eq!(rig.ended_after(0, start), 5.02);
    rig.assert_forgotten();
}

#[test]
fn a_target_that_dies_before_the_hello_is_not_connected() {
    let mut rig = Rig::calm();
    let start = rig.now;
    rig.dial(0, 1, 1);
    rig.die(1);
    rig.run(100.0);
    let [(when, Notice::NotConnected { .. })] = rig.seen[..] else { panic!("{:?}", rig.seen) };
    assert_eq!(when.since(start).as_secs_f64(), 5.0);
    rig.assert_forgotten();
}

#[test]
fn a_dialler_that_dies_is_told_nothing() {
    let mut rig = Rig::calm();
    rig.dial(0, 1, 2);
    rig.dial(0, 1, 1);
    rig.die(0);
    rig.rise(0);
    rig.run(100.0);
    assert!(rig.seen.is_empty(), "{:?}", rig.seen);
    rig.assert_forgotten();
}

#[test]
fn too_much_that_waits_ends_the_connection() {
    // A megabyte takes a second.
    let mut rig = Rig::new(calm(), 1, 2, 8_000_000);
    for (lane, most) in [(Lane::Control, 4), (Lane::Messages, 65), (Lane::Bulk, 16)] {
        let link = rig.connect();
        let start = rig.now;
        for _ in 0..most {
            rig.send(link, Side::Listener, lane, &[0; 256 * 1024]);
        }
        rig.run(0.0);
        assert_eq!(rig.ended(1), None);
        rig.send(link, Side::Listener, lane, &[0; 256 * 1024]);
        rig.run(0.0);
        assert_eq!(rig.ended_after(1, start), 0.0);
        rig.run(1.0);
        assert_eq!(rig.ended_after(0, start), 0.01);
        rig.assert_forgotten();
        rig.die(1);
        rig.rise(1);
        rig.seen.clear();
    }
}

#[test]
fn losses_cost_time_and_end_what_takes_too_long() {
    let mut rig = Rig::calm();
    let link = rig.connect();
    rig.network.worsen(rig.hosts[1].0, 1.0);
    let start = rig.now;
    rig.send(link, Side::Dialler, Lane::Messages, b"hello?");
    rig.run(200.0);
    assert_eq!(rig.ended_after(0, start), 5.0);
    assert!(rig.arrived(1).is_empty());
    rig.assert_forgotten();
}

#[test]
fn a_bad_link_still_carries_something() {
    let mut rig = Rig::calm();
    let link = rig.connect();
    rig.network.worsen(rig.hosts[1].0, 0.3);
    for _ in 0..50 {
        rig.send(link, Side::Dialler, Lane::Messages, b"hello?");
        rig.run(1.0);
    }
    let arrived = rig.arrived(1);
    assert_eq!(arrived.len(), 50);
    assert!(arrived.windows(2).any(|pair| pair[1].0.since(pair[0].0).as_micros() != 1_000_000));
}

#[test]
fn who_has_hung_up_is_not_told_that_too_much_waits() {
    let mut rig = Rig::calm();
    let link = rig.connect();
    rig.send(link, Side::Dialler, Lane::Control, &[0; 2 * 1024 * 1024]);
    rig.hang_up(link, Side::Dialler);
    rig.run(100.0);
    assert!(rig.ended(0).is_none() && rig.ended(1).is_some());
    rig.assert_forgotten();
}

#[test]
fn who_does_not_hear_that_the_other_has_broken_off_finds_out() {
    let mut rig = Rig::calm();
    let link = rig.connect();
    rig.network.worsen(rig.hosts[1].0, 1.0);
    let start = rig.now;
    rig.send(link, Side::Dialler, Lane::Control, &[0; 2 * 1024 * 1024]);
    rig.run(100.0);
    assert_eq!(rig.ended_after(0, start), 0.0);
    assert!(rig.ended_after(1, start) > 50.0);
    rig.assert_forgotten();
}

#[test]
fn any_sign_of_life_keeps_the_dialler_connected() {
    for side in [Side::Dialler, Side::Listener] {
        let mut rig = Rig::calm();
        let link = rig.connect();
        rig.network.worsen(rig.hosts[1].0, 1.0);
        rig.send(link, Side::Dialler, Lane::Messages, b"takes long");
        rig.network.worsen(rig.hosts[1].0, 0.0);
        rig.run(1.0);
        rig.send(link, side, Lane::Control, b"I am here");
        rig.run(100.0);
        assert!(rig.ended(0).is_none());
        let all = rig.seen.iter().filter(|(_, notice)| matches!(notice, Notice::Arrived { .. }));
        assert_eq!(all.count(), 2);
    }
}
