//! Nodes, people who are at home at them, and the connections that all of them want: the real
//! machines over stores in memory. Frames between two of them arrive in their order.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test may stop on the first thing that is not as it should be"
)]
#![allow(dead_code, reason = "each test binary uses its own part of it")]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::ControlFlow,
    time::Duration,
};

use client::{
    Action, Client, Command, CommandError, Config, Event, InviteLink, Mark, Reply, transport_seed,
    view::{self, Item, MessageView, Range},
};
use crypto::{Phrase, SigningKey};
use node::{Node, NodeConfig, Registration};
use proto::{
    AccountId, Body, Code, Direction, Frame, FrameReader, Input, Instant, LogId, Machine,
    NodeAddress, NodeId, Output, Peer, PublicKey, Rows, Seed, Table, WriteBatch, write_frame,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use store::{Memory, Store};

/// Whoever runs a machine. Person `n` is at home at node `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Node(usize),
    Person(usize),
}

pub(crate) struct Town {
    pub(crate) now: Instant,
    nodes: Vec<Host<Node>>,
    people: Vec<Host<Client>>,
    events: Vec<Vec<Event>>,
    transports: Vec<[u8; 32]>,
    accounts: Vec<AccountId>,
    tickets: u64,
    network: BTreeMap<(Who, Who), VecDeque<Vec<u8>>>,
    linked: BTreeSet<(Who, Who)>,
    cut: BTreeSet<(Who, Who)>,
    /// Nodes that take no new accounts.
    closed: BTreeSet<usize>,
    /// Nodes that sign receipts with a key that is not theirs.
    forgers: BTreeSet<usize>,
    /// Nodes that lie to people.
    liars: BTreeMap<usize, Liar>,
    /// Frames that wait although others arrive.
    late: (Who, Who, fn(&Body) -> bool),
    /// Every frame that crossed the network.
    pub(crate) said: Vec<(Who, Who, Frame)>,
    rng: ChaCha20Rng,
}

/// What a lying node makes of what people say to it, and of what it would say to them.
struct Liar {
    /// What it answers itself; the rest its honest half hears.
    answers: Answers,
    says: Says,
}

type Answers = Box<dyn FnMut(&Frame) -> Option<Body>>;
type Says = Box<dyn FnMut(Frame) -> Vec<Frame>>;

struct Host<M: Machine> {
    machine: Option<M>,
    store: Memory,
    /// To whom it wants a connection.
    wanted: BTreeSet<Peer>,
    /// Whom it has hung up on.
    hung_up: Vec<Peer>,
}

impl<M: Machine> Host<M> {
    fn new() -> Self {
        Self { machine: None, store: Memory::new(), wanted: BTreeSet::new(), hung_up: Vec::new() }
    }

    /// Hands the machine an input; returns what it says and tells.
    fn give(
        &mut self,
        input: Input<M::Command>,
        now: Instant,
    ) -> (Vec<(Peer, Frame)>, Vec<M::Event>) {
        let Some(machine) = &mut self.machine else { return Default::default() };
        machine.handle(input, now, self.store.as_rows());
        self.drain()
    }

    fn drain(&mut self) -> (Vec<(Peer, Frame)>, Vec<M::Event>) {
        let (mut said, mut told) = (Vec::new(), Vec::new());
        while let Some(output) = self.machine.as_mut().and_then(Machine::poll_output) {
            match output {
                Output::Commit(batch) => {
                    self.store.apply(&batch).unwrap();
                    self.store.sync().unwrap();
                }
                Output::Note(batch) => self.store.apply(&batch).unwrap(),
                Output::Transmit(peer, frame) => said.push((peer, frame)),
                Output::Event(event) => told.push(event),
                Output::Connect(peer, _) => _ = self.wanted.insert(peer),
                Output::Disconnect(peer) => {
                    self.wanted.remove(&peer);
                    self.hung_up.push(peer);
                }
                Output::Reach(_) => {
                    panic!("nobody is behind a NAT")
                }
            }
        }
        (said, told)
    }

    fn crash(&mut self) {
        self.machine = None;
        self.wanted.clear();
        self.store = std::mem::take(&mut self.store).crash();
    }
}

impl Town {
    pub(crate) fn new(seed: u8) -> Self {
        Self::of(seed, 2, &["Ada", "Ben"])
    }

