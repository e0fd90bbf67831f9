//! The process of a simulated driver: its machine and connections, and how frames enter and leave
//! it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use proto::{Body, Frame, FrameReader, Input, Instant, Machine, Output, Peer, write_frame};

use crate::{
    dial::{Dials, Next},
    env::{Env, Happening},
    model::holds_marker,
    network::{HostId, LinkEnd, LinkId, Side},
    trace::Way,
};

/// What is gone when the process ends.
pub(super) struct Process<M: Machine> {
    pub(super) machine: M,
    pub(super) waiting: VecDeque<Waiting<M::Command>>,
    /// What waits for the sync that runs.
    pub(super) held: Vec<Output<M::Event>>,
    pub(super) uncommitted: bool,
    pub(super) syncing: Option<u64>,
    pub(super) stalled: bool,
    pub(super) links: BTreeMap<Peer, Link>,
    /// Inputs in the queue about new or ended connections, by peer.
    pub(super) unheard: BTreeMap<Peer, u32>,
    pub(super) peers: BTreeMap<LinkId, Peer>,
    pub(super) dials: Dials,
}

/// An input on its way to the machine.
pub(super) enum Waiting<C> {
    Input(Input<C>),
    /// Parsed when its turn comes.
    Bytes(Peer, Vec<u8>),
}

/// The connection to a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) end: LinkEnd,
    /// The host at the other end.
    pub(super) other: HostId,
    pub(super) since: Instant,
}

impl<M: Machine> Process<M> {
    /// A connection stands. A newer one takes the place of the older one, unless both sides have
    /// dialled at the same time: then the one that the smaller key dialled stays.
    pub(super) fn connected(&mut self, host: HostId, peer: Peer, link: Link, env: &mut Env) {
        if let Some(old) = self.links.get(&peer).copied() {
            let crossed = old.end.side != link.end.side && env.now.since(old.since) < CROSSING;
            let ours_is_smaller = self.dials.own_key(&peer) < peer;
            if crossed && (old.end.side == Side::Dialler) == ours_is_smaller {
                env.network.hang_up(link.end, env.now, &mut env.queue);
                if link.end.side == Side::Dialler {
                    // What was to be reached is connected.
                    self.dials.connected(&peer);
                }
                return;
            }
            self.hang_up(peer, old, env);
        }
        env.tally.connections = env.tally.connections.saturating_add(1);
        if link.end.side == Side::Dialler {
            self.dials.connected(&peer);
            env.note_between(host, "is connected to", link.other);
        }
        self.links.insert(peer, link);
        self.peers.insert(link.end.link, peer);
        let address = env.network.address(link.other).filter(|_| env.only_routers);
        self.tell_of(peer, Input::Connected(peer, address));
    }

    /// The machine will hear of another connection to a peer, or of its end.
    fn tell_of(&mut self, peer: Peer, input: Input<M::Command>) {
        let unheard = self.unheard.entry(peer).or_default();
        *unheard = unheard.saturating_add(1);
        self.waiting.push_back(Waiting::Input(input));
    }

    /// The machine is about to hear this.
    pub(super) fn hears(&mut self, input: &Input<M::Command>) {
        let (Input::Connected(peer, _) | Input::Disconnected(peer)) = input else { return };
        let is_of_it =
            |held: &Output<M::Event>| matches!(held, Output::Transmit(to, _) if to == peer);
        self.held.retain(|held| !is_of_it(held));
        let left = self.unheard.remove(peer).unwrap_or_default().saturating_sub(1);
        if left > 0 {
            self.unheard.insert(*peer, left);
        }
    }

    pub(super) fn hang_up(&mut self, peer: Peer, link: Link, env: &mut Env) {
        env.network.hang_up(link.end, env.now, &mut env.queue);
        self.links.remove(&peer);
        self.peers.remove(&link.end.link);
        self.tell_of(peer, Input::Disconnected(peer));
    }

    pub(super) fn ended(&mut self, host: HostId, peer: Peer, env: &mut Env) {
        let Some(link) = self.links.remove(&peer) else { return };
        self.peers.remove(&link.end.link);
        self.tell_of(peer, Input::Disconnected(peer));
        env.note_between(host, "loses its connection to", link.other);
        let next = self.dials.ended(&peer, env.now.since(link.since));
        carry_on(host, peer, next, env);
    }
}

/// Does what is next in the life of a connection that is wanted.
pub(super) fn carry_on(host: HostId, peer: Peer, next: Next, env: &mut Env) {
    match next {
        Next::Nothing => {}
        Next::Dial(call) => env.network.dial(call, env.now, &mut env.queue),
        Next::Rest(number, pause) => {
            let over = env.now.after(pause);
            env.queue.enter(over, Happening::Redial(host, peer, number));
        }
    }
}

pub(super) fn transmit(host: HostId, link: Link, frame: &Frame, env: &mut Env) {
    let mut bytes = Vec::new();
    write_frame(frame, &mut bytes);
    env.leaks |= !env.only_routers && holds_marker(&bytes);
    let tally = &mut env.tally;
    tally.frames = tally.frames.saturating_add(1);
    tally.bytes = tally.bytes.saturating_add(bytes.len() as u64);
    if matches!(frame.body, Body::Append { .. } | Body::Deliver { .. }) {
        tally.hops = tally.hops.saturating_add(1);
    }
    if matches!(frame.body, Body::Fetch { .. } | Body::Page { .. }) {
        tally.fetches = tally.fetches.saturating_add(1);
    }
    env.traffic.sees(env.now, [host, link.other], frame, bytes.len());
    let way = Way { link: link.end.link, from: host, to: link.other };
    env.trace.frame(env.now, way, &bytes);
    env.network.send(link.end, frame.lane(), bytes, env.now, &mut env.queue);
}

pub(super) fn frame<C>(input: &Input<C>) -> Option<(Peer, Frame)> {
    match input {
        Input::Frame(peer, frame) => Some((*peer, frame.clone())),
        Input::Command(_)
        | Input::Connected(..)
        | Input::Disconnected(_)
        | Input::Reached(_)
        | Input::Timeout => None,
    }
}

/// What is no frame is dropped; the real driver also answers that it is none.
pub(super) fn parse<C>(waiting: Waiting<C>) -> Option<Input<C>> {
    match waiting {
        Waiting::Input(input) => Some(input),
        Waiting::Bytes(peer, bytes) => {
            let mut reader = FrameReader::default();
            reader.push(&bytes);
            Some(Input::Frame(peer, reader.next_frame().ok()??.0))
        }
    }
}

/// Two connections within this time are one that both sides wanted.
const CROSSING: Duration = Duration::from_secs(5);
