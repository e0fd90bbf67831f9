//! One epoch of a group: its secrets, its members, and the number of the next message.

use std::collections::BTreeMap;

use crypto::{
    SigningKey,
    group::{CommitId, EpochOut, Opened},
    sign_envelope,
};
use prost::Message;
use proto::{AccountId, Envelope, Expiry, Extension, Head, Kind, LogId, PublicKey};
use rand_chacha::ChaCha20Rng;
use zeroize::Zeroizing;

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

/// A state of the group as it is used: the row, decoded, and what this device has sent on it.
pub(super) struct LiveEpoch {
    secrets: crypto::group::Epoch,
    write_key: SigningKey,
    parent: CommitId,
    own_leaf: u32,
    /// The next message's.
    counter: u32,
    /// Rows say that counters below this one may be in use.
    set_aside: u32,
    members: BTreeMap<u32, (AccountId, PublicKey)>,
}

/// Rows, and what is known of it.
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

    pub(super) fn commit(&self) -> CommitId {
        self.secrets.commit()
    }

    pub(super) fn write_key(&self) -> &SigningKey {
        &self.write_key
    }

    pub(super) fn public_key(&self) -> PublicKey {
        self.write_key.public()
    }

    /// Returns the commit whose epoch this one left; its own if it is the first that is kept.
    pub(super) fn parent(&self) -> CommitId {
        self.parent
    }

    /// Makes it the first epoch that is kept.
    pub(super) fn make_root(&mut self) {
        self.parent = self.commit();
    }

    pub(super) fn member(&self, leaf: u32) -> Option<AccountId> {
        self.members.get(&leaf).map(|(account, _)| *account)
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
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

/// Sealing and opening.
impl LiveEpoch {
    /// Takes the counter of the message key that this device uses next. Returns as well below which
    /// counter rows have to say that keys may be in use, unless an earlier commit has set this one
    /// aside: even if the present one is lost no other message can get it.
    pub(super) fn take_key(&mut self) -> Option<(u32, Option<u32>)> {
        let counter = self.counter;
        self.counter = counter.checked_add(1)?;
        let is_set_aside = counter < self.set_aside;
        if !is_set_aside {
            self.set_aside = self.counter.saturating_add(SET_ASIDE);
        }
        Some((counter, (!is_set_aside).then_some(self.set_aside)))
    }

    /// The head of an entry of this epoch.
    pub(super) fn head(&self, log: LogId, kind: Kind, position: u64) -> Head {
        Head {
            kind,
            expiry: Expiry::Never,
            position,
            log,
            write_key: self.public_key(),
            extension: Extension::default(),
        }
    }

    pub(super) fn sign(&self, head: Head, ciphertext: Vec<u8>) -> Envelope {
        sign_envelope(&self.write_key, head, ciphertext)
    }

    pub(super) fn seal_message(
        &self,
        head: Head,
        content: &[u8],
        device: &SigningKey,
        counter: u32,
        rng: &mut ChaCha20Rng,
    ) -> Option<Envelope> {
        let leaf = self.own_leaf;
        let ciphertext = self.secrets.seal_message(device, leaf, counter, &head, content, rng)?;
        Some(self.sign(head, ciphertext))
    }

    pub(super) fn seal_commit(
        &self,
        head: Head,
        mls: &[u8],
        rng: &mut ChaCha20Rng,
    ) -> Option<Envelope> {
        let ciphertext = self.secrets.seal_commit(&head, mls, rng)?;
        Some(self.sign(head, ciphertext))
    }

    pub(super) fn seal_signal(
        &self,
        log: &LogId,
        plaintext: &[u8],
        rng: &mut ChaCha20Rng,
    ) -> Option<Vec<u8>> {
        self.secrets.seal_signal(log, self.own_leaf, plaintext, rng)
    }

    pub(super) fn open_signal(&self, log: &LogId, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (_, plaintext) = self.secrets.open_signal(log, ciphertext).ok()?;
        Some(plaintext)
    }

    pub(super) fn open(&self, envelope: &Envelope) -> Option<Opened> {
        let device_of = |leaf: u32| self.members.get(&leaf).map(|(_, device)| *device);
        self.secrets.open(&envelope.head, &envelope.ciphertext, &device_of).ok()
    }
}

impl Member {
    fn account(&self) -> Option<AccountId> {
        AccountId::try_from(self.account.as_slice()).ok()
    }

    fn device(&self) -> Option<PublicKey> {
        PublicKey::try_from(self.device.as_slice()).ok()
    }
}

/// Message keys that are set aside at a time. One sync in so many messages is waited for; a crash
/// leaves so many numbers unused, of 2^28.
const SET_ASIDE: u32 = 64;
