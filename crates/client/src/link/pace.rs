//! How quickly a node responds, and how long it may take.

use std::time::Duration;

use proto::Instant;

/// Response times of one node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// When the node last sent anything.
    heard: Option<Instant>,
    /// Recent response time: grows at once and shrinks by a tenth with each answer.
    response_time: Option<Duration>,
    /// Minimum RTT seen on this connection; a lower bound for the response timeout.
    min_rtt: Option<Duration>,
}

impl Pace {
    /// The connection is a new one, or gone. How quickly the node responds is remembered.
    pub(super) fn reset(&mut self) {
        *self = Self { response_time: self.response_time, ..Self::default() };
    }

    /// The node answered a request from `asked`.
    pub(super) fn record_rtt(&mut self, asked: Instant, now: Instant) {
        let took = now.since(asked);
        self.min_rtt = Some(self.min_rtt.map_or(took, |rtt| rtt.min(took)));
    }

    /// The node has sent something; `asked` is the time of its oldest open request.
    pub(super) fn record_response(&mut self, asked: Option<Instant>, now: Instant) {
        if let Some(since) = asked.map(|asked| self.silent_since(asked)) {
            // A node that was silent for longer than the timeout was stopped or cut off, which says
            // little about how long it will take.
            let eased = self.response_time.unwrap_or_default().mul_f64(KEPT);
            let took = now.since(since).min(self.response_timeout());
            self.response_time = Some(took.max(eased));
        }
        self.heard = Some(now);
    }

    /// Returns since when the node has been silent, if it was asked something at `asked`.
    pub(super) fn silent_since(&self, asked: Instant) -> Instant {
        self.heard.map_or(asked, |heard| heard.max(asked))
    }

    /// Returns how long the node may be silent before another one takes its place.
    pub(super) fn response_timeout(&self) -> Duration {
        let twice = |time: Duration| time.saturating_mul(2).clamp(TIMEOUT_MIN, TIMEOUT_MAX);
        let by_response = self.response_time.map_or(TIMEOUT_AT_FIRST, twice);
        by_response.max(self.min_rtt.map_or(TIMEOUT_MIN, twice))
    }

    /// Returns true if the node has never answered within a second and the other one does in a
    /// fraction of that.
    pub(super) fn is_consistently_slower(&self, other: &Self) -> bool {
        let (Some(rtt), Some(other)) = (self.min_rtt, other.min_rtt) else { return false };
        rtt >= SLOW && rtt >= other.saturating_mul(QUICKER_TIMES)
    }
}

/// Bounds of the response timeout: no shorter than a disk takes on a bad day, twice the recent
/// response time, and no longer than people wait before they look at a clock. At first nothing is
/// known.
const TIMEOUT_MIN: Duration = Duration::from_millis(400);
const TIMEOUT_MAX: Duration = Duration::from_secs(5);
const TIMEOUT_AT_FIRST: Duration = Duration::from_secs(2);
/// An RTT that users notice, and how many times quicker the other home has to be.
const SLOW: Duration = Duration::from_secs(1);
const QUICKER_TIMES: u32 = 4;
/// What is left of a slow response time with each further answer.
const KEPT: f64 = 0.9;
