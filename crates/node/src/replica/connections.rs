//! Connections to the other nodes of shared logs: which to keep, when to dial, and what is due.

use std::{net::SocketAddr, ops::ControlFlow, time::Duration};

use proto::{Instant, Output, Peer, Rows, limits};

use super::{
    Replicas,
    peer::{ReplicationPeer, Timer},
    rows,
    unreachable::{PEERS_MAX, ROUND_PAUSE},
};
use crate::{
    layout::{DIRTY, REPLICAS},
    log::Logs,
    placement,
};

impl Replicas {
    /// A peer has said Hello. Returns whether it was sought to make copies.
    pub(crate) fn greeted(&mut self, peer: Peer, now: Instant) -> bool {
        let Some(remote) = self.peers.get_mut(&peer) else { return false };
        remote.greeted(now);
        self.touched.insert(peer);
        self.unreachable.back(&peer, now)
    }

    /// Returns the peers that are wanted since the current input. Their Hello may have come before.
    pub(crate) fn take_fresh(&mut self) -> Vec<Peer> {
        std::mem::take(&mut self.fresh)
    }

    pub(crate) fn disconnected(&mut self, peer: &Peer, now: Instant) {
        if let Some(remote) = self.peers.get_mut(peer) {
            let was_up = remote.is_up;
            remote.disconnected(now);
            if was_up {
                self.arm(peer, now.after(self.unreachable_after), Timer::Unreachable);
            }
            // It will not say any more which nodes have what came from it.
            self.deferred.hurry(None, Some(peer), now);
        }
    }

    /// This node hung up on a peer with which it shares no version; the driver stops dialling it.
    pub(crate) fn hung_up(&mut self, peer: &Peer, now: Instant) {
        self.arm(peer, now.after(REDIAL_AFTER), Timer::Redial);
    }

