//! Admission: how many connections are accepted, in all, per network and per relay.

use std::{
    collections::BTreeMap,
    iter,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use proto::Peer;

use crate::{Settings, address::canonical, lock::lock};

/// Counts accepted connections and decides on new ones.
#[derive(Debug)]
pub(crate) struct AdmissionLimiter {
    state: Mutex<State>,
    connections_max: usize,
    per_ip_max: usize,
    per_s_max: u32,
}

#[derive(Debug)]
struct State {
    connections: usize,
    counts: BTreeMap<Counted, usize>,
    /// The relay and the client behind each local socket of a tunnel.
    tunnels: BTreeMap<SocketAddr, (Peer, IpAddr)>,
    /// Handshakes that may still be accepted in the second that began at `since`.
    left: u32,
    since: Instant,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Direct(IpAddr),
    /// Through this relay, which claims that it comes from that address.
    ///
    /// All relayed connections have an address of this host, but do not share one limit. Nor does a
    /// relay prove the address, so its claims count against its own share only.
    Relayed(Peer, IpAddr),
}

/// What connections are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Counted {
    Network(IpAddr),
    Relay(Peer),
    NetworkBehind(Peer, IpAddr),
}

impl Origin {
    fn counted(self) -> impl Iterator<Item = Counted> {
        let (first, second) = match self {
            Self::Direct(address) => (Counted::Network(network(address)), None),
            Self::Relayed(relay, address) => {
                let network = Counted::NetworkBehind(relay, network(address));
                (Counted::Relay(relay), Some(network))
            }
        };
        iter::once(first).chain(second)
    }
}

/// What to do with a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    /// Have the client prove its address first.
    Retry,
    /// Drop the packet; the client's QUIC repeats it.
    Ignore,
    Refuse,
}

impl AdmissionLimiter {
    pub(crate) fn new(settings: &Settings) -> Self {
        let (left, since) = (settings.handshakes_per_s_max, Instant::now());
        Self {
            state: Mutex::new(State {
                connections: 0,
                counts: BTreeMap::new(),
                tunnels: BTreeMap::new(),
                left,
                since,
            }),
            connections_max: settings.connections_max,
            per_ip_max: settings.connections_per_ip_max,
            per_s_max: settings.handshakes_per_s_max,
        }
    }

    /// Returns where a packet from this address comes from.
    pub(crate) fn origin(&self, address: SocketAddr) -> Origin {
        match lock(&self.state).tunnels.get(&canonical(address)) {
            Some((relay, client)) => Origin::Relayed(*relay, *client),
            None => Origin::Direct(address.ip()),
        }
    }

    /// Decides on a handshake, and counts it if it is accepted; see [`Admission`].
    pub(crate) fn judge(&self, origin: Origin, validated: bool) -> Verdict {
        let mut state = lock(&self.state);
        if state.since.elapsed() >= Duration::from_secs(1) {
            (state.left, state.since) = (self.per_s_max, Instant::now());
        }
        let count = |counted| state.counts.get(&counted).copied().unwrap_or(0);
        let is_full = |counted| {
            let max = match counted {
                Counted::Network(_) => self.per_ip_max,
                Counted::Relay(_) => RELAYED_CLIENTS_MAX,
                Counted::NetworkBehind(..) => BEHIND_RELAY_MAX,
            };
            count(counted) >= max
        };
        let is_half_taken = |counted| {
            matches!(counted, Counted::Relay(_)) && count(counted) >= RELAYED_CLIENTS_MAX / 2
        };
        if state.connections >= self.connections_max || origin.counted().any(is_full) {
            return Verdict::Refuse;
        }
        if state.left == 0 {
            return Verdict::Ignore;
        }
        // Unproved addresses, which may be forged, get half of the budget.
        let is_busy = state.left <= self.per_s_max / 2 || origin.counted().any(is_half_taken);
        if !validated && is_busy {
            return Verdict::Retry;
        }
        state.left = state.left.saturating_sub(1);
        state.connections = state.connections.saturating_add(1);
        for counted in origin.counted() {
            let count = state.counts.entry(counted).or_default();
            *count = count.saturating_add(1);
        }
        Verdict::Accept
    }

    fn release(&self, origin: Origin) {
        let mut state = lock(&self.state);
        state.connections = state.connections.saturating_sub(1);
        for counted in origin.counted() {
            if let Some(count) = state.counts.get_mut(&counted) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    state.counts.remove(&counted);
                }
            }
        }
    }
}

/// Held by an accepted connection for as long as it counts.
#[derive(Debug)]
pub(crate) struct Admission {
    limiter: Arc<AdmissionLimiter>,
    origin: Origin,
}

impl Admission {
    /// Holds what [`AdmissionLimiter::judge`] has accepted.
    pub(crate) fn new(limiter: &Arc<AdmissionLimiter>, origin: Origin) -> Self {
        Self { limiter: Arc::clone(limiter), origin }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.limiter.release(self.origin);
    }
}

