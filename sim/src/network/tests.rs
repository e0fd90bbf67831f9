//! A few hosts, an event queue, and a log of all that a driver would be told.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test may stop on the first thing that is not as it should be"
)]

mod bad_day;
mod cuts;
mod good_day;
mod random;

use std::{net::SocketAddr, time::Duration};

use proto::{Instant, Lane, Peer, PublicKey};

use crate::{
    event_queue::EventQueue,
    rng::Rng,
    scenario::{Span, Weather},
};

use super::{Call, HostId, LinkEnd, LinkId, Network, Notice, Packet, Port, Side};

struct Rig {
    network: Network,
    queue: EventQueue<Packet>,
    now: Instant,
    hosts: Vec<(HostId, SocketAddr)>,
    seen: Vec<(Instant, Notice)>,
}

/// One region, ten milliseconds, nothing wrong.
fn calm() -> Weather {
    Weather {
        regions: 1,
        near: [ms(10), ms(10)],
        far: [ms(10), ms(90)],
        jitter: ms(0),
        loss: 0.0,
        duplication: 0.0,
        reordering: 0.0,
        device_bps: 0,
        node_bps: 0,
    }
}

fn ms(millis: u64) -> Span {
    Span(Duration::from_millis(millis))
}

fn key(host: usize) -> Peer {
    PublicKey([u8::try_from(host).unwrap(); 32])
}

impl Rig {
    /// So many hosts, all up and reachable, with these bits a second.
    fn new(weather: Weather, seed: u64, hosts: usize, bps: u64) -> Self {
        let network = Network::new(weather, Rng::new(seed, "network", 0));
        let (hosts_added, seen) = Default::default();
        let now = Instant::from_secs(1_000);
        let mut rig = Self { network, queue: EventQueue::new(), now, hosts: hosts_added, seen };
        for host in 0..hosts {
            rig.add(Port { key: Some(key(host)), reachable: true, bps });
        }
        rig
    }

    fn calm() -> Self {
        Self::new(calm(), 1, 3, 0)
    }

    fn add(&mut self, port: Port) -> usize {
        self.hosts.push(self.network.add(port));
        let host = self.hosts.len() - 1;
        self.rise(host);
        host
    }

    fn rise(&mut self, host: usize) {
        self.network.rise(self.hosts[host].0, self.now, &mut self.queue);
    }

    fn die(&mut self, host: usize) {
        self.network.die(self.hosts[host].0, self.now, &mut self.queue);
    }

    fn cut(&mut self, cut: usize, hosts: &[usize]) {
        let hosts: Vec<_> = hosts.iter().map(|host| self.hosts[*host].0).collect();
        self.network.cut(cut, &hosts, self.now, &mut self.queue);
    }

    fn heal(&mut self, cut: usize) {
        self.network.heal(cut, self.now, &mut self.queue);
    }

    fn dial(&mut self, from: usize, to: usize, expected: usize) {
        let call = Call {
            from: self.hosts[from].0,
            own: key(from),
            to: self.hosts[to].1,
            peer: key(expected),
        };
        self.network.dial(call, self.now, &mut self.queue);
    }

    /// A connection of host 0 to host 1.
    fn connect(&mut self) -> LinkId {
        self.dial(0, 1, 1);
        self.run(1.0);
        let [(_, Notice::Connected { link, .. }), (_, Notice::Connected { link: same, .. })] =
            self.seen[..]
        else {
            panic!("not connected: {:?}", self.seen)
        };
        assert_eq!(link, same);
        self.seen.clear();
        link
    }

    fn send(&mut self, link: LinkId, side: Side, lane: Lane, bytes: &[u8]) {
        let end = LinkEnd { link, side };
        self.network.send(end, lane, bytes.to_vec(), self.now, &mut self.queue);
    }

    fn hang_up(&mut self, link: LinkId, side: Side) {
        self.network.hang_up(LinkEnd { link, side }, self.now, &mut self.queue);
    }

    fn run(&mut self, seconds: f64) {
        let end = self.now.after(Duration::from_secs_f64(seconds));
        while let Some((due, packet)) = self.queue.next_until(end) {
            assert!(due >= self.now, "time goes on");
            self.now = due;
            if let Some(notice) = self.network.pass(packet, due, &mut self.queue) {
                self.seen.push((due, notice));
            }
        }
        self.now = end;
    }

    /// What has arrived at a host since this was asked last, with the time. Forgets the rest.
    fn arrived(&mut self, at: usize) -> Vec<(Instant, Vec<u8>)> {
        let at = self.hosts[at].0;
        self.seen
            .drain(..)
            .filter_map(|(when, notice)| match notice {
                Notice::Arrived { host, bytes, .. } if host == at => Some((when, bytes)),
                _ => None,
            })
            .collect()
    }

    /// When the connection ended for a host, if it did, and once only.
    fn ended(&self, at: usize) -> Option<Instant> {
        let mut ends = self.seen.iter().filter_map(|(when, notice)| match notice {
            Notice::Ended { host, .. } if *host == self.hosts[at].0 => Some(*when),
            _ => None,
        });
        let first = ends.next();
        assert!(ends.next().is_none(), "ended twice");
        first
    }

    /// Seconds from then until the connection ended for a host.
    fn ended_after(&self, at: usize, since: Instant) -> f64 {
        self.ended(at).expect("has ended").since(since).as_secs_f64()
    }

    /// Nothing is remembered of connections, and nothing is to come.
    fn assert_forgotten(&self) {
        assert!(self.network.links.is_empty(), "{:?}", self.network.links);
        assert!(
            (0..self.hosts.len()).all(|h| self.network.paths.links(self.hosts[h].0).is_empty())
        );
    }
}
