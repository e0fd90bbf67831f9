//! A network of routers: machines on the common driver, over the common network, without loss or
//! limits.
//!
//! Proofs of work are cheap, signatures are verified once for all nodes, and disks take no time.

use std::{net::SocketAddr, time::Duration};

use crypto::{SigningKey, node::Verifier};
use proto::{
    Input, Instant, Key, Machine, NodeAddress, NodeId, OpenError, Output, Rows, Seed, Table,
};
use routing::{Defences, Router, RouterCommand, RouterConfig, RouterEvent};

use crate::{
    dial::{Dials, Identity},
    disk::Disk,
    driver::{Driver, Ending, Host as _},
    env::{Env, Happening},
    network::{HostId, Network, Port},
    report::BEGINNING,
    rng::Rng,
    scenario::{Span, Weather},
    trace::Trace,
    traffic::Traffic,
};

/// All hosts and what is between them.
pub(super) struct Mesh {
    pub(super) env: Env,
    pub(super) rng: Rng,
    /// What routers have told their applications, since it was last taken.
    pub(super) heard: Vec<Heard>,
    hosts: Vec<Host>,
    defences: Defences,
    /// Ten thousand nodes verify the same signatures; one of them does.
    verifier: Verifier,
    seed: u64,
    boots: u64,
}

/// Something that a router has told.
pub(super) struct Heard {
    pub(super) at: Instant,
    pub(super) event: RouterEvent,
}

struct Host {
    driver: Driver<Box<dyn Party>>,
    key: SigningKey,
    address: SocketAddr,
    /// In which half of the network it is when that is partitioned.
    half: bool,
}

/// A router, or an adversary in the place of one.
pub(super) trait Party {
    fn handle(&mut self, input: Input<RouterCommand>, now: Instant, rows: &dyn Rows);
    fn poll_output(&mut self) -> Option<Output<RouterEvent>>;
    fn poll_timeout(&self) -> Option<Instant>;
    /// Returns the router, if it is an honest one.
    fn honest(&self) -> Option<&Router> {
        None
    }
}

/// Opens a party from the rows of its host.
pub(super) type Open =
    Box<dyn FnOnce(Seed, Instant, &dyn Rows) -> Result<Box<dyn Party>, OpenError>>;

impl Mesh {
    /// Starts so many honest nodes one after the other, each of which joins through an earlier one.
    pub(super) fn grown(seed: u64, nodes: u32, defences: Defences) -> Self {
        let network = Network::new(weather(), Rng::new(seed, "network", 0));
        let mut mesh = Self {
            env: Env::new(network, Trace::new(false, BEGINNING), Traffic::new(0), true),
            rng: Rng::new(seed, "routing world", 0),
            heard: Vec::new(),
            hosts: Vec::new(),
            defences,
            verifier: Verifier::new(WORK_BITS).remembering(VERIFIED_MAX),
            seed,
            boots: 0,
        };
        for _ in 0..nodes {
            mesh.join_one();
            mesh.pass(JOIN_EVERY);
        }
        mesh.pass(Duration::from_secs(60));
        mesh
    }

    /// Starts another honest node.
    pub(super) fn join_one(&mut self) -> u32 {
        let host = self.place_next();
        self.restart(host);
        host
    }

    /// Adds a host with the next key and address.
    pub(super) fn place_next(&mut self) -> u32 {
        let number = self.len();
        let key = SigningKey::from_seed(Rng::new(self.seed, "key", number.into()).bytes());
        self.place(key, honest_address(number))
    }

    /// Adds a host, which is down.
    pub(super) fn place(&mut self, key: SigningKey, address: SocketAddr) -> u32 {
        let port = Port { key: Some(key.public()), reachable: true, bps: 0 };
        let id = self.env.network.add_at(port, address);
        let disk = Disk::new([Duration::ZERO; 2], 0, Rng::new(self.seed, "disk", id.0.into()));
        let driver = Driver::new(id, disk, 0);
        let half = self.rng.chance(0.5);
        self.hosts.push(Host { driver, key, address, half });
        id.0
    }

    /// Starts a router on a host that is down, which joins through another one.
    pub(super) fn restart(&mut self, host: u32) {
        let config = self.config(host);
        let open = |seed, now, rows: &dyn Rows| -> Result<Box<dyn Party>, OpenError> {
            Ok(Box::new(Router::open(config, seed, now, rows)?))
        };
        self.start(host, Box::new(open));
    }

    pub(super) fn start(&mut self, host: u32, open: Open) {
        let seed = self.boot_seed();
        let pauses = Rng::new(self.seed, "pauses", self.boots);
        let identity = Identity::Node(self.key(host).public());
        self.at(HostId(host), |driver, env| {
            let dials = Dials::new(driver.host, identity, pauses);
            // A router opens from its own rows.
            let _ = driver.start(open, dials, seed, env);
        });
    }

    /// The settings of a router on a host, which joins through another one.
    pub(super) fn config(&mut self, host: u32) -> RouterConfig {
        let through = self.some_router(host);
        let join = through.into_iter().map(|other| self.address_of(other)).collect();
        let Host { key, address, .. } = &self.hosts[host as usize];
        RouterConfig {
            addresses: vec![*address],
            join,
            verifier: self.verifier.clone(),
            defences: self.defences,
            ..RouterConfig::new(key.clone())
        }
    }

    pub(super) fn boot_seed(&mut self) -> Seed {
        self.boots += 1;
        Seed(Rng::new(self.seed, "boot", self.boots).bytes())
    }

    /// Ends a process without a word, or after a goodbye.
    pub(super) fn end(&mut self, host: u32, ending: Ending) {
        self.hosts[host as usize].driver.end(ending, &mut self.env);
    }

