//! Tails: handles that follow a log. What they get is pulled from rows when there is room in
//! their window, so that a slow reader costs the node no memory.
//!
//! A tail counts the log's sequence numbers. An entry that is appended while the tail has caught
//! up goes straight to it; any other is pulled later. What a connection appends itself is left out
//! for its own tails, as long as the connection lives. A tail that is brief only gets the names of
//! entries, for a reader who expects the entries themselves from elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::{Bound, ControlFlow},
};

use proto::{
    Body, Direction, Entry, Envelope, Frame, Gauge, Peer, PublicKey, Reference, Rows, limits,
};

use crate::{
    counters::Dropped,
    layout::{self, ENTRIES},
};

/// All tails.
#[derive(Debug, Default)]
pub(crate) struct Tails {
    tails: BTreeMap<(u64, Peer, u32), Tail>,
    windows: BTreeMap<Peer, Window>,
}

/// One handle that follows a log.
#[derive(Debug)]
struct Tail {
    /// The handle's key: an entry of this key goes without it.
    key: PublicKey,
    /// It wants to know no more of entries than that they are there.
    is_brief: bool,
    /// The first sequence that was not looked at yet.
    next: u64,
    /// Delivered and not accepted: sequence and bytes.
    unaccepted: VecDeque<(u64, usize)>,
    /// Ranges from `next` on that the connection itself appended, first and last.
    own: VecDeque<(u64, u64)>,
}

/// What one connection holds back by not accepting.
#[derive(Debug, Default)]
struct Window {
    entries: u64,
    bytes: usize,
    /// Handles and their logs with more to deliver.
    behind: BTreeSet<(u32, u64)>,
    /// Whose turn it was last.
    turn: (u32, u64),
}

impl Window {
    fn is_open(&self) -> bool {
        self.entries < limits::DELIVER_WINDOW && self.bytes < WINDOW_BYTES_MAX
    }

    /// Tells whether enough was accepted that pulling is worth a scan.
    fn is_drained(&self) -> bool {
        self.entries <= limits::DELIVER_WINDOW / 2 && self.bytes <= WINDOW_BYTES_MAX / 2
    }

    fn take(&mut self, bytes: usize) {
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn give_back(&mut self, bytes: usize) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn next_turn(&mut self) -> Option<(u32, u64)> {
        let after = (Bound::Excluded(self.turn), Bound::Unbounded);
        let next = self.behind.range(after).next().or_else(|| self.behind.first()).copied()?;
        self.turn = next;
        Some(next)
    }
}

impl Tails {
    pub(crate) fn gauges(&self) -> [Gauge; 4] {
        let windows = || self.windows.values();
        let entries = windows().map(|window| window.entries).max().unwrap_or(0);
        let bytes = windows().map(|window| window.bytes).max().unwrap_or(0);
        let behind = windows().map(|window| window.behind.len()).max().unwrap_or(0);
        let own = self.tails.values().map(|tail| tail.own.len()).max().unwrap_or(0);
        let limit = limits::DELIVER_WINDOW;
        [
            Gauge { name: "entries a connection has not accepted", value: entries, limit },
            Gauge::new("bytes a connection has not accepted", bytes, UNACCEPTED_BYTES_MAX),
            Gauge::new("handles behind of a connection", behind, limits::HANDLES_MAX),
            Gauge::new("own ranges of a tail", own, OWN_RANGES_MAX),
        ]
    }

    /// Follows `log` from behind `after`.
    pub(crate) fn open(
        &mut self,
        (log, peer, handle): (u64, Peer, u32),
        key: PublicKey,
        is_brief: bool,
        after: u64,
    ) {
        let next = after.saturating_add(1);
        let (unaccepted, own) = (VecDeque::new(), VecDeque::new());
        let tail = Tail { key, is_brief, next, unaccepted, own };
        self.tails.insert((log, peer, handle), tail);
        self.windows.entry(peer).or_default().behind.insert((handle, log));
    }

    /// Follows no longer.
    pub(crate) fn close(&mut self, (log, peer, handle): (u64, Peer, u32)) {
        let Some(tail) = self.tails.remove(&(log, peer, handle)) else { return };
        let Some(window) = self.windows.get_mut(&peer) else { return };
        window.behind.remove(&(handle, log));
        for (_, bytes) in tail.unaccepted {
            window.give_back(bytes);
        }
    }

    /// Forgets a connection, all tails of which are closed.
    pub(crate) fn disconnected(&mut self, peer: Peer) {
        self.windows.remove(&peer);
    }

    /// Hands an entry that `writer` has just appended to whoever follows its log and has caught
    /// up.
    pub(crate) fn appended(
        &mut self,
        log: u64,
        writer: Peer,
        sequence: u64,
        envelope: &Envelope,
        mut deliver: impl FnMut(Peer, Frame),
    ) {
        let all = (log, PublicKey([0; 32]), 0)..=(log, PublicKey([0xFF; 32]), u32::MAX);
        let mut coming = Coming { sequence, envelope, reference: None };
        for ((_, peer, handle), tail) in self.tails.range_mut(all) {
            if *peer == writer {
                tail.skip(sequence);
                continue;
            }
            let Some(window) = self.windows.get_mut(peer) else { continue };
            if tail.next == sequence && window.is_open() {
                deliver(*peer, tail.deliver(*handle, &mut coming, window));
            } else {
                window.behind.insert((*handle, log));
            }
        }
    }

