//! Where hosts are and what is between them: latency, loss, bandwidth, cuts.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use proto::Instant;

use crate::{event_queue::EventQueue, rng::Rng, scenario::Weather};

use super::packet::{HostId, LinkId, Packet, Port, Side, Way, What};

#[derive(Debug)]
pub(super) struct Paths {
    hosts: Vec<Host>,
    addresses: BTreeMap<SocketAddr, HostId>,
    regions: Vec<Region>,
    cuts: BTreeMap<usize, Cut>,
    weather: Weather,
    rng: Rng,
    /// For the queue, when the present call is done.
    entries: Vec<(Instant, Packet)>,
}

#[derive(Debug)]
struct Region {
    /// One way from here to each region.
    away: Vec<Duration>,
    hosts: u32,
}

#[derive(Debug)]
struct Host {
    port: Port,
    address: SocketAddr,
    region: usize,
    is_up: bool,
    /// Counts its deaths.
    life: u32,
    /// Which part of its packets is lost besides the weather's.
    loss: f64,
    /// What it says before this instant waits for what it said earlier.
    uplink: Instant,
    /// As [`Self::uplink`], for what is said to it.
    downlink: Instant,
    /// The cuts that it is in, in order.
    cuts: Vec<usize>,
    links: BTreeSet<LinkId>,
}

#[derive(Debug)]
struct Cut {
    hosts: Vec<HostId>,
    since: Instant,
}

/// How something gets to the other host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    /// When that of it which arrives last has left for the last time. If the sender dies before,
    /// or the path is cut, it does not arrive.
    pub(super) departs: Instant,
    pub(super) arrives: Instant,
    /// How long it took to notice losses.
    pub(super) stalled: Duration,
    /// Bytes at the receiver, with duplicates.
    pub(super) load: usize,
}

impl Paths {
    pub(super) fn new(weather: Weather, mut rng: Rng) -> Self {
        let count = weather.regions.clamp(1, REGIONS_MAX);
        let regions = (0..count)
            .map(|from| {
                let mut base = |to| {
                    let [least, most] = if from == to { weather.near } else { weather.far };
                    rng.between(least.0, most.0)
                };
                Region { away: (0..count).map(&mut base).collect(), hosts: 0 }
            })
            .collect();
        let (hosts, addresses, cuts, entries) = Default::default();
        Self { hosts, addresses, regions, cuts, weather, rng, entries }
    }

    // The queue.

    pub(super) fn enter(&mut self, due: Instant, link: LinkId, side: Side, what: What) {
        self.entries.push((due, Packet(Way::On { link, side, what })));
    }

    pub(super) fn enter_way(&mut self, due: Instant, way: Way) {
        self.entries.push((due, Packet(way)));
    }

    pub(super) fn flush<T: From<Packet>>(&mut self, queue: &mut EventQueue<T>) {
        for (due, packet) in self.entries.drain(..) {
            queue.enter(due, T::from(packet));
        }
    }

    // Hosts.

    pub(super) fn add(&mut self, port: Port, at: Option<SocketAddr>) -> (HostId, SocketAddr) {
        let id = HostId(u32::try_from(self.hosts.len()).unwrap_or(u32::MAX));
        let region = self.rng.index(self.regions.len());
        let number = self.regions.get_mut(region).map_or(0, |region| {
            region.hosts = region.hosts.saturating_add(1);
            region.hosts.saturating_sub(1)
        });
        let address = at.unwrap_or_else(|| address(region, number));
        self.addresses.insert(address, id);
        let (uplink, downlink) = Default::default();
        let (cuts, links) = Default::default();
        let (is_up, life, loss) = (false, 0, 0.0);
        self.hosts.push(Host {
            port,
            address,
            region,
            is_up,
            life,
            loss,
            uplink,
            downlink,
            cuts,
            links,
        });
        (id, address)
    }

    fn host(&self, host: HostId) -> Option<&Host> {
        self.hosts.get(usize::try_from(host.0).ok()?)
    }

    fn host_mut(&mut self, host: HostId) -> Option<&mut Host> {
        self.hosts.get_mut(usize::try_from(host.0).ok()?)
    }

    pub(super) fn at(&self, address: SocketAddr) -> Option<HostId> {
        self.addresses.get(&address).copied()
    }

    pub(super) fn address(&self, host: HostId) -> Option<SocketAddr> {
        self.host(host).map(|host| host.address)
    }

