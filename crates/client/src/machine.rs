//! The machine of one device: hands inputs to the modules below and carries what they raise from
//! one to the other. All flow between modules stands on this page.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, mem,
};

use proto::{
    AccountId, Body, Code, ConversationId, Cursor, Entry, Frame, Gauge, Hello, Input, Instant,
    LogId, Machine, NodeAddress, NodeId, OpenError, Output, Reference, Rows, Seed, limits,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

use crate::{
    Action, Command, CommandError, ContactState, Event, InviteLink, Reply,
    account::{Account, AccountEvent, Recovery, invites, key_packages},
    contact::{
        self, At, ContactEvent, ContactLimits, Contacts, Conversations, Local, NewConversation,
        Refused,
    },
    conversation::{self, Conversation, ConversationEvent},
    identity::Identity,
    link::{Channel, ChannelAt, ChannelUse, LinkLimits, Links, LogUse},
    log::{self, WINDOW},
    step::{Counters, Misbehaviour, Step},
    timers::Timers,
    topics::{AccountRequest, AccountTimer, ContactTimer, PendingTask, Request, Timer},
};

/// What a device needs to know before it opens.
pub struct Config {
    /// The secret from which its transport keys are derived, see
    /// [`transport_seed`](crate::transport_seed).
    pub transport: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport: _ } = self;
        f.write_str("Config(..)")
    }
}

/// One device of one account.
pub struct Client {
    account: Option<Account>,
    recovery: Option<Recovery>,
    contacts: Contacts,
    conversations: BTreeMap<LogId, Conversation>,
    links: Links,
    timers: Timers<Timer>,
    counters: Counters,
    outputs: VecDeque<Output<Event>>,
    rng: ChaCha20Rng,
}

impl fmt::Debug for Client {
    /// Most of a device is secret, so only its size is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} conversations, {:?})", self.conversations.len(), self.counters)
    }
}

impl Conversations for BTreeMap<LogId, Conversation> {
    fn contains(&self, log: &LogId) -> bool {
        self.contains_key(log)
    }

    fn exists(&self, log: &LogId) -> bool {
        self.get(log).is_some_and(|conversation| conversation.log().exists())
    }

    fn has_room(&self) -> bool {
        self.len() < CONVERSATIONS_MAX
    }
}

impl Machine for Client {
    type Config = Config;
    type Command = Command;
    type Event = Event;

    fn open(config: Config, seed: Seed, now: Instant, rows: &dyn Rows) -> Result<Self, OpenError> {
        let account = Account::load(rows);
        let homes = account.as_ref().map(Account::homes).unwrap_or_default();
        let policy = account.as_ref().map(Account::policy).unwrap_or_default();
        let mut conversations = BTreeMap::new();
        for log in conversation::logs(rows) {
            let log = log.ok_or(OpenError::Damaged("the key of a conversation"))?;
            let conversation = Conversation::load(rows, log, homes, policy.clone())
                .ok_or(OpenError::Damaged("the rows of a conversation"))?;
            conversations.insert(log, conversation);
        }
        let mut client = Self {
            account,
            recovery: None,
            contacts: Contacts::load(rows, CONTACT_LIMITS),
            conversations,
            links: Links::new(config.transport, LINK_LIMITS),
            timers: Timers::default(),
            counters: Counters::default(),
            outputs: VecDeque::new(),
            rng: ChaCha20Rng::from_seed(seed.0),
        };
        client.step(rows, now, Self::resume);
        Ok(client)
    }

    fn handle(&mut self, input: Input<Command>, now: Instant, rows: &dyn Rows) {
        self.step(rows, now, |client, step| match input {
            Input::Command(Command { ticket, action }) => client.on_command(step, ticket, action),
            Input::Connected(peer, _) => client.links.on_connected(step, &NodeId(peer.0)),
            Input::Frame(peer, frame) => client.on_frame(step, &NodeId(peer.0), frame),
            Input::Disconnected(peer) => client.on_disconnected(step, &NodeId(peer.0)),
            // It asks for no relays: no peer dials a device.
            Input::Reached(_) => {}
            Input::Timeout => client.on_timeout(step),
        });
    }

    fn poll_output(&mut self) -> Option<Output<Event>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first_due()
    }
}

