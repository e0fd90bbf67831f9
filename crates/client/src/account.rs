//! The own account: its record, its homes, and what it keeps them supplied with. Specified in
//! `spec/accounts.md`.
//!
//! ```text
//!  record ─ signs what the account says of itself     migration ─ moves it to other homes
//!  homes ─ primary, secondary, reserve; failover      reputation, hold_down ─ which of them to use
//!  key_packages, invites ─ at each home               audit ─ whether homes have what they signed
//!  recovery ─ the account from its phrase
//! ```

pub(crate) mod audit;
mod hold_down;
mod homes;
pub(crate) mod invites;
pub(crate) mod key_packages;
mod migration;
mod previous;
mod record;
mod recovery;
mod reputation;
pub(crate) mod row;

use std::{collections::BTreeSet, time::Duration};

use crypto::{
    SigningKey,
    identity::{Authority, Bundle, InboxKey, UnsignedRecord},
};
use proto::{AccountId, Body, Code, Cursor, Gauge, LogGenesis, LogId, NodeAddress, NodeId, Rows};
use rand_core::Rng;

use hold_down::HoldDown;
use previous::PreviousHomes;
use reputation::Reputation;
use row::AccountRow;

pub(crate) use recovery::Recovery;

use crate::{
    CommandError,
    contact::Refused,
    identity::Identity,
    link::{Channel, ChannelAt, ChannelUse, InboxUse, Links, OpenLog, is_transient},
    log::{self, Policy},
    ranking::{ACTIVE_HOMES, first_homes},
    step::{Misbehaviour, Step},
    topics::{AccountRequest, AccountTimer, PendingTask, Timer},
};

/// The account of this device.
pub(crate) struct Account {
    id: AccountId,
    device: SigningKey,
    inbox: InboxKey,
    bundle: Bundle,
    /// The record that the next home has to accept.
    next: Option<Bundle>,
    previous: PreviousHomes,
    /// Homes that have been unreachable for long.
    unreachable: BTreeSet<NodeId>,
    /// The first two that are not, in the order of the record.
    active: Vec<NodeAddress>,
    /// The second of them is the primary.
    swapped: bool,
    hold_down: HoldDown,
    reputation: Reputation,
    /// How often in a row nothing new was acknowledged between two audits.
    audits: u32,
    row: AccountRow,
    events: Vec<AccountEvent>,
}

/// What others have to know of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccountEvent {
    /// Other homes are active, or the same in other roles; in a failover another one is the
    /// primary.
    HomesChanged { is_failover: bool },
    /// Another record counts. If the account `moves` by it, another home is active.
    RecordChanged { moves: bool },
    /// Other nodes count, or more of them, until an entry is stored.
    PolicyChanged,
    /// The inbox is open at an active home: it knows whose the conversations are.
    InboxOpened(NodeId),
    /// A home that was left sends on contacts that come: those who move at the same time can be
    /// seen there.
    PreviousInformed,
    /// Nothing more is expected of a home that was left.
    PreviousDone,
    /// A node is up that may have to be told of rankings.
    Announce(NodeId),
}

impl Account {
    pub(crate) fn load(rows: &dyn Rows) -> Option<Self> {
        let row = row::load(rows)?;
        let bundle = row.bundle()?;
        let mut account = Self::new(row, bundle)?;
        account.reputation.set_faulty(audit::faulty(rows));
        Some(account)
    }

    fn new(row: AccountRow, bundle: Bundle) -> Option<Self> {
        Some(Self {
            id: bundle.account(),
            device: row.device()?,
            inbox: row.inbox()?,
            next: row.next(),
            previous: row.previous(),
            unreachable: BTreeSet::new(),
            active: first_homes(&bundle).to_vec(),
            swapped: false,
            hold_down: HoldDown::default(),
            reputation: Reputation::default(),
            audits: 0,
            bundle,
            row,
            events: Vec::new(),
        })
    }

    /// Signs a record whose only device is this one, and keeps all of it.
    fn create_device(
        step: &mut Step<'_>,
        authority: &Authority,
        unsigned: NewDevice,
    ) -> Result<Self, CommandError> {
        let NewDevice { version, copies, name, homes } = unsigned;
        let (mut device_seed, mut inbox_seed) = ([0; 32], [0; 32]);
        step.rng().fill_bytes(&mut device_seed);
        step.rng().fill_bytes(&mut inbox_seed);
        let (device, inbox) = (SigningKey::from_seed(device_seed), InboxKey::from_seed(inbox_seed));
        let too_large = CommandError::BadRequest("its record would be too large");
        let bundle = authority
            .sign_record(UnsignedRecord {
                version,
                devices: vec![crypto::identity::Device {
                    key: device.public(),
                    added_s: step.now().as_secs(),
                }],
                homes,
                copies,
                inbox_key: inbox.public(),
            })
            .map_err(|_| too_large.clone())?;
        let row = AccountRow::new(authority, device_seed, inbox_seed, &bundle, name);
        row.save(step);
        let account = Self::new(row, bundle).ok_or(too_large)?;
        account.make_first_key_packages(step);
        Ok(account)
    }