    /// So many nodes, and these people, each at home at the node of the same number.
    pub(crate) fn of(seed: u8, nodes: usize, people: &[&'static str]) -> Self {
        let at_one = |(number, name): (usize, &&'static str)| (*name, vec![number]);
        Self::at(seed, nodes, &people.iter().enumerate().map(at_one).collect::<Vec<_>>())
    }

    /// So many nodes, and these people with the numbers of their homes.
    pub(crate) fn at(seed: u8, nodes: usize, people: &[(&str, Vec<usize>)]) -> Self {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let mut bytes = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let transports = people.iter().map(|_| bytes()).collect();
        let mut town = Self {
            now: Instant::from_secs(1_800_000_000),
            nodes: (0..nodes).map(|_| Host::new()).collect(),
            people: people.iter().map(|_| Host::new()).collect(),
            events: people.iter().map(|_| Vec::new()).collect(),
            transports,
            accounts: Vec::new(),
            tickets: 0,
            network: BTreeMap::new(),
            linked: BTreeSet::new(),
            cut: BTreeSet::new(),
            closed: BTreeSet::new(),
            forgers: BTreeSet::new(),
            liars: BTreeMap::new(),
            late: (Who::Node(0), Who::Node(0), |_| false),
            said: Vec::new(),
            rng,
        };
        for number in 0..nodes.max(people.len()) {
            if number < nodes {
                town.start(Who::Node(number));
            }
            if number < people.len() {
                town.start(Who::Person(number));
            }
        }
        for (number, (name, homes)) in people.iter().enumerate() {
            let phrase = Phrase::generate(&mut town.rng);
            let homes = homes.iter().map(|node| town.address(*node)).collect();
            let create = Action::CreateAccount { phrase, name: (*name).into(), homes };
            let Reply::Account(account) = town.ask(number, create).unwrap() else { panic!() };
            town.accounts.push(account);
        }
        town
    }

    /// Two people who have accepted each other; the second one has asked.
    pub(crate) fn acquainted(seed: u8) -> Self {
        Self::new(seed).acquaint()
    }

    /// The first two people accept each other; the second one has asked.
    pub(crate) fn acquaint(mut self) -> Self {
        let link = self.invite(0);
        self.add(1, link);
        self.accept(0);
        self.pass(Duration::from_secs(1));
        self
    }

    pub(crate) fn invite(&mut self, person: usize) -> InviteLink {
        let invite = Action::Invite { uses: 1, valid_s: 3600 };
        let Reply::Link(link) = self.ask(person, invite).unwrap() else { panic!() };
        link
    }

    pub(crate) fn add(&mut self, person: usize, link: InviteLink) {
        self.ask(person, Action::AddContact { link, name: "x".into() }).unwrap();
    }

    pub(crate) fn accept(&mut self, person: usize) {
        let contact = self.friend(person);
        self.ask(person, Action::Accept { contact }).unwrap();
    }

    pub(crate) fn address(&self, number: usize) -> NodeAddress {
        let Peer { 0: key } = node_key(number);
        let port = 4440 + u16::try_from(number).unwrap();
        NodeAddress { node: NodeId(key), addresses: vec![([127, 0, 0, 1], port).into()] }
    }

    pub(crate) fn friend(&self, number: usize) -> AccountId {
        self.accounts[1 - number]
    }

    // What can happen to machines.

    pub(crate) fn start(&mut self, who: Who) {
        let mut seed = Seed([0; 32]);
        self.rng.fill_bytes(&mut seed.0);
        match who {
            Who::Node(n) => {
                let mut config = NodeConfig::new(self.address(n).node);
                let forges = self.forgers.contains(&n);
                config.key = Some(node_secret(if forges { n + 50 } else { n }));
                if self.closed.contains(&n) {
                    config.registration = Registration::Closed;
                }
                let host = &mut self.nodes[n];
                host.machine = Some(Node::open(config, seed, self.now, &host.store).unwrap());
            }
            Who::Person(n) => {
                let config = Config { transport: self.transports[n].into() };
                let host = &mut self.people[n];
                host.machine = Some(Client::open(config, seed, self.now, &host.store).unwrap());
            }
        }
        self.drain(who);
    }

    /// The power fails: what was not synced, and what was on its way, is lost.
    pub(crate) fn crash(&mut self, who: Who) {
        match who {
            Who::Node(n) => self.nodes[n].crash(),
            Who::Person(n) => self.people[n].crash(),
        }
        for (a, b) in self.linked.clone() {
            if a == who || b == who {
                self.unlink((a, b));
            }
        }
    }

    /// A node is dead, and nobody has noticed: what is said to it gets lost.
    pub(crate) fn stun(&mut self, node: usize) {
        self.nodes[node].crash();
    }

    /// Lets two of them no longer hear each other, or again.
    pub(crate) fn set_cut(&mut self, a: Who, b: Who, cut: bool) {
        let pair = (a.min(b), a.max(b));
        if cut {
            self.cut.insert(pair);
            self.unlink(pair);
        } else {
            self.cut.remove(&pair);
        }
    }

    /// Everybody hears everybody again.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// A node takes no new accounts from now on.
    pub(crate) fn close(&mut self, node: usize) {
        self.closed.insert(node);
        self.crash(Who::Node(node));
        self.start(Who::Node(node));
    }

    /// A node signs receipts with a key that is not its own from now on.
    pub(crate) fn forge(&mut self, node: usize) {
        self.forgers.insert(node);
        self.crash(Who::Node(node));
        self.start(Who::Node(node));
    }

    /// A node lies to people from now on.
    pub(crate) fn lie(
        &mut self,
        node: usize,
        answers: impl FnMut(&Frame) -> Option<Body> + 'static,
        says: impl FnMut(Frame) -> Vec<Frame> + 'static,
    ) {
        self.liars.insert(node, Liar { answers: Box::new(answers), says: Box::new(says) });
    }

    /// A node refuses some of what people ask from now on.
    pub(crate) fn refuse(&mut self, node: usize, refused: fn(&Body) -> Option<Code>) {
        let answers = move |frame: &Frame| {
            let code = refused(&frame.body).filter(|_| frame.request != 0)?;
            Some(Body::Refused { code, newer: Vec::new() })
        };
        self.lie(node, answers, |frame| vec![frame]);
    }

    /// A node tells the truth again.
    pub(crate) fn repent(&mut self, node: usize) {
        self.liars.remove(&node);
    }

    /// Holds back frames of a kind on one way, until it is told otherwise.
    pub(crate) fn delay(&mut self, from: Who, to: Who, late: fn(&Body) -> bool) {
        self.late = (from, to, late);
    }

    fn unlink(&mut self, (a, b): (Who, Who)) {
        if self.linked.remove(&(a, b)) {
            self.network.remove(&(a, b));
            self.network.remove(&(b, a));
            let (name_of_a, name_of_b) = (self.name(a, b), self.name(b, a));
            self.give(a, Input::Disconnected(name_of_b), Input::Disconnected(name_of_b));
            self.give(b, Input::Disconnected(name_of_a), Input::Disconnected(name_of_a));
        }
    }

    /// Connects all who want it and can.
    fn link(&mut self) {
        for a in self.all() {
            for b in (0..self.nodes.len()).map(Who::Node) {
                let pair = (a.min(b), a.max(b));
                let can = a != b && self.is_up(a) && self.is_up(b) && !self.cut.contains(&pair);
                if can && self.wants(a, b) && self.linked.insert(pair) {
                    let (name_of_a, name_of_b) = (self.name(a, b), self.name(b, a));
                    self.give(
                        b,
                        Input::Connected(name_of_a, None),
                        Input::Connected(name_of_a, None),
                    );
                    self.give(
                        a,
                        Input::Connected(name_of_b, None),
                        Input::Connected(name_of_b, None),
                    );
                }
            }
        }
    }

    fn all(&self) -> Vec<Who> {
        let people = (0..self.people.len()).map(Who::Person);
        (0..self.nodes.len()).map(Who::Node).chain(people).collect()
    }

    fn is_up(&self, who: Who) -> bool {
        match who {
            Who::Node(n) => self.nodes[n].machine.is_some(),
            Who::Person(n) => self.people[n].machine.is_some(),
        }
    }

    fn wants(&self, who: Who, node: Who) -> bool {
        let name = self.name(node, who);
        match who {
            Who::Node(n) => self.nodes[n].wanted.contains(&name),
            Who::Person(n) => self.people[n].wanted.contains(&name),
        }
    }

    /// The key that one shows to the other.
    fn name(&self, of: Who, to: Who) -> Peer {
        match (of, to) {
            (Who::Node(n), _) => node_key(n),
            (Who::Person(n), Who::Node(to)) => {
                let seed = transport_seed(&self.transports[n], &node_key(to));
                SigningKey::from_seed(*seed).public()
            }
            (Who::Person(_), Who::Person(_)) => panic!("people don't meet"),
        }
    }

    fn give(&mut self, who: Who, node: Input<node::NodeCommand>, person: Input<Command>) {
        let now = self.now;
        let said = match who {
            Who::Node(n) => self.nodes[n].give(node, now).0,
            Who::Person(n) => {
                let (said, told) = self.people[n].give(person, now);
                self.events[n].extend(told);
                said
            }
        };
        self.send(who, said);
        self.hang_up(who);
        self.check(who);
    }

    /// Ends the connections on which somebody has hung up.
    fn hang_up(&mut self, who: Who) {
        let hung_up = match who {
            Who::Node(n) => std::mem::take(&mut self.nodes[n].hung_up),
            Who::Person(n) => std::mem::take(&mut self.people[n].hung_up),
        };
        for peer in hung_up {
            let others = self.linked.iter().copied().filter(|(a, b)| *a == who || *b == who);
            let names = |(a, b)| (if a == who { b } else { a }, (a, b));
            let other = others.map(names).find(|(other, _)| self.name(*other, who) == peer);
            if let Some((other, pair)) = other {
                // What was said before has arrived.
                let queue = self.network.remove(&(who, other)).unwrap_or_default();
                let name = self.name(who, other);
                for bytes in queue {
                    let (node, person) = (read(&bytes), read(&bytes));
                    self.give(other, Input::Frame(name, node), Input::Frame(name, person));
                }
                self.unlink(pair);
            }
        }
    }

    fn drain(&mut self, who: Who) {
        let said = match who {
            Who::Node(n) => self.nodes[n].drain().0,
            Who::Person(n) => {
                let (said, told) = self.people[n].drain();
                self.events[n].extend(told);
                said
            }
        };
        self.send(who, said);
    }

    fn check(&self, who: Who) {
        let gauges = match who {
            Who::Node(n) => self.nodes[n].machine.as_ref().map(Node::gauges),
            Who::Person(n) => self.people[n].machine.as_ref().map(Client::gauges),
        };
        for gauge in gauges.into_iter().flatten() {
            assert!(gauge.value <= gauge.limit, "{gauge:?}");
        }
    }

    fn send(&mut self, from: Who, said: Vec<(Peer, Frame)>) {
        for (peer, frame) in said {
            let links: Vec<_> = self.linked.iter().copied().collect();
            let others = links.into_iter().filter_map(|(a, b)| match from {
                _ if a == from => Some(b),
                _ if b == from => Some(a),
                _ => None,
            });
            let to = others.into_iter().find(|other| self.name(*other, from) == peer);
            let Some(to) = to else { continue };
            let liar = match (from, to) {
                (Who::Node(node), Who::Person(_)) => self.liars.get_mut(&node),
                _ => None,
            };
            let frames = match liar {
                Some(liar) => (liar.says)(frame),
                None => vec![frame],
            };
            for frame in frames {
                self.put(from, to, frame);
            }
        }
    }

    fn put(&mut self, from: Who, to: Who, frame: Frame) {
        let mut bytes = Vec::new();
        write_frame(&frame, &mut bytes);
        self.said.push((from, to, frame));
        self.network.entry((from, to)).or_default().push_back(bytes);
    }

    /// What a lying node answers to a person in place of its honest half.
    fn answer(&mut self, person: Who, node: Who, bytes: &[u8]) -> bool {
        let (Who::Node(number), Who::Person(_)) = (node, person) else { return false };
        let frame = read(bytes);
        let answer = self.liars.get_mut(&number).and_then(|liar| (liar.answers)(&frame));
        if let Some(body) = answer {
            self.put(node, person, Frame { request: frame.request, body });
            return true;
        }
        false
    }

    /// Carries frames until nobody has anything to say.
    pub(crate) fn run(&mut self) {
        while self.run_some(usize::MAX) {}
    }

    /// Carries a few frames of each connection; tells whether there were any.
    pub(crate) fn run_some(&mut self, frames: usize) -> bool {
        self.link();
        let ways: Vec<_> = self.network.keys().copied().collect();
        let mut any = false;
        for (from, to) in ways {
            for _ in 0..frames {
                let (late_from, late_to, late) = self.late;
                let waits =
                    |bytes: &Vec<u8>| (from, to) == (late_from, late_to) && late(&read(bytes).body);
                let Some(queue) = self.network.get_mut(&(from, to)) else { break };
                let next = queue.iter().position(|bytes| !waits(bytes));
                let Some(bytes) = next.and_then(|next| queue.remove(next)) else { break };
                any = true;
                if self.answer(from, to, &bytes) {
                    continue;
                }
                let name = self.name(from, to);
                self.give(to, Input::Frame(name, read(&bytes)), Input::Frame(name, read(&bytes)));
            }
        }
        any
    }

    /// Lets time pass, with everything that falls due in it.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        loop {
            self.run();
            let nodes = self.nodes.iter().filter_map(|host| host.machine.as_ref()?.poll_timeout());
            let people =
                self.people.iter().filter_map(|host| host.machine.as_ref()?.poll_timeout());
            let due = nodes.chain(people).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            for who in self.all() {
                let due = match who {
                    Who::Node(n) => self.nodes[n].machine.as_ref().and_then(Machine::poll_timeout),
                    Who::Person(n) => {
                        self.people[n].machine.as_ref().and_then(Machine::poll_timeout)
                    }
                };
                if due.is_some_and(|due| due <= self.now) {
                    self.give(who, Input::Timeout, Input::Timeout);
                }
            }
        }
        self.now = end;
    }

