//! Asking an account: the steps of an outgoing request, each of which says what is waited for.

use std::time::Duration;

use crypto::{
    group::{Allowed, Cgka, Mls},
    identity::seal_request,
    sign_envelope,
};
use prost::Message;
use proto::{
    AccountId, Body, Code, Entry, Envelope, Expiry, Extension, Head, Instant, Kind, LogGenesis,
    NodeId, limits, wire,
};
use rand_core::Rng;

use super::{
    At, CONTACTS, ContactEvent, ContactRow, Contacts, Conversations, Local, NewConversation, row,
};
use crate::{
    CommandError, ContactState, InviteLink,
    identity::Identity,
    link::{ChannelUse, Links, OpenLog},
    ranking::ranking,
    step::{Misbehaviour, Step},
    topics::{AccountTimer, ContactRequest, PendingTask, Request, Timer},
};

/// The user asks.
impl Contacts {
    /// Starts to ask the account behind a link. Returns whether it has asked us already, so that
    /// its request can be accepted instead.
    pub(crate) fn add(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        link: &InviteLink,
        name: String,
    ) -> Result<bool, CommandError> {
        if link.account == local.own.account {
            return Err(CommandError::Yourself);
        }
        if name.len() > limits::NAME_MAX {
            return Err(CommandError::TooLong(limits::NAME_MAX));
        }
        let mut contact = row(step.rows(), &link.account).unwrap_or_default();
        match contact.state() {
            ContactState::Established => return Ok(false),
            ContactState::Asking => return Ok(true),
            ContactState::None if self.states.len() >= self.limits.contacts => {
                return Err(CommandError::TooMany(self.limits.contacts));
            }
            ContactState::None | ContactState::Adding | ContactState::Requested => {}
        }
        if contact.log().is_none() && !local.conversations.has_room() {
            return Err(CommandError::TooMany(self.limits.conversations));
        }
        contact.set_state(ContactState::Adding);
        contact.link = link.to_string();
        contact.answered = Vec::new();
        contact.trouble = String::new();
        contact.since_s = step.now().as_secs();
        if contact.name.is_empty() {
            contact.name = name;
        }
        self.save(step, &link.account, &contact);
        for node in &link.nodes {
            links.want(step, node);
            self.on_node_up(step, links, local, &node.node);
        }
        Self::locate_soon(step, link.account, 0);
        Ok(false)
    }
}

/// ExpectRecord: an inbox that an invite opens, and the bundle of whose it is.
impl Contacts {
    /// A node is up: opens the inboxes there of those who gave an invite.
    pub(crate) fn on_node_up(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        node: &NodeId,
    ) {
        for link in self.links_at(node) {
            self.open_inbox(step, links, local, node, &link);
        }
    }

    /// A node is gone: who was being added through it is added through another one.
    pub(crate) fn on_node_gone(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        node: &NodeId,
    ) {
        for link in self.links_at(node) {
            for other in link.nodes.iter().filter(|address| address.node != *node) {
                self.open_inbox(step, links, local, &other.node, &link);
            }
        }
    }

    /// The links of those who are being added through a node.
    fn links_at(&self, node: &NodeId) -> Vec<InviteLink> {
        let is_at = |link: &&InviteLink| link.nodes.iter().any(|address| address.node == *node);
        self.adding.values().filter(is_at).cloned().collect()
    }

    /// Adding a contact is tried again at a node.
    pub(crate) fn retry(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        at: At<'_>,
    ) {
        let link = self.adding.get(at.account).filter(|_| links.is_up(at.node));
        if let Some(link) = link.cloned() {
            self.open_inbox(step, links, local, at.node, &link);
        }
    }

    /// Opens the inbox of someone who gave an invite, or continues with it if it is open.
    fn open_inbox(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        node: &NodeId,
        link: &InviteLink,
    ) {
        if invited(links, node, link).is_some() {
            let at = At { node, account: &link.account };
            return self.on_inbox_opened(step, links, local, at);
        }
        let log = LogGenesis::Inbox(link.account).id();
        let used_for = ChannelUse::Invited(link.account);
        links.open(step, node, OpenLog::to_write(log, &link.key(), used_for));
    }

