//! Real devices around one server, joined by frames that are written and read on the way.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use client::{
    Action, Client, Command, Config, DeliveryStatus, Event, Reply, transport_seed,
    view::{self, Item, MessageView, Range},
};
use crypto::{SigningKey, identity::Phrase};
use node::{NodeCommand, NodeConfig};
use proto::{
    AccountId, Body, Frame, FrameReader, Input, Instant, LogId, Machine, NodeAddress, NodeId,
    Output, Peer, PublicKey, Seed, limits, write_frame,
};
use store::{Memory, Store};

use super::super::{Server, ServerConfig};
use crate::{Behaviour, Mutant, rng::Rng};

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) server: Option<Server>,
    pub(super) rows: Memory,
    pub(super) devices: Vec<Device>,
    /// What the server has said, to whom and when.
    pub(super) said: Vec<(Instant, usize, Frame)>,
    /// What devices have said.
    pub(super) asked: Vec<(Instant, usize, Frame)>,
    /// What is on its way, and when it arrives.
    network: VecDeque<(Instant, Toward, Vec<u8>)>,
    connected: BTreeSet<usize>,
    address: NodeAddress,
    rng: Rng,
}

pub(super) struct Device {
    pub(super) client: Client,
    pub(super) store: Memory,
    pub(super) events: Vec<Event>,
    pub(super) account: Option<AccountId>,
    transport: [u8; 32],
    tickets: u64,
}

enum Toward {
    Server(usize),
    Device(usize),
}

impl World {
    /// A server and devices that have accounts there.
    pub(super) fn new(seed: u64, devices: usize, behaviour: Option<Behaviour>) -> Self {
        Self::with(seed, devices, behaviour, None)
    }

    pub(super) fn with(
        seed: u64,
        count: usize,
        behaviour: Option<Behaviour>,
        mutant: Option<Mutant>,
    ) -> Self {
        let node = NodeId(SigningKey::from_seed(NODE_SEED).public().0);
        let mut world = Self {
            now: Instant::from_secs(1_800_000_000),
            server: None,
            rows: Memory::new(),
            devices: Vec::new(),
            said: Vec::new(),
            asked: Vec::new(),
            network: VecDeque::new(),
            connected: BTreeSet::new(),
            address: NodeAddress { node, addresses: vec!["127.0.0.1:4440".parse().unwrap()] },
            rng: Rng::new(seed, "adversary's world", 0),
        };
        world.start(behaviour, mutant);
        for _ in 0..count {
            world.join(None);
        }
        world.pass(Duration::from_secs(60));
        world
    }

    /// A new device, of a new account or of the one that a device has made.
    pub(super) fn join(&mut self, of: Option<usize>) {
        let number = self.devices.len();
        let (transport, store) = (self.rng.bytes(), Memory::new());
        let (config, seed) = (Config { transport: transport.into() }, Seed(self.rng.bytes()));
        let client = Client::open(config, seed, self.now, store.as_rows()).unwrap();
        let whose = of.unwrap_or(number) as u64;
        let phrase = Phrase::generate(Rng::new(whose, "phrase", 0).generator());
        let device =
            Device { client, store, events: Vec::new(), account: None, transport, tickets: 0 };
        self.devices.push(device);
        self.dial(number);
        let (name, homes) = (number.to_string(), vec![self.address.clone()]);
        self.ask(
            number,
            if of.is_some() {
                Action::RecoverAccount { phrase, name, homes }
            } else {
                Action::CreateAccount { phrase, name, homes }
            },
        );
        self.pass(Duration::from_secs(60));
        let account = self.devices[number].events.iter().find_map(|event| match event {
            Event::Done { result: Ok(Reply::Account(account)), .. } => Some(*account),
            _ => None,
        });
        self.devices[number].account = account;
    }

    /// Two people who have accepted each other at an honest server, which then begins to lie.
    pub(super) fn acquainted(seed: u64, behaviour: Option<Behaviour>) -> Self {
        let mut world = Self::new(seed, 2, None);
        world.befriend();
        world.restart(behaviour, None);
        world
    }

