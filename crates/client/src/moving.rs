//! Moving: another node becomes the account's home while people go on writing. Specified in
//! `spec/delivery.md`, section 7.
//!
//! ```text
//!  Move ─▶ next record ─▶ PutBundle at the next home ─ accepted ─▶ it counts, in one commit:
//!            every log is ranked anew, what may be lost is sent once more, contacts are told
//!       next home: inbox, key packages, invites, logs      others: the ranking (telling.rs)
//!       former home: PutBundle, and the rest of its inbox
//! ```
//!
//! What is left to be done is in rows, so a device that is killed in the middle goes on from there.

use proto::{Body, Code, ContentBody, LogId, NodeAddress, NodeId};

use crate::{
    Client, CommandError, ContactState, Reply, contact,
    errand::{Errand, may_pass},
    link::{Ask, Purpose},
    machine::Timer,
    outbox::Refill,
    ranking::ranking_with,
    step::Step,
};

impl Client {
    /// Makes these the homes of the account, the first of which serves it. Done once it is on disk;
    /// the move itself goes on until the next home has taken the record, and then a little longer.
    pub(crate) fn move_home(
        &mut self,
        step: &mut Step<'_>,
        homes: Vec<NodeAddress>,
        pinned: &[NodeId],
    ) -> Result<Reply, CommandError> {
        self.active()?;
        let me = self.me.as_mut().ok_or(CommandError::NoAccount)?;
        let moves = me.plan(step, homes, pinned)?;
        self.take_next_up(step, moves);
        Ok(Reply::Nothing)
    }

    /// Has so many of the homes hold all that the account has, and calls an entry stored when so many
    /// nodes have signed for it.
    pub(crate) fn want_copies(
        &mut self,
        step: &mut Step<'_>,
        copies: u32,
        receipts: u32,
    ) -> Result<Reply, CommandError> {
        self.active()?;
        let me = self.me.as_mut().ok_or(CommandError::NoAccount)?;
        let moves = me.want_copies(step, copies, receipts)?;
        self.take_next_up(step, moves);
        Ok(Reply::Nothing)
    }

    /// There is another record: it counts at once, unless the next home has to take it first.
    fn take_next_up(&mut self, step: &mut Step<'_>, moves: bool) {
        let next = self.me.as_ref().and_then(|me| me.next_home()).cloned();
        match next.filter(|_| moves) {
            Some(next) => {
                self.links.want(step, &next);
                self.offer(step, &next.node);
            }
            None => self.settle_in(step, None),
        }
        self.drop_idle_links(step);
    }

    /// Goes on with whatever a move has to do at a node that is up.
    pub(crate) fn take_moving_up(&mut self, step: &mut Step<'_>, node: &NodeId) {
        let Some(me) = self.me.as_ref().filter(|me| !me.locked_out()) else { return };
        if me.is_next_home(node) {
            self.offer(step, node);
        } else if me.is_former_home(node) {
            me.former_is_up(step, &mut self.links, node);
        }
        self.tell(step, node);
    }

    /// The next home is there: it has to take the record.
    pub(crate) fn offer(&mut self, step: &mut Step<'_>, node: &NodeId) {
        let Some(next) = self.me.as_ref().and_then(|me| me.next_record()) else { return };
        let goes_on = self.links.awaited(node, |ask| matches!(ask, Ask::PutBundle(_))) > 0;
        if self.links.is_up(node) && !goes_on {
            let (ask, body) = (Ask::PutBundle(next.rank().2), next.as_bytes().to_vec());
            self.links.ask(step, node, ask, Body::PutBundle(body));
        }
    }

    /// A node has taken a record of this account.
    pub(crate) fn bundle_was_put(&mut self, step: &mut Step<'_>, node: &NodeId, version: u64) {
        let Some(me) = &mut self.me else { return };
        if me.is_next_home(node) {
            if me.next_record().is_some_and(|next| next.rank().2 == version) {
                self.settle_in(step, Some(node));
            } else {
                self.offer(step, node);
            }
            return;
        }
        let is_newest = me.bundle.rank().2 == version;
        if me.is_served(node) {
            if is_newest {
                me.set_trouble(step, node, None);
                me.bundle_is_known(step, &mut self.links, node);
            } else {
                me.home_is_up(step, &mut self.links, node);
            }
        } else if me.is_former_home(node) {
            if is_newest {
                self.former_knows(step, node);
            } else {
                me.former_is_up(step, &mut self.links, node);
            }
        }
    }

    /// A node would not take a record of this account.
    pub(crate) fn bundle_was_refused(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        code: Code,
        newer: &[u8],
    ) {
        let Some(me) = &mut self.me else { return };
        if code == Code::Stale {
            me.superseded(step, newer);
        }
        if me.is_next_home(node) {
            me.set_moving_trouble(step, code);
            self.put_off(step, node, Errand::Offer, code);
            if !may_pass(code) {
                self.give_up_moving(step);
            }
        } else if me.is_former_home(node) && !me.is_served(node) {
            // While a record waits for the next home, this one may know that.
            let waits = me.next_record().is_some();
            self.put_off(step, node, Errand::Former, code);
            if !may_pass(code) && !waits {
                self.former_is_done(step, node);
            }
        } else {
            self.home_refused(step, node, code);
        }
    }

