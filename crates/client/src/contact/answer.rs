//! Being asked: requests in the own inbox, accepting them, and what a contact then says of itself.

use crypto::{
    group::{Allowed, Cgka, Mls},
    identity::{Bundle, open_request},
};
use proto::{AccountId, Envelope, LogGenesis, LogId, NodeAddress, wire};
use zeroize::Zeroizing;

use super::{
    ContactEvent, ContactRow, Contacts, Conversations, Local, NewConversation, dismiss,
    is_dismissed, row,
};
use crate::{CommandError, ContactState, identity::Identity, ranking::ranking, step::Step};

impl Contacts {
    /// A stranger put something into our inbox.
    pub(crate) fn on_request(
        &mut self,
        step: &mut Step<'_>,
        local: Local<'_, impl Conversations>,
        envelope: &Envelope,
    ) {
        let aad = envelope.head.encode();
        let opened = open_request(local.own.inbox, &aad, &envelope.ciphertext, &local.own.account);
        let Ok(opened) = opened else { return step.count_dropped() };
        let account = opened.bundle.account();
        let Ok(genesis) = LogGenesis::decode(&opened.request.log_genesis) else {
            return step.count_dropped();
        };
        let log = genesis.id();
        let is_known = local.conversations.contains(&log) || is_dismissed(step.rows(), &log);
        if account == local.own.account || is_known {
            return;
        }
        let known = row(step.rows(), &account);
        if known.is_none() && !self.has_room_for_a_request() {
            return step.count_dropped();
        }
        let mut contact = known.unwrap_or_default();
        contact.pin(&account, opened.bundle.as_bytes());
        let before = contact.state();
        if matches!(before, ContactState::Adding | ContactState::Requested) {
            return self.on_crossed(step, &account, contact, opened.request);
        }
        if before != ContactState::Established && contact.name.is_empty() {
            contact.name.clone_from(&opened.request.name);
        }
        if contact.asked_for() != Some(log) {
            self.events.push(ContactEvent::InviteUsed(envelope.head.write_key));
        }
        if let Some(log) = contact.asked_for().filter(|asked| *asked != log) {
            dismiss(step, &log);
        }
        contact.since_s = step.now().as_secs();
        contact.set_state(ContactState::Asking);
        contact.request = Some(opened.request);
        self.save(step, &account, &contact);
        self.events.push(ContactEvent::RecordChanged(account));
    }

    /// Both asked each other, so both want to: of the two conversations the one with the lower log
    /// id stays, and its other member joins. A request that never left may have no way to
    /// them, and is not waited for.
    fn on_crossed(
        &mut self,
        step: &mut Step<'_>,
        account: &AccountId,
        mut contact: ContactRow,
        theirs: wire::ContactRequest,
    ) {
        let their_log = LogGenesis::decode(&theirs.log_genesis).map(|genesis| genesis.id());
        let has_left = contact.state() == ContactState::Requested || !contact.sealed.is_empty();
        let ours = contact.log().filter(|_| has_left);
        let ours_stays = ours.is_some_and(|ours| their_log.is_ok_and(|theirs| ours < theirs));
        if ours_stays {
            if let Ok(log) = their_log {
                dismiss(step, &log);
            }
            return self.save(step, account, &contact);
        }
        contact.set_state(ContactState::Asking);
        contact.request = Some(theirs);
        self.save(step, account, &contact);
        // If their Welcome is not for us the request stays, and the user is asked.
        self.events.push(ContactEvent::Crossed(*account));
    }

