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

use super::epoch::{CommitId, Epoch};
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

    /// Begins an epoch with fresh secrets after the epoch of `parent`, the commit that `link` must
    /// name as its parent too.
    ///
    /// The snapshot that is returned must be stored in the same transaction as the commit: the own
    /// commit can't be processed later.
    fn commit(
        &self,
        parent: &[u8],
        device: &SigningKey,
        link: &CommitRef,
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Committed, CgkaError>;

    /// What a commit says of itself, before anything about it is checked.
    fn link(&self, mls: &[u8]) -> Result<CommitRef, CgkaError>;

    /// Follows another member's commit from the epoch of `parent`.
    fn process(
        &self,
        parent: &[u8],
        device: &SigningKey,
        mls: &[u8],
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Processed, CgkaError>;
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
    /// The place of the key package that was used.
    pub used: usize,
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
    /// Its name.
    pub id: CommitId,
    /// The group's state after it.
    pub snapshot: Zeroizing<Vec<u8>>,
    /// The epoch that it begins.
    pub out: EpochOut,
}

/// Another member's commit.
#[derive(Clone)]
pub struct Processed {
    /// Its name.
    pub id: CommitId,
    /// What the committer signed about it.
    pub link: CommitRef,
    /// The leaf of the committer, in both epochs.
    pub committer: u32,
    /// The group's state after it.
    pub snapshot: Zeroizing<Vec<u8>>,
    /// The epoch that it begins.
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
    Joined { used, out }
    Committed { mls, id, out }
    Processed { id, link, committer, out }
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
    /// The commit changes more than its committer's own keys.
    #[error("the commit makes a change that this version does not know")]
    UnknownChange,
    /// The state is not one that this device stored.
    #[error("the group's state is not readable")]
    Snapshot,
    /// Something is forged, outdated or against the rules of MLS.
    #[error("refused by the rules of the group")]
    Refused,
}
