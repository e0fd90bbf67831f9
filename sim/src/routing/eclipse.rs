//! Eclipse: an attacker runs three nodes in ten, hires as few networks for them as three in ten of
//! 10,000 fit into, 256 addresses each, and grinds keys for the places that suit the attack.

use std::{fmt, net::SocketAddr, rc::Rc, time::Duration};

use client::choose_homes;
use crypto::node::NodeRecord;
use proto::{Contact, Key, NodeId, Rows};
use routing::{Defences, RouterCommand, RouterEvent};
use sha2::{Digest, Sha256};

use super::{
    attacker::{Attacker, grind},
    mesh::{Mesh, WORK_BITS},
    records::{Account, Lookups, per_cent},
    trial::{Report, Size},
};
use crate::table::Table;

/// Runs the same attacks on plain Kademlia and with our defences.
pub(super) fn run(size: Size) -> Report {
    let plain = Defences { paths: 1, by_network: false };
    let keys = [plain, Defences::default()].map(|defences| on_keys(size, defences));
    let homes = [plain, Defences::default()].map(|defences| on_homes(size, defences));
    let cost = &keys[1].cost;
    let mut text = format!(
        "places near the keys of accounts:\n{}places everywhere:\n{}{cost}",
        compared(["defences", "lookups failed", "kept by attackers only", "of tables"], &keys),
        compared(["defences", "majority of homes", "of samples", "of tables"], &homes),
    );
    let mut failures = Vec::new();
    for (name, [plain, defended]) in [("lookups", &keys), ("homes", &homes)] {
        let ([before, ..], [after, ..]) = (&plain.shares, &defended.shares);
        // With none of n seen, the bound at 95 % is three of n.
        let bound = Share { part: after.part.max(3), all: after.all };
        let times = before.per_cent() / bound.per_cent();
        text += &format!(
            "{name}: at most {:.2} % instead of {:.1} %, {times:.0} times better\n",
            bound.per_cent(),
            before.per_cent()
        );
        if times < 10.0 {
            failures.push(format!("{name}: only {times:.1} times better"));
        }
    }
    let hash = keys.iter().chain(&homes).flat_map(|seen| seen.hash).collect();
    Report { text, failures, hash }
}

/// What came of an attack.
struct Seen {
    /// What the attackers won, its cause, and what they have of the tables of honest nodes.
    shares: [Share; 3],
    cost: String,
    hash: [u8; 32],
}

/// So many of all.
struct Share {
    part: usize,
    all: usize,
}

impl Share {
    fn per_cent(&self) -> f64 {
        per_cent(self.part, self.all)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} ({:.2} %)", self.part, self.all, self.per_cent())
    }
}

/// A table of the same attack without defences and with them.
fn compared(heading: [&str; 4], seen: &[Seen; 2]) -> String {
    let mut table = Table::new(&heading);
    for (name, seen) in ["off", "on"].into_iter().zip(seen) {
        let shares = seen.shares.iter().map(Share::to_string);
        table.push([name.to_owned()].into_iter().chain(shares).collect());
    }
    table.to_string()
}

/// Two attackers in three sit nearer to the accounts' keys than any honest node, the others
/// everywhere, so that lookups come by them: who finds the accounts?
fn on_keys(size: Size, defences: Defences) -> Seen {
    let (mut mesh, honest, attackers) = before(size, defences);
    let accounts: Vec<Account> = (0..VICTIMS)
        .map(|number| Account::new(number as u64, mesh.rng.index(honest as usize) as u32))
        .collect();
    let bits = (honest + attackers).ilog2() + 4;
    let aims = |number: u32| {
        let aimed = number % 3 < 2;
        aimed.then(|| (accounts[number as usize % accounts.len()].key, bits))
    };
    let tries = invade(&mut mesh, attackers, aims);
    mesh.pass(Duration::from_secs(300));
    for account in &accounts {
        account.publish(&mut mesh);
        mesh.pass(Duration::from_secs(1));
    }
    mesh.pass(Duration::from_secs(30));
    mesh.heard.clear();

    let mut lookups = Lookups::default();
    for number in 0..size.lookups {
        let account = number % accounts.len();
        let at = mesh.rng.index(honest as usize) as u32;
        lookups.ask(&mut mesh, at, account, accounts[account].key);
        mesh.pass(Duration::from_millis(50));
        lookups.hear(&mut mesh, &accounts);
    }
    lookups.finish(&mut mesh, &accounts);
    let failed = Share { part: size.lookups - lookups.right, all: size.lookups };
    let eclipsed = accounts.iter().filter(|account| {
        !(0..honest).any(|host| host != account.home && mesh.keeps(host, &account.key))
    });
    let eclipsed = Share { part: eclipsed.count(), all: accounts.len() };
    let cost = format!(
        "{attackers} attackers in {NETWORKS} networks; a place near a key took {tries} tries at \
         {WORK_BITS} bits of work, at 16 bits {}\n",
        tries << (16 - WORK_BITS),
    );
    let shares = [failed, eclipsed, share_of_tables(&mesh, honest)];
    Seen { shares, cost, hash: mesh.env.trace.hash() }
}

