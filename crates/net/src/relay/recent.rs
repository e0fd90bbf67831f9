//! Addresses that were heard of lately: a bounded number, of which the least recent gives way.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// What is known of each address.
#[derive(Debug)]
pub(super) struct Recent<V> {
    entries: BTreeMap<SocketAddr, Entry<V>>,
    /// The addresses by when they were last heard of.
    order: BTreeMap<u64, SocketAddr>,
    /// Grows by one each time.
    turn: u64,
    max: usize,
    age_max: Duration,
}

#[derive(Debug)]
struct Entry<V> {
    turn: u64,
    heard: Instant,
    value: V,
}

impl<V> Recent<V> {
    /// Of at most `max` addresses, each forgotten after `age_max` of silence.
    pub(super) fn new(max: usize, age_max: Duration) -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), turn: 0, max, age_max }
    }

    /// Hears of an address. It is now the most recent; if it is not known, nothing changes.
    pub(super) fn hear(&mut self, address: SocketAddr, now: Instant) -> Option<&mut V> {
        self.expire(now);
        let entry = self.entries.get_mut(&address)?;
        self.order.remove(&entry.turn);
        self.turn = self.turn.saturating_add(1);
        self.order.insert(self.turn, address);
        (entry.turn, entry.heard) = (self.turn, now);
        Some(&mut entry.value)
    }

    /// Hears of an address for the first time.
    pub(super) fn insert(&mut self, address: SocketAddr, value: V, now: Instant) {
        self.forget(&address);
        while self.entries.len() >= self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.turn = self.turn.saturating_add(1);
        self.order.insert(self.turn, address);
        self.entries.insert(address, Entry { turn: self.turn, heard: now, value });
    }

    /// Looks up an address that is known; it becomes no more recent.
    pub(super) fn get(&mut self, address: &SocketAddr, now: Instant) -> Option<&mut V> {
        self.expire(now);
        self.entries.get_mut(address).map(|entry| &mut entry.value)
    }

    /// Forgets those that were silent for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.order.first_entry()
            && self
                .entries
                .get(oldest.get())
                .is_none_or(|entry| now.saturating_duration_since(entry.heard) >= self.age_max)
        {
            self.entries.remove(&oldest.remove());
        }
    }

    fn forget(&mut self, address: &SocketAddr) {
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
    fn the_least_recent_gives_way() {
        let (mut recent, now) = (Recent::new(3, Duration::from_secs(60)), Instant::now());
        for port in [1, 2, 3] {
            recent.insert(address(port), port, now);
        }
        assert_eq!(recent.hear(address(1), now), Some(&mut 1));
        assert_eq!(recent.hear(address(7), now), None);
        assert!(recent.get(&address(2), now).is_some(), "a look makes nothing recent");
        recent.insert(address(4), 4, now);
        assert_eq!(known(&mut recent, now), [1, 3, 4]);
        recent.insert(address(3), 3, now);
        recent.insert(address(5), 5, now);
        assert_eq!(known(&mut recent, now), [3, 4, 5]);
        assert_eq!(recent.order.len(), recent.entries.len());
    }

    #[test]
    fn who_is_silent_is_forgotten() {
        let (mut recent, start) = (Recent::new(3, Duration::from_secs(60)), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        recent.insert(address(1), 1, at(0));
        recent.insert(address(2), 2, at(1));
        recent.hear(address(1), at(30));
        assert_eq!(known(&mut recent, at(60)), [1, 2]);
        assert_eq!(known(&mut recent, at(61)), [1]);
        assert_eq!(recent.hear(address(1), at(90)), None);
        assert!(recent.order.is_empty() && recent.entries.is_empty());
    }
}