    /// What the modules below see of it.
    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity {
            account: self.id,
            device: &self.device,
            inbox: &self.inbox,
            bundle: &self.bundle,
            name: self.row.name(),
            homes: self.homes(),
        }
    }

    pub(crate) fn id(&self) -> AccountId {
        self.id
    }

    /// Returns whether a newer bundle than this device's was published.
    pub(crate) fn is_locked_out(&self) -> bool {
        self.row.is_locked_out()
    }

    pub(crate) fn take_events(&mut self) -> Vec<AccountEvent> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn gauge(&self) -> Gauge {
        self.reputation.gauge()
    }

    /// Which nodes have to acknowledge an entry before it is called stored.
    pub(crate) fn policy(&self) -> Policy {
        let needed = usize::try_from(self.row.acks_needed()).unwrap_or(usize::MAX);
        let extra = self.bundle.homes().iter().take(self.bundle.copies()).skip(ACTIVE_HOMES);
        let extra = extra.map(|home| home.node).collect();
        Policy::new(needed, extra, self.reputation.faulty().clone())
    }

    /// Other nodes count until an entry is stored, or more of them.
    fn on_policy_changed(&mut self) {
        self.events.push(AccountEvent::PolicyChanged);
    }

    /// A node has misbehaved; of nodes that are not own homes nothing better is expected.
    pub(crate) fn on_misbehaviour(&mut self, step: &Step<'_>, node: &NodeId, kind: Misbehaviour) {
        if self.is_active_home(node) {
            self.reputation.note(*node, kind, step.now());
        }
    }

    pub(crate) fn needed_nodes(&self) -> impl Iterator<Item = &NodeAddress> {
        let homes = self.bundle.homes().iter();
        let unreachable = homes.filter(|home| self.unreachable.contains(&home.node));
        let previous = self.previous.addresses();
        self.active.iter().chain(unreachable).chain(self.next_home()).chain(previous)
    }

    fn inbox_log(&self) -> LogId {
        LogGenesis::Inbox(self.id).id()
    }

    fn save(&mut self, step: &mut Step<'_>) {
        self.row.set_migration(self.next.as_ref(), &self.previous);
        self.row.save(step);
    }
}

/// What a new device's record says.
struct NewDevice {
    version: u64,
    copies: u32,
    name: String,
    homes: Vec<NodeAddress>,
}

/// What nodes say.
impl Account {
    /// A node is up: resumes whatever there is to do at it.
    pub(crate) fn on_node_up(&mut self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        self.set_unreachable(step, links, node, false);
        if self.is_locked_out() {
            return;
        }
        if self.is_active_home(node) && self.is_reserve_home(node) {
            self.arm_reserve(step, node);
        } else if self.is_active_home(node) {
            // Conversations are opened once the node knows whose they are.
            self.publish(step, links, node);
        }
        self.resume_migration(step, links, node);
    }

    /// The connection to a node is gone; the next one begins all tasks by itself.
    pub(crate) fn on_node_gone(&mut self, step: &mut Step<'_>, node: &NodeId) {
        step.timers().disarm(Timer::Account(AccountTimer::ServeReserve(*node)));
        if self.homes().secondary() == Some(*node) {
            self.hold_down.on_confirmed();
        }
    }

    /// A node answers a request. Returns false if that is no answer to it.
    pub(crate) fn on_answer(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        request: AccountRequest,
        answer: Body,
    ) -> bool {
        match (request, answer) {
            (AccountRequest::PutBundle(version), Body::Accepted { .. }) => {
                self.on_record_accepted(step, links, node, version);
            }
            (AccountRequest::PutKeyPackages(hashes), Body::KeyPackages { left, .. }) => {
                self.on_key_packages_accepted(step, links, node, hashes, left);
            }
            (AccountRequest::PutInvite(key), Body::Accepted { .. }) => {
                links.task_done(node, PendingTask::Invite(key));
                invites::on_registered(step, node, &key);
            }
            (request @ (AccountRequest::Audit(..) | AccountRequest::Challenge(..)), answer) => {
                return self.on_audit_answer(step, links, node, request, answer);
            }
            _ => return false,
        }
        true
    }

    pub(crate) fn on_refused(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        request: AccountRequest,
        refused: Refused<'_>,
    ) {
        let code = refused.code;
        match request {
            AccountRequest::PutBundle(_) => self.on_record_refused(step, links, node, refused),
            AccountRequest::PutKeyPackages(hashes) => {
                key_packages::on_refused(step, hashes);
                self.back_off(step, links, node, PendingTask::KeyPackages, code);
            }
            AccountRequest::PutInvite(key) => {
                self.back_off(step, links, node, PendingTask::Invite(key), code);
            }
            AccountRequest::Challenge(..) => audit::on_challenge_refused(step, node, code),
            AccountRequest::GetOwnBundle | AccountRequest::Audit(..) => {}
        }
    }

