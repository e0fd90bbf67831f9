//! Frames on their way: each lane in order, whatever happens to what carries them.

use std::time::Duration;

use proto::{Instant, Lane};

use super::{
    link::{Link, Out, State},
    packet::{Notice, Side, What},
    paths::Paths,
    stream::{Flying, Stream, waiting_max},
};

impl Link {
    pub(super) fn send(
        &mut self,
        side: Side,
        lane: Lane,
        bytes: Vec<u8>,
        now: Instant,
        paths: &mut Paths,
    ) {
        let severed = self.severed(paths).is_some();
        let (own, other) = self.ends_mut(side);
        if own.state != State::Open {
            return;
        }
        let unheard = other.is_silent();
        own.sent = now;
        let held = severed || own.out.stuck_finish;
        let stream = own.out.lane(lane);
        stream.waiting = stream.waiting.saturating_add(bytes.len());
        if stream.waiting > waiting_max(lane) {
            return self.break_off(side, now, paths);
        }
        let number = stream.sent;
        stream.sent = stream.sent.saturating_add(1);
        if held || stream.is_stuck() {
            stream.stuck.insert(number, bytes);
        } else if !unheard {
            self.fly(side, lane, number, bytes, now, paths);
        }
        if severed || unheard {
            self.owe(side, now, paths);
        }
    }

    fn fly(
        &mut self,
        side: Side,
        lane: Lane,
        number: u64,
        bytes: Vec<u8>,
        now: Instant,
        paths: &mut Paths,
    ) {
        let (from, to) = self.way(side);
        let flight = paths.fly(from, to, bytes.len(), now);
        let out = &mut self.end_mut(side).out;
        let opens = out.opens;
        let stream = out.lane(lane);
        stream.departs = stream.departs.max(flight.departs);
        stream.arrives = stream.arrives.max(flight.arrives).max(opens);
        let (departs, arrives, load) = (stream.departs, stream.arrives, flight.load);
        let frame = Flying { lane, number, departs, load, admitted: false, bytes };
        paths.enter(arrives, self.id, side, What::Frame(frame));
        if !flight.stalled.is_zero() {
            self.doubt(side, flight.stalled, now, paths);
        }
    }

    /// A frame of `side` is there.
    pub(super) fn arrive(
        &mut self,
        side: Side,
        mut frame: Flying,
        now: Instant,
        paths: &mut Paths,
    ) -> Option<Notice> {
        let severed = self.severed(paths);
        let link = self.id;
        let (from, to) = self.ends_mut(side);
        let lost = from.left_before(frame.departs);
        let (opens, stuck_finish) = (from.out.opens, from.out.stuck_finish);
        let stream = from.out.lane(frame.lane);
        if lost || stream.lost_from.is_some_and(|first| first <= frame.number) {
            stream.loses_from(frame.number);
            return None;
        }
        if !matches!(to.state, State::Open | State::Coming) {
            return None;
        }
        let cut_off = severed.is_some_and(|since| since < frame.departs);
        if cut_off || stuck_finish || stream.is_stuck() {
            stream.stuck.insert(frame.number, frame.bytes);
            if cut_off {
                self.owe(side, now, paths);
            }
            return None;
        }
        if to.state == State::Coming {
            let due = stream.arrives.max(opens).max(now.after(TICK));
            stream.arrives = due;
            paths.enter(due, link, side, What::Frame(frame));
            return None;
        }
        if frame.number > stream.expected {
            // What should come first was held up.
            stream.early.insert(frame.number, frame);
            return None;
        }
        if !frame.admitted
            && let Some(due) = paths.admit(to.host, frame.load, now)
        {
            frame.admitted = true;
            stream.arrives = stream.arrives.max(due);
            paths.enter(due, link, side, What::Frame(frame));
            return None;
        }
        stream.expected = stream.expected.saturating_add(1);
        if let Some(next) = stream.early.remove(&stream.expected) {
            paths.enter(now, link, side, What::Frame(next));
        }
        stream.waiting = stream.waiting.saturating_sub(frame.bytes.len());
        (to.heard, to.owed) = (now, None);
        if severed.is_none() {
            // The acknowledgement.
            from.owed = None;
        }
        Some(Notice::Arrived { host: to.host, link, bytes: frame.bytes })
    }