/// One input.
impl Client {
    fn step(&mut self, rows: &dyn Rows, now: Instant, act: impl FnOnce(&mut Self, &mut Step<'_>)) {
        let rng = ChaCha20Rng::from_rng(&mut self.rng);
        let timers = mem::take(&mut self.timers);
        let mut step = Step::new(rows, now, rng, timers, self.counters);
        act(self, &mut step);
        self.dispatch(&mut step);
        self.fail_over(&mut step);
        if step.has_idle_links() {
            self.drop_idle_links(&mut step);
        }
        let name = |log: &LogId| self.conversations.get(log).map(Conversation::conversation_id);
        let (outputs, timers, counters) = step.finish(name);
        (self.timers, self.counters) = (timers, counters);
        self.outputs.extend(outputs);
    }

    /// Wants the links that the rows ask for, and resumes what a crash interrupted.
    fn resume(&mut self, step: &mut Step<'_>) {
        if let Some(account) = &mut self.account {
            account.forget_old_homes(step);
            account.resume_audits(step);
        }
        for node in self.needed_nodes() {
            self.links.want(step, &node);
        }
        for conversation in self.conversations.values() {
            conversation.resume(step);
        }
    }

    /// Sees to it that the better one of the active homes is the primary, and that homes which fail
    /// are noticed.
    fn fail_over(&mut self, step: &mut Step<'_>) {
        let misbehaved = step.take_misbehaved();
        let Some(account) = &mut self.account else { return };
        for (node, kind) in misbehaved {
            account.on_misbehaviour(step, &node, kind);
        }
        account.check_primary(step, &self.links);
        self.dispatch(step);
        if let Some(account) = &self.account {
            account.check_unreachable(step, &self.links);
        }
    }

    fn drop_idle_links(&mut self, step: &mut Step<'_>) {
        let needed = self.needed_nodes().into_iter().map(|address| address.node);
        let needed: std::collections::BTreeSet<NodeId> = needed.collect();
        self.links.keep_only(step, |node| needed.contains(node));
    }

    fn needed_nodes(&self) -> Vec<NodeAddress> {
        let recovery = self.recovery.iter().flat_map(Recovery::needed_nodes);
        let account = self.account.as_ref().filter(|account| !account.is_locked_out());
        let Some(account) = account else { return recovery.cloned().collect() };
        let conversations = self.conversations.values().flat_map(Conversation::needed_nodes);
        let all = account.needed_nodes().chain(self.contacts.needed_nodes()).chain(conversations);
        recovery.chain(all).cloned().collect()
    }

    /// The account, if this device may act for it.
    fn active(&self) -> Result<&Account, CommandError> {
        let account = self.account.as_ref().ok_or(CommandError::NoAccount)?;
        if account.is_locked_out() { Err(CommandError::LockedOut) } else { Ok(account) }
    }

    /// The same, to be changed.
    fn active_mut(&mut self) -> Result<(&mut Account, &mut Links), CommandError> {
        self.active()?;
        let account = self.account.as_mut().ok_or(CommandError::NoAccount)?;
        Ok((account, &mut self.links))
    }
}

/// What modules raise, and what follows from it elsewhere.
impl Client {
    /// Carries on until nothing is raised any more.
    fn dispatch(&mut self, step: &mut Step<'_>) {
        loop {
            let contacts = self.contacts.take_events();
            let account = self.account.as_mut().map(Account::take_events).unwrap_or_default();
            if contacts.is_empty() && account.is_empty() {
                return;
            }
            for event in contacts {
                self.on_contact_event(step, event);
            }
            for event in account {
                self.on_account_event(step, event);
            }
        }
    }

    fn on_account_event(&mut self, step: &mut Step<'_>, event: AccountEvent) {
        match event {
            AccountEvent::HomesChanged { is_failover } => {
                if is_failover {
                    self.close_conversations(step);
                }
                self.each(step, |conversation, step, links, own| {
                    conversation.on_homes_changed(step, links, own, is_failover);
                });
            }
            AccountEvent::PolicyChanged => self.set_policies(),
            AccountEvent::RecordChanged { moves } => self.on_record_changed(step, moves),
            AccountEvent::InboxOpened(node) => {
                self.open_conversations(step, &node);
                self.locate_all(step);
            }
            AccountEvent::PreviousInformed => {
                // Now that those who move at the same time can see it here, it is time to look
                // there; again, if this home was unreachable before.
                self.each(step, |conversation, step, links, _| {
                    conversation.announce_to_all(step, links);
                });
                self.announce_everywhere(step);
            }
            AccountEvent::PreviousDone => self.announce_everywhere(step),
            AccountEvent::Announce(node) => self.announce(step, &node),
        }
    }

    fn on_record_changed(&mut self, step: &mut Step<'_>, moves: bool) {
        self.set_policies();
        self.each(step, |conversation, step, links, own| {
            conversation.on_own_record(step, links, own, moves);
        });
        self.announce_everywhere(step);
        // Contacts that are online learn at once which record counts now.
        self.each(step, |conversation, step, links, own| {
            let log = contact::established(step.rows(), conversation.contact());
            if log.is_ok_and(|log| log == *conversation.log().id()) {
                conversation.send_record(step, links, own, None);
            }
        });
        self.locate_all(step);
    }

