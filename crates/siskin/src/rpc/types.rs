//! What the local API returns. Fields are only added.

use std::collections::BTreeMap;

use client::view::{self, AccountView, ContactView, MessageView};
use proto::EnvelopeId;
use serde::{Deserialize, Serialize};

/// Nothing but success.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done {}

/// The account of a device.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) account: String,
    pub(crate) name: String,
    pub(crate) nodes: Vec<String>,
    /// The public keys of its devices, in hexadecimal.
    pub(crate) devices: Vec<String>,
    /// Rotations, delegation serial and version of the record.
    pub(crate) rank: (u64, u64, u64),
    pub(crate) locked_out: bool,
    /// Whether the home node has all that contacts need to reach the account.
    pub(crate) published: bool,
    /// Why the home node refuses the account.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) trouble: Option<String>,
}

impl From<AccountView> for Account {
    fn from(view: AccountView) -> Self {
        Self {
            account: view.account.to_string(),
            name: view.name,
            nodes: view.homes.iter().map(ToString::to_string).collect(),
            devices: view.devices.iter().map(ToString::to_string).collect(),
            rank: view.rank,
            locked_out: view.locked_out,
            published: view.published,
            trouble: Some(view.trouble).filter(|trouble| !trouble.is_empty()),
        }
    }
}

/// A contact, or one side of a contact request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Contact {
    pub(crate) account: String,
    pub(crate) name: String,
    pub(crate) state: ContactState,
    /// The log of the conversation.
    pub(crate) log: Option<String>,
    pub(crate) verified: bool,
    pub(crate) forked: bool,
    pub(crate) sees_other_bundle: bool,
    pub(crate) trouble: Option<String>,
    pub(crate) unread: usize,
    pub(crate) outgoing: usize,
    pub(crate) waiting: usize,
}

impl From<ContactView> for Contact {
    fn from(view: ContactView) -> Self {
        Self {
            account: view.account.to_string(),
            name: view.name,
            state: view.state.into(),
            log: view.log.map(|log| log.to_string()),
            verified: view.verified,
            forked: view.forked,
            sees_other_bundle: view.sees_other_bundle,
            trouble: Some(view.trouble).filter(|trouble| !trouble.is_empty()),
            unread: view.unread,
            outgoing: view.outgoing,
            waiting: view.waiting,
        }
    }
}

/// The state of a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ContactState {
    None,
    Adding,
    Requested,
    Asking,
    Established,
}

impl From<client::ContactState> for ContactState {
    fn from(state: client::ContactState) -> Self {
        match state {
            client::ContactState::None => Self::None,
            client::ContactState::Adding => Self::Adding,
            client::ContactState::Requested => Self::Requested,
            client::ContactState::Asking => Self::Asking,
            client::ContactState::Established => Self::Established,
        }
    }
}

/// One item of a timeline.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Item {
    Message(Message),
    Gap { waiting: usize },
}

impl From<view::Item> for Item {
    fn from(item: view::Item) -> Self {
        match item {
            view::Item::Message(view) => Self::Message(view.into()),
            view::Item::Gap { waiting } => Self::Gap { waiting },
        }
    }
}

/// A message, with its edits applied.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) position: u64,
    /// The account that has written it.
    pub(crate) author: String,
    pub(crate) own: bool,
    pub(crate) sent_at: u64,
    /// `null` if it was deleted.
    pub(crate) text: Option<String>,
    pub(crate) edited: bool,
    pub(crate) reply_to: Option<String>,
    /// Emojis by account.
    pub(crate) reactions: BTreeMap<String, String>,
    /// How far it has come with all members; `null` for a received message.
    pub(crate) status: Option<DeliveryStatus>,
    /// How far it has come, by account of the members that have it.
    pub(crate) receipts: BTreeMap<String, DeliveryStatus>,
    /// Nodes that have signed for it, until it is delivered.
    #[serde(default)]
    pub(crate) stored_on: Vec<String>,
}

impl From<MessageView> for Message {
    fn from(view: MessageView) -> Self {
        let reactions = view.reactions.into_iter();
        let receipts = view.receipts.into_iter();
        Self {
            id: view.key.id.to_string(),
            position: view.key.position,
            author: view.author.to_string(),
            own: view.own,
            sent_at: view.sent_at_s,
            text: view.text,
            edited: view.edited,
            reply_to: view.reply_to.map(|id: EnvelopeId| id.to_string()),
            reactions: reactions.map(|(by, emoji)| (by.to_string(), emoji)).collect(),
            status: view.status.map(DeliveryStatus::from),
            receipts: receipts
                .map(|(member, status)| (member.to_string(), status.into()))
                .collect(),
            stored_on: view.acks.iter().map(|ack| ack.node.to_string()).collect(),
        }
    }
}

/// The delivery status of a sent message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryStatus {
    /// Waits until the contact accepts, and is in no timeline yet.
    Waiting,
    Sent,
    Stored,
    Delivered,
    Read,
    Refused,
}

impl From<client::DeliveryStatus> for DeliveryStatus {
    fn from(status: client::DeliveryStatus) -> Self {
        match status {
            client::DeliveryStatus::Sent => Self::Sent,
            client::DeliveryStatus::Stored => Self::Stored,
            client::DeliveryStatus::Delivered => Self::Delivered,
            client::DeliveryStatus::Read => Self::Read,
            client::DeliveryStatus::Refused => Self::Refused,
        }
    }
}

/// What happened.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Event {
    /// A message entered a timeline, sent or received.
    Message { conversation: String, name: String, log: String, arrival: u64, message: Box<Message> },
    /// Statuses, edits, deletions or reactions of a timeline changed.
    Timeline { conversation: String },
    /// Contacts or requests changed.
    Contacts,
    /// The own account changed.
    Account,
    /// A member is typing.
    Typing { conversation: String, account: String },
    /// A node was connected or disconnected.
    Link { node: String, up: bool },
    /// Everything that was sent to a conversation is stored.
    Sent { conversation: String },
    /// Events were lost because they were read too slowly: read everything again. Messages are not
    /// lost.
    Resync,
}
