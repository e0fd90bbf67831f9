//! Hosts, and what is on its way between them.

mod links;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use proto::{Body, Frame, Gauge, Input, Instant, Machine, Peer, Reached, RelayPort, RelayToken};

use crate::{Host, START, host::Request};

/// The port that every relay opens.
pub const RELAYED: u16 = 9999;

/// The keys that a host shows to others.
pub enum Keys {
    /// One key, under which others can dial it.
    One(Peer),
    /// Another key for each peer. The host cannot be dialled.
    PerPeer(Box<dyn Fn(&Peer) -> Peer>),
}

/// A frame that one host has sent to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When it was sent.
    pub at: Instant,
    /// The number of the sender.
    pub from: usize,
    /// The number of the receiver.
    pub to: usize,
    /// What it says.
    pub frame: Frame,
}

/// What becomes of a frame that has arrived.
#[derive(Clone, Debug)]
pub enum Fate {
    /// The receiver gets it.
    Deliver,
    /// The receiver does not get it.
    Lose,
    /// It waits for [`Net::release`], and others overtake it.
    Hold,
    /// The sender gets this answer instead, under the same request number.
    Answer(Body),
    /// The receiver gets these frames instead.
    Become(Vec<Frame>),
}

/// Hosts, the connections between them, and what is on its way. Starts at [`START`].
///
/// Every connection that a host wants is dialled: at once, and again whenever it has ended or its
/// other end comes back. Frames on a connection keep their order.
pub struct Net<M: Machine> {
    /// The time now.
    pub now: Instant,
    /// All hosts, by number.
    pub hosts: Vec<Host<M>>,
    /// Every frame that a host has sent to another one.
    pub sent: Vec<Sent>,
    /// How long a frame travels. A dial takes twice that.
    pub latency: Duration,
    /// How long after the end of a process its peers notice it.
    pub notice: Duration,
    /// Whether a second connection between two hosts replaces the first. Otherwise there is none.
    pub replaces: bool,
    /// How many connections were ended by one of their hosts.
    pub ended: usize,
    ends: Vec<End>,
    by_key: BTreeMap<Peer, usize>,
    hook: Box<dyn FnMut(&Sent) -> Fate>,
    queue: BTreeMap<(Instant, u64), Event>,
    on_hold: BTreeMap<(Instant, u64), Event>,
    wakes: BTreeSet<(Instant, usize)>,
    cut: BTreeSet<(usize, usize)>,
    seed: u64,
    counter: u64,
}

/// A host's end of its connections.
struct End {
    keys: Keys,
    address: Option<SocketAddr>,
    is_hidden: bool,
    links: BTreeMap<Peer, Link>,
    wake: Option<Instant>,
}

/// A connection, as one of its ends knows it.
#[derive(Clone, Copy)]
struct Link {
    id: u64,
    other: usize,
    /// The key that this end has shown to the other one.
    own: Peer,
}

enum Event {
    Dial { from: usize, peer: Peer },
    Up { at: usize, peer: Peer, link: u64 },
    Down { at: usize, peer: Peer, link: u64 },
    Frame { to: usize, peer: Peer, link: u64, sent: Box<Sent> },
    Relayed { at: usize, peer: Peer },
    Tried { at: usize, peer: Peer, to: Option<usize> },
}

