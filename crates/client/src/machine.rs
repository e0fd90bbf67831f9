//! The machine of one device: it only routes; each concern is a module beside this one.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
    fmt,
    time::Duration,
};

use crypto::Phrase;
use proto::{
    AccountId, Body, Code, Frame, Gauge, Input, Instant, LogId, Machine, NodeAddress, NodeId,
    OpenError, Output, Rows, Seed, limits,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

use crate::{
    Action, Command, CommandError, Event, Reply,
    account::{Me, Recovery},
    audit::Audits,
    contact,
    conversation::Conversation,
    errand::{Errand, may_pass},
    link::{Ask, Handle, LINKS_MAX, Links, Purpose},
    outbox::{Refill, WINDOW},
    schema::{self, CONVERSATIONS},
    standing::Standing,
    step::Step,
    sync::{self, Unaccepted},
    trust::Offence,
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

/// One device: outbox, sync, timeline, conversations and contacts of one account.
pub struct Client {
    pub(crate) me: Option<Me>,
    pub(crate) links: Links,
    pub(crate) conversations: BTreeMap<LogId, Conversation>,
    pub(crate) unaccepted: BTreeMap<(NodeId, u32), Unaccepted>,
    pub(crate) counters: Counters,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) standing: Standing,
    pub(crate) audits: Audits,
    timers: BTreeSet<(Instant, Timer)>,
    armed: BTreeMap<Timer, Instant>,
    outputs: VecDeque<Output<Event>>,
    rng: ChaCha20Rng,
}

/// What was dropped and why, since the device was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames and envelopes that are not what a peer may send.
    pub dropped: u64,
    /// Messages whose device used one key twice.
    pub equivocations: u64,
}

/// What is due later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Tell a node how far its deliveries have come.
    Accept(NodeId),
    /// Tell the contact what has arrived.
    Receipt(LogId),
    /// Send what is in the outbox again.
    Retry(LogId),
    /// Ask again for what is missing.
    Refetch(LogId),
    /// Open a log at the stand-in again.
    StandBy(LogId),
    /// Fetch what the stand-in has named and the home has not delivered.
    Brief(LogId),
    /// Give the stand-in what too few nodes hold.
    Hedge(LogId),
    /// See whether the home still answers.
    Silence,
    /// Ask the homes for what they have signed for.
    Audit,
    /// Try again what a node would not do.
    Errand(NodeId, Errand),
    /// A home has been out of reach for long.
    Away(NodeId),
    /// A home in reserve has to serve.
    Reserve(NodeId),
    /// Look for a contact, so many times in vain before, unless a node of theirs was reached.
    Look(AccountId, u32),
}

/// How long to wait after so many tries in vain.
pub(crate) fn pause(tries: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1_u32.checked_shl(tries).unwrap_or(u32::MAX)).min(PAUSE_MAX)
}

/// How long to wait before trying again for the first time.
pub(crate) const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest wait between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(600);

impl fmt::Debug for Client {
    /// Most of a device is secret, so only its size is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} conversations, {:?})", self.conversations.len(), self.counters)
    }
}

impl Machine for Client {
    type Config = Config;
    type Command = Command;
    type Event = Event;

    fn open(config: Config, seed: Seed, now: Instant, rows: &dyn Rows) -> Result<Self, OpenError> {
        let mut client = Self {
            me: Me::load(rows),
            links: Links::new(config.transport),
            conversations: BTreeMap::new(),
            unaccepted: BTreeMap::new(),
            counters: Counters::default(),
            recovery: None,
            standing: Standing::default(),
            audits: Audits::default(),
            timers: BTreeSet::new(),
            armed: BTreeMap::new(),
            outputs: VecDeque::new(),
            rng: ChaCha20Rng::from_seed(seed.0),
        };
        for (log, _) in schema::load_all::<schema::Conversation>(rows, CONVERSATIONS, b"") {
            let log = LogId::try_from(log.as_slice())
                .map_err(|_| OpenError::Damaged("the key of a conversation"))?;
            let own = client.me.as_ref().map(Me::own).unwrap_or_default();
            let conversation = Conversation::load(rows, log, own)
                .ok_or(OpenError::Damaged("the rows of a conversation"))?;
            client.conversations.insert(log, conversation);
        }
        client.step(rows, now, |client, step| client.opened(step));
        Ok(client)
    }

