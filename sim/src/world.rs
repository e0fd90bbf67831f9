//! The world: all hosts, what is between them and who uses them, and the loop that lets time pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use client::{Client, Config};
use crypto::SigningKey;
use node::{NodeCommand, NodeConfig};
use proto::{AccountId, Instant, NodeAddress, NodeId, PublicKey, Seed};

use crate::{
    Mutant, Options, Report, Rule, Scenario, Violation,
    adversary::{Server, ServerConfig},
    dial::{Dials, Identity},
    disk::Disk,
    driver::{Driver, Ending, Host, RESTART_AFTER},
    env::{Env, Happening},
    model::Model,
    network::{HostId, Network, Notice, Port},
    person::Person,
    report::{BEGINNING, Tally},
    rng::Rng,
    scenario::{Behaviour, Fault, What, Who},
    trace::Trace,
    traffic::Traffic,
};

/// All there is.
pub(crate) struct World<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) options: Options,
    pub(crate) env: Env,
    pub(crate) nodes: Vec<Driver<Server>>,
    pub(crate) devices: Vec<Driver<Client>>,
    pub(crate) people: Vec<Person>,
    /// Who has which account.
    pub(crate) accounts: BTreeMap<AccountId, u32>,
    pub(crate) model: Model,
    pub(crate) faults: Vec<Fault>,
    /// Those that have begun and not ended.
    pub(crate) active: BTreeSet<usize>,
    /// Hosts whose power failed in a sync and is not back.
    pub(crate) dark: BTreeSet<HostId>,
    /// Hosts that have left permanently, and when.
    pub(crate) gone: BTreeMap<HostId, Instant>,
    pub(crate) violations: Vec<Violation>,
    seed: u64,
    pub(crate) addresses: Vec<NodeAddress>,
    /// Each node's, in the same order.
    keys: Vec<SigningKey>,
    /// Each device's transport secret.
    pub(crate) transports: Vec<[u8; 32]>,
    /// When each node was last told what its disk holds, and what that was.
    reported: Vec<(Instant, u64)>,
    boots: u64,
    /// A world in which so much happens goes round in circles.
    steps_allowed: u64,
    /// It has been stopped.
    pub(crate) is_over: bool,
    /// People talk, those who may.
    pub(crate) talking: bool,
    /// When the time of the scenario is over and faults have ended.
    pub(crate) quiesced_at: Option<Instant>,
}

impl<'a> World<'a> {
    /// Creates the world of a scenario; no host is up yet.
    pub(crate) fn new(scenario: &'a Scenario, seed: u64, options: Options) -> Self {
        let network = Network::new(scenario.network.clone(), Rng::new(seed, "network", 0));
        let trace = Trace::new(options.transcript, BEGINNING);
        let mut world = Self {
            scenario,
            options,
            env: Env::new(network, trace, Traffic::new(scenario.nodes), false),
            nodes: Vec::new(),
            devices: Vec::new(),
            people: Vec::new(),
            accounts: BTreeMap::new(),
            model: Model::new(),
            faults: scenario.faults_of(seed),
            active: BTreeSet::new(),
            dark: BTreeSet::new(),
            gone: BTreeMap::new(),
            violations: Vec::new(),
            seed,
            addresses: Vec::new(),
            keys: Vec::new(),
            transports: Vec::new(),
            reported: Vec::new(),
            boots: 0,
            steps_allowed: steps_allowed(scenario),
            is_over: false,
            talking: !scenario.acquainted,
            quiesced_at: None,
        };
        for number in 0..scenario.nodes {
            world.add_node(number);
        }
        for number in 0..scenario.people {
            world.add_person(number);
        }
        world.befriend();
        world
    }

    fn add_node(&mut self, number: u32) {
        let mut rng = Rng::new(self.seed, "node", number.into());
        let secret = SigningKey::from_seed(rng.bytes());
        let key = secret.public();
        let reachable = !self.scenario.behind_nat.contains(&number);
        let port = Port { key: Some(key), reachable, bps: self.scenario.network.node_bps };
        let (host, address) = self.env.network.add(port);
        self.name(host, format!("node {number}"));
        self.keys.push(secret);
        self.addresses.push(NodeAddress { node: NodeId(key.0), addresses: vec![address] });
        let disks = &self.scenario.disks;
        let ahead_us = self.skew(&mut rng);
        let disk = Disk::new(disks.node_sync.map(|span| span.0), disks.node_bytes, rng);
        let mut driver = Driver::new(host, disk, ahead_us);
        driver.hasty = self.options.mutant == Some(Mutant::AcceptBeforeCommit);
        self.nodes.push(driver);
        self.reported.push((self.env.now, 0));
    }

