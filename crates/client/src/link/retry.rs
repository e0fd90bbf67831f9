//! Back-off: what a node refused for now is tried again after a pause that grows with each refusal
//! on the connection. Specified in `spec/delivery.md`, section 3.

use std::time::Duration;

use proto::{Code, NodeId};
use rand_core::Rng;

use super::Links;
use crate::{
    step::Step,
    topics::{AccountTimer, PendingTask, Timer},
};

/// Returns whether what was refused may be accepted another time.
pub(crate) fn is_transient(code: Code) -> bool {
    matches!(code, Code::Busy | Code::Full | Code::Quota | Code::Unexpected)
}

/// Returns how long to wait after so many tries without success.
pub(crate) fn back_off_time(tries: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1_u32.checked_shl(tries).unwrap_or(u32::MAX)).min(PAUSE_MAX)
}

impl Links {
    /// A node refused a part of a task: plans to try `again` after a pause.
    pub(crate) fn back_off(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        refused: PendingTask,
        again: PendingTask,
    ) {
        let pause = back_off_time(self.count_refusal(node, refused)).min(TASK_PAUSE_MAX);
        // Devices that a node was too busy for don't come back all at once.
        let jitter_us =
            u128::from(step.rng().next_u32()).saturating_mul(pause.as_micros() / 4) >> 32;
        let jitter = Duration::from_micros(u64::try_from(jitter_us).unwrap_or_default());
        let timer = Timer::Account(AccountTimer::Retry(*node, again));
        step.arm(pause.saturating_add(jitter), timer);
    }

    /// A task has come to its end.
    pub(crate) fn task_done(&mut self, node: &NodeId, task: PendingTask) {
        self.refusals_mut(node).map(|refusals| refusals.remove(&task));
    }

    /// Returns how often a task was refused on this connection.
    pub(crate) fn refusals_of(&mut self, node: &NodeId, task: PendingTask) -> u32 {
        let refusals = self.refusals_mut(node);
        refusals.and_then(|refusals| refusals.get(&task).copied()).unwrap_or_default()
    }

    /// Counts a refusal; returns how often the task was refused before.
    fn count_refusal(&mut self, node: &NodeId, task: PendingTask) -> u32 {
        let Some(refusals) = self.refusals_mut(node) else { return 0 };
        let refused = refusals.entry(task).or_default();
        *refused = refused.saturating_add(1);
        refused.saturating_sub(1)
    }
}

/// The first pause.
pub(crate) const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// The longest pause of a task: a node that has room again is noticed while its user still looks.
const TASK_PAUSE_MAX: Duration = Duration::from_secs(300);
