//! Replicas: the other nodes that hold logs of this one, and getting to them what they lack.
//!
//! Who holds a log is its **ranking**, which members tell. This node keeps one connection to each
//! other node of its logs' rankings and pushes every entry there, in the order of its own copy, unless
//! another node does so ([`lazy`]).
//! What may be lacking where is in rows, so that a crash loses none of it and a node that is away
//! costs no memory; how far the other has got it says itself when a log is opened there. Both
//! sides push; what was there before is accepted again. Specified in `spec/logs.md`, section 9.

mod lazy;
mod peering;
mod push;
mod recruit;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::ControlFlow,
    time::Duration,
};

use proto::{
    AccountId, Body, Cursor, Draft, Frame, Gauge, Instant, NodeAddress, NodeId, Output, Peer,
    PublicKey, Recruit, Rows, limits,
};

use crate::{
    NodeEvent,
    layout::{DIRTY, REPLICAS},
    log::Logs,
};
use lazy::Lazy;
pub(crate) use peering::{Answered, RecordHash, is_about_the_entry};
use peering::{FRAMES_MAX, GONE, Peering, REDIAL, UNNEEDED};
use recruit::Recruits;
pub(crate) use rows::{
    copies_behind, delete_ranking, holders, is_marked, put_ranking, put_received, ranking,
    received, shares_logs,
};

/// The other nodes that hold logs of this one.
#[derive(Debug)]
pub(crate) struct Replicas {
    own: Peer,
    peers: BTreeMap<Peer, Peering>,
    /// Those that may have something to be pushed after the input in hand.
    touched: BTreeSet<Peer>,
    /// Those that are newly wanted, and may be connected already.
    fresh: Vec<Peer>,
    /// No timer is due before.
    next: Option<Instant>,
    /// Somebody for whom there is no room may lack something.
    left_out: Option<Instant>,
    /// Who of those had room last.
    turn: Option<Peer>,
    /// What others are to push, for now.
    lazy: Lazy,
    /// Whose place others are to take, after so long.
    recruits: Recruits,
    gone_after: Duration,
    /// Logs of which a node may have got further with the input in hand.
    advanced: BTreeSet<u64>,
    outputs: Vec<Output<NodeEvent>>,
}

impl Replicas {
    /// Knows from rows whom to connect to: first those that may lack something.
    pub(crate) fn open(node: NodeId, gone_after: Duration, rows: &dyn Rows, now: Instant) -> Self {
        let mut replicas = Self {
            own: PublicKey(node.0),
            peers: BTreeMap::new(),
            touched: BTreeSet::new(),
            fresh: Vec::new(),
            next: None,
            left_out: None,
            turn: None,
            lazy: Lazy::default(),
            recruits: Recruits::default(),
            gone_after,
            advanced: BTreeSet::new(),
            outputs: Vec::new(),
        };
        for table in [DIRTY, REPLICAS] {
            let mut last = None;
            while let Some(peer) = rows::peer_after(rows, table, last.as_ref()) {
                if replicas.peers.len() >= PEERS_MAX {
                    replicas.left_out = Some(now.after(TURN_TIME));
                    break;
                }
                replicas.want(peer, &addresses_of(rows, &peer), now);
                last = Some(peer);
            }
        }
        replicas
    }

    pub(crate) fn gauges(&self) -> Vec<Gauge> {
        let mut fullest = [0; 8];
        for peering in self.peers.values() {
            for (fullest, value) in fullest.iter_mut().zip(peering.fullness()) {
                *fullest = value.max(*fullest);
            }
        }
        let names = [
            "logs pushed to a node",
            "entries a node has not answered",
            "bytes a node has not answered",
            "questions a node has not answered",
            "timers of a node",
            "own ranges of a push",
            "entries pushed to a node again",
            "entries of a push that all may have",
        ];
        let each = names.into_iter().zip(fullest).zip(Peering::limits());
        let mut gauges: Vec<_> =
            each.map(|((name, value), limit)| Gauge::new(name, value, limit)).collect();
        gauges.extend(self.lazy.gauges());
        gauges.extend(self.recruits.gauges());
        gauges.push(Gauge::new("nodes of shared logs", self.peers.len(), PEERS_MAX));
        gauges
    }