    /// Does what has fallen due.
    pub(crate) fn on_timeout(&mut self, logs: &mut Logs, rows: &dyn Rows, now: Instant) {
        if self.next.is_some_and(|next| next <= now) {
            let mut due = Vec::new();
            for (peer, remote) in &mut self.peers {
                while due.len() < TIMERS_AT_A_TIME
                    && let Some(timer) = remote.take_due(now)
                {
                    due.push((*peer, timer));
                }
            }
            for (peer, timer) in due {
                self.fire(peer, timer, logs, rows, now);
            }
            self.next = self.peers.values().filter_map(ReplicationPeer::first_due).min();
        }
        self.push_due(logs, rows, now);
        if self.left_out.is_some_and(|due| due <= now) {
            self.left_out = None;
            self.take_turns(rows, now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let others = [self.next, self.left_out, self.unreachable.poll_timeout()];
        others.into_iter().flatten().chain(self.deferred.poll_timeout()).min()
    }

    fn fire(&mut self, peer: Peer, timer: Timer, logs: &mut Logs, rows: &dyn Rows, now: Instant) {
        let Some(remote) = self.peers.get_mut(&peer) else { return };
        match timer {
            Timer::Unreachable if remote.is_up => {}
            Timer::Unreachable => {
                self.unreachable.add(peer, now);
                let again = ROUND_PAUSE.min(self.unreachable_after);
                self.arm(&peer, now.after(again), Timer::Unreachable);
            }
            Timer::Redial => self.outputs.push(Output::Connect(peer, remote.addresses.clone())),
            Timer::Unneeded => {
                if !rows::shares_logs(rows, &peer) {
                    self.drop_peer(&peer);
                }
            }
            Timer::Log(number) => {
                let frame = remote.resume(number, logs, rows);
                self.transmit(peer, frame);
            }
        }
    }

    /// Pushes entries that no other node has pushed in time, to a few nodes at a time.
    fn push_due(&mut self, logs: &mut Logs, rows: &dyn Rows, now: Instant) {
        while self.touched.len() < TIMERS_AT_A_TIME.saturating_sub(limits::RANKING_MAX)
            && let Some((at, from)) = self.deferred.take_due(now)
        {
            let nodes = logs.get(rows, at.log).map(|log| log.nodes.as_slice()).unwrap_or_default();
            for peer in nodes.iter().filter(|peer| **peer != from) {
                let Some(remote) = self.peers.get_mut(peer) else { continue };
                remote.owed_now(at);
                self.touched.insert(*peer);
            }
        }
    }

    /// Keeps a connection to a node from now on, if there is room.
    pub(super) fn want(&mut self, peer: Peer, addresses: &[SocketAddr], now: Instant) {
        if let Some(remote) = self.peers.get_mut(&peer) {
            let news = addresses.iter().any(|address| !remote.addresses.contains(address));
            if news {
                let old = std::mem::take(&mut remote.addresses);
                remote.addresses = joined(addresses.iter().chain(&old));
                self.outputs.push(Output::Connect(peer, remote.addresses.clone()));
            }
            return;
        }
        if peer == self.own || addresses.is_empty() {
            return;
        }
        if self.peers.len() >= PEERS_MAX && !self.make_room(now) {
            return;
        }
        let addresses = joined(addresses);
        self.outputs.push(Output::Connect(peer, addresses.clone()));
        self.peers.insert(peer, ReplicationPeer::new(addresses, now));
        self.arm(&peer, now.after(self.unreachable_after), Timer::Unreachable);
        self.fresh.push(peer);
    }

    /// Drops the least recently used connection, unless all are in use.
    fn make_room(&mut self, now: Instant) -> bool {
        // Some node is left out in either case.
        self.left_out = self.left_out.or_else(|| Some(now.after(TURN_TIME)));
        let rested = |remote: &ReplicationPeer| !remote.is_busy() && now.since(remote.used) >= REST;
        let rested = self.peers.iter().filter(|(_, remote)| rested(remote));
        let victim = rested.min_by_key(|(_, remote)| remote.used).map(|(peer, _)| *peer);
        victim.map(|peer| self.drop_peer(&peer)).is_some()
    }

    fn drop_peer(&mut self, peer: &Peer) {
        self.peers.remove(peer);
        self.unreachable.forget(peer);
        self.outputs.push(Output::Disconnect(*peer));
    }

    /// Gives some of the nodes that were left out a turn.
    fn take_turns(&mut self, rows: &dyn Rows, now: Instant) {
        let mut turns = TURNS_MAX;
        // All nodes that have room already may come first.
        for _ in 0..=PEERS_MAX {
            let next = rows::peer_after(rows, DIRTY, self.turn.as_ref());
            self.turn = next;
            let Some(peer) = next else { break };
            if !self.peers.contains_key(&peer) {
                self.want(peer, &addresses_of(rows, &peer), now);
                turns = turns.saturating_sub(1);
            }
            if turns == 0 {
                break;
            }
        }
        if self.peers.len() >= PEERS_MAX {
            self.left_out = Some(now.after(TURN_TIME));
        }
    }

    pub(super) fn arm(&mut self, peer: &Peer, due: Instant, timer: Timer) {
        if let Some(remote) = self.peers.get_mut(peer) {
            remote.arm(due, timer);
            self.next = self.next.into_iter().chain([due]).min();
        }
    }
}

/// Returns the addresses of a node, as members of the logs it holds have announced.
pub(super) fn addresses_of(rows: &dyn Rows, peer: &Peer) -> Vec<SocketAddr> {
    let mut numbers = Vec::new();
    rows::logs_of(rows, REPLICAS, peer, 0, |number| {
        numbers.push(number);
        if numbers.len() < ADDRESSES_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    let rankings = numbers.into_iter().filter_map(|number| placement::ranking(rows, number));
    let nodes = rankings.flat_map(|ranking| ranking.nodes.into_iter().chain(ranking.reserve));
    let of_peer: Vec<_> =
        nodes.filter(|node| node.node.0 == peer.0).flat_map(|node| node.addresses).collect();
    joined(&of_peer)
}

/// Returns the first addresses, each once.
fn joined<'a>(addresses: impl IntoIterator<Item = &'a SocketAddr>) -> Vec<SocketAddr> {
    let mut joined = Vec::new();
    for address in addresses {
        if joined.len() < ADDRESSES_MAX && !joined.contains(address) {
            joined.push(*address);
        }
    }
    joined
}

/// Timers handled at a time, so that other inputs don't wait.
pub(super) const TIMERS_AT_A_TIME: usize = 64;
/// Addresses of one node: what two members announce.
const ADDRESSES_MAX: usize = 2 * limits::NODE_ADDRESSES_MAX;
/// When to dial a node again with which this one shared no version.
const REDIAL_AFTER: Duration = Duration::from_secs(600);
/// How long a connection must have been idle to make room for another one.
const REST: Duration = Duration::from_secs(30);
/// How long nodes that are left out wait for a turn, and how many get one at a time.
pub(super) const TURN_TIME: Duration = Duration::from_secs(60);
const TURNS_MAX: usize = 16;
