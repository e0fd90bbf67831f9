//! Contacts: asking, being asked, accepting. Specified in `spec/delivery.md`, section 2.

use std::{ops::ControlFlow, time::Duration};

use crypto::{Allowed, Bundle, Cgka, Mls, Standing, open_request, seal_request, sign_envelope};
use prost::Message;
use proto::{
    AccountId, Body, Code, ContentBody, Entry, Envelope, Expiry, Extension, Head, Instant, Kind,
    LogGenesis, LogId, NodeAddress, NodeId, Rows, limits, wire,
};
use rand_core::Rng;
use sha2::{Digest, Sha256};

use crate::{
    Client, CommandError, ContactState, Event, InviteLink, Reply,
    account::{self, Me},
    conversation::{Conversation, Founding},
    errand::{Errand, may_pass},
    link::{Ask, Opening, Purpose},
    machine::CONVERSATIONS_MAX,
    machine::Timer,
    ranking::ranking,
    schema::{
        self, CONTACTS, Contact, DEFERRED, DRAFTS, KEPT, KEY_PACKAGES, OUTBOX, RECEIPTS, SETTLED,
        join,
    },
    step::Step,
};

/// The row of a contact, if there is one.
pub(crate) fn load(rows: &dyn Rows, account: &AccountId) -> Option<Contact> {
    schema::load(rows, CONTACTS, &account.0)
}

pub(crate) fn save(step: &mut Step<'_>, account: &AccountId, contact: &Contact) {
    step.draft.put(CONTACTS, account.0, contact.encode_to_vec());
    step.event(Event::Contacts);
}

impl Contact {
    pub(crate) fn log(&self) -> Option<LogId> {
        LogId::try_from(self.conversation.as_slice()).ok()
    }

    pub(crate) fn bundle(&self) -> Option<Bundle> {
        Bundle::verify(&self.bundle).ok()
    }
}

impl Client {
    /// Starts to ask the account behind a link.
    pub(crate) fn add_contact(
        &mut self,
        step: &mut Step<'_>,
        link: &InviteLink,
        name: String,
    ) -> Result<Reply, CommandError> {
        if link.account == self.active()?.account {
            return Err(CommandError::Yourself);
        }
        if name.len() > limits::NAME_MAX {
            return Err(CommandError::TooLong(limits::NAME_MAX));
        }
        let mut contact = load(&step.draft, &link.account).unwrap_or_default();
        match contact.state() {
            ContactState::Established => return Ok(Reply::Nothing),
            ContactState::Asking => return self.accept(step, &link.account),
            ContactState::None | ContactState::Adding | ContactState::Requested => {}
        }
        let is_new = contact.state() == ContactState::None;
        if is_new && count(&step.draft, |_| true) >= CONTACTS_MAX {
            return Err(CommandError::TooMany(CONTACTS_MAX));
        }
        if contact.log().is_none() && self.conversations.len() >= CONVERSATIONS_MAX {
            return Err(CommandError::TooMany(CONVERSATIONS_MAX));
        }
        contact.set_state(ContactState::Adding);
        contact.link = link.to_string();
        contact.answered = Vec::new();
        contact.trouble = String::new();
        contact.since_s = step.now.as_secs();
        if contact.name.is_empty() {
            contact.name = name;
        }
        save(step, &link.account, &contact);
        for node in &link.nodes {
            self.links.want(step, node);
            self.knock(step, &node.node);
        }
        self.look_for_soon(step, link.account, 0);
        Ok(Reply::Nothing)
    }

    /// Opens the inboxes at this node of those who gave an invite.
    pub(crate) fn knock(&mut self, step: &mut Step<'_>, node: &NodeId) {
        for (account, contact) in schema::load_all::<Contact>(&step.draft, CONTACTS, b"") {
            let (Ok(account), Some(link)) =
                (AccountId::try_from(account.as_slice()), adding(&contact))
            else {
                continue;
            };
            if link.nodes.iter().any(|address| address.node == *node) {
                self.knock_with(step, node, &account, &link);
            }
        }
    }

    /// A node is gone: who was being added through it is added through another one.
    pub(crate) fn knock_elsewhere(&mut self, step: &mut Step<'_>, node: &NodeId) {
        for (_, contact) in schema::load_all::<Contact>(&step.draft, CONTACTS, b"") {
            let Some(link) = adding(&contact) else { continue };
            if link.nodes.iter().all(|address| address.node != *node) {
                continue;
            }
            for other in link.nodes.iter().filter(|address| address.node != *node) {
                self.knock_with(step, &other.node, &link.account, &link);
            }
        }
    }