    /// The inbox of someone who gave an invite is open: asks who they are, or asks them at once.
    pub(crate) fn on_inbox_opened(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        at: At<'_>,
    ) {
        let At { node, account } = at;
        let Some(contact) = row(step.rows(), account) else { return };
        let Some(link) = contact.adding() else { return };
        // One home is enough, and each would hand out key packages.
        if is_asked(links, step.now(), &link) {
            return retry_later(step, node, account);
        }
        if contact.request.is_some() {
            self.deliver(step, links, local, account);
        } else {
            let request = Request::Contact(*account, ContactRequest::GetBundle);
            links.request(step, node, request, Body::GetBundle(*account));
        }
    }

    /// A node has said what it knows of an account.
    pub(super) fn on_bundle(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        at: At<'_>,
        bytes: &[u8],
    ) {
        let At { node, account } = at;
        let Some(before) = row(step.rows(), account) else { return };
        let mut contact = before.clone();
        if !contact.pin(account, bytes) {
            step.count_dropped();
            step.report(node, Misbehaviour::Invalid);
            return self.on_failed(step, links, local, at, Code::Invalid);
        }
        if contact != before {
            self.save(step, account, &contact);
            self.follow(step, links, local, account);
        }
        self.events.push(ContactEvent::RecordReceived(*node, *account));
        let Some(contact) = row(step.rows(), account) else { return };
        let Some(link) = contact.adding() else { return };
        if contact.request.is_some() {
            return self.deliver(step, links, local, account);
        }
        if let Some(channel) = invited(links, node, &link) {
            let request = Request::Contact(*account, ContactRequest::TakeKeyPackages);
            links.request(step, node, request, Body::TakeKeyPackages { channel });
        }
    }
}

/// ExpectKeyPackages, ExpectLog, ExpectAnswer.
impl Contacts {
    /// A node answers a request. Returns false if that is no answer to it.
    pub(crate) fn on_answer(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        at: At<'_>,
        request: ContactRequest,
        answer: Body,
    ) -> bool {
        match (request, answer) {
            (ContactRequest::GetBundle, Body::BundleIs(bundle)) => {
                self.on_bundle(step, links, local, at, &bundle);
            }
            (ContactRequest::TakeKeyPackages, Body::KeyPackages { packages, .. }) => {
                self.on_key_packages(step, links, local, at, &packages);
            }
            (ContactRequest::Deliver, Body::Accepted { .. }) => {
                self.on_delivered(step, links, local, at);
            }
            _ => return false,
        }
        true
    }

    /// The contact's devices can be welcomed: makes the group, whose log is to be opened first.
    fn on_key_packages(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        at: At<'_>,
        packages: &[Vec<u8>],
    ) {
        let account = at.account;
        let Some(mut contact) = row(step.rows(), account) else { return };
        let (Some(link), Some(theirs), None) =
            (contact.adding(), contact.bundle(), &contact.request)
        else {
            return;
        };
        if !local.conversations.has_room() {
            contact.trouble = "there are as many conversations as are allowed".into();
            return self.save(step, account, &contact);
        }
        let allowed = Allowed::new([local.own.bundle, &theirs]);
        let created =
            Mls.create(local.own.device, &local.own.account, packages, &allowed, step.rng());
        let Ok(created) = created else {
            return self.on_failed(step, links, local, at, Code::Invalid);
        };
        let mut salt = [0; 16];
        step.rng().fill_bytes(&mut salt);
        let write_key = created.out.epoch.write_key().public();
        let genesis = LogGenesis::Conversation { write_key, salt };
        let ranking = ranking(local.own.bundle, &theirs);
        contact.request = Some(wire::ContactRequest {
            recipient: account.0.to_vec(),
            bundle: local.own.bundle.as_bytes().to_vec(),
            log_genesis: genesis.encode(),
            ranking: ranking.nodes.iter().map(Into::into).collect(),
            welcome: created.welcome,
            invite: link.key().public().0.to_vec(),
            name: local.own.name.to_owned(),
        });
        contact.log = genesis.id().0.to_vec();
        contact.sealed = Vec::new();
        self.save(step, account, &contact);
        self.events.push(ContactEvent::Create(Box::new(NewConversation {
            genesis,
            contact: *account,
            ranking,
            created: true,
            out: created.out,
            snapshot: created.snapshot.to_vec(),
        })));
    }

