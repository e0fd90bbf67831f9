//! Hold-down: how long the active homes keep their roles after a failover, so that slow ones don't
//! make them change all the time.

use std::time::Duration;

use proto::Instant;

/// Recent, possibly spurious failovers.
#[derive(Debug, Default)]
pub(super) struct HoldDown {
    last: Option<Instant>,
    failovers: u32,
    /// How often in a row both homes were penalised.
    forced: u32,
}

impl HoldDown {
    /// Returns until when the homes keep their roles.
    pub(super) fn until(&self, now: Instant) -> Instant {
        let Some(last) = self.last else { return now };
        last.after(HOLD_MIN.saturating_mul(1 << self.failovers.min(HOLD_DOUBLINGS)))
    }

    /// The same while both are penalised: until when a primary that fails keeps its role, and one
    /// that refuses.
    pub(super) fn until_while_penalised(&self) -> (Instant, Instant) {
        let Some(last) = self.last else { return Default::default() };
        let hold = |doublings: u32| PENALISED_MIN.saturating_mul(1_u32 << doublings);
        let least = self.until(last);
        (least.after(hold(0)), least.after(hold(self.forced.min(PENALISED_DOUBLINGS))))
    }

    /// The homes change roles; `forced` if both are penalised.
    pub(super) fn on_failover(&mut self, now: Instant, forced: bool) {
        self.forced = if forced { self.forced.saturating_add(1) } else { 0 };
        let quiet = self.last.map_or(0, |last| now.since(last).as_secs() / FORGET_AFTER_S);
        let left = self.failovers.saturating_sub(u32::try_from(quiet).unwrap_or(u32::MAX));
        (self.last, self.failovers) = (Some(now), left.saturating_add(1));
    }

    /// The home that was failed over from is really gone.
    pub(super) fn on_confirmed(&mut self) {
        (self.last, self.failovers) = (None, 0);
    }
}

/// How long the homes keep their roles at least, doubled with each failover after which the old
/// primary was still there.
const HOLD_MIN: Duration = Duration::from_millis(250);
const HOLD_DOUBLINGS: u32 = 3;
/// How much longer if both are penalised.
const PENALISED_MIN: Duration = Duration::from_secs(8);
/// And twice as long with each such failover, for one that refuses: full homes are so for hours,
/// and each failover asks both for everything.
const PENALISED_DOUBLINGS: u32 = 4;
/// For each so many seconds without a failover one is forgotten.
const FORGET_AFTER_S: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_secs(1_000).after(Duration::from_millis(ms))
    }

    #[test]
    fn each_failover_holds_longer_up_to_a_bound() {
        let mut hold = HoldDown::default();
        assert_eq!(hold.until(at(7)), at(7), "nothing holds before the first");
        for expected in [500, 1_000, 2_000, 2_000] {
            hold.on_failover(at(0), false);
            assert_eq!(hold.until(at(0)), at(expected));
        }
    }

    #[test]
    fn quiet_time_and_a_confirmed_failure_shorten_it() {
        let mut hold = HoldDown::default();
        hold.on_failover(at(0), false);
        hold.on_failover(at(0), false);
        hold.on_failover(at(20_000), false);
        assert_eq!(hold.until(at(20_000)), at(20_500), "two are forgotten");
        hold.on_confirmed();
        assert_eq!(hold.until(at(20_000)), at(20_000));
    }

    #[test]
    fn while_both_are_penalised_one_that_refuses_is_held_for_longer_each_time() {
        let mut hold = HoldDown::default();
        let mut last = at(0);
        for _ in 0..10 {
            hold.on_failover(at(0), true);
            let (fails, refuses) = hold.until_while_penalised();
            assert!(fails <= refuses && refuses >= last);
            last = refuses;
        }
        assert_eq!(last, at(2_000 + 128_000));
        hold.on_failover(at(0), false);
        assert_eq!(hold.until_while_penalised(), (at(10_000), at(10_000)));
    }
}
