//! Bundles, key packages and invites.

use crypto::{SigningKey, identity::Authority};
use node::{NodeConfig, NodeEvent};
use proto::{Body, Code, Cursor, NodeId, PublicKey, PutKeyPackages, limits};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::world::{
    Account, Client, NODE, START, World, append, envelope, open_frame, record, refused,
};

fn start() -> (World, Client, Account) {
    let mut world = World::new(NodeConfig::new(NODE));
    let owner = world.connect(1);
    let account = Account::new(1);
    world.register(&owner, &account);
    (world, owner, account)
}

fn is_accepted(answer: &Body) -> bool {
    matches!(answer, Body::Accepted { .. })
}

fn packages(device: PublicKey, one_time: &[u8], last_resort: &[u8]) -> Body {
    let one_time = one_time.iter().map(|byte| vec![*byte; 300]).collect();
    Body::PutKeyPackages(PutKeyPackages {
        channel: 1,
        device,
        one_time,
        last_resort: last_resort.to_vec(),
    })
}

#[test]
fn a_bundle_is_found_by_anyone() {
    let (mut world, _, account) = start();
    assert_eq!(world.events, vec![NodeEvent::Registered(account.id())]);
    let stranger = world.connect(2);
    let bundle = account.bundle.as_bytes().to_vec();
    assert_eq!(world.ask(&stranger, Body::GetBundle(account.id())), Body::BundleIs(bundle.clone()));
    let before = world.dump();
    assert!(is_accepted(&world.ask(&stranger, Body::PutBundle(bundle))), "the same again");
    assert_eq!(world.dump(), before);
}

#[test]
fn a_device_that_is_gone_loses_its_channels_and_packages() {
    let (mut world, thief, account) = start();
    world.ask(&thief, packages(account.device.public(), &[1, 2], b"last"));
    let channel = 1;
    assert!(is_accepted(&world.ask(&thief, append(channel, &to_inbox(&account.device, &account)))));

    let fresh = SigningKey::from_seed([44; 32]);
    let mut rng = ChaCha20Rng::from_seed([45; 32]);
    let authority = Authority::delegate(&account.phrase, Some(&account.bundle), &mut rng).unwrap();
    let bundle = authority.sign_record(record(1, &[fresh.public()], NODE)).unwrap();
    let other = world.connect(2);
    assert!(is_accepted(&world.ask(&other, Body::PutBundle(bundle.as_bytes().to_vec()))));

    let unexpected = refused(Code::Unexpected);
    assert_eq!(world.ask(&thief, packages(account.device.public(), &[3], b"")), unexpected);
    let open = open_frame(&thief, 1, account.inbox(), &account.device, None, None);
    assert_eq!(world.ask(&thief, Body::Open(open)), refused(Code::Forbidden));
    let thiefs =
        account.authority.sign_record(record(9, &[account.device.public()], NODE)).unwrap();
    let newer = bundle.as_bytes().to_vec();
    assert_eq!(
        world.ask(&thief, Body::PutBundle(thiefs.as_bytes().to_vec())),
        Body::Refused { code: Code::Stale, newer }
    );

    let tail = Some(Cursor::default());
    let opened = world.open(&other, 1, account.inbox(), &fresh, None, tail);
    assert!(matches!(opened, Body::Opened { position: 1, .. }));
    assert_eq!(world.delivered(&other).len(), 1, "the inbox is what it was");
    let none = refused(Code::NotFound);
    assert_eq!(world.ask(&other, Body::TakeKeyPackages { channel: 1 }), none);
}

#[test]
fn guests_of_an_account_that_has_moved_are_told_where_to() {
    let (mut world, owner, account) = start();
    let [guest, late] = [2, 3].map(|peer| world.connect(peer));
    let invite = SigningKey::from_seed([33; 32]);
    let key = invite.public();
    let put = Body::PutInvite { channel: 1, key, expires_s: START.as_secs() + 60, uses: 9 };
    assert!(is_accepted(&world.ask(&owner, put)));
    world.open(&guest, 1, account.inbox(), &invite, None, None);
    assert!(is_accepted(&world.ask(&guest, append(1, &to_inbox(&invite, &account)))));

    let elsewhere = record(2, &[account.device.public()], NodeId([9; 32]));
    let newer = account.authority.sign_record(elsewhere).unwrap().as_bytes().to_vec();
    assert!(is_accepted(&world.ask(&owner, Body::PutBundle(newer.clone()))));

    let moved = Body::Refused { code: Code::Stale, newer };
    let before = world.dump();
    assert_eq!(world.ask(&guest, append(1, &to_inbox(&invite, &account))), moved);
    assert_eq!(world.ask(&guest, Body::TakeKeyPackages { channel: 1 }), moved);
    assert_eq!(world.open(&late, 1, account.inbox(), &invite, None, None), moved);
    assert_eq!(world.dump(), before);
    let tail = Some(Cursor::default());
    world.open(&owner, 2, account.inbox(), &account.device, None, tail);
    assert_eq!(world.delivered(&owner).len(), 1, "the owner reads what is still there");
}

