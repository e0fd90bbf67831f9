//! A network of routers.

use std::time::Duration;

use crypto::{
    SigningKey,
    identity::{Authority, Device, InboxKey, Phrase, UnsignedRecord},
    node::Verifier,
};
use proto::{Key, NodeAddress, NodeId, Record};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use routing::{LookedUp, Router, RouterCommand, RouterConfig, RouterEvent};
use testnet::{Keys, Net};

pub(crate) struct World {
    pub(crate) net: Net<Router>,
    tickets: u64,
}

impl World {
    /// Creates `nodes` nodes, each joined through the first.
    pub(crate) fn new(nodes: usize) -> Self {
        let mut world = Self { net: Net::new(1), tickets: 0 };
        world.net.latency = Duration::from_millis(20);
        // A dead peer is noticed by its silence.
        world.net.notice = Duration::from_secs(10);
        world.net.replaces = true;
        for _ in 0..nodes {
            world.add(&[0]);
            world.pass(Duration::from_millis(200));
        }
        world
    }

    /// Adds a node that joins through these.
    pub(crate) fn add(&mut self, through: &[usize]) -> usize {
        let number = self.net.hosts.len();
        let (key, at) = (key(number), address(number));
        let config = RouterConfig {
            addresses: at.addresses.clone(),
            join: through.iter().filter(|n| **n != number).map(|n| address(*n)).collect(),
            verifier: Verifier::new(WORK_BITS),
            ..RouterConfig::new(key.clone())
        };
        let at = at.addresses.first().copied();
        self.net.add(Keys::One(key.public()), at, move || config.clone(), Router::gauges);
        self.net.hosts[number].relays = true;
        self.net.start(number);
        number
    }

    /// Adds a node that can be dialled through a relay only.
    pub(crate) fn add_hidden(&mut self, through: &[usize]) -> usize {
        let number = self.add(through);
        self.net.hide(number);
        number
    }

    pub(crate) fn router(&self, number: usize) -> &Router {
        self.net.hosts[number].machine()
    }

    pub(crate) fn events(&self, number: usize) -> &[RouterEvent] {
        &self.net.hosts[number].events
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.net.pass(time);
    }

    /// Looks something up and returns the result.
    pub(crate) fn look_up(&mut self, at: usize, target: Key) -> LookedUp {
        let ticket = self.ticket();
        self.net.command(at, RouterCommand::Lookup { ticket, target, insist: false });
        self.wait(at, |event| match event {
            RouterEvent::LookedUp { ticket: of, result } if *of == ticket => Some(result.clone()),
            _ => None,
        })
    }

    /// Publishes a bundle; returns how many nodes keep it, and after how many requests.
    pub(crate) fn publish(&mut self, at: usize, bundle: &[u8]) -> (usize, u32) {
        let ticket = self.ticket();
        self.net.command(at, RouterCommand::Publish { ticket, bundle: bundle.to_vec() });
        self.wait(at, |event| match event {
            RouterEvent::Published { ticket: of, copies, requests } if *of == ticket => {
                Some((*copies, *requests))
            }
            _ => None,
        })
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        1_000_000 + self.tickets
    }

    fn wait<T>(&mut self, at: usize, is_it: impl Fn(&RouterEvent) -> Option<T>) -> T {
        for _ in 0..200 {
            if let Some(found) = self.events(at).iter().find_map(&is_it) {
                return found;
            }
            self.pass(Duration::from_millis(100));
        }
        panic!("no answer")
    }
}

fn key(number: usize) -> SigningKey {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    SigningKey::from_seed(seed)
}

pub(crate) fn address(number: usize) -> NodeAddress {
    let at = format!("{}.{}.{}.1:4440", 1 + number / 60_000, (number / 250) % 250, number % 250);
    NodeAddress { node: NodeId(key(number).public().0), addresses: vec![at.parse().unwrap()] }
}

/// An account's bundle of this version.
pub(crate) fn bundle(number: u64, version: u64) -> (Key, Vec<u8>) {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let mut rng = ChaCha20Rng::from_seed(seed);
    let authority = Authority::create(&Phrase::generate(&mut rng), &mut rng);
    let home =
        NodeAddress { node: NodeId([1; 32]), addresses: vec!["192.0.2.1:4440".parse().unwrap()] };
    let draft = UnsignedRecord {
        version,
        devices: vec![Device { key: SigningKey::from_seed(seed).public(), added_s: 0 }],
        homes: vec![home],
        copies: 2,
        inbox_key: InboxKey::from_seed([7; 32]).public(),
    };
    let bundle = authority.sign_record(draft).unwrap();
    (bundle.account().into(), bundle.as_bytes().to_vec())
}

pub(crate) fn account(bundle: Vec<u8>) -> Option<Record> {
    Some(Record::Account(bundle))
}

const WORK_BITS: u32 = 2;