    /// Tells whether a connection to this peer is kept because of logs.
    pub(crate) fn wants(&self, peer: &Peer) -> bool {
        self.peers.contains_key(peer)
    }

    /// A peer has said Hello. Tells whether it was sought to make copies.
    pub(crate) fn greeted(&mut self, peer: Peer, now: Instant) -> bool {
        let Some(peering) = self.peers.get_mut(&peer) else { return false };
        peering.greeted(now);
        self.touched.insert(peer);
        self.recruits.back(&peer, now)
    }

    /// Peers that are wanted since this input and whose Hello may have gone unnoticed.
    pub(crate) fn take_fresh(&mut self) -> Vec<Peer> {
        std::mem::take(&mut self.fresh)
    }

    pub(crate) fn disconnected(&mut self, peer: &Peer, now: Instant) {
        if let Some(peering) = self.peers.get_mut(peer) {
            let was_up = peering.is_up;
            peering.disconnected(now);
            if was_up {
                self.at(peer, now.after(self.gone_after), GONE);
            }
            // It will not say any more who has what came from it.
            self.lazy.hurry(None, Some(peer), now);
        }
    }

    /// This node hung up on a peer with which it can't talk, and so dials it no more.
    pub(crate) fn hung_up(&mut self, peer: &Peer, now: Instant) {
        self.at(peer, now.after(REDIAL_TIME), REDIAL);
    }

    /// The next few logs of nodes that are gone: somebody else may have to hold them.
    pub(crate) fn vacancies(&mut self, rows: &dyn Rows, now: Instant) -> Vec<u64> {
        self.recruits.vacancies(rows, now)
    }

    /// Whether a node may be asked to hold something for an account, for all that is known.
    pub(crate) fn may_serve(&self, peer: &Peer, account: &AccountId, now: Instant) -> bool {
        !self.recruits.is_gone(peer) && !self.recruits.is_unwilling(peer, account, now)
    }

    /// How many nodes are gone.
    pub(crate) fn gone(&self) -> u64 {
        self.recruits.gone_count()
    }

    /// Whether the connection to a node has stood for so long.
    pub(crate) fn is_up_for(&self, peer: &Peer, time: Duration, now: Instant) -> bool {
        self.peers.get(peer).is_some_and(|p| p.is_up && now.since(p.since) >= time)
    }

    /// Asks a standby to make a copy of a log, if it is connected; else that is seen to first, and it is
    /// asked in the next round. Returns false if it has enough to do for a moment.
    pub(crate) fn recruit(
        &mut self,
        standby: &NodeAddress,
        account: AccountId,
        recruit: Recruit,
        now: Instant,
    ) -> bool {
        let peer = PublicKey(standby.node.0);
        self.want(peer, &standby.addresses, now);
        // If nothing comes of it, the connection is not needed.
        self.at(&peer, now.after(ROUND_TIME.saturating_add(GRACE)), UNNEEDED);
        let Some(peering) = self.peers.get_mut(&peer).filter(|peering| peering.is_up) else {
            self.recruits.sought(peer);
            return true;
        };
        let frame = peering.recruit(account, recruit);
        let is_asked = frame.is_some();
        self.outputs.extend(frame.map(|frame| Output::Transmit(peer, frame)));
        is_asked
    }

    /// Tells a node an account's record, unless it is not there or is being told another one.
    pub(crate) fn tell_record(
        &mut self,
        peer: &Peer,
        (inbox, hash): (u64, RecordHash),
        record: Vec<u8>,
    ) {
        let frame = self.peers.get_mut(peer).and_then(|p| p.tell_record(inbox, hash, record));
        self.outputs.extend(frame.map(|frame| Output::Transmit(*peer, frame)));
    }

    /// The logs of those who are gone are looked at from this one on, in a moment.
    pub(crate) fn vacancies_from(&mut self, number: u64) {
        self.recruits.vacancies_from(number);
    }

    /// A standby would not make a copy.
    pub(crate) fn unwilling(&mut self, peer: Peer, account: AccountId, now: Instant) {
        self.recruits.unwilling(peer, account, now);
    }

