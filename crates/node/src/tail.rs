//! Tails: channels that follow a log. Their entries are pulled from rows when there is room in
//! their window, so that a slow reader costs the node no memory.
//!
//! A tail counts the log's sequence numbers. An entry that is appended while the tail has caught up
//! goes straight to the tail; any other entry is pulled later. Entries that a connection appends
//! are left out of the tails of the same connection while the connection lives. A tail may
//! announce references of entries only, for a reader that gets the entries from another node.

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
    session::{Channel, LogChannel},
};

/// All tails.
#[derive(Debug, Default)]
pub(crate) struct Tails {
    tails: BTreeMap<LogChannel, Tail>,
    windows: BTreeMap<Peer, Window>,
}

/// One channel that follows a log.
#[derive(Debug)]
struct Tail {
    /// The channel's key: an entry signed with this key is sent without the key.
    key: PublicKey,
    /// Only references are delivered.
    announces: bool,
    /// The first sequence that was not read yet.
    next: u64,
    /// Delivered and not accepted: sequence and bytes.
    unaccepted: VecDeque<(u64, usize)>,
    /// Ranges from `next` on that the connection itself appended, first and last.
    own: VecDeque<(u64, u64)>,
}

/// What one connection has not accepted yet.
#[derive(Debug, Default)]
struct Window {
    entries: u64,
    bytes: usize,
    /// Channel numbers and their logs with more to deliver.
    behind: BTreeSet<(u32, u64)>,
    /// The channel that was served last.
    turn: (u32, u64),
}

impl Window {
    fn is_open(&self) -> bool {
        self.entries < limits::DELIVER_WINDOW && self.bytes < WINDOW_BYTES_MAX
    }

    /// Returns whether enough was accepted that pulling is worth a scan.
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
            Gauge::new("channels behind of a connection", behind, limits::CHANNELS_MAX),
            Gauge::new("own ranges of a tail", own, OWN_RANGES_MAX),
        ]
    }

    /// Follows the log of `at` from behind the sequence `after`.
    pub(crate) fn open(&mut self, at: LogChannel, key: PublicKey, announces: bool, after: u64) {
        let next = after.saturating_add(1);
        let (unaccepted, own) = (VecDeque::new(), VecDeque::new());
        self.tails.insert(at, Tail { key, announces, next, unaccepted, own });
        let window = self.windows.entry(at.channel.peer).or_default();
        window.behind.insert((at.channel.number, at.log));
    }

    /// Stops following.
    pub(crate) fn close(&mut self, at: LogChannel) {
        let Some(tail) = self.tails.remove(&at) else { return };
        let Some(window) = self.windows.get_mut(&at.channel.peer) else { return };
        window.behind.remove(&(at.channel.number, at.log));
        for (_, bytes) in tail.unaccepted {
            window.give_back(bytes);
        }
    }

    /// Forgets a connection, all tails of which are closed.
    pub(crate) fn disconnected(&mut self, peer: Peer) {
        self.windows.remove(&peer);
    }

    /// Hands an entry that `writer` has just appended to the tails of its log that have caught up.
    pub(crate) fn appended(
        &mut self,
        log: u64,
        writer: Peer,
        sequence: u64,
        envelope: &Envelope,
        mut deliver: impl FnMut(Peer, Frame),
    ) {
        let mut arrival = Arrival { sequence, envelope, reference: None };
        for (LogChannel { channel, .. }, tail) in self.tails.range_mut(LogChannel::all_of(log)) {
            if channel.peer == writer {
                tail.skip(sequence);
                continue;
            }
            let Some(window) = self.windows.get_mut(&channel.peer) else { continue };
            if tail.next == sequence && window.is_open() {
                deliver(channel.peer, tail.deliver(channel.number, &mut arrival, window));
            } else {
                window.behind.insert((channel.number, log));
            }
        }
    }

    /// Notes that a reader holds everything up to `sequence`.
    pub(crate) fn accepted(&mut self, at: LogChannel, sequence: u64) -> Result<(), Dropped> {
        let tail = self.tails.get_mut(&at).ok_or(Dropped::NotFollowing)?;
        let window = self.windows.get_mut(&at.channel.peer).ok_or(Dropped::NotFollowing)?;
        while let Some((first, bytes)) = tail.unaccepted.front().copied()
            && first <= sequence
        {
            tail.unaccepted.pop_front();
            window.give_back(bytes);
        }
        if sequence >= tail.next { Err(Dropped::AcceptedAhead) } else { Ok(()) }
    }

    /// Fills a connection's window from rows, one channel after the other.
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
            && let Some((number, log)) = window.next_turn()
        {
            let at = LogChannel { log, channel: Channel { peer, number } };
            let Some(tail) = self.tails.get_mut(&at) else {
                window.behind.remove(&(number, log));
                continue;
            };
            if tail.pull(at, rows, window, &mut |frame| deliver(peer, frame)) {
                tail.next = tail.next.max(last_sequence(log).saturating_add(1));
                tail.own.clear();
                window.behind.remove(&(number, log));
            }
        }
    }
}

