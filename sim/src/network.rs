//! The network as QUIC shows it to a driver: connections with three lanes of frames, each in
//! order, that take time, stall and end. What QUIC hides (loss, duplication, reordering of
//! packets) appears as what is left of it: delay, and frames of different lanes overtaking each
//! other. Modelled on `spec/transport.md`; what is not is said in `spec/faults.md`.

mod handshake;
mod lanes;
mod link;
mod packet;
mod paths;
mod silence;
mod stream;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use proto::{Instant, Lane, Peer};

use crate::{event_queue::EventQueue, rng::Rng, scenario::Weather};

use self::{
    link::{Link, State},
    packet::Way,
    paths::Paths,
};

pub(crate) use packet::{Call, HostId, LinkEnd, LinkId, Notice, Packet, Port, Side};

/// All hosts and what is between them.
#[derive(Debug)]
pub(crate) struct Network {
    paths: Paths,
    /// Those that are not over at both sides.
    links: BTreeMap<LinkId, Link>,
    dialled: u64,
}

impl Network {
    pub(crate) fn new(weather: Weather, rng: Rng) -> Self {
        Self { paths: Paths::new(weather, rng), links: BTreeMap::new(), dialled: 0 }
    }

    /// Adds a host, which is down; says its address.
    pub(crate) fn add(&mut self, port: Port) -> (HostId, SocketAddr) {
        self.paths.add(port, None)
    }

    /// Adds a host, which is down, at this address.
    pub(crate) fn add_at(&mut self, port: Port, address: SocketAddr) -> HostId {
        self.paths.add(port, Some(address)).0
    }

    /// The address of a host.
    pub(crate) fn address(&self, host: HostId) -> Option<SocketAddr> {
        self.paths.address(host)
    }

    /// Returns whether this peer could be dialled at one of these addresses, and how long it takes
    /// to find out.
    pub(crate) fn try_dial(
        &self,
        from: HostId,
        peer: &Peer,
        addresses: &[SocketAddr],
    ) -> (bool, Duration) {
        let hosts = addresses.iter().filter_map(|address| self.paths.at(*address));
        let mut there = hosts.filter(|host| {
            let port = self.paths.port(*host).filter(|port| port.reachable);
            port.is_some_and(|port| port.key == Some(*peer))
                && self.paths.is_up(*host)
                && self.paths.severed(from, *host).is_none()
        });
        let found = there.next();
        (found.is_some(), found.map_or(TRY_MAX, |host| self.paths.round_trip(from, host)))
    }

    /// The process of a host runs and answers.
    pub(crate) fn rise<T: From<Packet>>(
        &mut self,
        host: HostId,
        now: Instant,
        a: &mut EventQueue<T>,
    ) {
        self.paths.rise(host);
        for id in self.paths.links(host) {
            self.on(id, |link, paths| link.other_is_back(host, now, paths));
        }
        self.paths.flush(a);
    }

    /// The process of a host is gone without a word; its own connections are forgotten at once.
    /// What left it is still on its way.
    pub(crate) fn die<T: From<Packet>>(
        &mut self,
        host: HostId,
        now: Instant,
        a: &mut EventQueue<T>,
    ) {
        self.end(host, |_| true, now, a);
    }

    /// The process of a host has closed all connections and ends once that has left.
    pub(crate) fn stop<T: From<Packet>>(
        &mut self,
        host: HostId,
        now: Instant,
        a: &mut EventQueue<T>,
    ) {
        self.end(host, |state| state != State::Leaving, now, a);
    }

    fn end<T: From<Packet>>(
        &mut self,
        host: HostId,
        dies: impl Fn(State) -> bool,
        now: Instant,
        queue: &mut EventQueue<T>,
    ) {
        self.paths.die(host);
        for id in self.paths.links(host) {
            self.on(id, |link, paths| link.host_died(host, &dies, now, paths));
        }
        self.paths.flush(queue);
    }

