//! A small world: a node and a few devices, the real machines over stores in memory, joined by
//! frames that are encoded and decoded on the way.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may stop on the first thing that is not as it should be"
)]
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of it")]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use client::{
    Action, Client, Command, CommandError, Config, Event, InviteLink, Mark, Reply, transport_seed,
    view::{self, Item, MessageView, Range},
};
use crypto::{Phrase, SigningKey};
use node::{Node, NodeConfig};
use proto::{
    AccountId, Body, Code, Frame, FrameReader, Gauge, Input, Instant, LogId, Machine, NodeAddress,
    NodeId, Output, Peer, PublicKey, Reference, Seed, write_frame,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use store::{Memory, Store};

pub struct World {
    pub now: Instant,
    pub node: Side<Node>,
    pub devices: Vec<Device>,
    /// Every frame that crossed the network, as it was on the wire.
    pub wire: Vec<Vec<u8>>,
    /// Frames to devices that never arrive.
    pub lost: fn(&Frame) -> bool,
    /// Frames from devices that the node refuses whatever they are.
    pub refused: fn(&Frame) -> Option<Code>,
    network: VecDeque<(End, End, Vec<u8>)>,
    connected: BTreeSet<usize>,
    cut: BTreeSet<usize>,
    address: NodeAddress,
    rng: ChaCha20Rng,
}

pub struct Side<M: Machine> {
    pub machine: Option<M>,
    pub store: Memory,
}

pub struct Device {
    pub side: Side<Client>,
    pub events: Vec<Event>,
    /// The power fails after what leaves before the next commit has left.
    pub dies_before_commit: bool,
    transport: [u8; 32],
    tickets: u64,
}

const NODE_SEED: [u8; 32] = [200; 32];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Node,
    Device(usize),
}

impl World {
    pub fn new(seed: u8, devices: usize) -> Self {
        let node_key = SigningKey::from_seed(NODE_SEED).public();
        let address = NodeAddress {
            node: NodeId(node_key.0),
            addresses: vec!["127.0.0.1:4440".parse().unwrap()],
        };
        let mut world = Self {
            now: Instant::from_secs(1_800_000_000),
            node: Side { machine: None, store: Memory::new() },
            devices: Vec::new(),
            wire: Vec::new(),
            lost: |_| false,
            refused: |_| None,
            network: VecDeque::new(),
            connected: BTreeSet::new(),
            cut: BTreeSet::new(),
            address,
            rng: ChaCha20Rng::from_seed([seed; 32]),
        };
        for number in 0..devices {
            let transport = world.bytes();
            let side = Side { machine: None, store: Memory::new() };
            let (events, dies_before_commit) = (Vec::new(), false);
            world.devices.push(Device { side, events, dies_before_commit, transport, tickets: 0 });
            world.start_device(number);
        }
        world.start_node();
        world.run();
        world
    }

    pub fn address(&self) -> NodeAddress {
        self.address.clone()
    }

    fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    // What can happen to machines.

    pub fn start_node(&mut self) {
        let key = Some(SigningKey::from_seed(NODE_SEED));
        let config = NodeConfig { key, ..NodeConfig::new(self.address.node) };
        let seed = Seed(self.bytes());
        let rows = self.node.store.as_rows();
        self.node.machine = Some(Node::open(config, seed, self.now, rows).unwrap());
        for number in 0..self.devices.len() {
            self.dial(number);
        }
    }

    /// Kills the node: what it had not synced and what was on its way is lost.
    pub fn kill_node(&mut self) {
        self.node.machine = None;
        self.node.store = std::mem::take(&mut self.node.store).crash();
        self.network.clear();
        for number in std::mem::take(&mut self.connected) {
            self.give_device(number, Input::Disconnected(PublicKey(self.address.node.0)));
        }
    }

    pub fn start_device(&mut self, number: usize) {
        let seed = Seed(self.bytes());
        let device = &mut self.devices[number];
        let config = Config { transport: device.transport.into() };
        let rows = device.side.store.as_rows();
        device.side.machine = Some(Client::open(config, seed, self.now, rows).unwrap());
        self.drain_device(number);
        self.dial(number);
    }

