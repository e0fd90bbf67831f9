//! Devices are added, are removed and join by themselves, in groups of three to five.

mod refusals;

use proto::{Expiry, Extension, Head, Kind, LogId};

use super::*;
use crate::group::{
    cgka::EpochOut,
    message::{OpenError, Opened},
};

/// Devices 1, 2, … that are in one epoch, each with its own snapshot.
struct Crowd {
    devices: Vec<Device>,
    snapshots: Vec<Zeroizing<Vec<u8>>>,
    out: EpochOut,
    allowed: Allowed,
}

impl Crowd {
    fn new(size: u8) -> Self {
        let mut devices: Vec<Device> = (1..=size).map(Device::new).collect();
        let allowed = allowed(&devices.iter().collect::<Vec<_>>());
        let (first, others) = devices.split_first_mut().unwrap();
        let packages: Vec<_> = others.iter_mut().map(Device::key_package).collect();
        let public: Vec<_> = packages.iter().map(|(public, _)| public.clone()).collect();
        let created = first.create(&public, &allowed).unwrap();
        let mut snapshots = vec![created.snapshot];
        for (device, (_, secret)) in others.iter_mut().zip(packages) {
            let joined = device.join(&created.welcome, &[secret], &allowed).unwrap();
            snapshots.push(joined.snapshot);
        }
        Self { devices, snapshots, out: created.out, allowed }
    }

    fn allow(&mut self, device: &Device) {
        let mut all: Vec<&Device> = self.devices.iter().collect();
        all.push(device);
        self.allowed = allowed(&all);
    }

    fn commit(&mut self, by: usize, intents: &[Intent]) -> Result<Committed, CgkaError> {
        self.devices[by].change(&self.snapshots[by], intents, &self.allowed)
    }

    fn process(&mut self, by: usize, mls: &[u8]) -> Result<Processed, CgkaError> {
        self.devices[by].process(&self.snapshots[by], mls, &self.allowed)
    }

    fn group_info(&mut self, by: usize) -> Vec<u8> {
        let Device { key, rng, .. } = &mut self.devices[by];
        Mls.group_info(&self.snapshots[by], key, &self.allowed, rng).unwrap()
    }

    /// Lets all devices follow a commit, the committer excepted unless it joins. Those
    /// that it removes leave.
    fn follow(&mut self, committer: Option<usize>, committed: Committed) -> Vec<Processed> {
        let Committed { mls, snapshot, out, .. } = committed;
        let mut all = Vec::new();
        for at in (0..self.devices.len()).filter(|at| Some(*at) != committer) {
            let processed = self.process(at, &mls).unwrap();
            assert_eq!(processed.commit_ref, commit_ref(&self.snapshots[at]));
            if let Some(next) = &processed.next {
                assert_eq!((&next.out.epoch, &next.out.members), (&out.epoch, &out.members));
            }
            all.push((at, processed));
        }
        if let Some(committer) = committer {
            self.snapshots[committer] = snapshot;
        }
        for (at, processed) in all.iter().rev() {
            if let Some(next) = &processed.next {
                self.snapshots[*at] = next.snapshot.clone();
            } else {
                self.snapshots.remove(*at);
                self.devices.remove(*at);
            }
        }
        self.out = out;
        all.into_iter().map(|(_, processed)| processed).collect()
    }

    fn leaves(&self) -> Vec<(PublicKey, u32)> {
        self.out.members.iter().map(|member| (member.device, member.leaf)).collect()
    }
}

fn external_join(
    device: &mut Device,
    group_info: &[u8],
    parent: &[u8],
    allowed: &Allowed,
) -> Result<Committed, CgkaError> {
    let Device { account, key, rng } = device;
    Mls.external_join(group_info, key, account, &commit_ref(parent), allowed, rng)
}

#[test]
fn an_added_device_shares_the_epoch_and_takes_part() {
    let mut crowd = Crowd::new(3);
    let mut newcomer = Device::new(4);
    crowd.allow(&newcomer);
    let (key_package, secret) = newcomer.key_package();
    let add = [Intent::Add { key_package }];
    let committed = crowd.commit(1, &add).unwrap();
    let welcome = committed.welcome.clone().unwrap();

    let joined = newcomer.join(&welcome, &[secret], &crowd.allowed).unwrap();
    assert!(!joined.is_first);
    assert_eq!(joined.out.epoch, committed.out.epoch, "even its name");
    assert_eq!((joined.out.own_leaf, joined.out.members.len()), (3, 4));
    for processed in crowd.follow(Some(1), committed) {
        assert_eq!((processed.committer, processed.is_external), (1, false));
        assert_eq!(processed.intents, add);
        assert!(processed.renewal().is_none());
    }

    crowd.devices.push(newcomer);
    crowd.snapshots.push(joined.snapshot);
    let renewed = crowd.commit(3, &[]).unwrap();
    let processed = crowd.follow(Some(3), renewed);
    assert!(processed.into_iter().all(|processed| processed.renewal().is_some()));
}

