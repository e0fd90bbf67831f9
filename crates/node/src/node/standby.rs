//! Standing by: when a home of an account has been gone for long, the next one in its record takes
//! its place, and gives it back a day after the other has returned. Specified in `spec/logs.md`,
//! section 9.
//!
//! ```text
//!  home 1        home 2                    home 3
//!    ✗   gone for ten minutes
//!                  ── Recruit{record, log} ──▶   makes a copy, ranked as the members said
//!                  ◀── Replicate ──              calls all nodes of the log: they push what they have
//!    back: it is pushed what it lacks
//!                                                drops its copy a day later
//! ```

use std::{ops::ControlFlow, time::Duration};

use crypto::Bundle;
use proto::{
    AccountId, Body, Code, Direction, Draft, Instant, LogGenesis, NodeAddress, Peer, PublicKey,
    Ranking, Recruit, Rows,
};

use super::Node;
use crate::{
    account::{self, Refusal},
    layout::{self, GENESES, STANDING_IN},
    log::LOG_CHARGE,
    placement::{self, Holders, HoldersChange},
    quota::RANKING_CHARGE,
    replica,
};

/// When this node looks next whether it still has to stand in, if it does anywhere.
#[derive(Debug, Default)]
pub(super) struct Look {
    due: Option<Instant>,
    /// From which log on.
    from: u64,
}

impl Look {
    pub(super) fn open(rows: &dyn Rows, kept: Duration, now: Instant) -> Self {
        let mut look = Self::default();
        let end = [0xFF; 9];
        rows.scan(STANDING_IN, &[], &end, Direction::Forward, &mut |_, _| {
            look.plan(kept, now);
            ControlFlow::Break(())
        });
        look
    }