    /// Opens the inbox of someone who gave an invite, or goes on with it if it is open.
    pub(crate) fn knock_with(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        account: &AccountId,
        link: &InviteLink,
    ) {
        let (log, key) = (LogGenesis::Inbox(*account).id(), link.key());
        if self.invited(node, account, link).is_some() {
            return self.inbox_is_open(step, node, *account);
        }
        let purpose = Purpose::Invited(*account);
        let (genesis, tail, brief, ranking) = (None, None, false, None);
        let opening = Opening { log, key: &key, purpose, genesis, tail, brief, ranking };
        self.links.open(step, node, opening);
    }

    /// The handle that an invite opened.
    fn invited(&self, node: &NodeId, account: &AccountId, link: &InviteLink) -> Option<u32> {
        let (log, key) = (LogGenesis::Inbox(*account).id(), link.key().public());
        self.links.find(node, |handle| handle.log == log && handle.key == key)
    }

    /// Whether a node of a link was asked something about its account a moment ago, and may yet answer.
    fn asks_about(&self, now: Instant, link: &InviteLink) -> bool {
        let inbox = LogGenesis::Inbox(link.account).id();
        let about = |ask: &Ask| match ask {
            Ask::GetBundle(asked) | Ask::TakeKeyPackages(asked) => *asked == link.account,
            Ask::Append(log, number) => *log == inbox && *number == u64::MAX,
            Ask::Open(_)
            | Ask::Hedge(..)
            | Ask::PutBundle(_)
            | Ask::PutKeyPackages(_)
            | Ask::PutInvite(_)
            | Ask::Fetch(..)
            | Ask::Audit(..)
            | Ask::Challenge(..) => false,
        };
        link.nodes.iter().any(|address| {
            let asked = self.links.asked_at(&address.node, about);
            asked.is_some_and(|at| now < at.after(ANSWER_TIME))
        })
    }

    /// The inbox of someone who gave an invite is open: learn who they are, or ask at once.
    pub(crate) fn inbox_is_open(&mut self, step: &mut Step<'_>, node: &NodeId, account: AccountId) {
        let Some(contact) = load(&step.draft, &account) else { return };
        let Some(link) = adding(&contact) else { return };
        // One home is enough, and each would hand out key packages.
        if self.asks_about(step.now, &link) {
            let again = step.now.after(ANSWER_TIME);
            return self.arm(again, Timer::Errand(*node, Errand::Add(account)));
        }
        if contact.request.is_some() {
            self.send_request(step, &account);
        } else {
            self.links.ask(step, node, Ask::GetBundle(account), Body::GetBundle(account));
        }
    }

    /// A node would not do what adding somebody takes. It may have been their home and know where they
    /// went; else the network may.
    pub(crate) fn adding_refused(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        account: &AccountId,
        (code, newer): (Code, &[u8]),
    ) {
        if code == Code::Stale {
            self.bundle_arrived(step, node, account, newer);
            let link = load(&step.draft, account).as_ref().and_then(adding);
            if link.is_none_or(|link| link.nodes.iter().all(|address| address.node != *node)) {
                return;
            }
        }
        self.adding_failed(step, node, account, code);
        let knows_no_better = self.me.as_ref().is_some_and(|me| me.is_served(node));
        if matches!(code, Code::NotFound | Code::Forbidden) && !knows_no_better {
            self.look_for(step, *account);
        }
    }

