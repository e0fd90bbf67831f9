//! Connections between hosts.

use std::net::SocketAddr;

use proto::{Input, Machine, Peer};

use super::{Event, Link, Net, RELAYED, Sent};

impl<M: Machine> Net<M> {
    /// Ends the connections between two hosts, and allows no others; or allows them again.
    pub fn set_cut(&mut self, a: usize, b: usize, cut: bool) {
        if cut {
            self.cut.insert((a.min(b), a.max(b)));
            self.disconnect(a, b);
        } else {
            self.cut.remove(&(a.min(b), a.max(b)));
            self.redial(|_| true);
        }
    }

    /// Allows all connections again.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.redial(|_| true);
    }

    /// Ends the connections between two hosts. What is on its way is lost, and both notice at once.
    pub fn disconnect(&mut self, a: usize, b: usize) {
        self.purge(|sent| (sent.from, sent.to) == (a, b) || (sent.from, sent.to) == (b, a));
        for (at, other) in [(a, b), (b, a)] {
            let links = self.ends[at].links.iter().filter(|(_, link)| link.other == other);
            let links: Vec<_> = links.map(|(peer, link)| (*peer, link.id)).collect();
            for (peer, link) in links {
                self.happen((self.now, 0), Event::Down { at, peer, link });
            }
        }
    }

    /// Dials what is wanted and not connected, as far as it is one of these hosts.
    pub(super) fn redial(&mut self, is_meant: impl Fn(usize) -> bool) {
        for from in 0..self.hosts.len() {
            let is_missing = |peer: &Peer| {
                let to = self.by_key.get(peer);
                to.is_some_and(|to| is_meant(*to)) && !self.ends[from].links.contains_key(peer)
            };
            let wanted = self.hosts[from].wanted.keys().copied();
            let missing: Vec<_> = wanted.filter(is_missing).collect();
            for peer in missing {
                self.schedule(self.latency * 2, Event::Dial { from, peer });
            }
        }
    }

    pub(super) fn dial(&mut self, from: usize, peer: Peer) {
        let Some(to) = self.by_key.get(&peer).copied() else { return };
        let Some(addresses) = self.hosts[from].wanted.get(&peer) else { return };
        let is_up = |host: usize| self.hosts[host].machine.is_some();
        let is_cut = self.cut.contains(&(from.min(to), from.max(to)));
        if is_cut || !is_up(from) || !is_up(to) || !self.can_dial(to, addresses) {
            return;
        }
        if !self.replaces && self.ends[from].links.contains_key(&peer) {
            return;
        }
        let own = self.key(from, &peer);
        for (at, other) in [(to, own), (from, peer)] {
            if self.ends[at].links.remove(&other).is_some() {
                self.input(at, Input::Disconnected(other));
            }
        }
        self.counter += 1;
        let link = self.counter;
        self.ends[from].links.insert(peer, Link { id: link, other: to, own });
        self.ends[to].links.insert(own, Link { id: link, other: from, own: peer });
        self.schedule(self.latency, Event::Up { at: from, peer, link });
        self.input(to, Input::Connected(own, self.ends[from].address));
    }

    pub(super) fn can_dial(&self, to: usize, addresses: &[SocketAddr]) -> bool {
        !self.ends[to].is_hidden || addresses.iter().any(|address| address.port() == RELAYED)
    }

    pub(super) fn has_link(&self, at: usize, peer: &Peer, id: u64) -> bool {
        self.ends[at].links.get(peer).is_some_and(|link| link.id == id)
    }

    pub(super) fn hang_up(&mut self, host: usize, peer: Peer) {
        let Some(link) = self.ends[host].links.remove(&peer) else { return };
        self.ended += 1;
        let down = Event::Down { at: link.other, peer: link.own, link: link.id };
        self.schedule(self.latency, down);
        self.input(host, Input::Disconnected(peer));
    }

    pub(super) fn purge(&mut self, is_lost: impl Fn(&Sent) -> bool) {
        let stays = |event: &Event| !matches!(event, Event::Frame { sent, .. } if is_lost(sent));
        self.queue.retain(|_, event| stays(event));
        self.on_hold.retain(|_, event| stays(event));
    }
}
