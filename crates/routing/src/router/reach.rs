//! Reachability: whether others can dial this node, and relay ports for nodes that can't be
//! dialled. Specified in `spec/routing.md`, section 13.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use proto::{
    Body, Code, Contact, Gauge, Instant, NodeId, Output, Peer, PublicKey, Reach, Reached,
    RelayPort, RelayToken, Routing, Rows,
};
use rand_core::Rng;

use super::{Router, purpose::Purpose};
use crate::RouterEvent;

/// What is known of this node's reachability, and its relaying for others.
#[derive(Debug)]
pub(super) struct Reachability {
    state: State,
    /// The relay through which this node is reached.
    through: Option<NodeId>,
    /// Nodes that have asked for a port that is not open yet, with the request numbers.
    asked: BTreeMap<NodeId, u32>,
    /// Nodes that have a port.
    given: BTreeSet<NodeId>,
    /// Nodes that the driver dials, and which node has asked, with the request number.
    tried: BTreeMap<NodeId, (NodeId, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many nodes could not dial this one; another is asked at this time.
    Asking { failed: u32, at: Instant },
    /// A node could.
    Reached,
    /// No node could; a port is requested at this time.
    Unreachable { at: Instant },
}

impl Reachability {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Asking { failed: 0, at: now.after(FIRST) },
            through: None,
            asked: BTreeMap::new(),
            given: BTreeSet::new(),
            tried: BTreeMap::new(),
        }
    }

    /// Starts over after the addresses have changed.
    pub(super) fn restart(&mut self, now: Instant) {
        self.state = State::Asking { failed: 0, at: now };
    }

    /// Returns whether the connection to a node must stay for relaying.
    pub(super) fn needs(&self, node: &NodeId) -> bool {
        self.through == Some(*node) || self.given.contains(node) || self.asked.contains_key(node)
    }

    pub(super) fn gauges(&self) -> [Gauge; 2] {
        let relayed = self.given.len().saturating_add(self.asked.len());
        [
            Gauge::new("relayed nodes", relayed, GIVEN_MAX),
            Gauge::new("nodes tried", self.tried.len(), TRIED_MAX),
        ]
    }
}

impl Router {
    /// Returns whether other nodes can dial this one, if known.
    pub fn is_reachable(&self) -> Option<bool> {
        match self.reach.state {
            State::Asking { .. } => None,
            State::Reached => Some(true),
            State::Unreachable { .. } => Some(self.reach.through.is_some()),
        }
    }

    /// Asks a random node to have this one dialled, or for a port.
    pub(super) fn find_out_reach(&mut self, now: Instant) {
        match self.reach.state {
            State::Asking { failed, at } if now >= at && !self.config.addresses.is_empty() => {
                let nodes: Vec<NodeId> = self.links.nodes().collect();
                // With only two nodes there is no third to probe reachability.
                let Some(node) = self.drawn(&nodes).filter(|_| nodes.len() > 1) else { return };
                self.reach.state = State::Asking { failed, at: now.after(AGAIN) };
                let word = Routing::Probe { contact: self.own.contact(), dial: true };
                self.links.ask(node, &[], Purpose::Reach, word, now);
            }
            State::Unreachable { at } if now >= at && self.reach.through.is_none() => {
                let can_be_dialled = |node: &NodeId| {
                    let record = self.links.record(node);
                    record.is_some_and(|record| !record.says().addresses.is_empty())
                };
                let nodes: Vec<NodeId> = self.links.nodes().filter(can_be_dialled).collect();
                let Some(node) = self.drawn(&nodes) else { return };
                self.reach.state = State::Unreachable { at: now.after(AGAIN) };
                self.links.ask(node, &[], Purpose::Relay, Routing::AskRelay, now);
            }
            State::Asking { .. } | State::Reached | State::Unreachable { .. } => {}
        }
    }

    /// Handles the answer of a node that had this one dialled.
    pub(super) fn reach_told(&mut self, outcome: Option<bool>, now: Instant, rows: &dyn Rows) {
        let State::Asking { failed, .. } = self.reach.state else { return };
        let failed = failed.saturating_add(1);
        match outcome {
            Some(true) => self.reach.state = State::Reached,
            Some(false) if failed < FAILED_MAX => {
                self.reach.state = State::Asking { failed, at: now };
                self.find_out_reach(now);
            }
            Some(false) => {
                self.reach.state = State::Unreachable { at: now };
                self.set_relayed(Vec::new(), now, rows);
                self.emit(RouterEvent::Unreachable);
                self.find_out_reach(now);
            }
            None => {}
        }
    }