    /// Adding can't go on for now; the user is told why. What may pass is tried again.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other codes are shown as they are")]
    pub(crate) fn adding_failed(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        account: &AccountId,
        code: Code,
    ) {
        let Some(mut contact) = load(&step.draft, account) else { return };
        let Some(link) = adding(&contact) else { return };
        // An invite may come to one of two homes later than to the other.
        let may_come = matches!(code, Code::Forbidden | Code::NotFound)
            && link.nodes.len() > 1
            && self.links.refusals_of(node, Errand::Add(*account)) < WAITS_FOR_INVITE;
        let passes = may_come || may_pass(code);
        if passes {
            let code = if may_come { Code::Busy } else { code };
            self.put_off(step, node, Errand::Add(*account), code);
        }
        if contact.state() == ContactState::Requested {
            // Another home has the request and should hand it over to this one, but may lie.
            if !passes {
                self.request_is_at(step, node, account, contact);
            }
            return;
        }
        contact.trouble = match code {
            Code::Forbidden => "the invite was used up, taken back or has expired".into(),
            Code::NotFound => "their node does not know the account".into(),
            Code::Full | Code::Quota => "their inbox is full".into(),
            Code::Invalid => "what their node has of them is not valid".into(),
            refused => format!("their node refused ({refused:?})"),
        };
        save(step, account, &contact);
        if !may_pass(code) {
            // Another home that is open goes on, and this one only once it is opened anew.
            self.links.close_at(step, node, |h| h.purpose == Purpose::Invited(*account));
            for other in &link.nodes {
                self.goes_on_at(step, &other.node, account);
            }
        }
    }

    fn goes_on_at(&mut self, step: &mut Step<'_>, node: &NodeId, account: &AccountId) {
        if self.links.has(node, |h| h.open && h.purpose == Purpose::Invited(*account)) {
            self.inbox_is_open(step, node, *account);
        }
    }

    pub(crate) fn bundle_arrived(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        account: &AccountId,
        bytes: &[u8],
    ) {
        let Some(before) = load(&step.draft, account) else { return };
        let mut contact = before.clone();
        if !pin(&mut contact, account, bytes) {
            self.caught(step.now, node);
            return self.adding_failed(step, node, account, Code::Invalid);
        }
        if contact != before {
            save(step, account, &contact);
            self.follow_contact(step, account);
        }
        self.is_told_where(step, node, account);
        let Some(contact) = load(&step.draft, account) else { return };
        let Some(link) = adding(&contact) else { return };
        if contact.request.is_some() {
            return self.send_request(step, account);
        }
        let Some(handle) = self.invited(node, account, &link) else { return };
        let ask = Ask::TakeKeyPackages(*account);
        self.links.ask(step, node, ask, Body::TakeKeyPackages { handle });
    }

    /// The contact's devices can be welcomed: make the group and its log, and ask.
    pub(crate) fn key_packages_arrived(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        account: &AccountId,
        packages: &[Vec<u8>],
    ) {
        let Some(mut contact) = load(&step.draft, account) else { return };
        let (Some(link), Some(theirs), None) =
            (adding(&contact), contact.bundle(), &contact.request)
        else {
            return;
        };
        let Some(me) = self.me.as_ref() else { return };
        if self.conversations.len() >= CONVERSATIONS_MAX {
            contact.trouble = "there are as many conversations as are allowed".into();
            return save(step, account, &contact);
        }
        let allowed = Allowed::new([&me.bundle, &theirs]);
        let created = Mls.create(&me.device, &me.account, packages, &allowed, &mut step.rng);
        let Ok(created) = created else {
            return self.adding_failed(step, node, account, Code::Invalid);
        };
        let mut salt = [0; 16];
        step.rng.fill_bytes(&mut salt);
        let write_key = created.out.epoch.write_key().public();
        let genesis = LogGenesis::Conversation { write_key, salt };
        let ranking = ranking(&me.bundle, &theirs);
        contact.request = Some(wire::ContactRequest {
            recipient: account.0.to_vec(),
            bundle: me.bundle.as_bytes().to_vec(),
            log_genesis: genesis.encode(),
            ranking: ranking.nodes.iter().map(Into::into).collect(),
            welcome: created.welcome,
            invite: link.key().public().0.to_vec(),
            name: me.name().to_owned(),
        });
        let log = genesis.id();
        contact.conversation = log.0.to_vec();
        contact.sealed = Vec::new();
        save(step, account, &contact);
        let own = me.own();
        let founding = Founding { genesis, contact: *account, ranking, created: true, own };
        let found = (created.out, created.snapshot.as_slice());
        let conversation = Conversation::found(step, founding, found);
        self.conversations.insert(log, conversation);
        self.open_conversation(step, &log);
    }

