//! A small bounded map; the least recently touched entry is evicted.

use std::collections::VecDeque;

/// Values by the first eight bytes of a name. A collision takes 2^64 tries, and the map is so small
/// that a linear search is fast.
#[derive(Debug)]
pub(super) struct Recent<V> {
    /// The most recently touched entry is at the back.
    entries: VecDeque<(u64, V)>,
    most: usize,
}

impl<V> Recent<V> {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: VecDeque::with_capacity(most), most }
    }

    pub(super) fn get(&self, key: u64) -> Option<&V> {
        self.entries.iter().rev().find(|(at, _)| *at == key).map(|(_, value)| value)
    }

    /// Returns a value and marks it as the most recently touched.
    pub(super) fn touch(&mut self, key: u64) -> Option<&mut V> {
        let at = self.entries.iter().rposition(|(at, _)| *at == key)?;
        let entry = self.entries.remove(at)?;
        self.entries.push_back(entry);
        self.entries.back_mut().map(|(_, value)| value)
    }

    /// Inserts or replaces a value.
    pub(super) fn put(&mut self, key: u64, value: V) {
        if let Some(known) = self.touch(key) {
            *known = value;
            return;
        }
        if self.entries.len() >= self.most {
            self.entries.pop_front();
        }
        self.entries.push_back((key, value));
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn state_bytes(&self) -> usize {
        self.entries.capacity().saturating_mul(size_of::<(u64, V)>())
    }
}

/// Returns the key of a name.
pub(super) fn short(name: &[u8]) -> u64 {
    u64::from_be_bytes(*name.first_chunk().unwrap_or(&[0; 8]))
}

#[test]
fn the_least_recently_touched_is_evicted() {
    let mut recent = Recent::new(2);
    recent.put(1, 'a');
    recent.put(2, 'b');
    assert_eq!(recent.touch(1), Some(&mut 'a'));
    recent.put(3, 'c');
    assert_eq!((recent.get(1), recent.get(2), recent.get(3)), (Some(&'a'), None, Some(&'c')));
    recent.put(3, 'd');
    assert_eq!((recent.get(3), recent.len()), (Some(&'d'), 2));
}
