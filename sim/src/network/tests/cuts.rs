//! Hosts that don't hear each other for a while, or ever.

use super::*;

#[test]
fn what_is_sent_in_a_short_cut_arrives_after_it_in_order() {
    for seed in 0..30 {
        let mut rig = Rig::new(calm(), seed, 3, 0);
        let link = rig.connect();
        rig.send(link, Side::Listener, Lane::Messages, &[0]);
        rig.cut(7, &[0, 2]);
        rig.run(1.0);
        // That was in the air.
        assert_eq!(rig.arrived(0).len(), 1);
        for number in 1..5 {
            rig.send(link, Side::Listener, Lane::Messages, &[number]);
        }
        rig.send(link, Side::Dialler, Lane::Messages, &[9]);
        rig.run(1.0);
        assert!(rig.seen.is_empty());
        rig.heal(7);
        let healed = rig.now;
        rig.run(0.005);
        rig.send(link, Side::Listener, Lane::Messages, &[5]);
        rig.run(100.0);
        assert_eq!((rig.ended(0), rig.ended(1)), (None, None), "seed {seed}");
        let there = rig.seen.iter().filter(|(_, notice)| matches!(notice, Notice::Arrived { .. }));
        assert_eq!(there.count(), 6);
        let arrived = rig.arrived(0);
        assert!(arrived.iter().map(|(_, bytes)| bytes[0]).eq(1..=5), "{arrived:?}");
        assert!(arrived.iter().all(|(when, _)| when.since(healed).as_secs_f64() <= 2.02));
    }
}

#[test]
fn a_long_cut_ends_the_connection_for_both_and_what_was_stuck_is_lost() {
    let mut rig = Rig::calm();
    let link = rig.connect();
    rig.cut(1, &[0]);
    let start = rig.now;
    rig.send(link, Side::Dialler, Lane::Messages, b"never heard");
    rig.send(link, Side::Listener, Lane::Messages, b"nor this");
    rig.run(30.0);
    rig.heal(1);
    rig.run(100.0);
    assert_eq!(rig.ended_after(0, start), 5.0);
    let took = rig.ended_after(1, start);
    // The dialler is there, and says that it knows no such connection.
    assert!((30.0..=40.1).contains(&took), "{took}");
    assert!(!rig.seen.iter().any(|(_, notice)| matches!(notice, Notice::Arrived { .. })));
    rig.assert_forgotten();
}

#[test]
fn an_idle_connection_survives_a_short_cut_and_not_a_permanent_one() {
    let mut rig = Rig::calm();
    rig.connect();
    rig.run(10.0);
    rig.cut(1, &[0]);
    rig.run(10.0);
    rig.heal(1);
    rig.run(200.0);
    assert!(rig.seen.is_empty());
    rig.cut(2, &[0]);
    let start = rig.now;
    rig.run(100.0);
    assert!((5.0..=30.0).contains(&rig.ended_after(0, start)));
    assert!((55.0..=80.0).contains(&rig.ended_after(1, start)));
    rig.assert_forgotten();
}

#[test]
fn two_hosts_hear_each_other_unless_exactly_one_is_in_some_cut() {
    let mut rig = Rig::calm();
    let dials = |rig: &mut Rig| {
        rig.seen.clear();
        rig.dial(0, 1, 1);
        rig.run(6.0);
        rig.seen.iter().any(|(_, notice)| matches!(notice, Notice::Connected { .. }))
    };
    rig.cut(1, &[0]);
    assert!(!dials(&mut rig));
    rig.cut(2, &[0, 1]);
    assert!(!dials(&mut rig));
    rig.heal(1);
    assert!(dials(&mut rig));
    rig.cut(3, &[1]);
    rig.heal(2);
    assert!(!dials(&mut rig));
    rig.heal(3);
    assert!(dials(&mut rig));
}

#[test]
fn a_cut_in_the_handshake_leaves_no_side_half_connected() {
    let mut connected = 0;
    for seed in 0..200 {
        let mut rig = Rig::new(Weather { loss: 0.4, jitter: ms(5), ..calm() }, seed, 2, 0);
        rig.dial(0, 1, 1);
        let cut_after = f64::from(u32::try_from(seed % 50).unwrap()) / 1_000.0;
        rig.run(cut_after);
        rig.cut(1, &[0]);
        if let Some((_, Notice::Connected { link, .. })) = rig.seen.first() {
            let link = *link;
            rig.send(link, Side::Dialler, Lane::Messages, b"first");
        }
        rig.run(0.05);
        rig.heal(1);
        rig.run(120.0);
        let kinds: Vec<_> = rig.seen.iter().map(|(_, notice)| notice).collect();
        match kinds[..] {
            [Notice::NotConnected { .. }]
            | [Notice::Connected { .. }, Notice::Connected { .. }]
            | [Notice::Connected { .. }, Notice::Connected { .. }, Notice::Arrived { .. }] => {}
            ref others => panic!("seed {seed}: {others:?}"),
        }
        connected += kinds.len() - 1;
    }
    assert!((50..350).contains(&connected), "{connected}");
}

#[test]
fn an_answer_to_a_dial_that_is_cut_off_never_comes() {
    let mut rig = Rig::calm();
    let start = rig.now;
    rig.dial(0, 1, 1);
    rig.run(0.015);
    rig.cut(1, &[0]);
    rig.run(100.0);
    let [(when, Notice::NotConnected { .. })] = rig.seen[..] else { panic!("{:?}", rig.seen) };
    assert_eq!(when.since(start).as_secs_f64(), 5.0);
    rig.assert_forgotten();
}

#[test]
fn an_acknowledgement_that_is_cut_off_is_missed() {
    let mut rig = Rig::calm();
    let link = rig.connect();
    let start = rig.now;
    rig.send(link, Side::Dialler, Lane::Messages, b"in the air");
    rig.cut(1, &[0]);
    rig.run(20.0);
    assert_eq!(rig.ended_after(0, start), 5.0);
    assert_eq!(rig.arrived(1).len(), 1);
}

#[test]
fn nothing_arrives_after_the_dialler_has_timed_out() {
    let mut late = 0;
    for seed in 0..50 {
        let mut rig = Rig::new(calm(), seed, 2, 0);
        let link = rig.connect();
        rig.cut(1, &[0]);
        let start = rig.now;
        rig.send(link, Side::Dialler, Lane::Messages, b"hello?");
        rig.run(4.0);
        rig.heal(1);
        rig.run(20.0);
        let ended = rig.ended(0);
        let arrived = rig.arrived(1);
        late += usize::from(arrived.is_empty());
        assert_eq!(ended.is_some(), arrived.is_empty());
        assert!(arrived.iter().all(|(when, _)| when.since(start).as_secs_f64() <= 5.0));
        assert!(ended.is_none_or(|when| when.since(start).as_secs_f64() == 5.0));
    }
    assert!((20..45).contains(&late), "{late}");
}

#[test]
fn the_last_frames_wait_for_the_end_of_a_very_short_cut_only() {
    for (lasts, arrive) in [(1.0, true), (3.0, false)] {
        let mut rig = Rig::calm();
        let link = rig.connect();
        rig.cut(1, &[0]);
        rig.send(link, Side::Dialler, Lane::Messages, b"last words");
        rig.hang_up(link, Side::Dialler);
        rig.run(lasts);
        rig.heal(1);
        rig.run(100.0);
        assert!(rig.ended(1).is_some());
        assert_eq!(rig.arrived(1).len() == 1, arrive);
        rig.assert_forgotten();
    }
}