    fn on_contact_event(&mut self, step: &mut Step<'_>, event: ContactEvent) {
        match event {
            ContactEvent::Create(new) => {
                let log = self.insert_conversation(step, *new);
                self.with(step, &log, Conversation::open);
            }
            ContactEvent::Join { new, replaced, told } => {
                self.join_conversation(step, *new, replaced, &told);
            }
            ContactEvent::Crossed(account) => {
                let _ = self.accept(step, &account);
                // It is joined before anything else that was raised is seen to.
                self.dispatch(step);
            }
            ContactEvent::InviteUsed(key) => invites::on_used(step, &key),
            ContactEvent::RecordChanged(account) => {
                let mut changed = Vec::new();
                self.each(step, |conversation, step, links, own| {
                    let is_theirs = *conversation.contact() == account;
                    if is_theirs && conversation.on_contact_record(step, links, own) {
                        changed.extend(conversation.log().unannounced().iter().copied());
                    }
                });
                for node in changed {
                    self.announce(step, &node);
                }
            }
            ContactEvent::RecordReceived(node, account) => {
                if self.account.as_ref().is_some_and(|me| me.is_active_home(&node)) {
                    self.each(step, |conversation, _, _, _| {
                        if *conversation.contact() == account {
                            conversation.log_mut().on_record_received(&node);
                        }
                    });
                }
            }
            ContactEvent::KnownToContact(log) => {
                self.with(step, &log, |conversation, step, _, _| {
                    conversation.log_mut().on_known_to_contact(step);
                });
            }
            ContactEvent::Established(log) => {
                self.with(step, &log, Conversation::send_drafts);
            }
        }
    }

    fn on_conversation_event(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        event: ConversationEvent,
    ) {
        match event {
            ConversationEvent::Created => {
                let contact = self.conversations.get(log).map(|created| *created.contact());
                self.with_contacts(|contacts, links, local| {
                    contact.map(|contact| contacts.deliver(step, links, local, &contact))
                });
            }
            ConversationEvent::BundleSeen { author, seen } => {
                self.with_contacts(|contacts, _, local| {
                    contacts.on_bundle_seen(step, local.own, log, &author, seen);
                });
            }
            ConversationEvent::Accepted { author, bundle, instead_of } => {
                self.with_contacts(|contacts, _, local| {
                    contacts.on_accepted(step, local, log, &author, &bundle, instead_of);
                });
            }
            ConversationEvent::Acked => {
                self.with_account(|account, _| account.plan_audit(step));
            }
        }
    }
}

/// How modules are called.
impl Client {
    /// Lets a conversation act, and follows up on what it raises.
    fn with<T>(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        act: impl FnOnce(&mut Conversation, &mut Step<'_>, &mut Links, Identity<'_>) -> T,
    ) -> Option<T> {
        let Self { account: Some(account), conversations, links, .. } = self else { return None };
        let conversation = conversations.get_mut(log)?;
        let result = act(conversation, step, links, account.identity());
        for event in conversation.finish(step) {
            self.on_conversation_event(step, log, event);
        }
        Some(result)
    }

    /// Lets all conversations act.
    fn each(
        &mut self,
        step: &mut Step<'_>,
        mut act: impl FnMut(&mut Conversation, &mut Step<'_>, &mut Links, Identity<'_>),
    ) {
        for log in self.conversations.keys().copied().collect::<Vec<_>>() {
            self.with(step, &log, &mut act);
        }
    }

    fn with_contacts<T>(
        &mut self,
        act: impl FnOnce(&mut Contacts, &mut Links, Local<'_, BTreeMap<LogId, Conversation>>) -> T,
    ) -> Option<T> {
        let own = self.account.as_ref()?.identity();
        let local = Local { own, conversations: &self.conversations };
        Some(act(&mut self.contacts, &mut self.links, local))
    }

    fn with_account<T>(&mut self, act: impl FnOnce(&mut Account, &mut Links) -> T) -> Option<T> {
        Some(act(self.account.as_mut()?, &mut self.links))
    }
}

/// Conversations.
impl Client {
    /// Closes the logs of conversations at the active homes, which have other roles from now on.
    fn close_conversations(&mut self, step: &mut Step<'_>) {
        let homes = self.account.as_ref().map(Account::active_homes).unwrap_or_default();
        for home in homes {
            self.links.close_at(step, &home.node, |channel| {
                let used_for = channel.used_for();
                matches!(used_for, ChannelUse::Log(LogUse::Read | LogUse::Write | LogUse::Have))
            });
        }
    }