    pub(super) fn port(&self, host: HostId) -> Option<Port> {
        self.host(host).map(|host| host.port)
    }

    pub(super) fn rise(&mut self, host: HostId) {
        if let Some(host) = self.host_mut(host) {
            host.is_up = true;
        }
    }

    /// What waited to leave is gone with the host.
    pub(super) fn die(&mut self, host: HostId) {
        if let Some(host) = self.host_mut(host) {
            host.is_up = false;
            host.life = host.life.saturating_add(1);
            (host.uplink, host.downlink) = Default::default();
        }
    }

    pub(super) fn is_up(&self, host: HostId) -> bool {
        self.host(host).is_some_and(|host| host.is_up)
    }

    pub(super) fn life(&self, host: HostId) -> u32 {
        self.host(host).map_or(0, |host| host.life)
    }

    pub(super) fn is_alive(&self, host: HostId, life: u32) -> bool {
        self.host(host).is_some_and(|host| host.is_up && host.life == life)
    }

    pub(super) fn worsen(&mut self, host: HostId, loss: f64) {
        if let Some(host) = self.host_mut(host) {
            host.loss = loss;
        }
    }

    pub(super) fn join(&mut self, host: HostId, link: LinkId) {
        if let Some(host) = self.host_mut(host) {
            host.links.insert(link);
        }
    }

    pub(super) fn leave(&mut self, host: HostId, link: LinkId) {
        if let Some(host) = self.host_mut(host) {
            host.links.remove(&link);
        }
    }

    pub(super) fn links(&self, host: HostId) -> Vec<LinkId> {
        self.host(host).map(|host| host.links.iter().copied().collect()).unwrap_or_default()
    }

    // Cuts.

    pub(super) fn cut(&mut self, cut: usize, hosts: &[HostId], now: Instant) {
        if self.cuts.contains_key(&cut) {
            return;
        }
        self.cuts.insert(cut, Cut { hosts: hosts.to_vec(), since: now });
        for id in hosts {
            if let Some(host) = self.host_mut(*id)
                && let Err(place) = host.cuts.binary_search(&cut)
            {
                host.cuts.insert(place, cut);
            }
        }
    }

    /// Ends a cut; returns how long it lasted.
    pub(super) fn heal(&mut self, cut: usize, now: Instant) -> Duration {
        let Some(Cut { hosts, since }) = self.cuts.remove(&cut) else { return Duration::ZERO };
        for id in hosts {
            if let Some(host) = self.host_mut(id) {
                host.cuts.retain(|other| *other != cut);
            }
        }
        now.since(since)
    }

    pub(super) fn hosts_in(&self, cut: usize) -> &[HostId] {
        self.cuts.get(&cut).map_or(&[], |cut| &cut.hosts)
    }

    /// Since when these don't hear each other, if so.
    pub(super) fn severed(&self, a: HostId, b: HostId) -> Option<Instant> {
        let (a, b) = (&self.host(a)?.cuts, &self.host(b)?.cuts);
        if a == b {
            return None;
        }
        let only_a = a.iter().filter(|cut| !b.contains(cut));
        let only_b = b.iter().filter(|cut| !a.contains(cut));
        only_a.chain(only_b).filter_map(|cut| Some(self.cuts.get(cut)?.since)).min()
    }

    // Time.

    /// One way, at best.
    pub(super) fn base(&self, from: HostId, to: HostId) -> Duration {
        let base = || {
            let region = self.regions.get(self.host(from)?.region)?;
            region.away.get(self.host(to)?.region).copied()
        };
        base().unwrap_or_default()
    }

    /// There and back, at best.
    pub(super) fn round_trip(&self, a: HostId, b: HostId) -> Duration {
        self.base(a, b).saturating_add(self.base(b, a))
    }