    /// The nodes of a log are these now.
    pub(crate) fn ranked(
        &mut self,
        draft: &mut Draft<'_>,
        number: u64,
        (old, new): (&[NodeAddress], &[NodeAddress]),
        now: Instant,
    ) {
        let is_in = |nodes: &[NodeAddress], node| nodes.iter().any(|n| n.node == node);
        for gone in old.iter().filter(|old| !is_in(new, old.node)) {
            let peer = PublicKey(gone.node.0);
            rows::forget(draft, &peer, number);
            let close = self.peers.get_mut(&peer).and_then(|peering| peering.forget(number));
            self.outputs.extend(close.map(|frame| Output::Transmit(peer, frame)));
            self.at(&peer, now.after(GRACE), UNNEEDED);
            self.lazy.hurry(Some(number), Some(&peer), now);
        }
        if !old.is_empty() && new.iter().any(|node| !is_in(old, node.node)) {
            self.lazy.widened(number, now);
            self.lazy.hurry(Some(number), None, now);
        }
        let own = self.own;
        for node in new.iter().filter(|node| node.node.0 != own.0) {
            let peer = PublicKey(node.node.0);
            self.want(peer, &node.addresses, now);
            if !is_in(old, node.node) {
                put_received(draft, &peer, number, Cursor::default());
                rows::mark(draft, &peer, number);
                self.peers.get_mut(&peer).map(|peering| peering.appended(number));
                self.touched.insert(peer);
            }
        }
    }

    /// An entry was stored that came from a device.
    pub(crate) fn appended(
        &mut self,
        draft: &mut Draft<'_>,
        (number, nodes): (u64, &[Peer]),
        now: Instant,
    ) {
        for peer in nodes {
            self.owe_now(draft, peer, number, now);
        }
    }

    /// An entry was stored that came from another node, in whose copy it has that sequence. The other
    /// nodes get it from there, or later from here. A key change goes to them at once: what is signed
    /// with the new key may come from here, and would be refused before it.
    pub(crate) fn came(
        &mut self,
        draft: &mut Draft<'_>,
        (number, nodes): (u64, &[Peer]),
        sequence: u64,
        (from, its_sequence): (&Peer, u64),
        can_wait: bool,
        now: Instant,
    ) {
        let own = self.own;
        if let Some(peering) = self.peers.get_mut(from) {
            peering.has(number, sequence);
            self.touched.insert(*from);
        }
        let others = || nodes.iter().filter(|peer| **peer != own && *peer != from);
        let waits = can_wait
            && others().next().is_some()
            && self.lazy.owe((number, sequence), (*from, its_sequence), now);
        for peer in others() {
            if waits {
                self.owe_later(draft, peer, (number, sequence), now);
            } else {
                self.owe_now(draft, peer, number, now);
            }
        }
    }

    fn owe_now(&mut self, draft: &mut Draft<'_>, peer: &Peer, number: u64, now: Instant) {
        if *peer == self.own {
            return;
        }
        if !self.peers.contains_key(peer) {
            self.want(*peer, &addresses_of(draft, peer), now);
        }
        if self.peers.get_mut(peer).is_none_or(|peering| peering.appended(number)) {
            rows::mark(draft, peer, number);
        }
        self.touched.insert(*peer);
    }

    fn owe_later(
        &mut self,
        draft: &mut Draft<'_>,
        peer: &Peer,
        (number, sequence): (u64, u64),
        now: Instant,
    ) {
        if !self.peers.contains_key(peer) {
            self.want(*peer, &addresses_of(draft, peer), now);
        }
        let peering = self.peers.get_mut(peer);
        if peering.is_none_or(|peering| peering.owed_later(number, sequence)) {
            rows::mark(draft, peer, number);
        }
        // The log is opened there ahead of need.
        self.touched.insert(*peer);
    }

    /// A node says that all others have what came from it up to its `sequence`.
    pub(crate) fn settled(
        &mut self,
        draft: &mut Draft<'_>,
        (number, nodes): (u64, &[Peer]),
        (from, its_sequence): (&Peer, u64),
        now: Instant,
    ) {
        let settled = self.lazy.settle(number, (from, its_sequence), now);
        if settled.is_empty() {
            return;
        }
        for peer in nodes.iter().filter(|peer| *peer != from) {
            let Some(peering) = self.peers.get_mut(peer) else { continue };
            settled.iter().for_each(|sequence| peering.has(number, *sequence));
            peering.check_drained(peer, number, &self.lazy, draft);
            self.touched.insert(*peer);
        }
    }

