//! Homes with which no device talks hear of newer records of their accounts from those with which one does.
//! Whoever has yet to hear is in rows, and is told when it is connected. Specified in `spec/logs.md`,
//! section 9.

use std::ops::ControlFlow;

use proto::{Direction, Draft, Instant, NodeAddress, Peer, PublicKey, Rows};

use super::Node;
use crate::{
    account::{self, Home},
    layout::{self, UNTOLD},
    replica::{self, RecordHash},
};

impl Node {
    /// Who holds an inbox.
    pub(super) fn inbox_holders(inbox: u64, draft: &Draft<'_>) -> Vec<NodeAddress> {
        let ranking = replica::ranking(draft, inbox);
        ranking.map(|ranking| replica::holders(draft, inbox, &ranking)).unwrap_or_default()
    }

    /// An account has another record: whoever held its inbox `before`, or does now, and is none of those
    /// whom its devices tell, is told.
    pub(super) fn tell_of_record(
        &mut self,
        home: &Home,
        before: &[NodeAddress],
        draft: &mut Draft<'_>,
    ) {
        let own = self.config.node;
        let after = Self::inbox_holders(home.inbox, draft);
        let is_told = |node: &NodeAddress| {
            node.node == own || home.ranking.nodes.iter().any(|home| home.node == node.node)
        };
        for node in before.iter().chain(&after).filter(|node| !is_told(node)) {
            let peer = PublicKey(node.node.0);
            draft.put(UNTOLD, layout::peer_key(&peer, home.inbox), home.record);
            self.tell_next_record(&peer, draft);
        }
    }

    /// Tells a node the next record of which it has yet to hear.
    pub(super) fn tell_next_record(&mut self, peer: &Peer, draft: &mut Draft<'_>) {
        let (from, to) = (layout::peer_key(peer, 0), layout::peer_key(peer, u64::MAX));
        let mut next = None;
        draft.scan(UNTOLD, &from, &to, Direction::Forward, &mut |key, hash| {
            next = layout::last_u64(key).zip(RecordHash::try_from(hash).ok());
            ControlFlow::Break(())
        });
        let Some((inbox, hash)) = next else { return };
        let account = self.logs.get(draft, inbox).and_then(|log| log.row.inbox_of);
        match account.and_then(|account| account::bundle(draft, account).ok()) {
            Some(record) => self.replicas.tell_record(peer, (inbox, hash), record),
            None => draft.delete(UNTOLD, layout::peer_key(peer, inbox)),
        }
    }

    /// A node was told a record. What it knows better, this one takes in.
    pub(super) fn record_is_told(
        &mut self,
        peer: Peer,
        (inbox, hash): (u64, RecordHash),
        newer: &[u8],
        draft: &mut Draft<'_>,
        now: Instant,
    ) {
        let key = layout::peer_key(&peer, inbox);
        // Or there is yet another one since.
        if draft.get(UNTOLD, &key).is_some_and(|untold| untold == hash) {
            draft.delete(UNTOLD, key);
        }
        if !newer.is_empty() {
            let _ = self.put_bundle(draft, newer, now);
        }
        self.tell_next_record(&peer, draft);
    }
}
