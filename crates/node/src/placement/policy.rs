//! Policy: which homes of an account should hold a log. Decides from what it is given and changes
//! nothing.

use crypto::identity::Bundle;
use proto::{NodeAddress, NodeId, Peer};

use super::peer_of;

/// What should be done about the copies of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing: enough homes hold it, or this node has no say.
    Enough,
    /// To ask this home for a copy.
    Recruit(NodeAddress),
    /// To wait until homes have the entries that they lack.
    Wait,
    /// Nothing: no other home can hold it.
    Stuck,
    /// To drop this node's copy.
    Drop,
}

/// A log, as the policy sees it.
#[derive(Debug)]
pub(crate) struct Copies<'a> {
    /// This node.
    pub(crate) own: NodeId,
    /// The record of the account that is charged for the log.
    pub(crate) bundle: &'a Bundle,
    /// The nodes that hold it.
    pub(crate) holders: &'a [Peer],
}

impl Copies<'_> {
    /// Seeks a home that should hold the log and does not: of the account's homes the first that
    /// may serve, as many as it wants copies. Only a node that is one of them has a say.
    pub(crate) fn fill(&self, may_serve: impl Fn(&Peer) -> bool) -> Wish {
        let may_serve = |home: &&NodeAddress| home.node == self.own || may_serve(&peer_of(home));
        let homes = self.bundle.homes().iter();
        let live: Vec<_> = homes.filter(may_serve).take(self.bundle.copies()).collect();
        if live.iter().all(|home| home.node != self.own) {
            return Wish::Enough;
        }
        let lacks = |home: &&NodeAddress| home.node != self.own && !self.holds(home);
        live.into_iter().find(lacks).cloned().map_or(Wish::Enough, Wish::Recruit)
    }

    /// Seeks enough other homes to hold the log before this node ends. `has_all` says which nodes
    /// are connected and lack nothing.
    pub(crate) fn drain(
        &self,
        may_serve: impl Fn(&Peer) -> bool,
        has_all: impl Fn(&Peer) -> bool,
    ) -> Wish {
        let homes = self.bundle.homes();
        if homes.iter().all(|home| home.node != self.own) {
            // Its account has moved away.
            return Wish::Enough;
        }
        let others = || homes.iter().filter(|home| home.node != self.own);
        let holds = |home: &&NodeAddress| self.holds(home);
        let is_there = |home: &&NodeAddress| may_serve(&peer_of(home));
        let wanted = self.bundle.copies().min(others().count());
        let complete = others().filter(holds).filter(|home| has_all(&peer_of(home)));
        if wanted > 0 && complete.count() >= wanted {
            return Wish::Enough;
        }
        let lacks = others().filter(is_there).find(|home| !holds(home)).cloned();
        let holders_there = others().filter(holds).filter(is_there).count();
        match lacks.filter(|_| holders_there < wanted) {
            Some(candidate) => Wish::Recruit(candidate),
            None if holders_there >= wanted && wanted > 0 => Wish::Wait,
            None => Wish::Stuck,
        }
    }

    /// Returns whether a reserve node should still hold the log. It should not if as many homes
    /// before it as the account wants copies have been connected for long and lack nothing.
    pub(crate) fn release(&self, has_all: impl Fn(&Peer) -> bool) -> Wish {
        let before = self.bundle.homes().iter().take_while(|home| home.node != self.own);
        let complete = before.filter(|home| has_all(&peer_of(home))).count();
        if complete >= self.bundle.copies() { Wish::Drop } else { Wish::Enough }
    }

    fn holds(&self, home: &NodeAddress) -> bool {
        self.holders.contains(&peer_of(home))
    }
}
