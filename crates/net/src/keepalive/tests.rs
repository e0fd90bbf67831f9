//! What the checks conclude, without sockets or waiting.
#![expect(clippy::arithmetic_side_effects, reason = "a test may panic")]

use super::*;

const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// A connection whose counts and clock the test moves.
struct Rig {
    watch: Watch,
    counts: Counts,
    start: Instant,
    now: Instant,
    next: Instant,
    checks: u32,
}

impl Rig {
    fn new() -> Self {
        let start = Instant::now();
        let counts = Counts { datagrams_in: 9, pings_out: 2 };
        let watch = Watch::new(KEEP_ALIVE, counts, start);
        Self { watch, counts, start, now: start, next: after(start, KEEP_ALIVE), checks: 0 }
    }

    fn send(&mut self) {
        if self.watch.sent(self.counts) {
            self.next = after(self.now, ROUND);
        }
    }

    fn hear(&mut self) {
        self.counts.datagrams_in += 1;
    }

    fn read(&mut self) {
        self.hear();
        self.watch.quiet_since = self.now;
    }

    fn ping(&mut self) {
        self.counts.pings_out += 1;
    }

    /// Lets so many seconds pass, and tells after how many the peer was found gone.
    fn pass(&mut self, seconds: f64) -> Option<f64> {
        let (from, until) = (self.now, after(self.now, Duration::from_secs_f64(seconds)));
        while self.next <= until {
            self.now = self.now.max(self.next);
            self.checks += 1;
            let Some(next) = self.watch.check(self.counts, self.now) else {
                return Some((self.now - from).as_secs_f64());
            };
            assert!(next > self.now);
            self.next = next;
        }
        self.now = until;
        None
    }

    /// Idles as QUIC does: a keep-alive after 25 s of silence, and its answer.
    fn idle(&mut self, periods: u32, trip: f64) {
        for _ in 0..periods {
            assert_eq!(self.pass(25.0), None);
            self.ping();
            assert_eq!(self.pass(trip), None);
            self.hear();
        }
    }
}

#[test]
fn a_frame_without_an_answer_is_noticed_after_five_seconds() {
    let mut rig = Rig::new();
    rig.idle(3, 0.1);
    rig.pass(10.0);
    // What came just before is no answer.
    rig.read();
    rig.send();
    assert_eq!(rig.pass(100.0), Some(5.0));
}

#[test]
fn a_keep_alive_without_an_answer_is_noticed_after_six_seconds() {
    for periods in 0..60 {
        let mut rig = Rig::new();
        rig.idle(periods, 0.09);
        assert_eq!(rig.pass(25.0), None);
        rig.ping();
        let took = rig.pass(100.0).unwrap();
        assert!((5.0..=6.0).contains(&took), "{took} after {periods}");
    }
}

#[test]
fn a_keep_alive_is_missed_in_time_whenever_frames_came_before() {
    for wait in 0..60 {
        let mut rig = Rig::new();
        rig.idle(2, 0.09);
        rig.pass(f64::from(wait % 25));
        rig.read();
        rig.pass(f64::from(wait) / 3.0);
        rig.read();
        assert_eq!(rig.pass(25.0), None);
        rig.ping();
        let took = rig.pass(100.0).unwrap();
        assert!((5.0..=6.0).contains(&took), "{took} after {wait}");
    }
}

#[test]
fn an_idle_connection_is_checked_little_more_than_once_per_keep_alive() {
    for trip in [0.001, 0.1, 0.9] {
        let mut rig = Rig::new();
        rig.idle(1000, trip);
        assert!(rig.checks <= 2500, "{} checks at {trip}", rig.checks);
        assert!(trip > 0.1 || rig.checks <= 1300, "{} checks at {trip}", rig.checks);
    }
}

#[test]
fn a_late_answer_within_the_limit_is_no_silence() {
    let mut rig = Rig::new();
    for _ in 0..100 {
        rig.send();
        assert_eq!(rig.pass(4.9), None);
        rig.hear();
        assert_eq!(rig.pass(0.3), None);
    }
    rig.idle(20, 4.9);
}

#[test]
fn a_busy_connection_is_not_taken_for_silent() {
    let mut rig = Rig::new();
    // At some checks the last question has no answer yet.
    for _ in 0..1000 {
        rig.send();
        assert_eq!(rig.pass(0.2), None);
        rig.hear();
        assert_eq!(rig.pass(0.07), None);
    }
    rig.idle(3, 0.1);
}

#[test]
fn the_answer_to_an_earlier_frame_does_not_count_for_a_later_one() {
    let mut rig = Rig::new();
    rig.send();
    rig.pass(0.1);
    rig.hear();
    rig.pass(0.1);
    rig.send();
    let took = rig.pass(100.0).unwrap();
    assert!((5.0..=6.0).contains(&took), "{took}");
}

#[test]
fn a_host_that_slept_hears_the_answer_before_it_judges() {
    let mut rig = Rig::new();
    rig.send();
    rig.pass(2.5);
    // All timers are late, and this one runs first.
    rig.now = after(rig.now, Duration::from_secs(3600));
    assert_eq!(rig.pass(0.5), None);
    rig.hear();
    rig.idle(3, 0.1);
    assert!(rig.now > after(rig.start, Duration::from_secs(3600)));
}
