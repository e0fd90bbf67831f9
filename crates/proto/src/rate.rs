//! Rate limits.

use crate::Instant;

/// A token bucket: it fills evenly and holds at most one burst.
#[derive(Clone, Copy, Debug)]
pub struct RateLimiter {
    per_s: u32,
    burst: u32,
    /// The tokens left, in millionths, so that nothing is lost between two calls.
    level: u64,
    since: Instant,
}

impl RateLimiter {
    /// Returns a full bucket: `per_s` tokens a second, and a burst of four seconds' worth.
    pub fn new(per_s: u32, now: Instant) -> Self {
        Self::with_burst(per_s, per_s.saturating_mul(BURST_S), now)
    }

    /// Returns a full bucket: `per_s` tokens a second, and `burst` at once.
    pub fn with_burst(per_s: u32, burst: u32, now: Instant) -> Self {
        Self { per_s, burst, level: u64::from(burst).saturating_mul(ONE), since: now }
    }

    /// Takes one token. Returns false if there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        self.take_many(1, now)
    }

    /// Takes so many tokens at once. Returns false, and takes none, if there are fewer.
    pub fn take_many(&mut self, count: usize, now: Instant) -> bool {
        let passed = u64::try_from(now.since(self.since).as_micros()).unwrap_or(u64::MAX);
        self.since = self.since.max(now);
        let full = u64::from(self.burst).saturating_mul(ONE);
        self.level = self.level.saturating_add(passed.saturating_mul(self.per_s.into())).min(full);
        let wanted = u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(ONE);
        let left = self.level.checked_sub(wanted);
        self.level = left.unwrap_or(self.level);
        left.is_some()
    }
}

/// Microseconds of a second.
const ONE: u64 = 1_000_000;
const BURST_S: u32 = 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn passes(limiter: &mut RateLimiter, count: usize, now: Instant) -> usize {
        (0..10_000).filter(|_| limiter.take_many(count, now)).count()
    }

    #[test]
    fn a_bucket_is_used_up_and_fills_again() {
        let start = Instant::from_secs(1);
        let mut limiter = RateLimiter::new(10, start);
        assert_eq!(passes(&mut limiter, 1, start), 40);
        assert_eq!(passes(&mut limiter, 1, start.after(Duration::from_millis(300))), 3);
        assert_eq!(passes(&mut limiter, 1, start.after(Duration::from_secs(3600))), 40);
    }

    #[test]
    fn a_burst_passes_and_then_an_even_stream() {
        let start = Instant::from_secs(1);
        let mut limiter = RateLimiter::with_burst(1024, 2048, start);
        assert_eq!(passes(&mut limiter, 2, start), 1024);
        let at = |millis| start.after(Duration::from_millis(millis));
        let passed: usize = (1..=1_000).map(|millis| passes(&mut limiter, 2, at(millis))).sum();
        assert_eq!(passed, 512, "a second, in uneven steps");
        assert_eq!(passes(&mut limiter, 2, start), 0, "time that goes back adds nothing");
        assert_eq!(passes(&mut limiter, 2, at(1_000_000_000)), 1024);
        assert!(!limiter.take_many(usize::MAX, start));
    }
}