    fn add_person(&mut self, number: u32) {
        let mut rng = Rng::new(self.seed, "device", number.into());
        let transport = rng.bytes();
        let port = Port { key: None, reachable: false, bps: self.scenario.network.device_bps };
        let (host, _) = self.env.network.add(port);
        self.name(host, name_of(number));
        let ahead_us = self.skew(&mut rng);
        let sync = self.scenario.disks.device_sync.map(|span| span.0);
        let disk = Disk::new(sync, 0, rng);
        self.devices.push(Driver::new(host, disk, ahead_us));
        self.transports.push(transport);
        let rng = Rng::new(self.seed, "person", number.into());
        self.people.push(Person::new(name_of(number), rng, self.scenario.talk.acts));
    }

    fn name(&mut self, host: HostId, name: String) {
        self.env.trace.name_host(host, &name);
        self.env.names.push(name);
    }

    /// Everybody knows the next ones in a ring. One of the two gives the other a link; now and then
    /// both do.
    fn befriend(&mut self) {
        let people = self.scenario.people;
        let mut rng = Rng::new(self.seed, "friends", 0);
        for a in 0..people {
            for step in 1..=self.scenario.friends {
                let b = a.saturating_add(step).checked_rem(people).unwrap_or_default();
                let known = self.people.get(b as usize).is_none_or(|b| b.friends.contains(&a));
                if a == b || known {
                    continue;
                }
                let (both, first) = (rng.chance(0.1), rng.chance(0.5));
                self.acquaint(a, b, both || first);
                self.acquaint(b, a, both || !first);
            }
        }
    }

    fn acquaint(&mut self, a: u32, b: u32, invites: bool) {
        let Some(person) = self.people.get_mut(a as usize) else { return };
        person.friends.push(b);
        if invites {
            person.invites.insert(b);
        }
    }

    fn skew(&self, rng: &mut Rng) -> i64 {
        let most = i64::try_from(self.scenario.skew.0.as_micros()).unwrap_or(i64::MAX / 4);
        let width = u64::try_from(most).unwrap_or_default().saturating_mul(2).saturating_add(1);
        i64::try_from(rng.below(width)).unwrap_or_default().saturating_sub(most)
    }

    /// Where a person's account is at home.
    pub(crate) fn homes(&self, person: u32) -> impl Iterator<Item = u32> + Clone {
        let nodes = self.scenario.nodes;
        let home = move |turn| person.saturating_add(turn).checked_rem(nodes).unwrap_or_default();
        (0..self.scenario.homes.min(nodes)).map(home)
    }

    pub(crate) fn home_addresses(&self, person: u32) -> Vec<NodeAddress> {
        self.homes(person).filter_map(|home| self.addresses.get(home as usize).cloned()).collect()
    }

    pub(crate) fn host_of(&self, who: Who) -> HostId {
        match who {
            Who::Node(number) => HostId(number),
            Who::Person(number) => HostId(self.scenario.nodes.saturating_add(number)),
        }
    }

    pub(crate) fn who_is(&self, host: HostId) -> Who {
        match host.0.checked_sub(self.scenario.nodes) {
            None => Who::Node(host.0),
            Some(number) => Who::Person(number),
        }
    }

    /// Starts the process of a host that is down.
    pub(crate) fn start(&mut self, who: Who) {
        if self.is_held_down(who) || self.host(who).is_none_or(|(host, _)| host.is_up()) {
            return;
        }
        self.boots = self.boots.saturating_add(1);
        self.tell(who, "starts");
        self.forget_questions(who);
        let mut rng = Rng::new(self.seed, "boot", self.boots);
        let seed = Seed(rng.bytes());
        let opened = match who {
            Who::Node(number) => self.start_node(number, seed, rng),
            Who::Person(number) => self.start_device(number, seed, rng),
        };
        if let Some(Err(error)) = opened {
            self.report(Rule::Opening, format!("{who} does not open: {error}"));
        }
    }

