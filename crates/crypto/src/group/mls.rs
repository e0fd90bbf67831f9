//! Group key agreement by MLS (RFC 9420), in cipher suite 3. Specified in `spec/encryption.md`,
//! sections 1 and 2.
//!
//! Each call builds an MLS client around the given state, a generator with a fresh seed and the
//! list of allowed devices, and drops it again. MLS messages for applications are not used: of each
//! epoch the tag and the root are exported, once, and the exporter's secret is deleted before the
//! state leaves.

mod identity;
mod provider;

use std::time::Duration;

use mls_rs::{
    Client, ExtensionList, Group, GroupStateStorage, MlsMessage, WireFormat,
    client_builder::{
        BaseConfig, ClientBuilder, PaddingMode, WithCryptoProvider, WithIdentityProvider,
        WithMlsRules,
    },
    error::MlsError,
    group::{CommitEffect, CommitMessageDescription, ReceivedMessage},
    identity::SigningIdentity,
    mls_rs_codec::{MlsDecode, MlsEncode, byte_vec},
    mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions},
    storage_provider::{
        KeyPackageData,
        in_memory::{InMemoryGroupStateStorage, InMemoryKeyPackageStorage},
    },
    time::MlsTime,
};
use mls_rs_core::group::GroupState;
use prost::Message;
use proto::{AccountId, PublicKey, limits, wire::CommitRef};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng};
use zeroize::Zeroizing;

use self::{
    identity::{Guard, credential, owner},
    provider::{SUITE, Seeded, signature_keys},
};
use super::{
    cgka::{Allowed, Cgka, CgkaError, Committed, Created, EpochOut, Joined, Member, Processed},
    epoch::{CommitId, Epoch},
};
use crate::signing::SigningKey;

/// MLS, by mls-rs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mls;

