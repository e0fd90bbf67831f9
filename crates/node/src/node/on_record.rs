//! Passing newer records of accounts on to homes with which no device talks. Which node has yet to
//! get which record is in rows; a node gets its records when it is connected. Specified in
//! `spec/logs.md`, section 9.

use std::ops::ControlFlow;

use proto::{Direction, Instant, NodeAddress, Peer, Rows, Transaction};

use super::Node;
use crate::{
    account::{self, Home},
    layout::{self, UNANNOUNCED_RECORDS},
    placement::{self, peer_of},
    replica::{RecordHash, RecordOf},
};

impl Node {
    /// Returns the nodes that hold an inbox.
    pub(super) fn inbox_holders(inbox: u64, tx: &Transaction<'_>) -> Vec<NodeAddress> {
        let ranking = placement::ranking(tx, inbox);
        ranking.map(|ranking| placement::holders(tx, inbox, &ranking)).unwrap_or_default()
    }

    /// Passes an account's new record on to the nodes that held its inbox `before` or hold it now,
    /// except those to which its devices send the record themselves.
    pub(super) fn pass_record_on(
        &mut self,
        home: &Home,
        before: &[NodeAddress],
        tx: &mut Transaction<'_>,
    ) {
        let own = self.config.node;
        let after = Self::inbox_holders(home.inbox, tx);
        let is_told = |node: &NodeAddress| {
            node.node == own || home.ranking.nodes.iter().any(|home| home.node == node.node)
        };
        for node in before.iter().chain(&after).filter(|node| !is_told(node)) {
            let peer = peer_of(node);
            tx.put(UNANNOUNCED_RECORDS, layout::peer_key(&peer, home.inbox), home.record);
            self.pass_next_record_on(&peer, tx);
        }
    }

    /// Sends a node the next record that it has yet to get.
    pub(super) fn pass_next_record_on(&mut self, peer: &Peer, tx: &mut Transaction<'_>) {
        let (from, to) = (layout::peer_key(peer, 0), layout::peer_key(peer, u64::MAX));
        let mut next = None;
        tx.scan(UNANNOUNCED_RECORDS, &from, &to, Direction::Forward, &mut |key, hash| {
            let hash = RecordHash::try_from(hash).ok();
            next = layout::last_u64(key).zip(hash).map(|(inbox, hash)| RecordOf { inbox, hash });
            ControlFlow::Break(())
        });
        let Some(RecordOf { inbox, hash }) = next else { return };
        let account = self.logs.get(tx, inbox).and_then(|log| log.row.inbox_of);
        match account.and_then(|account| account::bundle(tx, account).ok()) {
            Some(bytes) => self.replicas.pass_record_on(peer, RecordOf { inbox, hash }, bytes),
            None => tx.delete(UNANNOUNCED_RECORDS, layout::peer_key(peer, inbox)),
        }
    }

    /// A node has answered to a record. A `newer` one in its refusal is taken in here.
    pub(super) fn on_record_answer(
        &mut self,
        peer: Peer,
        RecordOf { inbox, hash }: RecordOf,
        newer: &[u8],
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        let key = layout::peer_key(&peer, inbox);
        // Unless there is yet another record since.
        if tx.get(UNANNOUNCED_RECORDS, &key).is_some_and(|untold| untold == hash) {
            tx.delete(UNANNOUNCED_RECORDS, key);
        }
        if !newer.is_empty() {
            let _ = self.put_bundle(tx, newer, now);
        }
        self.pass_next_record_on(&peer, tx);
    }
}