    fn start_node(
        &mut self,
        number: u32,
        seed: Seed,
        mut rng: Rng,
    ) -> Option<Result<(), proto::OpenError>> {
        let node = self.addresses.get(number as usize)?.node;
        let driver = self.nodes.get_mut(number as usize).filter(|driver| !driver.is_up())?;
        let mut config = NodeConfig::new(node);
        config.key = self.keys.get(number as usize).cloned();
        let checked_every = self.scenario.disks.checked_every.0;
        config.anti_entropy_every = checked_every;
        let third = checked_every.checked_div(3).unwrap_or_default();
        config.scrub_every = checked_every.saturating_add(third);
        if self.scenario.disks.node_bytes > 0 {
            // Full is what the node says before the disk does.
            config.disk_cap_bytes = self.scenario.disks.node_bytes / 2;
        }
        let adversary = self.scenario.adversaries.iter().find(|adversary| adversary.node == number);
        let behaviour: Option<Behaviour> = adversary.map(|adversary| adversary.behaviour);
        let pauses = Rng::new(self.seed, "pauses", rng.below(u64::MAX));
        let dials = Dials::new(driver.host, Identity::Node(PublicKey(node.0)), pauses);
        let (keys, mutant) = (self.keys.clone(), self.options.mutant);
        let config = ServerConfig { node: config, behaviour, mutant, keys, rng };
        Some(driver.start(config, dials, seed, &mut self.env))
    }

    fn start_device(
        &mut self,
        number: u32,
        seed: Seed,
        rng: Rng,
    ) -> Option<Result<(), proto::OpenError>> {
        let transport = *self.transports.get(number as usize)?;
        let driver = self.devices.get_mut(number as usize).filter(|driver| !driver.is_up())?;
        let dials = Dials::new(driver.host, Identity::Device(transport), rng);
        let config = Config { transport: transport.into() };
        let opened = driver.start(config, dials, seed, &mut self.env);
        self.model.started(number, self.env.now);
        self.looks_again(number);
        Some(opened)
    }

    /// Ends a process. With `forever` it never comes back.
    pub(crate) fn end(&mut self, who: Who, ending: Ending, forever: bool) {
        let host = self.host_of(who);
        if forever {
            self.gone.entry(host).or_insert(self.env.now);
        }
        let verb = match ending {
            Ending::Crash => "loses power",
            Ending::Kill => "is killed",
            Ending::Stop => "stops",
        };
        self.tell(who, verb);
        if let Some((host, env)) = self.host(who) {
            host.end(ending, env);
        }
    }

    /// Who was asking a process that has ended will never be answered.
    fn forget_questions(&mut self, who: Who) {
        if let Who::Person(number) = who
            && let Some(person) = self.people.get_mut(number as usize)
        {
            person.forget_questions();
        }
    }

    /// Lets time pass, with everything that falls due in it.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.env.now.after(time);
        while !self.is_over
            && let Some((due, happening)) = self.env.queue.next_until(end)
        {
            self.env.now = due;
            self.env.tally.steps = self.env.tally.steps.saturating_add(1);
            if self.env.tally.steps > self.steps_allowed {
                self.report(Rule::Quiet, format!("no end after {} steps", self.steps_allowed));
                self.is_over = true;
            }
            self.happen(happening);
        }
        self.env.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Packet(packet) => {
                let env = &mut self.env;
                if let Some(notice) = env.network.pass(packet, env.now, &mut env.queue) {
                    self.notice(notice);
                }
            }
            Happening::Wake(host) => self.at(host, |host, env| host.wake(env)),
            Happening::Synced(host, number) => self.synced(host, number),
            Happening::Redial(host, peer, number) => {
                self.at(host, |host, env| host.redial(peer, number, env));
            }
            Happening::Tried(host, peer, is_there) => {
                self.at(host, |host, env| host.tried(peer, is_there, env));
            }
            Happening::Start(host) => self.start(self.who_is(host)),
            Happening::PowerReturns(host) => self.power_returns(host),
            Happening::Begin(fault) => self.begin(fault),
            Happening::End(fault) => self.finish(fault),
            Happening::Moment(person) => self.moment(person),
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.at(notice.host(), |host, env| host.notice(notice, env));
    }

    fn synced(&mut self, host: HostId, number: u64) {
        let who = self.who_is(host);
        let mut died = false;
        self.at(host, |host, env| died = host.synced(number, env));
        if died {
            return self.died_in_sync(who);
        }
        // The user has heard what became durable before anything else happens.
        self.at(host, |host, env| host.resume(env));
        if let Who::Node(node) = who {
            self.report_disk(node);
        }
    }

    /// Lets something happen at a host; if it is a device, its user hears what it says.
    pub(crate) fn at(&mut self, host: HostId, act: impl FnOnce(&mut dyn Host, &mut Env)) {
        let who = self.who_is(host);
        if let Some((host, env)) = self.host(who) {
            act(host, env);
        }
        self.check_gauges(who);
        if let Who::Person(number) = who {
            self.hears(number);
        }
    }

    pub(crate) fn host(&mut self, who: Who) -> Option<(&mut dyn Host, &mut Env)> {
        let host: &mut dyn Host = match who {
            Who::Node(number) => self.nodes.get_mut(number as usize)?,
            Who::Person(number) => self.devices.get_mut(number as usize)?,
        };
        Some((host, &mut self.env))
    }

    /// Writes down what happens to a host.
    pub(crate) fn tell(&mut self, who: Who, verb: &'static str) {
        let host = self.host_of(who);
        self.env.note(host, verb);
    }

    /// Tells a node at intervals what its disk holds, as the driver of a real one does.
    fn report_disk(&mut self, number: u32) {
        let Some(driver) = self.nodes.get_mut(number as usize) else { return };
        let Some(reported) = self.reported.get_mut(number as usize) else { return };
        let bytes = driver.disk.bytes();
        if bytes != reported.1 && self.env.now.since(reported.0) >= REPORT_EVERY {
            *reported = (self.env.now, bytes);
            driver.command(NodeCommand::DiskUsed(bytes), &mut self.env);
        }
    }

    pub(crate) fn report(&mut self, rule: Rule, text: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { rule, at: self.env.now, text });
        }
    }

    pub(crate) fn accuse(&mut self, found: Vec<Violation>) {
        let room = VIOLATIONS_MAX.saturating_sub(self.violations.len());
        self.violations.extend(found.into_iter().take(room));
    }

    /// What was counted so far, but for latencies.
    pub(crate) fn count(&mut self) -> &Tally {
        let tally = &mut self.env.tally;
        tally.simulated = self.env.now.since(BEGINNING);
        tally.said = self.model.said_count();
        tally.shown = self.model.shown_count();
        (tally.acknowledged, tally.lost) = self.model.acknowledged();
        tally.between_nodes.clone_from(self.env.traffic.counts());
        tally
    }

    /// What the run has found.
    pub(crate) fn into_report(mut self) -> Report {
        self.count();
        let tally = &mut self.env.tally;
        tally.latencies_us = self.model.latencies_us();
        // What is said after that is not subject to faults.
        tally.talk_latencies_us = self.model.latencies_to_those_who_were_up_us(self.quiesced_at);
        (tally.texts, tally.delivered) = self.model.delivered(self.quiesced_at);
        if self.env.leaks {
            self.report(Rule::Secret, "a frame held a plaintext".into());
        }
        let hash = self.env.trace.hash();
        Report {
            hash,
            violations: self.violations,
            tally: self.env.tally,
            transcript: self.env.trace.into_lines(),
        }
    }
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World({:?})", self.scenario.name)
    }
}