#[test]
fn a_removed_device_is_told_and_opens_nothing_that_comes_later() {
    let mut crowd = Crowd::new(4);
    let (removed, kept) = (crowd.devices[2].clone(), crowd.snapshots[2].clone());
    let before = crowd.out.epoch.clone();
    let remove = [Intent::Remove { leaf: 2 }];
    let committed = crowd.commit(0, &remove).unwrap();
    assert_eq!(committed.welcome, None);
    let processed = crowd.follow(Some(0), committed);
    let next: Vec<bool> = processed.iter().map(|processed| processed.next.is_some()).collect();
    assert_eq!(next, [true, false, true]);
    for processed in processed {
        assert_eq!((processed.committer, &processed.intents[..]), (0, &remove[..]));
        assert!(processed.renewal().is_none());
    }
    assert_eq!(crowd.leaves().iter().map(|(_, leaf)| *leaf).collect::<Vec<_>>(), [0, 1, 3]);

    // It knows all that it knew, and gets what is written and committed from now on.
    let head = Head {
        kind: Kind::Entry,
        expiry: Expiry::Never,
        position: 1,
        log: LogId([1; 32]),
        write_key: crowd.out.epoch.write_key().public(),
        extension: Extension::default(),
    };
    let Device { key, mut rng, .. } = crowd.devices[0].clone();
    let sealed = crowd.out.epoch.seal_message(&key, 0, 0, &head, b"he is gone", &mut rng).unwrap();
    let device_of = |_| Some(key.public());
    assert_eq!(before.open(&head, &sealed, &device_of), Err(OpenError::Altered));
    let opened = crowd.out.epoch.open(&head, &sealed, &device_of);
    assert!(matches!(opened, Ok(Opened::Message { .. })));

    let later = crowd.commit(1, &[]).unwrap();
    let mut removed = removed;
    let followed = removed.process(&kept, &later.mls, &crowd.allowed);
    assert_eq!(followed.unwrap_err(), CgkaError::Refused);
    let own = removed.commit(&kept, &crowd.allowed);
    assert_eq!(crowd.process(1, &own.mls).unwrap_err(), CgkaError::Refused);
}

#[test]
fn a_device_that_is_no_longer_allowed_can_still_be_removed() {
    let mut crowd = Crowd::new(3);
    crowd.allowed = allowed(&[&crowd.devices[0], &crowd.devices[1]]);
    let committed = crowd.commit(0, &[Intent::Remove { leaf: 2 }]).unwrap();
    let next = crowd.process(1, &committed.mls).unwrap().next.unwrap();
    assert_eq!(next.out.epoch, committed.out.epoch);
    assert_eq!(next.out.members.len(), 2);
}

#[test]
fn one_commit_adds_and_removes_several() {
    let mut crowd = Crowd::new(4);
    let mut newcomers = [Device::new(5), Device::new(6)];
    crowd.allowed = allowed(&crowd.devices.iter().chain(&newcomers).collect::<Vec<_>>());
    let packages = newcomers.each_mut().map(Device::key_package);
    let [one, two] = packages.each_ref().map(|(public, _)| public.clone());
    let intents = [
        Intent::Remove { leaf: 1 },
        Intent::Add { key_package: one },
        Intent::Remove { leaf: 2 },
        Intent::Add { key_package: two },
    ];
    let committed = crowd.commit(3, &intents).unwrap();
    let welcome = committed.welcome.clone().unwrap();
    for (newcomer, (_, secret)) in newcomers.iter_mut().zip(packages) {
        let joined = newcomer.join(&welcome, &[secret], &crowd.allowed).unwrap();
        assert_eq!(joined.out.epoch, committed.out.epoch);
    }
    for processed in crowd.follow(Some(3), committed) {
        assert_eq!(processed.intents.len(), 4);
        assert!(intents.iter().all(|intent| processed.intents.contains(intent)));
    }
    let members = [1, 5, 6, 4].map(|number| Device::new(number).key.public());
    assert_eq!(crowd.leaves(), members.into_iter().zip(0..).collect::<Vec<_>>());
}

#[test]
fn a_removed_device_can_be_added_again() {
    let mut crowd = Crowd::new(3);
    let mut removed = crowd.devices[2].clone();
    let committed = crowd.commit(0, &[Intent::Remove { leaf: 2 }]).unwrap();
    crowd.follow(Some(0), committed);
    let (key_package, secret) = removed.key_package();
    let committed = crowd.commit(1, &[Intent::Add { key_package }]).unwrap();
    let welcome = committed.welcome.clone().unwrap();
    crowd.follow(Some(1), committed);
    let joined = removed.join(&welcome, &[secret], &crowd.allowed).unwrap();
    assert_eq!((joined.out.epoch, joined.out.own_leaf), (crowd.out.epoch, 2));
}

