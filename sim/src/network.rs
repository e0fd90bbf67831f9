//! The network as QUIC shows it to a driver: connections with three lanes of frames, each in
//! order, that take time, stall and end. What QUIC hides (loss, duplication, reordering of
//! packets) appears as what is left of it: delay, and frames of different lanes overtaking each
//! other. Modelled on `spec/transport.md`; what is not is said in `spec/faults.md`.

mod handshake;
mod lanes;
mod link;
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
    paths::Paths,
    stream::Flying,
};

/// A host: a machine on the network. Numbered from 0 as they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostId(pub(crate) u32);

/// One connection. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Dialler,
    Listener,
}

/// What a driver must be told.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The connection stands, as this side sees it; frames may be sent. `peer` has proved its key.
    Connected { host: HostId, link: LinkId, side: Side, peer: Peer },
    /// A dial failed: nobody answered, or somebody else.
    NotConnected { host: HostId, peer: Peer },
    /// A frame has arrived, as its bytes.
    Arrived { host: HostId, link: LinkId, bytes: Vec<u8> },
    /// The connection is over for this side.
    Ended { host: HostId, link: LinkId },
}

impl Notice {
    /// Who must be told.
    pub(crate) fn host(&self) -> HostId {
        match self {
            Self::Connected { host, .. }
            | Self::NotConnected { host, .. }
            | Self::Arrived { host, .. }
            | Self::Ended { host, .. } => *host,
        }
    }
}

/// What is on its way; only the network knows what it means.
#[derive(Debug)]
pub(crate) struct Packet(Way);

#[derive(Debug)]
enum Way {
    /// A dial has failed, as far as this life of the host can tell.
    Nobody { host: HostId, life: u32, peer: Peer },
    /// Something on a link; nothing if that is over. `side` has said it, or it is for `side`.
    On { link: LinkId, side: Side, what: What },
}

/// What is on its way on a link.
#[derive(Debug)]
enum What {
    /// The dialler's first packet.
    Hello,
    /// What the listener says to it.
    Answer {
        departs: Instant,
    },
    /// What the dialler says to that, and with which the listener is connected.
    Finish {
        departs: Instant,
    },
    Frame(Flying),
    /// The side has ended the connection: after all it had sent, if `flushed`.
    Bye {
        departs: Instant,
        flushed: bool,
    },
    /// After a cut, what was stuck is sent again.
    Release,
    /// For a side that may have to give up then. Stale if it is to look at another time.
    Check {
        due: Instant,
    },
    /// For a side: the other host knows no such connection.
    Reset,
    /// For a side that must still be told that its connection is over.
    Over,
}

/// A host to add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    /// The key that it proves when dialled.
    pub(crate) key: Option<Peer>,
    /// Others can dial it.
    pub(crate) reachable: bool,
    /// Bits a second each way. 0 is without limit.
    pub(crate) bps: u64,
}

/// Somebody dials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) from: HostId,
    /// The key that the dialler proves.
    pub(crate) own: Peer,
    pub(crate) to: SocketAddr,
    /// Whose key is expected there.
    pub(crate) peer: Peer,
}

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

    /// Whether this peer could be dialled at one of these addresses, and how long it takes to find
    /// out.
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

    /// The process of a host has hung up on everybody and ends once that has left.
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
        (link, side): (LinkId, Side),
        lane: Lane,
        bytes: Vec<u8>,
        now: Instant,
        queue: &mut EventQueue<T>,
    ) {
        self.on(link, |link, paths| link.send(side, lane, bytes, now, paths));
        self.paths.flush(queue);
    }

    /// Closes a connection after what was sent before; for this side it is over at once, without
    /// a notice.
    pub(crate) fn hang_up<T: From<Packet>>(
        &mut self,
        (link, side): (LinkId, Side),
        now: Instant,
        queue: &mut EventQueue<T>,
    ) {
        self.on(link, |link, paths| link.hang_up(side, now, paths));
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
    pub(crate) fn other(&self, link: LinkId, side: Side) -> Option<HostId> {
        let link = self.links.get(&link)?;
        Some(match side {
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
            Way::Nobody { host, life, peer } => {
                self.paths.is_alive(host, life).then_some(Notice::NotConnected { host, peer })
            }
            Way::On { link, side, what } => {
                let notice = self.on(link, |link, paths| link.pass(side, what, now, paths));
                self.paths.flush(queue);
                notice.flatten()
            }
        }
    }

    /// The longest time that somebody may take to learn that a connection is over.
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
