//! A token bucket: how much may pass.

use std::time::Instant;

/// Fills evenly, up to what may pass at once.
#[derive(Debug)]
pub(super) struct Bucket {
    /// What may pass now, in billionths, so that nothing is lost between two packets.
    level: u64,
    full: u64,
    per_s: u64,
    since: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(per_s: u32, at_once: u32, now: Instant) -> Self {
        let full = u64::from(at_once).saturating_mul(BILLION);
        Self { level: full, full, per_s: per_s.into(), since: now }
    }

    /// Tells whether so much may pass now; then it has.
    pub(super) fn take(&mut self, amount: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        self.since = self.since.max(now);
        let passed = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        self.level = self.level.saturating_add(passed.saturating_mul(self.per_s)).min(self.full);
        let wanted = u64::try_from(amount).unwrap_or(u64::MAX).saturating_mul(BILLION);
        let left = self.level.checked_sub(wanted);
        self.level = left.unwrap_or(self.level);
        left.is_some()
    }
}

/// Nanoseconds of a second.
const BILLION: u64 = 1_000_000_000;

#[test]
fn a_burst_passes_and_then_an_even_stream() {
    use std::time::Duration;

    let start = Instant::now();
    let mut bucket = Bucket::new(1024, 2048, start);
    let passes = |bucket: &mut Bucket, now| (0..10_000).filter(|_| bucket.take(2, now)).count();
    assert_eq!(passes(&mut bucket, start), 1024);
    let mut passed = 0;
    for step in 1..=1_000_u32 {
        passed += passes(&mut bucket, start + Duration::from_millis(1) * step);
    }
    assert_eq!(passed, 512, "a second, in uneven steps");
    assert_eq!(passes(&mut bucket, start), 0, "time that goes back gives nothing");
    assert_eq!(passes(&mut bucket, start + Duration::from_secs(1_000_000)), 1024);
    assert!(!bucket.take(usize::MAX, start));
}
