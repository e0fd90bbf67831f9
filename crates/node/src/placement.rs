//! Placement: which nodes hold a log, and how far each other copy of it is here. Here are the rows,
//! which all that store, push or compare logs read; [`policy`] decides who should hold a log, and
//! [`recruit`] says when to check. Specified in `spec/logs.md`, section 9.

pub(crate) mod policy;
pub(crate) mod recruit;

use proto::{Cursor, NodeAddress, Peer, PublicKey, Ranking, Rows, Transaction};

use crate::layout::{self, RANKINGS, REPLICAS};

/// Returns the ranking of a log that was announced last.
pub(crate) fn ranking(rows: &dyn Rows, number: u64) -> Option<Ranking> {
    layout::decode_ranking(&rows.get(RANKINGS, &layout::number_key(number))?)
}

pub(crate) fn put_ranking(tx: &mut Transaction<'_>, number: u64, ranking: &Ranking) {
    tx.put(RANKINGS, layout::number_key(number), layout::encode_ranking(ranking));
}

pub(crate) fn delete_ranking(tx: &mut Transaction<'_>, number: u64) {
    tx.delete(RANKINGS, layout::number_key(number));
}

/// Returns the known holders of a log: the nodes of its ranking, and reserve nodes with a copy.
pub(crate) fn holders(rows: &dyn Rows, number: u64, ranking: &Ranking) -> Vec<NodeAddress> {
    let has_copy = |node: &&NodeAddress| {
        rows.get(REPLICAS, &layout::peer_key(&peer_of(node), number)).is_some()
    };
    ranking.nodes.iter().chain(ranking.reserve.iter().filter(has_copy)).cloned().collect()
}

/// Returns up to where the copy of `peer` is here, or nothing if no ranking of the log names it.
/// The cursor of a peer that is not known to have a copy lies before the log's beginning.
pub(crate) fn received(rows: &dyn Rows, peer: &Peer, number: u64) -> Option<Cursor> {
    layout::decode_cursor(&rows.get(REPLICAS, &layout::peer_key(peer, number))?)
}

pub(crate) fn put_received(tx: &mut Transaction<'_>, peer: &Peer, number: u64, cursor: Cursor) {
    tx.put(REPLICAS, layout::peer_key(peer, number), layout::encode_cursor(cursor));
}

pub(crate) fn delete_received(tx: &mut Transaction<'_>, peer: &Peer, number: u64) {
    tx.delete(REPLICAS, layout::peer_key(peer, number));
}

/// A log and the nodes that hold it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holders<'a> {
    pub(crate) log: u64,
    pub(crate) nodes: &'a [Peer],
}

/// The nodes that held a log and those that do now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HoldersChange<'a> {
    pub(crate) before: &'a [NodeAddress],
    pub(crate) after: &'a [NodeAddress],
}

/// The node from which an entry came, and the entry's sequence in the copy there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) peer: Peer,
    pub(crate) sequence: u64,
}

/// Returns the key by which the connection of a node is known.
pub(crate) fn peer_of(node: &NodeAddress) -> Peer {
    PublicKey(node.node.0)
}

/// Returns whether a node is one of these.
pub(crate) fn names(nodes: &[NodeAddress], peer: &Peer) -> bool {
    nodes.iter().any(|node| node.node.0 == peer.0)
}
