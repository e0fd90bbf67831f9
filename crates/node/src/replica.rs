//! Replicas: the other nodes that hold logs of this one, and pushing to them the entries they lack.
//!
//! The nodes that hold a log are its **ranking**, which members announce. This node keeps one
//! connection to each other node of its logs' rankings and pushes every entry there, in the order
//! of its own copy, unless another node does so ([`deferred_push`]). Which node may lack entries of
//! which log is in rows, so that a crash loses none of it and a node that is away costs no memory.
//! How far a node has got it says itself when a log is opened there. Both sides push; entries that
//! are there already are accepted again. Specified in `spec/logs.md`, section 9.

mod connections;
mod deferred_push;
mod peer;
mod push;
mod rows;
mod unreachable;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::{
    AccountId, Body, Cursor, Frame, Gauge, Instant, NodeAddress, NodeId, Output, Peer, PublicKey,
    Recruit, Rows, Transaction, limits,
};

use crate::{
    command::NodeEvent,
    layout::{DIRTY, REPLICAS},
    log::{EntryAt, Logs},
    placement::{self, Holders, HoldersChange, Origin, peer_of},
    session::Channel,
};
use connections::{TIMERS_AT_A_TIME, TURN_TIME, addresses_of};
use deferred_push::DeferredPushes;
pub(crate) use peer::{Answered, RecordHash, RecordOf, is_about_the_entry};
use peer::{Around, FRAMES_MAX, ReplicationPeer, Timer};
pub(crate) use rows::{copies_behind, is_marked, shares_logs};
pub(crate) use unreachable::PEERS_MAX;
use unreachable::{ROUND_PAUSE, Unreachable};

/// The other nodes that hold logs of this one.
#[derive(Debug)]
pub(crate) struct Replicas {
    own: Peer,
    peers: BTreeMap<Peer, ReplicationPeer>,
    /// Those to which entries may be pushed after the current input.
    touched: BTreeSet<Peer>,
    /// Those that are newly wanted, and may be connected already.
    fresh: Vec<Peer>,
    /// No timer is due before.
    next: Option<Instant>,
    /// When to give a node a turn for which there was no room and that may lack entries.
    left_out: Option<Instant>,
    /// The node that was given a turn last.
    turn: Option<Peer>,
    /// Entries that other nodes are to push.
    deferred: DeferredPushes,
    /// Nodes that other nodes are to replace.
    unreachable: Unreachable,
    /// How long a node is away before it counts as unreachable.
    unreachable_after: Duration,
    /// Logs of which a node may have got further with the current input.
    advanced: BTreeSet<u64>,
    outputs: Vec<Output<NodeEvent>>,
}

/// What replication needs of the node.
#[derive(Debug)]
pub(crate) struct Store<'a, 'rows> {
    pub(crate) tx: &'a mut Transaction<'rows>,
    pub(crate) logs: &'a mut Logs,
}