    /// Notes that a reader holds everything up to `sequence`.
    pub(crate) fn accepted(
        &mut self,
        (log, peer, handle): (u64, Peer, u32),
        sequence: u64,
    ) -> Result<(), Dropped> {
        let tail = self.tails.get_mut(&(log, peer, handle)).ok_or(Dropped::NotFollowing)?;
        let window = self.windows.get_mut(&peer).ok_or(Dropped::NotFollowing)?;
        while let Some((first, bytes)) = tail.unaccepted.front().copied()
            && first <= sequence
        {
            tail.unaccepted.pop_front();
            window.give_back(bytes);
        }
        if sequence >= tail.next { Err(Dropped::AcceptedAhead) } else { Ok(()) }
    }

    /// Fills a connection's window from rows, its handles in turn.
    pub(crate) fn pull(
        &mut self,
        peer: Peer,
        rows: &dyn Rows,
        mut last_sequence: impl FnMut(u64) -> u64,
        mut deliver: impl FnMut(Peer, Frame),
    ) {
        let Some(window) = self.windows.get_mut(&peer) else { return };
        if !window.is_drained() {
            return;
        }
        while window.is_open()
            && let Some((handle, log)) = window.next_turn()
        {
            let Some(tail) = self.tails.get_mut(&(log, peer, handle)) else {
                window.behind.remove(&(handle, log));
                continue;
            };
            if tail.pull(handle, log, rows, window, &mut |frame| deliver(peer, frame)) {
                tail.next = tail.next.max(last_sequence(log).saturating_add(1));
                tail.own.clear();
                window.behind.remove(&(handle, log));
            }
        }
    }
}

/// An entry on its way to readers.
struct Coming<'a> {
    sequence: u64,
    envelope: &'a Envelope,
    /// Made when somebody wants it, and once for all.
    reference: Option<Reference>,
}

impl Coming<'_> {
    fn reference(&mut self) -> Reference {
        *self.reference.get_or_insert_with(|| self.envelope.id().reference())
    }
}

impl Tail {
    fn deliver(&mut self, handle: u32, coming: &mut Coming<'_>, window: &mut Window) -> Frame {
        let sequence = coming.sequence;
        let (body, bytes) = if self.is_brief {
            let reference = coming.reference();
            (Body::Brief { handle, sequence, reference }, ENTRY_BYTES_MIN)
        } else {
            let entry = Entry::from_envelope(coming.envelope, sequence, self.key);
            let bytes = entry.ciphertext.len().saturating_add(ENTRY_BYTES_MIN);
            (Body::Deliver { handle, entry }, bytes)
        };
        window.take(bytes);
        self.unaccepted.push_back((sequence, bytes));
        self.next = sequence.saturating_add(1);
        Frame::new(body)
    }

    /// Leaves out what the connection appended itself.
    fn skip(&mut self, sequence: u64) {
        if self.next == sequence {
            self.next = sequence.saturating_add(1);
            return;
        }
        if let Some((_, last)) = self.own.back_mut()
            && last.saturating_add(1) == sequence
        {
            *last = sequence;
        } else if self.own.len() < OWN_RANGES_MAX {
            self.own.push_back((sequence, sequence));
        }
        // Else it will come back to its writer, who drops what it has.
    }

    /// Delivers one turn's entries from rows; returns whether there are no more.
    fn pull(
        &mut self,
        handle: u32,
        log: u64,
        rows: &dyn Rows,
        window: &mut Window,
        deliver: &mut dyn FnMut(Frame),
    ) -> bool {
        let mut turns = TURN_ENTRIES;
        let mut is_last = true;
        let from = layout::entry_key(log, self.next);
        let to = layout::number_end(log);
        rows.scan(ENTRIES, &from, &to, Direction::Forward, &mut |key, bytes| {
            if turns == 0 || !window.is_open() {
                is_last = false;
                return ControlFlow::Break(());
            }
            let Some(sequence) = layout::last_u64(key) else { return ControlFlow::Continue(()) };
            if !self.is_own(sequence)
                && let Ok(envelope) = Envelope::decode(bytes)
            {
                turns = turns.saturating_sub(1);
                let mut coming = Coming { sequence, envelope: &envelope, reference: None };
                deliver(self.deliver(handle, &mut coming, window));
            }
            ControlFlow::Continue(())
        });
        is_last
    }

    fn is_own(&mut self, sequence: u64) -> bool {
        while let Some((_, last)) = self.own.front()
            && *last < sequence
        {
            self.own.pop_front();
        }
        self.own.front().is_some_and(|(first, _)| *first <= sequence)
    }
}

/// Bytes delivered to one connection and not accepted: half of what may wait for a peer at all,
/// which leaves the other half for answers.
const WINDOW_BYTES_MAX: usize = limits::QUEUE_BYTES_MAX / 2;
/// The same with the entry that filled the window, which may be one of the largest.
const UNACCEPTED_BYTES_MAX: usize = WINDOW_BYTES_MAX + limits::ENVELOPE_MAX + ENTRY_BYTES_MIN;
/// What an entry takes at least, so that empty ones count.
const ENTRY_BYTES_MIN: usize = 64;
/// Entries of one handle before the next has its turn.
const TURN_ENTRIES: u32 = 32;
/// Ranges of own entries that a tail leaves out.
const OWN_RANGES_MAX: usize = 16;