    /// Puts our request into their inbox, once the conversation exists and the inbox is open.
    pub(crate) fn deliver(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        account: &AccountId,
    ) {
        let Some(mut contact) = row(step.rows(), account) else { return };
        let (Some(link), Some(log)) = (contact.adding(), contact.log()) else { return };
        if !local.conversations.exists(&log) {
            return;
        }
        let mut lacking = link.nodes.iter().filter(|address| !contact.has_answered(&address.node));
        let open =
            lacking.find_map(|address| Some((address.node, invited(links, &address.node, &link)?)));
        let Some((node, channel)) = open else { return };
        if is_asked(links, step.now(), &link) {
            return retry_later(step, &node, account);
        }
        let key = link.key().public();
        let sealed = Envelope::decode(&contact.sealed).ok().filter(|e| e.head.write_key == key);
        let Some(envelope) = sealed.or_else(|| seal(step, local.own, &contact, &link)) else {
            return;
        };
        contact.sealed = envelope.encode();
        step.put(CONTACTS, account.0, contact.encode_to_vec());
        let entry = Entry::from_envelope(&envelope, 0, key);
        let body = Body::Append { channel, entry, signature: envelope.signature };
        links.request(step, &node, Request::Contact(*account, ContactRequest::Deliver), body);
    }

    /// A node has stored our request in an inbox.
    fn on_delivered(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        at: At<'_>,
    ) {
        let At { node, account } = at;
        let Some(mut contact) = row(step.rows(), account) else { return };
        if contact.adding().is_none() {
            return;
        }
        links.task_done(node, PendingTask::Add(*account));
        contact.set_state(ContactState::Requested);
        contact.trouble = String::new();
        self.on_answered(step, links, local, at, contact);
    }

    /// A home of a contact has our request, or will get it from another one. Each of them is given
    /// it, if it can be reached: one may forget what it has stored.
    pub(super) fn on_answered(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        local: Local<'_, impl Conversations>,
        at: At<'_>,
        mut contact: ContactRow,
    ) {
        let At { node, account } = at;
        contact.answered.push(node.0.to_vec());
        let link = contact.adding();
        let is_done = link.is_none_or(|link| {
            link.nodes.iter().all(|address| contact.has_answered(&address.node))
        });
        if is_done {
            contact.link = String::new();
            contact.sealed = Vec::new();
            contact.answered = Vec::new();
        }
        self.save(step, account, &contact);
        if is_done {
            let invited = ChannelUse::Invited(*account);
            links.close(step, |channel| channel.is_for(invited));
            step.drop_idle_links();
        } else {
            self.deliver(step, links, local, account);
        }
    }
}

/// Asks a node again once another one has had time to answer.
fn retry_later(step: &mut Step<'_>, node: &NodeId, account: &AccountId) {
    let timer = AccountTimer::Retry(*node, PendingTask::Add(*account));
    step.arm(ANSWER_TIME, Timer::Account(timer));
}

/// Finds the channel that an invite opened.
fn invited(links: &Links, node: &NodeId, link: &InviteLink) -> Option<u32> {
    let (log, key) = (LogGenesis::Inbox(link.account).id(), link.key().public());
    links.find(node, |channel| channel.writes(&log, &key))
}

/// Returns whether a node of a link was asked something about its account within the last seconds,
/// and may still answer.
fn is_asked(links: &Links, now: Instant, link: &InviteLink) -> bool {
    let about = |request: &Request| matches!(request, Request::Contact(account, _) if *account == link.account);
    link.nodes.iter().any(|address| {
        let asked = links.requested_at(&address.node, about);
        asked.is_some_and(|at| now < at.after(ANSWER_TIME))
    })
}

/// Seals our request to the contact's inbox.
fn seal(
    step: &mut Step<'_>,
    own: Identity<'_>,
    contact: &ContactRow,
    link: &InviteLink,
) -> Option<Envelope> {
    let request = contact.request.as_ref()?;
    let key = link.key();
    // The invite that it comes with now, should a second one be used.
    let request = &wire::ContactRequest { invite: key.public().0.to_vec(), ..request.clone() };
    let head = Head {
        kind: Kind::Entry,
        expiry: Expiry::Month,
        position: INBOX_POSITION,
        log: LogGenesis::Inbox(link.account).id(),
        write_key: key.public(),
        extension: Extension::default(),
    };
    let aad = head.encode();
    let theirs = contact.bundle()?;
    let ciphertext = seal_request(&theirs, &aad, request, own.device, step.rng()).ok()?;
    Some(sign_envelope(&key, head, ciphertext))
}

/// How long a node is given to answer before another home of the same account is asked.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Entries of an inbox depend on nothing.
const INBOX_POSITION: u64 = 1;
