//! Placement: which nodes hold a log, and which of them have to be told. Specified in
//! `spec/delivery.md`, sections 2 and 7.

use std::collections::BTreeSet;

use crypto::identity::Bundle;
use proto::{Code, NodeAddress, NodeId, Ranking};

use super::{
    Log, WriteKeys,
    outbox::{self, Refill},
};
use crate::{
    identity::ActiveHomes,
    link::{ChannelUse, Links, LogUse, OpenLog, is_transient},
    ranking::ranking,
    step::Step,
    topics::{ConversationTimer, PendingTask},
};

impl Log {
    /// The nodes that hold the log, and its reserve nodes.
    pub(super) fn named(&self) -> impl Iterator<Item = &NodeAddress> {
        self.state.ranking.nodes.iter().chain(&self.state.ranking.reserve)
    }

    /// Returns whether a node may hold the log.
    pub(super) fn may_hold(&self, node: &NodeId) -> bool {
        self.named().any(|named| named.node == *node)
    }

    /// Returns the ranking, if the node has to know it: there are others that hold the log, or
    /// were.
    pub(super) fn ranking_to_announce(&self) -> Option<&Ranking> {
        let at_home = self.named().any(|node| self.homes.contains(&node.node));
        let is_shared = self.named().count() > 1 || self.state.shared;
        (at_home && is_shared).then_some(&self.state.ranking)
    }

    /// Returns the ranking that follows from the records of both members.
    fn ranking_of(&self, ours: &Bundle, theirs: &Bundle) -> Ranking {
        if self.state.created { ranking(ours, theirs) } else { ranking(theirs, ours) }
    }

    fn rank(&mut self, ranking: Ranking) {
        self.state.shared |= self.named().count() > 1;
        self.state.ranking = ranking;
        let nodes = self.state.ranking.nodes.iter().map(|named| named.node);
        let nodes: BTreeSet<NodeId> = nodes.collect();
        self.state.unannounced.retain(|node| nodes.contains(node));
        self.changed = true;
    }

    /// A contact has a newer record. Returns whether the log is ranked differently by it; then it
    /// is closed, and is to be opened where it is now.
    pub(crate) fn on_contact_record(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        ours: &Bundle,
        theirs: &Bundle,
    ) -> bool {
        let ranking = self.ranking_of(ours, theirs);
        if self.state.ranking == ranking || self.state.ranking.version > ranking.version {
            return false;
        }
        // A node that has yet to learn of this account's home may name an old one to theirs.
        let is_known = self.state.unannounced.is_empty();
        self.rank(ranking);
        if !is_known {
            self.announce_to_all();
        }
        links.close(step, |channel| channel.is_of(&self.id));
        true
    }

    /// The own account has another record, and perhaps `moves` to other homes by it: then
    /// everything that may be lost is sent again once the log is open there.
    pub(crate) fn on_own_record(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        ours: &Bundle,
        theirs: Option<&Bundle>,
        moves: bool,
    ) {
        let before = &self.state.ranking;
        let ranking = theirs.map_or_else(|| before.clone(), |theirs| self.ranking_of(ours, theirs));
        let is_same = before.nodes == ranking.nodes && before.reserve == ranking.reserve;
        self.rank(ranking);
        if moves || !is_same {
            self.announce_to_all();
            links.close(step, |channel| channel.is_of(&self.id));
            self.disarm(step, ConversationTimer::Retry);
            self.refill(step, Refill::All);
        }
    }

    /// Other homes are active, or the same in other roles.
    pub(crate) fn set_homes(&mut self, homes: ActiveHomes) {
        self.homes = homes;
    }

    /// The device talks with another primary home: the log is opened there.
    pub(crate) fn fail_over(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        keys: &impl WriteKeys,
    ) {
        self.forget_tries();
        self.disarm(step, ConversationTimer::Retry);
        self.open(step, links, keys);
    }

    /// All nodes of the ranking but the own homes have to be told of it. If there are none, the
    /// contact should be at home there too, which that node knows.
    pub(crate) fn announce_to_all(&mut self) {
        let others = self.state.ranking.nodes.iter().map(|address| address.node);
        self.state.unannounced = others.filter(|node| !self.homes.contains(node)).collect();
        if self.state.unannounced.is_empty() {
            self.state.unannounced.extend(self.homes.primary());
        }
        self.changed = true;
    }

    /// Nodes that have yet to be told of the ranking.
    pub(crate) fn unannounced(&self) -> &BTreeSet<NodeId> {
        &self.state.unannounced
    }

    /// Where the nodes are that have yet to be told of the ranking.
    pub(crate) fn unannounced_addresses(&self) -> impl Iterator<Item = &NodeAddress> {
        let nodes = self.state.ranking.nodes.iter();
        nodes.filter(|address| self.state.unannounced.contains(&address.node))
    }

    /// Announces the ranking to a node, with the write key so many epochs back. It counts if the
    /// node takes that one for open, as it does the newest one that it knows.
    pub(crate) fn announce(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        keys: &impl WriteKeys,
        node: &NodeId,
        back: usize,
    ) {
        if links.has(node, |channel| channel.announces(&self.id)) {
            return;
        }
        let keys = keys.published(&outbox::announced_keys(step.rows(), &self.id));
        let Some(key) = keys.get(back) else {
            return links.back_off(step, node, PendingTask::Announce, PendingTask::Announce);
        };
        let ranking = Some(self.state.ranking.clone());
        let opening = OpenLog::to_write(self.id, key, ChannelUse::Log(LogUse::Announce(back)));
        links.open(step, node, opening.announcing(ranking));
    }

    /// A node knows the ranking now, or finally won't take it.
    pub(crate) fn on_announced_ranking(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
    ) {
        links.close_at(step, node, |channel| channel.announces(&self.id));
        self.changed |= self.state.unannounced.remove(node);
        step.drop_idle_links();
    }

    /// A node did not open the log to be told of its ranking.
    pub(crate) fn on_announce_refused(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        keys: &impl WriteKeys,
        node: &NodeId,
        back: usize,
        code: Code,
    ) {
        if code == Code::Forbidden {
            self.announce(step, links, keys, node, back.saturating_add(1));
        } else if code == Code::NotFound || is_transient(code) {
            // It may have no copy because the contact has yet to accept.
            links.back_off(step, node, PendingTask::Announce, PendingTask::Announce);
        } else {
            self.on_announced_ranking(step, links, node);
        }
    }

    /// A node that is an own home has said where the contact is: it is told rankings when logs are
    /// opened.
    pub(crate) fn on_record_received(&mut self, node: &NodeId) {
        self.changed |= self.state.unannounced.remove(node);
    }

    /// The contact knows the newest record of this account, and tells its own home.
    pub(crate) fn on_known_to_contact(&mut self, step: &mut Step<'_>) {
        if !self.state.unannounced.is_empty() {
            self.state.unannounced.clear();
            self.changed = true;
            step.drop_idle_links();
        }
    }
}