    /// Puts our request into their inbox, once the conversation exists and the inbox is open.
    pub(crate) fn send_request(&mut self, step: &mut Step<'_>, account: &AccountId) {
        let Some(mut contact) = load(&step.draft, account) else { return };
        let (Some(link), Some(log)) = (adding(&contact), contact.log()) else { return };
        let exists = self.conversations.get(&log).is_some_and(|c| c.exists);
        let inbox = LogGenesis::Inbox(*account).id();
        if !exists {
            return;
        }
        let mut lacking = link.nodes.iter().filter(|address| !contact.has_answered(&address.node));
        let open = lacking
            .find_map(|address| Some((address.node, self.invited(&address.node, account, &link)?)));
        let Some((node, handle)) = open else { return };
        if self.asks_about(step.now, &link) {
            let again = step.now.after(ANSWER_TIME);
            return self.arm(again, Timer::Errand(node, Errand::Add(*account)));
        }
        let key = link.key().public();
        let sealed = Envelope::decode(&contact.sealed).ok().filter(|e| e.head.write_key == key);
        let Some(envelope) = sealed.or_else(|| self.sealed_request(step, &contact, &link)) else {
            return;
        };
        contact.sealed = envelope.encode();
        step.draft.put(CONTACTS, account.0, contact.encode_to_vec());
        let entry = Entry::from_envelope(&envelope, 0, key);
        let body = Body::Append { handle, entry, signature: envelope.signature };
        self.links.ask(step, &node, Ask::Append(inbox, u64::MAX), body);
    }

    /// Seals our request to the contact's inbox.
    fn sealed_request(
        &self,
        step: &mut Step<'_>,
        contact: &Contact,
        link: &InviteLink,
    ) -> Option<Envelope> {
        let (me, request) = (self.me.as_ref()?, contact.request.as_ref()?);
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
        let ciphertext = seal_request(&theirs, &aad, request, &me.device, &mut step.rng).ok()?;
        Some(sign_envelope(&key, head, ciphertext))
    }

    /// A node accepted or refused a request that we put into an inbox.
    pub(crate) fn request_answered(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        inbox: &LogId,
        refused: Option<(Code, &[u8])>,
    ) {
        for (key, mut contact) in schema::load_all::<Contact>(&step.draft, CONTACTS, b"") {
            let Ok(account) = AccountId::try_from(key.as_slice()) else { continue };
            if LogGenesis::Inbox(account).id() != *inbox || adding(&contact).is_none() {
                continue;
            }
            if let Some(refused) = refused {
                return self.adding_refused(step, node, &account, refused);
            }
            self.links.errand_done(node, Errand::Add(account));
            contact.set_state(ContactState::Requested);
            contact.trouble = String::new();
            return self.request_is_at(step, node, &account, contact);
        }
    }

    /// A home of a contact has our request, or will get it from another one. Each of them is given it, if
    /// it can be reached: one may forget what it has taken.
    fn request_is_at(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        account: &AccountId,
        mut contact: Contact,
    ) {
        contact.answered.push(node.0.to_vec());
        let link = adding(&contact);
        let is_done = link.is_none_or(|link| {
            link.nodes.iter().all(|address| contact.has_answered(&address.node))
        });
        if is_done {
            contact.link = String::new();
            contact.sealed = Vec::new();
            contact.answered = Vec::new();
        }
        save(step, account, &contact);
        if is_done {
            self.links.close(step, |handle| handle.purpose == Purpose::Invited(*account));
            self.drop_idle_links(step);
        } else {
            self.send_request(step, account);
        }
    }

    /// Somebody put something into our inbox.
    pub(crate) fn request_arrived(&mut self, step: &mut Step<'_>, envelope: &Envelope) {
        let Some(me) = &self.me else { return };
        let aad = envelope.head.encode();
        let opened = open_request(&me.inbox, &aad, &envelope.ciphertext, &me.account);
        let Ok(opened) = opened else { return self.count_dropped() };
        let account = opened.bundle.account();
        let Ok(genesis) = LogGenesis::decode(&opened.request.log_genesis) else {
            return self.count_dropped();
        };
        let log = genesis.id();
        let known = self.conversations.contains_key(&log) || is_settled(&step.draft, &log);
        if account == me.account || known {
            return;
        }
        let known = load(&step.draft, &account);
        if known.is_none() && !has_room_for_a_request(&step.draft) {
            return self.count_dropped();
        }
        let mut contact = known.unwrap_or_default();
        pin(&mut contact, &account, opened.bundle.as_bytes());
        let before = contact.state();
        if matches!(before, ContactState::Adding | ContactState::Requested) {
            return self.requests_crossed(step, &account, contact, opened.request);
        }
        if before != ContactState::Established && contact.name.is_empty() {
            contact.name.clone_from(&opened.request.name);
        }
        if asked_for(&contact) != Some(log) {
            Me::invite_was_used(step, &envelope.head.write_key);
        }
        if let Some(log) = asked_for(&contact).filter(|asked| *asked != log) {
            settle(step, &log);
        }
        contact.since_s = step.now.as_secs();
        contact.set_state(ContactState::Asking);
        contact.request = Some(opened.request);
        save(step, &account, &contact);
        self.rank_again(step, &account);
    }