    pub(crate) fn on_inbox_opened(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        used_for: InboxUse,
        head: Cursor,
    ) {
        log::on_copy(step, node, &self.inbox_log(), head);
        if used_for == InboxUse::Previous {
            self.previous.on_opened(node, head.sequence);
            return self.on_previous_progress(step, links, node);
        }
        links.task_done(node, PendingTask::Publish);
        self.upload_key_packages(step, links, node);
        self.register_invites(step, links, node);
        self.events.push(AccountEvent::InboxOpened(*node));
    }

    /// An entry of the inbox was taken in.
    pub(crate) fn on_inbox_delivered(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        at: ChannelAt<'_>,
        used_for: InboxUse,
        sequence: u64,
    ) {
        links.check_order(step, at, sequence);
        log::put_cursor(step, at.node, &self.inbox_log(), sequence);
        links.on_delivered(step, at, sequence, ACKNOWLEDGE_DELAY);
        if used_for == InboxUse::Previous {
            self.on_previous_progress(step, links, at.node);
        }
    }

    pub(crate) fn on_inbox_refused(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        used_for: InboxUse,
        code: Code,
    ) {
        if used_for == InboxUse::Previous {
            self.on_previous_done(step, links, node);
        } else {
            self.on_home_refused(step, links, node, code);
        }
    }

    fn on_home_refused(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        code: Code,
    ) {
        if self.is_active_home(node) {
            self.set_trouble(step, node, Some(code));
        }
        self.back_off(step, links, node, PendingTask::Publish, code);
        step.report(node, Misbehaviour::Refused);
    }

    /// A node refused a part of a task: if that is transient, the task is tried again after a
    /// pause, which grows with each refusal on this connection.
    fn back_off(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        task: PendingTask,
        code: Code,
    ) {
        if !is_transient(code) {
            return;
        }
        let at_inbox = matches!(
            task,
            PendingTask::Publish | PendingTask::KeyPackages | PendingTask::Invite(_)
        );
        if code == Code::Unexpected && at_inbox {
            // The node does not know the channel any more: the inbox is opened again first.
            links.back_off(step, node, task, PendingTask::Publish);
            self.close_inbox(step, links, node);
        } else {
            links.back_off(step, node, task, task);
        }
    }

    fn close_inbox(&self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        let inbox = self.inbox_log();
        links.close_at(step, node, |channel| channel.is_of(&inbox));
    }

    /// Tries a task again where it stands.
    fn retry(&mut self, step: &mut Step<'_>, links: &mut Links, node: &NodeId, task: PendingTask) {
        if !links.is_up(node) || self.is_locked_out() {
            return;
        }
        let is_active = self.is_active_home(node);
        match task {
            PendingTask::Publish if is_active => self.publish(step, links, node),
            PendingTask::KeyPackages if is_active => self.upload_key_packages(step, links, node),
            PendingTask::Invite(key) if is_active => self.register_again(step, links, node, &key),
            PendingTask::Propose | PendingTask::InformPrevious | PendingTask::Announce => {
                self.resume_migration(step, links, node);
            }
            PendingTask::Publish
            | PendingTask::KeyPackages
            | PendingTask::Invite(_)
            | PendingTask::Add(_)
            | PendingTask::Recover => {}
        }
    }

    pub(crate) fn on_timer(&mut self, step: &mut Step<'_>, links: &mut Links, timer: AccountTimer) {
        match timer {
            // What follows from it is seen to after each input.
            AccountTimer::CheckPrimary => {}
            AccountTimer::Audit => self.audit(step, links),
            AccountTimer::Retry(node, task) => self.retry(step, links, &node, task),
            AccountTimer::Unreachable(node) => {
                if !links.is_up(&node) {
                    self.set_unreachable(step, links, &node, true);
                }
            }
            AccountTimer::ServeReserve(node) => {
                if self.is_active_home(&node) {
                    self.publish(step, links, &node);
                }
            }
        }
    }

    fn inbox_at(&self, links: &Links, node: &NodeId) -> Option<u32> {
        let inbox = self.inbox_log();
        links.find(node, |channel: &Channel| channel.is_of(&inbox))
    }

    fn open_inbox(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        used_for: InboxUse,
    ) {
        let log = self.inbox_log();
        let is_told = used_for == InboxUse::Current && self.is_reserve_home(node);
        let opening = OpenLog::to_write(log, &self.device, ChannelUse::Inbox(used_for))
            .from(log::cursor(step.rows(), node, &log))
            .announcing(is_told.then(|| self.inbox_ranking()));
        links.open(step, node, opening);
    }
}

/// How long a node may wait to be told what has arrived.
const ACKNOWLEDGE_DELAY: Duration = Duration::from_millis(20);
