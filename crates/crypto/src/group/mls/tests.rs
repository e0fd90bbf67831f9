//! Groups of two and three, and what they refuse.

mod leaves;
mod plain_client;

use mls_rs::{
    client_builder::ClientBuilder,
    error::MlsError,
    identity::{SigningIdentity, basic::BasicIdentityProvider},
};
use proptest::{collection::vec, prelude::*};

use super::{
    identity::credential,
    provider::{SUITE, Seeded, signature_keys},
    stores::{ROOT_LABEL, TAG_LABEL},
    *,
};
use crate::group::cgka::Member;

#[derive(Clone)]
struct Device {
    account: AccountId,
    key: SigningKey,
    rng: ChaCha20Rng,
}

impl Device {
    fn new(number: u8) -> Self {
        Self {
            account: AccountId([number; 32]),
            key: SigningKey::from_seed([number; 32]),
            rng: ChaCha20Rng::from_seed([number; 32]),
        }
    }

    fn key_package(&mut self) -> (Vec<u8>, Zeroizing<Vec<u8>>) {
        Mls.key_package(&self.key, &self.account, &mut self.rng).unwrap()
    }

    fn create(&mut self, invited: &[Vec<u8>], allowed: &Allowed) -> Result<Created, CgkaError> {
        Mls.create(&self.key, &self.account, invited, allowed, &mut self.rng)
    }

    fn join(
        &mut self,
        welcome: &[u8],
        packages: &[Zeroizing<Vec<u8>>],
        allowed: &Allowed,
    ) -> Result<Joined, CgkaError> {
        Mls.join(&self.key, &self.account, welcome, packages, allowed, &mut self.rng)
    }

    fn commit(&mut self, parent: &[u8], allowed: &Allowed) -> Committed {
        self.change(parent, &[], allowed).unwrap()
    }

    fn change(
        &mut self,
        parent: &[u8],
        intents: &[Intent],
        allowed: &Allowed,
    ) -> Result<Committed, CgkaError> {
        Mls.commit(parent, &self.key, &commit_ref(parent), intents, allowed, &mut self.rng)
    }

    fn process(
        &mut self,
        parent: &[u8],
        mls: &[u8],
        allowed: &Allowed,
    ) -> Result<Processed, CgkaError> {
        Mls.process(parent, &self.key, mls, allowed, &mut self.rng)
    }

    /// Follows a commit that renews keys.
    fn follow(&mut self, parent: &[u8], mls: &[u8], allowed: &Allowed) -> NewEpoch {
        self.process(parent, mls, allowed).unwrap().renewal().unwrap()
    }
}

fn allowed(devices: &[&Device]) -> Allowed {
    devices.iter().map(|device| (device.account, device.key.public())).collect()
}

fn commit_ref(parent: &[u8]) -> CommitRef {
    CommitRef {
        parent: parent[..32].to_vec(),
        intents: Vec::new(),
        dependencies: vec![vec![7; 16]],
        position: 9,
        expiry: 0,
    }
}

/// Two devices that share the first epoch of a group.
struct Pair {
    alice: Device,
    bob: Device,
    allowed: Allowed,
    created: Created,
    joined: Joined,
}

fn pair() -> Pair {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    let allowed = allowed(&[&alice, &bob]);
    let (public, secret) = bob.key_package();
    let (_, unused) = bob.key_package();
    let created = alice.create(&[public], &allowed).unwrap();
    let joined = bob.join(&created.welcome, &[unused, secret], &allowed).unwrap();
    Pair { alice, bob, allowed, created, joined }
}

#[test]
fn creator_and_joiner_share_the_first_epoch() {
    let Pair { alice, bob, created, joined, .. } = pair();
    assert_eq!(created.out.epoch, joined.out.epoch);
    assert_eq!(created.out.epoch.commit(), CommitId::of_epoch(created.out.epoch.tag()));
    assert_eq!(created.out.members, joined.out.members);
    assert_eq!((created.out.own_leaf, joined.out.own_leaf, joined.used), (0, 1, 1));
    assert!(joined.is_first);
    let member = |leaf, device: &Device| Member {
        account: device.account,
        device: device.key.public(),
        leaf,
    };
    assert_eq!(created.out.members, [member(0, &alice), member(1, &bob)]);
}

#[test]
fn several_devices_join_with_one_welcome() {
    let (mut alice, mut bob, mut tablet) = (Device::new(1), Device::new(2), Device::new(3));
    tablet.account = bob.account;
    let allowed = allowed(&[&alice, &bob, &tablet]);
    let (one, two) = (bob.key_package(), tablet.key_package());
    let created = alice.create(&[one.0, two.0], &allowed).unwrap();
    let bob = bob.join(&created.welcome, &[one.1], &allowed).unwrap();
    let tablet = tablet.join(&created.welcome, &[two.1], &allowed).unwrap();
    assert_eq!(bob.out.epoch, created.out.epoch);
    assert_eq!(tablet.out.epoch, created.out.epoch);
    assert_eq!(tablet.out.members.len(), 3);
}

