//! The rows of replication: which logs are shared with which node, and what each node may lack.

use std::ops::ControlFlow;

use proto::{Direction, Draft, Peer, PublicKey, Rows, Table};

use crate::{
    layout::{self, DIRTY, REPLICAS},
    placement,
};

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
    placement::delete_received(draft, peer, number);
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
