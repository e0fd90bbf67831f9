//! MLS clients and groups for the length of one call, and what is kept of a group between calls.

use std::time::Duration;

use mls_rs::{
    Client, ExtensionList, Group, GroupStateStorage,
    client_builder::{
        BaseConfig, ClientBuilder, PaddingMode, WithCryptoProvider, WithIdentityProvider,
        WithMlsRules,
    },
    error::MlsError,
    identity::SigningIdentity,
    mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions},
    storage_provider::in_memory::{InMemoryGroupStateStorage, InMemoryKeyPackageStorage},
    time::MlsTime,
};
use mls_rs_core::group::GroupState;
use proto::AccountId;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{
    identity::{Guard, credential, owner},
    provider::{SUITE, Seeded, signature_keys},
};
use crate::{
    group::{
        cgka::{Allowed, CgkaError, EpochOut, Member},
        epoch::{CommitId, Epoch},
    },
    signing::SigningKey,
};

/// The configuration of all clients.
pub(super) type Config = WithMlsRules<
    DefaultMlsRules,
    WithCryptoProvider<Seeded, WithIdentityProvider<Guard, BaseConfig>>,
>;

/// What MLS reads and writes during one call.
#[derive(Clone, Default)]
pub(super) struct Stores {
    pub(super) packages: InMemoryKeyPackageStorage,
    states: InMemoryGroupStateStorage,
}

impl Stores {
    pub(super) fn client(
        &self,
        device: &SigningKey,
        account: &AccountId,
        guard: Guard,
        rng: &mut impl CryptoRng,
    ) -> Client<Config> {
        let (secret, public) = signature_keys(device);
        let credential = credential(account, &device.public()).into_credential();
        let identity = SigningIdentity::new(credential, public);
        self.builder(guard, rng).signing_identity(identity, secret, SUITE).build()
    }

    fn builder(&self, guard: Guard, rng: &mut impl CryptoRng) -> ClientBuilder<Config> {
        let rules = DefaultMlsRules::new()
            .with_commit_options(CommitOptions::new().with_path_required(true))
            // Not padded: what commits are sealed in is.
            .with_encryption_options(EncryptionOptions::new(true, PaddingMode::None));
        ClientBuilder::new()
            .key_package_repo(self.packages.clone())
            .group_state_storage(self.states.clone())
            .identity_provider(guard)
            .crypto_provider(Seeded::new(rng))
            .mls_rules(rules)
            .key_package_lifetime(FOR_EVER)
    }

    /// Opens a snapshot of this device, and says which commit made it.
    pub(super) fn load(
        &self,
        snapshot: &[u8],
        device: &SigningKey,
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<(CommitId, Group<Config>), CgkaError> {
        let (commit, state) = snapshot.split_first_chunk::<32>().ok_or(CgkaError::Snapshot)?;
        let data = Zeroizing::new(state.to_vec());
        let state = GroupState { id: Vec::new(), data };
        GroupStateStorage::write(&mut self.states.clone(), state, Vec::new(), Vec::new())
            .map_err(|_| CgkaError::Snapshot)?;
        let client = self.builder(Guard(Some(allowed.clone())), rng).build();
        let group = client.load_group(&[]).map_err(|_| CgkaError::Snapshot)?;
        let own = group.current_member_signing_identity()?;
        if owner(own).is_none_or(|(_, key)| key != device.public()) {
            return Err(CgkaError::Snapshot);
        }
        Ok((CommitId(*commit), group))
    }

    /// Takes out of a group that has just entered an epoch what is kept of that epoch, and gives
    /// the epoch the name that `id` makes of its tag.
    pub(super) fn finish(
        &self,
        mut group: Group<Config>,
        id: impl FnOnce(&[u8; 32]) -> CommitId,
    ) -> Result<(Zeroizing<Vec<u8>>, EpochOut), CgkaError> {
        let (tag, root) = (export(&group, TAG_LABEL)?, export(&group, ROOT_LABEL)?);
        group.delete_exporter();
        group.write_to_storage()?;
        let state = GroupStateStorage::state(&self.states, group.group_id())
            .map_err(|_| CgkaError::Snapshot)?
            .ok_or(CgkaError::Snapshot)?;

        let member = |member: mls_rs::group::Member| {
            let (account, device) = owner(&member.signing_identity)?;
            Some(Member { account, device, leaf: member.index })
        };
        let members = group.roster().members_iter().map(member).collect::<Option<_>>();
        let commit = id(&tag);
        let out = EpochOut {
            epoch: Epoch::from_root(commit, *tag, &root),
            members: members.ok_or(CgkaError::NotAllowed)?,
            own_leaf: group.current_member_index(),
        };
        let mut snapshot = Vec::with_capacity(commit.0.len().saturating_add(state.len()));
        snapshot.extend(commit.0);
        snapshot.extend_from_slice(&state);
        Ok((Zeroizing::new(snapshot), out))
    }
}

impl From<MlsError> for CgkaError {
    fn from(error: MlsError) -> Self {
        if matches!(error, MlsError::IdentityProviderError(_)) {
            Self::NotAllowed
        } else if matches!(error, MlsError::SerializationError(_)) {
            Self::Malformed
        } else {
            Self::Refused
        }
    }
}

impl From<mls_rs::mls_rs_codec::Error> for CgkaError {
    fn from(_: mls_rs::mls_rs_codec::Error) -> Self {
        Self::Malformed
    }
}

/// A group without other members, in an epoch that no key is taken from.
pub(super) fn new_group(client: &Client<Config>) -> Result<Group<Config>, CgkaError> {
    let none = ExtensionList::default;
    Ok(client.create_group(none(), none(), Some(MlsTime::default()))?)
}

fn export(group: &Group<Config>, label: &[u8]) -> Result<Zeroizing<[u8; 32]>, CgkaError> {
    let secret = group.export_secret(label, b"", 32)?;
    Ok(Zeroizing::new(secret.as_bytes().try_into().map_err(|_| CgkaError::Refused)?))
}

pub(super) const ROOT_LABEL: &[u8] = b"siskin1 root";
pub(super) const TAG_LABEL: &[u8] = b"siskin1 epoch-id";
/// Leaves are good from 1970 on and don't expire: which devices are good is for bundles to say, and
/// there is no clock here.
const FOR_EVER: Duration = Duration::from_secs(u64::MAX);
