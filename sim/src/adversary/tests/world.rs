//! Real devices around one server.

use std::time::Duration;

use client::{
    Action, Client, Command, Config, DeliveryStatus, Event, Reply, transport_seed,
    view::{self, Item, MessageView, Range},
};
use crypto::{SigningKey, identity::Phrase};
use node::NodeConfig;
use proto::{AccountId, Body, Input, LogId, NodeAddress, NodeId, Peer, PublicKey};
use testnet::{Either, Host, Keys, Net, Sent};

use super::super::{Server, ServerConfig};
use crate::{Behaviour, Mutant, rng::Rng};

type Machine = Either<Server, Client>;

/// A server, which is host 0, and devices, the first of which is host 1.
pub(super) struct World {
    pub(super) net: Net<Machine>,
    accounts: Vec<Option<AccountId>>,
    tickets: u64,
    rng: Rng,
}

impl World {
    /// Creates a server and devices that have accounts there.
    pub(super) fn new(seed: u64, devices: usize, behaviour: Option<Behaviour>) -> Self {
        let rng = Rng::new(seed, "adversary's world", 0);
        let mut world = Self { net: Net::new(seed), accounts: Vec::new(), tickets: 0, rng };
        world.net.latency = Duration::from_millis(20);
        let config = world.server_config(behaviour, None);
        let gauges = |machine: &Machine| machine.left_ref().gauges();
        world.net.add(Keys::One(PublicKey(node().0)), None, config, gauges);
        world.net.start(SERVER);
        for _ in 0..devices {
            world.join(None);
        }
        world.pass(Duration::from_secs(60));
        world
    }

    /// Creates two people who have accepted each other at an honest server, which then turns
    /// malicious.
    pub(super) fn acquainted(seed: u64, behaviour: Option<Behaviour>) -> Self {
        let mut world = Self::new(seed, 2, None);
        world.befriend();
        world.restart(behaviour, None);
        world
    }

