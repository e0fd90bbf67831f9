//! Eclipse: somebody runs three nodes in ten, hires as few networks for them as three in ten
//! of 10,000 fit into, 256 addresses each, and grinds
//! for the places that suit it best.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use client::choose_homes;
use crypto::NodeRecord;
use proto::{Contact, Key, NodeId};
use routing::{Defences, RouterCommand, RouterEvent};
use sha2::{Digest, Sha256};

use super::{
    Report, Size,
    attacker::{Attacker, grind},
    figures::{per_cent, table},
    records::{Account, Lookups},
    world::{WORK_BITS, World},
};

/// The same attack on plain Kademlia and on ours.
pub(super) fn run(size: Size) -> Report {
    let plain = Defences { paths: 1, by_network: false };
    let off = attack(size, plain);
    let on = attack(size, Defences::default());
    let heading =
        ["defences", "lookups failed", "kept by attackers only", "of tables", "homes majority"];
    let rows = vec![off.row("off"), on.row("on")];
    let mut text = table(&heading, &rows);
    text.push_str(&on.cost);
    let mut failures = Vec::new();
    for (name, on, off) in [("lookups", on.failed, off.failed), ("homes", on.homes, off.homes)] {
        // With none of n seen, the bound at 95 % is three of n.
        let bound = on.0.max(3) as f64 / on.1.max(1) as f64;
        let before = off.0 as f64 / off.1.max(1) as f64;
        let times = before / bound;
        text.push_str(&format!(
            "{name}: at most {:.2} % instead of {:.1} %, {times:.0} times better\n",
            100.0 * bound,
            100.0 * before
        ));
        if times < 10.0 {
            failures.push(format!("{name}: only {times:.1} times better"));
        }
    }
    Report { text, failures, hash: on.hash }
}

struct Seen {
    failed: (usize, usize),
    eclipsed: (usize, usize),
    tables: (usize, usize),
    homes: (usize, usize),
    cost: String,
    hash: Vec<u8>,
}

impl Seen {
    fn row(&self, name: &str) -> Vec<String> {
        let share =
            |(part, all): (usize, usize)| format!("{part} of {all} ({:.2} %)", per_cent(part, all));
        vec![
            name.to_owned(),
            share(self.failed),
            share(self.eclipsed),
            share(self.tables),
            share(self.homes),
        ]
    }
}

fn attack(size: Size, defences: Defences) -> Seen {
    let attackers = size.nodes * 3 / 10;
    let honest = size.nodes - attackers;
    let mut world = World::grown(size.seed, honest, Duration::from_millis(50), defences);
    world.pass(Duration::from_secs(60));
    let accounts: Vec<Account> = (0..VICTIMS)
        .map(|number| Account::new(number as u64, world.dice.index(honest as usize) as u32))
        .collect();
    let tries = invade(&mut world, attackers, &accounts);
    world.pass(Duration::from_secs(300));
    for account in &accounts {
        account.publish(&mut world);
        world.pass(Duration::from_secs(1));
    }
    world.pass(Duration::from_secs(30));
    world.heard.clear();

    let mut lookups = Lookups::default();
    for number in 0..size.lookups {
        let account = number % accounts.len();
        let at = world.dice.index(honest as usize) as u32;
        lookups.ask(&mut world, at, account, accounts[account].key);
        world.pass(Duration::from_millis(50));
        lookups.hear(&mut world, &accounts);
    }
    lookups.finish(&mut world, &accounts);
    let wrong = size.lookups - lookups.right;
    let eclipsed = accounts.iter().filter(|account| {
        !(0..honest).any(|host| host != account.home && world.keeps(host, &account.key))
    });
    let eclipsed = (eclipsed.count(), accounts.len());
    let tables = shares(&world, honest);
    let homes = homes(&mut world, honest, size.samples(), defences);
    let cost = format!(
        "{attackers} attackers in {} networks; a place near a key took {} tries at {WORK_BITS} bits \
         of work, at 16 bits {}\n",
        NETWORKS,
        tries,
        tries << (16 - WORK_BITS),
    );
    let hash = world.hash().to_vec();
    Seen { failed: (wrong, size.lookups), eclipsed, tables, homes, cost, hash }
}

