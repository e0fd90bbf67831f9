//! Nodes and people's devices: the real machines in one network. Frames between two of them arrive
//! in order.

mod rules;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use client::{
    Action, Client, Command, CommandError, Config, DeliveryStatus, Event, InviteLink, Reply,
    transport_seed,
    view::{self, Item, MessageView, Range},
};
use crypto::{SigningKey, identity::Phrase};
use node::{Node, NodeConfig, Registration};
use proto::{
    AccountId, Body, Code, ConversationId, Frame, Input, Instant, LogId, NodeAddress, NodeId,
    PublicKey, Reference, Table, WriteBatch,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use rules::Rules;
use store::{Memory, Store};
use testnet::{Either, Host, Keys, Net};

type Machine = Either<Node, Client>;

/// A host of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Node(usize),
    Person(usize),
}

pub(crate) struct World {
    pub(crate) net: Net<Machine>,
    nodes: usize,
    /// What each person's device was asked last.
    asked: BTreeMap<usize, u64>,
    tickets: u64,
    rules: Rc<RefCell<Rules>>,
    rng: ChaCha20Rng,
}

// Who is there.
impl World {
    /// Creates one node, and devices without an account.
    pub(crate) fn new(seed: u8, devices: usize) -> Self {
        Self::without_accounts(seed, 1, devices)
    }

    /// Creates nodes and devices without an account.
    fn without_accounts(seed: u8, nodes: usize, devices: usize) -> Self {
        let rules = Rc::new(RefCell::new(Rules::new(nodes)));
        let mut world = Self {
            net: Net::new(seed.into()),
            nodes,
            asked: BTreeMap::new(),
            tickets: 0,
            rules: Rc::clone(&rules),
            rng: ChaCha20Rng::from_seed([seed; 32]),
        };
        world.net.on_frame(move |sent| rules.borrow_mut().fate(sent));
        for n in 0..nodes {
            let config = move || Either::Left(node_config(n));
            let gauges = |machine: &Machine| machine.left_ref().gauges();
            world.net.add(Keys::One(node_key(n)), None, config, gauges);
            world.start(Who::Node(n));
        }
        for n in 0..devices {
            let mut transport = [0; 32];
            world.rng.fill_bytes(&mut transport);
            let config = move || Either::Right(Config { transport: transport.into() });
            let key = move |node: &PublicKey| {
                SigningKey::from_seed(*transport_seed(&transport, node)).public()
            };
            let gauges = |machine: &Machine| machine.right_ref().gauges();
            world.net.add(Keys::PerPeer(Box::new(key)), None, config, gauges);
            world.start(Who::Person(n));
        }
        world.run();
        world
    }

    /// Creates nodes, and these people with the numbers of their home nodes.
    pub(crate) fn at(seed: u8, nodes: usize, people: &[(&str, Vec<usize>)]) -> Self {
        let mut world = Self::without_accounts(seed, nodes, people.len());
        for (number, (name, homes)) in people.iter().enumerate() {
            world.create_at(number, name, homes);
        }
        world
    }

    /// Creates nodes and these people, each at home at the node of the same number.
    pub(crate) fn of(seed: u8, nodes: usize, people: &[&str]) -> Self {
        let people = people.iter().enumerate().map(|(number, name)| (*name, vec![number]));
        Self::at(seed, nodes, &people.collect::<Vec<_>>())
    }

    /// Creates two people at one node who have accepted each other.
    pub(crate) fn acquainted(seed: u8) -> Self {
        Self::at(seed, 1, &[("Ada", vec![0]), ("Ben", vec![0])]).acquaint()
    }

    /// Creates two people, each with a node of their own, who have accepted each other.
    pub(crate) fn acquainted_across(seed: u8) -> Self {
        Self::of(seed, 2, &["Ada", "Ben"]).acquaint()
    }

    /// The first two people accept each other; the second one has asked.
    pub(crate) fn acquaint(mut self) -> Self {
        let link = self.invite(0);
        self.add(1, link);
        self.accept(0);
        self.pass(Duration::from_secs(1));
        self
    }

