//! Contacts: asking, being asked, accepting. Specified in `spec/delivery.md`, section 2.

use crypto::{Allowed, Bundle, Cgka, Mls, Standing, open_request, seal_request, sign_envelope};
use prost::Message;
use proto::{
    AccountId, Body, Code, ContentBody, Entry, Envelope, Expiry, Extension, Head, Kind, LogGenesis,
    LogId, NodeAddress, NodeId, Rows, limits, wire,
};
use rand_core::Rng;
use sha2::{Digest, Sha256};

use crate::{
    Client, CommandError, ContactState, Event, InviteLink, Reply, account,
    conversation::Conversation,
    link::{Ask, Handle, Opening, Purpose},
    machine::CONVERSATIONS_MAX,
    schema::{self, CONTACTS, Contact, KEY_PACKAGES},
    step::Step,
};

/// The row of a contact, if there is one.
pub(crate) fn load(rows: &dyn Rows, account: &AccountId) -> Option<Contact> {
    schema::load(rows, CONTACTS, &account.0)
}

fn save(step: &mut Step<'_>, account: &AccountId, contact: &Contact) {
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
                let opening = Opening {
                    log: LogGenesis::Inbox(account).id(),
                    key: &link.key(),
                    purpose: Purpose::Invited(account),
                    genesis: None,
                    tail: None,
                };
                self.links.open(step, node, opening);
            }
        }
    }

    /// The inbox of someone who gave an invite is open: learn who they are, or ask at once.
    pub(crate) fn inbox_is_open(&mut self, step: &mut Step<'_>, node: &NodeId, account: AccountId) {
        let Some(contact) = load(&step.draft, &account) else { return };
        if contact.request.is_some() {
            self.send_request(step, &account);
        } else {
            self.links.ask(step, node, Ask::GetBundle(account), Body::GetBundle(account));
        }
    }

    /// Adding can't go on for now; the user is told why.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other codes are shown as they are")]
    pub(crate) fn adding_failed(step: &mut Step<'_>, account: &AccountId, code: Code) {
        let Some(mut contact) = load(&step.draft, account) else { return };
        contact.trouble = match code {
            Code::Forbidden => "the invite was used up, taken back or has expired".into(),
            Code::NotFound => "their node does not know the account".into(),
            Code::Full | Code::Quota => "their inbox is full".into(),
            refused => format!("their node refused ({refused:?})"),
        };
        save(step, account, &contact);
    }

    pub(crate) fn bundle_arrived(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        account: &AccountId,
        bytes: &[u8],
    ) {
        let Some(mut contact) = load(&step.draft, account) else { return };
        if !pin(&mut contact, account, bytes) {
            return self.count_dropped();
        }
        save(step, account, &contact);
        let log = LogGenesis::Inbox(*account).id();
        let Some(handle) = self.links.find(node, |handle| handle.log == log) else { return };
        let ask = Ask::TakeKeyPackages(*account);
        self.links.ask(step, node, ask, Body::TakeKeyPackages { handle });
    }

    /// The contact's devices can be welcomed: make the group and its log, and ask.
    pub(crate) fn key_packages_arrived(
        &mut self,
        step: &mut Step<'_>,
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
        let Some(home) = me.home().cloned() else { return };
        if self.conversations.len() >= CONVERSATIONS_MAX {
            contact.trouble = "there are as many conversations as are allowed".into();
            return save(step, account, &contact);
        }
        let allowed = Allowed::new([&me.bundle, &theirs]);
        let created = Mls.create(&me.device, &me.account, packages, &allowed, &mut step.rng);
        let Ok(created) = created else {
            contact.trouble = "their key packages are not valid".into();
            return save(step, account, &contact);
        };
        let mut salt = [0; 16];
        step.rng.fill_bytes(&mut salt);
        let write_key = created.out.epoch.write_key().public();
        let genesis = LogGenesis::Conversation { write_key, salt };
        contact.request = Some(wire::ContactRequest {
            recipient: account.0.to_vec(),
            bundle: me.bundle.as_bytes().to_vec(),
            log_genesis: genesis.encode(),
            ranking: vec![(&home).into()],
            welcome: created.welcome,
            invite: link.key().public().0.to_vec(),
            name: me.name().to_owned(),
        });
        let log = genesis.id();
        contact.conversation = log.0.to_vec();
        save(step, account, &contact);
        let conversation = Conversation::found(
            step,
            (log, Some(genesis.encode())),
            *account,
            vec![home],
            (created.out, &created.snapshot),
        );
        self.conversations.insert(log, conversation);
        self.open_conversation(step, &log);
    }

    /// Puts our request into their inbox, once the conversation exists and the inbox is open.
    pub(crate) fn send_request(&mut self, step: &mut Step<'_>, account: &AccountId) {
        let Some(contact) = load(&step.draft, account) else { return };
        let (Some(link), Some(request), Some(theirs), Some(log)) =
            (adding(&contact), &contact.request, contact.bundle(), contact.log())
        else {
            return;
        };
        let exists = self.conversations.get(&log).is_some_and(|c| c.genesis.is_none());
        let inbox = LogGenesis::Inbox(*account).id();
        let (Some(me), true) = (&self.me, exists) else { return };
        let key = link.key();
        // An earlier invite's handle may be open too.
        let ours = |handle: &Handle| handle.log == inbox && handle.key == key.public();
        let open = link
            .nodes
            .iter()
            .find_map(|address| Some((address.node, self.links.find(&address.node, ours)?)));
        let Some((node, handle)) = open else { return };
        // The invite that it comes with now, should a second one be used.
        let request = &wire::ContactRequest { invite: key.public().0.to_vec(), ..request.clone() };
        let head = Head {
            kind: Kind::Entry,
            expiry: Expiry::Month,
            position: INBOX_POSITION,
            log: inbox,
            write_key: key.public(),
            extension: Extension::default(),
        };
        let aad = head.encode();
        let Ok(ciphertext) = seal_request(&theirs, &aad, request, &me.device, &mut step.rng) else {
            return;
        };
        let envelope = sign_envelope(&key, head, ciphertext);
        let entry = Entry::from_envelope(&envelope, 0, key.public());
        let body = Body::Append { handle, entry, signature: envelope.signature };
        self.links.ask(step, &node, Ask::Append(inbox, u64::MAX), body);
    }

    /// A node accepted or refused a request that we put into an inbox.
    pub(crate) fn request_answered(
        &mut self,
        step: &mut Step<'_>,
        inbox: &LogId,
        refused: Option<Code>,
    ) {
        for (key, mut contact) in schema::load_all::<Contact>(&step.draft, CONTACTS, b"") {
            let Ok(account) = AccountId::try_from(key.as_slice()) else { continue };
            if LogGenesis::Inbox(account).id() != *inbox || adding(&contact).is_none() {
                continue;
            }
            if let Some(code) = refused {
                return Self::adding_failed(step, &account, code);
            }
            contact.set_state(ContactState::Requested);
            contact.link = String::new();
            contact.trouble = String::new();
            save(step, &account, &contact);
            self.links.close(step, |handle| handle.purpose == Purpose::Invited(account));
            return self.drop_idle_links(step);
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
        if account == me.account || self.conversations.contains_key(&genesis.id()) {
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
        contact.since_s = step.now.as_secs();
        contact.set_state(ContactState::Asking);
        contact.request = Some(opened.request);
        save(step, &account, &contact);
    }

    /// Both asked each other, so both want to: of the two conversations the one with the lower log
    /// id stays, and whoever was asked for it joins.
    fn requests_crossed(
        &mut self,
        step: &mut Step<'_>,
        account: &AccountId,
        mut contact: Contact,
        theirs: wire::ContactRequest,
    ) {
        let their_log = LogGenesis::decode(&theirs.log_genesis).map(|genesis| genesis.id());
        let ours_stays = contact.log().is_some_and(|ours| their_log.is_ok_and(|l| ours < l));
        if ours_stays {
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
        let ranking = request.ranking.iter().map(NodeAddress::try_from);
        let ranking = ranking
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| CommandError::BadRequest("it names no node"))?;
        let node = ranking.first().cloned();
        let node = node.ok_or(CommandError::BadRequest("it names no node"))?;
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
        if let Some((hash, package)) = packages.get(joined.used)
            && !package.last_resort
        {
            step.draft.delete(KEY_PACKAGES, hash.clone());
        }
        contact.set_state(ContactState::Established);
        contact.conversation = genesis.id().0.to_vec();
        contact.link = String::new();
        save(step, account, &contact);
        if let Some(replaced) = replaced {
            self.forget_conversation(step, &replaced);
        }
        let found = (joined.out, joined.snapshot.as_slice());
        let log = genesis.id();
        let conversation = Conversation::found(step, (log, None), *account, ranking, found);
        self.conversations.insert(log, conversation);
        self.links.want(step, &node);
        self.open_conversation(step, &log);
        let _ = self.say(step, &log, ContentBody::Accept { bundle });
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
        }
        let ContentBody::Accept { bundle } = body else { return };
        pin(&mut contact, &author, &bundle);
        contact.set_state(ContactState::Established);
        contact.conversation = log.0.to_vec();
        contact.request = None;
        contact.link = String::new();
        save(step, &author, &contact);
        self.send_drafts(step, log);
    }

    pub(crate) fn remove_contact(
        &mut self,
        step: &mut Step<'_>,
        account: &AccountId,
    ) -> Result<Reply, CommandError> {
        let contact = load(&step.draft, account).ok_or(CommandError::NoContact)?;
        step.draft.delete(CONTACTS, account.0);
        if let Some(log) = contact.log() {
            self.forget_conversation(step, &log);
        }
        self.links.close(step, |handle| handle.purpose == Purpose::Invited(*account));
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

/// The link of a contact that is being added.
pub(crate) fn adding(contact: &Contact) -> Option<InviteLink> {
    (contact.state() == ContactState::Adding).then(|| contact.link.parse().ok()).flatten()
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

/// A stranger may ask if there is room for the request and for one more contact.
fn has_room_for_a_request(rows: &dyn Rows) -> bool {
    count(rows, |_| true) < CONTACTS_MAX
        && count(rows, |contact| contact.state() == ContactState::Asking) < REQUESTS_MAX
}

fn count(rows: &dyn Rows, counts: impl Fn(&Contact) -> bool) -> usize {
    let contacts = schema::load_all::<Contact>(rows, CONTACTS, b"");
    contacts.iter().filter(|(_, contact)| counts(contact)).count()
}

/// Entries of an inbox depend on nothing.
const INBOX_POSITION: u64 = 1;
/// Accounts that a device knows or is asked by: as many as have conversations, and as many more.
const CONTACTS_MAX: usize = 2 * CONVERSATIONS_MAX;
/// Strangers whose requests wait for the user: as many as there can be invites.
const REQUESTS_MAX: usize = limits::INVITES_MAX;