    /// The account stays where it is.
    fn give_up_moving(&mut self, step: &mut Step<'_>) {
        let Some(me) = &mut self.me else { return };
        me.give_up(step);
        self.settle_in(step, None);
    }

    /// The next record counts from now on; `at` is the home if that has it already.
    fn settle_in(&mut self, step: &mut Step<'_>, at: Option<&NodeId>) {
        let Some(moves) = self.me.as_mut().and_then(|me| me.take_over(step)) else { return };
        for log in self.conversations.keys().copied().collect::<Vec<_>>() {
            self.rank_from_here(step, &log, moves);
        }
        self.tell_contacts(step);
        if moves {
            self.forget_inbox_at_homes(step);
        }
        let Self { me: Some(me), links, .. } = self else { return };
        for home in me.served() {
            links.want(step, home);
            if at == Some(&home.node) {
                me.bundle_is_known(step, links, &home.node);
            } else {
                me.home_is_up(step, links, &home.node);
            }
        }
        for former in me.former_homes().cloned().collect::<Vec<_>>() {
            links.want(step, &former);
            me.former_is_up(step, links, &former.node);
        }
        self.drop_idle_links(step);
        self.look_for_all(step);
    }

    /// The inbox may still be open at a node that was the home before, or was about to be left: it is
    /// opened anew, and all that follows from it is done.
    fn forget_inbox_at_homes(&mut self, step: &mut Step<'_>) {
        let Some(me) = &self.me else { return };
        let inbox = me.inbox_log();
        for home in me.served() {
            for handle in self.links.close_at(step, &home.node, |handle| handle.log == inbox) {
                self.unaccepted.remove(&handle);
            }
        }
    }

    /// The own account has another record: ranks a log anew. Once the next home serves the account,
    /// the log is opened there.
    fn rank_from_here(&mut self, step: &mut Step<'_>, log: &LogId, moves: bool) {
        let (Some(me), Some(conversation)) = (&self.me, self.conversations.get_mut(log)) else {
            return;
        };
        let theirs = contact::load(&step.draft, &conversation.contact).and_then(|c| c.bundle());
        let own = me.own();
        let ranking = match &theirs {
            Some(theirs) => ranking_with(conversation, &me.bundle, theirs),
            None => conversation.ranking.clone(),
        };
        let same_nodes = conversation.ranking.nodes == ranking.nodes
            && conversation.ranking.standbys == ranking.standbys;
        conversation.rank(ranking, own);
        if moves || !same_nodes {
            conversation.tell_all();
        }
        conversation.save(step);
        let others = conversation.untold_addresses();
        if moves || !same_nodes {
            for handle in self.links.close(step, |handle| handle.log == *log) {
                self.unaccepted.remove(&handle);
            }
            self.disarm(Timer::Retry(*log));
            self.refill(step, log, Refill::All);
        }
        for node in &others {
            self.links.want(step, node);
            self.tell(step, &node.node);
        }
    }

    /// Says in every conversation which record counts now. Who is there learns it at once.
    fn tell_contacts(&mut self, step: &mut Step<'_>) {
        let Some(bundle) = self.me.as_ref().map(|me| me.bundle.as_bytes().to_vec()) else { return };
        let logs = self.conversations.values().map(|c| (c.log, c.contact)).collect::<Vec<_>>();
        for (log, account) in logs {
            let contact = contact::load(&step.draft, &account);
            let talks = contact.is_some_and(|contact| {
                contact.state() == ContactState::Established && contact.log() == Some(log)
            });
            if talks {
                let body = ContentBody::Accept { bundle: bundle.clone(), instead_of: None };
                let _ = self.say(step, &log, body);
            }
        }
    }

    /// A home that was left sends on whoever comes: what its inbox has now is all.
    fn former_knows(&mut self, step: &mut Step<'_>, node: &NodeId) {
        let Some(me) = &mut self.me else { return };
        let inbox = me.inbox_log();
        for handle in self.links.close_at(step, node, |handle| handle.log == inbox) {
            self.unaccepted.remove(&handle);
        }
        me.former_knows(step, &mut self.links, node);
        // Now that those who move at the same time can see it here, it is time to look there; again,
        // if this home was out of reach before.
        for conversation in self.conversations.values_mut() {
            conversation.tell_all();
            conversation.save(step);
            for node in &conversation.untold_addresses() {
                self.links.want(step, node);
            }
        }
        for node in self.links.nodes() {
            self.tell(step, &node);
        }
    }

    /// The inbox that was left is open, or something came from it.
    pub(crate) fn former_goes_on(&mut self, step: &mut Step<'_>, node: &NodeId) {
        if self.me.as_ref().is_some_and(|me| me.is_drained(step, node)) {
            self.former_is_done(step, node);
        }
    }

    /// Nothing more is to be had of a home that was left.
    pub(crate) fn former_is_done(&mut self, step: &mut Step<'_>, node: &NodeId) {
        let Some(me) = &mut self.me else { return };
        me.forget_former(step, node);
        self.accept_deliveries(step, node);
        for handle in self.links.close_at(step, node, |h| h.purpose == Purpose::Former) {
            self.unaccepted.remove(&handle);
        }
        // What waited until this home was told need wait no longer.
        for node in self.links.nodes() {
            self.tell(step, &node);
        }
        self.drop_idle_links(step);
    }
}