    /// Ends the connection for both sides, since too much waits.
    fn break_off(&mut self, side: Side, now: Instant, paths: &mut Paths) {
        let (from, to) = self.way(side);
        self.end_mut(side).set(State::Failing, now);
        paths.enter(now, self.id, side, What::Over);
        // It is said once.
        let flight = paths.signal(from, to, now);
        if self.severed(paths).is_none() && flight.stalled.is_zero() {
            let what = What::Bye { departs: now, flushed: false };
            paths.enter(flight.arrives, self.id, side, what);
        }
        self.falter(now, paths);
    }

    pub(super) fn hang_up(&mut self, side: Side, now: Instant, paths: &mut Paths) {
        let severed = self.severed(paths).is_some();
        let own = self.end_mut(side);
        match own.state {
            State::Failing => return own.set(State::Gone, now),
            State::Coming | State::Leaving | State::Gone => return,
            State::Open => own.set(State::Leaving, now),
        }
        if severed || own.out.is_stuck() {
            own.out.stuck_bye = true;
        } else {
            self.say_bye(side, now, paths);
        }
    }

    fn say_bye(&self, side: Side, now: Instant, paths: &mut Paths) {
        let (from, to) = self.way(side);
        let flight = paths.signal(from, to, now);
        let out = &self.end(side).out;
        let departs = out.lanes.iter().map(|lane| lane.departs).fold(flight.departs, Instant::max);
        let what = What::Bye { departs, flushed: true };
        paths.enter(out.all_arrived().max(flight.arrives), self.id, side, what);
    }

    /// `side` has ended the connection, and the other side learns it.
    pub(super) fn bye(
        &mut self,
        side: Side,
        departs: Instant,
        flushed: bool,
        now: Instant,
        paths: &mut Paths,
    ) -> Option<Notice> {
        let cut_off = self.severed(paths).is_some_and(|since| since < departs);
        let link = self.id;
        let (from, to) = self.ends_mut(side);
        if from.left_before(departs) {
            return None;
        }
        if flushed && (cut_off || from.out.is_stuck()) {
            from.out.stuck_bye = true;
            return None;
        }
        if to.state == State::Coming || (flushed && from.out.is_outstanding()) {
            let due = from.out.all_arrived().max(now.after(TICK));
            paths.enter(due, link, side, What::Bye { departs, flushed });
            return None;
        }
        (to.state == State::Open).then(|| self.conclude(side.other(), now))
    }

    /// Sends again what was stuck.
    pub(super) fn release(&mut self, side: Side, now: Instant, paths: &mut Paths) {
        if self.end(side).is_silent() || self.severed(paths).is_some() {
            return;
        }
        let (from, to) = self.way(side);
        let out = &mut self.end_mut(side).out;
        if std::mem::take(&mut out.stuck_finish) {
            let flight = paths.signal(from, to, now);
            out.opens = flight.arrives;
            let what = What::Finish { departs: flight.departs };
            paths.enter(flight.arrives, self.id, side, what);
        }
        for lane in [Lane::Control, Lane::Messages, Lane::Bulk] {
            let stuck = std::mem::take(&mut self.end_mut(side).out.lane(lane).stuck);
            for (number, bytes) in stuck {
                self.fly(side, lane, number, bytes, now, paths);
            }
        }
        if std::mem::take(&mut self.end_mut(side).out.stuck_bye) {
            self.say_bye(side, now, paths);
        }
    }
}

impl Out {
    fn is_outstanding(&self) -> bool {
        self.lanes.iter().any(Stream::is_outstanding)
    }

    /// Until when all that is on its way should have arrived.
    fn all_arrived(&self) -> Instant {
        self.lanes.iter().map(|lane| lane.arrives).fold(self.opens, Instant::max)
    }
}

/// The least that time goes on.
const TICK: Duration = Duration::from_micros(1);