    fn set_policies(&mut self) {
        let Some(account) = &self.account else { return };
        let policy = account.policy();
        for conversation in self.conversations.values_mut() {
            conversation.log_mut().set_policy(policy.clone());
        }
    }

    fn insert_conversation(&mut self, step: &mut Step<'_>, new: NewConversation) -> LogId {
        let homes = self.account.as_ref().map(Account::homes).unwrap_or_default();
        let policy = self.account.as_ref().map(Account::policy).unwrap_or_default();
        let log = new.genesis.id();
        self.conversations.insert(log, Conversation::create(step, new, homes, policy));
        log
    }

    /// Joins the conversation that a contact asked for, and says so in it.
    fn join_conversation(
        &mut self,
        step: &mut Step<'_>,
        new: NewConversation,
        replaced: Option<LogId>,
        told: &[NodeAddress],
    ) {
        if let Some(before) = replaced.and_then(|replaced| self.conversations.remove(&replaced)) {
            before.forget(step, &mut self.links);
        }
        let log = self.insert_conversation(step, new);
        let unannounced = self.with(step, &log, |conversation, step, links, own| {
            conversation.check_told(step, links, told);
            conversation.open(step, links, own);
            conversation.log().unannounced().iter().copied().collect::<Vec<_>>()
        });
        for node in unannounced.unwrap_or_default() {
            self.announce(step, &node);
        }
        self.with(step, &log, |conversation, step, links, own| {
            conversation.send_record(step, links, own, replaced);
            conversation.send_drafts(step, links, own);
        });
    }

    /// Opens the conversations that are at a node.
    fn open_conversations(&mut self, step: &mut Step<'_>, node: &NodeId) {
        self.each(step, |conversation, step, links, own| {
            if conversation.log().is_at(node) {
                conversation.on_home_up(step, links, own, node);
            }
        });
    }

    /// Announces to a node all rankings that it has to know, and asks it where the contacts are: it
    /// is the home of theirs, or was.
    fn announce(&mut self, step: &mut Step<'_>, node: &NodeId) {
        let Some(account) = self.account.as_ref().filter(|me| !me.is_locked_out()) else { return };
        if !self.links.is_up(node) || account.has_to_inform_previous(&self.links) {
            return;
        }
        let is_home = account.is_active_home(node);
        self.each(step, |conversation, step, links, _| {
            if conversation.log().unannounced().contains(node) {
                Contacts::ask_where(step, links, node, *conversation.contact());
                if !is_home {
                    conversation.announce(step, links, node);
                }
            }
        });
    }

    fn announce_everywhere(&mut self, step: &mut Step<'_>) {
        for node in self.links.nodes() {
            self.announce(step, &node);
        }
    }

    /// Looks up all contacts that this device has to reach.
    fn locate_all(&self, step: &mut Step<'_>) {
        self.contacts.locate_all(step);
        for conversation in self.conversations.values() {
            if !conversation.log().unannounced().is_empty() {
                Contacts::locate_soon(step, *conversation.contact(), 0);
            }
        }
    }
}

/// Nodes.
impl Client {
    fn on_disconnected(&mut self, step: &mut Step<'_>, node: &NodeId) {
        self.links.on_disconnected(step, node);
        step.timers().disarm_all(
            |timer| matches!(timer, Timer::Account(AccountTimer::Retry(at, _)) if at == node),
        );
        self.with_account(|account, _| account.on_node_gone(step, node));
        self.with_contacts(|contacts, links, local| {
            contacts.on_node_gone(step, links, local, node);
        });
        step.emit(Event::LinkChanged(*node, false));
    }

