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
    /// Delivers, and takes what is sent.
    pub(crate) primary: Option<NodeId>,
    /// Announces what it holds, and is failed over to.
    pub(crate) secondary: Option<NodeId>,
}

impl ActiveHomes {
    /// Returns whether a node is one of them.
    pub(crate) fn contains(&self, node: &NodeId) -> bool {
        [self.primary, self.secondary].contains(&Some(*node))
    }
}
