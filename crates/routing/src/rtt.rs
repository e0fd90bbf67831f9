//! Round-trip times, and rate limits.

use std::time::Duration;

use proto::Instant;

/// A smoothed round-trip time and its deviation, as TCP computes them (RFC 6298, section 2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rtt {
    mean: Duration,
    deviation: Duration,
    measured: bool,
}

impl Rtt {
    /// Answers later than `first` are late until a round trip was measured.
    pub(crate) fn new(first: Duration) -> Self {
        Self { mean: first, deviation: Duration::ZERO, measured: false }
    }

    /// Adds a measured round trip.
    pub(crate) fn measure(&mut self, took: Duration) {
        if !self.measured {
            *self = Self { mean: took, deviation: half(took), measured: true };
            return;
        }
        let off = took.abs_diff(self.mean);
        let quarters = self.deviation.saturating_mul(3).saturating_add(off);
        self.deviation = half(half(quarters));
        let eighths = self.mean.saturating_mul(7).saturating_add(took);
        self.mean = half(half(half(eighths)));
    }

    /// Returns the time after which an answer is later than nearly all.
    pub(crate) fn late(&self) -> Duration {
        let late = self.mean.saturating_add(self.deviation.saturating_mul(4));
        late.clamp(LATE_MIN, LATE_MAX)
    }
}

fn half(duration: Duration) -> Duration {
    duration.checked_div(2).unwrap_or_default()
}

/// A rate limit: so many a second, and a burst of four times as many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    per_s: u32,
    /// In millionths.
    left: u64,
    since: Instant,
}

impl Allowance {
    pub(crate) fn new(per_s: u32, now: Instant) -> Self {
        Self { per_s, left: u64::from(per_s).saturating_mul(BURST_S * ONE), since: now }
    }

    /// Takes one token, if one is left.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = u64::try_from(now.since(self.since).as_micros()).unwrap_or(u64::MAX);
        let most = u64::from(self.per_s).saturating_mul(BURST_S * ONE);
        self.left = self.left.saturating_add(passed.saturating_mul(self.per_s.into())).min(most);
        self.since = now;
        let taken = self.left >= ONE;
        if taken {
            self.left = self.left.saturating_sub(ONE);
        }
        taken
    }
}

/// A busy processor may take as long to answer.
const LATE_MIN: Duration = Duration::from_millis(20);
const LATE_MAX: Duration = Duration::from_secs(1);
/// Allowances are counted in microseconds' worth.
const ONE: u64 = 1_000_000;
const BURST_S: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_follows_measured_round_trips() {
        let mut rtt = Rtt::new(Duration::from_millis(300));
        assert_eq!(rtt.late(), Duration::from_millis(300));
        for _ in 0..100 {
            rtt.measure(Duration::from_millis(50));
        }
        assert!(rtt.late() < Duration::from_millis(60), "{:?}", rtt.late());
        for _ in 0..100 {
            rtt.measure(Duration::from_secs(9));
        }
        assert_eq!(rtt.late(), LATE_MAX);
    }

    #[test]
    fn an_allowance_is_used_up_and_grows_again() {
        let start = Instant::from_secs(1);
        let mut allowance = Allowance::new(10, start);
        assert_eq!((0..100).filter(|_| allowance.take(start)).count(), 40);
        let later = start.after(Duration::from_millis(300));
        assert_eq!((0..100).filter(|_| allowance.take(later)).count(), 3);
        let much_later = start.after(Duration::from_secs(3600));
        assert_eq!((0..100).filter(|_| allowance.take(much_later)).count(), 40);
    }
}