    fn on_node_up(&mut self, step: &mut Step<'_>, node: &NodeId) {
        step.emit(Event::LinkChanged(*node, true));
        if let Some(recovery) = &self.recovery {
            recovery.ask(step, &mut self.links, node);
        }
        let is_active_home = self.with_account(|account, links| {
            account.on_node_up(step, links, node);
            account.is_active_home(node)
        });
        self.dispatch(step);
        if self.active().is_err() {
            return;
        }
        if is_active_home == Some(false) {
            self.open_conversations(step, node);
        }
        self.with_contacts(|contacts, links, local| contacts.on_node_up(step, links, local, node));
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else a node says is an answer")]
    fn on_frame(&mut self, step: &mut Step<'_>, node: &NodeId, frame: Frame) {
        let Frame { request, body } = frame;
        self.links.record_response(node, step.now());
        if let Body::Hello(hello) = body {
            return self.on_hello(step, node, hello);
        }
        if !self.links.is_up(node) {
            return step.count_dropped();
        }
        match body {
            Body::Deliver { channel, entry } => {
                self.on_delivered(step, ChannelAt { node, number: channel }, entry);
            }
            Body::Signal { channel, ciphertext } => {
                let channel = self.links.channel(node, channel);
                match channel.and_then(|channel| self.conversations.get(channel.log())) {
                    Some(conversation) => conversation.on_signal(step, &ciphertext),
                    None => step.count_dropped(),
                }
            }
            Body::Announce { channel, sequence, reference } => {
                self.on_announced(step, ChannelAt { node, number: channel }, sequence, reference);
            }
            Body::NodeAck { channel, reference, node: holder, ack } => {
                let ack = log::Acked { node: holder.unwrap_or(*node), ack };
                self.on_ack(step, ChannelAt { node, number: channel }, &reference, ack);
            }
            Body::Goodbye(_) => {}
            answer => match self.links.take_answered(node, request, step.now()) {
                Some(request) => self.on_answer(step, node, request, answer),
                None => invalid(step, node),
            },
        }
    }

    fn on_hello(&mut self, step: &mut Step<'_>, node: &NodeId, hello: Hello) {
        if self.links.is_up(node) {
            // What was signed over the first nonce, and what will be, must stay valid.
            invalid(step, node);
        } else if self.links.on_hello(step, node, hello) {
            self.on_node_up(step, node);
        }
    }

    fn on_delivered(&mut self, step: &mut Step<'_>, at: ChannelAt<'_>, entry: Entry) {
        let Some(channel) = self.links.channel(at.node, at.number) else {
            return step.count_dropped();
        };
        match channel.used_for() {
            ChannelUse::Log(LogUse::Read) => {
                self.with(step, channel.log(), |conversation, step, links, own| {
                    conversation.on_delivered(step, links, own, at, channel.key(), entry);
                });
            }
            ChannelUse::Inbox(inbox) => {
                let sequence = entry.sequence;
                let envelope = entry.into_envelope(*channel.log(), channel.key(), [0; 64]);
                self.with_contacts(|contacts, _, local| {
                    contacts.on_request(step, local, &envelope);
                });
                self.with_account(|account, links| {
                    account.on_inbox_delivered(step, links, at, inbox, sequence);
                });
            }
            ChannelUse::Log(LogUse::Write | LogUse::Have | LogUse::Announce(_))
            | ChannelUse::Invited(_) => step.count_dropped(),
        }
    }

    fn on_announced(
        &mut self,
        step: &mut Step<'_>,
        at: ChannelAt<'_>,
        sequence: u64,
        reference: Reference,
    ) {
        let channel = self.links.channel(at.node, at.number);
        let announces = |channel: &Channel| channel.is_for(ChannelUse::Log(LogUse::Have));
        let Some(channel) = channel.filter(announces) else { return step.count_dropped() };
        self.with(step, channel.log(), |conversation, step, links, _| {
            conversation.log_mut().on_announced(step, links, at, sequence, reference);
        });
    }

    fn on_ack(
        &mut self,
        step: &mut Step<'_>,
        at: ChannelAt<'_>,
        reference: &Reference,
        ack: log::Acked,
    ) {
        let Some(channel) = self.links.channel(at.node, at.number) else {
            return step.count_dropped();
        };
        self.with(step, channel.log(), |conversation, step, links, _| {
            conversation.on_ack(step, links, at.node, reference, ack);
        });
    }

    fn on_answer(&mut self, step: &mut Step<'_>, node: &NodeId, request: Request, answer: Body) {
        let is_answer = match (request.clone(), answer) {
            (request, Body::Refused { code, newer }) => {
                return self.on_refused(step, node, request, Refused { code, newer: &newer });
            }
            (Request::Open(number), Body::Opened { head, .. }) => {
                if let Some(channel) = self.links.on_opened(node, number) {
                    self.on_opened(step, node, channel, head);
                }
                Some(true)
            }
            (Request::Open(_), _) => Some(false),
            (Request::Log(log, request), answer) => {
                self.with(step, &log, |conversation, step, links, own| {
                    conversation.on_answer(step, links, own, node, &request, answer)
                })
            }
            (Request::Account(AccountRequest::GetOwnBundle), Body::BundleIs(bundle)) => {
                self.on_own_bundle(step, &bundle);
                Some(true)
            }
            (Request::Account(request), answer) => self.with_account(|account, links| {
                account.on_answer(step, links, node, request, answer)
            }),
            (Request::Contact(account, request), answer) => {
                self.with_contacts(|contacts, links, local| {
                    let at = At { node, account: &account };
                    contacts.on_answer(step, links, local, at, request, answer)
                })
            }
        };
        if is_answer == Some(false) {
            // What was asked is asked again.
            invalid(step, node);
            let refused = Refused { code: Code::Unexpected, newer: &[] };
            self.on_refused(step, node, request, refused);
        }
    }

    fn on_refused(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        request: Request,
        refused: Refused<'_>,
    ) {
        match request {
            Request::Open(number) => {
                if let Some(channel) = self.links.on_open_refused(node, number) {
                    self.on_open_refused(step, node, channel, refused);
                }
            }
            Request::Log(log, request) => {
                self.with(step, &log, |conversation, step, links, own| {
                    conversation.on_refused(step, links, own, node, &request, refused.code);
                });
            }
            Request::Account(AccountRequest::GetOwnBundle) => {
                let links = &mut self.links;
                let gives_up =
                    |recovery: &mut Recovery| !recovery.on_refused(step, links, node, refused.code);
                if let Some(recovery) = self.recovery.take_if(gives_up) {
                    step.done(recovery.ticket(), Err(CommandError::UnknownAccount));
                }
            }
            Request::Account(request) => {
                self.with_account(|account, links| {
                    account.on_refused(step, links, node, request, refused);
                });
            }
            Request::Contact(account, request) => {
                self.with_contacts(|contacts, links, local| {
                    let at = At { node, account: &account };
                    contacts.on_refused(step, links, local, at, request, refused);
                });
            }
        }
    }

    fn on_opened(&mut self, step: &mut Step<'_>, node: &NodeId, channel: Channel, head: Cursor) {
        match channel.used_for() {
            ChannelUse::Inbox(inbox) => {
                self.with_account(|account, links| {
                    account.on_inbox_opened(step, links, node, inbox, head);
                });
            }
            ChannelUse::Invited(account) => {
                self.with_contacts(|contacts, links, local| {
                    contacts.on_inbox_opened(step, links, local, At { node, account: &account });
                });
            }
            ChannelUse::Log(used_for) => {
                self.with(step, channel.log(), |conversation, step, links, own| {
                    conversation.on_opened(step, links, own, node, used_for, head);
                });
            }
        }
    }

    fn on_open_refused(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        channel: Channel,
        refused: Refused<'_>,
    ) {
        match channel.used_for() {
            ChannelUse::Inbox(inbox) => {
                self.with_account(|account, links| {
                    account.on_inbox_refused(step, links, node, inbox, refused.code);
                });
            }
            ChannelUse::Invited(account) => {
                self.with_contacts(|contacts, links, local| {
                    let at = At { node, account: &account };
                    contacts.on_inbox_refused(step, links, local, at, refused);
                });
            }
            ChannelUse::Log(used_for) => {
                self.with(step, channel.log(), |conversation, step, links, _| {
                    conversation.on_open_refused(step, links, node, used_for, refused.code);
                });
            }
        }
    }

    /// The bundle of the account that is being recovered is here.
    fn on_own_bundle(&mut self, step: &mut Step<'_>, bundle: &[u8]) {
        let Some(recovery) = self.recovery.take() else { return };
        let ticket = recovery.ticket();
        let account = recovery.finish(step, &mut self.links, bundle);
        let result = account.map(|account| Reply::Account(self.account.insert(account).id()));
        step.done(ticket, result);
    }

    fn on_timeout(&mut self, step: &mut Step<'_>) {
        for _ in 0..TIMERS_AT_A_TIME {
            let Some(timer) = step.take_due_timer() else { return };
            self.on_timer(step, timer);
            self.dispatch(step);
        }
    }

    fn on_timer(&mut self, step: &mut Step<'_>, timer: Timer) {
        match timer {
            Timer::Acknowledge(node) => self.links.acknowledge(step, &node),
            Timer::Conversation(timer, log) => {
                self.with(step, &log, |conversation, step, links, own| {
                    conversation.on_timer(step, links, own, timer);
                });
            }
            Timer::Account(AccountTimer::Retry(node, PendingTask::Recover)) => {
                if let Some(recovery) = &self.recovery {
                    recovery.ask(step, &mut self.links, &node);
                }
            }
            Timer::Account(AccountTimer::Retry(node, PendingTask::Add(account))) => {
                self.with_contacts(|contacts, links, local| {
                    contacts.retry(step, links, local, At { node: &node, account: &account });
                });
            }
            Timer::Account(timer) => {
                self.with_account(|account, links| account.on_timer(step, links, timer));
            }
            Timer::Contact(ContactTimer::Locate(tries), account) => {
                let theirs = self.conversations.values().filter(|c| *c.contact() == account);
                let unannounced =
                    theirs.flat_map(|c| c.log().unannounced().iter().copied()).collect();
                self.with_contacts(|contacts, links, local| {
                    contacts.on_locate(step, links, local.own, account, tries, unannounced);
                });
            }
        }
    }
}

/// A node sent what no honest node sends.
fn invalid(step: &mut Step<'_>, node: &NodeId) {
    step.count_dropped();
    step.report(node, Misbehaviour::Invalid);
}

/// Commands.
impl Client {
    fn on_command(&mut self, step: &mut Step<'_>, ticket: u64, action: Action) {
        let result = self.carry_out(step, ticket, action);
        self.dispatch(step);
        if let Some(result) = result.transpose() {
            step.done(ticket, result);
        }
    }