#[test]
fn either_side_rekeys() {
    let Pair { mut alice, mut bob, allowed, created, joined } = pair();
    let first = alice.commit(&created.snapshot, &allowed);
    assert_eq!(first.out.epoch.commit(), CommitId::of(&first.mls));
    assert_eq!(first.welcome, None);
    assert_eq!(Mls.commit_ref(&first.mls), Ok(commit_ref(&created.snapshot)));
    let processed = bob.process(&joined.snapshot, &first.mls, &allowed).unwrap();
    assert_eq!((&processed.intents[..], processed.is_external), (&[][..], false));
    assert_eq!((processed.committer, &processed.commit_ref), (0, &commit_ref(&created.snapshot)));
    let followed = processed.renewal().unwrap();
    assert_eq!(followed.out.epoch, first.out.epoch);
    assert_ne!(first.out.epoch.tag(), created.out.epoch.tag());
    assert_ne!(first.out.epoch.write_key().public(), created.out.epoch.write_key().public());

    let second = bob.commit(&followed.snapshot, &allowed);
    let processed = alice.process(&first.snapshot, &second.mls, &allowed).unwrap();
    assert_eq!(processed.committer, 1);
    let followed = processed.renewal().unwrap();
    assert_eq!(followed.out.epoch, second.out.epoch);
    assert_eq!(followed.out.members, created.out.members);
}

#[test]
fn commits_made_at_the_same_time_are_all_followed() {
    let Pair { mut alice, mut bob, allowed, created, joined } = pair();
    let hers = alice.commit(&created.snapshot, &allowed);
    let his = bob.commit(&joined.snapshot, &allowed);
    assert_ne!(hers.out.epoch.commit(), his.out.epoch.commit());
    let followed = alice.follow(&created.snapshot, &his.mls, &allowed);
    assert_eq!(followed.out.epoch, his.out.epoch);
    let followed = bob.follow(&joined.snapshot, &hers.mls, &allowed);
    assert_eq!(followed.out.epoch, hers.out.epoch);

    let another = alice.commit(&created.snapshot, &allowed);
    let followed = bob.follow(&joined.snapshot, &another.mls, &allowed);
    assert_eq!(followed.out.epoch, another.out.epoch);
}

#[test]
fn a_commit_follows_its_parent_only() {
    let Pair { mut alice, mut bob, allowed, created, joined } = pair();
    let first = alice.commit(&created.snapshot, &allowed);
    let second = alice.commit(&first.snapshot, &allowed);
    let early = bob.process(&joined.snapshot, &second.mls, &allowed);
    assert_eq!(early.unwrap_err(), CgkaError::Refused);

    let elsewhere = commit_ref(&[9; 32]);
    let (key, rng) = (&alice.key, &mut alice.rng);
    let misled = Mls.commit(&created.snapshot, key, &elsewhere, &[], &allowed, rng);
    assert_eq!(misled.unwrap_err(), CgkaError::WrongParent);

    // The same MLS state under another name, as a liar would have it who names a wrong parent.
    let mut renamed = joined.snapshot.to_vec();
    renamed[0] ^= 1;
    let followed = bob.process(&renamed, &first.mls, &allowed);
    assert_eq!(followed.unwrap_err(), CgkaError::WrongParent);
}

#[test]
fn one_s_own_commit_can_not_be_processed() {
    let Pair { mut alice, allowed, created, .. } = pair();
    let commit = alice.commit(&created.snapshot, &allowed);
    let processed = alice.process(&created.snapshot, &commit.mls, &allowed);
    assert_eq!(processed.unwrap_err(), CgkaError::Refused);
}

#[test]
fn no_snapshot_exports_the_root_again() {
    let Pair { mut alice, mut bob, allowed, created, joined } = pair();
    let committed = alice.commit(&created.snapshot, &allowed);
    let processed = bob.follow(&joined.snapshot, &committed.mls, &allowed);
    let snapshots = [
        (&alice, created.snapshot),
        (&alice, committed.snapshot),
        (&bob, joined.snapshot),
        (&bob, processed.snapshot),
    ];
    for (device, snapshot) in snapshots {
        let (key, mut rng) = (&device.key, device.rng.clone());
        let (_, group) = Stores::default().load(&snapshot, key, &allowed, &mut rng).unwrap();
        for label in [ROOT_LABEL, TAG_LABEL] {
            let exported = group.export_secret(label, b"", 32);
            assert!(matches!(exported, Err(MlsError::ExporterDeleted)));
        }
    }
}

