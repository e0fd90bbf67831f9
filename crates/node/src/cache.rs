//! A bounded mirror of rows by number.

use std::collections::BTreeMap;

use proto::Gauge;

/// Values of recently used rows. Dropping one loses nothing: code that changes a value writes its
/// row in the same step.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    items: BTreeMap<u64, (u64, T)>,
    tick: u64,
    max: usize,
}

impl<T> Cache<T> {
    /// Holds up to `max` values.
    pub(crate) fn new(max: usize) -> Self {
        Self { items: BTreeMap::new(), tick: 0, max }
    }

    pub(crate) fn gauge(&self, name: &'static str) -> Gauge {
        Gauge::new(name, self.items.len(), self.max)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.items.values().map(|(_, value)| value)
    }

    /// Returns the value of `number`, loaded from its row if it isn't cached.
    pub(crate) fn get(&mut self, number: u64, load: impl FnOnce() -> Option<T>) -> Option<&mut T> {
        self.tick = self.tick.saturating_add(1);
        if !self.items.contains_key(&number) {
            let value = load()?;
            self.insert(number, value);
        }
        let (used, value) = self.items.get_mut(&number)?;
        *used = self.tick;
        Some(value)
    }

    /// Adds a value whose row is being written.
    pub(crate) fn insert(&mut self, number: u64, value: T) {
        if self.items.len() >= self.max {
            self.shed();
        }
        self.items.insert(number, (self.tick, value));
    }

    /// Forgets a value whose row is gone.
    pub(crate) fn remove(&mut self, number: u64) {
        self.items.remove(&number);
    }

    /// Drops the less recently used half. That is rare, so using a value costs no bookkeeping.
    fn shed(&mut self) {
        let mut ticks: Vec<u64> = self.items.values().map(|(used, _)| *used).collect();
        let middle = ticks.len() / 2;
        let (_, median, _) = ticks.select_nth_unstable(middle);
        let median = *median;
        self.items.retain(|_, (used, _)| *used > median);
    }
}

#[test]
fn holds_what_was_used_last_and_loads_the_rest_again() {
    let mut cache = Cache::new(4);
    for number in 0..4 {
        cache.get(number, || Some(number));
    }
    assert_eq!(cache.get(0, || None), Some(&mut 0));
    cache.get(9, || Some(9));
    assert_eq!(cache.get(0, || None), Some(&mut 0), "just used");
    assert_eq!(cache.get(1, || None), None, "shed");
    assert_eq!(cache.get(1, || Some(1)), Some(&mut 1), "loaded again");
    for number in 0..1000 {
        cache.insert(number, number);
        assert!(cache.items.len() <= 4);
    }
}
