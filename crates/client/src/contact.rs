//! Contacts: the people this account knows, has asked or is asked by. Specified in
//! `spec/delivery.md`, section 2.
//!
//! ```text
//!  request   we ask: ExpectRecord ─▶ ExpectKeyPackages ─▶ ExpectLog ─▶ ExpectAnswer ─▶ established
//!  answer    they ask: their request ─▶ the user accepts, or both asked each other ─▶ established
//!  locate    where they are: a home of theirs knows, or our own home by a lookup
//! ```
//!
//! The states of asking are rows: a device that is killed goes on from where it stands.

mod answer;
mod locate;
mod refused;
mod request;

use std::collections::BTreeMap;

use crypto::{
    group::EpochOut,
    identity::{Bundle, Precedence},
};
use prost::Message;
use proto::{
    AccountId, LogGenesis, LogId, NodeAddress, NodeId, PublicKey, Ranking, Rows, Table, limits,
    wire,
};
use sha2::{Digest, Sha256};

pub(crate) use refused::Refused;

use crate::{
    CommandError, ContactState, Event, InviteLink, Reply,
    identity::Identity,
    link::{ChannelUse, Links},
    rows,
    step::Step,
    topics::Timer,
};

/// Account → [`ContactRow`].
const CONTACTS: Table = Table(2);
/// Log → number: conversations that others asked for and that are not to be asked for again.
const DISMISSED: Table = Table(21);

/// Someone this account knows or has asked.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContactRow {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(enumeration = "crate::ContactState", tag = "2")]
    state: i32,
    #[prost(bytes = "vec", tag = "3")]
    bundle: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    log: Vec<u8>,
    #[prost(bool, tag = "5")]
    verified: bool,
    #[prost(uint64, tag = "6")]
    since_s: u64,
    /// While adding: the link that was given.
    #[prost(string, tag = "7")]
    link: String,
    /// While a request waits for an answer: what it asked.
    #[prost(message, optional, tag = "8")]
    request: Option<wire::ContactRequest>,
    /// Two bundles of equal rank that differ were seen: the account's authority signs both.
    #[prost(bool, tag = "9")]
    forked: bool,
    /// Why adding failed, for the user.
    #[prost(string, tag = "10")]
    trouble: String,
    /// Hash of the bundle of theirs that they know we have.
    #[prost(bytes = "vec", tag = "11")]
    told: Vec<u8>,
    /// They have another bundle of ours than the one we have.
    #[prost(bool, tag = "12")]
    sees_other_bundle: bool,
    /// While adding: the envelope with the request, sealed once. An invite stores nothing after
    /// its last use but takes the same envelope again.
    #[prost(bytes = "vec", tag = "13")]
    sealed: Vec<u8>,
    /// Nodes of the link that have answered the request, from the first that accepted it on.
    #[prost(bytes = "vec", repeated, tag = "14")]
    answered: Vec<Vec<u8>>,
}

/// Indexes over the rows of contacts, so that no lookup scans the table.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    /// Those that are being added, or have been asked at some of their homes.
    adding: BTreeMap<AccountId, InviteLink>,
    states: BTreeMap<AccountId, ContactState>,
    events: Vec<ContactEvent>,
    limits: ContactLimits,
}

/// How many contacts there may be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ContactLimits {
    /// Accounts that a device knows or is asked by.
    pub(crate) contacts: usize,
    /// Strangers whose requests wait for the user.
    pub(crate) requests: usize,
    pub(crate) conversations: usize,
}

/// What others have to know of contacts.
#[derive(Debug)]
pub(crate) enum ContactEvent {
    /// A conversation begins, into which the contact will be asked.
    Create(Box<NewConversation>),
    /// A conversation that the contact asked for is joined, in place of another one with it. The
    /// contact said that it is at the nodes `told`.
    Join { new: Box<NewConversation>, replaced: Option<LogId>, told: Vec<NodeAddress> },
    /// Both have asked each other, and theirs is the conversation to join.
    Crossed(AccountId),
    /// A stranger has used an invite.
    InviteUsed(PublicKey),
    /// A newer record of a contact is known.
    RecordChanged(AccountId),
    /// A node has said what it knows of a contact.
    RecordReceived(NodeId, AccountId),
    /// The contact knows the newest record of this account.
    KnownToContact(LogId),
    /// The contact has accepted: both may write in this conversation.
    Established(LogId),
}

/// How a conversation begins.
pub(crate) struct NewConversation {
    pub(crate) genesis: LogGenesis,
    pub(crate) contact: AccountId,
    pub(crate) ranking: Ranking,
    pub(crate) created: bool,
    pub(crate) out: EpochOut,
    pub(crate) snapshot: Vec<u8>,
}