    /// Both asked each other, so both want to: of the two conversations the one with the lower log
    /// id stays, and whoever was asked for it joins. A request that never left may have no way to them,
    /// and nobody waits for it.
    fn requests_crossed(
        &mut self,
        step: &mut Step<'_>,
        account: &AccountId,
        mut contact: Contact,
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
            return save(step, account, &contact);
        }
        contact.set_state(ContactState::Asking);
        contact.request = Some(theirs);
        save(step, account, &contact);
        // If their Welcome is not for us the request stays, and the user is asked.
        let _ = self.accept(step, account);
    }

    /// Joins the conversation that a contact asked for, and says so in it.
    pub(crate) fn accept(
        &mut self,
        step: &mut Step<'_>,
        account: &AccountId,
    ) -> Result<Reply, CommandError> {
        let me = self.active()?;
        let mut contact = load(&step.draft, account).ok_or(CommandError::NoContact)?;
        let (ContactState::Asking, Some(request)) = (contact.state(), contact.request.take())
        else {
            return Err(CommandError::NoRequest);
        };
        let theirs = contact.bundle().ok_or(CommandError::NoRequest)?;
        let replaced = contact.log();
        if replaced.is_none() && self.conversations.len() >= CONVERSATIONS_MAX {
            return Err(CommandError::TooMany(CONVERSATIONS_MAX));
        }
        let genesis = LogGenesis::decode(&request.log_genesis)
            .map_err(|_| CommandError::BadRequest("it names no conversation"))?;
        let told = request.ranking.iter().map(NodeAddress::try_from);
        let told = told.collect::<Result<Vec<_>, _>>();
        let told = told.ok().filter(|told| !told.is_empty());
        let told = told.ok_or(CommandError::BadRequest("it names no node"))?;
        // Whatever they told: both come to the same ranking from the same records.
        let ranking = ranking(&theirs, &me.bundle);
        let packages = account::key_package_secrets(&step.draft);
        let secrets: Vec<_> = packages.iter().map(|(_, p)| p.secret.clone().into()).collect();
        let allowed = Allowed::new([&me.bundle, &theirs]);
        let joined = Mls
            .join(&me.device, &me.account, &request.welcome, &secrets, &allowed, &mut step.rng)
            .map_err(|_| CommandError::BadRequest("its Welcome is not for this device"))?;
        let LogGenesis::Conversation { write_key, .. } = genesis else {
            return Err(CommandError::BadRequest("it names no conversation"));
        };
        if joined.out.epoch.write_key().public() != write_key {
            return Err(CommandError::BadRequest("its log is of another group"));
        }
        let bundle = me.bundle.as_bytes().to_vec();
        let own = me.own();
        if let Some((hash, package)) = packages.get(joined.used)
            && !package.last_resort
        {
            step.draft.delete(KEY_PACKAGES, hash.clone());
        }
        contact.set_state(ContactState::Established);
        contact.conversation = genesis.id().0.to_vec();
        contact.link = String::new();
        contact.trouble = String::new();
        contact.sealed = Vec::new();
        save(step, account, &contact);
        if let Some(replaced) = replaced {
            self.forget_conversation(step, &replaced);
            settle(step, &replaced);
        }
        let found = (joined.out, joined.snapshot.as_slice());
        let log = genesis.id();
        let founding = Founding { genesis, contact: *account, ranking, created: false, own };
        let mut conversation = Conversation::found(step, founding, found);
        if let Some(node) = conversation.node() {
            self.links.want(step, node);
        }
        if conversation.ranking.nodes != told {
            // Somebody has moved since they asked, and their node does not know where to.
            conversation.tell_all();
            conversation.save(step);
        }
        let untold = conversation.untold_addresses();
        self.conversations.insert(log, conversation);
        self.open_conversation(step, &log);
        for node in &untold {
            self.links.want(step, node);
            self.tell(step, &node.node);
        }
        let _ = self.say(step, &log, ContentBody::Accept { bundle, instead_of: replaced });
        self.send_drafts(step, &log);
        Ok(Reply::Nothing)
    }

    /// Acts on what a contact said, beyond showing it.
    pub(crate) fn heed(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        author: AccountId,
        body: ContentBody,
        bundle_seen: Option<[u8; 32]>,
    ) {
        let Some(mut contact) = load(&step.draft, &author) else { return };
        if let (Some(seen), Some(me)) = (bundle_seen, &self.me) {
            contact.sees_other_bundle = seen != me.bundle.hash();
            save(step, &author, &contact);
            if !contact.sees_other_bundle {
                self.is_known_to(step, log);
            }
        }
        let ContentBody::Accept { bundle, instead_of } = body else { return };
        if contact.state() == ContactState::Established && contact.log() == Some(*log) {
            // Said again, it tells that they have moved.
            return self.bundle_told(step, &author, contact, &bundle);
        }
        // Their own request may still be on its way.
        let given_up = instead_of.filter(|other| !self.conversations.contains_key(other));
        if let Some(other) = given_up {
            settle(step, &other);
        }
        pin(&mut contact, &author, &bundle);
        contact.set_state(ContactState::Established);
        contact.conversation = log.0.to_vec();
        contact.request = None;
        contact.link = String::new();
        contact.trouble = String::new();
        contact.sealed = Vec::new();
        save(step, &author, &contact);
        self.rank_again(step, &author);
        self.send_drafts(step, log);
    }

    fn bundle_told(
        &mut self,
        step: &mut Step<'_>,
        account: &AccountId,
        mut contact: Contact,
        bundle: &[u8],
    ) {
        if !pin(&mut contact, account, bundle) {
            return self.count_dropped();
        }
        save(step, account, &contact);
        self.rank_again(step, account);
    }

    pub(crate) fn remove_contact(
        &mut self,
        step: &mut Step<'_>,
        account: &AccountId,
    ) -> Result<Reply, CommandError> {
        let contact = load(&step.draft, account).ok_or(CommandError::NoContact)?;
        step.draft.delete(CONTACTS, account.0);
        for (number, _) in schema::load_all::<schema::Draft>(&step.draft, DRAFTS, &account.0) {
            step.draft.delete(DRAFTS, [account.0.as_slice(), &number].concat());
        }
        // Crossing requests may have left more than one.
        let theirs = self.conversations.values().filter(|c| c.contact == *account).map(|c| c.log);
        for log in theirs.collect::<Vec<_>>() {
            self.forget_conversation(step, &log);
            for table in [DEFERRED, OUTBOX, KEPT, RECEIPTS] {
                let mut rest = Vec::new();
                schema::each(&step.draft, table, &log.0, &mut |key, _| {
                    rest.push(key.to_vec());
                    ControlFlow::Continue(())
                });
                for key in rest {
                    step.draft.delete(table, join(&log, key));
                }
            }
            settle(step, &log);
        }
        if let Some(log) = asked_for(&contact) {
            settle(step, &log);
        }
        self.links.close(step, |handle| handle.purpose == Purpose::Invited(*account));
        self.disarm_all(|timer| matches!(timer, Timer::Look(sought, _) if sought == account));
        self.drop_idle_links(step);
        step.event(Event::Contacts);
        Ok(Reply::Nothing)
    }

    /// Changes a contact's row by the user's wish.
    pub(crate) fn change_contact(
        step: &mut Step<'_>,
        account: &AccountId,
        change: impl FnOnce(&mut Contact),
    ) -> Result<Reply, CommandError> {
        let mut contact = load(&step.draft, account).ok_or(CommandError::NoContact)?;
        change(&mut contact);
        save(step, account, &contact);
        Ok(Reply::Nothing)
    }

    /// The hash of the contact's newest bundle, if the contact was not told that we have it.
    pub(crate) fn untold_bundle(&self, step: &mut Step<'_>, log: &LogId) -> Option<[u8; 32]> {
        let account = self.conversations.get(log)?.contact;
        let mut contact = load(&step.draft, &account)?;
        let hash: [u8; 32] = Sha256::digest(&contact.bundle).into();
        if contact.told == hash {
            return None;
        }
        contact.told = hash.to_vec();
        step.draft.put(CONTACTS, account.0, contact.encode_to_vec());
        Some(hash)
    }

    /// The devices that may be in the group of a conversation.
    pub(crate) fn allowed(&self, rows: &dyn Rows, log: &LogId) -> Allowed {
        let contact = self.conversations.get(log).and_then(|c| load(rows, &c.contact));
        let theirs = contact.and_then(|contact| contact.bundle());
        Allowed::new(self.me.iter().map(|me| &me.bundle).chain(&theirs))
    }
}