// Hosts.
impl<M: Machine> Net<M> {
    /// Creates a network without hosts. The randomness of all machines follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            now: START,
            hosts: Vec::new(),
            sent: Vec::new(),
            latency: Duration::ZERO,
            notice: Duration::ZERO,
            replaces: false,
            ended: 0,
            ends: Vec::new(),
            by_key: BTreeMap::new(),
            hook: Box::new(|_| Fate::Deliver),
            queue: BTreeMap::new(),
            on_hold: BTreeMap::new(),
            wakes: BTreeSet::new(),
            cut: BTreeSet::new(),
            seed,
            counter: 0,
        }
    }

    /// Adds a host, which is not started yet, and returns its number.
    pub fn add(
        &mut self,
        keys: Keys,
        address: Option<SocketAddr>,
        config: impl FnMut() -> M::Config + 'static,
        gauges: fn(&M) -> Vec<Gauge>,
    ) -> usize {
        let number = self.hosts.len();
        if let Keys::One(key) = keys {
            self.by_key.insert(key, number);
        }
        self.hosts.push(Host::new([self.seed, number as u64], config, gauges));
        let (links, wake) = (BTreeMap::new(), None);
        self.ends.push(End { keys, address, is_hidden: false, links, wake });
        number
    }

    /// Makes a host undialable from now on, except through a relay.
    pub fn hide(&mut self, host: usize) {
        self.ends[host].is_hidden = true;
    }

    /// Starts a host's process. Who wants a connection to it dials it.
    pub fn start(&mut self, host: usize) {
        self.hosts[host].now = self.now;
        self.hosts[host].start();
        self.collect(host);
        self.redial(|to| to == host);
    }

    /// Ends a host's process as a power failure does. What was on its way is lost.
    pub fn crash(&mut self, host: usize) {
        self.hosts[host].crash();
        self.kill(host);
    }

    /// Ends a host's process, and leaves its rows as they are. What was on its way is lost.
    pub fn kill(&mut self, host: usize) {
        self.hosts[host].kill();
        self.purge(|sent| sent.from == host || sent.to == host);
        for link in std::mem::take(&mut self.ends[host].links).into_values() {
            let down = Event::Down { at: link.other, peer: link.own, link: link.id };
            if self.notice.is_zero() {
                self.happen((self.now, 0), down);
            } else {
                self.schedule(self.notice, down);
            }
        }
    }

    /// Ends a host's process, and no peer notices.
    pub fn stun(&mut self, host: usize) {
        self.hosts[host].crash();
    }

    /// Hands a host an input.
    pub fn input(&mut self, host: usize, input: Input<M::Command>) {
        self.hosts[host].now = self.now;
        self.hosts[host].input(input);
        self.collect(host);
    }

    /// Gives a host a command.
    pub fn command(&mut self, host: usize, command: M::Command) {
        self.input(host, Input::Command(command));
    }

    /// Returns the numbers of the hosts to which a host is connected.
    pub fn peers(&self, host: usize) -> BTreeSet<usize> {
        self.ends[host].links.values().map(|link| link.other).collect()
    }

    /// Returns the key that a host shows to another one.
    pub fn key(&self, of: usize, to: &Peer) -> Peer {
        match &self.ends[of].keys {
            Keys::One(key) => *key,
            Keys::PerPeer(key) => key(to),
        }
    }
}

// Frames.
impl<M: Machine> Net<M> {
    /// Decides what becomes of each frame when it arrives.
    pub fn on_frame(&mut self, hook: impl FnMut(&Sent) -> Fate + 'static) {
        self.hook = Box::new(hook);
    }

    /// Lets the frames that were held go on, before all others.
    pub fn release(&mut self) {
        self.queue.append(&mut self.on_hold);
    }

    /// Loses all frames that are on their way.
    pub fn lose_all(&mut self) {
        self.purge(|_| true);
    }

    /// Returns whether something is due now.
    pub fn is_busy(&self) -> bool {
        self.queue.first_key_value().is_some_and(|((due, _), _)| *due <= self.now)
    }

    fn transmit(&mut self, from: usize, peer: &Peer, frame: Frame) {
        let Some(link) = self.ends[from].links.get(peer).copied() else { return };
        let sent = Sent { at: self.now, from, to: link.other, frame };
        self.sent.push(sent.clone());
        let sent = Box::new(sent);
        let (to, peer, link) = (link.other, link.own, link.id);
        self.schedule(self.latency, Event::Frame { to, peer, link, sent });
    }

    fn arrive(&mut self, key: (Instant, u64), to: usize, peer: Peer, link: u64, sent: Box<Sent>) {
        let frames = match (self.hook)(&sent) {
            Fate::Deliver => vec![sent.frame],
            Fate::Lose => return,
            Fate::Hold => {
                self.on_hold.insert(key, Event::Frame { to, peer, link, sent });
                return;
            }
            Fate::Answer(body) => {
                return self.transmit(to, &peer, Frame { request: sent.frame.request, body });
            }
            Fate::Become(frames) => frames,
        };
        for frame in frames {
            if self.has_link(to, &peer, link) {
                self.input(to, Input::Frame(peer, frame));
            }
        }
    }
}

// Time.
impl<M: Machine> Net<M> {
    /// Carries out what is due now, until nothing is.
    pub fn run(&mut self) {
        self.collect_all();
        while self.next() {}
    }

    /// Carries out what is due next, if it is due now. Returns whether there was anything.
    pub fn step(&mut self) -> bool {
        self.collect_all();
        self.next()
    }