    /// What nobody else has seen to is pushed, a few nodes at a time.
    fn push_due(&mut self, logs: &mut Logs, rows: &dyn Rows, now: Instant) {
        while self.touched.len() < TIMERS_AT_A_TIME.saturating_sub(limits::RANKING_MAX)
            && let Some((number, sequence, from)) = self.lazy.take_due(now)
        {
            let nodes = logs.get(rows, number).map(|log| log.nodes.as_slice()).unwrap_or_default();
            for peer in nodes.iter().filter(|peer| **peer != from) {
                let Some(peering) = self.peers.get_mut(peer) else { continue };
                peering.owed_now(number, sequence);
                self.touched.insert(*peer);
            }
        }
    }

    /// Tells the nodes of logs up to where all of them have what was pushed, if they are more than two.
    fn tell_settled(&mut self, logs: &mut Logs, rows: &dyn Rows) {
        for number in std::mem::take(&mut self.advanced) {
            let nodes = logs.get(rows, number).map(|log| log.nodes.as_slice()).unwrap_or_default();
            let own = self.own;
            let others = || nodes.iter().filter(|peer| **peer != own);
            if others().count() < 2 {
                continue;
            }
            let holds = |peer| self.peers.get(peer).and_then(|peering| peering.holds(number));
            let all: Option<Vec<u64>> = others().map(holds).collect();
            let Some(sequence) = all.and_then(|all| all.into_iter().min()) else { continue };
            for peer in others() {
                let frame = self.peers.get_mut(peer).and_then(|p| p.tell(number, sequence));
                self.outputs.extend(frame.map(|frame| Output::Transmit(*peer, frame)));
            }
        }
    }

    /// Somebody wants to hear once more that other nodes have an entry.
    pub(crate) fn push_again(
        &mut self,
        (number, nodes): (u64, &[Peer]),
        sequence: u64,
        logs: &mut Logs,
        rows: &dyn Rows,
    ) {
        for peer in nodes {
            let Some(peering) = self.peers.get_mut(peer) else { continue };
            let frame = peering.push_again(number, sequence, logs, rows);
            self.outputs.extend(frame.map(|frame| Output::Transmit(*peer, frame)));
            self.touched.insert(*peer);
        }
    }

    /// For how many more entries a node may be told that they are pushed again.
    pub(crate) fn room_to_push_again(&self, peer: &Peer) -> usize {
        self.peers.get(peer).map_or(0, Peering::room_to_push_again)
    }

    /// The handle on which a log is pushed to a node.
    pub(crate) fn handle(&self, peer: &Peer, number: u64) -> Option<u32> {
        self.peers.get(peer)?.handle(number)
    }

    /// Tells whether some log is pushed to a node on a handle.
    pub(crate) fn is_pushed(&self, peer: &Peer, handle: u32) -> bool {
        self.peers.get(peer).is_some_and(|peering| peering.is_pushed(handle))
    }

    /// Another node has opened a log here, with a copy of which nothing was known.
    pub(crate) fn called(&mut self, draft: &mut Draft<'_>, peer: Peer, number: u64, now: Instant) {
        if !self.peers.contains_key(&peer) {
            self.want(peer, &addresses_of(draft, &peer), now);
        }
        if self.peers.get_mut(&peer).is_none_or(|peering| peering.called(number)) {
            rows::mark(draft, &peer, number);
        }
        self.touched.insert(peer);
    }

