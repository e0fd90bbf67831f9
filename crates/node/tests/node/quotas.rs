//! Quotas and the disk cap.

use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

use node::{NodeCommand, NodeConfig};
use proptest::prelude::*;
use proto::{Body, Code, Direction, Expiry, Input, PublicKey, PutKeyPackages, Rows, Table};
use store::Store;

use crate::world::{Account, Client, Conversation, NODE, World, append, expiring, refused};

#[test]
fn a_full_disk_takes_nothing_until_there_is_room() {
    let mut world = World::new(NodeConfig { disk_cap_bytes: 1 << 20, ..NodeConfig::new(NODE) });
    let owner = world.connect(1);
    world.register(&owner, &Account::new(1));
    let talk = world.create(&owner, 2, 9);
    world.input(Input::Command(NodeCommand::DiskUsed((1 << 20) - 1000)));
    let (small, large) = (talk.envelope(1, &[1; 300]), talk.envelope(1, &[1; 900]));
    assert_eq!(world.ask(&owner, append(2, &large)), refused(Code::Full));
    assert!(matches!(world.ask(&owner, append(2, &small)), Body::Accepted { .. }));
    let another = talk.envelope(1, &[2; 300]);
    assert_eq!(world.ask(&owner, append(2, &another)), refused(Code::Full), "added up meanwhile");

    let stranger = world.connect(2);
    let bundle = Body::PutBundle(Account::new(2).bundle.as_bytes().to_vec());
    assert_eq!(world.ask(&stranger, bundle), refused(Code::Full));
    let newer = world.ask(&owner, Body::PutBundle(newer(&Account::new(1))));
    assert!(matches!(newer, Body::Accepted { .. }), "a stolen device can be removed at all times");

    world.input(Input::Command(NodeCommand::DiskUsed(1 << 10)));
    assert!(matches!(world.ask(&owner, append(2, &large)), Body::Accepted { .. }));
}

#[test]
fn a_guest_fills_the_inbox_at_its_owners_expense_up_to_the_quota() {
    let config = NodeConfig { account_quota_bytes: 63_200, ..NodeConfig::new(NODE) };
    let mut world = World::new(config);
    let (a, b) = (world.connect(1), world.connect(2));
    world.register(&a, &Account::new(1));
    world.register(&b, &Account::new(2));
    let talk = world.create(&a, 2, 9);
    assert!(matches!(world.open(&b, 3, talk.log, &talk.key, None, None), Body::Opened { .. }));
    let mut stored = 0;
    while let Body::Accepted { .. } =
        world.ask(&b, append(3, &talk.envelope(1, &[stored as u8; 5_000])))
    {
        stored += 1;
    }
    assert_eq!(stored, 7, "charged to its creator");
    let own = world.create(&b, 4, 10);
    let answer = world.ask(&b, append(4, &own.envelope(1, &[0; 5_000])));
    assert!(matches!(answer, Body::Accepted { .. }), "the writer's own room is untouched");
}

const CONFIG: NodeConfig = NodeConfig {
    disk_cap_bytes: 200_000,
    account_quota_bytes: 80_000,
    account_logs_max: 3,
    log_quota_bytes: 40_000,
    node: NODE,
    key: None,
    registration: node::Registration::Open,
    signals_per_s_max: 1,
    connections_max: 100,
    reserve_after: Duration::from_secs(600),
    reserve_kept: Duration::from_secs(86_400),
    anti_entropy_every: Duration::from_secs(3600),
    scrub_every: Duration::from_secs(86_400),
    routing: None,
};