    fn next(&mut self) -> bool {
        let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) else {
            return false;
        };
        let (key, event) = entry.remove_entry();
        self.happen(key, event);
        true
    }

    /// Carries out what is due now, with at most so many frames from each host to each other one.
    /// Returns whether there was anything.
    pub fn carry(&mut self, frames: usize) -> bool {
        self.collect_all();
        let mut carried = BTreeMap::<_, usize>::new();
        let mut fits = |event: &Event| {
            let Event::Frame { sent, .. } = event else { return true };
            let carried = carried.entry((sent.from, sent.to)).or_default();
            *carried += 1;
            *carried <= frames
        };
        let due = self.queue.range(..=(self.now, u64::MAX));
        let due: Vec<_> = due.filter(|(_, event)| fits(event)).map(|(key, _)| *key).collect();
        for key in &due {
            if let Some(event) = self.queue.remove(key) {
                self.happen(*key, event);
            }
        }
        !due.is_empty()
    }

    /// Lets time pass, with everything that falls due in it.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        self.collect_all();
        loop {
            while self.next() {}
            let event = self.queue.first_key_value().map(|((due, _), _)| *due);
            let wake = self.wakes.first().map(|(due, _)| *due);
            match event.filter(|event| *event <= end) {
                Some(event) if wake.is_none_or(|wake| event <= wake) => self.now = event,
                _ if !self.wake(end) => break,
                _ => {}
            }
        }
        self.now = end;
        self.hosts.iter_mut().for_each(|host| host.now = end);
    }

    /// Carries out the timeouts that are due next, if that is until `end`, and carries no frame.
    /// Returns whether there were any.
    pub fn fire(&mut self, end: Instant) -> bool {
        self.collect_all();
        self.wake(end)
    }

    fn wake(&mut self, end: Instant) -> bool {
        let Some((due, _)) = self.wakes.first().filter(|(due, _)| *due <= end) else {
            return false;
        };
        self.now = self.now.max(*due);
        let due = self.wakes.range(..=(self.now, usize::MAX));
        let due: Vec<_> = due.map(|(_, host)| *host).collect();
        for host in due {
            if let Some(wake) = self.ends[host].wake.take() {
                self.wakes.remove(&(wake, host));
            }
            if self.hosts[host].poll_timeout().is_some_and(|due| due <= self.now) {
                self.input(host, Input::Timeout);
            }
            self.plan_wake(host);
        }
        true
    }

    fn happen(&mut self, key: (Instant, u64), event: Event) {
        match event {
            Event::Dial { from, peer } => self.dial(from, peer),
            Event::Up { at, peer, link } => {
                if self.has_link(at, &peer, link) {
                    let other = self.ends[at].links[&peer].other;
                    self.input(at, Input::Connected(peer, self.ends[other].address));
                }
            }
            Event::Down { at, peer, link } => {
                if self.has_link(at, &peer, link) {
                    self.ends[at].links.remove(&peer);
                    self.input(at, Input::Disconnected(peer));
                    self.schedule(self.latency * 2, Event::Dial { from: at, peer });
                }
            }
            Event::Frame { to, peer, link, sent } => {
                if self.has_link(to, &peer, link) {
                    self.arrive(key, to, peer, link, sent);
                }
            }
            Event::Relayed { at, peer } => {
                let port = RelayPort { port: RELAYED, token: RelayToken([7; 16]) };
                self.input(at, Input::Reached(Reached::Relayed(peer, Some(port))));
            }
            Event::Tried { at, peer, to } => {
                let reached = to.is_some_and(|to| self.hosts[to].machine.is_some());
                self.input(at, Input::Reached(Reached::Tried(peer, reached)));
            }
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.counter += 1;
        self.queue.insert((self.now.after(after), self.counter), event);
    }

    fn collect_all(&mut self) {
        (0..self.hosts.len()).for_each(|host| self.collect(host));
    }

    /// Takes up what a host has sent and wants. Frames to peers that are no hosts stay there.
    fn collect(&mut self, host: usize) {
        for peer in self.hosts[host].receivers() {
            if self.ends[host].links.contains_key(&peer) || self.by_key.contains_key(&peer) {
                for frame in self.hosts[host].take(peer) {
                    self.transmit(host, &peer, frame);
                }
            }
        }
        for request in std::mem::take(&mut self.hosts[host].requests) {
            match request {
                Request::Dial(peer) => {
                    self.schedule(self.latency * 2, Event::Dial { from: host, peer });
                }
                Request::HangUp(peer) => self.hang_up(host, peer),
                Request::Relay(peer) => {
                    self.schedule(Duration::ZERO, Event::Relayed { at: host, peer });
                }
                Request::Try(peer, addresses) => {
                    let to = self.by_key.get(&peer).copied();
                    let to = to.filter(|to| self.can_dial(*to, &addresses));
                    self.schedule(self.latency * 2, Event::Tried { at: host, peer, to });
                }
            }
        }
        if std::mem::take(&mut self.hosts[host].has_died) {
            self.crash(host);
            self.start(host);
        }
        self.plan_wake(host);
    }

    /// A machine that is due again at once is woken a microsecond later: every step takes time.
    fn plan_wake(&mut self, host: usize) {
        let due = self.hosts[host].poll_timeout();
        let latest = due.map(|due| due.max(self.now.after(Duration::from_micros(1))));
        let planned = self.ends[host].wake;
        if planned < due || planned > latest {
            self.ends[host].wake = latest;
            planned.map(|planned| self.wakes.remove(&(planned, host)));
            latest.map(|latest| self.wakes.insert((latest, host)));
        }
    }
}