    /// Dials; `Connected` or `NotConnected` follows, unless the dialler dies.
    pub(crate) fn dial<T: From<Packet>>(
        &mut self,
        call: Call,
        now: Instant,
        a: &mut EventQueue<T>,
    ) {
        let id = LinkId(self.dialled);
        self.dialled = self.dialled.saturating_add(1);
        if let Some(link) = Link::dial(id, call, now, &mut self.paths) {
            self.paths.join(call.from, id);
            self.links.insert(id, link);
        }
        self.paths.flush(a);
    }

    /// Sends a frame; dropped if the connection is over for this side.
    pub(crate) fn send<T: From<Packet>>(
        &mut self,
        end: LinkEnd,
        lane: Lane,
        bytes: Vec<u8>,
        now: Instant,
        queue: &mut EventQueue<T>,
    ) {
        self.on(end.link, |link, paths| link.send(end.side, lane, bytes, now, paths));
        self.paths.flush(queue);
    }

    /// Closes a connection after what was sent before; for this side it is over at once, without
    /// a notice.
    pub(crate) fn hang_up<T: From<Packet>>(
        &mut self,
        end: LinkEnd,
        now: Instant,
        queue: &mut EventQueue<T>,
    ) {
        self.on(end.link, |link, paths| link.hang_up(end.side, now, paths));
        self.paths.flush(queue);
    }

    /// From now on these hosts and all others don't hear each other. `cut` names it; one that
    /// there is already stays as it is.
    pub(crate) fn cut<T: From<Packet>>(
        &mut self,
        cut: usize,
        hosts: &[HostId],
        now: Instant,
        queue: &mut EventQueue<T>,
    ) {
        self.paths.cut(cut, hosts, now);
        for id in self.severed_links(cut) {
            self.on(id, |link, paths| link.falter(now, paths));
        }
        self.paths.flush(queue);
    }

    /// Ends a cut.
    pub(crate) fn heal<T: From<Packet>>(
        &mut self,
        cut: usize,
        now: Instant,
        a: &mut EventQueue<T>,
    ) {
        let links = self.severed_links(cut);
        let lasted = self.paths.heal(cut, now);
        for id in links {
            self.on(id, |link, paths| link.heal(lasted, now, paths));
        }
        self.paths.flush(a);
    }

    /// The host at the other end of a connection.
    pub(crate) fn other(&self, end: LinkEnd) -> Option<HostId> {
        let link = self.links.get(&end.link)?;
        Some(match end.side {
            Side::Dialler => link.listener.host,
            Side::Listener => link.dialler.host,
        })
    }

    /// Sets which part of a host's packets is lost besides the weather's.
    pub(crate) fn worsen(&mut self, host: HostId, loss: f64) {
        self.paths.worsen(host, loss);
    }

    /// What became of something that was on its way.
    pub(crate) fn pass<T: From<Packet>>(
        &mut self,
        packet: Packet,
        now: Instant,
        queue: &mut EventQueue<T>,
    ) -> Option<Notice> {
        match packet.0 {
            Way::Unanswered { host, life, peer } => {
                self.paths.is_alive(host, life).then_some(Notice::NotConnected { host, peer })
            }
            Way::On { link, side, what } => {
                let notice = self.on(link, |link, paths| link.pass(side, what, now, paths));
                self.paths.flush(queue);
                notice.flatten()
            }
        }
    }

    /// The longest time until a side learns that a connection is over.
    pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(80);

    /// Does something to a link, if it is still there, and forgets it if it is over then.
    fn on<R>(&mut self, id: LinkId, act: impl FnOnce(&mut Link, &mut Paths) -> R) -> Option<R> {
        let link = self.links.get_mut(&id)?;
        let result = act(link, &mut self.paths);
        if link.is_over() {
            for host in link.hosts() {
                self.paths.leave(host, id);
            }
            self.links.remove(&id);
        }
        Some(result)
    }

    /// The links whose hosts don't hear each other, of those that this cut may have to do with.
    fn severed_links(&self, cut: usize) -> Vec<LinkId> {
        let hosts = self.paths.hosts_in(cut).iter();
        let mut ids: Vec<_> = hosts.flat_map(|host| self.paths.links(*host)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| self.links.get(id).is_some_and(|link| link.severed(&self.paths).is_some()));
        ids
    }
}

/// How long a driver tries to dial.
const TRY_MAX: Duration = Duration::from_secs(3);
