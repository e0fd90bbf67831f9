//! The own account as the modules below it see it.

use crypto::{
    SigningKey,
    identity::{Bundle, InboxKey},
};
use proto::{AccountId, NodeId};

/// What contacts and conversations have to know of the own account.
#[derive(Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) account: AccountId,
    pub(crate) device: &'a SigningKey,
    pub(crate) inbox: &'a InboxKey,
    pub(crate) bundle: &'a Bundle,
    pub(crate) name: &'a str,
    pub(crate) homes: ActiveHomes,
}

/// The two homes that this device talks with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ActiveHomes {
    primary: Option<NodeId>,
    secondary: Option<NodeId>,
}

impl ActiveHomes {
    pub(crate) fn new(primary: Option<NodeId>, secondary: Option<NodeId>) -> Self {
        Self { primary, secondary }
    }

    /// The one that delivers, and takes what is sent.
    pub(crate) fn primary(&self) -> Option<NodeId> {
        self.primary
    }

    /// The one that announces what it holds, and is failed over to.
    pub(crate) fn secondary(&self) -> Option<NodeId> {
        self.secondary
    }

    pub(crate) fn contains(&self, node: &NodeId) -> bool {
        [self.primary, self.secondary].contains(&Some(*node))
    }
}