    pub fn kill_device(&mut self, number: usize) {
        let device = &mut self.devices[number];
        device.dies_before_commit = false;
        device.side.machine = None;
        device.side.store = std::mem::take(&mut device.side.store).crash();
        self.hang_up(number);
    }

    /// Takes a device off the network, or puts it back.
    pub fn set_offline(&mut self, number: usize, offline: bool) {
        if offline {
            self.cut.insert(number);
            self.hang_up(number);
        } else {
            self.cut.remove(&number);
            self.dial(number);
        }
    }

    fn hang_up(&mut self, number: usize) {
        self.network
            .retain(|(from, to, _)| *from != End::Device(number) && *to != End::Device(number));
        if self.connected.remove(&number) {
            let peer = self.peer(number);
            self.give_node(Input::Disconnected(peer));
            if self.devices[number].side.machine.is_some() {
                self.give_device(number, Input::Disconnected(PublicKey(self.address.node.0)));
            }
        }
    }

    fn dial(&mut self, number: usize) {
        let up = self.node.machine.is_some() && self.devices[number].side.machine.is_some();
        if up && !self.cut.contains(&number) && self.connected.insert(number) {
            self.give_node(Input::Connected(self.peer(number), None));
            self.give_device(number, Input::Connected(PublicKey(self.address.node.0), None));
        }
    }

    fn peer(&self, number: usize) -> Peer {
        let node = PublicKey(self.address.node.0);
        let seed = transport_seed(&self.devices[number].transport, &node);
        SigningKey::from_seed(*seed).public()
    }

    fn give_node(&mut self, input: Input<node::NodeCommand>) {
        let Some(machine) = &mut self.node.machine else { return };
        machine.handle(input, self.now, self.node.store.as_rows());
        check(&machine.gauges());
        while let Some(output) = self.node.machine.as_mut().unwrap().poll_output() {
            match output {
                Output::Commit(batch) => {
                    self.node.store.apply(&batch).unwrap();
                    self.node.store.sync().unwrap();
                }
                Output::Transmit(peer, frame) => {
                    let number = (0..self.devices.len()).find(|n| self.peer(*n) == peer);
                    self.send(End::Node, End::Device(number.unwrap()), &frame);
                }
                Output::Note(_) => panic!("a node notes nothing"),
                Output::Reach(_) => {
                    panic!("a node relays nothing")
                }
                Output::Event(_) | Output::Connect(..) | Output::Disconnect(_) => {}
            }
        }
    }

    fn give_device(&mut self, number: usize, input: Input<Command>) {
        let device = &mut self.devices[number];
        let Some(machine) = &mut device.side.machine else { return };
        machine.handle(input, self.now, device.side.store.as_rows());
        check(&machine.gauges());
        self.drain_device(number);
    }

    fn drain_device(&mut self, number: usize) {
        let mut wants_link = false;
        loop {
            let device = &mut self.devices[number];
            let Some(output) = device.side.machine.as_mut().unwrap().poll_output() else { break };
            match output {
                Output::Commit(_) if device.dies_before_commit => {
                    self.kill_device(number);
                    return self.start_device(number);
                }
                Output::Commit(batch) => {
                    device.side.store.apply(&batch).unwrap();
                    device.side.store.sync().unwrap();
                }
                Output::Note(batch) => device.side.store.apply(&batch).unwrap(),
                Output::Transmit(_, frame) => {
                    if self.connected.contains(&number) {
                        self.send(End::Device(number), End::Node, &frame);
                    }
                }
                Output::Event(event) => device.events.push(event),
                Output::Connect(..) => wants_link = true,
                Output::Disconnect(_) => {}
                Output::Reach(_) => {
                    panic!("a device relays nothing")
                }
            }
        }
        if wants_link {
            self.redial(number);
        }
    }

    /// A device that wants a link only now is told that it is there.
    fn redial(&mut self, number: usize) {
        if self.connected.remove(&number) {
            self.give_node(Input::Disconnected(self.peer(number)));
        }
        self.dial(number);
    }