    /// Carries a command out; `None` if it is done later.
    fn carry_out(
        &mut self,
        step: &mut Step<'_>,
        ticket: u64,
        action: Action,
    ) -> Result<Option<Reply>, CommandError> {
        let reply = match action {
            Action::CreateAccount { phrase, name, homes } => {
                self.check_no_account()?;
                let account = Account::create(step, &mut self.links, &phrase, name, homes)?;
                Ok(Reply::Account(self.account.insert(account).id()))
            }
            Action::RecoverAccount { phrase, name, homes } => {
                self.check_no_account()?;
                let links = &mut self.links;
                self.recovery = Some(Recovery::begin(step, links, ticket, phrase, name, homes)?);
                return Ok(None);
            }
            Action::Move { homes, pinned } => {
                let (account, links) = self.active_mut()?;
                account.migrate(step, links, homes, &pinned).map(|()| Reply::Nothing)
            }
            Action::WantCopies { copies, acks } => {
                let (account, links) = self.active_mut()?;
                account.want_copies(step, links, copies, acks).map(|()| Reply::Nothing)
            }
            Action::Invite { uses, valid_s } => {
                let (account, links) = self.active_mut()?;
                account.invite(step, links, uses, valid_s)
            }
            Action::AddContact { link, name } => self.add_contact(step, &link, name),
            Action::Accept { contact } => self.accept(step, &contact),
            Action::RemoveContact { contact } => self.remove_contact(step, &contact),
            Action::Rename { contact, name } => self.contacts.rename(step, &contact, name),
            Action::SetVerified { contact, verified } => {
                self.contacts.set_verified(step, &contact, verified)
            }
            Action::Send { conversation, text, reply_to } => {
                self.send_text(step, &conversation, &text, reply_to)
            }
            Action::Edit { conversation, target, text } => {
                conversation::check_text(&text)?;
                self.in_conversation(step, &conversation, |c, step, links, own| {
                    c.edit(step, links, own, target, &text)
                })
            }
            Action::Delete { conversation, target } => {
                self.in_conversation(step, &conversation, |c, step, links, own| {
                    c.delete(step, links, own, target)
                })
            }
            Action::React { conversation, target, emoji } => {
                conversation::check_emoji(&emoji)?;
                self.in_conversation(step, &conversation, |c, step, links, own| {
                    c.react(step, links, own, target, emoji)
                })
            }
            Action::MarkRead { conversation } => {
                self.in_conversation(step, &conversation, Conversation::mark_read)
            }
            Action::Typing { conversation } => {
                self.in_conversation(step, &conversation, |c, step, links, _| c.typing(step, links))
            }
            Action::Rekey { conversation } => {
                self.in_conversation(step, &conversation, Conversation::rekey)
            }
        };
        reply.map(Some)
    }

