//! What the application asks of a device, and what it is told.

use std::fmt;

use crypto::identity::Phrase;
use proto::{AccountId, ConversationId, EnvelopeId, NodeAddress, NodeId, Reference};
use zeroize::Zeroizing;

use crate::InviteLink;

/// What the application asks, with a ticket of its choice that comes back in [`Event::Done`].
#[derive(Debug)]
pub struct Command {
    /// Chosen by the application.
    pub ticket: u64,
    /// What is asked.
    pub action: Action,
}

/// What can be asked.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Debug)]
pub enum Action {
    /// Makes a new account from a fresh phrase, at home at these nodes.
    CreateAccount { phrase: Phrase, name: String, homes: Vec<NodeAddress> },
    /// Brings an account back on an empty machine; devices it had are locked out. Done once the
    /// home node has taken the new record.
    RecoverAccount { phrase: Phrase, name: String, homes: Vec<NodeAddress> },
    /// Makes these the account's homes, in this order; the first two serve it. Those that are
    /// pinned are kept when homes are chosen another time.
    Move { homes: Vec<NodeAddress>, pinned: Vec<NodeId> },
    /// Has so many of the homes hold all that the account has, and calls a message stored when so
    /// many nodes have signed for it: each 2 to 4.
    WantCopies { copies: u32, acks: u32 },
    /// Makes a link that lets `uses` strangers ask to become contacts.
    Invite { uses: u32, valid_s: u64 },
    /// Asks the account behind a link to become a contact.
    AddContact { link: InviteLink, name: String },
    /// Accepts a contact's request.
    Accept { contact: AccountId },
    /// Forgets a contact or declines its request.
    RemoveContact { contact: AccountId },
    /// Gives a contact another name.
    Rename { contact: AccountId, name: String },
    /// Remembers that the user compared safety numbers.
    SetVerified { contact: AccountId, verified: bool },
    /// Sends a text, perhaps in answer to a message.
    Send { conversation: ConversationId, text: Zeroizing<String>, reply_to: Option<Reference> },
    /// Replaces the text of one's own message.
    Edit { conversation: ConversationId, target: Reference, text: Zeroizing<String> },
    /// Takes one's own message back.
    Delete { conversation: ConversationId, target: Reference },
    /// Reacts to a message; with an empty emoji no longer.
    React { conversation: ConversationId, target: Reference, emoji: String },
    /// The user has seen everything up to now.
    MarkRead { conversation: ConversationId },
    /// Tells the contact that the user is typing.
    Typing { conversation: ConversationId },
    /// Gives the conversation fresh keys, so that a thief of the old ones is locked out.
    Rekey { conversation: ConversationId },
}

/// A hint that rows changed, or the answer to a command.
#[derive(Debug)]
pub enum Event {
    /// A command was carried out or refused; `ticket` is the command's.
    Done {
        /// The command's ticket.
        ticket: u64,
        /// How it went.
        result: Result<Reply, CommandError>,
    },
    /// Own account or its standing at the home nodes changed.
    Account,
    /// Contacts or requests changed.
    Contacts,
    /// A timeline got new entries, or the delivery status of some changed.
    Timeline(ConversationId),
    /// A member is typing.
    Typing {
        /// The conversation.
        conversation: ConversationId,
        /// The member who is typing.
        account: AccountId,
    },
    /// A node was reached or lost.
    LinkChanged(NodeId, bool),
    /// The outbox of a conversation became empty.
    Sent(ConversationId),
    /// A home is proved to have lost what it signed for; see
    /// [`view::convictions`](crate::view::convictions).
    Convicted(NodeId),
}

/// What a command gave.
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing but success.
    Nothing,
    /// The envelope that was made; it is in the outbox.
    Envelope(EnvelopeId),
    /// The text waits until the contact accepts.
    Waiting,
    /// An invite to hand on.
    Link(InviteLink),
    /// The account that was created or recovered.
    Account(AccountId),
}

impl fmt::Debug for Reply {
    /// An invite is a capability, so it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Envelope(id) => write!(f, "Envelope({id:?})"),
            Self::Waiting => f.write_str("Waiting"),
            Self::Link(_) => f.write_str("Link(..)"),
            Self::Account(account) => write!(f, "Account({account:?})"),
        }
    }
}

/// A command was refused; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no account on this device yet.
    #[error("there is no account here yet")]
    NoAccount,
    /// There is one already.
    #[error("there is an account here already")]
    AccountExists,
    /// This device was locked out by a newer record of its account.
    #[error("this device is no longer part of its account")]
    LockedOut,
    /// No node to be at home at.
    #[error("an account needs one to eight home nodes")]
    NoHome,
    /// There is no such contact.
    #[error("no such contact")]
    NoContact,
    /// This device is in no such conversation.
    #[error("no such conversation")]
    NoConversation,
    /// The link names this very account.
    #[error("that is your own account")]
    Yourself,
    /// Nothing to accept.
    #[error("this contact has not asked")]
    NoRequest,
    /// The contact has not accepted yet, and this can't wait.
    #[error("the contact has not accepted yet")]
    NotAccepted,
    /// The message is not there.
    #[error("no such message")]
    NoMessage,
    /// Only authors edit and delete.
    #[error("only its author may change a message")]
    NotYours,
    /// Empty.
    #[error("an empty message")]
    Empty,
    /// Too long.
    #[error("too long: {0} bytes at most")]
    TooLong(usize),
    /// As many as are allowed.
    #[error("as many as are allowed already: {0}")]
    TooMany(usize),
    /// The request or the group can't be joined.
    #[error("the request is not valid: {0}")]
    BadRequest(&'static str),
    /// The recovery phrase belongs to no account that the home nodes know.
    #[error("the home nodes know no account of this phrase")]
    UnknownAccount,
    /// The home nodes refused the record.
    #[error("the home node refused the account ({0})")]
    HomeRefused(&'static str),
}

/// How far an own message has come: with one member, or folded over all of them. Another party
/// reports each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum DeliveryStatus {
    /// In the outbox.
    Sent = 1,
    /// Enough nodes have signed that they hold it durably.
    Stored = 2,
    /// A device of the member has it; folded: of every member.
    Delivered = 3,
    /// The member has read it; folded: every member.
    Read = 4,
    /// The node will never take it.
    Refused = 5,
}

impl TryFrom<u8> for DeliveryStatus {
    type Error = u8;

    fn try_from(byte: u8) -> Result<Self, u8> {
        [Self::Sent, Self::Stored, Self::Delivered, Self::Read, Self::Refused]
            .into_iter()
            .find(|status| *status as u8 == byte)
            .ok_or(byte)
    }
}

/// How far two accounts have come with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ContactState {
    /// Nothing yet.
    None = 0,
    /// A link was given; the other's bundle and key packages are being fetched.
    Adding = 1,
    /// Our request waits in their inbox.
    Requested = 2,
    /// Their request waits for the user.
    Asking = 3,
    /// Both may write.
    Established = 4,
}