    fn send(&mut self, from: End, to: End, frame: &Frame) {
        let mut bytes = Vec::new();
        write_frame(frame, &mut bytes);
        self.wire.push(bytes.clone());
        self.network.push_back((from, to, bytes));
    }

    /// Loses what is on its way without anybody noticing.
    pub fn lose_all(&mut self) {
        self.network.clear();
    }

    /// Lets the node refuse what was appended last, which is lost on its way.
    pub fn refuse_append(&mut self, number: usize, code: Code) {
        self.lose_all();
        let appended = |frame: &Frame| matches!(frame.body, Body::Append { .. });
        let request = self.frames().into_iter().rfind(appended).unwrap().request;
        self.inject(number, Frame { request, body: Body::Refused { code, newer: Vec::new() } });
    }

    /// How many frames of a kind were on the wire.
    pub fn count(&self, kind: fn(&Body) -> bool) -> usize {
        self.frames().iter().filter(|frame| kind(&frame.body)).count()
    }

    /// Carries frames until nobody has anything to say.
    pub fn run(&mut self) {
        while self.run_one() {}
    }

    /// Frames are on their way.
    pub fn is_busy(&self) -> bool {
        !self.network.is_empty()
    }

    /// Carries a few frames and leaves the others on their way.
    pub fn run_some(&mut self, frames: usize) {
        for _ in 0..frames {
            self.run_one();
        }
    }

    fn run_one(&mut self) -> bool {
        let Some((from, to, bytes)) = self.network.pop_front() else { return false };
        let frame = read(&bytes);
        match (from, to) {
            (End::Device(_), _) if let Some(code) = (self.refused)(&frame) => {
                let body = Body::Refused { code, newer: Vec::new() };
                self.send(End::Node, from, &Frame { request: frame.request, body });
            }
            (End::Device(number), _) => self.give_node(Input::Frame(self.peer(number), frame)),
            (End::Node, End::Device(_)) if (self.lost)(&frame) => {}
            (End::Node, End::Device(number)) => self.inject(number, frame),
            (End::Node, End::Node) => {}
        }
        true
    }

    /// Lets the node, or somebody in its place, say something to a device.
    pub fn inject(&mut self, number: usize, frame: Frame) {
        let node = PublicKey(self.address.node.0);
        self.give_device(number, Input::Frame(node, frame));
    }

    /// The frames that were on the wire.
    pub fn frames(&self) -> Vec<Frame> {
        self.wire.iter().map(|bytes| read(bytes)).collect()
    }

