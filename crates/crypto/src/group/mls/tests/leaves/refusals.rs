//! What no group takes from a peer: each gives an error, and nothing panics.

use super::*;

#[test]
fn key_packages_that_can_not_be_added_are_refused() {
    let mut crowd = Crowd::new(3);
    let mut newcomer = Device::new(4);
    let (key_package, _) = newcomer.key_package();
    let add = |crowd: &mut Crowd, key_package: &[u8]| {
        crowd.commit(0, &[Intent::Add { key_package: key_package.to_vec() }]).unwrap_err()
    };
    assert_eq!(add(&mut crowd, &key_package), CgkaError::NotAllowed);

    crowd.allow(&newcomer);
    let mut forged = key_package.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(add(&mut crowd, &forged), CgkaError::Refused, "the signature is its last field");
    assert_eq!(add(&mut crowd, &key_package[..40]), CgkaError::Malformed);
    assert_eq!(add(&mut crowd, &[]), CgkaError::Malformed);
    let group_info = crowd.group_info(0);
    assert_eq!(add(&mut crowd, &group_info), CgkaError::Malformed, "another kind of message");
    let (member, _) = crowd.devices[1].key_package();
    assert_eq!(add(&mut crowd, &member), CgkaError::Refused, "it is in the group already");

    let twice = [&key_package, &key_package].map(|package| package.clone());
    let twice = twice.map(|key_package| Intent::Add { key_package });
    assert_eq!(crowd.commit(0, &twice).unwrap_err(), CgkaError::Refused);
}

#[test]
fn leaves_that_can_not_be_removed_are_refused() {
    let mut crowd = Crowd::new(3);
    let removed = crowd.commit(0, &[Intent::Remove { leaf: 1 }]).unwrap();
    crowd.follow(Some(0), removed);
    for leaf in [0, 1, 3, 9, 1 << 24, (1 << 31) - 1, 1 << 31, u32::MAX] {
        let committed = crowd.commit(0, &[Intent::Remove { leaf }]);
        assert_eq!(committed.unwrap_err(), CgkaError::Refused, "leaf {leaf}");
    }
    let twice = [Intent::Remove { leaf: 2 }, Intent::Remove { leaf: 2 }];
    assert_eq!(crowd.commit(0, &twice).unwrap_err(), CgkaError::Refused);
    assert!(crowd.commit(0, &[Intent::Remove { leaf: 2 }]).is_ok());
}

#[test]
fn the_state_of_another_group_or_epoch_is_not_joined() {
    let (mut crowd, mut others) = (Crowd::new(3), Crowd::new(3));
    let mut newcomer = Device::new(4);
    crowd.allow(&newcomer);
    others.allow(&newcomer);
    let stale = crowd.group_info(0);
    let renewed = crowd.commit(0, &[]).unwrap();
    crowd.follow(Some(0), renewed);
    // Devices of the same seed make the same group, so that the other one has to go on too.
    let renewed = others.commit(1, &[]).unwrap();
    others.follow(Some(1), renewed);
    let of_others = others.group_info(0);

    let parent = crowd.snapshots[0].clone();
    for group_info in [&stale, &of_others] {
        let joined = external_join(&mut newcomer, group_info, &parent, &crowd.allowed);
        assert_eq!(joined.unwrap_err(), CgkaError::WrongParent);
    }

    // A newcomer who names another commit than it joins from gets nowhere either.
    for (group_info, named) in [(&stale, None), (&of_others, Some(&others.snapshots[0]))] {
        let from = MlsMessage::from_bytes(group_info).unwrap();
        let named = named.unwrap_or(&parent);
        let client = unchecked_client(&mut newcomer, &crowd.allowed);
        let builder = client.external_commit_builder().unwrap();
        let builder = builder.with_authenticated_data(commit_ref(named).encode_to_vec());
        let (_, commit) = builder.commit_time(MlsTime::default()).build(from).unwrap();
        let processed = crowd.process(1, &commit.to_bytes().unwrap());
        assert_eq!(processed.unwrap_err(), CgkaError::Refused);
    }
}

