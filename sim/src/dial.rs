//! Which connections a machine wants, and when to dial again; as in the crate `net`.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use client::transport_seed;
use crypto::SigningKey;
use proto::Peer;

use crate::{
    network::{Call, HostId},
    rng::Rng,
};

/// The connections that one process wants.
#[derive(Debug)]
pub(crate) struct Dials {
    host: HostId,
    identity: Identity,
    wanted: BTreeMap<Peer, Wanted>,
    rng: Rng,
    pauses: u64,
}

/// Which key a host shows.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// Always its own.
    Node(Peer),
    /// Another one to each node, derived from this secret.
    Device([u8; 32]),
}

#[derive(Debug)]
struct Wanted {
    own: Peer,
    addresses: Vec<SocketAddr>,
    /// Which address is tried.
    tried: usize,
    failures: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Dialling,
    /// There is a connection.
    Linked,
    /// Waits, under this number.
    Resting(u64),
}

/// What the driver is to do for a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    Nothing,
    Dial(Call),
    /// Come back with this number after this time.
    Rest(u64, Duration),
}

impl Identity {
    /// The key shown to this peer.
    pub(crate) fn towards(&self, peer: &Peer) -> Peer {
        match self {
            Self::Node(key) => *key,
            Self::Device(secret) => SigningKey::from_seed(*transport_seed(secret, peer)).public(),
        }
    }
}

impl Dials {
    pub(crate) fn new(host: HostId, identity: Identity, rng: Rng) -> Self {
        Self { host, identity, wanted: BTreeMap::new(), rng, pauses: 0 }
    }

    /// The key shown to this peer.
    pub(crate) fn own_key(&self, peer: &Peer) -> Peer {
        self.wanted.get(peer).map_or_else(|| self.identity.towards(peer), |wanted| wanted.own)
    }

    /// The machine wants a connection; it may be there already.
    pub(crate) fn want(&mut self, peer: Peer, addresses: Vec<SocketAddr>, linked: bool) -> Next {
        let own = self.own_key(&peer);
        let state = if linked { State::Linked } else { State::Dialling };
        let fresh = Wanted { own, addresses: Vec::new(), tried: 0, failures: 0, state };
        let before = self.wanted.get(&peer).map(|wanted| wanted.state);
        let wanted = self.wanted.entry(peer).or_insert(fresh);
        wanted.addresses = addresses;
        wanted.failures = 0;
        match before {
            Some(State::Dialling | State::Linked) => Next::Nothing,
            None if linked => Next::Nothing,
            None | Some(State::Resting(_)) => wanted.dial(self.host, peer),
        }
    }

    pub(crate) fn forget(&mut self, peer: &Peer) {
        self.wanted.remove(peer);
    }

    pub(crate) fn connected(&mut self, peer: &Peer) {
        if let Some(wanted) = self.wanted.get_mut(peer) {
            wanted.state = State::Linked;
        }
    }

    /// A dial has failed.
    pub(crate) fn failed(&mut self, peer: &Peer) -> Next {
        let Some(wanted) = self.wanted.get_mut(peer) else { return Next::Nothing };
        if wanted.state != State::Dialling {
            return Next::Nothing;
        }
        wanted.tried = wanted.tried.saturating_add(1);
        if wanted.tried < wanted.addresses.len() {
            return wanted.dial_next(self.host, *peer);
        }
        self.rest(peer)
    }

    /// A connection that lasted so long is over.
    pub(crate) fn ended(&mut self, peer: &Peer, lasted: Duration) -> Next {
        let Some(wanted) = self.wanted.get_mut(peer) else { return Next::Nothing };
        if wanted.state == State::Dialling {
            return Next::Nothing;
        }
        if lasted >= STABLE {
            wanted.failures = 0;
        }
        self.rest(peer)
    }

    /// The pause of this number is over.
    pub(crate) fn rested(&mut self, peer: &Peer, number: u64, linked: bool) -> Next {
        let Some(wanted) = self.wanted.get_mut(peer) else { return Next::Nothing };
        if wanted.state != State::Resting(number) {
            return Next::Nothing;
        }
        if linked {
            // It was the peer who dialled.
            wanted.state = State::Linked;
            return Next::Nothing;
        }
        wanted.dial(self.host, *peer)
    }

    fn rest(&mut self, peer: &Peer) -> Next {
        let Some(wanted) = self.wanted.get_mut(peer) else { return Next::Nothing };
        self.pauses = self.pauses.saturating_add(1);
        let step = BACK_OFF_MIN.saturating_mul(2_u32.saturating_pow(wanted.failures));
        let pause = self.rng.between(Duration::ZERO, step.min(BACK_OFF_MAX));
        wanted.failures = wanted.failures.saturating_add(1);
        wanted.state = State::Resting(self.pauses);
        Next::Rest(self.pauses, pause)
    }
}

impl Wanted {
    fn dial(&mut self, from: HostId, peer: Peer) -> Next {
        self.tried = 0;
        self.dial_next(from, peer)
    }

    fn dial_next(&mut self, from: HostId, peer: Peer) -> Next {
        let Some(to) = self.addresses.get(self.tried).copied() else { return Next::Nothing };
        self.state = State::Dialling;
        Next::Dial(Call { from, own: self.own, to, peer })
    }
}

/// A connection that lasted this long resets the back-off when it ends.
const STABLE: Duration = Duration::from_secs(10);
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
