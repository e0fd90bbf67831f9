//! A bounded map of recently seen addresses; the least recently seen is evicted.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use proto::Instant;

/// The values of recently seen addresses.
#[derive(Debug)]
pub(super) struct Recent<V> {
    entries: BTreeMap<SocketAddr, Entry<V>>,
    /// The addresses by when they were last seen.
    order: BTreeMap<u64, SocketAddr>,
    /// Grows by one each time.
    turn: u64,
    max: usize,
    age_max: Duration,
}

#[derive(Debug)]
struct Entry<V> {
    turn: u64,
    seen: Instant,
    value: V,
}

impl<V> Recent<V> {
    /// Holds at most `max` addresses, each for at most `age_max` after it was last seen.
    pub(super) fn new(max: usize, age_max: Duration) -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), turn: 0, max, age_max }
    }

    /// Marks a known address as the most recently seen, and returns its value.
    pub(super) fn touch(&mut self, address: SocketAddr, now: Instant) -> Option<&mut V> {
        self.expire(now);
        let entry = self.entries.get_mut(&address)?;
        self.order.remove(&entry.turn);
        self.turn = self.turn.saturating_add(1);
        self.order.insert(self.turn, address);
        (entry.turn, entry.seen) = (self.turn, now);
        Some(&mut entry.value)
    }

    /// Inserts an address as the most recently seen.
    pub(super) fn insert(&mut self, address: SocketAddr, value: V, now: Instant) {
        self.remove(&address);
        while self.entries.len() >= self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.turn = self.turn.saturating_add(1);
        self.order.insert(self.turn, address);
        self.entries.insert(address, Entry { turn: self.turn, seen: now, value });
    }

    /// Returns the value of a known address, without marking it as seen.
    pub(super) fn get(&mut self, address: &SocketAddr, now: Instant) -> Option<&mut V> {
        self.expire(now);
        self.entries.get_mut(address).map(|entry| &mut entry.value)
    }

    /// Removes the addresses that were not seen for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.order.first_entry()
            && self
                .entries
                .get(oldest.get())
                .is_none_or(|entry| now.since(entry.seen) >= self.age_max)
        {
            self.entries.remove(&oldest.remove());
        }
    }

    fn remove(&mut self, address: &SocketAddr) {
        if let Some(entry) = self.entries.remove(address) {
            self.order.remove(&entry.turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn known(recent: &mut Recent<u16>, now: Instant) -> Vec<u16> {
        (0..9).filter(|port| recent.get(&address(*port), now).is_some()).collect()
    }

    #[test]
    fn the_least_recent_is_evicted() {
        let (mut recent, now) =
            (Recent::new(3, Duration::from_secs(60)), Instant::from_secs(1_800_000_000));
        for port in [1, 2, 3] {
            recent.insert(address(port), port, now);
        }
        assert_eq!(recent.touch(address(1), now), Some(&mut 1));
        assert_eq!(recent.touch(address(7), now), None);
        assert!(recent.get(&address(2), now).is_some(), "get makes nothing recent");
        recent.insert(address(4), 4, now);
        assert_eq!(known(&mut recent, now), [1, 3, 4]);
        recent.insert(address(3), 3, now);
        recent.insert(address(5), 5, now);
        assert_eq!(known(&mut recent, now), [3, 4, 5]);
        assert_eq!(recent.order.len(), recent.entries.len());
    }

    #[test]
    fn silent_addresses_are_removed() {
        let (mut recent, start) =
            (Recent::new(3, Duration::from_secs(60)), Instant::from_secs(1_800_000_000));
        let at = |seconds| start.after(Duration::from_secs(seconds));
        recent.insert(address(1), 1, at(0));
        recent.insert(address(2), 2, at(1));
        recent.touch(address(1), at(30));
        assert_eq!(known(&mut recent, at(60)), [1, 2]);
        assert_eq!(known(&mut recent, at(61)), [1]);
        assert_eq!(recent.touch(address(1), at(90)), None);
        assert!(recent.order.is_empty() && recent.entries.is_empty());
    }
}
