//! Migration: other nodes become the account's homes while people go on writing. Specified in
//! `spec/delivery.md`, section 7.
//!
//! ```text
//!  Move ─▶ next record ─▶ PutBundle at the next home ─ accepted ─▶ it counts, in one commit:
//!            every log is ranked again, what may be lost is sent once more, contacts are told
//!       next home: inbox, key packages, invites, logs      others: the ranking is announced
//!       previous home: PutBundle, and the rest of its inbox
//! ```
//!
//! What is left to be done is in rows, so a device that is killed in the middle goes on from there.

use proto::{Code, NodeAddress, NodeId};

use super::{Account, AccountEvent, record};
use crate::{
    link::{ChannelUse, InboxUse, Links},
    log,
    ranking::first_homes,
    step::Step,
};

/// The next home.
impl Account {
    /// The home that has to accept the record before the account moves there.
    pub(super) fn next_home(&self) -> Option<&NodeAddress> {
        self.next.as_ref()?.homes().first()
    }

    pub(super) fn is_next_home(&self, node: &NodeId) -> bool {
        self.next_home().is_some_and(|home| home.node == *node)
    }

    /// There is another record: it counts at once, unless the next home has to accept it first.
    pub(super) fn propose_or_activate(&mut self, step: &mut Step<'_>, links: &mut Links) {
        match self.next_home().filter(|next| !self.is_active_home(&next.node)).cloned() {
            Some(next) => {
                links.want(step, &next);
                self.propose(step, links, &next.node);
            }
            None => self.activate_record(step, links, None),
        }
        step.drop_idle_links();
    }

    /// Resumes whatever a migration has to do at a node that is up.
    pub(super) fn resume_migration(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
    ) {
        if self.is_next_home(node) {
            self.propose(step, links, node);
        } else if self.previous.contains(node) {
            record::put(step, links, node, &self.bundle);
        }
        self.events.push(AccountEvent::Announce(*node));
    }

    /// The next home is up: it has to accept the record.
    pub(super) fn propose(&self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        if let Some(next) = &self.next {
            record::put(step, links, node, next);
        }
    }

    /// Cancels a migration that the next home refused: the account stays where it is.
    pub(super) fn cancel_migration(&mut self, step: &mut Step<'_>, links: &mut Links) {
        // Newer than the record that was refused, which the node may have kept nevertheless.
        let homes = self.bundle.homes().to_vec();
        let pinned: Vec<_> = self.pinned();
        let trouble = self.row.migration_trouble().to_owned();
        if self.propose_homes(step, homes, &pinned).is_err() {
            self.next = None;
        }
        self.row.set_migration_trouble(trouble);
        self.save(step);
        self.activate_record(step, links, None);
    }

    /// Remembers why the next home does not accept the account.
    pub(super) fn set_migration_trouble(&mut self, step: &mut Step<'_>, code: Code) {
        let trouble = if code == Code::Closed {
            "the new home takes no new accounts".to_owned()
        } else if matches!(code, Code::Full | Code::Quota) {
            "the new home is full".to_owned()
        } else {
            format!("the new home refused ({code:?})")
        };
        self.row.set_migration_trouble(trouble);
        self.save(step);
    }

    pub(super) fn pinned(&self) -> Vec<NodeId> {
        self.row.pinned().collect()
    }

    /// The next record counts from now on; `at` is the home that has accepted it already.
    pub(super) fn activate_record(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        at: Option<&NodeId>,
    ) {
        let Some(moves) = self.adopt_record(step) else { return };
        self.events.push(AccountEvent::RecordChanged { moves });
        let active = self.active_homes().to_vec();
        if moves {
            // The inbox may still be open at a node that was a home before, or was about to be
            // left: it is opened again, and all that follows from it is done.
            active.iter().for_each(|home| self.close_inbox(step, links, &home.node));
        }
        for home in &active {
            links.want(step, home);
            if at == Some(&home.node) {
                self.open_inbox(step, links, &home.node, InboxUse::Current);
            } else {
                self.publish(step, links, &home.node);
            }
        }
        for previous in self.previous.addresses() {
            links.want(step, previous);
            record::put(step, links, &previous.node, &self.bundle);
        }
        step.drop_idle_links();
    }

    /// Makes the next record the one that counts. Returns whether another home is active by it,
    /// which then is given what the others have.
    fn adopt_record(&mut self, step: &mut Step<'_>) -> Option<bool> {
        let next = self.next.take()?;
        let before: Vec<_> = self.active.iter().chain(first_homes(&self.bundle)).cloned().collect();
        let is_in = |homes: &[NodeAddress], home: &NodeAddress| {
            homes.iter().any(|other| other.node == home.node)
        };
        self.row.set_bundle(&next);
        self.bundle = next;
        self.choose_active();
        let after = self.active.clone();
        let moves = after.iter().any(|home| !is_in(&before, home));
        // Homes that were to be told of an older record are told of this one.
        self.previous.on_record();
        for home in before.iter().filter(|home| !is_in(&after, home)) {
            self.previous.add(home.clone(), step.now().as_secs());
        }
        after.iter().for_each(|home| self.previous.remove(&home.node));
        self.save(step);
        Some(moves)
    }
}

/// Previous homes.
impl Account {
    /// Returns whether a home that was left, and that is up, has yet to be told. A device that
    /// moves says so there before it looks where others are: of two that move at the same time at
    /// least one then sees it.
    pub(crate) fn has_to_inform_previous(&self, links: &Links) -> bool {
        self.previous.has_uninformed(|node| links.is_up(node))
    }

    /// A home that was left knows the newer record, and lets no device in any more: what its inbox
    /// has now is all.
    pub(super) fn on_previous_informed(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
    ) {
        self.close_inbox(step, links, node);
        if self.previous.on_informed(node) {
            self.open_inbox(step, links, node, InboxUse::Previous);
        }
        self.events.push(AccountEvent::PreviousInformed);
    }

    /// The inbox that was left is open, or something came from it.
    pub(super) fn on_previous_progress(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
    ) {
        let here = log::cursor(step.rows(), node, &self.inbox_log()).sequence;
        if self.previous.ends_at(node, here) {
            self.on_previous_done(step, links, node);
        }
    }

    /// Nothing more is expected of a home that was left.
    pub(super) fn on_previous_done(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
    ) {
        self.previous.remove(node);
        self.save(step);
        links.acknowledge(step, node);
        links.close_at(step, node, |channel| channel.is_for(ChannelUse::Inbox(InboxUse::Previous)));
        // What waited until this home was told need wait no longer.
        self.events.push(AccountEvent::PreviousDone);
        step.drop_idle_links();
    }

    pub(crate) fn forget_old_homes(&mut self, step: &mut Step<'_>) {
        if self.previous.forget_old(step.now().as_secs()) {
            self.save(step);
        }
    }
}