    /// There is something to look at.
    fn plan(&mut self, kept: Duration, now: Instant) {
        self.due = self.due.or_else(|| Some(now.after(kept.min(LOOK_PAUSE))));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

/// Taking somebody's place.
impl Node {
    /// Seeks standbys for homes that are gone, a few logs at a time.
    pub(super) fn recruit(&mut self, rows: &dyn Rows, now: Instant) {
        for number in self.replicas.vacancies(rows, now) {
            if let Some((standby, account, recruit)) = self.recruit_for(number, rows, now)
                && !self.replicas.recruit(&standby, account, recruit, now)
            {
                return self.replicas.vacancies_from(number);
            }
        }
    }

    /// Who should hold a log and does not, if this node is one of those who should: of an account's
    /// homes the first ones that are not gone, as many as it wants copies.
    pub(super) fn recruit_for(
        &mut self,
        number: u64,
        rows: &dyn Rows,
        now: Instant,
    ) -> Option<(NodeAddress, AccountId, Recruit)> {
        let (holders, bundle) = self.holders_and_bundle(number, rows)?;
        let own = self.config.node;
        let account = bundle.account();
        let may_serve = |home: &&NodeAddress| {
            home.node == own || self.replicas.may_serve(&PublicKey(home.node.0), &account, now)
        };
        let live: Vec<_> = bundle.homes().iter().filter(may_serve).take(bundle.copies()).collect();
        if live.iter().all(|home| home.node != own) {
            return None;
        }
        let lacks =
            |home: &&NodeAddress| home.node != own && !holders.contains(&PublicKey(home.node.0));
        let standby = live.into_iter().find(lacks)?.clone();
        let recruit = self.recruit_to(number, &standby, &bundle, rows)?;
        Some((standby, account, recruit))
    }

    /// Who holds a log, and the record of the account that is charged for it here.
    pub(super) fn holders_and_bundle(
        &mut self,
        number: u64,
        rows: &dyn Rows,
    ) -> Option<(Vec<Peer>, Bundle)> {
        let log = self.logs.get(rows, number)?;
        let (holders, account) = (log.nodes.clone(), log.row.account);
        let account = self.logs.get(rows, account)?.row.inbox_of?;
        let bundle = Bundle::verify(&account::bundle(rows, account).ok()?).ok()?;
        Some((holders, bundle))
    }

    /// What to ask of another home that should make a copy of a log.
    pub(super) fn recruit_to(
        &mut self,
        number: u64,
        standby: &NodeAddress,
        bundle: &Bundle,
        rows: &dyn Rows,
    ) -> Option<Recruit> {
        let is_inbox = self.logs.get(rows, number)?.row.inbox_of.is_some();
        let conversation = if is_inbox {
            None
        } else {
            let genesis = rows.get(GENESES, &layout::number_key(number))?;
            let ranking = placement::ranking(rows, number)?;
            // Whoever is not named by the members is not let in by the others.
            names(&ranking.standbys, &PublicKey(standby.node.0)).then_some(())?;
            Some((genesis, ranking))
        };
        Some(Recruit { bundle: bundle.as_bytes().to_vec(), conversation })
    }

    /// Another home of an account asks for a copy of one of its logs.
    pub(super) fn recruited(
        &mut self,
        peer: Peer,
        recruit: &Recruit,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<Body, Refusal> {
        let bundle = Bundle::verify(&recruit.bundle).map_err(|_| Code::Invalid)?;
        let own = PublicKey(self.config.node.0);
        if peer == own || !names(bundle.homes(), &peer) || !names(bundle.homes(), &own) {
            return Err(Code::Forbidden.into());
        }
        self.put_bundle(draft, &recruit.bundle, now)?;
        let inbox = LogGenesis::Inbox(bundle.account()).id();
        let (inbox, _) = self.logs.find(draft, &inbox).ok_or(Code::NotFound)?;
        match &recruit.conversation {
            None => {
                self.share_inbox(inbox, draft, now);
                self.recruiter_has_a_copy(inbox, &peer, draft, now);
            }
            Some((genesis, ranking)) => {
                self.copy_conversation(inbox, peer, genesis, ranking, draft, now)?;
            }
        }
        Ok(Body::Accepted { handle: 0, sequence: 0 })
    }

    /// An inbox is wanted here, although this node only stands by. Who holds it the bundle says.
    pub(super) fn share_inbox(&mut self, inbox: u64, draft: &mut Draft<'_>, now: Instant) {
        let account = self.logs.get(draft, inbox).and_then(|log| log.row.inbox_of);
        let bytes = account.and_then(|account| account::bundle(draft, account).ok());
        let Some(bundle) = bytes.and_then(|bytes| Bundle::verify(&bytes).ok()) else { return };
        let ranking = account::inbox_ranking(&bundle, self.config.node);
        if !ranking.nodes.is_empty() {
            self.rank_inbox(inbox, &ranking, true, draft, now);
        }
    }

    fn copy_conversation(
        &mut self,
        account: u64,
        peer: Peer,
        genesis: &[u8],
        ranking: &Ranking,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<(), Code> {
        let decoded = LogGenesis::decode(genesis).map_err(|_| Code::Invalid)?;
        let LogGenesis::Conversation { write_key, .. } = decoded else {
            return Err(Code::Invalid);
        };
        let id = decoded.id();
        self.check_ranking(Some(ranking))?;
        if !names(&ranking.nodes, &peer) && !names(&ranking.standbys, &peer) {
            return Err(Code::Forbidden);
        }
        if let Some((number, log)) = self.logs.find(draft, &id) {
            // It may have missed that this node has a copy.
            if log.nodes.contains(&peer) {
                let holders = Holders { log: number, nodes: &[peer] };
                self.replicas.appended(draft, holders, now);
            }
            self.recruiter_has_a_copy(number, &peer, draft, now);
            return Ok(());
        }
        let charge = LOG_CHARGE.saturating_add(RANKING_CHARGE);
        self.quota.admit_log(draft, account, charge)?;
        self.quota.charge_log(draft, account, charge);
        let incarnation = self.incarnation();
        let logs = &mut self.logs;
        let number = logs.create_conversation(draft, id, write_key, genesis, account, incarnation);
        self.rank(number, None, ranking, draft, now);
        self.recruiter_has_a_copy(number, &peer, draft, now);
        Ok(())
    }

    /// Whoever asks for a copy has one, perhaps as a standby too. Each has to know of the other, or
    /// it would ask for one for ever.
    fn recruiter_has_a_copy(
        &mut self,
        number: u64,
        peer: &Peer,
        draft: &mut Draft<'_>,
        now: Instant,
    ) {
        let log = self.logs.get(draft, number);
        if log.is_some_and(|log| log.reserve.contains(peer) && !log.nodes.contains(peer)) {
            self.take_part(number, peer, true, draft, now);
        }
    }

    /// A standby of a log has made a copy, or says that it has none: it is one of those who hold it
    /// from now on, or no more.
    pub(super) fn take_part(
        &mut self,
        number: u64,
        standby: &Peer,
        has_copy: bool,
        draft: &mut Draft<'_>,
        now: Instant,
    ) {
        let Some(ranking) = placement::ranking(draft, number) else { return };
        let Some(address) = ranking.standbys.iter().find(|node| node.node.0 == standby.0) else {
            return;
        };
        let before = placement::holders(draft, number, &ranking);
        let others = before.iter().filter(|node| node.node != address.node);
        let after: Vec<_> = others.chain(has_copy.then_some(address)).cloned().collect();
        let change = HoldersChange { before: &before, after: &after };
        self.replicas.ranked(draft, number, change, now);
        self.logs.ranked(draft, number);
        if !has_copy {
            self.copy_is_gone(now);
        }
    }
}

/// Giving the place back.
impl Node {
    /// Drops copies that others hold again, a few logs at a time.
    pub(super) fn look_whether_to_stand_in(&mut self, draft: &mut Draft<'_>, now: Instant) {
        if self.look.due.is_none_or(|due| now < due) {
            return;
        }
        let (from, to) = (layout::number_key(self.look.from), [0xFF; 9]);
        let mut seen = Vec::new();
        draft.scan(STANDING_IN, &from, &to, Direction::Forward, &mut |key, _| {
            seen.extend(layout::last_u64(key));
            if seen.len() < LOOKS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        for number in &seen {
            if let Some(ranking) = self.is_dispensable(*number, draft, now) {
                self.drop_copy(*number, &ranking, draft, now);
            }
        }
        self.look = match seen.last().filter(|_| seen.len() == LOOKS) {
            Some(last) => Look { due: Some(now.after(STEP_PAUSE)), from: last.saturating_add(1) },
            None => Look::open(draft, self.config.reserve_kept, now),
        };
    }

    /// A log has another ranking: by that this node may stand in, or no more.
    pub(super) fn note_role(
        &mut self,
        number: u64,
        ranking: &Ranking,
        draft: &mut Draft<'_>,
        now: Instant,
    ) {
        if names(&ranking.standbys, &PublicKey(self.config.node.0)) {
            draft.put(STANDING_IN, layout::number_key(number), []);
            self.look.plan(self.config.reserve_kept, now);
        } else if draft.get(STANDING_IN, &layout::number_key(number)).is_some() {
            draft.delete(STANDING_IN, layout::number_key(number));
        }
    }

    /// Whether this node only stands in at a log, and need not any more: as many homes before it as
    /// its account wants copies have been there for long and lack nothing.
    fn is_dispensable(&mut self, number: u64, rows: &dyn Rows, now: Instant) -> Option<Ranking> {
        let ranking = placement::ranking(rows, number)?;
        let own = PublicKey(self.config.node.0);
        names(&ranking.standbys, &own).then_some(())?;
        let account = self.logs.get(rows, number)?.row.account;
        let account = self.logs.get(rows, account)?.row.inbox_of?;
        let bundle = Bundle::verify(&account::bundle(rows, account).ok()?).ok()?;
        let before = bundle.homes().iter().take_while(|home| home.node.0 != own.0);
        let kept = self.config.reserve_kept;
        let has_all = |home: &&NodeAddress| {
            let peer = PublicKey(home.node.0);
            self.replicas.is_up_for(&peer, kept, now) && !replica::is_marked(rows, &peer, number)
        };
        (before.filter(has_all).count() >= bundle.copies()).then_some(ranking)
    }

    fn drop_copy(&mut self, number: u64, ranking: &Ranking, draft: &mut Draft<'_>, now: Instant) {
        let Some(log) = self.logs.get(draft, number) else { return };
        let is_inbox = log.row.inbox_of.is_some();
        let peers = log.nodes.clone();
        for peer in &peers {
            for channel in self.sessions.replicated(*peer, number) {
                let _ = self.close(channel);
            }
        }
        let holders = placement::holders(draft, number, ranking);
        let change = HoldersChange { before: &holders, after: &[] };
        self.replicas.ranked(draft, number, change, now);
        // What is in an inbox stays, for it is little, and its account may come here.
        placement::delete_ranking(draft, number);
        draft.delete(STANDING_IN, layout::number_key(number));
        self.logs.ranked(draft, number);
        if is_inbox {
            return;
        }
        let readers: Vec<_> = self.sessions.readers(number).collect();
        for channel in readers {
            let _ = self.close(channel);
        }
        self.logs.drop_copy(draft, number);
    }
}

fn names(nodes: &[NodeAddress], peer: &Peer) -> bool {
    nodes.iter().any(|node| node.node.0 == peer.0)
}

/// How often to look, how many logs at a time, and the pause between: some six hundred a second.
const LOOK_PAUSE: Duration = Duration::from_secs(3600);
const LOOKS: usize = 64;
const STEP_PAUSE: Duration = Duration::from_millis(100);