impl std::fmt::Debug for NewConversation {
    /// Its keys are secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewConversation({:?})", self.genesis.id())
    }
}

/// What contacts have to know of the conversations above them.
pub(crate) trait Conversations {
    /// Returns whether there is one over this log.
    fn contains(&self, log: &LogId) -> bool;
    /// Returns whether its log was opened at a node.
    fn exists(&self, log: &LogId) -> bool;
    /// Returns whether there may be one more.
    fn has_room(&self) -> bool;
}

/// What contacts have to know of this device.
pub(crate) struct Local<'a, C> {
    pub(crate) own: Identity<'a>,
    pub(crate) conversations: &'a C,
}

impl<C> Clone for Local<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Local<'_, C> {}

/// Which node has said something about which account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    pub(crate) node: &'a NodeId,
    pub(crate) account: &'a AccountId,
}

pub(crate) fn row(rows: &dyn Rows, account: &AccountId) -> Option<ContactRow> {
    rows::load(rows, CONTACTS, &account.0)
}

/// Returns the rows of all contacts, in the order of their accounts.
pub(crate) fn all(rows: &dyn Rows) -> Vec<(AccountId, ContactRow)> {
    let all = rows::load_all::<ContactRow>(rows, CONTACTS, b"").into_iter();
    all.filter_map(|(account, row)| Some((AccountId::try_from(account.as_slice()).ok()?, row)))
        .collect()
}

/// Returns the newest bundle that is known of a contact.
pub(crate) fn bundle(rows: &dyn Rows, account: &AccountId) -> Option<Bundle> {
    row(rows, account)?.bundle()
}

/// Returns the conversation with a contact that has accepted.
pub(crate) fn established(rows: &dyn Rows, account: &AccountId) -> Result<LogId, CommandError> {
    let row = row(rows, account).ok_or(CommandError::NoContact)?;
    if row.state() != ContactState::Established {
        return Err(CommandError::NotAccepted);
    }
    row.log().ok_or(CommandError::NoContact)
}

/// Returns the hash of the contact's newest bundle, if the contact was not told that we have it,
/// and remembers that it is told now.
pub(crate) fn take_bundle_to_tell(step: &mut Step<'_>, account: &AccountId) -> Option<[u8; 32]> {
    let mut contact = row(step.rows(), account)?;
    let hash: [u8; 32] = Sha256::digest(&contact.bundle).into();
    if contact.told == hash {
        return None;
    }
    contact.told = hash.to_vec();
    step.put(CONTACTS, account.0, contact.encode_to_vec());
    Some(hash)
}

/// What was to tell the contact which bundle is known here will never arrive.
pub(crate) fn forget_bundle_told(step: &mut Step<'_>, account: &AccountId) {
    if let Some(mut contact) = row(step.rows(), account) {
        contact.told = Vec::new();
        step.put(CONTACTS, account.0, contact.encode_to_vec());
    }
}

/// What the user is shown.
impl ContactRow {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_verified(&self) -> bool {
        self.verified
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.forked
    }

    /// Returns whether they have another bundle of ours than the one we have.
    pub(crate) fn sees_other_bundle(&self) -> bool {
        self.sees_other_bundle
    }

    pub(crate) fn trouble(&self) -> &str {
        &self.trouble
    }
}

impl ContactRow {
    pub(crate) fn log(&self) -> Option<LogId> {
        LogId::try_from(self.log.as_slice()).ok()
    }

    fn bundle(&self) -> Option<Bundle> {
        Bundle::verify(&self.bundle).ok()
    }

    /// The link of a contact that is being added, or has been asked at some of its homes.
    fn adding(&self) -> Option<InviteLink> {
        let adds = matches!(self.state(), ContactState::Adding | ContactState::Requested);
        adds.then(|| self.link.parse().ok()).flatten()
    }

    /// The log that a contact asked for, or that this account asked the contact for.
    fn asked_for(&self) -> Option<LogId> {
        let request = self.request.as_ref()?;
        Some(LogGenesis::decode(&request.log_genesis).ok()?.id())
    }

    fn has_answered(&self, node: &NodeId) -> bool {
        self.answered.iter().any(|answered| answered == &node.0)
    }

    /// Both may write in this conversation from now on.
    fn establish(&mut self, log: LogId) {
        self.set_state(ContactState::Established);
        self.log = log.0.to_vec();
        self.request = None;
        self.link = String::new();
        self.trouble = String::new();
        self.sealed = Vec::new();
    }

