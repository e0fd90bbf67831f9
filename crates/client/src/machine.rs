//! The machine of one device: hands inputs to the modules below and carries what they raise from
//! one to the other. All flow between modules stands on this page.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, mem,
};

use proto::{
    Body, ConversationId, Cursor, Frame, Gauge, Input, Instant, LogId, Machine, NodeId, OpenError,
    Output, Reference, Rows, Seed, limits,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

use crate::{
    Action, Command, CommandError, ContactState, Event, Reply,
    account::{Account, AccountEvent, Recovery, invites, key_packages},
    contact::{
        self, At, ContactEvent, ContactLimits, Contacts, Conversations, Joining, Local,
        NewConversation, Refused,
    },
    conversation::{self, Conversation, ConversationEvent},
    identity::Identity,
    link::{Channel, ChannelAt, ChannelUse, LinkLimits, Links},
    log::{self, WINDOW},
    step::{Counters, Misbehaviour, Step},
    timers::Timers,
    topics::{
        AccountRequest, AccountTimer, ContactRequest, ContactTimer, PendingTask, Request, Timer,
    },
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
        self.get(log).is_some_and(Conversation::exists)
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

    fn needed_nodes(&self) -> Vec<proto::NodeAddress> {
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
                self.each(step, |conversation, at| {
                    conversation.on_homes_changed(at.step, at.links, at.own, is_failover);
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
                self.each(step, |conversation, at| {
                    conversation.announce_to_all(at.step, at.links);
                });
                self.announce_everywhere(step);
            }
            AccountEvent::PreviousDone => self.announce_everywhere(step),
            AccountEvent::Announce(node) => self.announce(step, &node),
        }
    }

    fn on_record_changed(&mut self, step: &mut Step<'_>, moves: bool) {
        self.set_policies();
        self.each(step, |conversation, at| {
            conversation.on_own_record(at.step, at.links, at.own, moves);
        });
        self.announce_everywhere(step);
        // Contacts that are online learn at once which record counts now.
        self.each(step, |conversation, at| {
            let log = contact::established(&at.step.rows, conversation.contact());
            if log.is_ok_and(|log| log == *conversation.log_id()) {
                conversation.send_record(at.step, at.links, at.own, None);
            }
        });
        self.locate_all(step);
    }

    fn on_contact_event(&mut self, step: &mut Step<'_>, event: ContactEvent) {
        match event {
            ContactEvent::Create(new) => self.create_conversation(step, *new),
            ContactEvent::Crossed(account) => {
                let _ = self.accept(step, &account);
            }
            ContactEvent::InviteUsed(key) => invites::on_used(step, &key),
            ContactEvent::RecordChanged(account) => {
                let mut changed = Vec::new();
                self.each(step, |conversation, at| {
                    let is_theirs = *conversation.contact() == account;
                    if is_theirs && conversation.on_contact_record(at.step, at.links, at.own) {
                        changed.extend(conversation.unannounced().copied());
                    }
                });
                for node in changed {
                    self.announce(step, &node);
                }
            }
            ContactEvent::RecordReceived(node, account) => {
                if self.account.as_ref().is_some_and(|me| me.is_active_home(&node)) {
                    self.each(step, |conversation, _| {
                        if *conversation.contact() == account {
                            conversation.on_record_received(&node);
                        }
                    });
                }
            }
            ContactEvent::KnownToContact(log) => {
                self.with(step, &log, |conversation, at| {
                    conversation.on_known_to_contact(at.step);
                });
            }
            ContactEvent::Established(log) => {
                self.with(step, &log, |conversation, at| {
                    conversation.send_drafts(at.step, at.links, at.own);
                });
            }
        }
    }

    fn on_conversation_event(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        event: ConversationEvent,
    ) {
        let Self { account: Some(account), contacts, conversations, links, .. } = self else {
            return;
        };
        let local = Local { own: account.identity(), conversations };
        match event {
            ConversationEvent::Created => {
                if let Some(conversation) = local.conversations.get(log) {
                    contacts.deliver(step, links, local, conversation.contact());
                }
            }
            ConversationEvent::Control(control) => {
                contacts.apply_control(step, local, log, control);
            }
            ConversationEvent::Acked => account.plan_audit(step),
        }
    }
}

/// What a conversation is given for the time of a call.
struct With<'a, 'b> {
    step: &'a mut Step<'b>,
    links: &'a mut Links,
    own: Identity<'a>,
}

/// Conversations.
impl Client {
    /// Lets a conversation act, and follows up on what it raises.
    fn with<T>(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        act: impl FnOnce(&mut Conversation, With<'_, '_>) -> T,
    ) -> Option<T> {
        let Self { account: Some(account), conversations, links, .. } = self else { return None };
        let conversation = conversations.get_mut(log)?;
        let own = account.identity();
        let result = act(conversation, With { step: &mut *step, links, own });
        for event in conversation.finish(step) {
            self.on_conversation_event(step, log, event);
        }
        Some(result)
    }

    /// Lets all conversations act.
    fn each(&mut self, step: &mut Step<'_>, mut act: impl FnMut(&mut Conversation, With<'_, '_>)) {
        for log in self.conversations.keys().copied().collect::<Vec<_>>() {
            self.with(step, &log, &mut act);
        }
    }

    /// Closes the logs of conversations at the active homes, which have other roles from now on.
    fn close_conversations(&mut self, step: &mut Step<'_>) {
        let homes = self.account.as_ref().map(Account::active_homes).unwrap_or_default();
        for home in homes {
            self.links.close_at(step, &home.node, |channel| {
                matches!(channel.used_for, ChannelUse::Read | ChannelUse::Write | ChannelUse::Have)
            });
        }
    }

    fn set_policies(&mut self) {
        let Some(account) = &self.account else { return };
        let policy = account.policy();
        for conversation in self.conversations.values_mut() {
            conversation.set_policy(policy.clone());
        }
    }

    fn create_conversation(&mut self, step: &mut Step<'_>, new: NewConversation) {
        let Some(account) = &self.account else { return };
        let (homes, policy) = (account.homes(), account.policy());
        let log = new.genesis.id();
        let conversation = Conversation::create(step, new, homes, policy);
        self.conversations.insert(log, conversation);
        self.with(step, &log, |conversation, at| conversation.open(at.step, at.links, at.own));
    }

    /// Opens the conversations that are at a node.
    fn open_conversations(&mut self, step: &mut Step<'_>, node: &NodeId) {
        self.each(step, |conversation, at| {
            if conversation.is_at(node) {
                conversation.on_home_up(at.step, at.links, at.own, node);
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
        self.each(step, |conversation, at| {
            if conversation.has_to_announce(node) {
                Contacts::ask_where(at.step, at.links, node, *conversation.contact());
                if !is_home {
                    conversation.announce(at.step, at.links, node);
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
            if conversation.unannounced().next().is_some() {
                Contacts::locate_soon(step, *conversation.contact(), 0);
            }
        }
    }

    /// Joins the conversation that a contact asked for, and says so in it.
    fn accept(
        &mut self,
        step: &mut Step<'_>,
        contact: &proto::AccountId,
    ) -> Result<Reply, CommandError> {
        self.active()?;
        let Self { account: Some(account), contacts, conversations, .. } = self else {
            return Err(CommandError::NoAccount);
        };
        let local = Local { own: account.identity(), conversations };
        let (hashes, secrets): (Vec<_>, Vec<_>) =
            key_packages::secrets(&step.rows).into_iter().unzip();
        let joining = contacts.accept(step, local, &secrets, contact)?;
        let Joining { new, replaced, told, used_package } = joining;
        if let Some(hash) = hashes.get(used_package) {
            key_packages::on_used(step, hash);
        }
        if let Some(replaced) = replaced.and_then(|replaced| self.conversations.remove(&replaced)) {
            replaced.forget(step, &mut self.links);
        }
        let log = new.genesis.id();
        let (homes, policy) = (account.homes(), account.policy());
        let conversation = Conversation::create(step, new, homes, policy);
        self.conversations.insert(log, conversation);
        let unannounced = self.with(step, &log, |conversation, at| {
            conversation.check_told(at.step, at.links, &told);
            conversation.open(at.step, at.links, at.own);
            conversation.unannounced().copied().collect::<Vec<_>>()
        });
        for node in unannounced.unwrap_or_default() {
            self.announce(step, &node);
        }
        self.with(step, &log, |conversation, at| {
            let With { step, links, own } = at;
            conversation.send_record(step, links, own, replaced);
            conversation.send_drafts(step, links, own);
        });
        Ok(Reply::Nothing)
    }

    fn remove_contact(
        &mut self,
        step: &mut Step<'_>,
        contact: &proto::AccountId,
    ) -> Result<Reply, CommandError> {
        self.contacts.remove(step, &mut self.links, contact)?;
        conversation::forget_drafts(step, contact);
        // Crossing requests may have left more than one.
        let theirs = self.conversations.extract_if(.., |_, c| c.contact() == contact);
        for (log, conversation) in theirs.collect::<Vec<_>>() {
            conversation.forget(step, &mut self.links);
            log::erase(step, &log);
            contact::settle(step, &log);
        }
        Ok(Reply::Nothing)
    }
}

/// Nodes.
impl Client {
    fn on_disconnected(&mut self, step: &mut Step<'_>, node: &NodeId) {
        self.links.on_disconnected(step, node);
        step.timers.disarm_all(
            |timer| matches!(timer, Timer::Account(AccountTimer::Retry(at, _)) if at == node),
        );
        if let Self { account: Some(account), contacts, conversations, links, .. } = self {
            account.on_node_gone(step, node);
            let local = Local { own: account.identity(), conversations };
            contacts.on_node_gone(step, links, local, node);
        }
        step.event(Event::LinkChanged(*node, false));
    }

    fn on_node_up(&mut self, step: &mut Step<'_>, node: &NodeId) {
        step.event(Event::LinkChanged(*node, true));
        if let Some(recovery) = &self.recovery {
            recovery.ask(step, &mut self.links, node);
        }
        let Some(account) = &mut self.account else { return };
        account.on_node_up(step, &mut self.links, node);
        let is_active_home = account.is_active_home(node);
        self.dispatch(step);
        if self.active().is_err() {
            return;
        }
        if !is_active_home {
            self.open_conversations(step, node);
        }
        if let Self { account: Some(account), contacts, conversations, links, .. } = self {
            let local = Local { own: account.identity(), conversations };
            contacts.on_node_up(step, links, local, node);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else a node says is an answer")]
    fn on_frame(&mut self, step: &mut Step<'_>, node: &NodeId, frame: Frame) {
        let Frame { request, body } = frame;
        self.links.record_response(node, step.now);
        if let Body::Hello(hello) = body {
            if self.links.is_up(node) {
                // What was signed over the first nonce, and what will be, must stay valid.
                return invalid(step, node);
            }
            if self.links.on_hello(step, node, hello) {
                self.on_node_up(step, node);
            }
            return;
        }
        if !self.links.is_up(node) {
            return step.count_dropped();
        }
        match body {
            Body::Deliver { channel, entry } => self.on_delivered(step, node, channel, entry),
            Body::Signal { channel, ciphertext } => {
                let log = self.links.channel(node, channel).map(|channel| channel.log);
                let conversation = log.and_then(|log| self.conversations.get(&log));
                match conversation {
                    Some(conversation) => conversation.on_signal(step, &ciphertext),
                    None => step.count_dropped(),
                }
            }
            Body::Announce { channel: number, sequence, reference } => {
                let channel = self.links.channel(node, number);
                let announces = |channel: &Channel| channel.used_for == ChannelUse::Have;
                let Some(channel) = channel.filter(announces) else { return step.count_dropped() };
                self.with(step, &channel.log, |conversation, at| {
                    let channel = ChannelAt { node, number };
                    conversation.on_announced(at.step, at.links, channel, sequence, reference);
                });
            }
            Body::NodeAck { channel, reference, node: holder, ack } => {
                let log = self.links.channel(node, channel).map(|channel| channel.log);
                let Some(log) = log else { return step.count_dropped() };
                self.with(step, &log, |conversation, at| {
                    let ack = log::Acked { node: holder.unwrap_or(*node), ack };
                    conversation.on_ack(at.step, at.links, node, &reference, ack);
                });
            }
            Body::Goodbye(_) => {}
            answer => match self.links.take_answered(node, request, step.now) {
                Some(request) => self.on_answer(step, node, request, answer),
                None => invalid(step, node),
            },
        }
    }

    fn on_delivered(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        number: u32,
        entry: proto::Entry,
    ) {
        let Some(channel) = self.links.channel(node, number) else { return step.count_dropped() };
        let at_channel = ChannelAt { node, number };
        match channel.used_for {
            ChannelUse::Read => {
                self.with(step, &channel.log, |conversation, at| {
                    let With { step, links, own } = at;
                    conversation.on_delivered(step, links, own, at_channel, channel.key, entry);
                });
            }
            ChannelUse::Inbox | ChannelUse::PreviousInbox => {
                self.on_inbox_entry(step, at_channel, channel, entry);
            }
            ChannelUse::Write
            | ChannelUse::Have
            | ChannelUse::Invited(_)
            | ChannelUse::Announce(_) => step.count_dropped(),
        }
    }

    fn on_inbox_entry(
        &mut self,
        step: &mut Step<'_>,
        at: ChannelAt<'_>,
        channel: Channel,
        entry: proto::Entry,
    ) {
        let sequence = entry.sequence;
        let Self { account: Some(account), contacts, conversations, links, .. } = self else {
            return;
        };
        let envelope = entry.into_envelope(channel.log, channel.key, [0; 64]);
        let local = Local { own: account.identity(), conversations };
        contacts.on_request(step, local, &envelope);
        account.on_inbox_delivered(step, links, at, channel.used_for, sequence);
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
                true
            }
            (Request::Open(_), _) => false,
            (Request::Log(log, request), answer) => self
                .with(step, &log, |conversation, at| {
                    let With { step, links, own } = at;
                    conversation.on_answer(step, links, own, node, &request, answer)
                })
                .unwrap_or(true),
            (Request::Account(AccountRequest::GetOwnBundle), Body::BundleIs(bundle)) => {
                self.on_own_bundle(step, &bundle);
                true
            }
            (Request::Account(request), answer) => {
                let Self { account: Some(account), links, .. } = self else { return };
                account.on_answer(step, links, node, request, answer)
            }
            (Request::Contact(account, request), answer) => {
                self.on_contact_answer(step, node, account, request, answer)
            }
        };
        if !is_answer {
            // What was asked is asked again.
            invalid(step, node);
            let refused = Refused { code: proto::Code::Unexpected, newer: &[] };
            self.on_refused(step, node, request, refused);
        }
    }

    fn on_contact_answer(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        account: proto::AccountId,
        request: ContactRequest,
        answer: Body,
    ) -> bool {
        let Self { account: Some(me), contacts, conversations, links, .. } = self else {
            return true;
        };
        let local = Local { own: me.identity(), conversations };
        let at = At { node, account: &account };
        match (request, answer) {
            (ContactRequest::GetBundle, Body::BundleIs(bundle)) => {
                contacts.on_bundle(step, links, local, at, &bundle);
            }
            (ContactRequest::TakeKeyPackages, Body::KeyPackages { packages, .. }) => {
                contacts.on_key_packages(step, links, local, at, &packages);
            }
            (ContactRequest::Deliver, Body::Accepted { .. }) => {
                contacts.on_delivered(step, links, local, at);
            }
            _ => return false,
        }
        true
    }

    fn on_refused(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        request: Request,
        refused: Refused<'_>,
    ) {
        let code = refused.code;
        match request {
            Request::Open(number) => {
                if let Some(channel) = self.links.on_open_refused(node, number) {
                    self.on_open_refused(step, node, channel, refused);
                }
            }
            Request::Log(log, request) => {
                self.with(step, &log, |conversation, at| {
                    let With { step, links, own } = at;
                    conversation.on_refused(step, links, own, node, &request, code);
                });
            }
            Request::Account(AccountRequest::GetOwnBundle) => {
                let links = &mut self.links;
                let gives_up =
                    |recovery: &mut Recovery| !recovery.on_refused(step, links, node, code);
                if let Some(recovery) = self.recovery.take_if(gives_up) {
                    step.done(recovery.ticket(), Err(CommandError::UnknownAccount));
                }
            }
            Request::Account(request) => {
                if let Self { account: Some(account), links, .. } = self {
                    account.on_refused(step, links, node, request, refused);
                }
            }
            Request::Contact(account, request) => {
                let Self { account: Some(me), contacts, conversations, links, .. } = self else {
                    return;
                };
                let local = Local { own: me.identity(), conversations };
                let at = At { node, account: &account };
                match request {
                    ContactRequest::GetBundle => contacts.on_unknown(step, links, local, at, code),
                    ContactRequest::TakeKeyPackages | ContactRequest::Deliver => {
                        contacts.on_refused(step, links, local, at, refused);
                    }
                }
            }
        }
    }

    fn on_opened(&mut self, step: &mut Step<'_>, node: &NodeId, channel: Channel, head: Cursor) {
        match channel.used_for {
            ChannelUse::Inbox | ChannelUse::PreviousInbox => {
                if let Self { account: Some(account), links, .. } = self {
                    account.on_inbox_opened(step, links, node, channel.used_for, head);
                }
            }
            ChannelUse::Invited(account) => {
                let Self { account: Some(me), contacts, conversations, links, .. } = self else {
                    return;
                };
                let local = Local { own: me.identity(), conversations };
                let at = At { node, account: &account };
                contacts.on_inbox_opened(step, links, local, at);
            }
            used_for @ (ChannelUse::Read
            | ChannelUse::Write
            | ChannelUse::Have
            | ChannelUse::Announce(_)) => {
                self.with(step, &channel.log, |conversation, at| {
                    let With { step, links, own } = at;
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
        match channel.used_for {
            ChannelUse::Inbox | ChannelUse::PreviousInbox => {
                if let Self { account: Some(account), links, .. } = self {
                    account.on_inbox_refused(step, links, node, channel.used_for, refused.code);
                }
            }
            ChannelUse::Invited(account) => {
                let Self { account: Some(me), contacts, conversations, links, .. } = self else {
                    return;
                };
                let local = Local { own: me.identity(), conversations };
                contacts.on_refused(step, links, local, At { node, account: &account }, refused);
            }
            used_for @ (ChannelUse::Read
            | ChannelUse::Write
            | ChannelUse::Have
            | ChannelUse::Announce(_)) => {
                self.with(step, &channel.log, |conversation, at| {
                    conversation.on_open_refused(at.step, at.links, node, used_for, refused.code);
                });
            }
        }
    }

    /// The bundle of the account that is being recovered is here.
    fn on_own_bundle(&mut self, step: &mut Step<'_>, bundle: &[u8]) {
        let Some(recovery) = self.recovery.take() else { return };
        let ticket = recovery.ticket();
        let result = recovery.finish(step, &mut self.links, bundle);
        let result = result.map(|account| {
            let id = account.id();
            self.account = Some(account);
            Reply::Account(id)
        });
        step.done(ticket, result);
    }

    fn on_timeout(&mut self, step: &mut Step<'_>) {
        for _ in 0..TIMERS_AT_A_TIME {
            let Some(timer) = step.timers.pop_due(step.now) else { return };
            self.on_timer(step, timer);
            self.dispatch(step);
        }
    }

    fn on_timer(&mut self, step: &mut Step<'_>, timer: Timer) {
        match timer {
            Timer::Acknowledge(node) => self.links.acknowledge(step, &node),
            Timer::Conversation(timer, log) => {
                self.with(step, &log, |conversation, at| {
                    conversation.on_timer(at.step, at.links, at.own, timer);
                });
            }
            Timer::Account(AccountTimer::Retry(node, PendingTask::Recover)) => {
                if let Some(recovery) = self.recovery.as_ref().filter(|_| self.links.is_up(&node)) {
                    recovery.ask(step, &mut self.links, &node);
                }
            }
            Timer::Account(AccountTimer::Retry(node, PendingTask::Add(account))) => {
                if let Self { account: Some(me), contacts, conversations, links, .. } = self
                    && links.is_up(&node)
                {
                    let local = Local { own: me.identity(), conversations };
                    contacts.retry(step, links, local, At { node: &node, account: &account });
                }
            }
            Timer::Account(timer) => {
                if let Self { account: Some(account), links, .. } = self {
                    account.on_timer(step, links, timer);
                }
            }
            Timer::Contact(ContactTimer::Locate(tries), account) => {
                let theirs = self.conversations.values().filter(|c| *c.contact() == account);
                let unannounced = theirs.flat_map(|c| c.unannounced().copied()).collect();
                if let Self { account: Some(me), contacts, links, .. } = self {
                    contacts.on_locate(step, links, me.identity(), account, tries, unannounced);
                }
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
                self.create_account(step, &phrase, name, homes)
            }
            Action::RecoverAccount { phrase, name, homes } => {
                self.recover(step, ticket, phrase, name, homes)?;
                return Ok(None);
            }
            Action::Move { homes, pinned } => {
                let (account, links) = self.active_mut()?;
                account.migrate(step, links, homes, &pinned).map(|()| Reply::Nothing)
            }
            Action::WantCopies { copies, receipts } => {
                let (account, links) = self.active_mut()?;
                account.want_copies(step, links, copies, receipts).map(|()| Reply::Nothing)
            }
            Action::Invite { uses, valid_s } => {
                let (account, links) = self.active_mut()?;
                account.invite(step, links, uses, valid_s)
            }
            Action::AddContact { link, name } => self.add_contact(step, &link, name),
            Action::Accept { contact } => self.accept(step, &contact),
            Action::RemoveContact { contact } => self.remove_contact(step, &contact),
            Action::Rename { contact, name } if name.len() <= limits::NAME_MAX => {
                self.contacts.change(step, &contact, |contact| contact.name = name)
            }
            Action::Rename { .. } => Err(CommandError::TooLong(limits::NAME_MAX)),
            Action::SetVerified { contact, verified } => {
                self.contacts.change(step, &contact, |contact| contact.verified = verified)
            }
            Action::Send { conversation, text, reply_to } => {
                self.send_text(step, &conversation, &text, reply_to)
            }
            Action::Edit { conversation, target, text } => {
                self.edit(step, &conversation, target, &text)
            }
            Action::Delete { conversation, target } => {
                self.in_conversation(step, &conversation, |c, at| {
                    c.delete(at.step, at.links, at.own, target)
                })
            }
            Action::React { conversation, target, emoji } => {
                self.react(step, &conversation, target, emoji)
            }
            Action::MarkRead { conversation } => {
                self.in_conversation(step, &conversation, |c, at| {
                    Ok(c.mark_read(at.step, at.links, at.own))
                })
            }
            Action::Typing { conversation } => {
                self.in_conversation(step, &conversation, |c, at| c.typing(at.step, at.links))
            }
            Action::Rekey { conversation } => self
                .in_conversation(step, &conversation, |c, at| c.rekey(at.step, at.links, at.own)),
        };
        reply.map(Some)
    }

    fn create_account(
        &mut self,
        step: &mut Step<'_>,
        phrase: &crypto::identity::Phrase,
        name: String,
        homes: Vec<proto::NodeAddress>,
    ) -> Result<Reply, CommandError> {
        if self.account.is_some() || self.recovery.is_some() {
            return Err(CommandError::AccountExists);
        }
        let account = Account::create(step, &mut self.links, phrase, name, homes)?;
        let id = account.id();
        self.account = Some(account);
        Ok(Reply::Account(id))
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
        match contact::row(&step.rows, contact).map(|row| row.state()) {
            None => Err(CommandError::NoContact),
            Some(ContactState::Established) => self.in_conversation(step, conversation, |c, at| {
                c.send_text(at.step, at.links, at.own, text, reply_to)
            }),
            Some(_) if reply_to.is_some() => Err(CommandError::NotAccepted),
            Some(_) => {
                conversation::keep_draft(step, contact, text)?;
                Ok(Reply::Waiting)
            }
        }
    }

    fn edit(
        &mut self,
        step: &mut Step<'_>,
        conversation: &ConversationId,
        target: Reference,
        text: &str,
    ) -> Result<Reply, CommandError> {
        conversation::check_text(text)?;
        self.in_conversation(step, conversation, |c, at| {
            c.edit(at.step, at.links, at.own, target, text)
        })
    }

    fn react(
        &mut self,
        step: &mut Step<'_>,
        conversation: &ConversationId,
        target: Reference,
        emoji: String,
    ) -> Result<Reply, CommandError> {
        if emoji.len() > limits::EMOJI_MAX {
            return Err(CommandError::TooLong(limits::EMOJI_MAX));
        }
        self.in_conversation(step, conversation, |c, at| {
            c.react(at.step, at.links, at.own, target, emoji)
        })
    }

    /// Acts in a conversation; in one with a contact, once that has accepted.
    fn in_conversation(
        &mut self,
        step: &mut Step<'_>,
        conversation: &ConversationId,
        act: impl FnOnce(&mut Conversation, With<'_, '_>) -> Result<Reply, CommandError>,
    ) -> Result<Reply, CommandError> {
        self.active()?;
        let ConversationId::Direct(contact) = conversation else {
            return Err(CommandError::NoConversation);
        };
        let log = contact::established(&step.rows, contact)?;
        self.with(step, &log, act).ok_or(CommandError::NoContact)?
    }

    fn add_contact(
        &mut self,
        step: &mut Step<'_>,
        link: &crate::InviteLink,
        name: String,
    ) -> Result<Reply, CommandError> {
        self.active()?;
        let Self { account: Some(account), contacts, conversations, links, .. } = self else {
            return Err(CommandError::NoAccount);
        };
        let local = Local { own: account.identity(), conversations };
        if contacts.add(step, links, local, link, name)? {
            return self.accept(step, &link.account);
        }
        Ok(Reply::Nothing)
    }

    fn recover(
        &mut self,
        step: &mut Step<'_>,
        ticket: u64,
        phrase: crypto::identity::Phrase,
        name: String,
        homes: Vec<proto::NodeAddress>,
    ) -> Result<(), CommandError> {
        if self.account.is_some() || self.recovery.is_some() {
            return Err(CommandError::AccountExists);
        }
        let links = &mut self.links;
        self.recovery = Some(Recovery::begin(step, links, ticket, phrase, name, homes)?);
        Ok(())
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
