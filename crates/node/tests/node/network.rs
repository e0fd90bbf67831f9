//! Nodes that take part in routing, and the devices that talk to them.

use std::time::Duration;

use crypto::SigningKey;
use node::{Node, NodeCommand, NodeConfig};
use proto::{
    Body, Frame, Hello, Input, NodeAddress, NodeId, Peer, PublicKey, Record, Routing, VERSIONS,
};
use routing::RouterConfig;
use testnet::{Keys, Net};

use crate::world::Account;

/// Nodes in a network of their own, each joined through the first.
pub(crate) struct Network {
    pub(crate) net: Net<Node>,
    requests: u32,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        let mut network = Self { net: Net::new(1), requests: 0 };
        (network.net.latency, network.net.notice) = (LATENCY, LATENCY);
        for number in 0..nodes {
            let at = address(number).addresses.first().copied();
            let keys = Keys::One(key(number).public());
            network.net.add(keys, at, move || config(number, &[0]), Node::gauges);
            network.net.hosts[number].relays = true;
            network.net.start(number);
        }
        network.pass(30);
        network
    }

    /// Starts a node again, which joins through these.
    pub(crate) fn start(&mut self, at: usize, through: &'static [usize]) {
        self.net.hosts[at].set_config(move || config(at, through));
        self.net.start(at);
    }

    pub(crate) fn id(&self, at: usize) -> NodeId {
        address(at).node
    }

    pub(crate) fn peer(&self, at: usize) -> Peer {
        key(at).public()
    }

    pub(crate) fn node(&self, at: usize) -> &Node {
        self.net.hosts[at].machine()
    }

    /// A device connects and says Hello.
    pub(crate) fn connect(&mut self, at: usize, device: u8) -> Peer {
        let peer = self.connect_silently(at, device);
        self.say(at, peer, 0, Body::Hello(Hello { versions: VERSIONS, nonce: [9; 16] }));
        peer
    }

    pub(crate) fn connect_silently(&mut self, at: usize, device: u8) -> Peer {
        let peer = PublicKey([device; 32]);
        self.net.input(at, Input::Connected(peer, None));
        peer
    }

    pub(crate) fn hang_up(&mut self, at: usize, peer: Peer) {
        self.net.input(at, Input::Disconnected(peer));
    }

    /// A peer says something to a node.
    pub(crate) fn say(&mut self, at: usize, peer: Peer, request: u32, body: Body) {
        self.net.input(at, Input::Frame(peer, Frame { request, body }));
    }

    /// A device asks, and waits for the answer.
    pub(crate) fn ask(&mut self, at: usize, peer: Peer, body: Body) -> Body {
        self.requests += 1;
        let request = 100_000 + self.requests;
        self.say(at, peer, request, body);
        self.answer(peer, request)
    }

    /// Waits for the answer to a request.
    pub(crate) fn answer(&mut self, peer: Peer, request: u32) -> Body {
        for _ in 0..400 {
            let mut hosts = self.net.hosts.iter_mut();
            if let Some(answer) =
                hosts.find_map(|host| host.take_first(peer, |f| f.request == request))
            {
                return answer.body;
            }
            self.net.pass(Duration::from_millis(50));
        }
        panic!("no answer")
    }

    /// Takes everything that a device was told.
    pub(crate) fn take(&mut self, device: Peer) -> Vec<Frame> {
        self.net.hosts.iter_mut().flat_map(|host| host.take(device)).collect()
    }

    /// Registers an account at a node.
    pub(crate) fn register(&mut self, at: usize, seed: u8) -> Account {
        let account = Account::at(seed, self.id(at));
        let device = self.connect(at, seed);
        let put = Body::PutBundle(account.bundle.as_bytes().to_vec());
        assert!(matches!(self.ask(at, device, put), Body::Accepted { .. }));
        // Publication follows.
        self.pass(1);
        account
    }

    pub(crate) fn command(&mut self, at: usize, command: NodeCommand) {
        self.net.command(at, command);
    }

    /// Returns what a node has said to other nodes.
    pub(crate) fn said_by(&self, at: usize) -> impl DoubleEndedIterator<Item = &Body> {
        let sent = self.net.sent.iter().filter(move |sent| sent.from == at);
        sent.map(|sent| &sent.frame.body)
    }

    /// Returns how often nodes were asked to keep an account's bundle.
    pub(crate) fn stores(&self, account: &Account) -> usize {
        let wanted = Record::Account(account.bundle.as_bytes().to_vec());
        let is_it = |body: &Body| matches!(body, Body::Routing(Routing::Store { record, .. }) if *record == wanted);
        self.net.sent.iter().filter(|sent| is_it(&sent.frame.body)).count()
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.net.pass(Duration::from_secs(seconds));
    }
}

fn key(number: usize) -> SigningKey {
    SigningKey::from_seed([100 + number as u8; 32])
}

pub(crate) fn address(number: usize) -> NodeAddress {
    let address = format!("127.0.0.1:{}", 4440 + number).parse().unwrap();
    NodeAddress { node: NodeId(key(number).public().0), addresses: vec![address] }
}

fn config(number: usize, through: &[usize]) -> NodeConfig {
    let NodeAddress { node, addresses } = address(number);
    let routing = RouterConfig {
        addresses,
        join: through.iter().filter(|n| **n != number).map(|n| address(*n)).collect(),
        verifier: crypto::node::Verifier::new(WORK_BITS),
        ..RouterConfig::new(key(number))
    };
    NodeConfig { routing: Some(routing), ..NodeConfig::new(node) }
}

/// Enough to be refused without, little enough for a test.
pub(crate) const WORK_BITS: u32 = 2;
const LATENCY: Duration = Duration::from_millis(20);