    /// Pins the newest bundle that was seen of an account; returns whether this one is valid.
    fn pin(&mut self, account: &AccountId, bytes: &[u8]) -> bool {
        let Ok(seen) = Bundle::verify(bytes) else { return false };
        if seen.account() != *account {
            return false;
        }
        let pinned = self.bundle();
        self.forked |= pinned.as_ref().is_some_and(|p| p.compare(&seen) == Precedence::Forked);
        if pinned.is_none_or(|pinned| seen.replaces(&pinned)) {
            self.bundle = bytes.to_vec();
        }
        true
    }
}

impl Contacts {
    pub(crate) fn load(rows: &dyn Rows, limits: ContactLimits) -> Self {
        let mut contacts = Self { limits, ..Self::default() };
        for (account, row) in all(rows) {
            contacts.index(account, &row);
        }
        contacts
    }

    pub(crate) fn take_events(&mut self) -> Vec<ContactEvent> {
        std::mem::take(&mut self.events)
    }

    /// The nodes of all that are being added.
    pub(crate) fn needed_nodes(&self) -> impl Iterator<Item = &NodeAddress> {
        self.adding.values().flat_map(|link| &link.nodes)
    }

    fn save(&mut self, step: &mut Step<'_>, account: &AccountId, row: &ContactRow) {
        step.put(CONTACTS, account.0, row.encode_to_vec());
        step.emit(Event::Contacts);
        self.index(*account, row);
    }

    fn index(&mut self, account: AccountId, row: &ContactRow) {
        self.states.insert(account, row.state());
        match row.adding() {
            Some(link) => self.adding.insert(account, link),
            None => self.adding.remove(&account),
        };
    }

    /// A stranger may ask if there is room for the request and for one more contact.
    fn has_room_for_a_request(&self) -> bool {
        let asking = self.states.values().filter(|state| **state == ContactState::Asking);
        self.states.len() < self.limits.contacts && asking.count() < self.limits.requests
    }

    /// Forgets a contact, and what it or this account has asked for. Returns whether there was one.
    pub(crate) fn remove(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        account: &AccountId,
    ) -> Result<(), CommandError> {
        let row = row(step.rows(), account).ok_or(CommandError::NoContact)?;
        step.delete(CONTACTS, account.0);
        self.states.remove(account);
        self.adding.remove(account);
        if let Some(log) = row.asked_for() {
            dismiss(step, &log);
        }
        let invited = ChannelUse::Invited(*account);
        links.close(step, |channel| channel.is_for(invited));
        step.timers().disarm_all(|timer| matches!(timer, Timer::Contact(_, of) if of == account));
        step.drop_idle_links();
        step.emit(Event::Contacts);
        Ok(())
    }

    pub(crate) fn rename(
        &mut self,
        step: &mut Step<'_>,
        account: &AccountId,
        name: String,
    ) -> Result<Reply, CommandError> {
        if name.len() > limits::NAME_MAX {
            return Err(CommandError::TooLong(limits::NAME_MAX));
        }
        self.change(step, account, |contact| contact.name = name)
    }

    pub(crate) fn set_verified(
        &mut self,
        step: &mut Step<'_>,
        account: &AccountId,
        verified: bool,
    ) -> Result<Reply, CommandError> {
        self.change(step, account, |contact| contact.verified = verified)
    }

    /// Changes a contact's row by the user's wish.
    fn change(
        &mut self,
        step: &mut Step<'_>,
        account: &AccountId,
        change: impl FnOnce(&mut ContactRow),
    ) -> Result<Reply, CommandError> {
        let mut row = row(step.rows(), account).ok_or(CommandError::NoContact)?;
        change(&mut row);
        self.save(step, account, &row);
        Ok(Reply::Nothing)
    }
}

/// Remembers that a log is not to be asked for again: the node that keeps the inbox can deliver an
/// old request once more at any time.
pub(crate) fn dismiss(step: &mut Step<'_>, log: &LogId) {
    let dismissed = rows::all(step.rows(), DISMISSED, b"").into_iter();
    let mut dismissed: Vec<_> = dismissed.map(|(log, number)| (number, log)).collect();
    dismissed.sort_unstable();
    let last = dismissed.last().and_then(|(number, _)| number.as_slice().try_into().ok());
    let next = last.map_or(0, u64::from_be_bytes).saturating_add(1);
    let excess = dismissed.len().saturating_add(1).saturating_sub(DISMISSED_MAX);
    for (_, oldest) in dismissed.into_iter().take(excess) {
        step.delete(DISMISSED, oldest);
    }
    step.put(DISMISSED, log.0, next.to_be_bytes());
}

fn is_dismissed(rows: &dyn Rows, log: &LogId) -> bool {
    rows.get(DISMISSED, &log.0).is_some()
}

/// Logs that are remembered because they are not to be asked for again: more contacts than a user
/// removes in the month for which an inbox keeps a request.
const DISMISSED_MAX: usize = 1_000;
