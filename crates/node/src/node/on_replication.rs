//! Frames of other nodes about logs that they hold as well, and rankings.

use proto::{
    Body, Code, Cursor, Envelope, Frame, Instant, NodeAddress, Peer, Ranking, Replicate, Rows,
    Transaction,
};

use super::{Node, on_log::Source};
use crate::{
    counters::{Dropped, increment},
    invite,
    log::{Appended, EntryAt, Writer},
    placement::{self, Holders, HoldersChange, Origin, peer_of},
    quota::RANKING_CHARGE,
    replica::{self, Answered, Store},
    session::{Access, Channel, LogChannel, Role},
};

impl Node {
    /// Takes a frame that answers a request of replication; returns whether it does.
    pub(super) fn on_replica_answer(
        &mut self,
        peer: Peer,
        frame: &Frame,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> bool {
        let body = &frame.body;
        let store = Store { tx, logs: &mut self.logs };
        let counters = &mut self.counting.counters;
        match self.replicas.on_answer(peer, frame, store, now) {
            Answered::Unasked => return false,
            Answered::Fine => {}
            Answered::Stored => increment(&mut counters.replicated),
            Answered::Refused => increment(&mut counters.unreplicated),
            Answered::NoCopy(number) => self.take_part(number, &peer, false, tx, now),
            Answered::Unwilling(account) => self.replicas.unwilling(peer, account, now),
            Answered::PassedRecord(record) => {
                let newer =
                    if let Body::Refused { newer, .. } = body { newer } else { &Vec::new() };
                self.on_record_answer(peer, record, newer, tx, now);
            }
        }
        true
    }

    /// Checks that a ranking may be one of a log that is here.
    pub(super) fn check_ranking(&self, ranking: Option<&Ranking>) -> Result<(), Code> {
        let Some(Ranking { nodes, reserve, .. }) = ranking else { return Ok(()) };
        let named = || nodes.iter().chain(reserve);
        let once = named().enumerate().all(|(at, node)| {
            named().skip(at.saturating_add(1)).all(|other| other.node != node.node)
        });
        let is_here = named().any(|node| node.node == self.config.node);
        if once && is_here { Ok(()) } else { Err(Code::Invalid) }
    }

    /// Takes the ranking of a log that a member announces. Of two rankings the one with the larger
    /// version wins, and of equal versions any fixed one, the same at every node.
    pub(super) fn take_ranking(
        &mut self,
        Access { log: number, key, role }: Access,
        ranking: &Ranking,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<(), Code> {
        let log = self.logs.get(tx, number).ok_or(Code::NotFound)?;
        // A key that may no longer write may not say either where entries go.
        if role != Role::Member || !log.admits(&key, now) {
            return Ok(());
        }
        let account = log.row.account;
        let old = placement::ranking(tx, number);
        match &old {
            None => {
                self.quota.admit(tx, account, RANKING_CHARGE)?;
                self.quota.charge(tx, account, RANKING_CHARGE);
            }
            Some(old) => {
                let text = |nodes: &[NodeAddress]| {
                    nodes.iter().map(ToString::to_string).collect::<Vec<_>>()
                };
                let age = |ranking: &Ranking| {
                    (ranking.version, text(&ranking.nodes), text(&ranking.reserve))
                };
                if age(old) >= age(ranking) {
                    return Ok(());
                }
            }
        }
        self.rank(number, old.as_ref(), ranking, tx, now);
        Ok(())
    }

    /// Takes the ranking of an inbox from its account's bundle. It was charged when the account was
    /// registered. A reserve home holds the inbox only once it is wanted there.
    pub(super) fn rank_inbox(
        &mut self,
        inbox: u64,
        ranking: &Ranking,
        is_wanted: bool,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        let old = placement::ranking(tx, inbox).filter(|old| !old.nodes.is_empty());
        let is_active = ranking.nodes.iter().any(|home| home.node == self.config.node);
        let is_same = old
            .as_ref()
            .is_some_and(|old| (&old.nodes, &old.reserve) == (&ranking.nodes, &ranking.reserve));
        if !is_same && (is_active || is_wanted || old.is_some()) {
            self.rank(inbox, old.as_ref(), ranking, tx, now);
        }
    }

    pub(super) fn rank(
        &mut self,
        number: u64,
        old: Option<&Ranking>,
        ranking: &Ranking,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        let before = old.map(|old| placement::holders(tx, number, old)).unwrap_or_default();
        let after = placement::holders(tx, number, ranking);
        for gone in before.iter().filter(|old| after.iter().all(|new| new.node != old.node)) {
            for channel in self.sessions.replicated(peer_of(gone), number) {
                let _ = self.close(channel);
            }
        }
        placement::put_ranking(tx, number, ranking);
        self.note_role(number, ranking, tx, now);
        let change = HoldersChange { before: &before, after: &after };
        self.replicas.ranked(tx, number, change, now);
        self.logs.ranked(tx, number);
        self.ensure_copies(number, tx, now);
    }

    /// Opens a log for another node, which appends the entries of its own copy.
    pub(super) fn on_replicate(
        &mut self,
        peer: Peer,
        replicate: &Replicate,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<Body, Code> {
        let Replicate { channel, log, head } = replicate;
        let channel = Channel { peer, number: *channel };
        let (number, log) = self.logs.find(tx, log).ok_or(Code::NotFound)?;
        let position = log.state.highest_position;
        let is_reserve = log.reserve.contains(&peer);
        if peer.0 == self.config.node.0 || !(is_reserve || log.nodes.contains(&peer)) {
            return Err(Code::Forbidden);
        }
        if head.incarnation == 0 {
            return Err(Code::Invalid);
        }
        if is_reserve {
            self.take_part(number, &peer, true, tx, now);
        }
        self.sessions.check_room(channel)?;
        let _ = self.close(channel);
        self.sessions.open(channel, Access { log: number, key: peer, role: Role::Replica });
        let got = placement::received(tx, &peer, number).unwrap_or_default();
        let is_known = got.incarnation == head.incarnation;
        let sequence = if is_known && got.sequence <= head.sequence { got.sequence } else { 0 };
        let got_now = Cursor { sequence, ..*head };
        if got != got_now {
            placement::put_received(tx, &peer, number, got_now);
        }
        if !is_known {
            // A new copy lacks the entries that are here.
            self.replicas.called(tx, peer, number, now);
        }
        Ok(Body::Opened { head: got_now, position })
    }

    /// Stores an entry of another node's copy of a log.
    pub(super) fn replicate(
        &mut self,
        channel: Channel,
        origin: Origin,
        envelope: &Envelope,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<Body, Code> {
        let Origin { peer, sequence } = origin;
        let number = self.sessions.access(channel)?.log;
        let (logs, quota) = (&mut self.logs, &mut self.quota);
        match logs.append(tx, quota, number, envelope, Writer::Replica, now) {
            Ok(Appended::Before(_)) => increment(&mut self.counting.counters.duplicates),
            Ok(Appended::New(here)) => {
                self.use_up(number, envelope, tx, now);
                let at = EntryAt { log: number, sequence: here };
                self.hand_on(at, envelope, Source::Node(origin), tx, now);
            }
            Err(code) => {
                if !replica::is_about_the_entry(code) {
                    let _ = self.close(channel);
                }
                return Err(code);
            }
        }
        let got = placement::received(tx, &peer, number).ok_or(Code::Forbidden)?;
        if sequence > got.sequence {
            placement::put_received(tx, &peer, number, Cursor { sequence, ..got });
        }
        self.ack(LogChannel { log: number, channel }, envelope, tx);
        Ok(Body::Accepted { channel: channel.number, sequence })
    }

    /// Uses up an invite by which an entry has come to an inbox at another home. The invite may be
    /// unknown here: a home that admits a writer admits it for all homes.
    fn use_up(&mut self, number: u64, envelope: &Envelope, tx: &mut Transaction<'_>, now: Instant) {
        let key = &envelope.head.write_key;
        let is_inbox = self.logs.get(tx, number).is_some_and(|log| log.row.inbox_of.is_some());
        if is_inbox && let Some(invite) = invite::get(tx, number, key, now) {
            invite::use_up(tx, number, key, invite);
        }
    }

    /// Another node says that all nodes of a log have the entries that it has appended on a channel
    /// up to its `sequence`.
    pub(super) fn on_settled(
        &mut self,
        channel: Channel,
        sequence: u64,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        let access = self.sessions.access(channel).ok();
        let access = access.filter(|access| access.role == Role::Replica);
        let log = access.and_then(|access| Some((access.log, self.logs.get(tx, access.log)?)));
        let Some((number, log)) = log else { return self.counting.dropped(Dropped::Unasked) };
        let holders = Holders { log: number, nodes: &log.nodes };
        let up_to = Origin { peer: channel.peer, sequence };
        self.replicas.on_settled(tx, holders, up_to, now);
    }

    /// Returns how many signals a second a connection may send, or refuses one on this channel.
    pub(super) fn check_signal(
        &mut self,
        peer: Peer,
        access: &Access,
        rows: &dyn Rows,
        now: Instant,
    ) -> Result<u32, Code> {
        let log = self.logs.get(rows, access.log).ok_or(Code::NotFound)?;
        let may = match access.role {
            Role::Owner | Role::Member => log.admits(&access.key, now),
            Role::Guest => false,
            Role::Replica => log.nodes.contains(&peer),
        };
        if !may {
            return Err(Code::Forbidden);
        }
        let max = self.config.signals_per_s_max;
        // Another node sends the signals of many devices.
        Ok(if access.role == Role::Replica { max.saturating_mul(DEVICES_OF_A_NODE) } else { max })
    }

    /// Passes a device's signal on to the other nodes that hold its log; they pass it no further.
    pub(super) fn pass_signal_on(&mut self, number: u64, ciphertext: &[u8], rows: &dyn Rows) {
        let Some(log) = self.logs.get(rows, number) else { return };
        if log.nodes.is_empty() {
            return;
        }
        let nodes = log.nodes.clone();
        let holders = Holders { log: number, nodes: &nodes };
        self.replicas.signal(holders, ciphertext, &mut self.logs, rows);
    }
}

/// How many devices' signals another node may pass on: more than type in the same second of those
/// that two large nodes share.
const DEVICES_OF_A_NODE: u32 = 64;
