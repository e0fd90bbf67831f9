//! Accepting connections, and turning away too many.

use std::{
    collections::BTreeMap,
    iter,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use proto::Peer;
use quinn::{Endpoint, Incoming};
use tokio::time::timeout;

use crate::{
    Settings,
    hub::Hub,
    lanes::{self, Lanes},
    link::Link,
    lock::lock,
    relay::{self, plain},
    tls,
};

/// Accepts connections until the endpoint closes.
pub(crate) async fn accept(hub: Arc<Hub>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let origin = hub.gate.origin(incoming.remote_address());
        match hub.gate.judge(origin, incoming.remote_address_validated()) {
            Verdict::Accept => {
                let pass = Pass { hub: Arc::clone(&hub), origin };
                tokio::spawn(serve(pass, incoming));
                continue;
            }
            // Costs no handshake here, and a round trip there.
            Verdict::Retry => {
                let _ = incoming.retry();
            }
            Verdict::Ignore => incoming.ignore(),
            Verdict::Refuse => incoming.refuse(),
        }
        hub.tally.refused_handshakes.add(1);
    }
}

async fn serve(pass: Pass, incoming: Incoming) {
    let hub = Arc::clone(&pass.hub);
    let greeted = Box::pin(timeout(HANDSHAKE_MAX, greet(incoming, pass.origin))).await;
    let Ok(Some((link, lanes))) = greeted else {
        hub.tally.refused_handshakes.add(1);
        return;
    };
    if hub.join(&link) {
        lanes::run(hub, link, lanes).await;
    }
    drop(pass);
}

async fn greet(incoming: Incoming, origin: Origin) -> Option<(Arc<Link>, Lanes)> {
    // The handshake proves this address. Later the connection may name another that is not proved.
    let direct = matches!(origin, Origin::Direct(_));
    let met_at = direct.then(|| plain(incoming.remote_address()));
    let connection = incoming.accept().ok()?.await.ok()?;
    let peer = tls::peer_of(&connection)?;
    let lanes = Lanes::accept(&connection).await?;
    Some((Link::new(peer, connection, false, met_at), lanes))
}

/// Counts what is accepted.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    connections_max: usize,
    per_ip_max: usize,
    per_s_max: u32,
}

#[derive(Debug)]
struct State {
    connections: usize,
    counts: BTreeMap<Counted, usize>,
    /// Whose the sockets are by which tunnels hand in what they bring.
    tunnels: BTreeMap<SocketAddr, (Peer, IpAddr)>,
    /// Handshakes that may still be accepted in the second which began at `since`.
    left: u32,
    since: Instant,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Direct(IpAddr),
    /// Through this relay, which says that it comes from that address. All have an address of this
    /// machine, but are not one home; nor is what a relay says a proof, so that it can use up
    /// nobody's share but its own.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    /// Prove your address first.
    Retry,
    /// Not now; QUIC tries again by itself.
    Ignore,
    Refuse,
}

impl Gate {
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

    fn origin(&self, address: SocketAddr) -> Origin {
        match lock(&self.state).tunnels.get(&plain(address)) {
            Some((relay, client)) => Origin::Relayed(*relay, *client),
            None => Origin::Direct(address.ip()),
        }
    }

    fn judge(&self, origin: Origin, validated: bool) -> Verdict {
        let mut state = lock(&self.state);
        if state.since.elapsed() >= Duration::from_secs(1) {
            (state.left, state.since) = (self.per_s_max, Instant::now());
        }
        let count = |counted| state.counts.get(&counted).copied().unwrap_or(0);
        let is_full = |counted| {
            let max = match counted {
                Counted::Network(_) => self.per_ip_max,
                Counted::Relay(_) => relay::CLIENTS_MAX,
                Counted::NetworkBehind(..) => BEHIND_RELAY_MAX,
            };
            count(counted) >= max
        };
        let is_half_taken = |counted| {
            matches!(counted, Counted::Relay(_)) && count(counted) >= relay::CLIENTS_MAX / 2
        };
        if state.connections >= self.connections_max || origin.counted().any(is_full) {
            return Verdict::Refuse;
        }
        if state.left == 0 {
            return Verdict::Ignore;
        }
        // Addresses that are made up get half of what there is.
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
struct Pass {
    hub: Arc<Hub>,
    origin: Origin,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.hub.gate.release(self.origin);
    }
}

/// Tells the gate whose a tunnel's socket is, until dropped.
#[derive(Debug)]
pub(crate) struct Notice {
    hub: Arc<Hub>,
    socket: SocketAddr,
}

impl Notice {
    /// What comes from `socket` was brought by `relay` from `client`.
    pub(crate) fn put_up(hub: &Arc<Hub>, socket: SocketAddr, relay: Peer, client: IpAddr) -> Self {
        let socket = plain(socket);
        lock(&hub.gate.state).tunnels.insert(socket, (relay, client));
        Self { hub: Arc::clone(hub), socket }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        lock(&self.hub.gate.state).tunnels.remove(&self.socket);
    }
}

/// What one customer of a provider has: an IPv4 address or an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Accepted connections that one relay brings from one network: a quarter of the relay's, so that
/// no single home can take them all.
const BEHIND_RELAY_MAX: usize = relay::CLIENTS_MAX / 4;
/// From the first packet until the lanes are open.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, Keys};

