//! Group key agreement by MLS (RFC 9420), in cipher suite 3. Specified in `spec/encryption.md`,
//! sections 1 and 2.
//!
//! Each call builds an MLS client around the given state, a generator with a fresh seed and the
//! list of allowed devices, and drops it again. MLS messages for applications are not used: of each
//! epoch the tag and the root are exported, once, and the exporter's secret is deleted before the
//! state leaves.

mod identity;
mod message;
mod provider;
mod stores;

use mls_rs::{
    Extension, ExtensionList, MlsMessage, WireFormat,
    extension::{ExtensionType, built_in::RatchetTreeExt},
    group::{CommitEffect, ReceivedMessage},
    mls_rs_codec::{MlsDecode, MlsEncode, byte_vec},
    storage_provider::KeyPackageData,
    time::MlsTime,
};
use prost::Message;
use proto::{AccountId, PublicKey, limits, wire::CommitRef};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng};
use zeroize::Zeroizing;

use self::{
    identity::{Guard, owner},
    message::{changes, read, read_commit, read_commit_ref, read_key_package},
    stores::{Stores, new_group},
};
use super::{
    cgka::{Allowed, Cgka, CgkaError, Committed, Created, Intent, Joined, NewEpoch, Processed},
    epoch::CommitId,
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
        let (snapshot, out) = stores.finish(group, CommitId::of_epoch)?;
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
        let is_first = group.current_epoch() == FIRST_SHARED_EPOCH;
        let (snapshot, out) = stores.finish(group, CommitId::of_epoch)?;
        Ok(Joined { used, is_first, snapshot, out })
    }

    fn commit(
        &self,
        parent: &[u8],
        device: &SigningKey,
        commit_ref: &CommitRef,
        intents: &[Intent],
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Committed, CgkaError> {
        let stores = Stores::default();
        let (commit, mut group) = stores.load(parent, device, allowed, rng)?;
        if commit_ref.parent != commit.0 {
            return Err(CgkaError::WrongParent);
        }
        let mut builder = group.commit_builder().authenticated_data(commit_ref.encode_to_vec());
        for intent in intents {
            builder = match intent {
                Intent::Add { key_package } => {
                    builder.add_member(read_key_package(key_package)?)?
                }
                Intent::Remove { leaf } => builder.remove_member(*leaf)?,
            };
        }
        let (output, secrets) = builder.build_detached()?;
        let mls = published(output.commit_message())?;
        let welcome = output.welcome_messages().first().map(MlsMessage::to_bytes).transpose()?;
        group.apply_detached_commit(secrets)?;
        let (snapshot, out) = stores.finish(group, name(&mls, !intents.is_empty()))?;
        Ok(Committed { mls, welcome, snapshot, out })
    }

    fn group_info(
        &self,
        snapshot: &[u8],
        device: &SigningKey,
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, CgkaError> {
        let (commit, group) = Stores::default().load(snapshot, device, allowed, rng)?;
        let mut extensions = ExtensionList::new();
        extensions.set(Extension::new(COMMIT_EXTENSION, commit.0.to_vec()));
        let info =
            group.group_info_message_allowing_ext_commit_with_extensions(true, extensions)?;
        published(&info)
    }

    fn external_join(
        &self,
        group_info: &[u8],
        device: &SigningKey,
        account: &AccountId,
        commit_ref: &CommitRef,
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Committed, CgkaError> {
        // MLS checks all leaves but the own one.
        if !allowed.contains(*account, device.public()) {
            return Err(CgkaError::NotAllowed);
        }
        let message = read(group_info, WireFormat::GroupInfo)?;
        let info = message.as_group_info().ok_or(CgkaError::Malformed)?;
        let commit = info.extensions().get(COMMIT_EXTENSION).ok_or(CgkaError::Malformed)?;
        if commit_ref.parent != commit.extension_data() {
            return Err(CgkaError::WrongParent);
        }
        let tree =
            info.extensions().get_as::<RatchetTreeExt>().map_err(|_| CgkaError::Malformed)?;
        let tree = tree.ok_or(CgkaError::Malformed)?.tree_data;
        let is_own = |member: &mls_rs::group::Member| {
            owner(&member.signing_identity) == Some((*account, device.public()))
        };
        let former = tree.roster().members_iter().find(is_own);

        let stores = Stores::default();
        let client = stores.client(device, account, Guard(Some(allowed.clone())), rng);
        let mut builder = client
            .external_commit_builder()?
            .with_authenticated_data(commit_ref.encode_to_vec())
            .commit_time(MlsTime::default());
        if let Some(former) = former {
            builder = builder.with_removal(former.index);
        }
        // Checks the signature and the tree, which were only read so far.
        let (group, commit) = builder.build(message)?;
        let mls = published(&commit)?;
        let (snapshot, out) = stores.finish(group, CommitId::of_epoch)?;
        Ok(Committed { mls, welcome: None, snapshot, out })
    }

    fn commit_ref(&self, mut mls: &[u8]) -> Result<CommitRef, CgkaError> {
        let message = &mut mls;
        let (_version, format) = (u16::mls_decode(message)?, u16::mls_decode(message)?);
        let _group: Vec<u8> = byte_vec::mls_decode(message)?;
        // The type of a private message's content, of a public one's sender.
        let (_epoch, kind) = (u64::mls_decode(message)?, u8::mls_decode(message)?);
        let is_private = format == WireFormat::PrivateMessage as u16;
        let is_external = format == WireFormat::PublicMessage as u16 && kind == NEW_MEMBER_COMMIT;
        if !is_private && !is_external {
            return Err(CgkaError::Malformed);
        }
        let commit_ref: Vec<u8> = byte_vec::mls_decode(message)?;
        read_commit_ref(&commit_ref)
    }

    fn process(
        &self,
        parent: &[u8],
        device: &SigningKey,
        mls: &[u8],
        allowed: &Allowed,
        rng: &mut impl CryptoRng,
    ) -> Result<Processed, CgkaError> {
        let message = read_commit(mls)?;
        let is_public = message.wire_format() == WireFormat::PublicMessage;
        let stores = Stores::default();
        let (commit, mut group) = stores.load(parent, device, allowed, rng)?;
        let ReceivedMessage::Commit(described) = group.process_incoming_message(message)? else {
            return Err(CgkaError::Malformed);
        };
        let is_external = described.is_external;
        // Only who has no keys of the group yet may commit without encryption.
        if is_public != is_external {
            return Err(CgkaError::Refused);
        }
        let commit_ref = read_commit_ref(&described.authenticated_data)?;
        if commit_ref.parent != commit.0 {
            return Err(CgkaError::WrongParent);
        }
        let (epoch, is_evicted) = match described.effect {
            CommitEffect::NewEpoch(epoch) => (epoch, false),
            CommitEffect::Removed { new_epoch, .. } => (new_epoch, true),
            CommitEffect::ReInit(_) => return Err(CgkaError::UnknownChange),
        };
        let intents = changes(&epoch, is_external)?;
        let next = if is_evicted {
            None
        } else {
            let id = name(mls, is_external || !intents.is_empty());
            let (snapshot, out) = stores.finish(group, id)?;
            Some(NewEpoch { snapshot, out })
        };
        let committer = described.committer;
        Ok(Processed { commit_ref, committer, is_external, intents, next })
    }
}

/// Returns what makes the name of a commit of the tag of its epoch.
fn name(mls: &[u8], changes_leaves: bool) -> impl FnOnce(&[u8; 32]) -> CommitId {
    move |tag| if changes_leaves { CommitId::of_epoch(tag) } else { CommitId::of(mls) }
}

/// Encodes what others are to read, and refuses what they would not.
fn published(message: &MlsMessage) -> Result<Vec<u8>, CgkaError> {
    let bytes = message.to_bytes()?;
    if bytes.len() > limits::COMMIT_MAX { Err(CgkaError::TooLarge) } else { Ok(bytes) }
}

/// Number 0 has the creator only.
const FIRST_SHARED_EPOCH: u64 = 1;
const REFERENCE_LEN: usize = 32;
/// The sender type of a public message by which a device joins (RFC 9420, section 6).
const NEW_MEMBER_COMMIT: u8 = 4;
/// The commit that began the epoch of a GroupInfo. Of the numbers for private use (RFC 9420,
/// section 17.3).
const COMMIT_EXTENSION: ExtensionType = ExtensionType::new(0xF051);

#[cfg(test)]
mod tests;
