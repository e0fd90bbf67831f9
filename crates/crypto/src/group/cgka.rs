//! Group key agreement, seen from outside: what makes epochs. Specified in `spec/encryption.md`,
//! sections 1 and 2.
//!
//! Nothing is kept inside. The state of a group in one epoch, a *snapshot*, goes in and comes out
//! as bytes, and the caller keeps each under the id of the commit that began the epoch. So
//! concurrent commits are simply several snapshots with one parent. A snapshot holds private keys;
//! it is deleted when its epoch is final and its children are known.

use std::{collections::BTreeSet, fmt};

use proto::{AccountId, PublicKey, wire::CommitRef};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::epoch::Epoch;
use crate::{identity::Bundle, signing::SigningKey};

/// A continuous group key agreement. [`Mls`](crate::group::Mls) is the one that is used.
pub trait Cgka {
    /// Creates a key package, with which others can add this device to a group, and the secret that
    /// opens their Welcome. The secret of a one-time package must be deleted once used.
    fn key_package(
        &self,
        device: &SigningKey,
        account: &AccountId,
        rng: &mut impl CryptoRng,
    ) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), CgkaError>;

    /// Checks a key package and says whose it claims to be. Whether that account has that device is
    /// for its bundle to say.
    fn key_package_owner(&self, public: &[u8]) -> Result<(AccountId, PublicKey), CgkaError>;

    /// Creates a group of this device and of the owners of the key packages `invited`.
    fn create(
        &self,
        device: &SigningKey,
        account: &AccountId,
        invited: &[Vec<u8>],
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Created, CgkaError>;

    /// Joins the group that a Welcome is for, with the one of `packages` that it is sealed to.
    fn join(
        &self,
        device: &SigningKey,
        account: &AccountId,
        welcome: &[u8],
        packages: &[Zeroizing<Vec<u8>>],
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Joined, CgkaError>;

    /// Begins an epoch with fresh secrets and what `intents` change, all of them or none, after the
    /// epoch of `parent`, the commit that `commit_ref` must name as its parent too. Without intents
    /// it only renews the keys of this device, which every commit does.
    ///
    /// The snapshot that is returned must be stored in the same transaction as the commit: the own
    /// commit can't be processed later.
    fn commit(
        &self,
        parent: &[u8],
        device: &SigningKey,
        commit_ref: &CommitRef,
        intents: &[Intent],
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Committed, CgkaError>;

    /// Publishes the state of a group, with which an allowed device can join it without help from a
    /// member. It is signed by this device and has no secrets, but shows who the members are.
    fn group_info(
        &self,
        snapshot: &[u8],
        device: &SigningKey,
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, CgkaError>;

    /// Joins a group by a commit of this device, from the epoch of a
    /// [`group_info`](Self::group_info) and of the commit that `commit_ref` must name as parent.
    /// The device's former leaf, if the group has one, is removed; nothing else changes.
    fn external_join(
        &self,
        group_info: &[u8],
        device: &SigningKey,
        account: &AccountId,
        commit_ref: &CommitRef,
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Committed, CgkaError>;

    /// What a commit says of itself, before anything about it is checked.
    fn commit_ref(&self, mls: &[u8]) -> Result<CommitRef, CgkaError>;

    /// Follows another device's commit from the epoch of `parent`. Whether its committer may change
    /// what it changes is for the caller to judge, before it keeps the result.
    fn process(
        &self,
        parent: &[u8],
        device: &SigningKey,
        mls: &[u8],
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Processed, CgkaError>;
}

/// A change of a group's leaves. MLS calls it a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Adds a device.
    Add {
        /// Of the device, as [`Cgka::key_package`] made it.
        key_package: Vec<u8>,
    },
    /// Removes a device.
    Remove {
        /// Where it is in the group's tree.
        leaf: u32,
    },
}

/// The devices that may be members, as the bundles of their accounts say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed(BTreeSet<(AccountId, PublicKey)>);

impl Allowed {
    /// All devices of these accounts.
    pub fn new<'a>(bundles: impl IntoIterator<Item = &'a Bundle>) -> Self {
        let devices = |bundle: &'a Bundle| {
            bundle.devices().iter().map(|device| (bundle.account(), device.key))
        };
        bundles.into_iter().flat_map(devices).collect()
    }

    pub(crate) fn contains(&self, account: AccountId, device: PublicKey) -> bool {
        self.0.contains(&(account, device))
    }
}

impl FromIterator<(AccountId, PublicKey)> for Allowed {
    fn from_iter<T: IntoIterator<Item = (AccountId, PublicKey)>>(devices: T) -> Self {
        Self(devices.into_iter().collect())
    }
}

/// A device in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whose device it is.
    pub account: AccountId,
    /// The device.
    pub device: PublicKey,
    /// Where it is in the group's tree; its messages are numbered under this leaf.
    pub leaf: u32,
}

/// An epoch as all its members see it, except for the own leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochOut {
    /// Its secrets.
    pub epoch: Epoch,
    /// Its members, by leaf.
    pub members: Vec<Member>,
    /// The leaf of this device.
    pub own_leaf: u32,
}