    fn server_config(
        &mut self,
        behaviour: Option<Behaviour>,
        mutant: Option<Mutant>,
    ) -> impl Fn() -> Either<ServerConfig, Config> + 'static {
        let key = Some(SigningKey::from_seed(NODE_SEED));
        let node = NodeConfig { key, ..NodeConfig::new(node()) };
        let rng = Rng::new(self.rng.below(u64::MAX), "adversary", 0);
        let config = ServerConfig { node, behaviour, mutant, keys: Vec::new(), rng };
        move || Either::Left(config.clone())
    }

    /// Adds a device, of a new account or of the one that another device has made.
    pub(super) fn join(&mut self, of: Option<usize>) {
        let number = self.accounts.len();
        let transport: [u8; 32] = self.rng.bytes();
        let config = move || Either::Right(Config { transport: transport.into() });
        let key =
            move |node: &Peer| SigningKey::from_seed(*transport_seed(&transport, node)).public();
        let gauges = |machine: &Machine| machine.right_ref().gauges();
        let host = self.net.add(Keys::PerPeer(Box::new(key)), None, config, gauges);
        self.net.start(host);
        self.accounts.push(None);
        let whose = of.unwrap_or(number) as u64;
        let phrase = Phrase::generate(Rng::new(whose, "phrase", 0).generator());
        let address = "127.0.0.1:4440".parse().unwrap();
        let homes = vec![NodeAddress { node: node(), addresses: vec![address] }];
        let name = number.to_string();
        self.ask(
            number,
            match of {
                Some(_) => Action::RecoverAccount { phrase, name, homes },
                None => Action::CreateAccount { phrase, name, homes },
            },
        );
        self.pass(Duration::from_secs(60));
        let account = self.events(number).find_map(|event| match event {
            Event::Done { result: Ok(Reply::Account(account)), .. } => Some(*account),
            _ => None,
        });
        self.accounts[number] = account;
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

    pub(super) fn restart(&mut self, behaviour: Option<Behaviour>, mutant: Option<Mutant>) {
        let config = self.server_config(behaviour, mutant);
        self.net.hosts[SERVER].set_config(config);
        self.net.kill(SERVER);
        self.net.start(SERVER);
        self.pass(CONNECTED_WITHIN);
    }

    /// Ends the connection of a device, which dials again.
    pub(super) fn reconnect(&mut self, number: usize) {
        self.net.disconnect(SERVER, host(number));
        self.pass(CONNECTED_WITHIN);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.net.pass(time);
    }

    /// Hands the server a frame of a device.
    pub(super) fn give_server(&mut self, from: usize, frame: proto::Frame) {
        let peer = self.net.key(host(from), &PublicKey(node().0));
        self.net.input(SERVER, Input::Frame(peer, frame));
    }

    pub(super) fn server(&self) -> &Server {
        self.net.hosts[SERVER].machine().left_ref()
    }

    pub(super) fn server_host(&self) -> &Host<Machine> {
        &self.net.hosts[SERVER]
    }

    pub(super) fn client(&self, number: usize) -> &Client {
        self.device(number).machine().right_ref()
    }

    fn device(&self, number: usize) -> &Host<Machine> {
        &self.net.hosts[host(number)]
    }

    fn events(&self, number: usize) -> impl DoubleEndedIterator<Item = &Event> {
        self.device(number).events.iter().map(Either::right_ref)
    }

    /// How many frames were sent so far.
    pub(super) fn sent(&self) -> usize {
        self.net.sent.len()
    }

    /// The frames that the server has sent since so many were sent.
    pub(super) fn said(&self, since: usize) -> impl DoubleEndedIterator<Item = &Sent> + Clone {
        self.net.sent[since..].iter().filter(|sent| sent.from == SERVER)
    }

    /// The frames that the server has sent to a device since so many were sent.
    pub(super) fn said_to(
        &self,
        number: usize,
        since: usize,
    ) -> impl DoubleEndedIterator<Item = &Sent> + Clone {
        self.said(since).filter(move |sent| sent.to == host(number))
    }

    /// The frames that devices have sent since so many were sent.
    pub(super) fn asked(&self, since: usize) -> impl DoubleEndedIterator<Item = &Sent> {
        self.net.sent[since..].iter().filter(|sent| sent.to == SERVER)
    }

    /// The frames that a device has sent since so many were sent.
    pub(super) fn asked_by(
        &self,
        number: usize,
        since: usize,
    ) -> impl DoubleEndedIterator<Item = &Sent> {
        self.asked(since).filter(move |sent| sent.from == host(number))
    }

    /// How often the server has said something of this kind.
    pub(super) fn count(&self, of: impl Fn(&Body) -> bool) -> usize {
        self.said(0).filter(|sent| of(&sent.frame.body)).count()
    }

    pub(super) fn account(&self, number: usize) -> AccountId {
        self.accounts[number].unwrap()
    }

    /// Has a device do something; returns its answer, if that is no error.
    fn ask(&mut self, number: usize, action: Action) -> Option<Reply> {
        self.tickets += 1;
        let ticket = self.tickets;
        self.net.command(host(number), Either::Right(Command { ticket, action }));
        self.events(number).rev().find_map(|event| match event {
            Event::Done { ticket: of, result } if *of == ticket => result.clone().ok(),
            _ => None,
        })
    }

    /// One of the first two says something to the other.
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
        let contacts = view::contacts(&self.device(number).store).into_iter();
        let contact = self.account(1 - number);
        contacts.filter(|view| view.account == contact).find_map(|view| view.log)
    }

    fn messages(&self, number: usize) -> impl Iterator<Item = MessageView> {
        let rows = &self.device(number).store;
        let with = self.account(1 - number).into();
        let items = view::timeline(rows, &with, Range::Latest, usize::MAX, self.net.now);
        items.into_iter().filter_map(|item| match item {
            Item::Message(message) => Some(message),
            Item::Gap { .. } => None,
        })
    }

    pub(super) fn texts(&self, number: usize) -> Vec<String> {
        self.messages(number).filter_map(|message| message.text).collect()
    }

    pub(super) fn statuses(&self, number: usize) -> Vec<DeliveryStatus> {
        self.messages(number).filter_map(|message| message.status).collect()
    }
}

fn host(device: usize) -> usize {
    device + 1
}

fn node() -> NodeId {
    NodeId(SigningKey::from_seed(NODE_SEED).public().0)
}

const SERVER: usize = 0;
const NODE_SEED: [u8; 32] = [200; 32];
/// A dial and the first frame.
const CONNECTED_WITHIN: Duration = Duration::from_millis(100);