#[test]
fn only_allowed_devices_join_and_only_groups_of_allowed_devices() {
    let mut crowd = Crowd::new(3);
    let mut newcomer = Device::new(4);
    let members_only = crowd.allowed.clone();
    let parent = crowd.snapshots[0].clone();
    let group_info = crowd.group_info(0);
    let joined = external_join(&mut newcomer, &group_info, &parent, &members_only);
    assert_eq!(joined.unwrap_err(), CgkaError::NotAllowed);

    let devices = &crowd.devices;
    let without_one = allowed(&[&devices[0], &devices[1], &newcomer]);
    let joined = external_join(&mut newcomer, &group_info, &parent, &without_one);
    assert_eq!(joined.unwrap_err(), CgkaError::NotAllowed, "a member it doesn't know");

    let all = allowed(&[&devices[0], &devices[1], &devices[2], &newcomer]);
    let joined = external_join(&mut newcomer, &group_info, &parent, &all).unwrap();
    let processed = crowd.process(0, &joined.mls);
    assert_eq!(processed.unwrap_err(), CgkaError::NotAllowed);
}

#[test]
fn any_changed_byte_of_a_group_info_or_of_a_join_is_noticed() {
    let mut crowd = Crowd::new(3);
    let mut newcomer = Device::new(4);
    crowd.allow(&newcomer);
    let parent = crowd.snapshots[0].clone();
    let group_info = crowd.group_info(0);
    for i in 0..group_info.len() {
        let mut broken = group_info.clone();
        broken[i] ^= 1;
        let joined = external_join(&mut newcomer, &broken, &parent, &crowd.allowed);
        assert!(joined.is_err(), "byte {i}");
    }
    let joined = external_join(&mut newcomer, &group_info, &parent, &crowd.allowed).unwrap();
    for i in 0..joined.mls.len() {
        let mut broken = joined.mls.clone();
        broken[i] ^= 1;
        assert!(crowd.process(1, &broken).is_err(), "byte {i}");
    }
    for cut in 0..joined.mls.len() {
        assert!(crowd.process(1, &joined.mls[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn who_joins_removes_no_other_device() {
    let mut crowd = Crowd::new(3);
    let mut newcomer = Device::new(4);
    crowd.allow(&newcomer);
    let from = MlsMessage::from_bytes(&crowd.group_info(0)).unwrap();
    let client = unchecked_client(&mut newcomer, &crowd.allowed);
    let builder = client.external_commit_builder().unwrap().with_removal(2);
    let built = builder.commit_time(MlsTime::default()).build(from);
    assert!(matches!(built, Err(MlsError::ExternalCommitRemovesOtherIdentity)));
}

#[test]
fn a_commit_that_changes_more_than_leaves_is_not_followed() {
    let mut crowd = Crowd::new(3);
    let snapshot = crowd.snapshots[0].clone();
    let Device { key, mut rng, .. } = crowd.devices[0].clone();
    let (_, mut group) = Stores::default().load(&snapshot, &key, &crowd.allowed, &mut rng).unwrap();
    let builder = group.commit_builder().authenticated_data(commit_ref(&snapshot).encode_to_vec());
    let commit = builder.set_group_context_ext(ExtensionList::new()).unwrap().build().unwrap();
    let processed = crowd.process(1, &commit.commit_message().to_bytes().unwrap());
    assert_eq!(processed.unwrap_err(), CgkaError::UnknownChange);
}

/// The client with which a device joins, without the checks of [`Cgka::external_join`].
fn unchecked_client(device: &mut Device, allowed: &Allowed) -> mls_rs::Client<stores::Config> {
    let Device { account, key, rng } = device;
    Stores::default().client(key, account, Guard(Some(allowed.clone())), rng)
}
