//! Another client of MLS joins our groups, follows our commits and is followed.

use mls_rs::{
    client_builder::PaddingMode,
    mls_rules::{DefaultMlsRules, EncryptionOptions},
};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use super::*;
use crate::group::epoch::Epoch;

/// An MLS client as others would build it: RustCrypto's suite, randomness of the system, handshakes
/// in the clear.
macro_rules! plain_client {
    ($device:expr) => {
        plain_client!($device, encrypted: true)
    };
    ($device:expr, encrypted: $encrypted:literal) => {{
        let (secret, public) = signature_keys(&$device.key);
        let credential = credential(&$device.account, &$device.key.public()).into_credential();
        ClientBuilder::new()
            .identity_provider(BasicIdentityProvider)
            .crypto_provider(RustCryptoProvider::new())
            .mls_rules(
                DefaultMlsRules::new()
                    .with_encryption_options(EncryptionOptions::new($encrypted, PaddingMode::None)),
            )
            .signing_identity(SigningIdentity::new(credential, public), secret, SUITE)
            .build()
    }};
}

/// The epoch that a plain client is in.
macro_rules! plain_epoch {
    ($group:expr, $id:expr) => {{
        let tag = $group.export_secret(TAG_LABEL, b"", 32).unwrap();
        let root = $group.export_secret(ROOT_LABEL, b"", 32).unwrap();
        let tag: [u8; 32] = tag.as_bytes().try_into().unwrap();
        let id: fn(&[u8; 32]) -> CommitId = $id;
        Epoch::from_root(id(&tag), tag, root.as_bytes().try_into().unwrap())
    }};
}

#[test]
fn a_plain_client_joins_and_is_followed() {
    let (mut alice, bob) = (Device::new(1), Device::new(2));
    let allowed = allowed(&[&alice, &bob]);
    let client = plain_client!(bob);
    let none = ExtensionList::default;
    let package = client.generate_key_package_message(none(), none(), None).unwrap();
    let created = alice.create(&[package.to_bytes().unwrap()], &allowed).unwrap();
    let welcome = MlsMessage::from_bytes(&created.welcome).unwrap();
    let (mut group, _) = client.join_group(None, &welcome, None).unwrap();
    assert_eq!(plain_epoch!(group, CommitId::of_epoch), created.out.epoch);

    let commit = alice.commit(&created.snapshot, &allowed);
    let message = MlsMessage::from_bytes(&commit.mls).unwrap();
    group.process_incoming_message(message).unwrap();
    let followed = plain_epoch!(group, |_| CommitId::default());
    assert_eq!(followed.write_key().public(), commit.out.epoch.write_key().public());

    let commit_ref = commit_ref(&commit.snapshot).encode_to_vec();
    let his = group.commit(commit_ref).unwrap();
    group.apply_pending_commit().unwrap();
    let his = his.commit_message().to_bytes().unwrap();
    let followed = alice.follow(&commit.snapshot, &his, &allowed);
    let theirs = plain_epoch!(group, |_| CommitId::default());
    assert_eq!(followed.out.epoch.key_tree(), theirs.key_tree());
}

#[test]
fn a_plain_client_s_group_is_joined() {
    let (alice, mut bob) = (Device::new(1), Device::new(2));
    let allowed = allowed(&[&alice, &bob]);
    let (public, secret) = bob.key_package();
    let none = ExtensionList::default;
    let mut group = plain_client!(alice).create_group(none(), none(), None).unwrap();
    let builder = group.commit_builder().add_member(MlsMessage::from_bytes(&public).unwrap());
    let output = builder.unwrap().build().unwrap();
    group.apply_pending_commit().unwrap();
    let welcome = output.welcome_messages()[0].to_bytes().unwrap();
    let joined = bob.join(&welcome, &[secret], &allowed).unwrap();
    assert_eq!(plain_epoch!(group, CommitId::of_epoch), joined.out.epoch);

    let commit = bob.commit(&joined.snapshot, &allowed);
    group.process_incoming_message(MlsMessage::from_bytes(&commit.mls).unwrap()).unwrap();
    let followed = plain_epoch!(group, |_| CommitId::default());
    assert_eq!(followed.tag(), commit.out.epoch.tag());
}

#[test]
fn a_member_s_commit_in_the_clear_is_refused() {
    let (alice, mut bob) = (Device::new(1), Device::new(2));
    let allowed = allowed(&[&alice, &bob]);
    let (public, secret) = bob.key_package();
    let none = ExtensionList::default;
    let client = plain_client!(alice, encrypted: false);
    let mut group = client.create_group(none(), none(), None).unwrap();
    let builder = group.commit_builder().add_member(MlsMessage::from_bytes(&public).unwrap());
    let output = builder.unwrap().build().unwrap();
    group.apply_pending_commit().unwrap();
    let welcome = output.welcome_messages()[0].to_bytes().unwrap();
    let joined = bob.join(&welcome, &[secret], &allowed).unwrap();

    let commit = group.commit(commit_ref(&joined.snapshot).encode_to_vec()).unwrap();
    let commit = commit.commit_message().to_bytes().unwrap();
    assert_eq!(commit[..4], [0, 1, 0, 1], "MLS 1.0, a public message");
    let processed = bob.process(&joined.snapshot, &commit, &allowed);
    assert_eq!(processed.unwrap_err(), CgkaError::Refused);
    assert_eq!(Mls.commit_ref(&commit), Err(CgkaError::Malformed));
}
