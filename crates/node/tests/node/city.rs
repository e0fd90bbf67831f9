//! Any number of nodes, each with a device of its own, and the connections between them.

use std::{collections::BTreeSet, time::Duration};

use crypto::SigningKey;
use node::NodeConfig;
use proto::{Body, Cursor, Frame, Input, Instant, NodeId, Open, Peer, Ranking, Read, Table};

use crate::world::{Account, Client, Conversation, World, open_frame};

pub(crate) struct City {
    pub(crate) worlds: Vec<World>,
    /// At each node one, connected as peer 1.
    pub(crate) devices: Vec<Client>,
    links: BTreeSet<(usize, usize)>,
    down: BTreeSet<usize>,
    /// What has gone from one node to another.
    pub(crate) said: Vec<(usize, usize, Frame)>,
}

pub(crate) fn key(n: usize) -> SigningKey {
    SigningKey::from_seed([200 + n as u8; 32])
}

pub(crate) fn name(n: usize) -> NodeId {
    NodeId(key(n).public().0)
}

pub(crate) fn peer(n: usize) -> Peer {
    key(n).public()
}

pub(crate) fn config(n: usize) -> NodeConfig {
    // So often that all is quiet soon.
    let anti_entropy_every = Duration::from_secs(120);
    NodeConfig { key: Some(key(n)), anti_entropy_every, ..NodeConfig::new(name(n)) }
}

pub(crate) fn ranking(version: u64, nodes: &[usize]) -> Ranking {
    let nodes: Vec<NodeId> = nodes.iter().map(|n| name(*n)).collect();
    crate::town::ranking(version, &nodes)
}

impl City {
    pub(crate) fn new(count: usize) -> Self {
        let mut worlds: Vec<World> = (0..count).map(|n| World::new(config(n))).collect();
        let devices = worlds.iter_mut().map(|world| world.connect(1)).collect();
        let (links, down) = (BTreeSet::new(), BTreeSet::new());
        Self { worlds, devices, links, down, said: Vec::new() }
    }

    /// A conversation that each of the nodes holds for an account of its own, as handle 2 of its
    /// device, all of it at rest.
    pub(crate) fn sharing(count: usize) -> (Self, Conversation) {
        let (mut city, talk) = (Self::new(count), Conversation::new(60));
        (0..count).for_each(|n| city.settle(n, &talk));
        city.pass(10);
        (city, talk)
    }

    /// The device of a node registers there, unless it has, and opens a conversation of all nodes.
    pub(crate) fn settle(&mut self, n: usize, talk: &Conversation) {
        let (device, account) = (self.devices[n], Account::at(1 + n as u8, name(n)));
        self.worlds[n].register(&device, &account);
        let all: Vec<usize> = (0..self.worlds.len()).collect();
        let Conversation { genesis, log, key } = talk;
        let tail = Some(Cursor::default());
        let open = Open {
            ranking: Some(Box::new(ranking(1, &all))),
            ..open_frame(&device, 2, *log, key, Some(*genesis), tail)
        };
        let opened = self.worlds[n].ask(&device, Body::Open(open));
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
    }

    /// Connects those of whom one wants it.
    fn link(&mut self) {
        for a in 0..self.worlds.len() {
            for b in a + 1..self.worlds.len() {
                let wants = |a: usize, b: usize| self.worlds[a].wanted.contains_key(&peer(b));
                let is_down = self.down.contains(&a) || self.down.contains(&b);
                if !is_down && (wants(a, b) || wants(b, a)) && self.links.insert((a, b)) {
                    self.worlds[a].input(Input::Connected(peer(b), None));
                    self.worlds[b].input(Input::Connected(peer(a), None));
                }
            }
        }
    }

    /// Ends the connection of two; what is on its way is lost.
    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        if self.links.remove(&(a.min(b), a.max(b))) {
            for (here, there) in [(a, b), (b, a)] {
                self.worlds[here].input(Input::Disconnected(peer(there)));
                self.worlds[here].take(peer(there));
            }
        }
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

    /// Carries frames until nobody has anything to say.
    pub(crate) fn carry(&mut self) {
        while self.carry_some(usize::MAX) > 0 {}
    }

    /// Carries some of the frames that each node has for each other one.
    pub(crate) fn carry_some(&mut self, most: usize) -> usize {
        self.link();
        let mut carried = 0;
        for (a, b) in self.links.clone() {
            for (from, to) in [(a, b), (b, a)] {
                for frame in self.worlds[from].take_some(peer(to), most) {
                    carried += 1;
                    self.said.push((from, to, frame.clone()));
                    self.worlds[to].input(Input::Frame(peer(from), frame));
                }
            }
        }
        carried
    }

    /// Brings what one node has for another one, and nothing else.
    pub(crate) fn bring(&mut self, from: usize, to: usize) {
        for frame in self.worlds[from].take(peer(to)) {
            self.worlds[to].input(Input::Frame(peer(from), frame));
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

    /// What a node has of a conversation that its device follows, as texts.
    pub(crate) fn texts(&mut self, n: usize, talk: &Conversation) -> Vec<String> {
        let (reader, mut from, mut texts) = (self.worlds[n].connect(8), Default::default(), vec![]);
        self.worlds[n].open(&reader, 1, talk.log, &talk.key, None, None);
        loop {
            let read = Read { channel: 1, from, backward: false, limit: 256 };
            let page = self.worlds[n].ask(&reader, Body::Read(read));
            let Body::Page { entries, more } = page else { panic!("{page:?}") };
            for entry in entries {
                texts.push(String::from_utf8(entry.ciphertext.clone()).unwrap());
                let key = talk.key.public();
                from = (entry.position, entry.into_envelope(talk.log, key, [0; 64]).id());
            }
            if !more {
                return texts;
            }
        }
    }

    /// How many frames of a kind have gone from node to node.
    pub(crate) fn count(&self, kind: fn(&Body) -> bool) -> usize {
        self.said.iter().filter(|(.., frame)| kind(&frame.body)).count()
    }

    /// How many copies may lack something, as all nodes say together.
    pub(crate) fn dirty(&self) -> usize {
        let dumps = self.worlds.iter().flat_map(|world| world.dump());
        dumps.filter(|(table, ..)| *table == Table(22)).count()
    }
}