#[test]
fn only_allowed_devices_get_in() {
    let Pair { mut alice, mut bob, created, joined, allowed: both } = pair();
    let mut mallory = Device::new(3);
    let (public, secret) = mallory.key_package();
    let created_with = alice.create(std::slice::from_ref(&public), &both);
    assert_eq!(created_with.unwrap_err(), CgkaError::NotAllowed);

    // Mallory's group, to which Bob has to say no because she is in it.
    let (package, his) = bob.key_package();
    let hers = mallory.create(&[package], &allowed(&[&mallory, &bob])).unwrap();
    let joined_hers = bob.join(&hers.welcome, &[his], &both);
    assert_eq!(joined_hers.unwrap_err(), CgkaError::NotAllowed);

    // Alice's group, with a device that Bob doesn't know to be hers.
    let (package, his) = bob.key_package();
    let with_mallory = allowed(&[&alice, &mallory, &bob]);
    let crowd = alice.create(&[package, public], &with_mallory).unwrap();
    let joined_crowd = bob.join(&crowd.welcome, &[his], &both);
    assert_eq!(joined_crowd.unwrap_err(), CgkaError::NotAllowed);
    assert!(mallory.join(&crowd.welcome, &[secret], &with_mallory).is_ok());

    // A commit by a device that has been taken off the list since.
    let commit = alice.commit(&created.snapshot, &both);
    let followed = bob.process(&joined.snapshot, &commit.mls, &allowed(&[&bob]));
    assert_eq!(followed.unwrap_err(), CgkaError::NotAllowed);
}

#[test]
fn the_same_device_of_another_account_is_another_device() {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    let known = allowed(&[&alice, &bob]);
    bob.account = AccountId([9; 32]);
    let (public, _) = bob.key_package();
    assert_eq!(alice.create(&[public], &known).unwrap_err(), CgkaError::NotAllowed);
}

#[test]
fn key_packages_are_checked() {
    let mut bob = Device::new(2);
    let (public, _) = bob.key_package();
    assert_eq!(Mls.key_package_owner(&public), Ok((bob.account, bob.key.public())));
    for i in 0..public.len() {
        let mut broken = public.clone();
        broken[i] ^= 1;
        assert!(Mls.key_package_owner(&broken).is_err(), "byte {i}");
    }
    let longer = [&public[..], &[0]].concat();
    assert_eq!(Mls.key_package_owner(&longer), Err(CgkaError::Malformed));
}

#[test]
fn a_key_package_must_be_signed_by_the_device_that_it_names() {
    let mut alice = Device::new(1);
    let (bob, mallory) = (Device::new(2), Device::new(3));
    // All is in order with her key package, but for the credential that names Bob's device.
    let stores = Stores::default();
    let (secret, public) = signature_keys(&mallory.key);
    let credential = credential(&bob.account, &bob.key.public()).into_credential();
    let identity = SigningIdentity::new(credential, public);
    let client = ClientBuilder::new()
        .key_package_repo(stores.packages)
        .identity_provider(BasicIdentityProvider)
        .crypto_provider(Seeded::new(&mut alice.rng))
        .signing_identity(identity, secret, SUITE)
        .build();
    let none = ExtensionList::default;
    let package = client.generate_key_package_message(none(), none(), None).unwrap();
    let package = package.to_bytes().unwrap();
    assert_eq!(Mls.key_package_owner(&package), Err(CgkaError::NotAllowed));
    let created = alice.create(&[package], &allowed(&[&alice, &bob, &mallory]));
    assert_eq!(created.unwrap_err(), CgkaError::NotAllowed);
}

#[test]
fn a_welcome_needs_the_key_package_that_it_is_for() {
    let Pair { mut bob, allowed, created, .. } = pair();
    let (_, other) = bob.key_package();
    let joined = bob.join(&created.welcome, &[], &allowed);
    assert_eq!(joined.unwrap_err(), CgkaError::NotInvited);
    let joined = bob.join(&created.welcome, &[other], &allowed);
    assert_eq!(joined.unwrap_err(), CgkaError::NotInvited);
}

#[test]
fn a_last_resort_key_package_serves_twice() {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    let allowed = allowed(&[&alice, &bob]);
    let (public, secret) = bob.key_package();
    for _ in 0..2 {
        let created = alice.create(std::slice::from_ref(&public), &allowed).unwrap();
        let joined = bob.join(&created.welcome, std::slice::from_ref(&secret), &allowed).unwrap();
        assert_eq!(joined.out.epoch, created.out.epoch);
    }
}

