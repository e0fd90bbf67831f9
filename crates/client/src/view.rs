//! Views: what the application shows, read from rows alone.

mod homes;

use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

use proto::{
    AccountId, ContentBody, ConversationId, Direction, EnvelopeId, Instant, LogId, NodeAddress,
    PublicKey, Reference, Rows,
};
use sha2::{Digest, Sha256};

use crate::{
    Acked, ContactState, DeliveryStatus, TimelineKey,
    account::{self, invites, key_packages},
    contact::{self, ContactRow},
    conversation,
    entries::{self, EntryRow},
    log,
    rows::prefix_range,
};

pub use homes::{ConvictionView, CostView, HomeView, HomesView, convictions, homes};

/// The account of this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Its id.
    pub account: AccountId,
    /// The name that contact requests carry.
    pub name: String,
    /// Its home nodes.
    pub homes: Vec<NodeAddress>,
    /// The devices that its newest record lists.
    pub devices: Vec<PublicKey>,
    /// Rotations, delegation serial and version of the newest record.
    pub rank: (u64, u64, u64),
    /// This device was locked out by a newer record.
    pub locked_out: bool,
    /// One of its home nodes holds all that others need to reach it: the record, key packages and
    /// every open invite.
    pub published: bool,
    /// Why none of its home nodes serves the account; empty if one does, or has not answered yet.
    pub trouble: String,
}

/// Someone this account knows, has asked, or is asked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactView {
    /// Who.
    pub account: AccountId,
    /// As the user, or else the contact, calls it.
    pub name: String,
    /// How far the two have come.
    pub state: ContactState,
    /// The log of their conversation, once there is one.
    pub log: Option<LogId>,
    /// The user has compared safety numbers.
    pub verified: bool,
    /// Two records of equal rank were seen: a thief signs with this account's authority who
    /// should not.
    pub forked: bool,
    /// The contact holds another record of this account than this device does.
    pub sees_other_bundle: bool,
    /// Why adding can't go on, if it can't.
    pub trouble: String,
    /// Messages of the contact that the user has not read.
    pub unread: usize,
    /// Envelopes that their node has not accepted.
    pub outgoing: usize,
    /// Texts that wait for the contact to accept.
    pub waiting: usize,
}

/// One message as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageView {
    /// Where it stands.
    pub key: TimelineKey,
    /// Who has written it.
    pub author: AccountId,
    /// The author is this account.
    pub own: bool,
    /// When its author's clock says it was sent, in seconds since the Unix epoch.
    pub sent_at_s: u64,
    /// What it says now; `None` once deleted.
    pub text: Option<String>,
    /// Its text was replaced.
    pub edited: bool,
    /// The message it answers.
    pub reply_to: Option<EnvelopeId>,
    /// Who reacted with what.
    pub reactions: BTreeMap<AccountId, String>,
    /// How far it has come with all members, if it is one's own.
    pub status: Option<DeliveryStatus>,
    /// Which members have received or read it, if it is one's own.
    pub receipts: BTreeMap<AccountId, DeliveryStatus>,
    /// The nodes that have signed for it, until all members have it.
    pub acks: Vec<Acked>,
}

/// One thing to show in a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all items are messages")]
pub enum Item {
    /// A message.
    Message(MessageView),
    /// Entries that others have seen are missing here, and so is what depends on them.
    Gap {
        /// How many entries wait for them.
        waiting: usize,
    },
}

/// Which messages of a timeline to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The last ones.
    Latest,
    /// Those before this place.
    Before(TimelineKey),
    /// Those after this place.
    After(TimelineKey),
}

/// The account of this device, if there is one.
pub fn account(rows: &dyn Rows) -> Option<AccountView> {
    let row = account::row::load(rows)?;
    let bundle = row.bundle()?;
    Some(AccountView {
        account: bundle.account(),
        trouble: homes::trouble(&row, &bundle),
        locked_out: row.is_locked_out(),
        name: row.name().to_owned(),
        homes: bundle.homes().to_vec(),
        devices: bundle.devices().iter().map(|device| device.key).collect(),
        rank: bundle.rank(),
        published: published(rows),
    })
}