impl Cgka for Mls {
    fn key_package(
        &self,
        device: &SigningKey,
        account: &AccountId,
        rng: &mut impl CryptoRng,
    ) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), CgkaError> {
        let stores = Stores::default();
        let client = stores.client(device, account, Guard(None), rng);
        let none = ExtensionList::default;
        let public =
            client.generate_key_package_message(none(), none(), Some(MlsTime::default()))?;
        let (reference, package) =
            stores.packages.key_packages().pop().ok_or(CgkaError::Refused)?;
        let mut secret = Zeroizing::new(reference);
        secret.extend_from_slice(&Zeroizing::new(package.mls_encode_to_vec()?));
        Ok((public.to_bytes()?, secret))
    }

    fn key_package_owner(&self, public: &[u8]) -> Result<(AccountId, PublicKey), CgkaError> {
        let message = read_key_package(public)?;
        let package = message.as_key_package().ok_or(CgkaError::Malformed)?;
        let found = owner(package.signing_identity()).ok_or(CgkaError::NotAllowed)?;

        // MLS checks key packages only when it adds their owners, so one is added to an empty group
        // that is thrown away; its randomness doesn't matter.
        let mut rng = ChaCha20Rng::from_seed([0; 32]);
        let nobody = SigningKey::from_seed([0; 32]);
        let client =
            Stores::default().client(&nobody, &AccountId::default(), Guard(None), &mut rng);
        let mut group = new_group(&client)?;
        group.commit_builder().add_member(message)?.build_detached()?;
        Ok(found)
    }

    fn create(
        &self,
        device: &SigningKey,
        account: &AccountId,
        invited: &[Vec<u8>],
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Created, CgkaError> {
        let stores = Stores::default();
        let client = stores.client(device, account, Guard(Some(allowed.clone())), rng);
        let mut group = new_group(&client)?;
        let mut builder = group.commit_builder();
        for package in invited {
            builder = builder.add_member(read_key_package(package)?)?;
        }
        let (output, secrets) = builder.build_detached()?;
        let welcome = output.welcome_messages().first().ok_or(CgkaError::NotInvited)?.to_bytes()?;
        group.apply_detached_commit(secrets)?;
        let (snapshot, out) = stores.finish(group, CommitId::first)?;
        Ok(Created { welcome, snapshot, out })
    }

    fn join(
        &self,
        device: &SigningKey,
        account: &AccountId,
        welcome: &[u8],
        packages: &[Zeroizing<Vec<u8>>],
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Joined, CgkaError> {
        let welcome = read(welcome, WireFormat::Welcome)?;
        let references = welcome.welcome_key_package_references();
        let sealed_to = |package: &Zeroizing<Vec<u8>>| {
            references.iter().any(|reference| package.starts_with(reference))
        };
        let used = packages.iter().position(sealed_to).ok_or(CgkaError::NotInvited)?;
        let (reference, package) = packages
            .get(used)
            .and_then(|package| package.split_first_chunk::<REFERENCE_LEN>())
            .ok_or(CgkaError::Malformed)?;
        let package = KeyPackageData::mls_decode(&mut &*package)?;

        let stores = Stores::default();
        stores.packages.insert(reference.to_vec(), package);
        let client = stores.client(device, account, Guard(Some(allowed.clone())), rng);
        let (group, _) = client.join_group(None, &welcome, None)?;
        // Until commits can add members, a Welcome leads to the first epoch.
        if group.current_epoch() != FIRST_SHARED_EPOCH {
            return Err(CgkaError::UnknownChange);
        }
        let (snapshot, out) = stores.finish(group, CommitId::first)?;
        Ok(Joined { used, snapshot, out })
    }

    fn commit(
        &self,
        parent: &[u8],
        device: &SigningKey,
        link: &CommitRef,
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Committed, CgkaError> {
        let stores = Stores::default();
        let (commit, mut group) = stores.load(parent, device, allowed, rng)?;
        if link.parent != commit.0 {
            return Err(CgkaError::WrongParent);
        }
        let builder = group.commit_builder().authenticated_data(link.encode_to_vec());
        let (output, secrets) = builder.build_detached()?;
        let mls = output.commit_message().to_bytes()?;
        let id = CommitId::of(&mls);
        group.apply_detached_commit(secrets)?;
        let (snapshot, out) = stores.finish(group, |_| id)?;
        Ok(Committed { mls, id, snapshot, out })
    }

    fn link(&self, mut mls: &[u8]) -> Result<CommitRef, CgkaError> {
        let message = &mut mls;
        let (_version, format) = (u16::mls_decode(message)?, u16::mls_decode(message)?);
        if format != WireFormat::PrivateMessage as u16 {
            return Err(CgkaError::Malformed);
        }
        let _group: Vec<u8> = byte_vec::mls_decode(message)?;
        let (_epoch, _type) = (u64::mls_decode(message)?, u8::mls_decode(message)?);
        let link: Vec<u8> = byte_vec::mls_decode(message)?;
        read_link(&link)
    }

    fn process(
        &self,
        parent: &[u8],
        device: &SigningKey,
        mls: &[u8],
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Processed, CgkaError> {
        let (id, message) = (CommitId::of(mls), read(mls, WireFormat::PrivateMessage)?);
        let stores = Stores::default();
        let (commit, mut group) = stores.load(parent, device, allowed, rng)?;
        let ReceivedMessage::Commit(described) = group.process_incoming_message(message)? else {
            return Err(CgkaError::Malformed);
        };
        if changes_members(&described) {
            return Err(CgkaError::UnknownChange);
        }
        let link = read_link(&described.authenticated_data)?;
        if link.parent != commit.0 {
            return Err(CgkaError::WrongParent);
        }
        let (snapshot, out) = stores.finish(group, |_| id)?;
        Ok(Processed { id, link, committer: described.committer, snapshot, out })
    }
}

/// The configuration of all clients.
type Config = WithMlsRules<
    DefaultMlsRules,
    WithCryptoProvider<Seeded, WithIdentityProvider<Guard, BaseConfig>>,
>;

/// What MLS reads and writes during one call.
#[derive(Clone, Default)]
struct Stores {
    packages: InMemoryKeyPackageStorage,
    states: InMemoryGroupStateStorage,
}

impl Stores {
    fn client(
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
    fn load(
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
    fn finish(
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
fn new_group(client: &Client<Config>) -> Result<Group<Config>, CgkaError> {
    let none = ExtensionList::default;
    Ok(client.create_group(none(), none(), Some(MlsTime::default()))?)
}

fn export(group: &Group<Config>, label: &[u8]) -> Result<Zeroizing<[u8; 32]>, CgkaError> {
    let secret = group.export_secret(label, b"", 32)?;
    Ok(Zeroizing::new(secret.as_bytes().try_into().map_err(|_| CgkaError::Refused)?))
}

/// Reads a message of one kind, of which there is one encoding only.
fn read(bytes: &[u8], format: WireFormat) -> Result<MlsMessage, CgkaError> {
    // MLS itself doesn't look at the version around a key package.
    if bytes.len() > limits::COMMIT_MAX || !bytes.starts_with(&MLS_10) {
        return Err(CgkaError::Malformed);
    }
    let message = MlsMessage::from_bytes(bytes)?;
    if message.wire_format() != format || message.to_bytes()? != bytes {
        return Err(CgkaError::Malformed);
    }
    Ok(message)
}

fn read_key_package(bytes: &[u8]) -> Result<MlsMessage, CgkaError> {
    if bytes.len() > limits::KEY_PACKAGE_BYTES_MAX {
        return Err(CgkaError::Malformed);
    }
    read(bytes, WireFormat::KeyPackage)
}

fn read_link(bytes: &[u8]) -> Result<CommitRef, CgkaError> {
    CommitRef::decode(bytes).map_err(|_| CgkaError::Malformed)
}

/// Whether a commit does more than to renew its committer's own keys.
fn changes_members(commit: &CommitMessageDescription) -> bool {
    match &commit.effect {
        CommitEffect::NewEpoch(epoch) => {
            commit.is_external || !epoch.applied_proposals().is_empty()
        }
        CommitEffect::Removed { .. } | CommitEffect::ReInit(_) => true,
    }
}

const ROOT_LABEL: &[u8] = b"siskin1 root";
const TAG_LABEL: &[u8] = b"siskin1 epoch-id";
/// Number 0 has the creator only.
const FIRST_SHARED_EPOCH: u64 = 1;
const MLS_10: [u8; 2] = [0, 1];
const REFERENCE_LEN: usize = 32;
/// Leaves are good from 1970 on and don't expire: which devices are good is for bundles to say, and
/// there is no clock here.
const FOR_EVER: Duration = Duration::from_secs(u64::MAX);

#[cfg(test)]
mod tests;
