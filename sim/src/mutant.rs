//! Deliberate breaks: whoever looks after the checkers breaks the product and sees them fire.

use proto::{Direction, Rows, Table, Visit};

/// Something broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Drivers of nodes let answers out before what precedes them is durable.
    AcceptBeforeCommit,
    /// Nodes don't recognise what they have stored already.
    NoDuplicateCheck,
    /// Devices show messages in the order in which they arrived.
    TimelineByArrival,
}

/// The rows of a node as one sees them that has forgotten what it stored: looking for an envelope
/// by its position and id finds none, while reading in that order still works.
pub(crate) struct Forgetful<'a>(pub(crate) &'a dyn Rows);

impl Rows for Forgetful<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        if table == POSITIONS { None } else { self.0.get(table, key) }
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        self.0.scan(table, from, to, direction, visit);
    }
}

/// Where a node keeps which envelopes a log has: `spec/logs.md`, section 10.
const POSITIONS: Table = Table(5);
