//! Nodes that hold the same logs, and the connections between them.

use std::{collections::BTreeSet, time::Duration};

use node::NodeConfig;
use proto::{
    Body, Cursor, Entry, Envelope, Frame, Input, Instant, NodeAddress, NodeId, Open, Peer, Ranking,
};

use crate::world::{Account, Client, Conversation, NODE, World, append, open_frame};

pub(crate) const OTHER: NodeId = NodeId([0xBB; 32]);

pub(crate) struct Town {
    pub(crate) worlds: Vec<World>,
    /// At each node one, connected as peer 1.
    pub(crate) devices: Vec<Client>,
    /// Those of the devices, where two nodes have one each.
    pub(crate) accounts: Vec<Account>,
    /// Whether connections that a node wants are there at once, or with [`Self::link`].
    pub(crate) dials: bool,
    links: BTreeSet<(usize, usize)>,
    down: BTreeSet<usize>,
    /// What has gone from one node to another.
    pub(crate) said: Vec<(usize, usize, Frame)>,
}

impl Town {
    /// Two nodes; at each an account.
    pub(crate) fn new() -> Self {
        Self::with([NODE, OTHER].map(config))
    }

    pub(crate) fn with(configs: [NodeConfig; 2]) -> Self {
        let accounts = [Account::at(1, NODE), Account::at(2, OTHER)];
        let mut town = Self::from_worlds(configs.map(World::new).into());
        for (side, account) in accounts.iter().enumerate() {
            town.worlds[side].register(&town.devices[side], account);
        }
        Self { accounts: accounts.into(), ..town }
    }

    pub(crate) fn from_worlds(mut worlds: Vec<World>) -> Self {
        let devices = worlds.iter_mut().map(|world| world.connect(1)).collect();
        let (links, down) = (BTreeSet::new(), BTreeSet::new());
        let (accounts, said) = (Vec::new(), Vec::new());
        Self { worlds, devices, accounts, dials: false, links, down, said }
    }

    /// Two nodes that hold the same conversation, and have told each other.
    pub(crate) fn acquainted() -> (Self, Conversation) {
        Self::acquainted_with([NODE, OTHER].map(config))
    }

    pub(crate) fn acquainted_with(configs: [NodeConfig; 2]) -> (Self, Conversation) {
        let mut town = Self::with(configs);
        let talk = Conversation::new(60);
        town.open(0, 2, &talk);
        town.open(1, 2, &talk);
        town.link();
        town.carry();
        (town, talk)
    }

    pub(crate) fn name(&self, n: usize) -> Peer {
        self.worlds[n].name()
    }

    /// A member opens the conversation of two nodes at its node, and follows it.
    pub(crate) fn open(&mut self, n: usize, channel: u32, talk: &Conversation) {
        self.open_as(n, channel, talk, &ranking(1, &[NODE, OTHER]));
    }

    pub(crate) fn open_as(
        &mut self,
        n: usize,
        channel: u32,
        talk: &Conversation,
        ranking: &Ranking,
    ) {
        let opened = self.try_open(n, channel, talk, ranking);
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
    }

    pub(crate) fn try_open(
        &mut self,
        n: usize,
        channel: u32,
        talk: &Conversation,
        ranking: &Ranking,
    ) -> Body {
        let Conversation { genesis, log, key } = talk;
        let device = self.devices[n];
        let open = Open {
            ranking: Some(Box::new(ranking.clone())),
            ..open_frame(&device, channel, *log, key, Some(*genesis), Some(Cursor::default()))
        };
        self.worlds[n].ask(&device, Body::Open(open))
    }

    /// Connects those of whom one wants it.
    pub(crate) fn link(&mut self) {
        for a in 0..self.worlds.len() {
            for b in a + 1..self.worlds.len() {
                let names = [self.name(a), self.name(b)];
                let is_wanted = self.worlds[a].wanted.contains_key(&names[1])
                    || self.worlds[b].wanted.contains_key(&names[0]);
                let is_down = self.down.contains(&a) || self.down.contains(&b);
                if is_wanted && !is_down && self.links.insert((a, b)) {
                    self.worlds[a].input(Input::Connected(names[1], None));
                    self.worlds[b].input(Input::Connected(names[0], None));
                }
            }
        }
    }

