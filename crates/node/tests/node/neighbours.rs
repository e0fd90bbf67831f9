//! Any number of nodes that sign acks, each with a device of its own.

use std::time::Duration;

use crypto::SigningKey;
use node::NodeConfig;
use proto::{Body, NodeId, Peer, Ranking, Table};

use crate::{
    town::{Town, texts},
    world::{Account, Conversation, World},
};

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

impl Town {
    /// So many nodes that dial each other.
    pub(crate) fn of(count: usize) -> Self {
        let mut town = Self::from_worlds((0..count).map(|n| World::new(config(n))).collect());
        town.dials = true;
        town
    }

    /// A conversation that each of the nodes holds for an account of its own, as channel 2 of its
    /// device, all of it at rest.
    pub(crate) fn sharing(count: usize) -> (Self, Conversation) {
        let (mut town, talk) = (Self::of(count), Conversation::new(60));
        (0..count).for_each(|n| town.join(n, &talk));
        town.pass(10);
        (town, talk)
    }

    /// The device of a node registers there, unless it has, and opens a conversation of all nodes.
    pub(crate) fn join(&mut self, n: usize, talk: &Conversation) {
        let (device, account) = (self.devices[n], Account::at(1 + n as u8, name(n)));
        self.worlds[n].register(&device, &account);
        let all: Vec<usize> = (0..self.worlds.len()).collect();
        self.open_as(n, 2, talk, &ranking(1, &all));
    }

    /// What a node has of a conversation, as texts, whatever its device has open.
    pub(crate) fn held(&mut self, n: usize, talk: &Conversation) -> Vec<String> {
        let reader = self.worlds[n].connect(8);
        self.worlds[n].open(&reader, 1, talk.log, &talk.key, None, None);
        texts(self.worlds[n].entries(&reader, 1, talk))
    }

    /// How many frames of a kind have gone from node to node.
    pub(crate) fn count_all(&self, kind: fn(&Body) -> bool) -> usize {
        self.said.iter().filter(|(.., frame)| kind(&frame.body)).count()
    }

    /// How many copies may lack something, as all nodes say together.
    pub(crate) fn dirty(&self) -> usize {
        let dumps = self.worlds.iter().flat_map(|world| world.dump());
        dumps.filter(|(table, ..)| *table == Table(22)).count()
    }
}
