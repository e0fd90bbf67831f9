//! Cursors: up to where this device has all of each node's copy of a log.

use proto::{Cursor, LogId, NodeId, Rows, Table};

use crate::step::Step;

/// Node ‖ log → incarnation ‖ sequence.
const CURSORS: Table = Table(18);

/// Returns where this device stands in a node's copy of a log.
pub(crate) fn cursor(rows: &dyn Rows, node: &NodeId, log: &LogId) -> Cursor {
    let row = rows.get(CURSORS, &[node.0, log.0].concat()).unwrap_or_default();
    let parts = row.split_first_chunk::<8>().and_then(|(incarnation, sequence)| {
        Some(Cursor {
            incarnation: u64::from_be_bytes(*incarnation),
            sequence: u64::from_be_bytes(sequence.try_into().ok()?),
        })
    });
    parts.unwrap_or_default()
}

/// Everything is here up to this sequence of the copy that is known.
pub(crate) fn put_cursor(step: &mut Step<'_>, node: &NodeId, log: &LogId, sequence: u64) {
    let ours = cursor(step.rows(), node, log);
    write(step, node, log, Cursor { sequence, ..ours });
}

/// A node says where its copy of a log stands. Another copy than the one that was known is read
/// from its beginning; returns whether there was one.
pub(crate) fn on_copy(step: &mut Step<'_>, node: &NodeId, log: &LogId, head: Cursor) -> bool {
    let ours = cursor(step.rows(), node, log);
    if ours.incarnation == head.incarnation {
        return false;
    }
    write(step, node, log, Cursor { incarnation: head.incarnation, sequence: 0 });
    ours.incarnation != 0
}

/// Everything is here up to this sequence; returns whether that is news.
pub(super) fn advance_cursor(
    step: &mut Step<'_>,
    node: &NodeId,
    log: &LogId,
    sequence: u64,
) -> bool {
    let is_news = cursor(step.rows(), node, log).sequence < sequence;
    if is_news {
        put_cursor(step, node, log, sequence);
    }
    is_news
}

/// A node stored an own entry under this sequence: if it is the next one, it need not be delivered.
pub(super) fn on_stored(step: &mut Step<'_>, node: &NodeId, log: &LogId, sequence: u64) {
    if cursor(step.rows(), node, log).sequence.checked_add(1) == Some(sequence) {
        put_cursor(step, node, log, sequence);
    }
}

fn write(step: &mut Step<'_>, node: &NodeId, log: &LogId, cursor: Cursor) {
    let mut row = cursor.incarnation.to_be_bytes().to_vec();
    row.extend(cursor.sequence.to_be_bytes());
    step.put(CURSORS, [node.0, log.0].concat(), row);
}