/// A new group.
#[derive(Clone)]
pub struct Created {
    /// For those that were invited, all of them.
    pub welcome: Vec<u8>,
    /// The group's state.
    pub snapshot: Zeroizing<Vec<u8>>,
    /// Its first epoch.
    pub out: EpochOut,
}

/// A group that this device has come into.
#[derive(Clone)]
pub struct Joined {
    /// The index of the key package that was used.
    pub used: usize,
    /// Whether the group begins with this epoch.
    pub is_first: bool,
    /// The group's state.
    pub snapshot: Zeroizing<Vec<u8>>,
    /// Its epoch.
    pub out: EpochOut,
}

/// An own commit.
#[derive(Clone)]
pub struct Committed {
    /// To be sealed and published.
    pub mls: Vec<u8>,
    /// For those that it adds, all of them.
    pub welcome: Option<Vec<u8>>,
    /// The group's state after it.
    pub snapshot: Zeroizing<Vec<u8>>,
    /// The epoch that it begins.
    pub out: EpochOut,
}

/// Another device's commit.
#[derive(Clone, Debug)]
pub struct Processed {
    /// What the committer signed about it.
    pub commit_ref: CommitRef,
    /// The leaf of the committer in the epoch that begins; if it is a member, in the parent's too.
    pub committer: u32,
    /// Whether the committer joins by it.
    pub is_external: bool,
    /// What it changes, but for the leaf of a committer that joins.
    pub intents: Vec<Intent>,
    /// The epoch that it begins, unless it removes this device.
    pub next: Option<NewEpoch>,
}

impl Processed {
    /// Returns the epoch that the commit begins, if it does nothing but renew its committer's keys.
    pub fn renewal(self) -> Option<NewEpoch> {
        self.next.filter(|_| self.intents.is_empty() && !self.is_external)
    }
}

/// The state of a group in an epoch that another device began.
#[derive(Clone)]
pub struct NewEpoch {
    /// The group's state.
    pub snapshot: Zeroizing<Vec<u8>>,
    /// Its epoch.
    pub out: EpochOut,
}

/// Shows the named fields of a struct, all but its snapshot.
macro_rules! debug_without_snapshot {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self { $($field,)* snapshot: _ } = self;
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($field), $field))*
                    .finish_non_exhaustive()
            }
        }
    )*};
}

debug_without_snapshot! {
    Created { welcome, out }
    Joined { used, is_first, out }
    Committed { mls, welcome, out }
    NewEpoch { out }
}

/// Why there is no new epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CgkaError {
    /// The bytes are not laid out as they must be.
    #[error("malformed")]
    Malformed,
    /// A member, or who would be one, is not a device of the accounts that may take part.
    #[error("a device that may not be in the group")]
    NotAllowed,
    /// None of the key packages is the one that the Welcome is for.
    #[error("the Welcome is for no key package that is still held")]
    NotInvited,
    /// The commit follows another epoch.
    #[error("the commit does not follow this epoch")]
    WrongParent,
    /// The commit does something else than to add, remove and join.
    #[error("the commit makes a change that this version does not know")]
    UnknownChange,
    /// The commit would be larger than others accept; fewer intents may fit.
    #[error("the commit is too large")]
    TooLarge,
    /// The state is not one that this device stored.
    #[error("the group's state is not readable")]
    Snapshot,
    /// Something is forged, outdated or against the rules of MLS.
    #[error("refused by the rules of the group")]
    Refused,
}