#[test]
fn two_bundles_of_one_rank_end_the_same_in_any_order() {
    let account = Account::new(1);
    let other = SigningKey::from_seed([44; 32]).public();
    let fork = account.authority.sign_record(record(1, &[other], NODE)).unwrap();
    let mut ends = Vec::new();
    for order in [[&account.bundle, &fork], [&fork, &account.bundle]] {
        let mut world = World::new(NodeConfig::new(NODE));
        let a = world.connect(1);
        for bundle in order {
            world.ask(&a, Body::PutBundle(bundle.as_bytes().to_vec()));
        }
        ends.push(world.ask(&a, Body::GetBundle(account.id())));
    }
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn key_packages_go_once_and_then_the_last_resort() {
    let (mut world, owner, account) = start();
    let device = account.device.public();
    let left = |left| Body::KeyPackages { packages: vec![], left };
    assert_eq!(world.ask(&owner, packages(device, &[1, 2], b"old")), left(2));
    assert_eq!(world.ask(&owner, packages(device, &[3], b"last")), left(3));
    assert_eq!(world.ask(&owner, packages(device, &[], b"")), left(3));

    let taken = |package: &[u8]| Body::KeyPackages { packages: vec![package.to_vec()], left: 0 };
    for byte in [1, 2, 3] {
        world.reopen();
        let owner = world.connect(1);
        world.open(&owner, 1, account.inbox(), &account.device, None, None);
        assert_eq!(world.ask(&owner, Body::TakeKeyPackages { channel: 1 }), taken(&[byte; 300]));
    }
    let owner = world.connect(1);
    world.open(&owner, 1, account.inbox(), &account.device, None, None);
    for _ in 0..2 {
        assert_eq!(world.ask(&owner, Body::TakeKeyPackages { channel: 1 }), taken(b"last"));
    }
}

#[test]
fn an_invite_takes_one_time_packages_as_often_as_it_may_write() {
    let (mut world, owner, account) = start();
    world.ask(&owner, packages(account.device.public(), &[1, 2, 3], b"last"));
    let invite = invite(&mut world, &owner, 2);
    let guest = world.connect(2);
    world.open(&guest, 1, account.inbox(), &invite, None, None);
    let expected: [&[u8]; 4] = [&[1; 300], &[2; 300], b"last", b"last"];
    for package in expected {
        let packages = vec![package.to_vec()];
        assert_eq!(
            world.ask(&guest, Body::TakeKeyPackages { channel: 1 }),
            Body::KeyPackages { packages, left: 0 }
        );
    }
}

#[test]
fn an_invite_brings_a_request_to_an_inbox_whose_owner_is_away() {
    let (mut world, owner, account) = start();
    let invite = invite(&mut world, &owner, 1);
    let key = invite.public();
    world.input(proto::Input::Disconnected(owner.peer));

    let guest = world.connect(2);
    let opened = world.open(&guest, 7, account.inbox(), &invite, None, None);
    assert_eq!(opened, Body::Opened { head: Cursor::default(), position: 0 }, "nothing shows");
    let request = to_inbox(&invite, &account);
    let answer = world.ask(&guest, append(7, &request));
    assert_eq!(answer, Body::Accepted { channel: 7, sequence: 0 });
    // The answer is lost, and the guest starts again.
    world.reopen();
    let guest = world.connect(2);
    world.open(&guest, 7, account.inbox(), &invite, None, None);
    assert_eq!(world.ask(&guest, append(7, &request)), answer);

    let owner = world.connect(1);
    let tail = Some(Cursor::default());
    world.open(&owner, 1, account.inbox(), &account.device, None, tail);
    let delivered = world.delivered(&owner);
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0].1.write_key, Some(key), "which invite it was");
}

#[test]
fn invites_that_are_over_make_room() {
    let (mut world, owner, _) = start();
    let put = |n: usize, expires_s| {
        let mut key = PublicKey([1; 32]);
        key.0[..8].copy_from_slice(&n.to_be_bytes());
        Body::PutInvite { channel: 1, key, expires_s, uses: 1 }
    };
    let soon = START.as_secs() + 10;
    let rows = world.dump().len();
    for n in 0..limits::INVITES_MAX {
        assert!(is_accepted(&world.ask(&owner, put(n, if n < 5 { soon } else { u64::MAX }))));
    }
    assert_eq!(world.ask(&owner, put(999, soon)), refused(Code::Quota));
    assert!(is_accepted(&world.ask(&owner, put(7, soon))), "setting one again takes no room");
    world.pass(10);
    assert!(is_accepted(&world.ask(&owner, put(999, u64::MAX))));
    assert_eq!(world.dump().len(), rows + limits::INVITES_MAX - 6 + 1);
}

fn invite(world: &mut World, owner: &Client, uses: u32) -> SigningKey {
    let invite = SigningKey::from_seed([77; 32]);
    let key = invite.public();
    let put = Body::PutInvite { channel: 1, key, expires_s: u64::MAX, uses };
    assert!(is_accepted(&world.ask(owner, put)));
    invite
}

fn to_inbox(key: &SigningKey, account: &Account) -> proto::Envelope {
    envelope(key, account.inbox(), 1, b"request")
}
