//! The types of what the local API returns. Fields are only ever added.

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
    /// The home node holds all that others need to reach this account.
    pub(crate) published: bool,
    /// Why the home node does not serve this account.
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

/// Someone this account knows, has asked, or is asked by.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Contact {
    pub(crate) account: String,
    pub(crate) name: String,
    pub(crate) state: ContactState,
    pub(crate) conversation: Option<String>,
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
            conversation: view.conversation.map(|log| log.to_string()),
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

/// How far two accounts have come with each other.
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

/// One thing to show in a timeline.
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

/// One message as it is now.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) position: u64,
    pub(crate) own: bool,
    pub(crate) sent_at: u64,
    /// `null` once deleted.
    pub(crate) text: Option<String>,
    pub(crate) edited: bool,
    pub(crate) reply_to: Option<String>,
    /// Who reacted with what.
    pub(crate) reactions: BTreeMap<String, String>,
    /// `null` if it is somebody else's.
    pub(crate) mark: Option<DeliveryStatus>,
    /// Nodes that have signed for it, until the contact has it.
    #[serde(default)]
    pub(crate) stored_on: Vec<String>,
}

impl From<MessageView> for Message {
    fn from(view: MessageView) -> Self {
        let reactions = view.reactions.into_iter();
        Self {
            id: view.place.id.to_string(),
            position: view.place.position,
            own: view.own,
            sent_at: view.sent_at_s,
            text: view.text,
            edited: view.edited,
            reply_to: view.reply_to.map(|id: EnvelopeId| id.to_string()),
            reactions: reactions.map(|(by, emoji)| (by.to_string(), emoji)).collect(),
            mark: view.mark.map(DeliveryStatus::from),
            stored_on: view.holders.iter().map(|holder| holder.node.to_string()).collect(),
        }
    }
}

/// How far a message of one's own has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryStatus {
    /// Waits until the contact accepts; it is in no timeline yet.
    Waiting,
    Sent,
    Stored,
    Delivered,
    Read,
    Refused,
}

impl From<client::Mark> for DeliveryStatus {
    fn from(mark: client::Mark) -> Self {
        match mark {
            client::Mark::Sent => Self::Sent,
            client::Mark::Stored => Self::Stored,
            client::Mark::Delivered => Self::Delivered,
            client::Mark::Read => Self::Read,
            client::Mark::Refused => Self::Refused,
        }
    }
}

/// What happened.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Event {
    /// A message came into a timeline, by whomever.
    Message { contact: String, name: String, arrival: u64, message: Message },
    /// Marks, edits, deletions or reactions of a timeline changed.
    Timeline { contact: String },
    /// Contacts or requests changed.
    Contacts,
    /// Own account changed.
    Account,
    /// A contact is typing.
    Typing { contact: String },
    /// A node was reached or lost.
    Link { node: String, up: bool },
    /// All that was to be sent to a contact is stored.
    Sent { contact: String },
    /// Some hints were lost because they were read too slowly; look at everything again. Messages
    /// are not lost.
    Resync,
}
