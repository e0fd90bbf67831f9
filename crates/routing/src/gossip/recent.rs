//! A memory of few things: the one that was touched longest ago makes room.

use std::collections::VecDeque;

/// Values remembered under the first eight bytes of an id. Making two ids collide takes 2^64 tries,
/// and there are so few that a linear search is quick.
#[derive(Debug)]
pub(super) struct Recent<V> {
    /// The one touched last is at the back.
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

    /// Looks a record up and returns the newest.
    pub(super) fn touch(&mut self, key: u64) -> Option<&mut V> {
        let at = self.entries.iter().rposition(|(at, _)| *at == key)?;
        let entry = self.entries.remove(at)?;
        self.entries.push_back(entry);
        self.entries.back_mut().map(|(_, value)| value)
    }

    /// Remembers something new, or something else of what is known.
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

/// The key of a name.
pub(super) fn short(name: &[u8]) -> u64 {
    u64::from_be_bytes(*name.first_chunk().unwrap_or(&[0; 8]))
}

#[test]
fn what_was_touched_longest_ago_makes_room() {
    let mut recent = Recent::new(2);
    recent.put(1, 'a');
    recent.put(2, 'b');
    assert_eq!(recent.touch(1), Some(&mut 'a'));
    recent.put(3, 'c');
    assert_eq!((recent.get(1), recent.get(2), recent.get(3)), (Some(&'a'), None, Some(&'c')));
    recent.put(3, 'd');
    assert_eq!((recent.get(3), recent.len()), (Some(&'d'), 2));
}