    pub(crate) fn create(&mut self, person: usize, name: &str) -> AccountId {
        self.create_at(person, name, &[0])
    }

    fn create_at(&mut self, person: usize, name: &str, homes: &[usize]) -> AccountId {
        let phrase = self.phrase();
        let homes = homes.iter().map(|node| self.address(*node)).collect();
        let action = Action::CreateAccount { phrase, name: name.into(), homes };
        let Reply::Account(account) = self.ask(person, action).unwrap() else { panic!() };
        account
    }

    pub(crate) fn phrase(&mut self) -> Phrase {
        Phrase::generate(&mut self.rng)
    }

    pub(crate) fn address(&self, node: usize) -> NodeAddress {
        let port = 4440 + u16::try_from(node).unwrap();
        NodeAddress {
            node: NodeId(node_key(node).0),
            addresses: vec![([127, 0, 0, 1], port).into()],
        }
    }

    /// Returns the account of the other one of the first two people.
    pub(crate) fn friend(&self, person: usize) -> AccountId {
        view::account(self.rows(1 - person)).unwrap().account
    }

    fn number(&self, who: Who) -> usize {
        match who {
            Who::Node(n) => n,
            Who::Person(n) => self.nodes + n,
        }
    }

    pub(crate) fn host(&mut self, who: Who) -> &mut Host<Machine> {
        let number = self.number(who);
        &mut self.net.hosts[number]
    }

    fn person(&self, person: usize) -> &Host<Machine> {
        &self.net.hosts[self.nodes + person]
    }

    pub(crate) fn client(&self, person: usize) -> &Client {
        self.person(person).machine().right_ref()
    }
}

// What can happen to them.
impl World {
    pub(crate) fn start(&mut self, who: Who) {
        self.net.start(self.number(who));
    }

    /// The power fails: what was not synced and what was on its way is lost.
    pub(crate) fn crash(&mut self, who: Who) {
        self.net.crash(self.number(who));
    }

    /// A node is dead, and no peer has noticed: what is sent to it is lost.
    pub(crate) fn stun(&mut self, node: usize) {
        self.net.stun(node);
    }

    pub(crate) fn set_cut(&mut self, a: Who, b: Who, cut: bool) {
        let (a, b) = (self.number(a), self.number(b));
        self.net.set_cut(a, b, cut);
    }

    /// Cuts a device off the first node, or connects it again.
    pub(crate) fn set_offline(&mut self, person: usize, offline: bool) {
        self.set_cut(Who::Person(person), Who::Node(0), offline);
    }

    fn restart_with(&mut self, node: usize, change: fn(&mut NodeConfig, usize)) {
        self.crash(Who::Node(node));
        self.net.hosts[node].set_config(move || {
            let mut config = node_config(node);
            change(&mut config, node);
            Either::Left(config)
        });
        self.start(Who::Node(node));
    }

    /// A node takes no new accounts from now on.
    pub(crate) fn close(&mut self, node: usize) {
        self.restart_with(node, |config, _| config.registration = Registration::Closed);
    }

    /// A node signs with a key that is not its own from now on.
    pub(crate) fn forge(&mut self, node: usize) {
        self.restart_with(node, |config, node| config.key = Some(node_secret(node + 50)));
    }

    /// A node lies to people from now on: it answers some of what they ask itself, and changes what
    /// its honest half sends.
    pub(crate) fn lie(
        &self,
        node: usize,
        answers: impl FnMut(&Frame) -> Option<Body> + 'static,
        says: impl FnMut(Frame) -> Vec<Frame> + 'static,
    ) {
        self.rules.borrow_mut().lie(node, answers, says);
    }

    /// A node refuses some of what people ask from now on.
    pub(crate) fn refuse(&self, node: usize, refused: fn(&Body) -> Option<Code>) {
        let answers = move |frame: &Frame| {
            let code = refused(&frame.body).filter(|_| frame.request != 0)?;
            Some(Body::Refused { code, newer: Vec::new() })
        };
        self.lie(node, answers, |frame| vec![frame]);
    }

    /// A node tells the truth again.
    pub(crate) fn repent(&self, node: usize) {
        self.rules.borrow_mut().repent(node);
    }

