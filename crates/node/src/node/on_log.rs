//! Requests of devices about logs: opening, appending, following and reading them.

use proto::{
    Body, Code, Cursor, Entry, Envelope, Frame, Instant, Kind, LogGenesis, Open, Output, Peer,
    PublicKey, Read, Reference, Rows, Transaction, limits,
};

use super::Node;
use crate::{
    account::Refusal,
    counters::{Dropped, increment},
    invite,
    log::{Appended, EntryAt, LOG_CHARGE, Log, Page, Writer},
    placement::{Holders, Origin},
    quota::RANKING_CHARGE,
    session::{Access, Channel, LogChannel, Role},
};

impl Node {
    pub(super) fn on_open(
        &mut self,
        peer: Peer,
        open: &Open,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<Body, Refusal> {
        self.sessions.check_proof(peer, self.config.node, open)?;
        let genesis = open.genesis.as_deref().map(LogGenesis::decode);
        let genesis = genesis.transpose().map_err(|_| Code::Invalid)?;
        if genesis.is_some_and(|genesis| genesis.id() != open.log) {
            return Err(Code::Invalid.into());
        }
        self.check_ranking(open.ranking.as_deref())?;
        let (number, role) = match (self.logs.find(tx, &open.log), genesis) {
            (Some((number, log)), _) => {
                (number, role_of(log, number, &open.key, tx, now).ok_or(Code::Forbidden)?)
            }
            (None, Some(LogGenesis::Conversation { write_key, salt: _ })) => {
                (self.create(peer, open, write_key, tx)?, Role::Member)
            }
            (None, Some(LogGenesis::Inbox(_)) | None) => return Err(Code::NotFound.into()),
        };
        if role == Role::Guest {
            self.check_home(number, tx)?;
        }
        if open.tail.is_some() && !role.reads() {
            return Err(Code::Forbidden.into());
        }
        let channel = Channel { peer, number: open.channel };
        let replaces = self.sessions.access(channel);
        let replaces = replaces.is_ok_and(|old| old.log == number && old.role.reads());
        if role.reads() && !replaces && self.sessions.is_crowded(number) {
            return Err(Code::Busy.into());
        }
        let access = Access { log: number, key: open.key, role };
        if open.ranking.is_some() && role == Role::Owner {
            self.share_inbox(number, tx, now);
        } else if let Some(ranking) = &open.ranking {
            self.take_ranking(access, ranking, tx, now)?;
        }
        let _ = self.close(channel);
        self.sessions.open(channel, access);
        Ok(self.opened(channel, open, tx)?)
    }

    /// Returns the answer to an opened log, and follows the log if that was asked.
    fn opened(&mut self, channel: Channel, open: &Open, rows: &dyn Rows) -> Result<Body, Code> {
        let Access { log: number, role, .. } = self.sessions.access(channel)?;
        let log = self.logs.get(rows, number).ok_or(Code::NotFound)?;
        if !role.reads() {
            // A guest learns nothing about the content.
            return Ok(Body::Opened { head: Cursor::default(), position: 0 });
        }
        let (incarnation, head) = (log.row.incarnation, log.state.last_sequence);
        let position = log.state.highest_position;
        if let Some(cursor) = open.tail {
            let is_known = cursor.incarnation == incarnation && cursor.sequence <= head;
            let after = if is_known { cursor.sequence } else { 0 };
            self.tails.open(LogChannel { log: number, channel }, open.key, open.announce, after);
        }
        Ok(Body::Opened { head: Cursor { incarnation, sequence: head }, position })
    }

    fn create(
        &mut self,
        peer: Peer,
        open: &Open,
        write_key: PublicKey,
        tx: &mut Transaction<'_>,
    ) -> Result<u64, Code> {
        if open.key != write_key {
            return Err(Code::Forbidden);
        }
        if self.draining.is_some() {
            return Err(Code::Busy);
        }
        let account = self.sessions.own_account(peer).ok_or(Code::Forbidden)?;
        let ranking = open.ranking.as_ref().map_or(0, |_| RANKING_CHARGE);
        self.quota.admit_log(tx, account, LOG_CHARGE.saturating_add(ranking))?;
        self.quota.charge_log(tx, account, LOG_CHARGE);
        let incarnation = self.incarnation();
        let genesis = open.genesis.as_deref().unwrap_or_default();
        let (logs, id) = (&mut self.logs, open.log);
        Ok(logs.create_conversation(tx, id, write_key, genesis, account, incarnation))
    }

    pub(super) fn close(&mut self, channel: Channel) -> Result<Body, Code> {
        let closed = self.sessions.close(channel).ok_or(Code::Unexpected)?;
        self.tails.close(LogChannel { log: closed.log, channel });
        self.acks.close(channel);
        Ok(Body::Accepted { channel: channel.number, sequence: 0 })
    }

    pub(super) fn on_append(
        &mut self,
        channel: Channel,
        entry: Entry,
        signature: [u8; 64],
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<Body, Refusal> {
        self.check_host(channel, tx)?;
        let access = self.sessions.access(channel)?;
        let origin = Origin { peer: channel.peer, sequence: entry.sequence };
        let envelope = self.envelope(&access, entry, signature, tx)?;
        let invite = match access.role {
            Role::Guest => {
                let invite = invite::get(tx, access.log, &access.key, now);
                Some(invite.ok_or(Code::Forbidden)?)
            }
            Role::Owner | Role::Member => None,
            Role::Replica => {
                return Ok(self.replicate(channel, origin, &envelope, tx, now)?);
            }
        };
        let writer = Writer::Device { may_write: invite.is_none_or(|invite| invite.uses > 0) };
        let (logs, quota) = (&mut self.logs, &mut self.quota);
        let (sequence, before) = match logs.append(tx, quota, access.log, &envelope, writer, now)? {
            Appended::Before(sequence) => {
                increment(&mut self.counting.counters.duplicates);
                (sequence, Some(sequence))
            }
            Appended::New(sequence) => {
                if let Some(invite) = invite {
                    invite::use_up(tx, access.log, &access.key, invite);
                }
                let at = EntryAt { log: access.log, sequence };
                self.hand_on(at, &envelope, Source::Device(channel.peer), tx, now);
                (sequence, None)
            }
        };
        // A guest learns nothing about the content.
        if !access.role.reads() {
            return Ok(Body::Accepted { channel: channel.number, sequence: 0 });
        }
        let at = LogChannel { log: access.log, channel };
        self.ack(at, &envelope, tx);
        self.await_acks(at, &envelope, before, tx);
        Ok(Body::Accepted { channel: channel.number, sequence })
    }

    /// Hands an entry that has just been stored to the readers that follow its log and to the other
    /// nodes that hold the log.
    pub(super) fn hand_on(
        &mut self,
        at: EntryAt,
        envelope: &Envelope,
        source: Source,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        let Self { tails, logs, replicas, anti_entropy, counting, replies, .. } = self;
        increment(&mut counting.counters.appended);
        tails.appended(at.log, source.peer(), at.sequence, envelope, |reader, frame| {
            counting.told_reader(&frame.body);
            replies.push_back(Output::Transmit(reader, frame));
        });
        if let Some(log) = logs.get(tx, at.log).filter(|log| !log.nodes.is_empty()) {
            let holders = Holders { log: at.log, nodes: &log.nodes };
            anti_entropy.changed(holders.nodes, now);
            match source {
                Source::Device(_) => replicas.appended(tx, holders, now),
                Source::Node(origin) => {
                    let can_wait = envelope.head.kind == Kind::Entry;
                    replicas.replicated(tx, holders, at.sequence, origin, can_wait, now);
                }
            }
        }
    }

    /// Returns the envelope that an append on a channel stands for.
    pub(super) fn envelope(
        &mut self,
        access: &Access,
        entry: Entry,
        signature: [u8; 64],
        rows: &dyn Rows,
    ) -> Result<Envelope, Code> {
        let log = self.logs.get(rows, access.log).ok_or(Code::NotFound)?;
        let write_key = match access.role {
            // A writer can't speak for another key than the one it has proved.
            Role::Owner | Role::Guest | Role::Member => None,
            Role::Replica => Some(entry.write_key.ok_or(Code::Malformed)?),
        };
        let entry = Entry { write_key, ..entry };
        Ok(entry.into_envelope(log.row.id, access.key, signature))
    }

    pub(super) fn on_signal(
        &mut self,
        channel: Channel,
        ciphertext: &[u8],
        tx: &Transaction<'_>,
        now: Instant,
    ) -> Result<(), Code> {
        let access = self.sessions.access(channel)?;
        if ciphertext.len() > limits::SIGNAL_MAX {
            return Err(Code::Malformed);
        }
        let peer = channel.peer;
        let max = self.check_signal(peer, &access, tx, now)?;
        self.sessions.admit_signal(peer, now.as_secs(), max)?;
        if access.role != Role::Replica {
            self.pass_signal_on(access.log, ciphertext, tx);
        }
        let mut last = peer;
        for reader in self.sessions.readers(access.log) {
            // Once to each connection; readers come in the order of their connections.
            if reader.peer == peer || reader.peer == last {
                continue;
            }
            last = reader.peer;
            increment(&mut self.counting.counters.signals);
            let body = Body::Signal { channel: reader.number, ciphertext: ciphertext.to_vec() };
            let frame = Frame::new(body);
            self.replies.push_back(Output::Transmit(reader.peer, frame));
        }
        Ok(())
    }

    pub(super) fn on_accepted(&mut self, channel: Channel, sequence: u64) {
        let accepted = match self.sessions.access(channel) {
            Ok(access) => self.tails.accepted(LogChannel { log: access.log, channel }, sequence),
            Err(_) => Err(Dropped::NotFollowing),
        };
        if let Err(reason) = accepted {
            self.counting.dropped(reason);
        }
    }

    /// Delivers further entries to a connection that has room for them.
    pub(super) fn pull(&mut self, peer: Peer, tx: &Transaction<'_>) {
        let Self { tails, logs, counting, replies, .. } = self;
        let last_sequence = |log| logs.get(tx, log).map_or(0, |log| log.state.last_sequence);
        tails.pull(peer, tx, last_sequence, |reader, frame| {
            counting.told_reader(&frame.body);
            replies.push_back(Output::Transmit(reader, frame));
        });
    }

    pub(super) fn on_read(
        &mut self,
        peer: Peer,
        read: &Read,
        rows: &dyn Rows,
    ) -> Result<Body, Code> {
        let access = self.reading(Channel { peer, number: read.channel })?;
        Ok(self.page(self.logs.read(rows, access.log, access.key, read)))
    }

    pub(super) fn on_fetch(
        &mut self,
        channel: Channel,
        references: &[Reference],
        rows: &dyn Rows,
    ) -> Result<Body, Code> {
        let access = self.reading(channel)?;
        Ok(self.page(self.logs.fetch(rows, access.log, access.key, references)))
    }

    pub(super) fn page(&mut self, Page { entries, more }: Page) -> Body {
        increment(&mut self.counting.counters.pages);
        Body::Page { entries, more }
    }

    /// Returns what a channel gives access to, if that may be read.
    pub(super) fn reading(&self, channel: Channel) -> Result<Access, Code> {
        let access = self.sessions.access(channel)?;
        if access.role.reads() { Ok(access) } else { Err(Code::Forbidden) }
    }
}

/// Where an entry came from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Device(Peer),
    Node(Origin),
}

impl Source {
    fn peer(self) -> Peer {
        match self {
            Self::Device(peer) | Self::Node(Origin { peer, .. }) => peer,
        }
    }
}

/// Returns what a key is to a log, if anything.
fn role_of(log: &Log, number: u64, key: &PublicKey, rows: &dyn Rows, now: Instant) -> Option<Role> {
    if log.row.inbox_of.is_none() {
        return log.knows(rows, number, key).then_some(Role::Member);
    }
    if log.has(key) {
        return Some(Role::Owner);
    }
    invite::get(rows, number, key, now).map(|_| Role::Guest)
}