    /// Tries to make contacts of the first two.
    pub(super) fn befriend(&mut self) {
        let Some(Reply::Link(link)) = self.ask(0, Action::Invite { uses: 1, valid_s: 36_000 })
        else {
            panic!("no invite")
        };
        self.pass(Duration::from_secs(60));
        self.ask(1, Action::AddContact { link, name: "0".into() });
        self.pass(Duration::from_secs(120));
        self.ask(0, Action::Accept { contact: self.account(1) });
        self.pass(Duration::from_secs(120));
    }

    // What can happen to machines.

    pub(super) fn restart(&mut self, behaviour: Option<Behaviour>, mutant: Option<Mutant>) {
        self.network.clear();
        for number in 0..self.devices.len() {
            self.hang_up(number);
        }
        self.start(behaviour, mutant);
        for number in 0..self.devices.len() {
            self.dial(number);
        }
    }

    fn start(&mut self, behaviour: Option<Behaviour>, mutant: Option<Mutant>) {
        let key = Some(SigningKey::from_seed(NODE_SEED));
        let node = NodeConfig { key, ..NodeConfig::new(self.address.node) };
        let rng = Rng::new(self.rng.below(u64::MAX), "adversary", 0);
        let config = ServerConfig { node, behaviour, mutant, keys: Vec::new(), rng };
        let seed = Seed(self.rng.bytes());
        self.server = Some(Server::open(config, seed, self.now, self.rows.as_rows()).unwrap());
    }

    pub(super) fn dial(&mut self, number: usize) {
        if self.connected.insert(number) {
            self.give_server(Input::Connected(self.peer(number), None));
            self.give_device(number, Input::Connected(PublicKey(self.address.node.0), None));
        }
    }

    pub(super) fn hang_up(&mut self, number: usize) {
        self.network.retain(|(_, toward, _)| match toward {
            Toward::Server(n) | Toward::Device(n) => *n != number,
        });
        if self.connected.remove(&number) {
            self.give_server(Input::Disconnected(self.peer(number)));
            self.give_device(number, Input::Disconnected(PublicKey(self.address.node.0)));
        }
    }

    pub(super) fn peer(&self, number: usize) -> Peer {
        let node = PublicKey(self.address.node.0);
        SigningKey::from_seed(*transport_seed(&self.devices[number].transport, &node)).public()
    }