    /// Has the driver find out whether a node can be dialled, for the node that asked.
    pub(super) fn try_to_dial(
        &mut self,
        contact: Contact,
        asker: (NodeId, u32),
    ) -> Result<(), Code> {
        let is_tried = self.reach.tried.contains_key(&contact.node);
        if is_tried || self.reach.tried.len() >= TRIED_MAX {
            return Err(Code::Busy);
        }
        self.reach.tried.insert(contact.node, asker);
        self.outputs
            .push_back(Output::Reach(Reach::Try(PublicKey(contact.node.0), contact.addresses)));
        Ok(())
    }

    /// Handles an answer of the driver.
    pub(super) fn on_reached(&mut self, reached: Reached) {
        match reached {
            Reached::Relayed(peer, port) => self.on_relayed(peer, port),
            Reached::Tried(peer, is_there) => self.on_tried(&NodeId(peer.0), is_there),
        }
    }

    fn on_tried(&mut self, node: &NodeId, is_there: bool) {
        if let Some((asker, request)) = self.reach.tried.remove(node) {
            self.reply(asker, request, Body::Routing(Routing::Probed(Some(is_there))));
        }
    }

    /// Handles a node that asks for a relay port.
    pub(super) fn relay_asked(&mut self, from: NodeId, request: u32) -> Result<(), Code> {
        let many = self.reach.given.len().saturating_add(self.reach.asked.len());
        let is_known = self.reach.needs(&from);
        if (many >= GIVEN_MAX && !is_known) || self.is_reachable() == Some(false) {
            return Err(Code::Busy);
        }
        self.reach.given.remove(&from);
        self.reach.asked.insert(from, request);
        self.outputs.push_back(Output::Reach(Reach::Relay(PublicKey(from.0))));
        Ok(())
    }

    /// Handles a port that the driver has opened for a node, or could not.
    fn on_relayed(&mut self, peer: Peer, port: Option<RelayPort>) {
        let node = NodeId(peer.0);
        let Some(request) = self.reach.asked.remove(&node) else { return };
        let Some(RelayPort { port, token }) = port else {
            return self.refuse(node, request, Code::Full);
        };
        self.reach.given.insert(node);
        let addresses = self.own.says().addresses.iter();
        let addresses = addresses.map(|own| SocketAddr::new(own.ip(), port)).collect();
        let word = Routing::RelayIs { addresses, token: token.0 };
        self.reply(node, request, Body::Routing(word));
    }

    /// Handles a port that a node has opened: from now on this node is reached by it.
    pub(super) fn relay_given(
        &mut self,
        through: NodeId,
        addresses: Vec<SocketAddr>,
        token: [u8; 16],
        now: Instant,
        rows: &dyn Rows,
    ) {
        let Some(at) = addresses.first().copied() else { return };
        let State::Unreachable { .. } = self.reach.state else { return };
        self.reach.through = Some(through);
        let (through, token) = (PublicKey(through.0), RelayToken(token));
        self.outputs.push_back(Output::Reach(Reach::Tunnel { through, at, token }));
        self.set_relayed(addresses, now, rows);
    }

    /// Handles the end of a connection, and of the ports that depend on it.
    pub(super) fn relay_lost(&mut self, node: &NodeId, now: Instant, rows: &dyn Rows) {
        self.reach.asked.remove(node);
        self.reach.given.remove(node);
        if self.reach.through == Some(*node) {
            self.reach.through = None;
            self.reach.state = State::Unreachable { at: now };
            self.set_relayed(Vec::new(), now, rows);
        }
    }

    /// Sets the addresses at which others find this node; empty if they can't dial it.
    fn set_relayed(&mut self, addresses: Vec<SocketAddr>, now: Instant, rows: &dyn Rows) {
        self.relayed_at = Some(addresses.clone());
        self.renew_record(now, rows);
        self.emit(RouterEvent::Addresses(addresses));
    }

    fn drawn(&mut self, nodes: &[NodeId]) -> Option<NodeId> {
        let drawn = usize::try_from(self.rng.next_u32()).unwrap_or_default();
        nodes.get(drawn.checked_rem(nodes.len())?).copied()
    }
}

/// Other nodes know this one by then.
const FIRST: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(30);
/// How many dials must have failed.
const FAILED_MAX: u32 = 3;
/// Nodes that are reached through this one. Their connections stay, so they are a small part of
/// routing's limit.
const GIVEN_MAX: usize = 8;
/// Nodes that are dialled at the same time, each from a socket of its own.
const TRIED_MAX: usize = 16;
