//! How far the outbox of a log has come since the log was opened.

use std::collections::BTreeMap;

use proto::{Code, Envelope, PublicKey, limits};

/// What goes into the outbox once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refill {
    /// What the contact has not acknowledged, and all changes of keys, by any member.
    All,
    /// Only the changes of keys.
    Changes,
    /// Only what is not known to be held by enough nodes.
    Unsettled,
}

/// An entry that its node will never take.
pub(crate) struct Refusal {
    pub(crate) number: u64,
    pub(crate) code: Code,
    pub(crate) envelope: Envelope,
}

/// Entries on their way, and what holds further ones back.
#[derive(Debug, Default)]
pub(super) struct SendWindow {
    /// The last number that was sent.
    pub(super) sent: u64,
    /// The write key of all that is on its way; none if that is a key change, which travels alone:
    /// no answer to one entry may hang on that to another.
    pub(super) together: Option<PublicKey>,
    /// What the node will never take, and why.
    pub(super) refused: BTreeMap<u64, Code>,
    /// Nothing leaves until what was refused is dealt with, or its time has come.
    pub(super) blocked: bool,
    /// The node took nothing recently, so that entries leave one at a time.
    pub(super) probing: bool,
    /// How often the node was asked without success.
    pub(super) tries: u32,
    /// How often in a row nodes would not take an entry for now.
    pub(super) put_off: u32,
    /// The last sequence that the log had when it was opened.
    pub(super) log_end: u64,
}

impl SendWindow {
    /// The log is opened again, and what follows the entry `sent` is to be sent.
    pub(super) fn restart(&mut self, sent: u64) {
        *self = Self { sent, tries: self.tries, put_off: self.put_off, ..Self::default() };
    }

    /// Nothing more leaves for now: what is behind an entry that was refused depends on it.
    pub(super) fn block(&mut self) {
        self.blocked = true;
        self.probing = true;
    }

    /// Returns how many entries may be on their way at the same time.
    pub(super) fn size(&self) -> usize {
        if self.probing { 1 } else { WINDOW }
    }
}

/// Entries of one log that are on their way at the same time: enough to fill a second's worth of
/// disk syncs, half of what may wait for one peer.
pub(crate) const WINDOW: usize = limits::QUEUE_FRAMES_MAX / 2;
