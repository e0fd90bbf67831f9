//! Refusals while a contact is being added: reports the reason to the user, retries transient
//! refusals, and locates a contact that has moved.

use proto::{AccountId, Code, LogGenesis, NodeAddress, NodeId};

use super::{At, ContactEvent, Contacts, Conversations, Local, row};
use crate::{
    ContactState,
    link::{Channel, ChannelUse, Links, is_transient},
    step::Step,
    topics::{ContactRequest, PendingTask},
};

/// A node's refusal of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused<'a> {
    pub(crate) code: Code,
    /// With [`Code::Stale`] a newer bundle.
    pub(crate) newer: &'a [u8],
}

impl Contacts {
    pub(crate) fn on_refused(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        at: At<'_>,
        request: ContactRequest,
        refused: Refused<'_>,
    ) {
        match request {
            ContactRequest::GetBundle => {
                self.events.push(ContactEvent::RecordReceived(*at.node, *at.account));
                self.on_failed(step, links, local, at, refused.code);
            }
            ContactRequest::TakeKeyPackages | ContactRequest::Deliver => {
                self.on_inbox_refused(step, links, local, at, refused);
            }
        }
    }

    /// A node would not open the inbox of a contact that is being added, or not do there what it
    /// takes. It may have been their home and know where they went; else the network may.
    pub(crate) fn on_inbox_refused(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        at: At<'_>,
        Refused { code, newer }: Refused<'_>,
    ) {
        let At { node, account } = at;
        if code == Code::Stale {
            self.on_bundle(step, links, local, at, newer);
            let link = self.adding.get(account);
            if link.is_none_or(|link| link.nodes.iter().all(|address| address.node != *node)) {
                return;
            }
        }
        self.on_failed(step, links, local, at, code);
        let knows_no_better = local.own.homes.contains(node);
        if matches!(code, Code::NotFound | Code::Forbidden) && !knows_no_better {
            Self::locate(step, links, local.own, *account);
        }
    }

    /// Adding can't go on for now; the user is told why. What is refused for now is tried again.
    pub(super) fn on_failed(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        at: At<'_>,
        code: Code,
    ) {
        let At { node, account } = at;
        let Some(mut contact) = row(step.rows(), account) else { return };
        let Some(link) = contact.adding() else { return };
        // An invite may come to one of two homes later than to the other.
        let may_come = matches!(code, Code::Forbidden | Code::NotFound)
            && link.nodes.len() > 1
            && links.refusals_of(node, PendingTask::Add(*account)) < WAITS_FOR_INVITE;
        let passes = may_come || is_transient(code);
        if passes {
            back_off(step, links, node, account, code);
        }
        if contact.state() == ContactState::Requested {
            // Another home has the request and should hand it over to this one, but may lie.
            if !passes {
                self.on_answered(step, links, local, at, contact);
            }
            return;
        }
        contact.trouble = trouble(code);
        self.save(step, account, &contact);
        if is_transient(code) {
            return;
        }
        // Another home that is open goes on, and this one only once it is opened again.
        let invited = |channel: &Channel| channel.is_for(ChannelUse::Invited(*account));
        links.close_at(step, node, invited);
        for NodeAddress { node, .. } in &link.nodes {
            if links.find(node, invited).is_some() {
                self.on_inbox_opened(step, links, local, At { node, account });
            }
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "other codes are shown as they are")]
fn trouble(code: Code) -> String {
    match code {
        Code::Forbidden => "the invite was used up, taken back or has expired".into(),
        Code::NotFound => "their node does not know the account".into(),
        Code::Full | Code::Quota => "their inbox is full".into(),
        Code::Invalid => "what their node has of them is not valid".into(),
        refused => format!("their node refused ({refused:?})"),
    }
}

/// Tries to add a contact again after a pause. A node that does not know the channel any more is
/// asked to open the inbox again.
fn back_off(
    step: &mut Step<'_>,
    links: &mut Links,
    node: &NodeId,
    account: &AccountId,
    code: Code,
) {
    let task = PendingTask::Add(*account);
    links.back_off(step, node, task, task);
    if code == Code::Unexpected {
        let inbox = LogGenesis::Inbox(*account).id();
        links.close_at(step, node, |channel| channel.is_of(&inbox));
    }
}

/// How often an invite that a home does not know is tried again there: within five minutes or so
/// its maker has told all homes that can be reached.
const WAITS_FOR_INVITE: u32 = 6;
