//! Pushing: opens dirty logs and fills the window.

use std::ops::{Bound, ControlFlow};

use proto::{Body, Entry, Envelope, Frame, Instant, Peer, Rows, Transaction};

use super::{
    Around, ENTRY_BYTES_MIN, OPENING_MAX, PUSHES_MAX, ReplicationPeer, Request, TURN_ENTRIES,
    WINDOW_BYTES, WINDOW_ENTRIES, head_of,
};
use crate::{
    layout::{self, DIRTY, ENTRIES},
    log::{EntryAt, Logs},
    replica::{
        deferred_push::DeferredPushes,
        push::{Pulled, Room, State},
        rows,
    },
};

impl ReplicationPeer {
    /// Opens dirty logs and fills the window, one log after the other.
    pub(in crate::replica) fn fill(
        &mut self,
        around: Around<'_, '_>,
        now: Instant,
        transmit: &mut dyn FnMut(Frame),
    ) {
        let Around { peer, tx, logs, deferred } = around;
        if !self.is_up {
            return;
        }
        self.open_dirty(&peer, tx, logs, transmit);
        if self.entries > WINDOW_ENTRIES / 2 || self.bytes > WINDOW_BYTES / 2 {
            return;
        }
        self.fill_again(&peer, deferred, tx, transmit);
        while self.has_room()
            && let Some(number) = self.next_turn()
        {
            let head = head_of(number, logs, tx);
            let Some(entries) = self.pull(number, &peer, deferred, tx) else { continue };
            self.used = now;
            let first_owed = deferred.first(number, &peer);
            for (sequence, envelope) in entries.envelopes {
                let cursor = before(first_owed, sequence);
                if let Some(push) = self.pushes.get_mut(&number) {
                    push.pushed_in_turn(sequence, cursor);
                }
                let at = EntryAt { log: number, sequence };
                if let Some(frame) = self.push(at, cursor, &envelope) {
                    transmit(frame);
                }
            }
            if entries.is_last {
                self.behind.remove(&number);
                if let (Some(push), Some((_, head))) = (self.pushes.get_mut(&number), head) {
                    push.next = push.next.max(head.sequence.saturating_add(1));
                    push.own.clear();
                }
                self.check_drained(&peer, number, deferred, tx);
            }
        }
    }

    /// Pulls the next entries of a log from rows, unless its channel waits for an answer.
    fn pull(
        &mut self,
        number: u64,
        peer: &Peer,
        deferred: &DeferredPushes,
        rows: &dyn Rows,
    ) -> Option<Pulled> {
        match self.pushes.get_mut(&number) {
            // It has refused entries recently, so they go one at a time.
            Some(push) if push.tries > 0 && !push.unanswered.is_empty() => {
                self.behind.remove(&number);
                None
            }
            Some(push) if push.is_open() => {
                let most = if push.tries > 0 { 1 } else { TURN_ENTRIES };
                let room = Room {
                    entries: WINDOW_ENTRIES.saturating_sub(self.entries).min(most),
                    bytes: WINDOW_BYTES.saturating_sub(self.bytes),
                };
                Some(push.pull(number, rows, room, |sequence| {
                    deferred.owes(EntryAt { log: number, sequence }, peer)
                }))
            }
            Some(_) | None => Some(Pulled { envelopes: Vec::new(), is_last: true }),
        }
    }

    /// Pushes the entries that are wanted once more, out of turn. They don't tell the other node
    /// how far it has got, since they were pushed before; entries that were not come in their turn.
    /// Expired entries, and those of a log that could not be opened, are left out.
    fn fill_again(
        &mut self,
        peer: &Peer,
        deferred: &DeferredPushes,
        rows: &dyn Rows,
        transmit: &mut dyn FnMut(Frame),
    ) {
        for at in std::mem::take(&mut self.again) {
            let Some(push) = self.pushes.get(&at.log) else { continue };
            let is_past = at.sequence < push.next;
            match push.state {
                State::Asked { .. } => self.again.push_back(at),
                State::Open if is_past && push.tries == 0 && self.has_room() => {
                    let row = rows.get(ENTRIES, &layout::entry_key(at.log, at.sequence));
                    let envelope = row.and_then(|row| Envelope::decode(&row).ok());
                    let cursor = before(deferred.first(at.log, peer), at.sequence);
                    let frame = envelope.and_then(|found| self.push(at, cursor, &found));
                    frame.into_iter().for_each(&mut *transmit);
                }
                State::Open if is_past && push.tries == 0 => self.again.push_back(at),
                State::Open | State::Paused(_) => {}
            }
        }
    }

    /// Pushes an entry. The `cursor` up to which the other node then has this node's copy goes
    /// along.
    fn push(&mut self, at: EntryAt, cursor: u64, envelope: &Envelope) -> Option<Frame> {
        let (request, used) = (self.number(), self.tick());
        let push = self.pushes.get_mut(&at.log)?;
        push.used = used;
        push.pushed(at.sequence);
        let (channel, key) = (push.channel, envelope.head.write_key);
        let entry = Entry::from_envelope(envelope, cursor, key);
        let entry = Entry { write_key: Some(key), ..entry };
        let bytes = entry.ciphertext.len().saturating_add(ENTRY_BYTES_MIN);
        self.requests.insert(request, Request::Append { at, channel, bytes });
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        let body = Body::Append { channel, entry, signature: envelope.signature };
        Some(Frame { request, body })
    }

    /// Asks the other node to open logs of which it may lack entries, a few at a time.
    fn open_dirty(
        &mut self,
        peer: &Peer,
        tx: &Transaction<'_>,
        logs: &mut Logs,
        transmit: &mut dyn FnMut(Frame),
    ) {
        let Some(from) = self.unseen else { return };
        let room = OPENING_MAX.saturating_sub(self.opening);
        let mut dirty = Vec::new();
        self.unseen = None;
        rows::logs_of(tx, DIRTY, peer, from, |number| {
            if dirty.len() >= room {
                self.unseen = Some(number);
                return ControlFlow::Break(());
            }
            if !self.pushes.contains_key(&number) {
                dirty.push(number);
            }
            ControlFlow::Continue(())
        });
        for number in dirty {
            if self.pushes.len() >= PUSHES_MAX && !self.close_idle(transmit) {
                self.unseen = Some(number);
                return;
            }
            if let Some(frame) = self.ask_to_open(number, 0, true, logs, tx) {
                transmit(frame);
            }
        }
    }

    /// Closes the log that was idle for the longest time; returns whether there was one.
    fn close_idle(&mut self, transmit: &mut dyn FnMut(Frame)) -> bool {
        let idle = self.pushes.iter().filter(|(number, push)| {
            push.is_open() && !push.marked && !self.behind.contains(number)
        });
        let Some(number) = idle.min_by_key(|(_, push)| push.used).map(|(number, _)| *number) else {
            return false;
        };
        self.forget(number).into_iter().for_each(transmit);
        true
    }

    fn has_room(&self) -> bool {
        self.entries < WINDOW_ENTRIES && self.bytes < WINDOW_BYTES
    }

    fn next_turn(&mut self) -> Option<u64> {
        let after = (Bound::Excluded(self.turn), Bound::Unbounded);
        let next = self.behind.range(after).next().or_else(|| self.behind.first()).copied()?;
        self.turn = next;
        Some(next)
    }
}

/// Returns an entry's sequence, or the one before the first entry that is owed to the other node
/// later: after a crash, pushing resumes there.
fn before(first_owed: Option<u64>, sequence: u64) -> u64 {
    first_owed.map_or(sequence, |first| sequence.min(first.saturating_sub(1)))
}
