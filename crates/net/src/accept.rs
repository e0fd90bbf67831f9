//! Accepting connections, and turning away too many.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use quinn::{Endpoint, Incoming};
use tokio::time::timeout;

use crate::{
    Settings,
    hub::Hub,
    lanes::{self, Lanes},
    link::Link,
    lock::lock,
    tls,
};

/// Accepts connections until the endpoint closes.
pub(crate) async fn accept(hub: Arc<Hub>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let address = incoming.remote_address().ip();
        match hub.gate.judge(address, incoming.remote_address_validated()) {
            Verdict::Accept => {
                let pass = Pass { hub: Arc::clone(&hub), address };
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
    let greeted = Box::pin(timeout(HANDSHAKE_MAX, greet(incoming))).await;
    let Ok(Some((link, lanes))) = greeted else {
        hub.tally.refused_handshakes.add(1);
        return;
    };
    if hub.join(&link) {
        lanes::run(hub, link, lanes).await;
    }
    drop(pass);
}

async fn greet(incoming: Incoming) -> Option<(Arc<Link>, Lanes)> {
    let connection = incoming.accept().ok()?.await.ok()?;
    let peer = tls::peer_of(&connection)?;
    let lanes = Lanes::accept(&connection).await?;
    Some((Link::new(peer, connection, false), lanes))
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
    per_ip: BTreeMap<IpAddr, usize>,
    /// Handshakes that may still be accepted in the second which began at `since`.
    left: u32,
    since: Instant,
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
            state: Mutex::new(State { connections: 0, per_ip: BTreeMap::new(), left, since }),
            connections_max: settings.connections_max,
            per_ip_max: settings.connections_per_ip_max,
            per_s_max: settings.handshakes_per_s_max,
        }
    }

    fn judge(&self, address: IpAddr, validated: bool) -> Verdict {
        let mut state = lock(&self.state);
        if state.since.elapsed() >= Duration::from_secs(1) {
            (state.left, state.since) = (self.per_s_max, Instant::now());
        }
        let of_address = state.per_ip.get(&network(address)).copied().unwrap_or(0);
        if state.connections >= self.connections_max || of_address >= self.per_ip_max {
            return Verdict::Refuse;
        }
        if state.left == 0 {
            return Verdict::Ignore;
        }
        if !validated && state.left <= self.per_s_max / 2 {
            return Verdict::Retry;
        }
        state.left = state.left.saturating_sub(1);
        state.connections = state.connections.saturating_add(1);
        let count = state.per_ip.entry(network(address)).or_default();
        *count = count.saturating_add(1);
        Verdict::Accept
    }

    fn release(&self, address: IpAddr) {
        let mut state = lock(&self.state);
        state.connections = state.connections.saturating_sub(1);
        if let Some(count) = state.per_ip.get_mut(&network(address)) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.per_ip.remove(&network(address));
            }
        }
    }
}

/// Held by an accepted connection for as long as it counts.
struct Pass {
    hub: Arc<Hub>,
    address: IpAddr,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.hub.gate.release(self.address);
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
        let address = IpAddr::from([192, 0, 2, 1]);
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
        let [one, same, other] = [one, same, other].map(|a| a.parse::<IpAddr>().unwrap());
        assert_eq!(gate.judge(one, true), Verdict::Accept);
        assert_eq!(gate.judge(same, true), Verdict::Accept);
        assert_eq!(gate.judge(one, true), Verdict::Refuse, "two in this /64");
        assert_eq!(gate.judge(other, true), Verdict::Accept);
        assert_eq!(gate.judge(other, true), Verdict::Refuse, "three in all");
        gate.release(one);
        assert_eq!(gate.judge(other, true), Verdict::Accept);
    }
}