/// All contacts, in the order of their accounts.
pub fn contacts(rows: &dyn Rows) -> Vec<ContactView> {
    let all = contact::all(rows).into_iter();
    all.map(|(account, row)| contact_view(rows, account, row)).collect()
}

/// One contact.
pub fn contact(rows: &dyn Rows, account: &AccountId) -> Option<ContactView> {
    Some(contact_view(rows, *account, contact::row(rows, account)?))
}

/// The log of a conversation, once there is one.
pub fn log(rows: &dyn Rows, conversation: &ConversationId) -> Option<LogId> {
    match conversation {
        ConversationId::Direct(account) => contact::row(rows, account)?.log(),
        ConversationId::Group(_) | ConversationId::Own => None,
    }
}

/// Up to `limit` messages of a timeline, in its order; with [`Range::Latest`] a gap marker follows
/// if entries have waited for others for [`GAP_AFTER`].
pub fn timeline(
    rows: &dyn Rows,
    conversation: &ConversationId,
    range: Range,
    limit: usize,
    now: Instant,
) -> Vec<Item> {
    let Some(log) = &log(rows, conversation) else { return Vec::new() };
    let (start, end) = prefix_range(&log.0);
    let (from, to, direction) = match range {
        Range::Latest => (start, end, Direction::Backward),
        Range::Before(place) => (start, place.row_key(log), Direction::Backward),
        Range::After(place) => {
            let mut from = place.row_key(log);
            from.push(0);
            (from, end, Direction::Forward)
        }
    };
    let own = own(rows);
    let mut items = Vec::new();
    entries::scan(rows, log, &from, &to, direction, &mut |key, row| {
        items.extend(message_view(rows, log, key, &row, own).map(Item::Message));
        if items.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if direction == Direction::Backward {
        items.reverse();
    }
    if range == Range::Latest {
        items.extend(gap(rows, log, now));
    }
    items
}

/// One message by its name, or by the one it had before it was sealed again.
pub fn message(
    rows: &dyn Rows,
    conversation: &ConversationId,
    reference: &Reference,
) -> Option<MessageView> {
    let log = &log(rows, conversation)?;
    let key = entries::find(rows, log, &entries::current(rows, log, reference))?;
    message_view(rows, log, key, &entries::row(rows, log, key)?, own(rows))
}

/// How far an own entry has come with all members, whatever it says.
pub fn status(
    rows: &dyn Rows,
    conversation: &ConversationId,
    reference: &Reference,
) -> Option<DeliveryStatus> {
    let log = &log(rows, conversation)?;
    let key = entries::find(rows, log, &entries::current(rows, log, reference))?;
    entries::status(rows, log, key)
}

/// Messages in the order in which they arrived here, after arrival number `after`; each with its
/// number.
pub fn arrivals(
    rows: &dyn Rows,
    conversation: &ConversationId,
    after: u64,
    limit: usize,
) -> Vec<(u64, MessageView)> {
    let Some(log) = &log(rows, conversation) else { return Vec::new() };
    let own = own(rows);
    let mut found = Vec::new();
    conversation::visit_arrivals(rows, log, after, &mut |number, key| {
        let row = entries::row(rows, log, key);
        let view = row.and_then(|row| message_view(rows, log, key, &row, own));
        found.extend(view.map(|view| (number, view)));
        if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    found
}

/// The number of the last arrival.
pub fn last_arrival(rows: &dyn Rows, conversation: &ConversationId) -> u64 {
    log(rows, conversation).map_or(0, |log| conversation::last_arrival(rows, &log))
}

/// Sixty digits that two people compare to know that no one stands between them: the same on both
/// sides, other for every pair of accounts.
pub fn safety_number(a: &AccountId, b: &AccountId) -> String {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let digest = |half: u8| {
        Sha256::new()
            .chain_update(b"siskin1 safety\x01")
            .chain_update([half])
            .chain_update(low.0)
            .chain_update(high.0)
            .finalize()
    };
    let bytes = [digest(0), digest(1)].concat();
    let groups = bytes.as_chunks::<4>().0.iter().take(12);
    let groups = groups.map(|group| format!("{:05}", u32::from_be_bytes(*group) % 100_000));
    groups.collect::<Vec<_>>().join(" ")
}

/// Key packages are handed in once the record is known, and made in the same commit.
fn published(rows: &dyn Rows) -> bool {
    key_packages::are_published(rows) && invites::are_published(rows)
}

fn own(rows: &dyn Rows) -> Option<AccountId> {
    account::row::load(rows)?.account()
}

fn contact_view(rows: &dyn Rows, account: AccountId, row: ContactRow) -> ContactView {
    let log = row.log();
    ContactView {
        account,
        state: row.state(),
        verified: row.is_verified(),
        forked: row.is_forked(),
        sees_other_bundle: row.sees_other_bundle(),
        unread: log.map_or(0, |log| unread(rows, &log, &account)),
        outgoing: log.map_or(0, |log| log::count_outgoing(rows, &log)),
        waiting: conversation::count_drafts(rows, &account),
        log,
        name: row.name().to_owned(),
        trouble: row.trouble().to_owned(),
    }
}

fn unread(rows: &dyn Rows, log: &LogId, contact: &AccountId) -> usize {
    let unread = conversation::unread(rows, log, std::slice::from_ref(contact));
    usize::try_from(unread).unwrap_or(usize::MAX)
}

fn gap(rows: &dyn Rows, log: &LogId, now: Instant) -> Option<Item> {
    let deferred = log::deferred_since(rows, log).into_iter();
    let waiting = deferred.filter(|since| now.since(*since) >= GAP_AFTER).count();
    (waiting > 0).then_some(Item::Gap { waiting })
}

/// A text as it is now, folded with all that was said about it; nothing for other entries.
fn message_view(
    rows: &dyn Rows,
    log: &LogId,
    key: TimelineKey,
    row: &EntryRow,
    own: Option<AccountId>,
) -> Option<MessageView> {
    let content = row.content()?;
    let ContentBody::Text { text, reply_to } = content.body else { return None };
    let author = row.author()?;
    let own = own == Some(author);
    let mut view = MessageView {
        key,
        author,
        own,
        sent_at_s: content.sent_at_s,
        text: Some(text),
        edited: false,
        reply_to: reply_to.and_then(|target| entries::find(rows, log, &target)).map(|key| key.id),
        reactions: BTreeMap::new(),
        status: entries::status(rows, log, key).filter(|_| own),
        receipts: if own { entries::receipts(rows, log, key) } else { BTreeMap::new() },
        acks: log::acks(rows, log, key),
    };
    conversation::visit_annotations(rows, log, &key.id.reference(), &mut |annotation| {
        annotate(rows, log, annotation, author, &mut view);
    });
    Some(view)
}

/// Folds one entry about a message into it; they come in timeline order, so the last one counts.
fn annotate(
    rows: &dyn Rows,
    log: &LogId,
    key: TimelineKey,
    author: AccountId,
    view: &mut MessageView,
) -> Option<()> {
    let row = entries::row(rows, log, key)?;
    if entries::status(rows, log, key) == Some(DeliveryStatus::Refused) {
        // No other device will ever see it.
        return None;
    }
    let by = row.author()?;
    match row.content()?.body {
        ContentBody::Edit { text, .. } if by == author && view.text.is_some() => {
            view.text = Some(text);
            view.edited = true;
        }
        ContentBody::Delete { .. } if by == author => view.text = None,
        ContentBody::Reaction { emoji, .. } if emoji.is_empty() => {
            view.reactions.remove(&by);
        }
        ContentBody::Reaction { emoji, .. } => {
            view.reactions.insert(by, emoji);
        }
        ContentBody::Edit { .. }
        | ContentBody::Delete { .. }
        | ContentBody::Text { .. }
        | ContentBody::Receipt(_)
        | ContentBody::Accept { .. }
        | ContentBody::Unknown => {}
    }
    Some(())
}

/// How long entries wait for others before the user is told.
pub const GAP_AFTER: Duration = Duration::from_secs(10);