/// An entry on its way to readers.
struct Arrival<'a> {
    sequence: u64,
    envelope: &'a Envelope,
    /// Computed once, for the first tail that announces.
    reference: Option<Reference>,
}

impl Arrival<'_> {
    fn reference(&mut self) -> Reference {
        *self.reference.get_or_insert_with(|| self.envelope.id().reference())
    }
}

impl Tail {
    fn deliver(&mut self, channel: u32, arrival: &mut Arrival<'_>, window: &mut Window) -> Frame {
        let sequence = arrival.sequence;
        let (body, bytes) = if self.announces {
            let reference = arrival.reference();
            (Body::Announce { channel, sequence, reference }, ENTRY_BYTES_MIN)
        } else {
            let entry = Entry::from_envelope(arrival.envelope, sequence, self.key);
            let bytes = entry.ciphertext.len().saturating_add(ENTRY_BYTES_MIN);
            (Body::Deliver { channel, entry }, bytes)
        };
        window.take(bytes);
        self.unaccepted.push_back((sequence, bytes));
        self.next = sequence.saturating_add(1);
        Frame::new(body)
    }

    /// Leaves out an entry that the connection appended itself.
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
        // Otherwise the entry is delivered to its writer, which drops duplicates.
    }

    /// Delivers one turn's entries from rows; returns whether there are no more.
    fn pull(
        &mut self,
        LogChannel { log, channel }: LogChannel,
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
            if !self.take_own(sequence)
                && let Ok(envelope) = Envelope::decode(bytes)
            {
                turns = turns.saturating_sub(1);
                let mut arrival = Arrival { sequence, envelope: &envelope, reference: None };
                deliver(self.deliver(channel.number, &mut arrival, window));
            }
            ControlFlow::Continue(())
        });
        is_last
    }

    /// Returns whether the connection appended this entry itself, and forgets earlier ranges.
    fn take_own(&mut self, sequence: u64) -> bool {
        while let Some((_, last)) = self.own.front()
            && *last < sequence
        {
            self.own.pop_front();
        }
        self.own.front().is_some_and(|(first, _)| *first <= sequence)
    }
}

/// Bytes delivered to one connection and not accepted: half of a peer's queue, which leaves the
/// other half for answers.
const WINDOW_BYTES_MAX: usize = limits::QUEUE_BYTES_MAX / 2;
/// The same with the entry that filled the window, which may be of the largest size.
const UNACCEPTED_BYTES_MAX: usize = WINDOW_BYTES_MAX + limits::ENVELOPE_MAX + ENTRY_BYTES_MIN;
/// The least that an entry counts for, so that empty ones count.
const ENTRY_BYTES_MIN: usize = 64;
/// Entries of one channel before the next has its turn.
const TURN_ENTRIES: u32 = 32;
/// Ranges of own entries that a tail leaves out.
const OWN_RANGES_MAX: usize = 16;
