//! Eclipse: somebody runs three nodes in ten, hires as few networks for them as three in ten
//! of 10,000 fit into, 256 addresses each, and grinds
//! for the places that suit it best.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use client::choose_homes;
use crypto::node::NodeRecord;
use proto::{Contact, Key, NodeId};
use routing::{Defences, RouterCommand, RouterEvent};
use sha2::{Digest, Sha256};

use super::{
    Report, Size,
    attacker::{Attacker, grind},
    mesh::{Mesh, PartyConfig, WORK_BITS},
    records::{Account, Lookups, per_cent, table},
};

/// The same attacks on plain Kademlia and on ours.
pub(super) fn run(size: Size) -> Report {
    let plain = Defences { paths: 1, by_network: false };
    let keys = [plain, Defences::default()].map(|defences| on_keys(size, defences));
    let homes = [plain, Defences::default()].map(|defences| on_homes(size, defences));
    let heading = ["defences", "lookups failed", "kept by attackers only", "of tables"];
    let mut text = String::from("places near the keys of accounts:\n");
    text.push_str(&table(&heading, vec![keys[0].row("off"), keys[1].row("on")]));
    text.push_str("places everywhere:\n");
    let heading = ["defences", "majority of homes", "of samples", "of tables"];
    text.push_str(&table(&heading, vec![homes[0].row("off"), homes[1].row("on")]));
    text.push_str(&keys[1].cost);
    let mut failures = Vec::new();
    let compared =
        [("lookups", keys[0].failed, keys[1].failed), ("homes", homes[0].lost, homes[1].lost)];
    for (name, off, on) in compared {
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
    let hash = keys.iter().map(|seen| seen.hash).chain(homes.iter().map(|seen| seen.hash));
    Report { text, failures, hash: hash.flatten().collect() }
}

/// What came of attackers that sit as near to the victims' keys as grinding takes them.
struct Keys {
    failed: (usize, usize),
    eclipsed: (usize, usize),
    tables: (usize, usize),
    cost: String,
    hash: [u8; 32],
}

/// What came of attackers that sit everywhere.
struct Homes {
    lost: (usize, usize),
    samples: (usize, usize),
    tables: (usize, usize),
    hash: [u8; 32],
}

impl Keys {
    fn row(&self, name: &str) -> Vec<String> {
        vec![name.to_owned(), share(self.failed), share(self.eclipsed), share(self.tables)]
    }
}

impl Homes {
    fn row(&self, name: &str) -> Vec<String> {
        vec![name.to_owned(), share(self.lost), share(self.samples), share(self.tables)]
    }
}

fn share((part, all): (usize, usize)) -> String {
    format!("{part} of {all} ({:.2} %)", per_cent(part, all))
}

/// Two attackers in three sit nearer to the accounts' keys than any honest node, the others
/// everywhere, so that lookups come by them: who finds the accounts?
fn on_keys(size: Size, defences: Defences) -> Keys {
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
    let failed = (size.lookups - lookups.right, size.lookups);
    let eclipsed = accounts.iter().filter(|account| {
        !(0..honest).any(|host| host != account.home && mesh.keeps(host, &account.key))
    });
    let eclipsed = (eclipsed.count(), accounts.len());
    let cost = format!(
        "{attackers} attackers in {NETWORKS} networks; a place near a key took {tries} tries at \
         {WORK_BITS} bits of work, at 16 bits {}\n",
        tries << (16 - WORK_BITS),
    );
    let tables = shares(&mesh, honest);
    Keys { failed, eclipsed, tables, cost, hash: mesh.env.trace.hash() }
}

/// Attackers sit everywhere: who draws them for homes?
fn on_homes(size: Size, defences: Defences) -> Homes {
    let (mut mesh, honest, attackers) = before(size, defences);
    invade(&mut mesh, attackers, |_| None);
    mesh.pass(Duration::from_secs(300));
    let (mut lost, mut drawn) = (0, 0);
    let mut sampled = (0, 0);
    for _ in 0..size.samples() {
        let at = mesh.rng.index(honest as usize) as u32;
        let nodes = sample(&mut mesh, at);
        sampled.0 += nodes.iter().filter(|(node, _)| is_attacker(&node.says().addresses)).count();
        sampled.1 += nodes.len();
        // One sample serves many accounts that choose with secrets of their own.
        for _ in 0..CHOICES {
            let secret = mesh.rng.bytes();
            drawn += 1;
            lost += usize::from(is_lost(&nodes, &secret, defences));
        }
    }
    let tables = shares(&mesh, honest);
    Homes { lost: (lost, drawn), samples: sampled, tables, hash: mesh.env.trace.hash() }
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
        let place = crypto::node::place(&node, nonce, WORK_BITS).unwrap_or_default();
        gang.push((place, contact.clone()));
        hosts.push((mesh.place(key, address), contact));
    }
    let gang = Rc::new(gang);
    for (host, contact) in hosts {
        let place =
            crypto::node::place(&contact.node, contact.nonce, WORK_BITS).unwrap_or_default();
        let through = acquaintances(mesh, honest, &place);
        let key = mesh.key(host).clone();
        if let Some(attacker) =
            Attacker::new(&key, &contact, Rc::clone(&gang), &through, mesh.env.now)
        {
            mesh.start(host, PartyConfig::Adversary(Box::new(attacker)));
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
        .map(|record| (record.place(), record.contact()))
        .collect();
    let distance = |key: &Key| key.0.iter().zip(place.0).map(|(a, b)| a ^ b).collect::<Vec<u8>>();
    known.sort_by_cached_key(|(key, _)| distance(key));
    let far: Vec<Contact> = known.iter().skip(AROUND).map(|(_, contact)| contact.clone()).collect();
    let mut through: Vec<Contact> =
        known.into_iter().take(AROUND).map(|(_, contact)| contact).collect();
    through.extend((0..AT_RANDOM).filter_map(|_| mesh.rng.pick(&far).cloned()));
    through
}

/// Contacts in honest tables that are attackers, of all.
fn shares(mesh: &Mesh, honest: u32) -> (usize, usize) {
    let (mut theirs, mut all) = (0, 0);
    for host in 0..honest {
        let Some(router) = mesh.router(host) else { continue };
        for contact in router.contacts() {
            all += 1;
            theirs += usize::from(is_attacker(&contact.addresses));
        }
    }
    (theirs, all)
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

/// Whether attackers have two or more of three homes.
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
