//! One log that is pushed to one other node, and how far the other has got.

use std::{collections::VecDeque, ops::ControlFlow};

use proto::{Direction, Envelope, Instant, Rows, limits};

use crate::layout::{self, ENTRIES};

/// One log that is pushed.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) handle: u32,
    pub(super) state: State,
    /// The first sequence that was not looked at yet.
    pub(super) next: u64,
    /// What was pushed and not answered.
    pub(super) unanswered: VecDeque<u64>,
    /// How often it was put off in a row.
    pub(super) tries: u32,
    /// Ranges from `next` on that the other has already, first and last.
    pub(super) own: VecDeque<(u64, u64)>,
    /// There is a row that says that the other may lack something.
    pub(super) marked: bool,
    pub(super) used: u64,
    /// Entries left out since something was pushed last, so that the other has not heard of them.
    skipped: usize,
    /// What was pushed in its turn, and of which the other was not told that all have it: its sequence
    /// here, and the cursor that went with it, by which the other knows it.
    untold: VecDeque<(u64, u64)>,
    /// There was no room to remember some of that, up to this sequence.
    unremembered: u64,
    /// The first entry that the other would not take.
    refused: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The other was asked to open its copy; it may have called meanwhile.
    Asked {
        called: bool,
    },
    Open,
    Paused(Instant),
}

/// Entries of one turn, and whether there are no more.
pub(super) struct Pulled {
    pub(super) envelopes: Vec<(u64, Envelope)>,
    pub(super) is_last: bool,
}

impl Push {
    /// One that the other is asked to open.
    pub(super) fn new(handle: u32, tries: u32, marked: bool, used: u64) -> Self {
        Self {
            handle,
            state: State::Asked { called: false },
            next: 0,
            unanswered: VecDeque::new(),
            tries,
            own: VecDeque::new(),
            marked,
            used,
            skipped: 0,
            untold: VecDeque::new(),
            unremembered: 0,
            refused: None,
        }
    }

    /// Entries of which the other has not been told that all have them.
    pub(super) fn untold(&self) -> usize {
        self.untold.len()
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// The other has an entry that this node has not pushed. Tells whether it should be pushed all the
    /// same, so that the other knows how far it has got.
    pub(super) fn has(&mut self, sequence: u64) -> bool {
        if sequence > self.next || !self.is_open() {
            if let Some((_, last)) = self.own.back_mut()
                && last.saturating_add(1) == sequence
            {
                *last = sequence;
            } else if self.own.len() < OWN_RANGES_MAX {
                self.own.push_back((sequence, sequence));
            }
            // Else it is pushed in its turn, and found to be there.
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

    /// An entry is owed later, perhaps.
    pub(super) fn pass_over(&mut self, sequence: u64) {
        if self.is_open() && self.next == sequence {
            self.next = sequence.saturating_add(1);
        }
    }

    /// An entry is on its way.
    pub(super) fn pushed(&mut self, sequence: u64) {
        self.skipped = 0;
        self.unanswered.push_back(sequence);
    }

    /// An entry was pushed in its turn, with this cursor: the other awaits word that all have it.
    pub(super) fn pushed_in_turn(&mut self, sequence: u64, cursor: u64) {
        self.untold.push_back((sequence, cursor));
        if self.untold.len() > UNTOLD_MAX
            && let Some((gone, _)) = self.untold.pop_front()
        {
            self.unremembered = self.unremembered.max(gone);
        }
    }

    /// The other has answered to an entry, and perhaps does not want it.
    pub(super) fn answered(&mut self, sequence: u64, is_refused: bool) {
        if let Some(at) = self.unanswered.iter().position(|pushed| *pushed == sequence) {
            self.unanswered.remove(at);
        }
        if is_refused {
            self.refused = Some(self.refused.map_or(sequence, |first| first.min(sequence)));
        }
    }

    /// Up to where the other has this node's copy, as far as it is to be pushed.
    pub(super) fn holds(&self) -> Option<u64> {
        let first = self.unanswered.iter().copied().chain(self.refused).min();
        let first = first.map_or(self.next, |first| first.min(self.next));
        self.is_open().then(|| first.saturating_sub(1))
    }

    /// All have this node's copy up to `sequence`. Returns what that means to the other, who knows each
    /// entry by the cursor that came with it, if it awaits such word.
    pub(super) fn tell(&mut self, sequence: u64) -> Option<u64> {
        if sequence < self.unremembered {
            return None;
        }
        let untold = self.untold.iter();
        let missing = untold.filter(|(own, _)| *own > sequence).map(|(_, cursor)| *cursor).min();
        let is_told = |cursor: u64| missing.is_none_or(|missing| cursor < missing);
        let told = self.untold.iter().map(|(_, cursor)| *cursor).filter(|c| is_told(*c)).max();
        self.untold.retain(|(_, cursor)| !is_told(*cursor));
        told
    }

    /// Takes entries from rows that are to be pushed next, but for those that `is_owed_later`.
    pub(super) fn pull(
        &mut self,
        number: u64,
        rows: &dyn Rows,
        (room, mut bytes): (usize, usize),
        is_owed_later: impl Fn(u64) -> bool,
    ) -> Pulled {
        let mut pulled = Pulled { envelopes: Vec::new(), is_last: true };
        let from = layout::entry_key(number, self.next);
        let to = layout::number_end(number);
        rows.scan(ENTRIES, &from, &to, Direction::Forward, &mut |key, row| {
            if pulled.envelopes.len() >= room || bytes == 0 {
                pulled.is_last = false;
                return ControlFlow::Break(());
            }
            let Some(sequence) = layout::last_u64(key) else { return ControlFlow::Continue(()) };
            self.next = sequence.saturating_add(1);
            if !self.is_own(sequence)
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

    fn is_own(&mut self, sequence: u64) -> bool {
        while let Some((_, last)) = self.own.front()
            && *last < sequence
        {
            self.own.pop_front();
        }
        self.own.front().is_some_and(|(first, _)| *first <= sequence)
    }
}

/// Ranges of the other's entries that a push leaves out.
pub(super) const OWN_RANGES_MAX: usize = 16;
/// Entries that a node knows to be at all others before it says so, as long as one lacks some.
pub(super) const UNTOLD_MAX: usize = limits::QUEUE_FRAMES_MAX;
/// Entries that may be left out before one is pushed all the same. As many are pushed again after a
/// lost connection.
const SKIPPED_MAX: usize = limits::QUEUE_FRAMES_MAX / 2;
