//! Copies: another home asks this node for one, when a home of an account has been unreachable for
//! long or the account wants more than two. A day after the home is back, the copy is dropped.
//! Specified in `spec/logs.md`, section 9.
//!
//! ```text
//!  home 1        home 2                    home 3
//!    ✗   unreachable for ten minutes
//!                  ── Recruit{record, log} ──▶   makes a copy, ranked as the members said
//!                  ◀── Replicate ──              calls all nodes of the log, which push
//!    back: it is pushed what it lacks
//!                                                drops its copy a day later
//! ```

use crypto::identity::Bundle;
use proto::{Body, Code, Instant, LogGenesis, Peer, PublicKey, Ranking, Recruit, Transaction};

use super::Node;
use crate::{
    account::{self, Refusal},
    layout::{self, RESERVE_COPIES},
    log::LOG_CHARGE,
    placement::{self, Holders, HoldersChange, names},
    quota::RANKING_CHARGE,
};

impl Node {
    /// Another home of an account asks for a copy of one of its logs.
    pub(super) fn on_recruit(
        &mut self,
        peer: Peer,
        recruit: &Recruit,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<Body, Refusal> {
        let bundle = Bundle::verify(&recruit.bundle).map_err(|_| Code::Invalid)?;
        let own = PublicKey(self.config.node.0);
        if peer == own || !names(bundle.homes(), &peer) || !names(bundle.homes(), &own) {
            return Err(Code::Forbidden.into());
        }
        self.put_bundle(tx, &recruit.bundle, now)?;
        let inbox = LogGenesis::Inbox(bundle.account()).id();
        let (inbox, _) = self.logs.find(tx, &inbox).ok_or(Code::NotFound)?;
        match &recruit.conversation {
            None => {
                self.share_inbox(inbox, tx, now);
                self.recruiter_has_a_copy(inbox, &peer, tx, now);
            }
            Some((genesis, ranking)) => {
                self.copy_conversation(inbox, peer, genesis, ranking, tx, now)?;
            }
        }
        Ok(Body::Accepted { channel: 0, sequence: 0 })
    }

    /// Makes a copy of an inbox at a reserve home. The bundle says which nodes hold the inbox.
    pub(super) fn share_inbox(&mut self, inbox: u64, tx: &mut Transaction<'_>, now: Instant) {
        let account = self.logs.get(tx, inbox).and_then(|log| log.row.inbox_of);
        let bytes = account.and_then(|account| account::bundle(tx, account).ok());
        let Some(bundle) = bytes.and_then(|bytes| Bundle::verify(&bytes).ok()) else { return };
        let ranking = account::inbox_ranking(&bundle, self.config.node);
        if !ranking.nodes.is_empty() {
            self.rank_inbox(inbox, &ranking, true, tx, now);
        }
    }

    fn copy_conversation(
        &mut self,
        account: u64,
        peer: Peer,
        genesis: &[u8],
        ranking: &Ranking,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<(), Code> {
        let decoded = LogGenesis::decode(genesis).map_err(|_| Code::Invalid)?;
        let LogGenesis::Conversation { write_key, .. } = decoded else {
            return Err(Code::Invalid);
        };
        let id = decoded.id();
        self.check_ranking(Some(ranking))?;
        if !names(&ranking.nodes, &peer) && !names(&ranking.reserve, &peer) {
            return Err(Code::Forbidden);
        }
        if let Some((number, log)) = self.logs.find(tx, &id) {
            // The peer may not know that this node has a copy.
            if log.nodes.contains(&peer) {
                let holders = Holders { log: number, nodes: &[peer] };
                self.replicas.appended(tx, holders, now);
            }
            self.recruiter_has_a_copy(number, &peer, tx, now);
            return Ok(());
        }
        let charge = LOG_CHARGE.saturating_add(RANKING_CHARGE);
        self.quota.admit_log(tx, account, charge)?;
        self.quota.charge_log(tx, account, charge);
        let incarnation = self.incarnation();
        let logs = &mut self.logs;
        let number = logs.create_conversation(tx, id, write_key, genesis, account, incarnation);
        self.rank(number, None, ranking, tx, now);
        self.recruiter_has_a_copy(number, &peer, tx, now);
        Ok(())
    }

    /// Notes that a home which asks for a copy has one itself, perhaps as a reserve node too. Each
    /// node has to know of the other's copy, or it would ask for one indefinitely.
    fn recruiter_has_a_copy(
        &mut self,
        number: u64,
        peer: &Peer,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        let log = self.logs.get(tx, number);
        if log.is_some_and(|log| log.reserve.contains(peer) && !log.nodes.contains(peer)) {
            self.take_part(number, peer, true, tx, now);
        }
    }

    /// A reserve node of a log has made a copy, or says that it has none. From now on it counts as
    /// a holder, or no longer does.
    pub(super) fn take_part(
        &mut self,
        number: u64,
        reserve: &Peer,
        has_copy: bool,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        let Some(ranking) = placement::ranking(tx, number) else { return };
        let Some(address) = ranking.reserve.iter().find(|node| node.node.0 == reserve.0) else {
            return;
        };
        let before = placement::holders(tx, number, &ranking);
        let others = before.iter().filter(|node| node.node != address.node);
        let after: Vec<_> = others.chain(has_copy.then_some(address)).cloned().collect();
        let change = HoldersChange { before: &before, after: &after };
        self.replicas.ranked(tx, number, change, now);
        self.logs.ranked(tx, number);
        if !has_copy {
            self.copies.check_soon(now);
        }
    }

    /// Drops this node's copy of a log.
    pub(super) fn drop_copy(
        &mut self,
        number: u64,
        ranking: &Ranking,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        let Some(log) = self.logs.get(tx, number) else { return };
        let is_inbox = log.row.inbox_of.is_some();
        let peers = log.nodes.clone();
        for peer in &peers {
            for channel in self.sessions.replicated(*peer, number) {
                let _ = self.close(channel);
            }
        }
        let holders = placement::holders(tx, number, ranking);
        let change = HoldersChange { before: &holders, after: &[] };
        self.replicas.ranked(tx, number, change, now);
        // The entries of an inbox stay: they are few, and its account may come here.
        placement::delete_ranking(tx, number);
        tx.delete(RESERVE_COPIES, layout::number_key(number));
        self.logs.ranked(tx, number);
        if is_inbox {
            return;
        }
        let readers: Vec<_> = self.sessions.readers(number).collect();
        for channel in readers {
            let _ = self.close(channel);
        }
        self.logs.drop_copy(tx, number);
    }
}