fn steps_allowed(scenario: &Scenario) -> u64 {
    let acts = u64::from(scenario.people).saturating_mul(u64::from(scenario.talk.acts));
    let hosts = u64::from(scenario.nodes).saturating_add(scenario.people.into());
    // A flooding adversary sends each answer five times and more, as long as it is asked.
    let floods =
        scenario.adversaries.iter().any(|adversary| adversary.behaviour == Behaviour::Floods);
    let often = if floods { STEPS_OF_A_FLOOD } else { 1 };
    let moments = scenario.lasts.0.as_secs().saturating_add(3600).saturating_mul(hosts);
    let moments = moments.saturating_mul(often);
    let restarts = restarts(scenario).saturating_mul(hosts).saturating_mul(STEPS_PER_RESTART);
    let steps = STEPS_MIN.saturating_add(acts.saturating_mul(STEPS_PER_ACT));
    steps.saturating_add(moments).saturating_add(restarts)
}

/// How often hosts whose disk is full may start without success.
fn restarts(scenario: &Scenario) -> u64 {
    let full = scenario.faults.iter().filter(|fault| fault.what == What::FullDisk);
    let times = full.map(|fault| {
        let lasts = fault.lasts.unwrap_or(scenario.lasts).0.as_secs();
        let hosts = u64::from(fault.some_nodes).saturating_add(fault.who.len() as u64);
        hosts.saturating_mul(lasts).checked_div(RESTART_AFTER.as_secs()).unwrap_or_default()
    });
    times.sum()
}

/// A few people by their names, the others by number.
fn name_of(person: u32) -> String {
    NAMES.get(person as usize).map_or_else(|| format!("person {person}"), |name| (*name).into())
}

const NAMES: [&str; 8] = ["ada", "ben", "cleo", "dan", "eve", "finn", "gia", "hal"];
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// The first ones tell it all.
const VIOLATIONS_MAX: usize = 100;
const STEPS_MIN: u64 = 1_000_000;
const STEPS_PER_ACT: u64 = 1_000;
const STEPS_OF_A_FLOOD: u64 = 8;
/// Everybody connects to it, says hello, and has something for it.
const STEPS_PER_RESTART: u64 = 50;