    /// Cuts the network in halves, or heals it.
    pub(super) fn set_split(&mut self, split: bool) {
        let Env { network, now, queue, .. } = &mut self.env;
        if split {
            let hosts = self.hosts.iter().filter(|host| host.half).map(|host| host.driver.host);
            network.cut(0, &hosts.collect::<Vec<_>>(), *now, queue);
        } else {
            network.heal(0, *now, queue);
        }
    }

    pub(super) fn command(&mut self, host: u32, command: RouterCommand) {
        self.at(HostId(host), |driver, env| _ = driver.command(command, env));
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.env.now.after(time);
        while let Some((due, happening)) = self.env.queue.next_until(end) {
            self.env.now = due;
            self.happen(happening);
        }
        self.env.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Packet(packet) => {
                let Env { network, now, queue, .. } = &mut self.env;
                if let Some(notice) = network.pass(packet, *now, queue) {
                    self.at(notice.host(), |driver, env| driver.notice(notice, env));
                }
            }
            Happening::Wake(host) => self.at(host, |driver, env| driver.wake(env)),
            Happening::Synced(host, number) => self.at(host, |driver, env| {
                driver.synced(number, env);
                driver.resume(env);
            }),
            Happening::Redial(host, peer, number) => {
                self.at(host, |driver, env| driver.redial(peer, number, env));
            }
            Happening::Tried(host, peer, is_there) => {
                self.at(host, |driver, env| driver.tried(peer, is_there, env));
            }
            // Of scenarios, which there are none here.
            Happening::Start(_)
            | Happening::PowerReturns(_)
            | Happening::Begin(_)
            | Happening::End(_)
            | Happening::Moment(_) => {}
        }
    }

    /// Lets something happen at a host, and takes in what it tells.
    fn at(&mut self, host: HostId, act: impl FnOnce(&mut Driver<Box<dyn Party>>, &mut Env)) {
        let driver = &mut self.hosts[host.0 as usize].driver;
        act(driver, &mut self.env);
        let at = self.env.now;
        self.heard.extend(driver.take_events().into_iter().map(|event| Heard { at, event }));
    }

    /// Hosts that there are, up or down.
    pub(super) fn len(&self) -> u32 {
        self.hosts.len() as u32
    }

    pub(super) fn router(&self, host: u32) -> Option<&Router> {
        self.hosts[host as usize].driver.machine()?.honest()
    }

    /// Returns whether a host keeps the record of a key.
    pub(super) fn keeps(&self, host: u32, key: &Key) -> bool {
        self.hosts[host as usize].driver.rows().get(RECORDS, &key.0).is_some()
    }

    pub(super) fn connections(&self, host: u32) -> usize {
        self.hosts[host as usize].driver.connections()
    }

    pub(super) fn key(&self, host: u32) -> &SigningKey {
        &self.hosts[host as usize].key
    }

    pub(super) fn half_of(&self, host: u32) -> bool {
        self.hosts[host as usize].half
    }

    /// The hosts on which a router runs.
    pub(super) fn honest(&self) -> Vec<u32> {
        (0..self.len()).filter(|host| self.router(*host).is_some()).collect()
    }

    /// A host, other than this one, on which a router runs.
    pub(super) fn some_router(&mut self, but: u32) -> Option<u32> {
        let many = self.hosts.len();
        let drawn = (0..100).map(|_| self.rng.index(many) as u32).collect::<Vec<_>>();
        drawn.into_iter().find(|host| *host != but && self.router(*host).is_some())
    }

    fn address_of(&self, host: u32) -> NodeAddress {
        let Host { key, address, .. } = &self.hosts[host as usize];
        NodeAddress { node: NodeId(key.public().0), addresses: vec![*address] }
    }
}

impl Machine for Box<dyn Party> {
    type Config = Open;
    type Command = RouterCommand;
    type Event = RouterEvent;

    fn open(open: Open, seed: Seed, now: Instant, rows: &dyn Rows) -> Result<Self, OpenError> {
        open(seed, now, rows)
    }

    fn handle(&mut self, input: Input<RouterCommand>, now: Instant, rows: &dyn Rows) {
        (**self).handle(input, now, rows);
    }

    fn poll_output(&mut self) -> Option<Output<RouterEvent>> {
        (**self).poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (**self).poll_timeout()
    }
}

impl Party for Router {
    fn handle(&mut self, input: Input<RouterCommand>, now: Instant, rows: &dyn Rows) {
        Machine::handle(self, input, now, rows);
    }

    fn poll_output(&mut self) -> Option<Output<RouterEvent>> {
        Machine::poll_output(self)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Machine::poll_timeout(self)
    }

    fn honest(&self) -> Option<&Router> {
        Some(self)
    }
}

/// Hosts are 2 to 54 ms from each other, and nothing else is in the way.
fn weather() -> Weather {
    Weather {
        regions: 60,
        near: [Span::from_millis(2), Span::from_millis(12)],
        far: [Span::from_millis(2), Span::from_millis(54)],
        jitter: Span::default(),
        ..Weather::default()
    }
}

/// An address in a /24 that one honest node in three shares with another one.
pub(super) fn honest_address(number: u32) -> SocketAddr {
    let network = number - u32::from(number % 6 == 5);
    let [_, a, b, c] = network.to_be_bytes();
    SocketAddr::from(([11 + a, b, c, (number % 6) as u8 + 1], 4440))
}

/// Where routers keep records for others.
const RECORDS: Table = Table(32);
/// Proofs of work would take longer than all else.
pub(super) const WORK_BITS: u32 = 2;
/// Records and suspicions of the last minutes.
const VERIFIED_MAX: usize = 100_000;
const JOIN_EVERY: Duration = Duration::from_millis(50);