/// Attributes what comes from a tunnel's local socket to the client behind it, until dropped.
#[derive(Debug)]
pub(crate) struct TunnelSocket {
    limiter: Arc<AdmissionLimiter>,
    socket: SocketAddr,
}

impl TunnelSocket {
    /// Attributes what comes from `socket` to `client`, as claimed by `relay`.
    pub(crate) fn register(
        limiter: &Arc<AdmissionLimiter>,
        socket: SocketAddr,
        relay: Peer,
        client: IpAddr,
    ) -> Self {
        let socket = canonical(socket);
        lock(&limiter.state).tunnels.insert(socket, (relay, client));
        Self { limiter: Arc::clone(limiter), socket }
    }
}

impl Drop for TunnelSocket {
    fn drop(&mut self) {
        lock(&self.limiter.state).tunnels.remove(&self.socket);
    }
}

/// Returns what one customer of a provider has: an IPv4 address or an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Clients of one relay at the same time, each with a local socket of its own. With three tunnels
/// they take a third of the 1,024 files that a process may usually have open. A client that is
/// displaced comes back by another socket, which QUIC takes for a change of address.
pub(crate) const RELAYED_CLIENTS_MAX: usize = 128;
/// Accepted connections that one relay brings from one network: a quarter of the relay's, so that
/// no single network can take them all.
const BEHIND_RELAY_MAX: usize = RELAYED_CLIENTS_MAX / 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, Keys};

    fn limiter(connections: usize, per_ip: usize, per_s: u32) -> AdmissionLimiter {
        let settings = Settings::new(Keys::One(Identity::from_seed([1; 32])));
        AdmissionLimiter::new(&Settings {
            connections_max: connections,
            connections_per_ip_max: per_ip,
            handshakes_per_s_max: per_s,
            ..settings
        })
    }

    #[test]
    fn a_flood_must_prove_its_addresses_and_is_then_ignored() {
        let limiter = limiter(1000, 1000, 4);
        let address = Origin::Direct(IpAddr::from([192, 0, 2, 1]));
        lock(&limiter.state).since = Instant::now() + Duration::from_secs(60);
        assert_eq!(limiter.judge(address, false), Verdict::Accept);
        assert_eq!(limiter.judge(address, false), Verdict::Accept);
        assert_eq!(limiter.judge(address, false), Verdict::Retry);
        assert_eq!(limiter.judge(address, true), Verdict::Accept);
        assert_eq!(limiter.judge(address, true), Verdict::Accept);
        assert_eq!(limiter.judge(address, true), Verdict::Ignore);
    }

    #[test]
    fn connections_are_counted_by_network_and_given_back() {
        let limiter = limiter(3, 2, 100);
        let [one, same, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"];
        let [one, same, other] = [one, same, other].map(|a| Origin::Direct(a.parse().unwrap()));
        assert_eq!(limiter.judge(one, true), Verdict::Accept);
        assert_eq!(limiter.judge(same, true), Verdict::Accept);
        assert_eq!(limiter.judge(one, true), Verdict::Refuse, "two in this /64");
        assert_eq!(limiter.judge(other, true), Verdict::Accept);
        assert_eq!(limiter.judge(other, true), Verdict::Refuse, "three in all");
        limiter.release(one);
        assert_eq!(limiter.judge(other, true), Verdict::Accept);
    }

    #[test]
    fn what_a_relay_brings_is_counted_apart() {
        let limiter = limiter(1000, 2, 1000);
        let client = |third: u8, last: u8| IpAddr::from([192, 0, third, last]);
        let [one, other] = [Peer::default(), proto::PublicKey([1; 32])];
        let judge = |origin| limiter.judge(origin, true);
        for _ in 0..BEHIND_RELAY_MAX {
            assert_eq!(judge(Origin::Relayed(one, client(0, 1))), Verdict::Accept);
        }
        assert_eq!(judge(Origin::Relayed(one, client(0, 1))), Verdict::Refuse, "all of a network");
        for last in (2..).take(RELAYED_CLIENTS_MAX - BEHIND_RELAY_MAX) {
            assert_eq!(judge(Origin::Relayed(one, client(0, last))), Verdict::Accept);
        }
        assert_eq!(judge(Origin::Relayed(one, client(1, 1))), Verdict::Refuse, "all of the relay");
        assert_eq!(judge(Origin::Relayed(other, client(0, 1))), Verdict::Accept);
        assert_eq!(judge(Origin::Direct(client(0, 1))), Verdict::Accept, "a direct connection");
        limiter.release(Origin::Relayed(one, client(0, 1)));
        let last = Origin::Relayed(one, client(1, 1));
        assert_eq!(limiter.judge(last, false), Verdict::Retry, "it may be forged");
        assert_eq!(judge(last), Verdict::Accept);
    }
}
