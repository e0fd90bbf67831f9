//! The rows of replication: which logs are shared with which node, and what each node may lack.

use std::ops::ControlFlow;

use proto::{Direction, Peer, PublicKey, Rows, Table, Transaction};

use crate::{
    layout::{self, DIRTY, REPLICAS},
    placement,
};

/// Returns whether another node may lack entries of a log.
pub(crate) fn is_marked(rows: &dyn Rows, peer: &Peer, number: u64) -> bool {
    rows.get(DIRTY, &layout::peer_key(peer, number)).is_some()
}

/// Notes that another node may lack entries of a log.
pub(crate) fn mark(tx: &mut Transaction<'_>, peer: &Peer, number: u64) {
    tx.put(DIRTY, layout::peer_key(peer, number), []);
}

/// Notes that it lacks none.
pub(crate) fn unmark(tx: &mut Transaction<'_>, peer: &Peer, number: u64) {
    tx.delete(DIRTY, layout::peer_key(peer, number));
}

/// Forgets a node that the ranking of a log no longer names.
pub(crate) fn forget(tx: &mut Transaction<'_>, peer: &Peer, number: u64) {
    placement::delete_received(tx, peer, number);
    unmark(tx, peer, number);
}

/// Visits the logs of a node in a table of peers, from number `from` on, until told to stop.
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

/// Returns whether another node holds a log of this one.
pub(crate) fn shares_logs(rows: &dyn Rows, peer: &Peer) -> bool {
    let mut is_one = false;
    logs_of(rows, REPLICAS, peer, 0, |_| {
        is_one = true;
        ControlFlow::Break(())
    });
    is_one
}

/// Returns how many copies of logs at other nodes may lack entries, up to a limit.
pub(crate) fn copies_behind(rows: &dyn Rows) -> u64 {
    let mut count = 0_u64;
    rows.scan(DIRTY, &[], &[0xFF; 41], Direction::Forward, &mut |_, _| {
        count = count.saturating_add(1);
        if count < BEHIND_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    count
}

/// Returns the first node behind another one in a table of peers.
pub(crate) fn peer_after(rows: &dyn Rows, table: Table, peer: Option<&Peer>) -> Option<Peer> {
    let from = peer.map(|peer| layout::peer_key(peer, u64::MAX)).unwrap_or_default();
    let mut found = None;
    rows.scan(table, &from, &[0xFF; 41], Direction::Forward, &mut |key, _| {
        found = layout::parse_peer_key(key).map(|(peer, _): (PublicKey, u64)| peer);
        ControlFlow::Break(())
    });
    found
}

/// Where counting stops, so that a request for the status stays cheap.
const BEHIND_MAX: u64 = 10_000;
