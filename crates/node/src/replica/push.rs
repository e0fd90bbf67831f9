//! One log that is pushed to one other node, and how far the other node has got.

use std::{collections::VecDeque, ops::ControlFlow};

use proto::{Direction, Envelope, Instant, Rows, limits};

use crate::layout::{self, ENTRIES};

/// One log that is pushed.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) channel: u32,
    pub(super) state: State,
    /// The first sequence that was not read yet.
    pub(super) next: u64,
    /// Entries that were pushed and not answered.
    pub(super) unanswered: VecDeque<u64>,
    /// How often in a row it backed off.
    pub(super) tries: u32,
    /// Ranges from `next` on that the other node has already, first and last.
    pub(super) own: VecDeque<(u64, u64)>,
    /// There is a row that says that the other node may lack entries.
    pub(super) marked: bool,
    pub(super) used: u64,
    /// Entries left out since the last push, of which the other node does not know.
    skipped: usize,
    /// Entries that were pushed in their turn and not announced as being at all nodes: the sequence
    /// here, and the cursor that went along, by which the other node knows the entry.
    unannounced: VecDeque<(u64, u64)>,
    /// Entries up to this sequence were dropped from `unannounced` for want of room.
    unremembered: u64,
    /// The first entry that the other node has refused.
    refused: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The other node was asked to open its copy; it may have called meanwhile.
    Asked {
        called: bool,
    },
    Open,
    Paused(Instant),
}

/// How much may be pulled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// Entries of one turn, and whether there are no more.
pub(super) struct Pulled {
    pub(super) envelopes: Vec<(u64, Envelope)>,
    pub(super) is_last: bool,
}

impl Push {
    /// A push whose log the other node is asked to open.
    pub(super) fn new(channel: u32, tries: u32, marked: bool, used: u64) -> Self {
        Self {
            channel,
            state: State::Asked { called: false },
            next: 0,
            unanswered: VecDeque::new(),
            tries,
            own: VecDeque::new(),
            marked,
            used,
            skipped: 0,
            unannounced: VecDeque::new(),
            unremembered: 0,
            refused: None,
        }
    }

    /// Returns the number of entries that were not announced as being at all nodes.
    pub(super) fn unannounced(&self) -> usize {
        self.unannounced.len()
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// The other node has an entry that this node has not pushed. Returns whether the entry should
    /// be pushed still, so that the other node knows how far it has got.
    pub(super) fn note_held(&mut self, sequence: u64) -> bool {
        if sequence > self.next || !self.is_open() {
            if let Some((_, last)) = self.own.back_mut()
                && last.saturating_add(1) == sequence
            {
                *last = sequence;
            } else if self.own.len() < OWN_RANGES_MAX {
                self.own.push_back((sequence, sequence));
            }
            // Otherwise it is pushed in its turn, and found to be there.
            return false;
        }
        self.next = self.next.max(sequence.saturating_add(1));
        self.skipped = self.skipped.saturating_add(1);
        let is_overdue = self.skipped >= SKIPPED_MAX;
        if is_overdue {
            self.skipped = 0;
        }
        is_overdue
    }

    /// Leaves out an entry that may be owed later.
    pub(super) fn pass_over(&mut self, sequence: u64) {
        if self.is_open() && self.next == sequence {
            self.next = sequence.saturating_add(1);
        }
    }

    /// Notes that an entry is on its way.
    pub(super) fn pushed(&mut self, sequence: u64) {
        self.skipped = 0;
        self.unanswered.push_back(sequence);
    }

    /// Notes that an entry was pushed in its turn, with this cursor. The other node awaits word
    /// that all nodes have it.
    pub(super) fn pushed_in_turn(&mut self, sequence: u64, cursor: u64) {
        self.unannounced.push_back((sequence, cursor));
        if self.unannounced.len() > UNANNOUNCED_MAX
            && let Some((gone, _)) = self.unannounced.pop_front()
        {
            self.unremembered = self.unremembered.max(gone);
        }
    }

    /// Notes that the other node has accepted or refused an entry.
    pub(super) fn answered(&mut self, sequence: u64, is_refused: bool) {
        if let Some(at) = self.unanswered.iter().position(|pushed| *pushed == sequence) {
            self.unanswered.remove(at);
        }
        if is_refused {
            self.refused = Some(self.refused.map_or(sequence, |first| first.min(sequence)));
        }
    }

    /// Returns up to where the other node has this node's copy, left-out entries included.
    pub(super) fn holds(&self) -> Option<u64> {
        let first = self.unanswered.iter().copied().chain(self.refused).min();
        let first = first.map_or(self.next, |first| first.min(self.next));
        self.is_open().then(|| first.saturating_sub(1))
    }

    /// All nodes have this node's copy up to `sequence`. Returns the cursor that says so to the
    /// other node, which knows each entry by the cursor that came with it, or nothing if it awaits
    /// no such word.
    pub(super) fn tell(&mut self, sequence: u64) -> Option<u64> {
        if sequence < self.unremembered {
            return None;
        }
        let unannounced = self.unannounced.iter();
        let missing =
            unannounced.filter(|(own, _)| *own > sequence).map(|(_, cursor)| *cursor).min();
        let is_told = |cursor: u64| missing.is_none_or(|missing| cursor < missing);
        let told = self.unannounced.iter().map(|(_, cursor)| *cursor).filter(|c| is_told(*c)).max();
        self.unannounced.retain(|(_, cursor)| !is_told(*cursor));
        told
    }

    /// Pulls the next entries from rows, except those for which `is_owed_later` holds.
    pub(super) fn pull(
        &mut self,
        number: u64,
        rows: &dyn Rows,
        Room { entries, mut bytes }: Room,
        is_owed_later: impl Fn(u64) -> bool,
    ) -> Pulled {
        let mut pulled = Pulled { envelopes: Vec::new(), is_last: true };
        let from = layout::entry_key(number, self.next);
        let to = layout::number_end(number);
        rows.scan(ENTRIES, &from, &to, Direction::Forward, &mut |key, row| {
            if pulled.envelopes.len() >= entries || bytes == 0 {
                pulled.is_last = false;
                return ControlFlow::Break(());
            }
            let Some(sequence) = layout::last_u64(key) else { return ControlFlow::Continue(()) };
            self.next = sequence.saturating_add(1);
            if !self.take_own(sequence)
                && !is_owed_later(sequence)
                && let Ok(envelope) = Envelope::decode(row)
            {
                bytes = bytes.saturating_sub(row.len());
                pulled.envelopes.push((sequence, envelope));
            }
            ControlFlow::Continue(())
        });
        pulled
    }

    /// Returns whether the other node has this entry already, and forgets earlier ranges.
    fn take_own(&mut self, sequence: u64) -> bool {
        while let Some((_, last)) = self.own.front()
            && *last < sequence
        {
            self.own.pop_front();
        }
        self.own.front().is_some_and(|(first, _)| *first <= sequence)
    }
}

/// Ranges of the other node's entries that a push leaves out.
pub(super) const OWN_RANGES_MAX: usize = 16;
/// Entries of one push that are not announced as being at all nodes, while one of them lacks some.
pub(super) const UNANNOUNCED_MAX: usize = limits::QUEUE_FRAMES_MAX;
/// Entries that may be left out before one is pushed still. As many are pushed again after a lost
/// connection.
const SKIPPED_MAX: usize = limits::QUEUE_FRAMES_MAX / 2;
