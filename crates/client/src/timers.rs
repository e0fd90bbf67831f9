//! Timers: what is due later. A machine holds one instance and reports its first due time.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use proto::Instant;

/// Timers named by `T`, each set at most once.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    queue: BTreeSet<(Instant, T)>,
    due: BTreeMap<T, Instant>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { queue: BTreeSet::new(), due: BTreeMap::new() }
    }
}

impl<T: Copy + Ord> Timers<T> {
    /// Sets a timer; one that is set already keeps its time.
    pub(crate) fn arm(&mut self, due: Instant, timer: T) {
        if let Entry::Vacant(vacant) = self.due.entry(timer) {
            vacant.insert(due);
            self.queue.insert((due, timer));
        }
    }

    /// Sets a timer; one that is set for later is moved to this time.
    pub(crate) fn arm_by(&mut self, due: Instant, timer: T) {
        if self.due(timer).is_some_and(|later| later > due) {
            self.disarm(timer);
        }
        self.arm(due, timer);
    }

    pub(crate) fn is_armed(&self, timer: T) -> bool {
        self.due.contains_key(&timer)
    }

    /// Returns when a timer is due, if it is set.
    pub(crate) fn due(&self, timer: T) -> Option<Instant> {
        self.due.get(&timer).copied()
    }

    pub(crate) fn disarm(&mut self, timer: T) {
        if let Some(due) = self.due.remove(&timer) {
            self.queue.remove(&(due, timer));
        }
    }

    /// Cancels all timers that fit.
    pub(crate) fn disarm_all(&mut self, fits: impl Fn(&T) -> bool) {
        self.queue.retain(|(_, timer)| !fits(timer));
        self.due.retain(|timer, _| !fits(timer));
    }

    /// Returns when the first timer is due.
    pub(crate) fn first_due(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// Takes the first timer that is due by now.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let (due, timer) = self.queue.first().copied().filter(|(due, _)| *due <= now)?;
        self.queue.remove(&(due, timer));
        self.due.remove(&timer);
        Some(timer)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}