    pub(super) fn give_server(&mut self, input: Input<NodeCommand>) {
        let server = self.server.as_mut().unwrap();
        server.handle(input, self.now, self.rows.as_rows());
        while let Some(output) = self.server.as_mut().unwrap().poll_output() {
            match output {
                Output::Commit(batch) => self.rows.apply(&batch).unwrap(),
                Output::Transmit(peer, frame) => {
                    let number = (0..self.devices.len()).find(|n| self.peer(*n) == peer).unwrap();
                    self.said.push((self.now, number, frame.clone()));
                    if self.connected.contains(&number) {
                        let due = self.now.after(LATENCY);
                        self.network.push_back((due, Toward::Device(number), written(&frame)));
                    }
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
        device.client.handle(input, self.now, device.store.as_rows());
        let mut wants_link = false;
        while let Some(output) = self.devices[number].client.poll_output() {
            let device = &mut self.devices[number];
            match output {
                Output::Commit(batch) | Output::Note(batch) => device.store.apply(&batch).unwrap(),
                Output::Transmit(_, frame) => {
                    self.asked.push((self.now, number, frame.clone()));
                    if self.connected.contains(&number) {
                        let due = self.now.after(LATENCY);
                        self.network.push_back((due, Toward::Server(number), written(&frame)));
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
            self.hang_up(number);
            self.dial(number);
        }
    }

    /// Carries the frames that are due.
    fn carry(&mut self) {
        while let Some((_, toward, bytes)) = self.network.pop_front_if(|(due, ..)| *due <= self.now)
        {
            let mut reader = FrameReader::default();
            reader.push(&bytes);
            let (frame, _) = reader.next_frame().unwrap().unwrap();
            match toward {
                Toward::Server(from) => self.give_server(Input::Frame(self.peer(from), frame)),
                Toward::Device(to) => {
                    let node = PublicKey(self.address.node.0);
                    self.give_device(to, Input::Frame(node, frame));
                }
            }
        }
    }

    /// Lets time pass, with everything that falls due in it.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        loop {
            self.carry();
            let server = self.server.as_ref().and_then(Machine::poll_timeout);
            let devices = self.devices.iter().filter_map(|device| device.client.poll_timeout());
            let arrives = self.network.front().map(|(due, ..)| *due);
            let due = devices.chain(server).chain(arrives).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            if server.is_some_and(|server| server <= self.now) {
                self.give_server(Input::Timeout);
            }
            for number in 0..self.devices.len() {
                if self.devices[number].client.poll_timeout().is_some_and(|due| due <= self.now) {
                    self.give_device(number, Input::Timeout);
                }
            }
        }
        self.now = end;
    }

    // What people do and see.

    pub(super) fn account(&self, number: usize) -> AccountId {
        self.devices[number].account.unwrap()
    }

    /// Has a device do something; returns its answer, if that is no error.
    pub(super) fn ask(&mut self, number: usize, action: Action) -> Option<Reply> {
        let device = &mut self.devices[number];
        device.tickets += 1;
        let ticket = device.tickets;
        self.give_device(number, Input::Command(Command { ticket, action }));
        self.devices[number].events.iter().rev().find_map(|event| match event {
            Event::Done { ticket: of, result } if *of == ticket => result.clone().ok(),
            _ => None,
        })
    }

    /// The first two say something to each other.
    pub(super) fn say(&mut self, number: usize, text: &str) {
        let (contact, text) = (self.account(1 - number), text.to_owned().into());
        self.ask(number, Action::Send { conversation: contact.into(), text, reply_to: None });
    }

    /// They say `count` things in turns, two seconds apart.
    pub(super) fn chat(&mut self, count: usize) {
        for i in 0..count {
            self.say(i % 2, &format!("{i}"));
            self.pass(Duration::from_secs(2));
        }
    }

    /// The log of what the first two say to each other.
    pub(super) fn log(&self, number: usize) -> Option<LogId> {
        let contacts = view::contacts(&self.devices[number].store).into_iter();
        let contact = self.account(1 - number);
        contacts.filter(|view| view.account == contact).find_map(|view| view.conversation)
    }

    pub(super) fn messages(&self, number: usize) -> Vec<MessageView> {
        let rows = &self.devices[number].store;
        let Some(log) = self.log(number) else { return Vec::new() };
        let items = view::timeline(rows, &log, Range::Latest, usize::MAX, self.now);
        items
            .into_iter()
            .filter_map(|item| match item {
                Item::Message(message) => Some(message),
                Item::Gap { .. } => None,
            })
            .collect()
    }

    pub(super) fn texts(&self, number: usize) -> Vec<String> {
        self.messages(number).into_iter().filter_map(|message| message.text).collect()
    }

    pub(super) fn marks(&self, number: usize) -> Vec<DeliveryStatus> {
        self.messages(number).into_iter().filter_map(|message| message.mark).collect()
    }

    /// How often the server has said something of this kind.
    pub(super) fn count(&self, of: impl Fn(&Body) -> bool) -> usize {
        self.said.iter().filter(|(_, _, frame)| of(&frame.body)).count()
    }
}

/// A frame as it goes over the wire, where whoever gets it can read it.
fn written(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(frame, &mut bytes);
    assert!(bytes.len() <= limits::FRAME_MAX, "too large a frame");
    let mut reader = FrameReader::default();
    reader.push(&bytes);
    assert_eq!(reader.next_frame().unwrap().unwrap().0, *frame);
    bytes
}

/// One way.
const LATENCY: Duration = Duration::from_millis(20);

const NODE_SEED: [u8; 32] = [200; 32];
