//! Channels: logs that are open on a connection.

use proto::{AccountId, LogId, NodeId, PublicKey};

/// Why a log is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelUse {
    /// The own inbox.
    Inbox(InboxUse),
    /// The inbox of someone who gave an invite.
    Invited(AccountId),
    /// The log of a conversation.
    Log(LogUse),
}

/// Why the own inbox is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InboxUse {
    /// Read, and the way to everything an account does at its home.
    Current,
    /// At a home that the account has left.
    Previous,
}

/// Why the log of a conversation is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogUse {
    /// Read, and written in the epoch of the channel's key.
    Read,
    /// Written in a later epoch.
    Write,
    /// At the secondary home, which announces what it holds.
    Have,
    /// Only to announce its ranking, with the write key so many epochs back.
    Announce(usize),
}

/// Which channel of which node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelAt<'a> {
    pub(crate) node: &'a NodeId,
    pub(crate) number: u32,
}

/// A log that is open, or is being opened, on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channel {
    log: LogId,
    key: PublicKey,
    used_for: ChannelUse,
    is_open: bool,
    /// The last sequence that the node delivered or announced on it.
    last: u64,
    unacknowledged: Deliveries,
}

/// Deliveries of which the node has not been told that they arrived.
#[derive(Clone, Copy, Debug, Default)]
struct Deliveries {
    sequence: u64,
    count: u64,
}

impl Channel {
    pub(super) fn new(log: LogId, key: PublicKey, used_for: ChannelUse) -> Self {
        let unacknowledged = Deliveries::default();
        Self { log, key, used_for, is_open: false, last: 0, unacknowledged }
    }

    pub(crate) fn log(&self) -> &LogId {
        &self.log
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.key
    }

    pub(crate) fn used_for(&self) -> ChannelUse {
        self.used_for
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn on_opened(&mut self) {
        self.is_open = true;
    }

    pub(crate) fn is_of(&self, log: &LogId) -> bool {
        self.log == *log
    }

    pub(crate) fn is_for(&self, used_for: ChannelUse) -> bool {
        self.used_for == used_for
    }

    /// Returns whether entries with this write key can be appended on it.
    pub(crate) fn writes(&self, log: &LogId, key: &PublicKey) -> bool {
        self.is_of(log) && self.key == *key
    }

    /// Returns whether it was opened for this use of a conversation's log.
    pub(crate) fn serves(&self, log: &LogId, used_for: LogUse) -> bool {
        self.is_of(log) && self.is_for(ChannelUse::Log(used_for))
    }

    /// Returns whether entries of a conversation's log can be fetched on it.
    pub(super) fn fetches(&self, log: &LogId) -> bool {
        self.is_of(log) && matches!(self.used_for, ChannelUse::Log(LogUse::Read | LogUse::Have))
    }

    /// Returns whether it was opened to announce a ranking.
    pub(crate) fn announces(&self, log: &LogId) -> bool {
        self.is_of(log) && matches!(self.used_for, ChannelUse::Log(LogUse::Announce(_)))
    }

    /// Notes the sequence of what the node delivers or announces; returns whether it grows, as it
    /// does on every channel of an honest node.
    pub(super) fn advance(&mut self, sequence: u64) -> bool {
        let before = std::mem::replace(&mut self.last, sequence);
        sequence > before
    }

    /// Notes that everything up to this sequence has arrived; returns how many deliveries the node
    /// has not been told of.
    pub(super) fn on_delivered(&mut self, sequence: u64) -> u64 {
        let count = self.unacknowledged.count.saturating_add(1);
        self.unacknowledged = Deliveries { sequence, count };
        count
    }

    /// Takes what the node is to be told: up to which sequence all has arrived.
    pub(super) fn take_unacknowledged(&mut self) -> Option<u64> {
        let Deliveries { sequence, count } = std::mem::take(&mut self.unacknowledged);
        (count > 0).then_some(sequence)
    }

    /// Returns whether the node has yet to be told of deliveries.
    pub(super) fn has_unacknowledged(&self) -> bool {
        self.unacknowledged.count > 0
    }
}