    /// Frames of a kind from nodes to people never arrive from now on.
    pub(crate) fn lose(&self, lost: fn(&Frame) -> bool) {
        self.rules.borrow_mut().lost = lost;
    }

    /// Holds frames of a kind in one direction until told otherwise.
    pub(crate) fn delay(&mut self, from: Who, to: Who, late: fn(&Body) -> bool) {
        self.rules.borrow_mut().late = (self.number(from), self.number(to), late);
        self.net.release();
    }

    /// Hands a device a frame in the name of the first node.
    pub(crate) fn inject(&mut self, person: usize, frame: Frame) {
        let person = self.number(Who::Person(person));
        self.net.input(person, Input::Frame(node_key(0), frame));
    }

    /// The node refuses what was appended last, which is lost on its way.
    pub(crate) fn refuse_append(&mut self, person: usize, code: Code) {
        self.net.lose_all();
        let appended = |frame: &Frame| matches!(frame.body, Body::Append { .. });
        let request = self.frames().into_iter().rfind(appended).unwrap().request;
        self.inject(person, Frame { request, body: Body::Refused { code, newer: Vec::new() } });
    }

    pub(crate) fn wipe(&mut self, node: usize) {
        self.crash(Who::Node(node));
        self.net.hosts[node].store = Memory::new();
        self.start(Who::Node(node));
    }

    /// The disk of a node loses all entries, and nothing else.
    pub(crate) fn lose_entries(&mut self, node: usize) {
        self.crash(Who::Node(node));
        let (host, mut batch) = (&mut self.net.hosts[node], WriteBatch::default());
        for table in ENTRIES {
            host.rows(table).into_iter().for_each(|(key, _)| batch.delete(table, key));
        }
        host.store.apply(&batch).unwrap();
        self.start(Who::Node(node));
    }
}

// Time and frames.
impl World {
    pub(crate) fn now(&self) -> Instant {
        self.net.now
    }

    pub(crate) fn run(&mut self) {
        self.net.run();
    }

    /// Carries a few frames of each direction, and leaves the others on their way.
    pub(crate) fn run_some(&mut self, frames: usize) {
        self.net.carry(frames);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.net.pass(time);
    }

    /// Returns every frame that was sent, with its sender and receiver.
    pub(crate) fn said(&self) -> impl Iterator<Item = (Who, Who, &Frame)> {
        let who = |number: usize| match number.checked_sub(self.nodes) {
            Some(person) => Who::Person(person),
            None => Who::Node(number),
        };
        self.net.sent.iter().map(move |sent| (who(sent.from), who(sent.to), &sent.frame))
    }

    /// Returns every frame that was sent.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        self.net.sent.iter().map(|sent| sent.frame.clone()).collect()
    }

    /// Returns how many frames of a kind were sent.
    pub(crate) fn count(&self, kind: fn(&Body) -> bool) -> usize {
        self.net.sent.iter().filter(|sent| kind(&sent.frame.body)).count()
    }
}

// What users do.
impl World {
    pub(crate) fn ask(&mut self, person: usize, action: Action) -> Result<Reply, CommandError> {
        self.command(person, action);
        self.run();
        self.answer(person)
    }

    /// Gives a command without carrying any frame.
    pub(crate) fn command(&mut self, person: usize, action: Action) {
        self.tickets += 1;
        let ticket = self.tickets;
        self.asked.insert(person, ticket);
        let number = self.number(Who::Person(person));
        self.net.command(number, Either::Right(Command { ticket, action }));
    }

    /// Returns the answer to what a device was asked last.
    pub(crate) fn answer(&self, person: usize) -> Result<Reply, CommandError> {
        let asked = self.asked[&person];
        let answer = self.events(person).find_map(|event| match event {
            Event::Done { ticket, result } if *ticket == asked => Some(result.clone()),
            _ => None,
        });
        answer.expect("the command is answered")
    }

    pub(crate) fn invite(&mut self, person: usize) -> InviteLink {
        let link = self.make_invite(person);
        self.run();
        link
    }

