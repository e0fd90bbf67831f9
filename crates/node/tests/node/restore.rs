//! What becomes of rows that came from a backup.

use node::{NodeConfig, Restore};
use proto::{Body, Cursor, PutKeyPackages, Seed};
use store::Store;

use crate::world::{Account, NODE, World, append};

/// Does to the rows what is done when they were restored.
pub(crate) fn renew(world: &mut World) {
    let mut renewal = Restore::new(Seed([9; 32]));
    while let Some(batch) = renewal.next(&world.store) {
        world.store.apply(&batch).unwrap();
    }
    world.store.sync().unwrap();
    world.reopen();
}

#[test]
fn cursors_of_before_count_as_none_and_all_entries_are_there() {
    let mut world = World::new(NodeConfig::new(NODE));
    let owner = world.connect(1);
    world.register(&owner, &Account::new(1));
    // More logs than are renewed at a time.
    let talks: Vec<_> = (2..200).map(|n| world.create(&owner, n.into(), n)).collect();
    let talk = &talks[150];
    let Body::Opened { head, .. } = world.open(&owner, 1, talk.log, &talk.key, None, None) else {
        panic!("not opened")
    };
    for position in 1..=3 {
        world.ask(&owner, append(1, &talk.envelope(position, b"something")));
    }
    renew(&mut world);
    let owner = world.connect(1);
    for talk in &talks {
        let cursor = Cursor { sequence: 3, ..head };
        let opened = world.open(&owner, 1, talk.log, &talk.key, None, Some(cursor));
        let Body::Opened { head: renewed, .. } = opened else { panic!("{opened:?}") };
        assert_ne!(renewed.incarnation, head.incarnation);
    }
    world.delivered(&owner);
    let cursor = Some(Cursor { sequence: 3, ..head });
    world.open(&owner, 1, talk.log, &talk.key, None, cursor);
    assert_eq!(world.delivered(&owner).len(), 3, "from the beginning");
}

#[test]
fn one_time_packages_go_and_what_they_took_is_free() {
    let mut world = World::new(NodeConfig::new(NODE));
    let owner = world.connect(1);
    let account = Account::new(1);
    world.register(&owner, &account);
    let device = account.device.public();
    let put = |one_time: &[u8]| {
        let one_time = one_time.iter().map(|byte| vec![*byte; 300]).collect();
        Body::PutKeyPackages(PutKeyPackages {
            channel: 1,
            device,
            one_time,
            last_resort: b"last".to_vec(),
        })
    };
    world.ask(&owner, put(&[]));
    let charged = world.machine().counters().charged_bytes;
    world.ask(&owner, put(&[1, 2, 3]));
    renew(&mut world);
    assert_eq!(world.machine().counters().charged_bytes, charged);
    let owner = world.connect(1);
    world.open(&owner, 1, account.inbox(), &account.device, None, None);
    let last = Body::KeyPackages { packages: vec![b"last".to_vec()], left: 0 };
    assert_eq!(world.ask(&owner, Body::TakeKeyPackages { channel: 1 }), last);
}