    fn check_no_account(&self) -> Result<(), CommandError> {
        let has_one = self.account.is_some() || self.recovery.is_some();
        if has_one { Err(CommandError::AccountExists) } else { Ok(()) }
    }

    fn send_text(
        &mut self,
        step: &mut Step<'_>,
        conversation: &ConversationId,
        text: &str,
        reply_to: Option<Reference>,
    ) -> Result<Reply, CommandError> {
        conversation::check_text(text)?;
        self.active()?;
        let ConversationId::Direct(contact) = conversation else {
            return Err(CommandError::NoConversation);
        };
        match contact::row(step.rows(), contact).map(|row| row.state()) {
            None => Err(CommandError::NoContact),
            Some(ContactState::Established) => {
                self.in_conversation(step, conversation, |c, step, links, own| {
                    c.send_text(step, links, own, text, reply_to)
                })
            }
            Some(_) if reply_to.is_some() => Err(CommandError::NotAccepted),
            Some(_) => {
                conversation::keep_draft(step, contact, text)?;
                Ok(Reply::Waiting)
            }
        }
    }

    /// Acts in a conversation; in one with a contact, once that has accepted.
    fn in_conversation(
        &mut self,
        step: &mut Step<'_>,
        conversation: &ConversationId,
        act: impl FnOnce(
            &mut Conversation,
            &mut Step<'_>,
            &mut Links,
            Identity<'_>,
        ) -> Result<Reply, CommandError>,
    ) -> Result<Reply, CommandError> {
        self.active()?;
        let ConversationId::Direct(contact) = conversation else {
            return Err(CommandError::NoConversation);
        };
        let log = contact::established(step.rows(), contact)?;
        self.with(step, &log, act).ok_or(CommandError::NoContact)?
    }

