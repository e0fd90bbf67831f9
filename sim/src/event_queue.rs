//! Virtual time: what happens when.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use proto::Instant;

/// What will happen, the next thing first; what falls on the same instant comes in the order in
/// which it was entered.
#[derive(Debug)]
pub(crate) struct EventQueue<T> {
    entries: BinaryHeap<Reverse<Entry<T>>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry<T> {
    due: Instant,
    number: u64,
    what: T,
}

impl<T> EventQueue<T> {
    pub(crate) fn new() -> Self {
        Self { entries: BinaryHeap::new(), entered: 0 }
    }

    /// Enters something for later.
    pub(crate) fn enter(&mut self, due: Instant, what: T) {
        self.entered = self.entered.saturating_add(1);
        self.entries.push(Reverse(Entry { due, number: self.entered, what }));
    }

    /// Takes the next thing, unless it is due after `end`.
    pub(crate) fn next_until(&mut self, end: Instant) -> Option<(Instant, T)> {
        let Reverse(first) = self.entries.peek()?;
        if first.due > end {
            return None;
        }
        self.entries.pop().map(|Reverse(entry)| (entry.due, entry.what))
    }
}

impl<T> Entry<T> {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.number)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[test]
fn keeps_the_order_of_time_then_of_entry() {
    let mut queue = EventQueue::new();
    for (second, what) in [(2, "c"), (1, "a"), (2, "d"), (1, "b"), (9, "late")] {
        queue.enter(Instant::from_secs(second), what);
    }
    let end = Instant::from_secs(2);
    let found: Vec<_> = std::iter::from_fn(|| queue.next_until(end)).map(|(_, w)| w).collect();
    assert_eq!(found, ["a", "b", "c", "d"]);
}