    fn gate(connections: usize, per_ip: usize, per_s: u32) -> Gate {
        let settings = Settings::new(Keys::One(Identity::from_seed([1; 32])));
        Gate::new(&Settings {
            connections_max: connections,
            connections_per_ip_max: per_ip,
            handshakes_per_s_max: per_s,
            ..settings
        })
    }

    #[test]
    fn a_flood_must_prove_its_addresses_and_is_then_ignored() {
        let gate = gate(1000, 1000, 4);
        let address = Origin::Direct(IpAddr::from([192, 0, 2, 1]));
        lock(&gate.state).since = Instant::now() + Duration::from_secs(60);
        assert_eq!(gate.judge(address, false), Verdict::Accept);
        assert_eq!(gate.judge(address, false), Verdict::Accept);
        assert_eq!(gate.judge(address, false), Verdict::Retry);
        assert_eq!(gate.judge(address, true), Verdict::Accept);
        assert_eq!(gate.judge(address, true), Verdict::Accept);
        assert_eq!(gate.judge(address, true), Verdict::Ignore);
    }

    #[test]
    fn connections_are_counted_by_network_and_given_back() {
        let gate = gate(3, 2, 100);
        let [one, same, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"];
        let [one, same, other] = [one, same, other].map(|a| Origin::Direct(a.parse().unwrap()));
        assert_eq!(gate.judge(one, true), Verdict::Accept);
        assert_eq!(gate.judge(same, true), Verdict::Accept);
        assert_eq!(gate.judge(one, true), Verdict::Refuse, "two in this /64");
        assert_eq!(gate.judge(other, true), Verdict::Accept);
        assert_eq!(gate.judge(other, true), Verdict::Refuse, "three in all");
        gate.release(one);
        assert_eq!(gate.judge(other, true), Verdict::Accept);
    }

    #[test]
    fn what_a_relay_brings_is_counted_apart() {
        let gate = gate(1000, 2, 1000);
        let client = |third: u8, last: u8| IpAddr::from([192, 0, third, last]);
        let [one, other] = [Peer::default(), proto::PublicKey([1; 32])];
        let judge = |origin| gate.judge(origin, true);
        for _ in 0..BEHIND_RELAY_MAX {
            assert_eq!(judge(Origin::Relayed(one, client(0, 1))), Verdict::Accept);
        }
        assert_eq!(judge(Origin::Relayed(one, client(0, 1))), Verdict::Refuse, "all of one home");
        for last in (2..).take(relay::CLIENTS_MAX - BEHIND_RELAY_MAX) {
            assert_eq!(judge(Origin::Relayed(one, client(0, last))), Verdict::Accept);
        }
        assert_eq!(judge(Origin::Relayed(one, client(1, 1))), Verdict::Refuse, "all of the relay");
        assert_eq!(judge(Origin::Relayed(other, client(0, 1))), Verdict::Accept);
        assert_eq!(judge(Origin::Direct(client(0, 1))), Verdict::Accept, "who comes itself");
        gate.release(Origin::Relayed(one, client(0, 1)));
        let last = Origin::Relayed(one, client(1, 1));
        assert_eq!(gate.judge(last, false), Verdict::Retry, "it may be made up");
        assert_eq!(judge(last), Verdict::Accept);
    }
}