    /// Accepts a contact's request: the conversation that it asked for is joined. `packages` are
    /// the secrets of the own key packages; returns which of them the contact has used.
    pub(crate) fn accept(
        &mut self,
        step: &mut Step<'_>,
        local: Local<'_, impl Conversations>,
        packages: &[Zeroizing<Vec<u8>>],
        account: &AccountId,
    ) -> Result<usize, CommandError> {
        let mut contact = row(step.rows(), account).ok_or(CommandError::NoContact)?;
        let (ContactState::Asking, Some(request)) = (contact.state(), contact.request.take())
        else {
            return Err(CommandError::NoRequest);
        };
        let theirs = contact.bundle().ok_or(CommandError::NoRequest)?;
        let replaced = contact.log();
        if replaced.is_none() && !local.conversations.has_room() {
            return Err(CommandError::TooMany(self.limits.conversations));
        }
        let told = told_nodes(&request).ok_or(CommandError::BadRequest("it names no node"))?;
        let (new, used_package) = join(step, local, packages, *account, &theirs, &request)?;
        contact.establish(new.genesis.id());
        self.save(step, account, &contact);
        if let Some(replaced) = replaced {
            dismiss(step, &replaced);
        }
        self.events.push(ContactEvent::Join { new: Box::new(new), replaced, told });
        Ok(used_package)
    }

    /// A contact has said which record of this account it has, by its hash.
    pub(crate) fn on_bundle_seen(
        &mut self,
        step: &mut Step<'_>,
        own: Identity<'_>,
        log: &LogId,
        author: &AccountId,
        seen: [u8; 32],
    ) {
        let Some(mut contact) = row(step.rows(), author) else { return };
        contact.sees_other_bundle = seen != own.bundle.hash();
        self.save(step, author, &contact);
        if !contact.sees_other_bundle {
            self.events.push(ContactEvent::KnownToContact(*log));
        }
    }

    /// A contact has accepted in a conversation, perhaps in place of another one; said again, it
    /// tells that they have moved.
    pub(crate) fn on_accepted(
        &mut self,
        step: &mut Step<'_>,
        local: Local<'_, impl Conversations>,
        log: &LogId,
        author: &AccountId,
        bundle: &[u8],
        instead_of: Option<LogId>,
    ) {
        let Some(mut contact) = row(step.rows(), author) else { return };
        if contact.state() == ContactState::Established && contact.log() == Some(*log) {
            if !contact.pin(author, bundle) {
                return step.count_dropped();
            }
            self.save(step, author, &contact);
            return self.events.push(ContactEvent::RecordChanged(*author));
        }
        // Their own request may still be on its way.
        if let Some(other) = instead_of.filter(|other| !local.conversations.contains(other)) {
            dismiss(step, &other);
        }
        contact.pin(author, bundle);
        contact.establish(*log);
        self.save(step, author, &contact);
        self.events.push(ContactEvent::RecordChanged(*author));
        self.events.push(ContactEvent::Established(*log));
    }
}

/// The nodes that hold the log, as the contact said.
fn told_nodes(request: &wire::ContactRequest) -> Option<Vec<NodeAddress>> {
    let told = request.ranking.iter().map(NodeAddress::try_from);
    told.collect::<Result<Vec<_>, _>>().ok().filter(|told| !told.is_empty())
}

/// Joins the group to which a request welcomes this device; returns as well which key package the
/// contact has used.
fn join(
    step: &mut Step<'_>,
    local: Local<'_, impl Conversations>,
    packages: &[Zeroizing<Vec<u8>>],
    contact: AccountId,
    theirs: &Bundle,
    request: &wire::ContactRequest,
) -> Result<(NewConversation, usize), CommandError> {
    let no_conversation = CommandError::BadRequest("it names no conversation");
    let genesis = LogGenesis::decode(&request.log_genesis).map_err(|_| no_conversation.clone())?;
    // Whatever they told: both come to the same ranking from the same records.
    let ranking = ranking(theirs, local.own.bundle);
    let allowed = Allowed::new([local.own.bundle, theirs]);
    let (device, me) = (local.own.device, &local.own.account);
    let joined = Mls
        .join(device, me, &request.welcome, packages, &allowed, step.rng())
        .map_err(|_| CommandError::BadRequest("its Welcome is not for this device"))?;
    let LogGenesis::Conversation { write_key, .. } = genesis else { return Err(no_conversation) };
    if !joined.is_first || joined.out.epoch.write_key().public() != write_key {
        return Err(CommandError::BadRequest("its log is of another group"));
    }
    let snapshot = joined.snapshot.to_vec();
    let new =
        NewConversation { genesis, contact, ranking, created: false, out: joined.out, snapshot };
    Ok((new, joined.used))
}