    // What users do and see.

    pub(crate) fn ask(&mut self, number: usize, action: Action) -> Result<Reply, CommandError> {
        let ticket = self.tell(number, action);
        self.run();
        let answer = self.events[number].iter().find_map(|event| match event {
            Event::Done { ticket: answered, result } if *answered == ticket => Some(result.clone()),
            _ => None,
        });
        answer.unwrap()
    }

    /// Gives a command without carrying any frame.
    pub(crate) fn tell(&mut self, number: usize, action: Action) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        let now = self.now;
        let (said, told) =
            self.people[number].give(Input::Command(Command { ticket, action }), now);
        self.events[number].extend(told);
        self.send(Who::Person(number), said);
        self.hang_up(Who::Person(number));
        ticket
    }

    pub(crate) fn say(&mut self, number: usize, text: &str) {
        let contact = self.friend(number);
        self.tell(number, Action::Send { contact, text: text.to_owned().into(), reply_to: None });
    }

    /// The device was told that somebody types since this was last asked.
    pub(crate) fn saw_typing(&mut self, number: usize) -> bool {
        let events = std::mem::take(&mut self.events[number]);
        events.iter().any(|event| matches!(event, Event::Typing(_)))
    }

    pub(crate) fn rows(&self, number: usize) -> &Memory {
        &self.people[number].store
    }

    pub(crate) fn node_rows(&self, number: usize) -> &Memory {
        &self.nodes[number].store
    }

    pub(crate) fn wipe(&mut self, node: usize) {
        self.crash(Who::Node(node));
        self.nodes[node].store = Memory::new();
        self.start(Who::Node(node));
    }

    /// The disk of a node loses all entries, and nothing else.
    pub(crate) fn lose_entries(&mut self, node: usize) {
        self.crash(Who::Node(node));
        let (store, mut batch) = (&mut self.nodes[node].store, WriteBatch::default());
        for table in ENTRIES {
            store.scan(table, &[], &[0xFF; 80], Direction::Forward, &mut |key, _| {
                batch.delete(table, key);
                ControlFlow::Continue(())
            });
        }
        store.apply(&batch).unwrap();
        self.start(Who::Node(node));
    }

    pub(crate) fn log(&self, number: usize) -> LogId {
        let contacts = view::contacts(self.rows(number));
        let friend = self.friend(number);
        let contact = contacts.into_iter().find(|view| view.account == friend).unwrap();
        contact.conversation.unwrap()
    }

    pub(crate) fn messages(&self, number: usize) -> Vec<MessageView> {
        let (rows, log) = (self.rows(number), self.log(number));
        let items = view::timeline(rows, &log, Range::Latest, usize::MAX, self.now);
        let message = |item| match item {
            Item::Message(message) => Some(message),
            Item::Gap { .. } => None,
        };
        items.into_iter().filter_map(message).collect()
    }

    pub(crate) fn texts(&self, number: usize) -> Vec<String> {
        self.messages(number).into_iter().filter_map(|message| message.text).collect()
    }

    pub(crate) fn marks(&self, number: usize) -> Vec<Mark> {
        self.messages(number).into_iter().filter_map(|message| message.mark).collect()
    }
}

/// Where a node has entries, and the ways to them: `spec/logs.md`, section 10.
const ENTRIES: [Table; 3] = [Table(4), Table(5), Table(6)];

fn node_secret(number: usize) -> SigningKey {
    SigningKey::from_seed([200 + u8::try_from(number).unwrap(); 32])
}

fn node_key(number: usize) -> PublicKey {
    node_secret(number).public()
}

fn read(bytes: &[u8]) -> Frame {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    reader.next_frame().unwrap().unwrap().0
}