#[test]
fn any_changed_byte_of_a_commit_is_noticed() {
    let Pair { mut alice, mut bob, allowed, created, joined } = pair();
    let commit = alice.commit(&created.snapshot, &allowed);
    for i in 0..commit.mls.len() {
        let mut broken = commit.mls.clone();
        broken[i] ^= 1;
        assert!(bob.process(&joined.snapshot, &broken, &allowed).is_err(), "byte {i}");
    }
    let longer = [&commit.mls[..], &[0]].concat();
    let processed = bob.process(&joined.snapshot, &longer, &allowed);
    assert_eq!(processed.unwrap_err(), CgkaError::Malformed);
}

#[test]
fn commits_are_encrypted_and_renew_keys() {
    let Pair { mut alice, allowed, created, .. } = pair();
    let commit = alice.commit(&created.snapshot, &allowed);
    assert_eq!(commit.mls[..4], [0, 1, 0, 2], "MLS 1.0, a private message");

    // Even one that only adds, which MLS would let pass without.
    let mut rng = alice.rng.clone();
    let client = Stores::default().client(&alice.key, &alice.account, Guard(None), &mut rng);
    let (package, _) = Device::new(2).key_package();
    let mut group = new_group(&client).unwrap();
    let builder = group.commit_builder().add_member(read_key_package(&package).unwrap()).unwrap();
    assert!(builder.build_detached().unwrap().0.contains_update_path);
}

#[test]
fn a_snapshot_is_of_one_device() {
    let Pair { alice, mut bob, allowed, created, .. } = pair();
    let commit_ref = commit_ref(&created.snapshot);
    let others = Mls.commit(&created.snapshot, &bob.key, &commit_ref, &[], &allowed, &mut bob.rng);
    assert_eq!(others.unwrap_err(), CgkaError::Snapshot);
    let cut = &created.snapshot[..created.snapshot.len() / 2];
    let broken = Mls.commit(cut, &alice.key, &commit_ref, &[], &allowed, &mut bob.rng);
    assert_eq!(broken.unwrap_err(), CgkaError::Snapshot);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || {
        let Pair { mut alice, mut bob, allowed, created, joined } = pair();
        let commit = alice.commit(&created.snapshot, &allowed);
        let processed = bob.follow(&joined.snapshot, &commit.mls, &allowed);
        let bytes = [
            created.welcome,
            created.snapshot.to_vec(),
            joined.snapshot.to_vec(),
            commit.mls,
            commit.snapshot.to_vec(),
            processed.snapshot.to_vec(),
        ];
        (bytes, alice.key_package(), bob.key_package())
    };
    assert!(run() == run());
}

#[test]
fn debug_shows_no_secret() {
    let Pair { mut alice, mut bob, allowed, created, joined } = pair();
    let committed = alice.commit(&created.snapshot, &allowed);
    let processed = bob.follow(&joined.snapshot, &committed.mls, &allowed);
    let shown = [
        (format!("{:?}", Created { welcome: Vec::new(), ..created.clone() }), &created.out),
        (format!("{joined:?}"), &joined.out),
        (format!("{:?}", Committed { mls: Vec::new(), ..committed.clone() }), &committed.out),
        (format!("{processed:?}"), &processed.out),
    ];
    for (shown, out) in shown {
        assert!(shown.contains(&format!("out: {out:?}")) && shown.ends_with(", .. }"), "{shown}");
        assert!(!shown.contains("snapshot"), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_that_peers_send_panics(bytes in vec(any::<u8>(), 0..400), format in 0..6_u8) {
        let Pair { mut bob, allowed, joined, .. } = pair();
        let (_, secret) = bob.key_package();
        for bytes in [&bytes[..], &[&[0, 1, 0, format], &bytes[..]].concat()] {
            prop_assert!(Mls.key_package_owner(bytes).is_err());
            prop_assert!(bob.join(bytes, std::slice::from_ref(&secret), &allowed).is_err());
            prop_assert!(bob.process(&joined.snapshot, bytes, &allowed).is_err());
            let intents = [Intent::Add { key_package: bytes.to_vec() }];
            prop_assert!(bob.change(&joined.snapshot, &intents, &allowed).is_err());
            let Device { account, key, rng } = &mut bob;
            let commit_ref = commit_ref(&joined.snapshot);
            let joined = Mls.external_join(bytes, key, account, &commit_ref, &allowed, rng);
            prop_assert!(joined.is_err());
            let _ = Mls.commit_ref(bytes);
        }
    }

    #[test]
    fn no_changed_welcome_panics(place in any::<prop::sample::Index>(), change in 1..=255_u8) {
        let (mut alice, mut bob) = (Device::new(1), Device::new(2));
        let allowed = allowed(&[&alice, &bob]);
        let (public, secret) = bob.key_package();
        let mut welcome = alice.create(&[public], &allowed).unwrap().welcome;
        let place = place.index(welcome.len());
        welcome[place] ^= change;
        prop_assert!(bob.join(&welcome, &[secret], &allowed).is_err());
    }
}