    /// Makes an invite without carrying any frame.
    pub(crate) fn make_invite(&mut self, person: usize) -> InviteLink {
        self.command(person, Action::Invite { uses: 1, valid_s: 3600 });
        let Reply::Link(link) = self.answer(person).unwrap() else { panic!() };
        link
    }

    pub(crate) fn add(&mut self, person: usize, link: InviteLink) {
        self.ask(person, Action::AddContact { link, name: "x".into() }).unwrap();
    }

    pub(crate) fn accept(&mut self, person: usize) {
        let contact = self.friend(person);
        self.ask(person, Action::Accept { contact }).unwrap();
    }

    /// Sends the friend a text without carrying any frame.
    pub(crate) fn queue(&mut self, person: usize, text: &str) {
        let contact = self.friend(person);
        self.command(
            person,
            Action::Send {
                conversation: contact.into(),
                text: text.to_owned().into(),
                reply_to: None,
            },
        );
    }

    /// Sends the friend a text, and carries all frames.
    pub(crate) fn send(&mut self, person: usize, text: &str) -> Reply {
        self.queue(person, text);
        self.run();
        self.answer(person).unwrap()
    }
}

// What users see.
impl World {
    pub(crate) fn events(&self, person: usize) -> impl Iterator<Item = &Event> {
        self.person(person).events.iter().map(Either::right_ref)
    }

    /// Returns whether the device was told that the contact types since this was last asked.
    pub(crate) fn saw_typing(&mut self, person: usize) -> bool {
        let seen = self.events(person).any(|event| matches!(event, Event::Typing { .. }));
        self.host(Who::Person(person)).events.clear();
        seen
    }

    pub(crate) fn rows(&self, person: usize) -> &Memory {
        &self.person(person).store
    }

    pub(crate) fn rows_in(&self, person: usize, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.person(person).rows(table)
    }

    pub(crate) fn log(&self, person: usize) -> LogId {
        view::log(self.rows(person), &self.conversation(person)).unwrap()
    }

    pub(crate) fn conversation(&self, person: usize) -> ConversationId {
        self.friend(person).into()
    }

    pub(crate) fn messages(&self, person: usize) -> Vec<MessageView> {
        let (rows, with) = (self.rows(person), self.conversation(person));
        let items = view::timeline(rows, &with, Range::Latest, usize::MAX, self.now());
        let message = |item| match item {
            Item::Message(message) => Some(message),
            Item::Gap { .. } => None,
        };
        items.into_iter().filter_map(message).collect()
    }

    pub(crate) fn texts(&self, person: usize) -> Vec<String> {
        self.messages(person).into_iter().filter_map(|message| message.text).collect()
    }

    pub(crate) fn statuses(&self, person: usize) -> Vec<DeliveryStatus> {
        self.messages(person).into_iter().filter_map(|message| message.status).collect()
    }

    fn message(&self, person: usize, text: &str) -> MessageView {
        let mut messages = self.messages(person).into_iter();
        messages.find(|message| message.text.as_deref() == Some(text)).unwrap()
    }

    pub(crate) fn status(&self, person: usize, text: &str) -> DeliveryStatus {
        self.message(person, text).status.unwrap()
    }

    pub(crate) fn reference(&self, person: usize, text: &str) -> Reference {
        self.message(person, text).key.id.reference()
    }

    /// Returns how full a collection of a device is.
    pub(crate) fn gauge(&self, person: usize, name: &str) -> u64 {
        let gauges = self.client(person).gauges();
        gauges.into_iter().find(|gauge| gauge.name == name).unwrap().value
    }
}

/// Where a node has entries, and the ways to them: `spec/logs.md`, section 10.
const ENTRIES: [Table; 3] = [Table(4), Table(5), Table(6)];

fn node_config(number: usize) -> NodeConfig {
    let key = Some(node_secret(number));
    NodeConfig { key, ..NodeConfig::new(NodeId(node_key(number).0)) }
}

fn node_secret(number: usize) -> SigningKey {
    SigningKey::from_seed([200 + u8::try_from(number).unwrap(); 32])
}

fn node_key(number: usize) -> PublicKey {
    node_secret(number).public()
}