    /// Lets time pass, with everything that falls due in it.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        self.run();
        while self.fire(end) {
            self.run();
        }
        self.now = end;
    }

    /// Carries out what falls due next, if that is before `end`, without carrying any frame.
    pub fn fire(&mut self, end: Instant) -> bool {
        let node = self.node.machine.as_ref().and_then(Machine::poll_timeout);
        let devices = self.devices.iter().filter_map(|d| d.side.machine.as_ref());
        let due = devices.filter_map(Machine::poll_timeout).chain(node).min();
        let Some(due) = due.filter(|due| *due <= end) else { return false };
        self.now = self.now.max(due);
        if node.is_some_and(|node| node <= self.now) {
            self.give_node(Input::Timeout);
        }
        for number in 0..self.devices.len() {
            let machine = self.devices[number].side.machine.as_ref();
            if machine.and_then(Machine::poll_timeout).is_some_and(|due| due <= self.now) {
                self.give_device(number, Input::Timeout);
            }
        }
        true
    }

    // What users do.

    pub fn ask(&mut self, number: usize, action: Action) -> Result<Reply, CommandError> {
        self.tell(number, action);
        self.run();
        self.answer(number)
    }

    /// Gives a command without carrying any frame.
    pub fn tell(&mut self, number: usize, action: Action) {
        let device = &mut self.devices[number];
        device.tickets += 1;
        let ticket = device.tickets;
        self.give_device(number, Input::Command(Command { ticket, action }));
    }

    pub fn answer(&self, number: usize) -> Result<Reply, CommandError> {
        let device = &self.devices[number];
        let answer = device.events.iter().rev().find_map(|event| {
            let Event::Done { ticket, result } = event else { return None };
            (*ticket == device.tickets).then(|| result.clone())
        });
        answer.expect("the command is answered")
    }

    pub fn phrase(&mut self) -> Phrase {
        Phrase::generate(&mut self.rng)
    }

    pub fn create(&mut self, number: usize, name: &str) -> AccountId {
        let phrase = self.phrase();
        let homes = vec![self.address()];
        let action = Action::CreateAccount { phrase, name: name.into(), homes };
        let Reply::Account(account) = self.ask(number, action).unwrap() else { panic!() };
        account
    }

    pub fn invite(&mut self, number: usize) -> InviteLink {
        let link = self.tell_invite(number);
        self.run();
        link
    }

    /// Makes an invite without carrying any frame.
    pub fn tell_invite(&mut self, number: usize) -> InviteLink {
        self.tell(number, Action::Invite { uses: 1, valid_s: 3600 });
        let Reply::Link(link) = self.answer(number).unwrap() else { panic!() };
        link
    }

    /// Two people with accounts who have accepted each other.
    pub fn acquainted(seed: u8) -> (Self, AccountId, AccountId) {
        let mut world = Self::new(seed, 2);
        let (ada, ben) = (world.create(0, "Ada"), world.create(1, "Ben"));
        let link = world.invite(0);
        world.ask(1, Action::AddContact { link, name: "Ada".into() }).unwrap();
        world.ask(0, Action::Accept { contact: ben }).unwrap();
        world.pass(Duration::from_secs(1));
        (world, ada, ben)
    }

    pub fn say(&mut self, number: usize, to: AccountId, text: &str) -> Reply {
        let text = text.to_owned().into();
        self.ask(number, Action::Send { contact: to, text, reply_to: None }).unwrap()
    }

    // What users see.

    pub fn rows(&self, number: usize) -> &Memory {
        &self.devices[number].side.store
    }

    pub fn log(&self, number: usize, contact: AccountId) -> LogId {
        let contacts = view::contacts(self.rows(number));
        let contact = contacts.into_iter().find(|view| view.account == contact).unwrap();
        contact.conversation.unwrap()
    }

    pub fn messages(&self, number: usize, contact: AccountId) -> Vec<MessageView> {
        let log = self.log(number, contact);
        let items = view::timeline(self.rows(number), &log, Range::Latest, usize::MAX, self.now);
        let message = |item| match item {
            Item::Message(message) => Some(message),
            Item::Gap { .. } => None,
        };
        items.into_iter().filter_map(message).collect()
    }

    pub fn texts(&self, number: usize, contact: AccountId) -> Vec<String> {
        let messages = self.messages(number, contact).into_iter();
        messages.map(|m| m.text.unwrap_or_else(|| "(deleted)".into())).collect()
    }

    pub fn marks(&self, number: usize, contact: AccountId) -> BTreeMap<String, Mark> {
        let messages = self.messages(number, contact).into_iter();
        messages.filter_map(|m| Some((m.text?, m.mark?))).collect()
    }

    /// How full a collection of a device is.
    pub fn gauge(&self, number: usize, name: &str) -> u64 {
        let gauges = self.devices[number].side.machine.as_ref().unwrap().gauges();
        gauges.into_iter().find(|gauge| gauge.name == name).unwrap().value
    }

    pub fn reference(&self, number: usize, contact: AccountId, text: &str) -> Reference {
        let messages = self.messages(number, contact);
        let message = messages.iter().find(|m| m.text.as_deref() == Some(text)).unwrap();
        message.place.id.reference()
    }
}

/// No collection has more than its limit allows, ever.
fn check(gauges: &[Gauge]) {
    for gauge in gauges {
        assert!(gauge.value <= gauge.limit, "{gauge:?}");
    }
}

fn read(bytes: &[u8]) -> Frame {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    reader.next_frame().unwrap().unwrap().0
}
