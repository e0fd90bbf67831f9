//! Round-trip times.

use std::time::Duration;

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

/// A busy processor may take as long to answer.
const LATE_MIN: Duration = Duration::from_millis(20);
const LATE_MAX: Duration = Duration::from_secs(1);

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
}
