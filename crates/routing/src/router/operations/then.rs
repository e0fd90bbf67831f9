//! What follows an operation, and for whom it is.

use proto::{NodeId, Record};

/// What follows a lookup.
#[derive(Debug)]
pub(crate) enum Then {
    /// Report to the origin.
    LookedUp(Origin),
    /// Store the record at the nearest nodes.
    Publish(Unpublished),
    /// Nothing: the answers have filled the table.
    Refresh,
    /// Join: it was the first lookup of the own key.
    Join,
    /// Continue a sample with the nodes that answered.
    Sample(u64),
}

/// The origin of an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    Command { ticket: u64, insist: bool },
    Peer { peer: NodeId, request: u32, trace: bool },
}

/// A record to publish.
#[derive(Debug)]
pub(crate) struct Unpublished {
    record: Record,
    age_s: u32,
    ticket: Option<u64>,
}

impl Unpublished {
    /// A record first published so long ago, with the ticket of the command, if any.
    pub(super) fn new(record: Record, age_s: u32, ticket: Option<u64>) -> Self {
        Self { record, age_s, ticket }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn age_s(&self) -> u32 {
        self.age_s
    }

    pub(super) fn ticket(&self) -> Option<u64> {
        self.ticket
    }
}