#[derive(Clone, Debug)]
enum Step {
    /// Writer, conversation, bytes, whether it expires.
    Append(usize, u8, usize, bool),
    Packages(usize, usize, usize),
    Take(usize),
    Pass(u64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let person = 0usize..4;
    let step = prop_oneof![
        12 => (person.clone(), 0u8..5, 0usize..9_000, any::<bool>())
            .prop_map(|(n, log, bytes, expires)| Step::Append(n, log, bytes, expires)),
        2 => (person.clone(), 0usize..20, 1usize..2_000)
            .prop_map(|(n, count, bytes)| Step::Packages(n, count, bytes)),
        2 => person.prop_map(Step::Take),
        1 => (1u64..100_000).prop_map(Step::Pass),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..80)
}

fn connect(world: &mut World, accounts: &[Account]) -> Vec<Client> {
    let connect = |(n, account): (usize, &Account)| {
        let client = world.connect(10 + n as u8);
        world.register(&client, account);
        client
    };
    accounts.iter().enumerate().map(connect).collect()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

/// Checks every bound against the rows themselves (`spec/logs.md`, section 10).
fn check(world: &World) -> Result<(), TestCaseError> {
    let rows = |table| {
        let mut rows = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        world.store.scan(Table(table), &[], &[0xFF; 80], Direction::Forward, &mut visit);
        rows
    };
    let mut charged = 0;
    for (_, usage) in rows(9) {
        let (bytes, logs) = (number(&usage[..8]), number(&usage[8..]));
        prop_assert!(bytes <= CONFIG.account_quota_bytes && logs <= CONFIG.account_logs_max);
        charged += bytes;
    }
    prop_assert_eq!(world.machine().counters().charged_bytes, charged);
    prop_assert!(charged <= CONFIG.disk_cap_bytes);
    let mut stored = BTreeMap::<u64, u64>::new();
    for (key, envelope) in rows(4) {
        *stored.entry(number(&key[..8])).or_default() += envelope.len() as u64 + 128;
    }
    for (key, state) in rows(3) {
        let bytes = number(&state[16..]);
        prop_assert!(bytes <= CONFIG.log_quota_bytes);
        prop_assert_eq!(bytes, stored.remove(&number(&key)).unwrap_or_default());
    }
    let packages: u64 = rows(11).iter().map(|(_, package)| package.len() as u64 + 64).sum();
    let entries: u64 = rows(4).iter().map(|(_, envelope)| envelope.len() as u64 + 128).sum();
    let logs = rows(2).len() as u64 - 4;
    prop_assert_eq!(charged, 4 * 24_000 + 320 * logs + entries + packages);
    // What is charged covers what the rows take.
    prop_assert!(world.store.disk_bytes() <= charged);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_bound_is_ever_exceeded(steps in steps()) {
        let accounts = [1, 2, 3, 4].map(Account::new);
        let mut world = World::new(CONFIG);
        let mut clients = connect(&mut world, &accounts);
        for step in steps {
            match step {
                Step::Append(n, log, bytes, expires) => {
                    // Four people with five conversations each, more than they may have.
                    let seed = 100 + 5 * n as u8 + log;
                    let talk = Conversation::new(seed);
                    let channel = 2 + u32::from(log);
                    let genesis = Some(talk.genesis);
                    world.open(&clients[n], channel, talk.log, &talk.key, genesis, None);
                    let expiry = if expires { Expiry::Day } else { Expiry::Never };
                    let text = vec![bytes as u8; bytes];
                    let envelope = expiring(&talk.key, talk.log, &text, expiry);
                    world.ask(&clients[n], append(channel, &envelope));
                }
                Step::Packages(n, count, bytes) => {
                    let device: PublicKey = accounts[n].device.public();
                    let package = vec![1; bytes];
                    let one_time = vec![package.clone(); count];
                    let put = PutKeyPackages { channel: 1, device, one_time, last_resort: package };
                    world.ask(&clients[n], Body::PutKeyPackages(put));
                }
                Step::Take(n) => {
                    world.ask(&clients[n], Body::TakeKeyPackages { channel: 1 });
                }
                Step::Pass(seconds) => world.pass(seconds),
                Step::Reopen => {
                    world.reopen();
                    clients = connect(&mut world, &accounts);
                }
            }
            check(&world)?;
        }
    }
}

fn newer(account: &Account) -> Vec<u8> {
    let record = crate::world::record(2, &[account.device.public()], NODE);
    account.authority.sign_record(record).unwrap().as_bytes().to_vec()
}