/// Attackers sit everywhere: who draws them for homes?
fn on_homes(size: Size, defences: Defences) -> Seen {
    let (mut mesh, honest, attackers) = before(size, defences);
    invade(&mut mesh, attackers, |_| None);
    mesh.pass(Duration::from_secs(300));
    let mut lost = Share { part: 0, all: 0 };
    let mut sampled = Share { part: 0, all: 0 };
    for _ in 0..size.samples() {
        let at = mesh.rng.index(honest as usize) as u32;
        let nodes = sample(&mut mesh, at);
        sampled.part +=
            nodes.iter().filter(|(node, _)| is_attacker(&node.says().addresses)).count();
        sampled.all += nodes.len();
        // One sample serves many accounts that choose with secrets of their own.
        for _ in 0..CHOICES {
            let secret = mesh.rng.bytes();
            lost.all += 1;
            lost.part += usize::from(is_lost(&nodes, &secret, defences));
        }
    }
    let shares = [lost, sampled, share_of_tables(&mesh, honest)];
    Seen { shares, cost: String::new(), hash: mesh.env.trace.hash() }
}

/// The honest nodes, and how many attackers are to come.
fn before(size: Size, defences: Defences) -> (Mesh, u32, u32) {
    let attackers = size.nodes * 3 / 10;
    let honest = size.nodes - attackers;
    let mesh = Mesh::grown(size.seed, honest, defences);
    (mesh, honest, attackers)
}

/// Lets attackers in, each to a place that shares so many bits with a key, if it aims at one.
/// Returns how many tries such a place took.
fn invade(mesh: &mut Mesh, attackers: u32, aims: impl Fn(u32) -> Option<(Key, u32)>) -> u64 {
    let honest = mesh.len();
    let (mut gang, mut hosts, mut tries, mut near) = (Vec::new(), Vec::new(), 0, 0);
    for number in 0..attackers {
        let aim = aims(number);
        let (target, bits) = aim.unwrap_or_else(|| (Key(mesh.rng.bytes()), 0));
        let (key, nonce, tried) = grind(&target, bits, mesh.rng.bytes());
        if aim.is_some() {
            (tries, near) = (tries + tried, near + 1);
        }
        let address = SocketAddr::from((
            [200, 0, (number % NETWORKS) as u8, (number / NETWORKS) as u8],
            4440,
        ));
        let node = NodeId(key.public().0);
        let contact = Contact { node, nonce, addresses: vec![address] };
        let place = NodeRecord::key_of(&contact, WORK_BITS).unwrap_or_default();
        gang.push((place, contact.clone()));
        hosts.push((mesh.place(key, address), contact));
    }
    let gang = Rc::new(gang);
    for (host, contact) in hosts {
        let place = NodeRecord::key_of(&contact, WORK_BITS).unwrap_or_default();
        let through = acquaintances(mesh, honest, &place);
        let key = mesh.key(host).clone();
        if let Some(attacker) =
            Attacker::new(&key, &contact, Rc::clone(&gang), &through, mesh.env.now)
        {
            mesh.start(host, Box::new(|_, _, _: &dyn Rows| Ok(Box::new(attacker))));
        }
        mesh.pass(Duration::from_millis(20));
    }
    tries / near.max(1)
}

/// Whom an attacker makes itself known to: those around its place, whose near buckets have room,
/// and some at random.
fn acquaintances(mesh: &mut Mesh, honest: u32, place: &Key) -> Vec<Contact> {
    let mut known: Vec<(Key, Contact)> = (0..honest)
        .filter_map(|host| mesh.router(host).map(routing::Router::record))
        .map(|record| (record.dht_key(), record.contact()))
        .collect();
    let distance = |key: &Key| key.0.iter().zip(place.0).map(|(a, b)| a ^ b).collect::<Vec<u8>>();
    known.sort_by_cached_key(|(key, _)| distance(key));
    let far: Vec<Contact> = known.iter().skip(AROUND).map(|(_, contact)| contact.clone()).collect();
    let mut through: Vec<Contact> =
        known.into_iter().take(AROUND).map(|(_, contact)| contact).collect();
    through.extend((0..AT_RANDOM).filter_map(|_| mesh.rng.pick(&far).cloned()));
    through
}

/// Contacts in honest tables that are attackers.
fn share_of_tables(mesh: &Mesh, honest: u32) -> Share {
    let mut share = Share { part: 0, all: 0 };
    for host in 0..honest {
        let Some(router) = mesh.router(host) else { continue };
        for contact in router.contacts() {
            share.all += 1;
            share.part += usize::from(is_attacker(&contact.addresses));
        }
    }
    share
}

/// What a node draws.
fn sample(mesh: &mut Mesh, at: u32) -> Vec<(NodeRecord, Duration)> {
    mesh.heard.clear();
    mesh.command(at, RouterCommand::Sample { ticket: 1 });
    for _ in 0..120 {
        mesh.pass(Duration::from_secs(1));
        let sampled = std::mem::take(&mut mesh.heard).into_iter().find_map(|heard| {
            if let RouterEvent::Sampled { nodes, .. } = heard.event { Some(nodes) } else { None }
        });
        if let Some(nodes) = sampled {
            return nodes;
        }
    }
    Vec::new()
}

/// Returns whether attackers have two or more of three homes.
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
