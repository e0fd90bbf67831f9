//! How a side that wants a connection notices that its peer is gone: restarted, or on another network.
//!
//! QUIC alone would wait for its idle timeout, and who has something to say wants it said. So the
//! peer's QUIC must be heard, if only to acknowledge, within [`ROUNDS_MAX`] rounds of [`ROUND`]
//! after a frame or a keep-alive was sent. This sends nothing itself: it looks at what QUIC counts,
//! while nobody speaks once per keep-alive. Rounds rather than one long wait, because a machine
//! that was asleep, or too busy to read its socket, counts that time as one round. Specified in
//! `spec/transport.md`, section 5.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use quinn::Connection;
use tokio::time::{Instant, Sleep, sleep};

/// Resolves when a peer that dialled says nothing more, although something was sent to it. Whoever wants that
/// connection as well need not wait until QUIC gives it up, nor until QUIC says again what was lost while the
/// peer was cut off, which takes as long as that has lasted.
pub(crate) async fn falls_silent(connection: &Connection) {
    let (mut seen, mut rounds) = (Traffic::of(connection), 0_u32);
    while rounds < ROUNDS_MAX {
        // QUIC tells of what comes, and never of what does not: its counts are looked at again.
        sleep(if rounds == 0 { LOOK_PAUSE } else { ROUND }).await;
        let now = Traffic::of(connection);
        let is_heard = now.heard != seen.heard;
        let is_awaited = rounds > 0 || now.said != seen.said;
        rounds = if is_awaited && !is_heard { rounds.saturating_add(1) } else { 0 };
        seen = now;
    }
}

/// What has to be acknowledged, and whatever came.
#[derive(Clone, Copy)]
struct Traffic {
    said: u64,
    heard: u64,
}

impl Traffic {
    fn of(connection: &Connection) -> Self {
        let stats = connection.stats();
        let said = stats.frame_tx.stream.saturating_add(stats.frame_tx.ping);
        Self { said, heard: stats.udp_rx.datagrams }
    }
}

/// The timer of one connection.
pub(crate) struct Pulse {
    timer: Pin<Box<Sleep>>,
    watch: Watch,
}

impl Pulse {
    pub(crate) fn new(keep_alive: Duration, connection: &Connection) -> Self {
        let watch = Watch::new(keep_alive, Counts::of(connection), Instant::now());
        Self { timer: Box::pin(sleep(keep_alive)), watch }
    }

    /// Something was sent; the counts are from before that.
    pub(crate) fn sent(&mut self, before: Counts) {
        if self.watch.sent(before) {
            self.timer.as_mut().reset(after(Instant::now(), ROUND));
        }
    }

    /// Something was read.
    pub(crate) fn received(&mut self) {
        self.watch.quiet_since = Instant::now();
    }

    /// Resolves when the peer is gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>, connection: &Connection) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let Some(next) = self.watch.look(Counts::of(connection), Instant::now()) else {
                return Poll::Ready(());
            };
            self.timer.as_mut().reset(next);
        }
    }
}

/// What QUIC has counted on a connection.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    datagrams_in: u64,
    /// Keep-alives and their repetitions.
    pings_out: u64,
}

impl Counts {
    pub(crate) fn of(connection: &Connection) -> Self {
        let stats = connection.stats();
        Self { datagrams_in: stats.udp_rx.datagrams, pings_out: stats.frame_tx.ping }
    }
}

/// What [`Pulse`] knows.
struct Watch {
    keep_alive: Duration,
    /// The next keep-alive is due so long after this, or up to a round earlier.
    quiet_since: Instant,
    seen: Counts,
    /// Datagrams that had come before the last thing was sent: those are no answer.
    not_answers: u64,
    /// Rounds without a sign of life, while an answer is awaited.
    awaited: Option<u32>,
}

impl Watch {
    fn new(keep_alive: Duration, seen: Counts, now: Instant) -> Self {
        Self { keep_alive, quiet_since: now, seen, not_answers: 0, awaited: None }
    }

    /// Tells whether a round begins now.
    fn sent(&mut self, before: Counts) -> bool {
        self.not_answers = before.datagrams_in;
        let begins = self.awaited.is_none();
        if begins {
            self.awaited = Some(0);
            self.seen.datagrams_in = before.datagrams_in;
        }
        begins
    }

    /// Returns when to look again, or `None` if the peer is gone.
    fn look(&mut self, counts: Counts, now: Instant) -> Option<Instant> {
        let is_heard = counts.datagrams_in != self.seen.datagrams_in;
        let has_pinged = counts.pings_out != self.seen.pings_out;
        self.seen = counts;
        if is_heard {
            // If this was an answer, QUIC counts to the next keep-alive from about now.
            if has_pinged || self.awaited.is_some() {
                self.quiet_since = now;
            }
            let is_owed = counts.datagrams_in == self.not_answers;
            self.awaited = self.awaited.filter(|_| is_owed).map(|_| 0);
        } else if let Some(rounds) = &mut self.awaited {
            *rounds = rounds.saturating_add(1);
            if *rounds >= ROUNDS_MAX {
                return None;
            }
        } else if has_pinged {
            self.awaited = Some(0);
        }
        let soon = after(now, ROUND);
        if self.awaited.is_some() {
            return Some(soon);
        }
        let due = after(self.quiet_since, self.keep_alive);
        // If it is late: QUIC has counted from something that was not read here.
        Some(if due > now { due } else { soon })
    }
}

fn after(instant: Instant, wait: Duration) -> Instant {
    instant.checked_add(wait).unwrap_or(instant)
}

const ROUND: Duration = Duration::from_secs(1);
/// How often a connection is looked at that the peer has dialled and this side wants as well, while nothing
/// is awaited.
const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// 5 s together: QUIC has then sent it three times or more, on any network that can be used.
const ROUNDS_MAX: u32 = 5;

#[cfg(test)]
mod tests;