#[test]
fn changes_made_at_the_same_time_can_all_be_followed() {
    let mut crowd = Crowd::new(5);
    let newcomer = Device::new(6);
    crowd.allow(&newcomer);
    let (key_package, _) = newcomer.clone().key_package();
    let adding = crowd.commit(0, &[Intent::Add { key_package }]).unwrap();
    let removing = crowd.commit(1, &[Intent::Remove { leaf: 4 }]).unwrap();
    let renewing = crowd.commit(2, &[]).unwrap();
    let commits = [&adding, &removing, &renewing];
    let names = commits.map(|committed| committed.out.epoch.commit());
    assert!(names[0] != names[1] && names[1] != names[2] && names[2] != names[0]);

    for committed in commits {
        let next = crowd.process(3, &committed.mls).unwrap().next.unwrap();
        assert_eq!(next.out.epoch, committed.out.epoch);
        assert_eq!(next.out.members, committed.out.members);
        // And each branch goes on.
        let Device { key, mut rng, .. } = crowd.devices[3].clone();
        let commit_ref = commit_ref(&next.snapshot);
        assert!(
            Mls.commit(&next.snapshot, &key, &commit_ref, &[], &crowd.allowed, &mut rng).is_ok()
        );
    }
}

#[test]
fn a_device_joins_by_itself() {
    let mut crowd = Crowd::new(3);
    let mut newcomer = Device::new(4);
    crowd.allow(&newcomer);
    let group_info = crowd.group_info(1);
    let joined =
        external_join(&mut newcomer, &group_info, &crowd.snapshots[1], &crowd.allowed).unwrap();
    assert_eq!(joined.out.own_leaf, 3);
    assert_eq!(joined.welcome, None);
    assert_eq!(Mls.commit_ref(&joined.mls), Ok(commit_ref(&crowd.snapshots[0])));
    let snapshot = joined.snapshot.clone();
    for processed in crowd.follow(None, joined) {
        assert_eq!((processed.committer, processed.is_external), (3, true));
        assert_eq!(processed.intents, []);
        assert!(processed.renewal().is_none(), "a join is more than a renewal");
    }

    crowd.devices.push(newcomer);
    crowd.snapshots.push(snapshot);
    for by in [3, 0] {
        let renewed = crowd.commit(by, &[]).unwrap();
        let processed = crowd.follow(Some(by), renewed);
        assert!(processed.into_iter().all(|processed| processed.renewal().is_some()));
    }
}

#[test]
fn the_snapshot_of_a_device_that_joined_by_itself_exports_no_root() {
    let mut crowd = Crowd::new(3);
    let mut newcomer = Device::new(4);
    crowd.allow(&newcomer);
    let group_info = crowd.group_info(0);
    let joined =
        external_join(&mut newcomer, &group_info, &crowd.snapshots[0], &crowd.allowed).unwrap();
    let (key, rng) = (&newcomer.key, &mut newcomer.rng);
    let (_, group) = Stores::default().load(&joined.snapshot, key, &crowd.allowed, rng).unwrap();
    let exported = group.export_secret(ROOT_LABEL, b"", 32);
    assert!(matches!(exported, Err(MlsError::ExporterDeleted)));
}

#[test]
fn a_device_that_lost_its_state_replaces_its_own_leaf() {
    let mut crowd = Crowd::new(4);
    let mut lost = crowd.devices[2].clone();
    let group_info = crowd.group_info(0);
    let joined =
        external_join(&mut lost, &group_info, &crowd.snapshots[0], &crowd.allowed).unwrap();
    // Its former self, if a copy still runs, is told like any device that is removed.
    let processed = crowd.follow(None, joined);
    let next: Vec<bool> = processed.iter().map(|processed| processed.next.is_some()).collect();
    assert_eq!(next, [true, true, false, true]);
    for processed in processed {
        assert!(processed.is_external);
        assert_eq!(processed.intents, [Intent::Remove { leaf: 2 }]);
    }
    assert_eq!(crowd.leaves().len(), 4);
    assert!(crowd.leaves().contains(&(lost.key.public(), 2)));
}

#[test]
fn two_devices_that_join_at_the_same_time_make_two_branches() {
    let mut crowd = Crowd::new(3);
    let mut newcomers = [Device::new(4), Device::new(5)];
    crowd.allowed = allowed(&crowd.devices.iter().chain(&newcomers).collect::<Vec<_>>());
    let group_info = crowd.group_info(0);
    let parent = crowd.snapshots[0].clone();
    let [one, two] = newcomers
        .each_mut()
        .map(|newcomer| external_join(newcomer, &group_info, &parent, &crowd.allowed).unwrap());
    for joined in [&one, &two] {
        let next = crowd.process(1, &joined.mls).unwrap().next.unwrap();
        assert_eq!(next.out.epoch, joined.out.epoch);
    }
    assert_ne!(one.out.epoch.commit(), two.out.epoch.commit());
}