impl Replicas {
    /// Reads from rows which nodes to connect to, those that may lack entries first.
    pub(crate) fn open(
        node: NodeId,
        unreachable_after: Duration,
        rows: &dyn Rows,
        now: Instant,
    ) -> Self {
        let mut replicas = Self {
            own: PublicKey(node.0),
            peers: BTreeMap::new(),
            touched: BTreeSet::new(),
            fresh: Vec::new(),
            next: None,
            left_out: None,
            turn: None,
            deferred: DeferredPushes::default(),
            unreachable: Unreachable::default(),
            unreachable_after,
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
        for remote in self.peers.values() {
            for (fullest, value) in fullest.iter_mut().zip(remote.fullness()) {
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
        let each = names.into_iter().zip(fullest).zip(ReplicationPeer::limits());
        let mut gauges: Vec<_> =
            each.map(|((name, value), limit)| Gauge::new(name, value, limit)).collect();
        gauges.extend(self.deferred.gauges());
        gauges.extend(self.unreachable.gauges());
        gauges.push(Gauge::new("nodes of shared logs", self.peers.len(), PEERS_MAX));
        gauges
    }

    /// Returns whether a connection to this peer is kept because of logs.
    pub(crate) fn wants(&self, peer: &Peer) -> bool {
        self.peers.contains_key(peer)
    }

    /// Returns whether a node may be asked to hold a log for an account, as far as is known.
    pub(crate) fn may_serve(&self, peer: &Peer, account: &AccountId, now: Instant) -> bool {
        !self.unreachable.contains(peer) && !self.unreachable.is_unwilling(peer, account, now)
    }

    /// Returns the number of unreachable nodes.
    pub(crate) fn unreachable_count(&self) -> u64 {
        self.unreachable.count()
    }

    /// Returns whether the connection to a node has stood for so long.
    pub(crate) fn is_up_for(&self, peer: &Peer, time: Duration, now: Instant) -> bool {
        self.peers.get(peer).is_some_and(|p| p.is_up && now.since(p.since) >= time)
    }

    /// Returns for how many more entries a node may be told that they are pushed again.
    pub(crate) fn room_to_push_again(&self, peer: &Peer) -> usize {
        self.peers.get(peer).map_or(0, ReplicationPeer::room_to_push_again)
    }

    /// Returns the number of the channel on which a log is pushed to a node.
    pub(crate) fn channel(&self, peer: &Peer, log: u64) -> Option<u32> {
        self.peers.get(peer)?.channel(log)
    }

    /// Returns whether some log is pushed on a channel.
    pub(crate) fn is_pushed(&self, channel: Channel) -> bool {
        self.peers.get(&channel.peer).is_some_and(|remote| remote.is_pushed(channel.number))
    }

    /// Returns the next few logs of unreachable nodes: other nodes may have to hold them.
    pub(crate) fn vacancies(&mut self, rows: &dyn Rows, now: Instant) -> Vec<u64> {
        self.unreachable.vacancies(rows, now)
    }

    /// Returns to this log of the unreachable node whose logs were returned last.
    pub(crate) fn vacancies_from(&mut self, number: u64) {
        self.unreachable.vacancies_from(number);
    }

    /// Notes that a node has refused to hold a log of an account.
    pub(crate) fn unwilling(&mut self, peer: Peer, account: AccountId, now: Instant) {
        self.unreachable.unwilling(peer, account, now);
    }

    /// Asks a node to make a copy of a log if it is connected. Otherwise connects to it, and the
    /// next round asks it. Returns false if the node has enough to do for now.
    pub(crate) fn recruit(
        &mut self,
        candidate: &NodeAddress,
        account: AccountId,
        recruit: Recruit,
        now: Instant,
    ) -> bool {
        let peer = peer_of(candidate);
        self.want(peer, &candidate.addresses, now);
        // If nothing comes of it, the connection is not needed.
        self.arm(&peer, now.after(ROUND_PAUSE.saturating_add(GRACE)), Timer::Unneeded);
        let Some(remote) = self.peers.get_mut(&peer).filter(|remote| remote.is_up) else {
            self.unreachable.sought(peer);
            return true;
        };
        let frame = remote.recruit(account, recruit);
        let is_asked = frame.is_some();
        self.transmit(peer, frame);
        is_asked
    }

    /// Sends a node an account's record, unless it is away or is being sent another one.
    pub(crate) fn pass_record_on(&mut self, peer: &Peer, record: RecordOf, bytes: Vec<u8>) {
        let frame = self.peers.get_mut(peer).and_then(|p| p.pass_record_on(record, bytes));
        self.transmit(*peer, frame);
    }

    /// Takes the change of the nodes that hold a log.
    pub(crate) fn ranked(
        &mut self,
        tx: &mut Transaction<'_>,
        number: u64,
        HoldersChange { before, after }: HoldersChange<'_>,
        now: Instant,
    ) {
        let is_in = |nodes: &[NodeAddress], node| nodes.iter().any(|n| n.node == node);
        for gone in before.iter().filter(|old| !is_in(after, old.node)) {
            let peer = peer_of(gone);
            rows::forget(tx, &peer, number);
            let close = self.peers.get_mut(&peer).and_then(|remote| remote.forget(number));
            self.transmit(peer, close);
            self.arm(&peer, now.after(GRACE), Timer::Unneeded);
            self.deferred.hurry(Some(number), Some(&peer), now);
        }
        if !before.is_empty() && after.iter().any(|node| !is_in(before, node.node)) {
            self.deferred.widened(number, now);
            self.deferred.hurry(Some(number), None, now);
        }
        let own = self.own;
        for node in after.iter().filter(|node| node.node.0 != own.0) {
            let peer = peer_of(node);
            self.want(peer, &node.addresses, now);
            if !is_in(before, node.node) {
                placement::put_received(tx, &peer, number, Cursor::default());
                rows::mark(tx, &peer, number);
                self.peers.get_mut(&peer).map(|remote| remote.appended(number));
                self.touched.insert(peer);
            }
        }
    }

    /// Owes an entry that came from a device to the nodes of its log.
    pub(crate) fn appended(
        &mut self,
        tx: &mut Transaction<'_>,
        holders: Holders<'_>,
        now: Instant,
    ) {
        for peer in holders.nodes {
            self.owe_now(tx, peer, holders.log, now);
        }
    }

    /// Owes an entry that came from another node to the remaining nodes of its log. They get the
    /// entry from that node, or later from this one. A key change goes to them at once, because
    /// they would refuse what is signed with the new key before it.
    pub(crate) fn replicated(
        &mut self,
        tx: &mut Transaction<'_>,
        Holders { log, nodes }: Holders<'_>,
        sequence: u64,
        origin: Origin,
        can_wait: bool,
        now: Instant,
    ) {
        let own = self.own;
        if let Some(remote) = self.peers.get_mut(&origin.peer) {
            remote.note_held(log, sequence);
            self.touched.insert(origin.peer);
        }
        let at = EntryAt { log, sequence };
        let others = || nodes.iter().filter(|peer| **peer != own && **peer != origin.peer);
        let waits = can_wait && others().next().is_some() && self.deferred.defer(at, origin, now);
        for peer in others() {
            if waits {
                self.owe_later(tx, peer, at, now);
            } else {
                self.owe_now(tx, peer, log, now);
            }
        }
    }

    fn owe_now(&mut self, tx: &mut Transaction<'_>, peer: &Peer, number: u64, now: Instant) {
        if *peer == self.own {
            return;
        }
        if !self.peers.contains_key(peer) {
            self.want(*peer, &addresses_of(tx, peer), now);
        }
        if self.peers.get_mut(peer).is_none_or(|remote| remote.appended(number)) {
            rows::mark(tx, peer, number);
        }
        self.touched.insert(*peer);
    }

    fn owe_later(&mut self, tx: &mut Transaction<'_>, peer: &Peer, at: EntryAt, now: Instant) {
        if !self.peers.contains_key(peer) {
            self.want(*peer, &addresses_of(tx, peer), now);
        }
        if self.peers.get_mut(peer).is_none_or(|remote| remote.owed_later(at)) {
            rows::mark(tx, peer, at.log);
        }
        // The log is opened there before an entry is pushed.
        self.touched.insert(*peer);
    }

    /// A node says that all others have the entries that came from it up to a sequence.
    pub(crate) fn on_settled(
        &mut self,
        tx: &mut Transaction<'_>,
        Holders { log, nodes }: Holders<'_>,
        up_to: Origin,
        now: Instant,
    ) {
        let settled = self.deferred.settled(log, up_to, now);
        if settled.is_empty() {
            return;
        }
        for peer in nodes.iter().filter(|peer| **peer != up_to.peer) {
            let Some(remote) = self.peers.get_mut(peer) else { continue };
            settled.iter().for_each(|sequence| remote.note_held(log, *sequence));
            remote.check_drained(peer, log, &self.deferred, tx);
            self.touched.insert(*peer);
        }
    }

    /// Pushes an entry to nodes once more, because a device awaits their acks or they lack it.
    pub(crate) fn push_again(
        &mut self,
        nodes: &[Peer],
        at: EntryAt,
        logs: &mut Logs,
        rows: &dyn Rows,
    ) {
        for peer in nodes {
            let Some(remote) = self.peers.get_mut(peer) else { continue };
            let frame = remote.push_again(at, logs, rows);
            self.transmit(*peer, frame);
            self.touched.insert(*peer);
        }
    }

    /// Another node has opened a log here, with a copy that was not known.
    pub(crate) fn called(
        &mut self,
        tx: &mut Transaction<'_>,
        peer: Peer,
        number: u64,
        now: Instant,
    ) {
        if !self.peers.contains_key(&peer) {
            self.want(peer, &addresses_of(tx, &peer), now);
        }
        if self.peers.get_mut(&peer).is_none_or(|remote| remote.called(number)) {
            rows::mark(tx, &peer, number);
        }
        self.touched.insert(peer);
    }

    /// Takes an answer and returns what it was worth.
    pub(crate) fn on_answer(
        &mut self,
        peer: Peer,
        frame: &Frame,
        Store { tx, logs }: Store<'_, '_>,
        now: Instant,
    ) -> Answered {
        let Some(remote) = self.peers.get_mut(&peer) else { return Answered::Unasked };
        self.advanced.extend(remote.log_of(frame.request));
        let around = Around { peer, tx, logs, deferred: &self.deferred };
        let answered = remote.on_answer(frame, around, now);
        self.touched.insert(peer);
        answered
    }

    /// Passes a device's signal on to the nodes at which the log is open.
    pub(crate) fn signal(
        &mut self,
        Holders { log, nodes }: Holders<'_>,
        ciphertext: &[u8],
        logs: &mut Logs,
        rows: &dyn Rows,
    ) {
        for peer in nodes {
            let Some(remote) = self.peers.get_mut(peer) else { continue };
            let frame = match remote.channel(log) {
                Some(number) => {
                    let ciphertext = ciphertext.to_vec();
                    Some(Frame::new(Body::Signal { channel: number, ciphertext }))
                }
                // A device that signals is about to append.
                None => remote.open_ahead(log, logs, rows),
            };
            self.transmit(*peer, frame);
        }
    }

    /// Pushes what the current input has made possible; returns all that is to be done.
    pub(crate) fn push_pending(
        &mut self,
        Store { tx, logs }: Store<'_, '_>,
        now: Instant,
    ) -> impl Iterator<Item = Output<NodeEvent>> {
        for peer in std::mem::take(&mut self.touched) {
            let Some(remote) = self.peers.get_mut(&peer) else { continue };
            let outputs = &mut self.outputs;
            let around = Around { peer, tx, logs, deferred: &self.deferred };
            remote.fill(around, now, &mut |frame| outputs.push(Output::Transmit(peer, frame)));
            self.next = self.next.into_iter().chain(remote.first_due()).min();
        }
        self.tell_settled(logs, tx);
        std::mem::take(&mut self.outputs).into_iter()
    }

    /// Tells the nodes of logs up to where all of them have the entries that were pushed, if they
    /// are more than two.
    fn tell_settled(&mut self, logs: &mut Logs, rows: &dyn Rows) {
        for number in std::mem::take(&mut self.advanced) {
            let nodes = logs.get(rows, number).map(|log| log.nodes.as_slice()).unwrap_or_default();
            let own = self.own;
            let others = || nodes.iter().filter(|peer| **peer != own);
            if others().count() < 2 {
                continue;
            }
            let holds = |peer| self.peers.get(peer).and_then(|remote| remote.holds(number));
            let all: Option<Vec<u64>> = others().map(holds).collect();
            let Some(sequence) = all.and_then(|all| all.into_iter().min()) else { continue };
            for peer in others() {
                let frame = self.peers.get_mut(peer).and_then(|p| p.tell(number, sequence));
                self.transmit(*peer, frame);
            }
        }
    }

    fn transmit(&mut self, peer: Peer, frame: Option<Frame>) {
        self.outputs.extend(frame.map(|frame| Output::Transmit(peer, frame)));
    }
}

/// What one input leads to here at most: as much for each other node of a log, or for each node
/// with which something falls due.
pub(crate) const OUTPUTS_MAX: usize =
    TIMERS_AT_A_TIME * (FRAMES_MAX + 2) + PEERS_MAX + limits::RANKING_MAX;
/// For how long a connection is kept after the last log that needed it is gone.
const GRACE: Duration = Duration::from_secs(60);
