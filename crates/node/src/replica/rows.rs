//! What of replication is in rows: who holds a log, what came from whom, who may lack something.

use std::ops::ControlFlow;

use proto::{Cursor, Direction, Draft, NodeAddress, Peer, PublicKey, Ranking, Rows, Table};

use crate::layout::{self, DIRTY, RANKINGS, REPLICAS};

/// The ranking of a log that was told last.
pub(crate) fn ranking(rows: &dyn Rows, number: u64) -> Option<Ranking> {
    layout::decode_ranking(&rows.get(RANKINGS, &layout::number_key(number))?)
}

pub(crate) fn put_ranking(draft: &mut Draft<'_>, number: u64, ranking: &Ranking) {
    draft.put(RANKINGS, layout::number_key(number), layout::encode_ranking(ranking));
}

/// Who holds a log as far as is known here: the nodes of its ranking, and standbys that have made a copy.
pub(crate) fn holders(rows: &dyn Rows, number: u64, ranking: &Ranking) -> Vec<NodeAddress> {
    let has_a_copy = |node: &&NodeAddress| {
        rows.get(REPLICAS, &layout::peer_key(&PublicKey(node.node.0), number)).is_some()
    };
    ranking.nodes.iter().chain(ranking.standbys.iter().filter(has_a_copy)).cloned().collect()
}

/// Up to where another node's copy of a log is here; before its beginning, if it has none as far
/// as is known. Nothing, if the log's ranking does not name it.
pub(crate) fn received(rows: &dyn Rows, peer: &Peer, number: u64) -> Option<Cursor> {
    layout::decode_cursor(&rows.get(REPLICAS, &layout::peer_key(peer, number))?)
}

pub(crate) fn put_received(draft: &mut Draft<'_>, peer: &Peer, number: u64, cursor: Cursor) {
    draft.put(REPLICAS, layout::peer_key(peer, number), layout::encode_cursor(cursor));
}

/// A log has no ranking any more.
pub(crate) fn delete_ranking(draft: &mut Draft<'_>, number: u64) {
    draft.delete(RANKINGS, layout::number_key(number));
}

/// Tells whether another node may lack something of a log.
pub(crate) fn is_marked(rows: &dyn Rows, peer: &Peer, number: u64) -> bool {
    rows.get(DIRTY, &layout::peer_key(peer, number)).is_some()
}

/// Another node may lack something of a log.
pub(crate) fn mark(draft: &mut Draft<'_>, peer: &Peer, number: u64) {
    draft.put(DIRTY, layout::peer_key(peer, number), []);
}

/// It lacks nothing.
pub(crate) fn unmark(draft: &mut Draft<'_>, peer: &Peer, number: u64) {
    draft.delete(DIRTY, layout::peer_key(peer, number));
}

/// The ranking of a log does not name that node any more.
pub(crate) fn forget(draft: &mut Draft<'_>, peer: &Peer, number: u64) {
    draft.delete(REPLICAS, layout::peer_key(peer, number));
    unmark(draft, peer, number);
}

/// Logs in a table of peers, from the one with this number on, until told to stop.
pub(super) fn logs_of(
    rows: &dyn Rows,
    table: Table,
    peer: &Peer,
    from: u64,
    mut visit: impl FnMut(u64) -> ControlFlow<()>,
) {
    let (from, to) = (layout::peer_key(peer, from), layout::peer_key(peer, u64::MAX));
    rows.scan(table, &from, &to, Direction::Forward, &mut |key, _| {
        layout::last_u64(key).map_or(ControlFlow::Continue(()), &mut visit)
    });
}

/// Tells whether another node holds a log of this one.
pub(crate) fn shares_logs(rows: &dyn Rows, peer: &Peer) -> bool {
    let mut is_one = false;
    logs_of(rows, REPLICAS, peer, 0, |_| {
        is_one = true;
        ControlFlow::Break(())
    });
    is_one
}

/// How many copies of logs at other nodes may lack something, up to a limit.
pub(crate) fn copies_behind(rows: &dyn Rows) -> u64 {
    let mut count = 0_u64;
    rows.scan(DIRTY, &[], &[0xFF; 41], Direction::Forward, &mut |_, _| {
        count = count.saturating_add(1);
        if count < BEHIND_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    count
}

/// The first node behind another one in a table of peers.
pub(crate) fn peer_after(rows: &dyn Rows, table: Table, peer: Option<&Peer>) -> Option<Peer> {
    let from = peer.map(|peer| layout::peer_key(peer, u64::MAX)).unwrap_or_default();
    let mut found = None;
    rows.scan(table, &from, &[0xFF; 41], Direction::Forward, &mut |key, _| {
        found = layout::parse_peer_key(key).map(|(peer, _): (PublicKey, u64)| peer);
        ControlFlow::Break(())
    });
    found
}

/// Whoever asks how a node fares doesn't have it count all day.
const BEHIND_MAX: u64 = 10_000;