/// Lets attackers in. Two in three sit as near to the victims' keys as grinding takes them, nearer
/// than any honest node; the others are everywhere. Returns how many tries one near place took.
fn invade(world: &mut World, attackers: u32, accounts: &[Account]) -> u64 {
    let honest = world.hosts.len() as u32;
    let bits = (honest + attackers).ilog2() + 4;
    let (mut gang, mut hosts, mut tries, mut near) = (Vec::new(), Vec::new(), 0, 0);
    for number in 0..attackers {
        let target = if number % 3 < 2 {
            accounts[number as usize % accounts.len()].key
        } else {
            Key(world.dice.bytes())
        };
        let wanted = if number % 3 < 2 { bits } else { 0 };
        let (key, nonce, tried) = grind(&target, wanted, world.dice.bytes());
        if wanted > 0 {
            (tries, near) = (tries + tried, near + 1);
        }
        let address = SocketAddr::from((
            [200, 0, (number % NETWORKS) as u8, (number / NETWORKS) as u8],
            4440,
        ));
        let node = NodeId(key.public().0);
        let contact = Contact { node, nonce, addresses: vec![address] };
        let place = crypto::place(&node, nonce, WORK_BITS).unwrap_or_default();
        gang.push((place, contact.clone()));
        hosts.push((world.place(key, address), contact));
    }
    let gang = Rc::new(gang);
    for (host, contact) in hosts {
        let place = crypto::place(&contact.node, contact.nonce, WORK_BITS).unwrap_or_default();
        let through = acquaintances(world, honest, &place);
        let key = world.hosts[host as usize].key.clone();
        if let Some(attacker) = Attacker::new(&key, &contact, Rc::clone(&gang), &through, world.now)
        {
            world.corrupt(host, attacker);
        }
        world.pass(Duration::from_millis(20));
    }
    tries / near.max(1)
}

/// Whom an attacker makes itself known to: those around its place, whose near buckets have room, and
/// some at random.
fn acquaintances(world: &mut World, honest: u32, place: &Key) -> Vec<Contact> {
    let mut known: Vec<(Key, Contact)> = (0..honest)
        .filter_map(|host| world.router(host).map(routing::Router::record))
        .map(|record| (record.place(), record.contact()))
        .collect();
    let distance = |key: &Key| key.0.iter().zip(place.0).map(|(a, b)| a ^ b).collect::<Vec<u8>>();
    known.sort_by_cached_key(|(key, _)| distance(key));
    let far: Vec<Contact> = known.iter().skip(AROUND).map(|(_, contact)| contact.clone()).collect();
    let mut through: Vec<Contact> =
        known.into_iter().take(AROUND).map(|(_, contact)| contact).collect();
    through.extend((0..AT_RANDOM).filter_map(|_| world.dice.pick(&far).cloned()));
    through
}

/// Contacts in honest tables that are attackers, of all.
fn shares(world: &World, honest: u32) -> (usize, usize) {
    let (mut theirs, mut all) = (0, 0);
    for host in 0..honest {
        let Some(router) = world.router(host) else { continue };
        for contact in router.contacts() {
            all += 1;
            theirs += usize::from(is_attacker(&contact.addresses));
        }
    }
    (theirs, all)
}

/// Home sets of three of which attackers have two or more.
fn homes(world: &mut World, honest: u32, samples: usize, defences: Defences) -> (usize, usize) {
    let (mut lost, mut drawn) = (0, 0);
    for _ in 0..samples {
        let at = world.dice.index(honest as usize) as u32;
        world.heard.clear();
        world.command(at, RouterCommand::Sample { ticket: 1 });
        for _ in 0..120 {
            world.pass(Duration::from_secs(1));
            if world.heard.iter().any(|heard| is_sample(&heard.event)) {
                break;
            }
        }
        let sampled =
            std::mem::take(&mut world.heard).into_iter().find_map(|heard| match heard.event {
                RouterEvent::Sampled { nodes, .. } => Some(nodes),
                _ => None,
            });
        let Some(nodes) = sampled else { continue };
        // One sample serves many accounts that choose with secrets of their own.
        for _ in 0..CHOICES {
            let secret = world.dice.bytes();
            drawn += 1;
            lost += usize::from(is_lost(&nodes, &secret, defences));
        }
    }
    (lost, drawn)
}

fn is_lost(nodes: &[(NodeRecord, Duration)], secret: &[u8; 32], defences: Defences) -> bool {
    let theirs = if defences.by_network {
        let homes = choose_homes(nodes, &[], 3, secret);
        homes.iter().filter(|home| is_attacker(&home.addresses)).count()
    } else {
        // As others do it: at random from those that were found.
        let lot =
            |record: &NodeRecord| Sha256::digest([secret.as_slice(), &record.node().0].concat());
        let mut drawn: Vec<_> = nodes.iter().map(|(record, _)| record).collect();
        drawn.sort_by_key(|record| lot(record));
        drawn.iter().take(3).filter(|record| is_attacker(&record.says().addresses)).count()
    };
    theirs >= 2
}

fn is_sample(event: &RouterEvent) -> bool {
    matches!(event, RouterEvent::Sampled { .. })
}

fn is_attacker(addresses: &[SocketAddr]) -> bool {
    addresses
        .iter()
        .any(|address| matches!(address.ip(), std::net::IpAddr::V4(ip) if ip.octets()[0] == 200))
}

/// Accounts that are attacked.
const VICTIMS: usize = 3;
/// As three in ten of 10,000 have with 256 addresses each.
const NETWORKS: u32 = 12;
/// Honest nodes that each attacker introduces itself to.
const AROUND: usize = 40;
const AT_RANDOM: usize = 12;
const CHOICES: usize = 40;
