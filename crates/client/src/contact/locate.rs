//! Where an account is: the nodes of a link or a ranking may be out of date. Specified in
//! `spec/delivery.md`, section 7.
//!
//! Where a contact has moved its old home knows, or the network.

use std::time::Duration;

use proto::{AccountId, Body, LogGenesis, NodeId};

use super::{ContactEvent, Contacts, Conversations, Local, row};
use crate::{
    ContactState,
    identity::Identity,
    link::{Links, back_off_time},
    step::Step,
    topics::{ContactRequest, ContactTimer, Request, Timer},
};

impl Contacts {
    /// Asks a node for the newest record of an account.
    pub(crate) fn ask_where(
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        account: AccountId,
    ) {
        let asks = |request: &Request| matches!(request, Request::Contact(asked, ContactRequest::GetBundle) if *asked == account);
        if links.is_up(node) && links.pending(node, asks) == 0 {
            let request = Request::Contact(account, ContactRequest::GetBundle);
            links.request(step, node, request, Body::GetBundle(account));
        }
    }

    /// Has the primary home look up the newest record of a contact.
    pub(super) fn locate(
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        account: AccountId,
    ) {
        if let Some(primary) = own.homes.primary() {
            Self::ask_where(step, links, &primary, account);
        }
    }

    /// Looks an account up soon, unless it can be reached.
    pub(crate) fn locate_soon(step: &mut Step<'_>, account: AccountId, tries: u32) {
        step.timers().disarm_all(
            |timer| matches!(timer, Timer::Contact(ContactTimer::Locate(_), of) if *of == account),
        );
        let wait = if tries == 0 { REACH_TIME } else { back_off_time(tries) };
        let timer = Timer::Contact(ContactTimer::Locate(tries), account);
        step.arm(wait, timer);
    }

    /// Looks all up soon that are being added.
    pub(crate) fn locate_all(&self, step: &mut Step<'_>) {
        for account in self.adding.keys() {
            if self.states.get(account) == Some(&ContactState::Adding) {
                Self::locate_soon(step, *account, 0);
            }
        }
    }

    /// Looks an account up if none of its nodes could be reached meanwhile, and again later.
    /// `unannounced` are nodes that have yet to be told of a conversation with it.
    pub(crate) fn on_locate(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        own: Identity<'_>,
        account: AccountId,
        tries: u32,
        unannounced: Vec<NodeId>,
    ) {
        let link = self.adding.get(&account);
        let of_link = link.into_iter().flat_map(|link| &link.nodes).map(|address| address.node);
        let nodes: Vec<NodeId> = of_link.chain(unannounced).collect();
        if nodes.is_empty() || nodes.iter().any(|node| links.is_up(node)) {
            return;
        }
        Self::locate(step, links, own, account);
        Self::locate_soon(step, account, tries.saturating_add(1));
    }

    /// A contact's record is newer than the one that was known: follows them.
    pub(super) fn follow(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        account: &AccountId,
    ) {
        self.events.push(ContactEvent::RecordChanged(*account));
        let Some(mut contact) = row(step.rows(), account) else { return };
        let (Some(mut link), Some(theirs)) = (contact.adding(), contact.bundle()) else { return };
        let home = theirs.homes().first().map(|home| home.node);
        if link.nodes.first().map(|address| address.node) == home {
            return;
        }
        let inbox = LogGenesis::Inbox(*account).id();
        links.close(step, |channel| channel.is_of(&inbox));
        link.nodes = theirs.homes().iter().take(2).cloned().collect();
        contact.link = link.to_string();
        contact.trouble = String::new();
        self.save(step, account, &contact);
        for node in &link.nodes {
            links.want(step, node);
            self.on_node_up(step, links, local, &node.node);
        }
        step.drop_idle_links();
        Self::locate_soon(step, *account, 0);
    }
}

/// For how long a node may be out of reach before others are asked: a handshake around the world,
/// twice.
const REACH_TIME: Duration = Duration::from_secs(2);
