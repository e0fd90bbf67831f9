//! Dead peer detection: how a side notices that its peer has restarted or changed networks.
//!
//! QUIC alone would wait for its idle timeout, which delays messages. Here the peer's QUIC must be
//! heard, if only to acknowledge, within [`ROUNDS_MAX`] rounds of [`ROUND`] after a frame or a
//! keep-alive was sent. This module sends nothing itself: it reads QUIC's counters, once per
//! keep-alive while the connection is idle. Rounds rather than one long wait, because a host that
//! was asleep, or too busy to read its socket, counts that time as one round. Specified in
//! `spec/transport.md`, section 5.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use quinn::Connection;
use tokio::time::{Instant, Sleep, sleep};

/// Resolves when a peer that dialled does not acknowledge what was sent to it.
///
/// A side that wants the same connection then dials at once, rather than after QUIC's idle timeout
/// or QUIC's next retransmission, which backs off for as long as the peer was unreachable.
pub(crate) async fn until_silent(connection: &Connection) {
    let (mut seen, mut rounds) = (Traffic::of(connection), 0_u32);
    while rounds < ROUNDS_MAX {
        // QUIC has no event for missing acknowledgements, so its counters are polled.
        sleep(if rounds == 0 { POLL_PAUSE } else { ROUND }).await;
        let now = Traffic::of(connection);
        let is_heard = now.received != seen.received;
        let is_awaited = rounds > 0 || now.sent != seen.sent;
        rounds = if is_awaited && !is_heard { rounds.saturating_add(1) } else { 0 };
        seen = now;
    }
}

/// Frames sent that need an acknowledgement, and datagrams received.
#[derive(Clone, Copy)]
struct Traffic {
    sent: u64,
    received: u64,
}

impl Traffic {
    fn of(connection: &Connection) -> Self {
        let stats = connection.stats();
        let sent = stats.frame_tx.stream.saturating_add(stats.frame_tx.ping);
        Self { sent, received: stats.udp_rx.datagrams }
    }
}

/// Watches one connection that this side has dialled.
pub(crate) struct Keepalive {
    timer: Pin<Box<Sleep>>,
    watch: Watch,
}

impl Keepalive {
    /// QUIC sends keep-alives at this interval.
    pub(crate) fn new(interval: Duration, connection: &Connection) -> Self {
        let watch = Watch::new(interval, Counts::of(connection), Instant::now());
        Self { timer: Box::pin(sleep(interval)), watch }
    }

    /// Notes that something was sent; the counts are from before that.
    pub(crate) fn sent(&mut self, before: Counts) {
        if self.watch.sent(before) {
            self.timer.as_mut().reset(after(Instant::now(), ROUND));
        }
    }

    /// Notes that something was read.
    pub(crate) fn received(&mut self) {
        self.watch.quiet_since = Instant::now();
    }

    /// Resolves when the peer is gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>, connection: &Connection) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let Some(next) = self.watch.check(Counts::of(connection), Instant::now()) else {
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

/// The state behind [`Keepalive`], without timers.
struct Watch {
    interval: Duration,
    /// The next keep-alive is due so long after this, or up to a round earlier.
    quiet_since: Instant,
    seen: Counts,
    /// Datagrams received before the last send: those are no answer.
    not_answers: u64,
    /// Rounds without a datagram, while an answer is awaited.
    awaited: Option<u32>,
}

impl Watch {
    fn new(interval: Duration, seen: Counts, now: Instant) -> Self {
        Self { interval, quiet_since: now, seen, not_answers: 0, awaited: None }
    }

    /// Notes a send. Returns whether a round begins now.
    fn sent(&mut self, before: Counts) -> bool {
        self.not_answers = before.datagrams_in;
        let begins = self.awaited.is_none();
        if begins {
            self.awaited = Some(0);
            self.seen.datagrams_in = before.datagrams_in;
        }
        begins
    }

    /// Returns when to check again, or `None` if the peer is gone.
    fn check(&mut self, counts: Counts, now: Instant) -> Option<Instant> {
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
        let due = after(self.quiet_since, self.interval);
        // If it is late: QUIC has counted from something that was not read here.
        Some(if due > now { due } else { soon })
    }
}

fn after(instant: Instant, wait: Duration) -> Instant {
    instant.checked_add(wait).unwrap_or(instant)
}

const ROUND: Duration = Duration::from_secs(1);
/// How often a connection is polled that the peer has dialled and this side wants as well, while no
/// answer is awaited.
const POLL_PAUSE: Duration = Duration::from_secs(2);
/// 5 s together: QUIC has then sent it three times or more, on any usable network.
const ROUNDS_MAX: u32 = 5;

#[cfg(test)]
mod tests;