    fn add_contact(
        &mut self,
        step: &mut Step<'_>,
        link: &InviteLink,
        name: String,
    ) -> Result<Reply, CommandError> {
        self.active()?;
        let has_asked = self
            .with_contacts(|contacts, links, local| contacts.add(step, links, local, link, name))
            .ok_or(CommandError::NoAccount)??;
        if has_asked { self.accept(step, &link.account) } else { Ok(Reply::Nothing) }
    }

    /// Accepts a contact that has asked: the conversation that it asked for is joined.
    fn accept(&mut self, step: &mut Step<'_>, contact: &AccountId) -> Result<Reply, CommandError> {
        self.active()?;
        let packages = key_packages::secrets(step.rows());
        let (hashes, secrets): (Vec<_>, Vec<_>) = packages.into_iter().unzip();
        let used = self
            .with_contacts(|contacts, _, local| contacts.accept(step, local, &secrets, contact))
            .ok_or(CommandError::NoAccount)??;
        if let Some(hash) = hashes.get(used) {
            key_packages::on_used(step, hash);
        }
        Ok(Reply::Nothing)
    }

    fn remove_contact(
        &mut self,
        step: &mut Step<'_>,
        contact: &AccountId,
    ) -> Result<Reply, CommandError> {
        self.contacts.remove(step, &mut self.links, contact)?;
        conversation::forget_drafts(step, contact);
        // Crossing requests may have left more than one.
        let theirs = self.conversations.extract_if(.., |_, c| c.contact() == contact);
        for (log, conversation) in theirs.collect::<Vec<_>>() {
            conversation.forget(step, &mut self.links);
            log::erase(step, &log);
            contact::dismiss(step, &log);
        }
        Ok(Reply::Nothing)
    }
}

/// What can be seen of a device from outside.
impl Client {
    /// What was dropped and why.
    pub fn counters(&self) -> Counters {
        let dropped = self.counters.dropped.saturating_add(self.links.dropped());
        Counters { dropped, ..self.counters }
    }

    /// How full each collection is that peers or the application can make grow.
    pub fn gauges(&self) -> Vec<Gauge> {
        let mut gauges = vec![
            Gauge::new("conversations", self.conversations.len(), CONVERSATIONS_MAX),
            Gauge::new("timers", self.timers.len(), TIMERS_MAX),
            Gauge::new("outputs", self.outputs.len(), OUTPUTS_MAX),
        ];
        gauges.extend(self.account.as_ref().map(Account::gauge));
        gauges.extend(self.links.gauges());
        let of_each = self.conversations.values().map(Conversation::gauges);
        let fullest = of_each.reduce(|mut fullest, gauges| {
            for (fullest, gauge) in fullest.iter_mut().zip(gauges) {
                fullest.value = fullest.value.max(gauge.value);
            }
            fullest
        });
        gauges.extend(fullest.into_iter().flatten());
        gauges
    }
}

/// Conversations of a device. Each takes up to two channels, which may all be at one node; a few
/// are left for inboxes.
const CONVERSATIONS_MAX: usize = 2000;
const CONTACT_LIMITS: ContactLimits = ContactLimits {
    // As many as have conversations, and as many more.
    contacts: 2 * CONVERSATIONS_MAX,
    // As many as there can be invites.
    requests: limits::INVITES_MAX,
    conversations: CONVERSATIONS_MAX,
};
const LINK_LIMITS: LinkLimits = LinkLimits {
    // Every conversation at another node, and as many inboxes that are being looked for.
    links: 2 * CONVERSATIONS_MAX,
    // Full windows of 64 conversations, and as many others.
    requests: 128 * WINDOW,
};
/// Four timers for each link, six for each conversation, one for each contact, and one for each
/// task: two nodes of each contact that is being added, invites, and four of the account.
const TIMERS_MAX: usize = 4 * LINK_LIMITS.links
    + 6 * CONVERSATIONS_MAX
    + 3 * CONTACT_LIMITS.contacts
    + 2 * limits::INVITES_MAX
    + 5;
/// Timers worked off at a time, so that other inputs don't wait.
const TIMERS_AT_A_TIME: usize = 64;
/// What one input leads to at most: a full window for each timer that is due, and something about
/// each link and each channel. Between inputs the outputs are drained.
const OUTPUTS_MAX: usize = TIMERS_AT_A_TIME * WINDOW + LINK_LIMITS.links + 2 * limits::CHANNELS_MAX;
