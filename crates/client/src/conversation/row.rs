//! The rows of conversations.

use crypto::{SigningKey, group::CommitId};
use prost::Message;
use proto::{AccountId, LogGenesis, LogId, NodeId, Rows, Table, wire};

use super::group::Group;
use crate::{
    log::{Log, LogState, WriteKeys},
    rows,
    step::Step,
};

/// Log → [`ConversationRow`].
const CONVERSATIONS: Table = Table(5);

/// What of a conversation rarely changes.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ConversationRow {
    #[prost(bytes = "vec", tag = "1")]
    contact: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    ranking: Option<wire::Ranking>,
    /// Kept as long as the conversation: a node that has no copy, or no longer, makes one from it.
    #[prost(bytes = "vec", tag = "3")]
    genesis: Vec<u8>,
    /// The commit whose epoch this device sends on.
    #[prost(bytes = "vec", tag = "4")]
    head: Vec<u8>,
    /// The log was open at its node.
    #[prost(bool, tag = "5")]
    exists: bool,
    /// This account has created it.
    #[prost(bool, tag = "6")]
    created: bool,
    /// The seed of the first epoch's write key, kept like the genesis.
    #[prost(bytes = "vec", tag = "7")]
    first_key: Vec<u8>,
    /// Nodes of the ranking that don't know it yet, and that no other device may tell.
    #[prost(bytes = "vec", repeated, tag = "8")]
    unannounced: Vec<Vec<u8>>,
    /// A node was told of others that hold the log.
    #[prost(bool, tag = "9")]
    shared: bool,
}

impl ConversationRow {
    pub(super) fn contact(&self) -> Option<AccountId> {
        AccountId::try_from(self.contact.as_slice()).ok()
    }

    pub(super) fn log_state(&self) -> Option<LogState> {
        let unannounced = self.unannounced.iter();
        Some(LogState {
            genesis: LogGenesis::decode(&self.genesis).ok()?,
            ranking: self.ranking.clone()?.try_into().ok()?,
            created: self.created,
            exists: self.exists,
            shared: self.shared,
            unannounced: unannounced.flat_map(|node| NodeId::try_from(node.as_slice())).collect(),
        })
    }

    pub(super) fn group(&self, rows: &dyn Rows, log: LogId) -> Option<Group> {
        let first = self.first_key.as_slice().try_into().ok().map(SigningKey::from_seed);
        Group::load(rows, log, first, CommitId(self.head.as_slice().try_into().ok()?))
    }
}

pub(super) fn load(rows: &dyn Rows, log: &LogId) -> Option<ConversationRow> {
    rows::load(rows, CONVERSATIONS, &log.0)
}

pub(super) fn save(step: &mut Step<'_>, contact: &AccountId, log: &Log, group: &Group) {
    let state = log.state();
    let row = ConversationRow {
        contact: contact.0.to_vec(),
        ranking: Some((&state.ranking).into()),
        genesis: state.genesis.encode(),
        head: group.head().0.to_vec(),
        exists: state.exists,
        created: state.created,
        first_key: group.first().map(|key| key.to_seed().to_vec()).unwrap_or_default(),
        unannounced: state.unannounced.iter().map(|node| node.0.to_vec()).collect(),
        shared: state.shared,
    };
    step.put(CONVERSATIONS, log.id().0, row.encode_to_vec());
}

pub(super) fn forget(step: &mut Step<'_>, log: &LogId) {
    step.delete(CONVERSATIONS, log.0);
}

/// Returns the logs of all conversations; `None` if the key of a row is damaged.
pub(crate) fn logs(rows: &dyn Rows) -> Vec<Option<LogId>> {
    let all = rows::all(rows, CONVERSATIONS, b"").into_iter();
    all.map(|(log, _)| LogId::try_from(log.as_slice()).ok()).collect()
}

/// Returns where the logs of all conversations are.
pub(crate) fn placements(rows: &dyn Rows) -> Vec<(LogId, LogState)> {
    let all = rows::load_all::<ConversationRow>(rows, CONVERSATIONS, b"").into_iter();
    all.filter_map(|(log, row)| Some((LogId::try_from(log.as_slice()).ok()?, row.log_state()?)))
        .collect()
}