    /// A random time up to this.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        self.rng.between(Duration::ZERO, most)
    }

    /// A small packet that waits behind nothing.
    pub(super) fn signal(&mut self, from: HostId, to: HostId, now: Instant) -> Flight {
        let (stalled, _) = self.losses(from, to, 1);
        let departs = now.after(stalled);
        Flight { departs, arrives: departs.after(self.transit(from, to, 1)), stalled, load: 0 }
    }

    /// Something of this size, behind all that the host says.
    pub(super) fn fly(&mut self, from: HostId, to: HostId, size: usize, now: Instant) -> Flight {
        let packets = size.div_ceil(PACKET).max(1);
        let (stalled, again) = self.losses(from, to, packets);
        let duplicates = self.count(packets, self.weather.duplication);
        let load = size.saturating_add(duplicates.saturating_mul(PACKET));
        let sent = load.saturating_add(again.saturating_mul(PACKET));
        let mut departs = now;
        if let Some(host) = self.host_mut(from) {
            host.uplink = host.uplink.max(now).after(host.takes(sent));
            departs = host.uplink;
        }
        departs = departs.after(stalled);
        let takes = self.host(to).map(|host| host.takes(load)).unwrap_or_default();
        let arrives = departs.after(self.transit(from, to, packets)).after(takes);
        Flight { departs, arrives, stalled, load }
    }

    /// Returns when something that has arrived will be through the receiver's downlink, unless it
    /// is through already.
    pub(super) fn admit(&mut self, to: HostId, load: usize, now: Instant) -> Option<Instant> {
        let host = self.host_mut(to)?;
        let through = host.downlink.after(host.takes(load));
        let late = through > now;
        host.downlink = through.max(now);
        late.then_some(through)
    }

    /// The time that the losses of so many packets cost, and how many were sent again.
    fn losses(&mut self, from: HostId, to: HostId, packets: usize) -> (Duration, usize) {
        let mut timeout = self.retransmission(from, to);
        let (mut stalled, mut again, mut left) = (Duration::ZERO, 0_usize, packets);
        for _ in 0..ROUNDS_MAX {
            left = self.lost(from, to, left);
            if left == 0 {
                break;
            }
            again = again.saturating_add(left);
            stalled = stalled.saturating_add(timeout);
            // Keep-alives and their answers show losses, too.
            timeout = timeout.saturating_mul(2).min(RETRANSMISSION_MAX);
        }
        (stalled, again)
    }

    fn retransmission(&self, from: HostId, to: HostId) -> Duration {
        let trip = self.round_trip(from, to);
        trip.saturating_mul(3).checked_div(2).unwrap_or(trip).max(RETRANSMISSION_MIN)
    }

    /// How many of these packets are lost.
    fn lost(&mut self, from: HostId, to: HostId, packets: usize) -> usize {
        let of = |host| self.host(host).map_or(0.0, |host| host.loss);
        let mut left = packets;
        for loss in [self.weather.loss, of(from), of(to)] {
            left = left.saturating_sub(self.count(left, loss));
        }
        packets.saturating_sub(left)
    }

    /// How many out of so many it happens to.
    fn count(&mut self, of: usize, probability: f64) -> usize {
        if probability <= 0.0 {
            return 0;
        }
        (0..of).filter(|_| self.rng.chance(probability)).count()
    }

    fn transit(&mut self, from: HostId, to: HostId, packets: usize) -> Duration {
        let mut transit = self.base(from, to);
        if self.weather.jitter.0 > Duration::ZERO {
            transit = transit.saturating_add(self.up_to(self.weather.jitter.0));
        }
        if self.count(packets, self.weather.reordering) > 0 {
            transit = transit.saturating_add(self.up_to(self.round_trip(from, to)));
        }
        transit
    }
}

impl Host {
    /// How long so many bytes take into or out of it.
    fn takes(&self, bytes: usize) -> Duration {
        let bits = (bytes as u64).saturating_mul(8_000_000);
        if self.port.bps == 0 {
            return Duration::ZERO;
        }
        Duration::from_micros(bits.div_ceil(self.port.bps))
    }
}

/// Hosts of a region share a /16, four consecutive ones a /24.
fn address(region: usize, number: u32) -> SocketAddr {
    let byte = |number: u32| u8::try_from(number % 256).unwrap_or_default();
    let last = (number / 1024).saturating_mul(4).saturating_add(number % 4).saturating_add(1);
    let region = u8::try_from(region).unwrap_or(u8::MAX);
    (Ipv4Addr::new(10, region, byte(number / 4), byte(last)), PORT).into()
}

const PORT: u16 = 4440;
const REGIONS_MAX: u32 = 256;
/// Bytes.
const PACKET: usize = 1200;
/// How often a packet can be lost in a row.
const ROUNDS_MAX: u32 = 10;
const RETRANSMISSION_MIN: Duration = Duration::from_millis(30);
/// The longest wait before something is sent again.
pub(super) const RETRANSMISSION_MAX: Duration = Duration::from_secs(10);