    /// Ends the connection of two; what is on its way is lost.
    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        if self.links.remove(&(a.min(b), a.max(b))) {
            self.drop_link(a, b);
            self.drop_link(b, a);
        }
    }

    fn drop_link(&mut self, at: usize, other: usize) {
        let other = self.name(other);
        self.worlds[at].input(Input::Disconnected(other));
        self.worlds[at].take(other);
    }

    /// A node is not there until further notice.
    pub(crate) fn kill(&mut self, n: usize) {
        (0..self.worlds.len()).for_each(|other| self.cut(n, other));
        self.down.insert(n);
    }

    /// A node comes back with what is on its disk, and its device with it.
    pub(crate) fn revive(&mut self, n: usize) {
        self.down.remove(&n);
        self.worlds[n].crash();
        self.devices[n] = self.worlds[n].connect(1);
    }

    /// The power of a node fails. Its device connects again, and nothing else.
    pub(crate) fn crash(&mut self, n: usize) {
        for other in 0..self.worlds.len() {
            if self.links.remove(&(n.min(other), n.max(other))) {
                self.drop_link(other, n);
            }
        }
        self.revive(n);
    }

    /// Carries frames until all are silent; returns how many there were.
    pub(crate) fn carry(&mut self) -> usize {
        let before = self.said.len();
        while self.carry_some(usize::MAX) > 0 {}
        self.said.len() - before
    }

    /// Carries some of the frames that each node has for each other one, in their order, and leaves
    /// the others where they are.
    pub(crate) fn carry_some(&mut self, most: usize) -> usize {
        if self.dials {
            self.link();
        }
        let mut carried = 0;
        for (a, b) in self.links.clone() {
            for (from, to) in [(a, b), (b, a)] {
                let (here, there) = (self.name(from), self.name(to));
                for frame in self.worlds[from].take_some(there, most) {
                    carried += 1;
                    self.said.push((from, to, frame.clone()));
                    self.worlds[to].input(Input::Frame(here, frame));
                }
            }
        }
        carried
    }

    /// Brings what one node has for another one, and nothing else.
    pub(crate) fn bring(&mut self, from: usize, to: usize) {
        let (here, there) = (self.name(from), self.name(to));
        for frame in self.worlds[from].take(there) {
            self.worlds[to].input(Input::Frame(here, frame));
        }
    }

    /// Lets time pass for all, with what they say meanwhile.
    pub(crate) fn pass(&mut self, seconds: u64) {
        let end = Instant::from_secs(self.worlds[0].now.as_secs() + seconds);
        self.carry();
        loop {
            let (down, worlds) = (&self.down, &mut self.worlds);
            let up = worlds.iter_mut().enumerate().filter(|(n, _)| !down.contains(n));
            let mut up: Vec<&mut World> = up.map(|(_, world)| world).collect();
            let due = up.iter().filter_map(|world| world.poll_timeout()).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            for world in &mut up {
                world.now = world.now.max(due);
                if world.poll_timeout().is_some_and(|due| due <= world.now) {
                    world.input(Input::Timeout);
                }
            }
            self.carry();
        }
        self.worlds.iter_mut().for_each(|world| world.now = end);
    }

    pub(crate) fn append(&mut self, n: usize, channel: u32, envelope: &Envelope) -> Body {
        let device = self.devices[n];
        self.worlds[n].ask(&device, append(channel, envelope))
    }

    /// Everything that a node has of a log that its device has open, in timeline order.
    pub(crate) fn entries(&mut self, n: usize, channel: u32, talk: &Conversation) -> Vec<Entry> {
        self.worlds[n].entries(&self.devices[n], channel, talk)
    }

    /// The ciphertexts of them, as texts.
    pub(crate) fn texts(&mut self, n: usize, channel: u32, talk: &Conversation) -> Vec<String> {
        texts(self.entries(n, channel, talk))
    }

    /// How many frames of a kind a node has said to others.
    pub(crate) fn count(&self, n: usize, kind: fn(&Body) -> bool) -> usize {
        self.said.iter().filter(|(by, _, frame)| *by == n && kind(&frame.body)).count()
    }
}

pub(crate) fn texts(entries: Vec<Entry>) -> Vec<String> {
    entries.into_iter().map(|entry| String::from_utf8(entry.ciphertext).unwrap()).collect()
}

/// A node that compares so often that all is quiet soon.
pub(crate) fn config(node: NodeId) -> NodeConfig {
    NodeConfig { anti_entropy_every: Duration::from_secs(120), ..NodeConfig::new(node) }
}

pub(crate) fn ranking(version: u64, nodes: &[NodeId]) -> Ranking {
    let nodes = nodes.iter().map(|node| NodeAddress {
        node: *node,
        addresses: vec![([192, 0, 2, node.0[0]], 4440).into()],
    });
    Ranking { version, nodes: nodes.collect(), reserve: Vec::new() }
}

pub(crate) fn is_append(body: &Body) -> bool {
    matches!(body, Body::Append { .. })
}
