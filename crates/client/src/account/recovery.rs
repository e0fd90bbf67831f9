//! Recovery: an account is brought back from its phrase on an empty machine.

use crypto::identity::{Authority, Bundle, Phrase};
use proto::{AccountId, Body, Code, NodeAddress, NodeId};

use super::{Account, NewDevice, record::check_new};
use crate::{
    CommandError,
    link::{Links, is_transient},
    step::Step,
    topics::{AccountRequest, PendingTask, Request},
};

/// An account that is being brought back: its bundle is being asked for.
pub(crate) struct Recovery {
    ticket: u64,
    phrase: Phrase,
    name: String,
    homes: Vec<NodeAddress>,
}

impl Recovery {
    /// Asks these homes for the account of a phrase.
    pub(crate) fn begin(
        step: &mut Step<'_>,
        links: &mut Links,
        ticket: u64,
        phrase: Phrase,
        name: String,
        homes: Vec<NodeAddress>,
    ) -> Result<Self, CommandError> {
        check_new(&name, &homes)?;
        let recovery = Self { ticket, phrase, name, homes };
        for home in &recovery.homes {
            links.want(step, home);
            recovery.ask(step, links, &home.node);
        }
        Ok(recovery)
    }

    pub(crate) fn ticket(&self) -> u64 {
        self.ticket
    }

    pub(crate) fn needed_nodes(&self) -> impl Iterator<Item = &NodeAddress> {
        self.homes.iter()
    }

    /// Asks a node for the account, if it is up.
    pub(crate) fn ask(&self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        if links.is_up(node) {
            let request = Request::Account(AccountRequest::GetOwnBundle);
            links.request(step, node, request, Body::GetBundle(self.account()));
        }
    }

    fn account(&self) -> AccountId {
        self.phrase.account()
    }

    /// A node does not hand out the bundle. Returns whether it is asked again.
    pub(crate) fn on_refused(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        code: Code,
    ) -> bool {
        if is_transient(code) {
            links.back_off(step, node, PendingTask::Recover, PendingTask::Recover);
        }
        is_transient(code)
    }

    /// The account's newest bundle is here: delegates again, which locks out every device it had.
    pub(crate) fn finish(
        self,
        step: &mut Step<'_>,
        links: &mut Links,
        bundle: &[u8],
    ) -> Result<Account, CommandError> {
        let old = Bundle::verify(bundle)
            .ok()
            .filter(|bundle| bundle.account() == self.account())
            .ok_or(CommandError::UnknownAccount)?;
        let authority = Authority::delegate(&self.phrase, Some(&old), step.rng())
            .map_err(|_| CommandError::UnknownAccount)?;
        let next = old.next_record();
        let (version, copies) = (next.version, next.copies);
        let new = NewDevice { version, copies, name: self.name, homes: self.homes };
        let account = Account::create_device(step, &authority, new)?;
        // Another of its homes may have answered than the one that serves it.
        account.publish_everywhere(step, links);
        step.drop_idle_links();
        Ok(account)
    }
}
