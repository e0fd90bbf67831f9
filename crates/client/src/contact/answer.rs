//! Being asked: requests in the own inbox, accepting them, and what a contact then says of itself.

use crypto::{
    group::{Allowed, Cgka, Mls},
    identity::open_request,
};
use proto::{AccountId, ContentBody, Envelope, LogGenesis, LogId, NodeAddress, Ranking, wire};
use zeroize::Zeroizing;

use super::{
    ContactEvent, ContactRow, Contacts, Conversations, Local, NewConversation, is_settled, row,
    settle,
};
use crate::{CommandError, ContactState, ranking::ranking, step::Step};

/// A conversation that a contact asked for, to be joined.
pub(crate) struct Joining {
    pub(crate) new: NewConversation,
    /// The conversation with this contact that it replaces.
    pub(crate) replaced: Option<LogId>,
    /// The nodes that the contact said hold the log.
    pub(crate) told: Vec<NodeAddress>,
    /// Which of the key packages the contact has used.
    pub(crate) used_package: usize,
}

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
        let is_known = local.conversations.contains(&log) || is_settled(&step.rows, &log);
        if account == local.own.account || is_known {
            return;
        }
        let known = row(&step.rows, &account);
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
            settle(step, &log);
        }
        contact.since_s = step.now.as_secs();
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
                settle(step, &log);
            }
            return self.save(step, account, &contact);
        }
        contact.set_state(ContactState::Asking);
        contact.request = Some(theirs);
        self.save(step, account, &contact);
        // If their Welcome is not for us the request stays, and the user is asked.
        self.events.push(ContactEvent::Crossed(*account));
    }

    /// Accepts a contact's request: the conversation that it asked for is to be joined. `packages`
    /// are the secrets of the own key packages.
    pub(crate) fn accept(
        &mut self,
        step: &mut Step<'_>,
        local: Local<'_, impl Conversations>,
        packages: &[Zeroizing<Vec<u8>>],
        account: &AccountId,
    ) -> Result<Joining, CommandError> {
        let mut contact = row(&step.rows, account).ok_or(CommandError::NoContact)?;
        let (ContactState::Asking, Some(request)) = (contact.state(), contact.request.take())
        else {
            return Err(CommandError::NoRequest);
        };
        let theirs = contact.bundle().ok_or(CommandError::NoRequest)?;
        let replaced = contact.log();
        if replaced.is_none() && !local.conversations.has_room() {
            return Err(CommandError::TooMany(self.limits.conversations));
        }
        let genesis = LogGenesis::decode(&request.log_genesis)
            .map_err(|_| CommandError::BadRequest("it names no conversation"))?;
        let told = request.ranking.iter().map(NodeAddress::try_from);
        let told = told.collect::<Result<Vec<_>, _>>();
        let told = told.ok().filter(|told| !told.is_empty());
        let told = told.ok_or(CommandError::BadRequest("it names no node"))?;
        // Whatever they told: both come to the same ranking from the same records.
        let ranking: Ranking = ranking(&theirs, local.own.bundle);
        let allowed = Allowed::new([local.own.bundle, &theirs]);
        let (device, me) = (local.own.device, &local.own.account);
        let joined = Mls
            .join(device, me, &request.welcome, packages, &allowed, &mut step.rng)
            .map_err(|_| CommandError::BadRequest("its Welcome is not for this device"))?;
        let LogGenesis::Conversation { write_key, .. } = genesis else {
            return Err(CommandError::BadRequest("it names no conversation"));
        };
        if joined.out.epoch.write_key().public() != write_key {
            return Err(CommandError::BadRequest("its log is of another group"));
        }
        contact.establish(genesis.id());
        self.save(step, account, &contact);
        if let Some(replaced) = replaced {
            settle(step, &replaced);
        }
        let new = NewConversation {
            genesis,
            contact: *account,
            ranking,
            created: false,
            out: joined.out,
            snapshot: joined.snapshot.to_vec(),
        };
        Ok(Joining { new, replaced, told, used_package: joined.used })
    }

    /// A contact said something in a conversation that concerns more than its timeline.
    pub(crate) fn apply_control(
        &mut self,
        step: &mut Step<'_>,
        local: Local<'_, impl Conversations>,
        log: &LogId,
        control: Control,
    ) {
        let Control { author, body, bundle_seen } = control;
        let Some(mut contact) = row(&step.rows, &author) else { return };
        if let Some(seen) = bundle_seen {
            contact.sees_other_bundle = seen != local.own.bundle.hash();
            self.save(step, &author, &contact);
            if !contact.sees_other_bundle {
                self.events.push(ContactEvent::KnownToContact(*log));
            }
        }
        let ContentBody::Accept { bundle, instead_of } = body else { return };
        if contact.state() == ContactState::Established && contact.log() == Some(*log) {
            // Said again, it tells that they have moved.
            if !contact.pin(&author, &bundle) {
                return step.count_dropped();
            }
            self.save(step, &author, &contact);
            return self.events.push(ContactEvent::RecordChanged(author));
        }
        // Their own request may still be on its way.
        if let Some(other) = instead_of.filter(|other| !local.conversations.contains(other)) {
            settle(step, &other);
        }
        contact.pin(&author, &bundle);
        contact.establish(*log);
        self.save(step, &author, &contact);
        self.events.push(ContactEvent::RecordChanged(author));
        self.events.push(ContactEvent::Established(*log));
    }
}

/// What a contact said beyond a message.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) author: AccountId,
    pub(crate) body: ContentBody,
    /// The hash of the newest bundle of this account that the contact has.
    pub(crate) bundle_seen: Option<[u8; 32]>,
}
