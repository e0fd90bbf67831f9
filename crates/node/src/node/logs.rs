//! What devices ask of logs: opening, appending, following and reading them.

use proto::{
    Body, Code, Cursor, Draft, Entry, Envelope, Frame, Instant, Kind, LogGenesis, Open, Output,
    Peer, PublicKey, Read, Reference, Rows, limits,
};

use super::Node;
use crate::{
    account::Refusal,
    counters::{Dropped, increment},
    invite,
    log::{Appended, LOG_CHARGE, Log, Writer},
    replica::RANKING_CHARGE,
    session::{Handle, Role},
};

impl Node {
    pub(super) fn open_log(
        &mut self,
        peer: Peer,
        open: &Open,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<Body, Refusal> {
        self.sessions.check_proof(peer, self.config.node, open)?;
        let genesis = open.genesis.as_deref().map(LogGenesis::decode);
        let genesis = genesis.transpose().map_err(|_| Code::Invalid)?;
        if genesis.is_some_and(|genesis| genesis.id() != open.log) {
            return Err(Code::Invalid.into());
        }
        self.check_ranking(open.ranking.as_deref())?;
        let (number, role) = match (self.logs.find(draft, &open.log), genesis) {
            (Some((number, log)), _) => {
                (number, role_of(log, number, &open.key, draft, now).ok_or(Code::Forbidden)?)
            }
            (None, Some(LogGenesis::Conversation { write_key, salt: _ })) => {
                (self.create(peer, open, write_key, draft)?, Role::Member)
            }
            (None, Some(LogGenesis::Inbox(_)) | None) => return Err(Code::NotFound.into()),
        };
        if role == Role::Guest {
            self.check_home(number, draft)?;
        }
        if open.tail.is_some() && !role.reads() {
            return Err(Code::Forbidden.into());
        }
        let replaces = self.sessions.handle(peer, open.handle);
        let replaces = replaces.is_ok_and(|old| old.log == number && old.role.reads());
        if role.reads() && !replaces && self.sessions.is_crowded(number) {
            return Err(Code::Busy.into());
        }
        if open.ranking.is_some() && role == Role::Owner {
            self.share_inbox(number, draft, now);
        } else if let Some(ranking) = &open.ranking {
            self.take_ranking((number, role), &open.key, ranking, draft, now)?;
        }
        let _ = self.close(peer, open.handle);
        self.sessions.open(peer, open.handle, Handle { log: number, key: open.key, role });
        let log = self.logs.get(draft, number).ok_or(Code::NotFound)?;
        if !role.reads() {
            // A guest learns nothing about what is there.
            return Ok(Body::Opened { head: Cursor::default(), position: 0 });
        }
        let (incarnation, head) = (log.row.incarnation, log.state.last_sequence);
        if let Some(cursor) = open.tail {
            let after = if cursor.incarnation == incarnation && cursor.sequence <= head {
                cursor.sequence
            } else {
                0
            };
            self.tails.open((number, peer, open.handle), open.key, open.brief, after);
        }
        let position = log.state.highest_position;
        Ok(Body::Opened { head: Cursor { incarnation, sequence: head }, position })
    }

    pub(super) fn create(
        &mut self,
        peer: Peer,
        open: &Open,
        write_key: PublicKey,
        draft: &mut Draft<'_>,
    ) -> Result<u64, Code> {
        if open.key != write_key {
            return Err(Code::Forbidden);
        }
        if self.draining.is_some() {
            return Err(Code::Busy);
        }
        let account = self.sessions.own_account(peer).ok_or(Code::Forbidden)?;
        let ranking = open.ranking.as_ref().map_or(0, |_| RANKING_CHARGE);
        self.quota.admit_log(draft, account, LOG_CHARGE.saturating_add(ranking))?;
        self.quota.charge_log(draft, account, LOG_CHARGE);
        let incarnation = self.incarnation();
        let genesis = open.genesis.as_deref().unwrap_or_default();
        let (logs, id) = (&mut self.logs, open.log);
        Ok(logs.create_conversation(draft, id, write_key, genesis, account, incarnation))
    }

    pub(super) fn close(&mut self, peer: Peer, handle: u32) -> Result<Body, Code> {
        let closed = self.sessions.close(peer, handle).ok_or(Code::Unexpected)?;
        self.tails.close((closed.log, peer, handle));
        self.receipts.close(peer, handle);
        Ok(Body::Accepted { handle, sequence: 0 })
    }

    pub(super) fn append(
        &mut self,
        peer: Peer,
        number: u32,
        entry: Entry,
        signature: [u8; 64],
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<Body, Refusal> {
        self.check_host(peer, number, draft)?;
        let handle = self.sessions.handle(peer, number)?;
        let its_sequence = entry.sequence;
        let envelope = self.envelope(&handle, entry, signature, draft)?;
        let invite = match handle.role {
            Role::Guest => {
                let invite = invite::get(draft, handle.log, &handle.key, now);
                Some(invite.ok_or(Code::Forbidden)?)
            }
            Role::Owner | Role::Member => None,
            Role::Replica => {
                return Ok(self.take_in(
                    peer,
                    number,
                    (handle.log, its_sequence),
                    &envelope,
                    draft,
                    now,
                )?);
            }
        };
        let writer = Writer::Device { may_write: invite.is_none_or(|invite| invite.uses > 0) };
        let (logs, quota) = (&mut self.logs, &mut self.quota);
        let (sequence, before) =
            match logs.append(draft, quota, handle.log, &envelope, writer, now)? {
                Appended::Before(sequence) => {
                    increment(&mut self.counting.counters.duplicates);
                    (sequence, Some(sequence))
                }
                Appended::New(sequence) => {
                    if let Some(invite) = invite {
                        invite::use_up(draft, handle.log, &handle.key, invite);
                    }
                    self.stored((peer, None), handle.log, sequence, &envelope, draft, now);
                    (sequence, None)
                }
            };
        // A guest learns nothing about what is there.
        if !handle.role.reads() {
            return Ok(Body::Accepted { handle: number, sequence: 0 });
        }
        self.give_receipt((peer, number, handle.log), &envelope, draft);
        self.await_receipts((peer, number, handle.log), &envelope, before, draft);
        Ok(Body::Accepted { handle: number, sequence })
    }

    /// Hands an entry that has just been stored to whoever follows its log, and to the other nodes
    /// that hold it. If it came from one of these, it has a sequence there.
    pub(super) fn stored(
        &mut self,
        (from, its_sequence): (Peer, Option<u64>),
        number: u64,
        sequence: u64,
        envelope: &Envelope,
        draft: &mut Draft<'_>,
        now: Instant,
    ) {
        let Self { tails, logs, replicas, comparisons, counting, replies, .. } = self;
        increment(&mut counting.counters.appended);
        tails.appended(number, from, sequence, envelope, |reader, frame| {
            counting.told_reader(&frame.body);
            replies.push_back(Output::Transmit(reader, frame));
        });
        if let Some(log) = logs.get(draft, number).filter(|log| !log.nodes.is_empty()) {
            let to = (number, log.nodes.as_slice());
            comparisons.changed(to.1, now);
            match its_sequence {
                None => replicas.appended(draft, to, now),
                Some(its) => {
                    let can_wait = envelope.head.kind == Kind::Entry;
                    replicas.came(draft, to, sequence, (&from, its), can_wait, now);
                }
            }
        }
    }

    /// The envelope that an append on a handle stands for.
    pub(super) fn envelope(
        &mut self,
        handle: &Handle,
        entry: Entry,
        signature: [u8; 64],
        rows: &dyn Rows,
    ) -> Result<Envelope, Code> {
        let log = self.logs.get(rows, handle.log).ok_or(Code::NotFound)?;
        let write_key = match handle.role {
            // A writer can't speak for a key other than the one it proved.
            Role::Owner | Role::Guest | Role::Member => None,
            Role::Replica => Some(entry.write_key.ok_or(Code::Malformed)?),
        };
        let entry = Entry { write_key, ..entry };
        Ok(entry.into_envelope(log.row.id, handle.key, signature))
    }

    pub(super) fn signal(
        &mut self,
        peer: Peer,
        number: u32,
        ciphertext: &[u8],
        draft: &Draft<'_>,
        now: Instant,
    ) -> Result<(), Code> {
        let handle = self.sessions.handle(peer, number)?;
        if ciphertext.len() > limits::SIGNAL_MAX {
            return Err(Code::Malformed);
        }
        let max = self.may_signal(peer, &handle, draft, now)?;
        self.sessions.signal(peer, now.as_secs(), max)?;
        if handle.role != Role::Replica {
            self.pass_signal_on(handle.log, ciphertext, draft);
        }
        let mut last = peer;
        for (reader, handle) in self.sessions.readers(handle.log) {
            // Once to each connection; readers come in the order of their names.
            if reader == peer || reader == last {
                continue;
            }
            last = reader;
            increment(&mut self.counting.counters.signals);
            let body = Body::Signal { handle, ciphertext: ciphertext.to_vec() };
            self.replies.push_back(Output::Transmit(reader, Frame::new(body)));
        }
        Ok(())
    }

    pub(super) fn accepted(&mut self, peer: Peer, number: u32, sequence: u64) {
        let accepted = match self.sessions.handle(peer, number) {
            Ok(handle) => self.tails.accepted((handle.log, peer, number), sequence),
            Err(_) => Err(Dropped::NotFollowing),
        };
        if let Err(reason) = accepted {
            self.counting.dropped(reason);
        }
    }

    /// Delivers what follows to a connection that has room for it.
    pub(super) fn pull(&mut self, peer: Peer, draft: &Draft<'_>) {
        let Self { tails, logs, counting, replies, .. } = self;
        let last_sequence = |log| logs.get(draft, log).map_or(0, |log| log.state.last_sequence);
        tails.pull(peer, draft, last_sequence, |reader, frame| {
            counting.told_reader(&frame.body);
            replies.push_back(Output::Transmit(reader, frame));
        });
    }

    /// A page of the timeline.
    pub(super) fn read(&mut self, peer: Peer, read: &Read, rows: &dyn Rows) -> Result<Body, Code> {
        let handle = self.reading(peer, read.handle)?;
        Ok(self.page(self.logs.read(rows, handle.log, handle.key, read)))
    }

    /// Entries by name.
    pub(super) fn fetch(
        &mut self,
        peer: Peer,
        number: u32,
        references: &[Reference],
        rows: &dyn Rows,
    ) -> Result<Body, Code> {
        let handle = self.reading(peer, number)?;
        Ok(self.page(self.logs.fetch(rows, handle.log, handle.key, references)))
    }

    pub(super) fn page(&mut self, (entries, more): (Vec<Entry>, bool)) -> Body {
        increment(&mut self.counting.counters.pages);
        Body::Page { entries, more }
    }

    /// A handle that may read.
    pub(super) fn reading(&self, peer: Peer, number: u32) -> Result<Handle, Code> {
        let handle = self.sessions.handle(peer, number)?;
        if handle.role.reads() { Ok(handle) } else { Err(Code::Forbidden) }
    }
}

/// What a key is to a log, if anything.
fn role_of(log: &Log, number: u64, key: &PublicKey, rows: &dyn Rows, now: Instant) -> Option<Role> {
    if log.row.inbox_of.is_none() {
        return log.knows(rows, number, key).then_some(Role::Member);
    }
    if log.has(key) {
        return Some(Role::Owner);
    }
    invite::get(rows, number, key, now).map(|_| Role::Guest)
}