    fn handle(&mut self, input: Input<Command>, now: Instant, rows: &dyn Rows) {
        self.step(rows, now, |client, step| match input {
            Input::Command(Command { ticket, action }) => client.command(step, ticket, action),
            Input::Connected(peer, _) => client.links.connected(step, &NodeId(peer.0)),
            Input::Frame(peer, frame) => client.frame(step, &NodeId(peer.0), frame),
            Input::Disconnected(peer) => client.disconnected(step, &NodeId(peer.0)),
            // It asks for no relays: nobody dials a device.
            Input::Reached(_) => {}
            Input::Timeout => client.timeout(step),
        });
    }

    fn poll_output(&mut self) -> Option<Output<Event>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }
}

impl Client {
    /// What was dropped and why.
    pub fn counters(&self) -> Counters {
        let dropped = self.counters.dropped.saturating_add(self.links.dropped());
        Counters { dropped, ..self.counters }
    }

    /// How full each collection is that peers or the application can make grow.
    pub fn gauges(&self) -> Vec<Gauge> {
        let mut unaccepted = BTreeMap::<&NodeId, usize>::new();
        for (node, _) in self.unaccepted.keys() {
            let handles = unaccepted.entry(node).or_default();
            *handles = handles.saturating_add(1);
        }
        let unaccepted = unaccepted.into_values().max().unwrap_or(0);
        let mut gauges = vec![
            Gauge::new("conversations", self.conversations.len(), CONVERSATIONS_MAX),
            Gauge::new("timers", self.timers.len(), TIMERS_MAX),
            Gauge::new("unaccepted handles of a link", unaccepted, limits::HANDLES_MAX),
            Gauge::new("outputs", self.outputs.len(), OUTPUTS_MAX),
            self.standing.trust.gauge(),
        ];
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

    pub(crate) fn count_dropped(&mut self) {
        self.counters.dropped = self.counters.dropped.saturating_add(1);
    }

    /// The account, if this device may act for it.
    pub(crate) fn active(&self) -> Result<&Me, CommandError> {
        let me = self.me.as_ref().ok_or(CommandError::NoAccount)?;
        if me.locked_out() { Err(CommandError::LockedOut) } else { Ok(me) }
    }

    /// Sets a timer; one that is set already keeps its time, and one of something that is gone is
    /// not set.
    pub(crate) fn arm(&mut self, due: Instant, timer: Timer) {
        let is_there = match timer {
            Timer::Accept(node) | Timer::Errand(node, _) | Timer::Reserve(node) => {
                self.links.is_up(&node)
            }
            Timer::Receipt(log)
            | Timer::Retry(log)
            | Timer::Refetch(log)
            | Timer::StandBy(log)
            | Timer::Brief(log)
            | Timer::Hedge(log) => self.conversations.contains_key(&log),
            Timer::Look(..) | Timer::Silence | Timer::Audit | Timer::Away(_) => self.me.is_some(),
        };
        if !is_there {
            return;
        }
        if let Entry::Vacant(vacant) = self.armed.entry(timer) {
            vacant.insert(due);
            self.timers.insert((due, timer));
        }
    }

    /// The same of one that may be set for later.
    pub(crate) fn arm_by(&mut self, due: Instant, timer: Timer) {
        if self.due(timer).is_some_and(|later| later > due) {
            self.disarm(timer);
        }
        self.arm(due, timer);
    }

    pub(crate) fn is_armed(&self, timer: Timer) -> bool {
        self.armed.contains_key(&timer)
    }

    /// When a timer is due that is set.
    pub(crate) fn due(&self, timer: Timer) -> Option<Instant> {
        self.armed.get(&timer).copied()
    }

    /// Takes timers back.
    pub(crate) fn disarm_all(&mut self, fits: impl Fn(&Timer) -> bool) {
        self.timers.retain(|(_, timer)| !fits(timer));
        self.armed.retain(|timer, _| !fits(timer));
    }

    pub(crate) fn disarm(&mut self, timer: Timer) {
        if let Some(due) = self.armed.remove(&timer) {
            self.timers.remove(&(due, timer));
        }
    }

    /// Forgets a conversation and whatever goes on in it. Its timeline stays in rows.
    pub(crate) fn forget_conversation(&mut self, step: &mut Step<'_>, log: &LogId) {
        self.conversations.remove(log);
        step.draft.delete(CONVERSATIONS, log.0);
        let of_it = [Timer::Receipt, Timer::Retry, Timer::Refetch];
        for timer in of_it.into_iter().chain([Timer::StandBy, Timer::Brief, Timer::Hedge]) {
            self.disarm(timer(*log));
        }
        for handle in self.links.close(step, |handle| handle.log == *log) {
            self.unaccepted.remove(&handle);
        }
    }

    fn step(&mut self, rows: &dyn Rows, now: Instant, act: impl FnOnce(&mut Self, &mut Step<'_>)) {
        let rng = ChaCha20Rng::from_rng(&mut self.rng);
        let mut step = Step::new(rows, now, rng);
        act(self, &mut step);
        self.watch_home(&mut step);
        self.watch_absence(now);
        self.outputs.extend(step.into_outputs());
    }

    /// Wants the links that the rows ask for, and takes up what a crash interrupted.
    fn opened(&mut self, step: &mut Step<'_>) {
        if let Some(me) = &mut self.me {
            me.forget_old_homes(step);
        }
        self.audits_resume(step);
        for node in &self.needed_nodes(step) {
            self.links.want(step, node);
        }
        let due = self.conversations.values().filter(|c| c.frontier.unacknowledged);
        for log in due.map(|c| c.log).collect::<Vec<_>>() {
            self.arm(step.now, Timer::Receipt(log));
        }
    }

    /// Gives up links that nothing needs any more.
    pub(crate) fn drop_idle_links(&mut self, step: &mut Step<'_>) {
        let needed = self.needed_nodes(step);
        for node in self.links.nodes() {
            if !needed.iter().any(|address| address.node == node) {
                self.links.drop_link(step, &node);
                self.unaccepted.retain(|(at, _), _| *at != node);
                self.disarm(Timer::Accept(node));
            }
        }
    }

    fn needed_nodes(&self, step: &Step<'_>) -> Vec<NodeAddress> {
        let Some(me) = self.me.as_ref().filter(|me| !me.locked_out()) else { return Vec::new() };
        let mut nodes = me.served().to_vec();
        nodes.extend(me.homes_away().cloned());
        nodes.extend(me.next_home().cloned());
        nodes.extend(me.former_homes().cloned());
        let contacts = schema::load_all::<schema::Contact>(&step.draft, schema::CONTACTS, b"");
        let adding = contacts.iter().filter_map(|(_, contact)| contact::adding(contact));
        nodes.extend(adding.flat_map(|link| link.nodes));
        nodes.extend(self.conversations.values().filter_map(|c| c.node().cloned()));
        nodes.extend(self.conversations.values().flat_map(Conversation::untold_addresses));
        nodes
    }

    fn timeout(&mut self, step: &mut Step<'_>) {
        for _ in 0..TIMERS_AT_A_TIME {
            let Some((due, timer)) =
                self.timers.first().copied().filter(|(due, _)| *due <= step.now)
            else {
                return;
            };
            self.timers.remove(&(due, timer));
            self.armed.remove(&timer);
            match timer {
                Timer::Accept(node) => self.accept_deliveries(step, &node),
                Timer::Receipt(log) => self.send_receipt(step, &log, false),
                Timer::Retry(log) => self.retry(step, &log),
                Timer::Refetch(log) => self.ask_again(step, &log),
                Timer::StandBy(log) => self.stand_by(step, &log),
                Timer::Brief(log) => self.fetch_named(step, &log),
                Timer::Hedge(log) => self.hedge(step, &log),
                // What follows from it is seen to after each input.
                Timer::Silence => {}
                Timer::Audit => self.audit(step),
                Timer::Errand(node, errand) => self.take_up(step, &node, errand),
                Timer::Away(node) => self.home_is_away(step, &node),
                Timer::Reserve(node) => self.reserve_serves(step, &node),
                Timer::Look(account, tries) => self.look(step, account, tries),
            }
        }
    }

    fn disconnected(&mut self, step: &mut Step<'_>, node: &NodeId) {
        self.links.disconnected(node);
        self.drop_errands(node);
        self.unaccepted.retain(|(at, _), _| at != node);
        self.disarm(Timer::Accept(*node));
        self.disarm(Timer::Reserve(*node));
        self.home_is_gone(node);
        self.knock_elsewhere(step, node);
        step.event(Event::Link(*node, false));
    }

    fn node_is_up(&mut self, step: &mut Step<'_>, node: &NodeId) {
        step.event(Event::Link(*node, true));
        if let Some(recovery) = &self.recovery {
            recovery.node_is_up(step, &mut self.links, node);
        }
        self.home_is_back(step, node);
        if let Some(me) = &self.me {
            if me.locked_out() {
                return;
            }
            if me.is_served(node) && me.is_in_reserve(node) {
                self.reserve_is_up(step, node);
            } else if me.is_served(node) {
                // Conversations are opened once the node knows whose they are.
                me.home_is_up(step, &mut self.links, node);
            } else {
                self.open_conversations(step, node);
            }
            self.take_moving_up(step, node);
            self.knock(step, node);
        }
    }

    fn open_conversations(&mut self, step: &mut Step<'_>, node: &NodeId) {
        for log in self.conversations_at(node) {
            if let Some(conversation) = self.conversations.get_mut(&log) {
                conversation.flow.tries = 0;
                conversation.flow.put_off = 0;
            }
            if self.talks_about(&log, node) {
                self.disarm(Timer::Retry(log));
                self.open_conversation(step, &log);
            } else {
                self.stand_by(step, &log);
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else a node says is an answer")]
    fn frame(&mut self, step: &mut Step<'_>, node: &NodeId, frame: Frame) {
        let Frame { request, body } = frame;
        self.links.heard(node, step.now);
        if let Body::Hello(hello) = body {
            if self.links.is_up(node) {
                // What was signed over the first nonce, and what will be, must go on to fit.
                return self.caught(step.now, node);
            }
            if self.links.greeted(step, node, hello) {
                self.node_is_up(step, node);
            }
            return;
        }
        if !self.links.is_up(node) {
            return self.count_dropped();
        }
        match body {
            Body::Deliver { handle: number, entry } => match self.links.handle(node, number) {
                Some(handle) => self.delivered(step, node, (number, handle), entry),
                None => self.count_dropped(),
            },
            Body::Signal { handle, ciphertext } => {
                self.signalled(step, node, handle, &ciphertext);
            }
            Body::Brief { handle, sequence, reference } => {
                self.briefed(step, node, handle, (sequence, reference));
            }
            Body::Held { handle, reference, node: holder, receipt } => {
                self.held(step, (node, handle), &reference, holder, receipt);
            }
            Body::Goodbye(_) => {}
            answer => match self.links.answered(node, request, step.now) {
                Some(ask) => self.answered(step, node, ask, answer),
                None => self.caught(step.now, node),
            },
        }
    }

    fn answered(&mut self, step: &mut Step<'_>, node: &NodeId, ask: Ask, answer: Body) {
        match (ask, answer) {
            (ask, Body::Refused { code, newer }) => self.refused(step, node, ask, code, &newer),
            (Ask::Open(number), Body::Opened { head, .. }) => {
                if let Some(handle) = self.links.opened(node, number) {
                    if let Purpose::Tell(_) = handle.purpose {
                        return self.ranking_is_told(step, node, &handle.log);
                    }
                    let lost_its_copy = sync::opened(step, node, &handle.log, head);
                    if lost_its_copy && handle.purpose == Purpose::Read {
                        self.refill(step, &handle.log, Refill::All);
                    }
                    if let (Purpose::Former, Some(me)) = (handle.purpose, &mut self.me) {
                        me.former_ends(node, head.sequence);
                    }
                    if let Some(conversation) = self.conversations.get_mut(&handle.log) {
                        conversation.flow.log_end = head.sequence;
                        conversation.flow.tries = 0;
                    }
                    self.log_is_open(step, node, handle);
                }
            }
            (Ask::Append(log, u64::MAX), Body::Accepted { .. }) => {
                self.request_answered(step, node, &log, None);
            }
            (Ask::Append(log, number), Body::Accepted { sequence, .. }) => {
                sync::stored(step, node, &log, sequence);
                if self.talks_about(&log, node) {
                    self.append_accepted(step, node, &log, number);
                }
            }
            (Ask::Hedge(log, _), Body::Accepted { sequence, .. }) => {
                sync::stored(step, node, &log, sequence);
            }
            (Ask::PutBundle(version), Body::Accepted { .. }) => {
                self.bundle_was_put(step, node, version);
            }
            (Ask::GetBundle(account), Body::BundleIs(bundle)) => {
                self.bundle_is(step, node, &account, &bundle);
            }
            (Ask::TakeKeyPackages(account), Body::KeyPackages { packages, .. }) => {
                self.key_packages_arrived(step, node, &account, &packages);
            }
            (Ask::PutKeyPackages(hashes), Body::KeyPackages { left, .. }) => {
                self.links.errand_done(node, Errand::KeyPackages);
                if let Some(me) = &self.me
                    && let Some(due) =
                        me.key_packages_are_up(step, &mut self.links, node, hashes, left)
                {
                    self.arm(due, Timer::Errand(*node, Errand::KeyPackages));
                }
            }
            (Ask::PutInvite(key), Body::Accepted { .. }) => {
                self.links.errand_done(node, Errand::Invite(key));
                Me::invite_is_registered(step, node, &key);
            }
            (Ask::Fetch(log, key), Body::Page { entries, more }) => {
                self.fetched(step, &log, key, (entries, more));
                self.named_is_here(step, node, &log, more);
            }
            (ask @ (Ask::Audit(..) | Ask::Challenge(..)), answer) => {
                self.audit_answered(step, node, ask, answer);
            }
            // No answer to this: what was asked is asked again.
            (ask, _) => {
                self.caught(step.now, node);
                self.refused(step, node, ask, Code::Unexpected, &[]);
            }
        }
    }

    fn log_is_open(&mut self, step: &mut Step<'_>, node: &NodeId, handle: Handle) {
        match handle.purpose {
            Purpose::Home => {
                self.links.errand_done(node, Errand::Home);
                if let Some(me) = &self.me {
                    me.inbox_is_open(step, &mut self.links, node);
                }
                self.open_conversations(step, node);
                self.look_for_all(step);
            }
            Purpose::Former => self.former_goes_on(step, node),
            Purpose::Tell(_) => {}
            Purpose::Read => {
                let Some(conversation) = self.conversations.get_mut(&handle.log) else { return };
                let contact = conversation.contact;
                conversation.waiting.start_over();
                if !std::mem::replace(&mut conversation.exists, true) {
                    conversation.save(step);
                    self.send_request(step, &contact);
                }
                self.disarm(Timer::Refetch(handle.log));
                // A refusal from before it was opened may have come meanwhile.
                self.start_over(step, &handle.log);
                self.ask_for_missing(step, &handle.log);
            }
            Purpose::Write if !self.talks_about(&handle.log, node) => self.hedge(step, &handle.log),
            Purpose::Write => self.pump(step, &handle.log),
            Purpose::Brief => self.stands_by(step, &handle.log),
            Purpose::Invited(account) => self.inbox_is_open(step, node, account),
        }
    }

    fn refused(&mut self, step: &mut Step<'_>, node: &NodeId, ask: Ask, code: Code, newer: &[u8]) {
        match ask {
            Ask::Append(log, u64::MAX) => {
                self.request_answered(step, node, &log, Some((code, newer)));
            }
            Ask::Append(log, number) if self.talks_about(&log, node) => {
                self.append_refused(step, &log, number, code);
            }
            Ask::Open(number) => {
                let Some(handle) = self.links.refused(node, number) else { return };
                match handle.purpose {
                    Purpose::Invited(account) => {
                        self.adding_refused(step, node, &account, (code, newer));
                    }
                    Purpose::Former => self.former_is_done(step, node),
                    Purpose::Tell(back) => {
                        self.telling_refused(step, node, (&handle.log, back), code);
                    }
                    Purpose::Read | Purpose::Write if !self.talks_about(&handle.log, node) => {}
                    Purpose::Read => self.open_refused(step, &handle.log),
                    Purpose::Write => {
                        self.open_refused(step, &handle.log);
                        if code == Code::Forbidden {
                            self.key_is_unknown(step, &handle.log);
                        }
                    }
                    Purpose::Brief => self.standing_by_refused(step, &handle.log),
                    Purpose::Home => self.home_refused(step, node, code),
                }
            }
            Ask::PutBundle(_) => self.bundle_was_refused(step, node, code, newer),
            Ask::GetBundle(account) => {
                let recovers = self.recovery.as_ref().is_some_and(|r| r.account() == account);
                if recovers && may_pass(code) {
                    return self.put_off(step, node, Errand::Recover, code);
                }
                let lost = self.recovery.take_if(|_| recovers);
                match lost {
                    Some(recovery) => {
                        step.done(recovery.ticket, Err(CommandError::UnknownAccount));
                    }
                    None => {
                        self.is_told_where(step, node, &account);
                        self.adding_failed(step, node, &account, code);
                    }
                }
            }
            Ask::TakeKeyPackages(account) => {
                self.adding_refused(step, node, &account, (code, newer));
            }
            Ask::PutKeyPackages(hashes) => {
                Me::key_packages_refused(step, hashes);
                self.put_off(step, node, Errand::KeyPackages, code);
            }
            Ask::PutInvite(key) => self.put_off(step, node, Errand::Invite(key), code),
            Ask::Challenge(..) => self.challenge_refused(step.now, node, code),
            // Of an append: it was the home when it was asked.
            Ask::Fetch(..) | Ask::Append(..) | Ask::Hedge(..) | Ask::Audit(..) => {}
        }
    }

    /// Whether this device talks about a log with a node, and not with another one by now.
    fn talks_about(&self, log: &LogId, node: &NodeId) -> bool {
        self.talks_with(log) == Some(*node)
    }

    /// The node with which this device talks about a log.
    pub(crate) fn talks_with(&self, log: &LogId) -> Option<NodeId> {
        self.conversations.get(log)?.node().map(|address| address.node)
    }

    pub(crate) fn home_refused(&mut self, step: &mut Step<'_>, node: &NodeId, code: Code) {
        if let Some(me) = self.me.as_mut().filter(|me| me.is_served(node)) {
            me.set_trouble(step, node, Some(code));
        }
        self.put_off(step, node, Errand::Home, code);
        self.offended(step.now, node, Offence::Unwilling);
    }

    fn bundle_is(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        account: &AccountId,
        bundle: &[u8],
    ) {
        let Some(recovery) = self.recovery.take_if(|recovery| recovery.account() == *account)
        else {
            return self.bundle_arrived(step, node, account, bundle);
        };
        let ticket = recovery.ticket;
        match recovery.finish(step, bundle) {
            Ok(me) => {
                step.done(ticket, Ok(Reply::Account(me.account)));
                // Another of its homes may have answered than the one that serves it.
                for home in me.served() {
                    self.links.want(step, home);
                    me.home_is_up(step, &mut self.links, &home.node);
                }
                self.me = Some(me);
                self.drop_idle_links(step);
            }
            Err(error) => step.done(ticket, Err(error)),
        }
    }

    fn signalled(&mut self, step: &mut Step<'_>, node: &NodeId, handle: u32, ciphertext: &[u8]) {
        let handle = self.links.handle(node, handle);
        let Some(conversation) = handle.and_then(|h| self.conversations.get(&h.log)) else {
            return self.count_dropped();
        };
        match conversation.open_activity(ciphertext) {
            Some(activity) if activity.typing => step.event(Event::Typing(conversation.contact)),
            Some(_) => {}
            None => self.count_dropped(),
        }
    }
}

/// Commands.
impl Client {
    fn command(&mut self, step: &mut Step<'_>, ticket: u64, action: Action) {
        let result = match action {
            Action::CreateAccount { phrase, name, homes } => {
                self.create_account(step, &phrase, name, homes)
            }
            Action::RecoverAccount { phrase, name, homes } => {
                match self.recover_account(step, ticket, (phrase, name, homes)) {
                    Ok(()) => return,
                    Err(error) => Err(error),
                }
            }
            Action::Move { homes, pinned } => self.move_home(step, homes, &pinned),
            Action::WantCopies { copies, receipts } => self.want_copies(step, copies, receipts),
            Action::Invite { uses, valid_s } => match &self.me {
                Some(me) if me.locked_out() => Err(CommandError::LockedOut),
                Some(me) => me.invite(step, &mut self.links, uses, valid_s),
                None => Err(CommandError::NoAccount),
            },
            Action::AddContact { link, name } => self.add_contact(step, &link, name),
            Action::Accept { contact } => self.accept(step, &contact),
            Action::RemoveContact { contact } => self.remove_contact(step, &contact),
            Action::Rename { contact, name } if name.len() <= limits::NAME_MAX => {
                Self::change_contact(step, &contact, |contact| contact.name = name)
            }
            Action::Rename { .. } => Err(CommandError::TooLong(limits::NAME_MAX)),
            Action::SetVerified { contact, verified } => {
                Self::change_contact(step, &contact, |contact| contact.verified = verified)
            }
            Action::Send { contact, text, reply_to } => self.send(step, &contact, &text, reply_to),
            Action::Edit { contact, target, text } => self.edit(step, &contact, target, &text),
            Action::Delete { contact, target } => self.delete(step, &contact, target),
            Action::React { contact, target, emoji } => self.react(step, &contact, target, emoji),
            Action::MarkRead { contact } => self.mark_read(step, &contact),
            Action::Typing { contact } => self.typing(step, &contact),
            Action::Rekey { contact } => self.rekey(step, &contact),
        };
        step.done(ticket, result);
    }

    fn create_account(
        &mut self,
        step: &mut Step<'_>,
        phrase: &Phrase,
        name: String,
        homes: Vec<NodeAddress>,
    ) -> Result<Reply, CommandError> {
        if self.me.is_some() || self.recovery.is_some() {
            return Err(CommandError::AccountExists);
        }
        let me = Me::create(step, phrase, name, homes)?;
        for home in me.served() {
            self.links.want(step, home);
            if self.links.is_up(&home.node) {
                me.home_is_up(step, &mut self.links, &home.node);
            }
        }
        let account = me.account;
        self.me = Some(me);
        Ok(Reply::Account(account))
    }

    fn recover_account(
        &mut self,
        step: &mut Step<'_>,
        ticket: u64,
        wanted: (Phrase, String, Vec<NodeAddress>),
    ) -> Result<(), CommandError> {
        if self.me.is_some() || self.recovery.is_some() {
            return Err(CommandError::AccountExists);
        }
        self.recovery = Some(Recovery::begin(step, &mut self.links, ticket, wanted)?);
        Ok(())
    }
}

/// Conversations of a device. Each takes up to two handles, which may all be at one node; a few
/// are left for inboxes.
pub(crate) const CONVERSATIONS_MAX: usize = 2000;
/// Four timers for each link, six for each conversation, one for each contact, and one for each
/// errand: two nodes of whoever is being added, invites, and four of the account.
const TIMERS_MAX: usize =
    4 * LINKS_MAX + 6 * CONVERSATIONS_MAX + 3 * contact::CONTACTS_MAX + 2 * limits::INVITES_MAX + 5;
/// Timers worked off at a time, so that other inputs don't wait.
const TIMERS_AT_A_TIME: usize = 64;
/// What one input leads to at most: a full window for each timer that is due, and something about
/// each link and each handle. Between inputs the outputs are drained.
const OUTPUTS_MAX: usize = TIMERS_AT_A_TIME * WINDOW + LINKS_MAX + 2 * limits::HANDLES_MAX;