    /// Takes an answer in; tells what it was worth.
    pub(crate) fn answered(
        &mut self,
        peer: Peer,
        request: u32,
        body: &Body,
        (draft, logs): (&mut Draft<'_>, &mut Logs),
        now: Instant,
    ) -> Answered {
        let Some(peering) = self.peers.get_mut(&peer) else { return Answered::Unasked };
        self.advanced.extend(peering.log_of(request));
        let around = (draft, logs, &self.lazy);
        let answered = peering.answered(&peer, request, body, around, now);
        self.touched.insert(peer);
        answered
    }

    /// Passes a signal of a device on, to those nodes at which the log is open.
    pub(crate) fn signal(
        &mut self,
        (number, nodes): (u64, &[Peer]),
        ciphertext: &[u8],
        logs: &mut Logs,
        rows: &dyn Rows,
    ) {
        for peer in nodes {
            let Some(peering) = self.peers.get_mut(peer) else { continue };
            let frame = match peering.handle(number) {
                Some(handle) => {
                    let ciphertext = ciphertext.to_vec();
                    Some(Frame::new(Body::Signal { handle, ciphertext }))
                }
                // Whoever types is about to say something.
                None => peering.warm(number, logs, rows),
            };
            self.outputs.extend(frame.map(|frame| Output::Transmit(*peer, frame)));
        }
    }

    /// Does what has fallen due.
    pub(crate) fn timeout(&mut self, logs: &mut Logs, rows: &dyn Rows, now: Instant) {
        if self.next.is_some_and(|next| next <= now) {
            let mut due = Vec::new();
            for (peer, peering) in &mut self.peers {
                while due.len() < TIMERS_AT_A_TIME
                    && let Some((at, what)) = peering.timers.first().copied()
                    && at <= now
                {
                    peering.timers.pop_first();
                    due.push((*peer, what));
                }
            }
            for (peer, what) in due {
                self.fire(peer, what, (logs, rows), now);
            }
            self.plan();
        }
        self.push_due(logs, rows, now);
        if self.left_out.is_some_and(|due| due <= now) {
            self.left_out = None;
            self.take_turns(rows, now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let others = [self.next, self.left_out, self.recruits.poll_timeout()];
        others.into_iter().flatten().chain(self.lazy.poll_timeout()).min()
    }

    /// Pushes what the input in hand has made possible; returns all that is to be done.
    pub(crate) fn settle(
        &mut self,
        draft: &mut Draft<'_>,
        logs: &mut Logs,
        now: Instant,
    ) -> impl Iterator<Item = Output<NodeEvent>> {
        for peer in std::mem::take(&mut self.touched) {
            let Some(peering) = self.peers.get_mut(&peer) else { continue };
            let outputs = &mut self.outputs;
            let around = (&mut *draft, &mut *logs, &self.lazy);
            peering.fill(&peer, around, now, &mut |frame| {
                outputs.push(Output::Transmit(peer, frame));
            });
            let first = peering.timers.first().map(|(due, _)| *due);
            self.next = self.next.into_iter().chain(first).min();
        }
        self.tell_settled(logs, draft);
        std::mem::take(&mut self.outputs).into_iter()
    }
}

/// Connections.
impl Replicas {
    /// Keeps a connection to a node from now on, if there is room.
    fn want(&mut self, peer: Peer, addresses: &[SocketAddr], now: Instant) {
        if let Some(peering) = self.peers.get_mut(&peer) {
            let news = addresses.iter().any(|address| !peering.addresses.contains(address));
            if news {
                let old = std::mem::take(&mut peering.addresses);
                peering.addresses = joined(addresses.iter().chain(&old));
                self.outputs.push(Output::Connect(peer, peering.addresses.clone()));
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
        self.peers.insert(peer, Peering::new(addresses, now));
        self.at(&peer, now.after(self.gone_after), GONE);
        self.fresh.push(peer);
    }

    /// Gives up the connection that was used least lately, unless all are in use.
    fn make_room(&mut self, now: Instant) -> bool {
        // Somebody will be left out, whoever that is.
        self.left_out = self.left_out.or_else(|| Some(now.after(TURN_TIME)));
        let rested = |peering: &Peering| !peering.is_busy() && now.since(peering.used) >= REST;
        let rested = self.peers.iter().filter(|(_, peering)| rested(peering));
        let victim = rested.min_by_key(|(_, peering)| peering.used).map(|(peer, _)| *peer);
        victim.map(|peer| self.give_up(&peer)).is_some()
    }

    fn give_up(&mut self, peer: &Peer) {
        self.peers.remove(peer);
        self.recruits.forget(peer);
        self.outputs.push(Output::Disconnect(*peer));
    }

    /// Gives somebody who was left out a turn.
    fn take_turns(&mut self, rows: &dyn Rows, now: Instant) {
        let mut turns = TURNS_MAX;
        // All who have room already may come first.
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

    fn at(&mut self, peer: &Peer, due: Instant, what: u64) {
        if let Some(peering) = self.peers.get_mut(peer) {
            peering.timers.retain(|(_, planned)| *planned != what);
            peering.timers.insert((due, what));
            self.next = self.next.into_iter().chain([due]).min();
        }
    }

    fn fire(&mut self, peer: Peer, what: u64, (logs, rows): (&mut Logs, &dyn Rows), now: Instant) {
        let Some(peering) = self.peers.get_mut(&peer) else { return };
        match what {
            GONE if peering.is_up => {}
            GONE => {
                self.recruits.gone(peer, now);
                self.at(&peer, now.after(ROUND_TIME.min(self.gone_after)), GONE);
            }
            REDIAL => self.outputs.push(Output::Connect(peer, peering.addresses.clone())),
            UNNEEDED => {
                let mut is_needed = false;
                rows::logs_of(rows, REPLICAS, &peer, 0, |_| {
                    is_needed = true;
                    ControlFlow::Break(())
                });
                if !is_needed {
                    self.give_up(&peer);
                }
            }
            number => {
                let frame = peering.resume(number, logs, rows);
                self.outputs.extend(frame.map(|frame| Output::Transmit(peer, frame)));
            }
        }
    }

    fn plan(&mut self) {
        let first = self.peers.values().filter_map(|peering| peering.timers.first());
        self.next = first.map(|(due, _)| *due).min();
    }
}

/// Where a node is, as members of the logs it holds have told.
fn addresses_of(rows: &dyn Rows, peer: &Peer) -> Vec<SocketAddr> {
    let mut numbers = Vec::new();
    rows::logs_of(rows, REPLICAS, peer, 0, |number| {
        numbers.push(number);
        if numbers.len() < ADDRESSES_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    let rankings = numbers.into_iter().filter_map(|number| ranking(rows, number));
    let nodes = rankings.flat_map(|ranking| ranking.nodes.into_iter().chain(ranking.standbys));
    let of_peer: Vec<_> =
        nodes.filter(|node| node.node.0 == peer.0).flat_map(|node| node.addresses).collect();
    joined(&of_peer)
}

/// The first addresses, each once.
fn joined<'a>(addresses: impl IntoIterator<Item = &'a SocketAddr>) -> Vec<SocketAddr> {
    let mut joined = Vec::new();
    for address in addresses {
        if joined.len() < ADDRESSES_MAX && !joined.contains(address) {
            joined.push(*address);
        }
    }
    joined
}

/// Nodes that share logs with this one and are connected: each costs some 30 KB and a keep-alive.
/// Of more, those that were used least lately wait for their turns.
pub(crate) const PEERS_MAX: usize = 1024;
/// What an account is charged for the ranking of a log and for what is remembered of each of its
/// nodes.
pub(crate) const RANKING_CHARGE: u64 = 3200;
/// What one input leads to here at most: as much for each other node of a log, or for each node
/// with which something falls due.
pub(crate) const OUTPUTS_MAX: usize =
    TIMERS_AT_A_TIME * (FRAMES_MAX + 2) + PEERS_MAX + limits::RANKING_MAX;
/// Timers worked off at a time, so that other inputs don't wait.
const TIMERS_AT_A_TIME: usize = 64;
/// Addresses of one node: what two members say of it.
const ADDRESSES_MAX: usize = 2 * limits::NODE_ADDRESSES_MAX;
/// For how long a connection is kept after the last log that needed it is gone.
const GRACE: Duration = Duration::from_secs(60);
/// When to dial somebody again with whom one could not talk.
const REDIAL_TIME: Duration = Duration::from_secs(600);
/// How often to look for somebody to take the place of a node that is gone, as long as it is.
const ROUND_TIME: Duration = Duration::from_secs(60);
/// How long a connection must have been idle to make room for another one.
const REST: Duration = Duration::from_secs(30);
/// How long those who are left out wait for a turn, and how many get one at a time.
const TURN_TIME: Duration = Duration::from_secs(60);
const TURNS_MAX: usize = 16;