/// The log that a contact asked for, or that this account asked the contact for.
fn asked_for(contact: &Contact) -> Option<LogId> {
    let request = contact.request.as_ref()?;
    Some(LogGenesis::decode(&request.log_genesis).ok()?.id())
}

/// Remembers that a log is not to be asked for again: whoever keeps the inbox can deliver an old
/// request once more at any time.
fn settle(step: &mut Step<'_>, log: &LogId) {
    let mut settled = Vec::new();
    schema::each(&step.draft, SETTLED, b"", &mut |log, number| {
        settled.push((number.to_vec(), log.to_vec()));
        ControlFlow::Continue(())
    });
    settled.sort_unstable();
    let last = settled.last().and_then(|(number, _)| number.as_slice().try_into().ok());
    let next = last.map_or(0, u64::from_be_bytes).saturating_add(1);
    let excess = settled.len().saturating_add(1).saturating_sub(SETTLED_MAX);
    for (_, oldest) in settled.into_iter().take(excess) {
        step.draft.delete(SETTLED, oldest);
    }
    step.draft.put(SETTLED, log.0, next.to_be_bytes());
}

fn is_settled(rows: &dyn Rows, log: &LogId) -> bool {
    rows.get(SETTLED, &log.0).is_some()
}

/// The link of a contact that is being added, or has been asked at some of its homes.
pub(crate) fn adding(contact: &Contact) -> Option<InviteLink> {
    let adds = matches!(contact.state(), ContactState::Adding | ContactState::Requested);
    adds.then(|| contact.link.parse().ok()).flatten()
}

