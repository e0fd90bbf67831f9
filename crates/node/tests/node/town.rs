//! Two nodes that hold the same logs, and the connection between them.

use std::time::Duration;

use node::NodeConfig;
use proto::{
    Body, Cursor, Entry, Envelope, Frame, Input, Instant, NodeAddress, NodeId, Open, Peer, Ranking,
    Read,
};

use crate::world::{Account, Client, Conversation, NODE, World, append, open_frame};

pub(crate) const OTHER: NodeId = NodeId([0xBB; 32]);

/// Two nodes; at each an account whose device is connected as peer 1.
pub(crate) struct Town {
    pub(crate) worlds: [World; 2],
    pub(crate) devices: [Client; 2],
    pub(crate) accounts: [Account; 2],
    pub(crate) linked: bool,
    /// What has gone from one node to the other.
    pub(crate) said: Vec<(usize, Frame)>,
}

impl Town {
    pub(crate) fn new() -> Self {
        Self::with([NODE, OTHER].map(config))
    }

    pub(crate) fn with(configs: [NodeConfig; 2]) -> Self {
        let accounts = [Account::at(1, NODE), Account::at(2, OTHER)];
        let mut worlds = configs.map(World::new);
        let devices = worlds.each_mut().map(|world| world.connect(1));
        for side in [0, 1] {
            worlds[side].register(&devices[side], &accounts[side]);
        }
        Self { worlds, devices, accounts, linked: false, said: Vec::new() }
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

    pub(crate) fn name(&self, side: usize) -> Peer {
        self.worlds[side].name()
    }

    /// A member opens the conversation at its node, and follows it.
    pub(crate) fn open(&mut self, side: usize, channel: u32, talk: &Conversation) {
        self.open_as(side, channel, talk, &ranking(1, &[NODE, OTHER]));
    }

    pub(crate) fn open_as(
        &mut self,
        side: usize,
        channel: u32,
        talk: &Conversation,
        ranking: &Ranking,
    ) {
        let opened = self.try_open(side, channel, talk, ranking);
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
    }

    pub(crate) fn try_open(
        &mut self,
        side: usize,
        channel: u32,
        talk: &Conversation,
        ranking: &Ranking,
    ) -> Body {
        let Conversation { genesis, log, key } = talk;
        let device = self.devices[side];
        let open = Open {
            ranking: Some(Box::new(ranking.clone())),
            ..open_frame(&device, channel, *log, key, Some(*genesis), Some(Cursor::default()))
        };
        self.worlds[side].ask(&device, Body::Open(open))
    }

    /// Connects the two, if one of them wants it.
    pub(crate) fn link(&mut self) {
        let wants = |a: usize, b: usize| self.worlds[a].wanted.contains_key(&self.name(b));
        if self.linked || !(wants(0, 1) || wants(1, 0)) {
            return;
        }
        self.linked = true;
        for side in [0, 1] {
            let other = self.name(1 - side);
            self.worlds[side].input(Input::Connected(other, None));
        }
    }

    /// Ends the connection; what is on its way is lost.
    pub(crate) fn cut(&mut self) {
        if !std::mem::take(&mut self.linked) {
            return;
        }
        for side in [0, 1] {
            let other = self.name(1 - side);
            self.worlds[side].input(Input::Disconnected(other));
            self.worlds[side].take(other);
        }
    }

    /// The power of a node fails. Its device connects anew, and nothing else.
    pub(crate) fn crash(&mut self, side: usize) {
        let other = self.name(side);
        if std::mem::take(&mut self.linked) {
            self.worlds[1 - side].input(Input::Disconnected(other));
            self.worlds[1 - side].take(other);
        }
        self.worlds[side].crash();
        self.devices[side] = self.worlds[side].connect(1);
    }

    /// Carries frames until nobody has anything to say; returns how many there were.
    pub(crate) fn carry(&mut self) -> usize {
        let before = self.said.len();
        while self.carry_some(usize::MAX) > 0 {}
        self.said.len() - before
    }

    /// Carries some of the frames that each node has for the other, in their order, and leaves the
    /// others where they are.
    pub(crate) fn carry_some(&mut self, most: usize) -> usize {
        let mut carried = 0;
        for side in [0, 1] {
            let (here, there) = (self.name(side), self.name(1 - side));
            for frame in self.worlds[side].take_some(there, most) {
                carried += 1;
                if self.linked {
                    self.said.push((side, frame.clone()));
                    self.worlds[1 - side].input(Input::Frame(here, frame));
                }
            }
        }
        carried
    }

    /// Lets time pass for both, with what they say meanwhile.
    pub(crate) fn pass(&mut self, seconds: u64) {
        let end = Instant::from_secs(self.worlds[0].now.as_secs() + seconds);
        self.carry();
        loop {
            let due = self.worlds.iter().filter_map(|world| world.poll_timeout()).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            for world in &mut self.worlds {
                world.now = world.now.max(due);
                if world.poll_timeout().is_some_and(|due| due <= world.now) {
                    world.input(Input::Timeout);
                }
            }
            self.carry();
        }
        self.worlds.iter_mut().for_each(|world| world.now = end);
    }

    pub(crate) fn append(&mut self, side: usize, channel: u32, envelope: &Envelope) -> Body {
        let device = self.devices[side];
        self.worlds[side].ask(&device, append(channel, envelope))
    }

    /// Everything that a node has of a log that is open there, in timeline order.
    pub(crate) fn entries(&mut self, side: usize, channel: u32, talk: &Conversation) -> Vec<Entry> {
        let (device, mut from, mut all) = (self.devices[side], Default::default(), Vec::new());
        loop {
            let read = Read { channel, from, backward: false, limit: 256 };
            let page = self.worlds[side].ask(&device, Body::Read(read));
            let Body::Page { entries, more } = page else { panic!("{page:?}") };
            if let Some(last) = entries.last() {
                let key = talk.key.public();
                from = (last.position, last.clone().into_envelope(talk.log, key, [0; 64]).id());
            }
            all.extend(entries);
            if !more {
                return all;
            }
        }
    }

    /// The ciphertexts of a log at a node, as texts.
    pub(crate) fn texts(&mut self, side: usize, channel: u32, talk: &Conversation) -> Vec<String> {
        let entries = self.entries(side, channel, talk).into_iter();
        entries.map(|entry| String::from_utf8(entry.ciphertext).unwrap()).collect()
    }

    /// How many frames of a kind a node has said to the other.
    pub(crate) fn count(&self, side: usize, kind: fn(&Body) -> bool) -> usize {
        self.said.iter().filter(|(by, frame)| *by == side && kind(&frame.body)).count()
    }
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
