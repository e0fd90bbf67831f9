//! One epoch of a group: its secrets, its members, and the number of the next message.

use std::collections::BTreeMap;

use crypto::{
    SigningKey,
    group::{CommitId, EpochOut},
};
use prost::Message;
use proto::{AccountId, LogId, PublicKey};

/// One state of a conversation's group.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EpochRow {
    #[prost(bytes = "vec", tag = "1")]
    secrets: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    parent: Vec<u8>,
    #[prost(uint32, tag = "3")]
    own_leaf: u32,
    #[prost(message, repeated, tag = "4")]
    members: Vec<Member>,
}

/// A device in a group.
#[derive(Clone, PartialEq, Message)]
struct Member {
    #[prost(uint32, tag = "1")]
    leaf: u32,
    #[prost(bytes = "vec", tag = "2")]
    account: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    device: Vec<u8>,
}

pub(super) struct LiveEpoch {
    pub(super) secrets: crypto::group::Epoch,
    pub(super) write_key: SigningKey,
    pub(super) parent: CommitId,
    pub(super) own_leaf: u32,
    /// The next message's.
    pub(super) counter: u32,
    /// Rows say that counters below this one may be in use.
    pub(super) set_aside: u32,
    pub(super) members: BTreeMap<u32, (AccountId, PublicKey)>,
}

/// Which key an entry used: no device may use one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) commit: CommitId,
    pub(super) leaf: u32,
    pub(super) counter: u32,
}

impl Counted {
    /// The key of its row.
    pub(super) fn row_key(&self, log: &LogId) -> Vec<u8> {
        let (leaf, counter) = (self.leaf.to_be_bytes(), self.counter.to_be_bytes());
        [log.0.as_slice(), &self.commit.0, &leaf, &counter].concat()
    }
}

impl LiveEpoch {
    pub(super) fn new(out: EpochOut, parent: CommitId) -> Self {
        let members = out.members.into_iter();
        Self {
            write_key: out.epoch.write_key(),
            secrets: out.epoch,
            parent,
            own_leaf: out.own_leaf,
            counter: 0,
            set_aside: 0,
            members: members.map(|member| (member.leaf, (member.account, member.device))).collect(),
        }
    }

    pub(super) fn from_row(row: &EpochRow, counter: Option<&[u8]>) -> Option<Self> {
        let secrets = crypto::group::Epoch::decode(&row.secrets).ok()?;
        let set_aside = counter.map_or(Some(0), |c| c.try_into().ok().map(u32::from_be_bytes))?;
        let member = |member: &Member| Some((member.leaf, (member.account()?, member.device()?)));
        Some(Self {
            write_key: secrets.write_key(),
            secrets,
            parent: CommitId(row.parent.as_slice().try_into().ok()?),
            own_leaf: row.own_leaf,
            counter: set_aside,
            set_aside,
            members: row.members.iter().map(member).collect::<Option<_>>()?,
        })
    }

    pub(super) fn to_row(&self) -> EpochRow {
        let member = |(leaf, (account, device)): (&u32, &(AccountId, PublicKey))| Member {
            leaf: *leaf,
            account: account.0.to_vec(),
            device: device.0.to_vec(),
        };
        EpochRow {
            secrets: self.secrets.encode().to_vec(),
            parent: self.parent.0.to_vec(),
            own_leaf: self.own_leaf,
            members: self.members.iter().map(member).collect(),
        }
    }
}

impl Member {
    pub(super) fn account(&self) -> Option<AccountId> {
        AccountId::try_from(self.account.as_slice()).ok()
    }

    pub(super) fn device(&self) -> Option<PublicKey> {
        PublicKey::try_from(self.device.as_slice()).ok()
    }
}
