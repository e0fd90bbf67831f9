//! Hostile nodes: one in five does harm of one kind. What it does to lookups by the others.

use std::{rc::Rc, time::Duration};

use routing::Defences;

use super::{
    Report, Size,
    figures::{Values, per_cent, table},
    growth::publish,
    records::Lookups,
    rogue::{Deed, Loot},
    world::World,
};

/// Every kind of harm.
pub(super) fn run(size: Size) -> Report {
    let (mut rows, mut failures, mut hash) = (Vec::new(), Vec::new(), Vec::new());
    for (deed, name) in DEEDS {
        let seen = one(deed, size);
        let wrong = seen.lookups.stale + seen.lookups.missing;
        if wrong > size.lookups * WRONG_PER_1000_MAX / 1000 {
            failures.push(format!("{name}: {wrong} of {} lookups went wrong", size.lookups));
        }
        let slow = seen.lookups.took_ms.quantile(990);
        if slow > SLOW_MS_MAX {
            failures.push(format!("{name}: p99 of lookups {slow} ms"));
        }
        if seen.state.max() > STATE_MAX {
            failures.push(format!("{name}: {} bytes of state", seen.state.max()));
        }
        failures.extend(seen.full.iter().map(|gauge| format!("{name}: too many {gauge}")));
        rows.push(seen.row(name, size.lookups));
        hash.extend(seen.hash);
    }
    Report { text: table(&HEADING, &rows), failures, hash }
}

struct Seen {
    lookups: Lookups,
    state: Values,
    contacts: f64,
    frames_per_s: f64,
    full: Vec<String>,
    hash: [u8; 32],
}

impl Seen {
    fn row(&self, name: &str, asked: usize) -> Vec<String> {
        let Self { lookups, state, contacts, frames_per_s, full: _, hash: _ } = self;
        vec![
            name.to_owned(),
            format!("{:.2} % of {asked}", per_cent(lookups.right, asked)),
            lookups.took_ms.quantile(500).to_string(),
            lookups.took_ms.quantile(990).to_string(),
            format!("{:.1}", lookups.requests.mean()),
            format!("{contacts:.0}"),
            format!("{:.1}", state.max() as f64 / 1024.0),
            format!("{frames_per_s:.0}"),
        ]
    }
}

fn one(deed: Deed, size: Size) -> Seen {
    let mut world =
        World::grown(size.seed, size.nodes, Duration::from_millis(50), Defences::default());
    world.pass(Duration::from_secs(60));
    let honest = world.honest();
    let mut lookups = Lookups::default();
    let mut accounts = publish(&mut world, size.accounts, &mut lookups);
    let old = accounts.iter().map(|account| (account.key, account.newest())).collect();
    let nodes = honest.iter().filter_map(|host| world.router(*host)).map(routing::Router::record);
    let nodes = nodes.map(|record| (record.contact(), record.says().serial)).collect();
    let loot = Rc::new(Loot::new(old, nodes, &mut world.dice));
    for _ in 0..size.nodes / 4 {
        world.join_rogue(deed, &loot);
        world.pass(Duration::from_millis(50));
    }
    // While they are there each account is published anew.
    for account in &mut accounts {
        account.renew();
        account.publish(&mut world);
        world.pass(Duration::from_millis(50));
    }
    world.pass(Duration::from_secs(60));
    world.heard.clear();

    let (began, frames) = (world.now, world.tally.frames);
    let (mut state, mut contacts, mut full) = (Values::default(), Values::default(), Vec::new());
    for number in 0..size.lookups {
        let account = world.dice.index(accounts.len());
        let at = world.dice.pick(&honest).copied().unwrap_or_default();
        lookups.ask(&mut world, at, account, accounts[account].key);
        world.pass(Duration::from_millis(50));
        lookups.hear(&mut world, &accounts);
        if number % (size.lookups / 4).max(1) == 0 {
            for router in honest.iter().filter_map(|host| world.router(*host)) {
                state.add(router.state_bytes() as u64);
                contacts.add(router.contacts().len() as u64);
                let over = router.gauges().into_iter().filter(|gauge| gauge.value > gauge.limit);
                full.extend(over.map(|gauge| gauge.name.to_owned()));
            }
        }
    }
    let all = f64::from(size.nodes + size.nodes / 4);
    let took = world.now.since(began).as_secs_f64();
    let frames_per_s = (world.tally.frames - frames) as f64 / all / took;
    lookups.finish(&mut world, &accounts);
    full.sort();
    full.dedup();
    Seen { lookups, state, contacts: contacts.mean(), frames_per_s, full, hash: world.hash() }
}

const DEEDS: [(Deed, &str); 9] = [
    (Deed::Nothing, "nothing"),
    (Deed::Poison, "contacts that are nowhere"),
    (Deed::Forge, "forged bundles"),
    (Deed::Stale, "stale bundles"),
    (Deed::Oversize, "what is too long"),
    (Deed::Silence, "no answers"),
    (Deed::Flood, "floods"),
    (Deed::Suspect, "false suspicions"),
    (Deed::Elsewhere, "false addresses"),
];

const HEADING: [&str; 8] = [
    "one in five does",
    "lookups right",
    "ms p50",
    "p99",
    "requests",
    "contacts",
    "state KiB",
    "frames/s",
];

/// The bound that is promised: of a thousand lookups so many may go wrong, and all but one in a
/// hundred take less than this.
const WRONG_PER_1000_MAX: usize = 1;
const SLOW_MS_MAX: u64 = 4_000;
const STATE_MAX: u64 = 96 * 1024;
