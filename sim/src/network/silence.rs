//! How an end detects that its peer is gone. Without faults this costs nothing: keep-alives are
//! computed afterwards, and no end is watched before something fails.

use std::time::Duration;

use proto::Instant;

use super::{
    Network,
    link::{Link, State},
    packet::{HostId, Notice, Side, What},
    paths::{Paths, RETRANSMISSION_MAX},
};

impl Link {
    /// The hosts don't hear each other any more, or an end is gone: who is still there will notice.
    pub(super) fn falter(&mut self, now: Instant, paths: &mut Paths) {
        if !self.troubled {
            self.troubled = true;
            let ends = [&self.dialler, &self.listener];
            let last = ends.map(|end| end.heard.max(end.sent)).into_iter().max();
            // Since then there have been keep-alives.
            let heard = last_keep_alive(last.unwrap_or_default(), now);
            let trip = self.round_trip(paths);
            for end in [&mut self.dialler, &mut self.listener] {
                end.heard = heard;
                if end.owed.is_none() && end.sent.after(trip) > now {
                    end.owed = Some(end.sent);
                }
            }
        }
        self.watch(Side::Dialler, now, paths);
        self.watch(Side::Listener, now, paths);
    }

    /// Has an end look after itself when the time comes.
    pub(super) fn watch(&mut self, side: Side, now: Instant, paths: &mut Paths) {
        let link = self.id;
        let end = self.end_mut(side);
        if end.state != State::Open {
            return;
        }
        let due = match (side, end.owed) {
            (Side::Dialler, Some(owed)) => owed.after(ANSWER_MAX),
            (Side::Dialler, None) => end.heard.after(KEEP_ALIVE),
            (Side::Listener, _) => end.heard.after(Network::SILENCE_MAX),
        };
        let due = due.max(now);
        if end.watched.is_none_or(|watched| due < watched) {
            end.watched = Some(due);
            paths.enter(due, link, side, What::Check { due });
        }
    }

    /// An end sends something to which there will be no answer, as things are.
    pub(super) fn owe(&mut self, side: Side, now: Instant, paths: &mut Paths) {
        let end = self.end_mut(side);
        if end.owed.is_none() {
            end.owed = Some(now);
            self.probe(side, Duration::ZERO, now, paths);
        }
        self.watch(side, now, paths);
    }

    /// A frame is delayed so much that the dialler may close the connection before it is answered.
    pub(super) fn doubt(&mut self, side: Side, stalled: Duration, now: Instant, paths: &mut Paths) {
        if side == Side::Dialler && stalled.saturating_add(self.round_trip(paths)) > ANSWER_MAX {
            self.dialler.owed.get_or_insert(now);
            self.watch(side, now, paths);
        }
    }

    /// A packet of `side` gets through to a host that knows no such connection, if it does, and
    /// that host says so.
    fn probe(&self, side: Side, delay: Duration, now: Instant, paths: &mut Paths) {
        let other = self.end(side.other());
        let life = paths.life(other.host);
        // Only who has an identity resets the connections of an earlier life.
        let can_reset =
            life == other.life || paths.port(other.host).is_some_and(|port| port.key.is_some());
        if other.is_silent()
            && can_reset
            && paths.is_up(other.host)
            && self.severed(paths).is_none()
        {
            let (from, to) = self.way(side);
            let there = paths.signal(from, to, now.after(delay)).arrives;
            let back = paths.signal(to, from, there).arrives;
            paths.enter(back, self.id, side, What::Reset);
        }
    }

    /// An end checks whether it must close the connection.
    pub(super) fn check(
        &mut self,
        side: Side,
        due: Instant,
        now: Instant,
        paths: &mut Paths,
    ) -> Option<Notice> {
        let is_well = !self.end(side.other()).is_silent() && self.severed(paths).is_none();
        let end = self.end_mut(side);
        if end.state != State::Open || end.watched != Some(due) {
            return None;
        }
        end.watched = None;
        let over = match (side, end.owed) {
            (Side::Dialler, Some(owed)) => owed.after(ANSWER_MAX) <= now,
            (Side::Dialler, None) | (Side::Listener, _) if is_well => return None,
            (Side::Dialler, None) => {
                if end.heard.after(KEEP_ALIVE) <= now {
                    self.owe(side, now, paths);
                }
                false
            }
            (Side::Listener, _) => end.heard.after(Network::SILENCE_MAX) <= now,
        };
        if over {
            return Some(self.time_out(side, now, paths));
        }
        self.watch(side, now, paths);
        None
    }

    pub(super) fn reset(&mut self, side: Side, now: Instant, paths: &mut Paths) -> Option<Notice> {
        let gets_through = self.severed(paths).is_none();
        let is_open = self.end(side).state == State::Open;
        (is_open && gets_through).then(|| self.time_out(side, now, paths))
    }

    fn time_out(&mut self, side: Side, now: Instant, paths: &mut Paths) -> Notice {
        let notice = self.conclude(side, now);
        self.falter(now, paths);
        notice
    }

    /// The host answers again, and knows nothing of this.
    pub(super) fn other_is_back(&self, host: HostId, now: Instant, paths: &mut Paths) {
        for side in [Side::Dialler, Side::Listener] {
            let end = self.end(side);
            if self.end(side.other()).host == host
                && end.state == State::Open
                && let Some(owed) = end.owed
            {
                let delay = paths.up_to(now.since(owed).min(RETRANSMISSION_MAX));
                self.probe(side, delay, now, paths);
            }
        }
    }

    /// A cut has ended. What waits is sent again after a while; who has missed an answer gets it,
    /// unless that comes too late.
    pub(super) fn heal(&mut self, lasted: Duration, now: Instant, paths: &mut Paths) {
        if self.severed(paths).is_some() {
            return;
        }
        let delay = paths.up_to(lasted.min(RETRANSMISSION_MAX));
        for side in [Side::Dialler, Side::Listener] {
            let end = self.end_mut(side);
            let tired = end.state == State::Leaving && end.since.after(FLUSH_MAX) < now;
            if end.out.is_stuck() && (tired || end.is_silent()) {
                // Since it left, rather than now.
                end.state = State::Gone;
                end.out.drop_stuck();
            }
            if end.out.is_stuck() {
                paths.enter(now.after(delay), self.id, side, What::Release);
            }
        }
        self.troubled = self.dialler.is_silent() || self.listener.is_silent();
        let answered = now.after(delay).after(self.round_trip(paths));
        for side in [Side::Dialler, Side::Listener] {
            let Some(owed) = self.end(side).owed else { continue };
            if self.end(side.other()).is_silent() {
                self.probe(side, delay, now, paths);
            } else if side == Side::Listener || answered <= owed.after(ANSWER_MAX) {
                self.end_mut(side).owed = None;
            }
        }
    }
}

/// When the last keep-alive was before now, if nothing else was said after `last`.
fn last_keep_alive(last: Instant, now: Instant) -> Instant {
    let period = KEEP_ALIVE.as_micros();
    let past = now.since(last).as_micros();
    let since = past.checked_rem(period).unwrap_or_default();
    let since = u64::try_from(past.saturating_sub(since)).unwrap_or_default();
    last.after(Duration::from_micros(since))
}

/// The dialler's silence after which it says that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// How long the dialler waits for any sign of life after it has sent something.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long the last frames of a connection that was hung up may take to leave.
const FLUSH_MAX: Duration = Duration::from_secs(2);
