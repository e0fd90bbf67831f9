//! Counters: what the node did, refused or dropped.

use std::{collections::BTreeMap, time::Duration};

use proto::{Body, Code, Instant};

/// Counts since the machine was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Envelopes stored.
    pub appended: u64,
    /// Envelopes accepted again that were stored already.
    pub duplicates: u64,
    /// Entries that other nodes have accepted from this one.
    pub replicated: u64,
    /// Entries that another node has refused permanently.
    pub unreplicated: u64,
    /// Comparisons with other nodes that this one has begun and that have ended.
    pub compared: u64,
    /// Logs that were found to differ.
    pub differing: u64,
    /// Entries pushed to nodes that were found to lack them.
    pub repaired: u64,
    /// Entries that this node was found to lack, and has asked for.
    pub missed: u64,
    /// Rows that contradicted other rows, and were repaired or deleted.
    pub rows_repaired: u64,
    /// Entries handed to readers that follow a log.
    pub delivered: u64,
    /// Entries announced by reference to readers that asked for announcements.
    pub named: u64,
    /// Pages of history handed out.
    pub pages: u64,
    /// Signals forwarded, counted once for each reader.
    pub signals: u64,
    /// Envelopes removed because their time was over.
    pub expired: u64,
    /// Bytes that all accounts together are charged for.
    pub charged_bytes: u64,
    /// Requests refused, by code.
    pub refused: BTreeMap<Code, u64>,
    /// Inputs dropped without an answer, by reason.
    pub dropped: BTreeMap<Dropped, u64>,
}

/// Why an input got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// A frame of a peer that is not connected.
    NotConnected,
    /// A connection beyond the limit.
    TooManyConnections,
    /// An `Accepted` for a channel that is not followed.
    NotFollowing,
    /// An `Accepted` beyond what was delivered; what was delivered counts as accepted.
    AcceptedAhead,
    /// An answer that was not asked for.
    Unasked,
}

/// Counts, and decides when to tell the application.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    pub(crate) counters: Counters,
    told: Counters,
    due: Option<Instant>,
}

impl Counting {
    pub(crate) fn refused(&mut self, code: Code) {
        increment(self.counters.refused.entry(code).or_default());
    }

    /// Counts a frame to a reader that follows a log.
    pub(crate) fn told_reader(&mut self, body: &Body) {
        let counters = &mut self.counters;
        let is_name = matches!(body, Body::Announce { .. });
        increment(if is_name { &mut counters.named } else { &mut counters.delivered });
    }

    pub(crate) fn dropped(&mut self, reason: Dropped) {
        increment(self.counters.dropped.entry(reason).or_default());
    }

    /// Notices changes after an input; returns the counters if it is time to tell them.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Counters> {
        match self.due {
            Some(due) if due <= now => {
                self.due = None;
                self.told = self.counters.clone();
                Some(self.counters.clone())
            }
            None if self.counters != self.told => {
                self.due = Some(now.after(TELL_EVERY));
                None
            }
            Some(_) | None => None,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

/// Adds one.
pub(crate) fn increment(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// Often enough for a graph, rare enough to cost nothing.
const TELL_EVERY: Duration = Duration::from_secs(10);
