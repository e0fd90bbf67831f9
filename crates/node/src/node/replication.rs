//! What other nodes say and are told about logs that they hold as well.

use proto::{
    Body, Code, Cursor, Draft, Envelope, Instant, NodeAddress, Peer, PublicKey, Ranking, Replicate,
    Rows,
};

use super::Node;
use crate::{
    counters::{Dropped, increment},
    invite,
    log::{Appended, Writer},
    replica::{self, Answered, RANKING_CHARGE},
    session::{Handle, Role},
};

impl Node {
    /// Takes a frame in that is the answer to something asked of another node; tells whether it is.
    pub(super) fn is_answer(
        &mut self,
        peer: Peer,
        request: u32,
        body: &Body,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> bool {
        let may_be =
            matches!(body, Body::Accepted { .. } | Body::Refused { .. } | Body::Opened { .. });
        if request == 0 || !may_be {
            return false;
        }
        let around = (&mut *draft, &mut self.logs);
        let counters = &mut self.counting.counters;
        match self.replicas.answered(peer, request, body, around, now) {
            Answered::Unasked => return false,
            Answered::Fine => {}
            Answered::Stored => increment(&mut counters.replicated),
            Answered::Refused => increment(&mut counters.unreplicated),
            Answered::NoCopy(number) => self.take_part(number, &peer, false, draft, now),
            Answered::Unwilling(account) => self.replicas.unwilling(peer, account, now),
            Answered::Told(inbox, hash) => {
                let newer =
                    if let Body::Refused { newer, .. } = body { newer } else { &Vec::new() };
                self.record_is_told(peer, (inbox, hash), newer, draft, now);
            }
        }
        true
    }

    /// Checks that a ranking may be one of a log that is here.
    pub(super) fn check_ranking(&self, ranking: Option<&Ranking>) -> Result<(), Code> {
        let Some(Ranking { nodes, standbys, .. }) = ranking else { return Ok(()) };
        let named = || nodes.iter().chain(standbys);
        let once = named().enumerate().all(|(at, node)| {
            named().skip(at.saturating_add(1)).all(|other| other.node != node.node)
        });
        let is_here = named().any(|node| node.node == self.config.node);
        if once && is_here { Ok(()) } else { Err(Code::Invalid) }
    }

    /// A member says who holds a log. Of two rankings the one with the larger version counts, and
    /// of equal ones any, as long as it is the same everywhere.
    pub(super) fn take_ranking(
        &mut self,
        (number, role): (u64, Role),
        key: &PublicKey,
        ranking: &Ranking,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<(), Code> {
        let log = self.logs.get(draft, number).ok_or(Code::NotFound)?;
        // Who may no longer write may not say who gets what is written.
        if role != Role::Member || !log.admits(key, now) {
            return Ok(());
        }
        let account = log.row.account;
        let old = replica::ranking(draft, number);
        match &old {
            None => {
                self.quota.admit(draft, account, RANKING_CHARGE)?;
                self.quota.charge(draft, account, RANKING_CHARGE);
            }
            Some(old) => {
                let text = |nodes: &[NodeAddress]| {
                    nodes.iter().map(ToString::to_string).collect::<Vec<_>>()
                };
                let age = |ranking: &Ranking| {
                    (ranking.version, text(&ranking.nodes), text(&ranking.standbys))
                };
                if age(old) >= age(ranking) {
                    return Ok(());
                }
            }
        }
        self.rank(number, old.as_ref(), ranking, draft, now);
        Ok(())
    }

    /// An account's bundle says who holds its inbox. It was charged when the account was registered.
    /// Whoever stands by shares in it only once it is wanted.
    pub(super) fn rank_inbox(
        &mut self,
        inbox: u64,
        ranking: &Ranking,
        is_wanted: bool,
        draft: &mut Draft<'_>,
        now: Instant,
    ) {
        let old = replica::ranking(draft, inbox).filter(|old| !old.nodes.is_empty());
        let serves = ranking.nodes.iter().any(|home| home.node == self.config.node);
        let is_same = old
            .as_ref()
            .is_some_and(|old| (&old.nodes, &old.standbys) == (&ranking.nodes, &ranking.standbys));
        if !is_same && (serves || is_wanted || old.is_some()) {
            self.rank(inbox, old.as_ref(), ranking, draft, now);
        }
    }

    pub(super) fn rank(
        &mut self,
        number: u64,
        old: Option<&Ranking>,
        ranking: &Ranking,
        draft: &mut Draft<'_>,
        now: Instant,
    ) {
        let before = old.map(|old| replica::holders(draft, number, old)).unwrap_or_default();
        let after = replica::holders(draft, number, ranking);
        for gone in before.iter().filter(|old| after.iter().all(|new| new.node != old.node)) {
            let peer = PublicKey(gone.node.0);
            for handle in self.sessions.replicated(peer, number) {
                let _ = self.close(peer, handle);
            }
        }
        replica::put_ranking(draft, number, ranking);
        self.note_role(number, ranking, draft, now);
        self.replicas.ranked(draft, number, (&before, &after), now);
        self.logs.ranked(draft, number);
        self.see_to_copies(number, draft, now);
    }

    /// Another node wants to append to a log what its own copy has.
    pub(super) fn replicate(
        &mut self,
        peer: Peer,
        replicate: &Replicate,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<Body, Code> {
        let Replicate { handle, log, head } = replicate;
        let (number, log) = self.logs.find(draft, log).ok_or(Code::NotFound)?;
        let position = log.state.highest_position;
        let stands_by = log.standbys.contains(&peer);
        if peer.0 == self.config.node.0 || !(stands_by || log.nodes.contains(&peer)) {
            return Err(Code::Forbidden);
        }
        if head.incarnation == 0 {
            return Err(Code::Invalid);
        }
        if stands_by {
            self.take_part(number, &peer, true, draft, now);
        }
        self.sessions.check_room(peer, *handle)?;
        let _ = self.close(peer, *handle);
        self.sessions.open(peer, *handle, Handle { log: number, key: peer, role: Role::Replica });
        let got = replica::received(draft, &peer, number).unwrap_or_default();
        let is_known = got.incarnation == head.incarnation;
        let sequence = if is_known && got.sequence <= head.sequence { got.sequence } else { 0 };
        let got_now = Cursor { sequence, ..*head };
        if got != got_now {
            replica::put_received(draft, &peer, number, got_now);
        }
        if !is_known {
            // Whoever has a new copy lacks what is here.
            self.replicas.called(draft, peer, number, now);
        }
        Ok(Body::Opened { head: got_now, position })
    }

    /// Stores what another node's copy of a log has under its `sequence`.
    pub(super) fn take_in(
        &mut self,
        peer: Peer,
        handle: u32,
        (number, sequence): (u64, u64),
        envelope: &Envelope,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<Body, Code> {
        let (logs, quota) = (&mut self.logs, &mut self.quota);
        match logs.append(draft, quota, number, envelope, Writer::Replica, now) {
            Ok(Appended::Before(_)) => increment(&mut self.counting.counters.duplicates),
            Ok(Appended::New(here)) => {
                self.use_up(number, &envelope.head.write_key, draft, now);
                self.stored((peer, Some(sequence)), number, here, envelope, draft, now);
            }
            Err(code) => {
                if !replica::is_about_the_entry(code) {
                    let _ = self.close(peer, handle);
                }
                return Err(code);
            }
        }
        let got = replica::received(draft, &peer, number).ok_or(Code::Forbidden)?;
        if sequence > got.sequence {
            replica::put_received(draft, &peer, number, Cursor { sequence, ..got });
        }
        self.give_receipt((peer, handle, number), envelope, draft);
        Ok(Body::Accepted { handle, sequence })
    }

    /// An invite has brought something to an inbox at the other home: as often less it may do so here.
    /// It need not be known here; whom the other home lets in, it lets in for both.
    fn use_up(&mut self, number: u64, key: &PublicKey, draft: &mut Draft<'_>, now: Instant) {
        let is_inbox = self.logs.get(draft, number).is_some_and(|log| log.row.inbox_of.is_some());
        if is_inbox && let Some(invite) = invite::get(draft, number, key, now) {
            invite::use_up(draft, number, key, invite);
        }
    }

    /// Takes in what another node says of its copies, which nobody answers.
    pub(super) fn other_node_says(
        &mut self,
        peer: Peer,
        body: Body,
        draft: &mut Draft<'_>,
        now: Instant,
    ) {
        if let Body::Held { handle, reference, node, receipt } = body {
            self.held(peer, (handle, reference), node, receipt);
        } else if let Body::Settled { handle, sequence } = body {
            self.settled(peer, handle, sequence, draft, now);
        }
    }

    /// Another node says that all nodes of a log have what it has appended here up to its `sequence`.
    fn settled(
        &mut self,
        peer: Peer,
        handle: u32,
        sequence: u64,
        draft: &mut Draft<'_>,
        now: Instant,
    ) {
        let handle = self.sessions.handle(peer, handle).ok();
        let handle = handle.filter(|handle| handle.role == Role::Replica);
        let log = handle.and_then(|handle| Some((handle.log, self.logs.get(draft, handle.log)?)));
        let Some((number, log)) = log else { return self.counting.dropped(Dropped::Unasked) };
        self.replicas.settled(draft, (number, &log.nodes), (&peer, sequence), now);
    }

    /// Says how many signals a second may come on a connection, if any may on this handle.
    pub(super) fn may_signal(
        &mut self,
        peer: Peer,
        handle: &Handle,
        rows: &dyn Rows,
        now: Instant,
    ) -> Result<u32, Code> {
        let log = self.logs.get(rows, handle.log).ok_or(Code::NotFound)?;
        let may = match handle.role {
            Role::Owner | Role::Member => log.admits(&handle.key, now),
            Role::Guest => false,
            Role::Replica => log.nodes.contains(&peer),
        };
        if !may {
            return Err(Code::Forbidden);
        }
        let max = self.config.signals_per_s_max;
        // Another node speaks for many devices.
        Ok(if handle.role == Role::Replica { max.saturating_mul(DEVICES_OF_A_NODE) } else { max })
    }

    /// Passes a device's signal on to the other nodes that hold its log; they pass it no further.
    pub(super) fn pass_signal_on(&mut self, number: u64, ciphertext: &[u8], rows: &dyn Rows) {
        let Some(log) = self.logs.get(rows, number) else { return };
        if log.nodes.is_empty() {
            return;
        }
        let nodes = log.nodes.clone();
        self.replicas.signal((number, &nodes), ciphertext, &mut self.logs, rows);
    }
}

/// How many devices' signals another node may pass on: more than type in the same second of those
/// that two large nodes share.
const DEVICES_OF_A_NODE: u32 = 64;
