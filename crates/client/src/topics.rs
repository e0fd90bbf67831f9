//! Topics: what a device waits for, module by module: answers to requests, and timers. Data only,
//! so that every module below the machine can name its own, and the machine alone hands all of them
//! out.

use proto::{AccountId, LogId, NodeId, PublicKey};

use crate::rows::TimelineKey;

/// A request whose answer is awaited, by the module that sent it.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Opens the channel with this number; whose it is the channel's use tells.
    Open(u32),
    /// About a conversation's log.
    Log(LogId, LogRequest),
    /// About the own account.
    Account(AccountRequest),
    /// About another account.
    Contact(AccountId, ContactRequest),
}

impl Request {
    /// Returns whether a node knows the answer without asking others.
    pub(crate) fn is_prompt(&self) -> bool {
        !matches!(
            self,
            Self::Contact(_, ContactRequest::GetBundle)
                | Self::Account(AccountRequest::GetOwnBundle)
        )
    }

    /// Returns how many key packages it hands in.
    pub(crate) fn key_packages(&self) -> usize {
        match self {
            Self::Account(AccountRequest::PutKeyPackages(hashes)) => hashes.len(),
            Self::Open(_) | Self::Log(..) | Self::Account(_) | Self::Contact(..) => 0,
        }
    }
}

/// What is asked about a conversation's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogRequest {
    /// To store the entry with this number in the outbox.
    Append(u64),
    /// To store an entry that too few nodes hold.
    Hedge(TimelineKey),
    /// For entries, on a channel with this key.
    Fetch(PublicKey),
}

/// What is asked about the own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccountRequest {
    /// To take the record of this version.
    PutBundle(u64),
    /// For the bundle of the account that is being recovered.
    GetOwnBundle,
    /// To take the key packages with these hashes.
    PutKeyPackages(Vec<Vec<u8>>),
    /// To take the invite with this key.
    PutInvite(PublicKey),
    /// For entries that the node has acknowledged, on a channel with this key.
    Audit(LogId, PublicKey, Vec<TimelineKey>),
    /// For one that it did not hand over.
    Challenge(LogId, PublicKey, TimelineKey),
}

/// What is asked about another account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContactRequest {
    /// For its newest bundle.
    GetBundle,
    /// For key packages of its devices.
    TakeKeyPackages,
    /// To store a contact request in its inbox.
    Deliver,
}

/// What is due later, by the module that has set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Tell a node how far its deliveries have come.
    Acknowledge(NodeId),
    /// Of a conversation.
    Conversation(ConversationTimer, LogId),
    /// Of the own account.
    Account(AccountTimer),
    /// Of another account.
    Contact(ContactTimer, AccountId),
}

/// What is due in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ConversationTimer {
    /// Tell the contact what has arrived.
    Receipt,
    /// Send what is in the outbox again.
    Retry,
    /// Fetch again what is missing.
    Refetch,
    /// Open the log at the secondary home again.
    OpenSecondary,
    /// Fetch what the secondary home has announced and the primary has not delivered.
    FetchAnnounced,
    /// Give the secondary home what too few nodes hold.
    Hedge,
}

/// What is due for the own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AccountTimer {
    /// See whether the primary home still answers. Seen to after every input.
    CheckPrimary,
    /// Ask the homes for what they have acknowledged.
    Audit,
    /// Try again what a node refused.
    Retry(NodeId, PendingTask),
    /// A home has been unreachable for long.
    Unreachable(NodeId),
    /// A reserve home has to serve.
    ServeReserve(NodeId),
}

/// What is due for another account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ContactTimer {
    /// Look the account up, after so many tries without success, unless one of its nodes was
    /// reached.
    Locate(u32),
}

/// Something to get done at a node that is tried again if the node refuses it for now. Each starts
/// where it stands, and doing it twice does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PendingTask {
    /// Hand in the account's record and open its inbox.
    Publish,
    /// Hand in key packages.
    KeyPackages,
    /// Register an invite.
    Invite(PublicKey),
    /// Add a contact.
    Add(AccountId),
    /// Learn the record of the account that is being recovered.
    Recover,
    /// Hand the account's next record to its next home.
    Propose,
    /// Hand the account's record to a home that it has left.
    InformPrevious,
    /// Announce who holds the conversations.
    Announce,
}