impl Contact {
    fn has_answered(&self, node: &NodeId) -> bool {
        self.answered.iter().any(|answered| answered == &node.0)
    }
}

/// Pins the newest bundle that was seen of an account; tells whether this one is valid.
fn pin(contact: &mut Contact, account: &AccountId, bytes: &[u8]) -> bool {
    let Ok(seen) = Bundle::verify(bytes) else { return false };
    if seen.account() != *account {
        return false;
    }
    let pinned = contact.bundle();
    contact.forked |= pinned.as_ref().is_some_and(|p| p.compare(&seen) == Standing::Forked);
    if pinned.is_none_or(|pinned| seen.replaces(&pinned)) {
        contact.bundle = bytes.to_vec();
    }
    true
}

/// Logs that are remembered because they are not to be asked for again: more contacts than somebody
/// removes in the month for which an inbox keeps a request.
const SETTLED_MAX: usize = 1_000;
/// A stranger may ask if there is room for the request and for one more contact.
fn has_room_for_a_request(rows: &dyn Rows) -> bool {
    count(rows, |_| true) < CONTACTS_MAX
        && count(rows, |contact| contact.state() == ContactState::Asking) < REQUESTS_MAX
}

fn count(rows: &dyn Rows, counts: impl Fn(&Contact) -> bool) -> usize {
    let contacts = schema::load_all::<Contact>(rows, CONTACTS, b"");
    contacts.iter().filter(|(_, contact)| counts(contact)).count()
}

/// How long a node is given to answer before another home of the same account is asked.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How often an invite that a home does not know is tried again there: within five minutes or so whoever has
/// made it has told all homes that can be reached.
const WAITS_FOR_INVITE: u32 = 6;
/// Entries of an inbox depend on nothing.
const INBOX_POSITION: u64 = 1;
/// Accounts that a device knows or is asked by: as many as have conversations, and as many more.
pub(crate) const CONTACTS_MAX: usize = 2 * CONVERSATIONS_MAX;
/// Strangers whose requests wait for the user: as many as there can be invites.
const REQUESTS_MAX: usize = limits::INVITES_MAX;
