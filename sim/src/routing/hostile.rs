//! Hostile nodes: one in five does harm of one kind. What it does to lookups by the others.

use std::{rc::Rc, time::Duration};

use proto::{Machine as _, OpenError, Rows};
use routing::{Defences, Router, RouterEvent};

use super::{
    adversary::{Adversary, Behaviour, Loot},
    growth::publish,
    mesh::{Heard, Mesh, Party, honest_address},
    records::{Lookups, Sheet, Values},
    trial::{Report, Size},
};
use crate::rng::Rng;

/// Every kind of harm.
pub(super) fn run(size: Size) -> Report {
    let mut sheet = Sheet::new("one in five does", &["contacts", "state KiB", "frames/s"]);
    let (mut failures, mut hash) = (Vec::new(), Vec::new());
    for (behaviour, name) in BEHAVIOURS {
        let seen = one(behaviour, size);
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
        let further = [
            format!("{:.0}", seen.contacts),
            format!("{:.1}", seen.state.max() as f64 / 1024.0),
            format!("{:.0}", seen.frames_per_s),
        ];
        sheet.push(name, size.lookups, &seen.lookups, &further);
        hash.extend(seen.hash);
    }
    Report { text: sheet.text(), failures, hash }
}

struct Seen {
    lookups: Lookups,
    state: Values,
    contacts: f64,
    frames_per_s: f64,
    full: Vec<String>,
    hash: [u8; 32],
}

fn one(behaviour: Behaviour, size: Size) -> Seen {
    let mut mesh = Mesh::grown(size.seed, size.nodes, Defences::default());
    let honest = mesh.honest();
    let mut lookups = Lookups::default();
    let mut accounts = publish(&mut mesh, size.accounts, &mut lookups);
    let old = accounts.iter().map(|account| (account.key, account.newest())).collect();
    let nodes = honest.iter().filter_map(|host| mesh.router(*host)).map(Router::record);
    let nodes = nodes.map(|record| (record.contact(), record.says().serial)).collect();
    let loot = Rc::new(Loot::new(old, nodes, &mut mesh.rng));
    for _ in 0..size.nodes / 4 {
        join_adversary(&mut mesh, behaviour, &loot);
        mesh.pass(Duration::from_millis(50));
    }
    // Each account is published again in the presence of adversaries.
    mesh.heard.clear();
    for account in &mut accounts {
        account.renew();
        account.publish(&mut mesh);
        mesh.pass(Duration::from_millis(50));
    }
    mesh.pass(ATTACK);
    let deadline = mesh.env.now.after(PUBLISHED_WITHIN);
    let is_published = |heard: &&Heard| matches!(heard.event, RouterEvent::Published { .. });
    while mesh.heard.iter().filter(is_published).count() < accounts.len() && mesh.env.now < deadline
    {
        mesh.pass(Duration::from_secs(1));
    }
    mesh.heard.clear();

    let (began, frames) = (mesh.env.now, mesh.env.tally.frames);
    let (mut state, mut contacts, mut full) = (Values::default(), Values::default(), Vec::new());
    for number in 0..size.lookups {
        let account = mesh.rng.index(accounts.len());
        let at = mesh.rng.pick(&honest).copied().unwrap_or_default();
        lookups.ask(&mut mesh, at, account, accounts[account].key);
        mesh.pass(Duration::from_millis(50));
        lookups.hear(&mut mesh, &accounts);
        if number % (size.lookups / 4).max(1) == 0 {
            for router in honest.iter().filter_map(|host| mesh.router(*host)) {
                state.add(router.state_bytes() as u64);
                contacts.add(router.contacts().len() as u64);
                let over = router.gauges().into_iter().filter(|gauge| gauge.value > gauge.limit);
                full.extend(over.map(|gauge| gauge.name.to_owned()));
            }
        }
    }
    let all = f64::from(size.nodes + size.nodes / 4);
    let took = mesh.env.now.since(began).as_secs_f64();
    let frames_per_s = (mesh.env.tally.frames - frames) as f64 / all / took;
    lookups.finish(&mut mesh, &accounts);
    full.sort();
    full.dedup();
    Seen {
        lookups,
        state,
        contacts: contacts.mean(),
        frames_per_s,
        full,
        hash: mesh.env.trace.hash(),
    }
}

/// Starts an adversary in a network of its own that joins through an honest node.
fn join_adversary(mesh: &mut Mesh, behaviour: Behaviour, loot: &Rc<Loot>) {
    let host = mesh.place_next();
    let mut config = mesh.config(host);
    if behaviour == Behaviour::Elsewhere {
        // It can be dialled where it is, but says so last.
        let others = (0..3).map(|other| honest_address(host.saturating_sub(other * 7 + 1)));
        config.addresses = others.chain(config.addresses).collect();
    }
    let (key, loot) = (mesh.key(host).clone(), Rc::clone(loot));
    let rng = Rng::new(mesh.rng.below(u64::MAX), "adversary", host.into());
    let open = move |seed, now, rows: &dyn Rows| -> Result<Box<dyn Party>, OpenError> {
        let router = Router::open(config, seed, now, rows)?;
        Ok(Box::new(Adversary::new(behaviour, router, key, loot, rng)))
    };
    mesh.start(host, Box::new(open));
}

const BEHAVIOURS: [(Behaviour, &str); 9] = [
    (Behaviour::Nothing, "nothing"),
    (Behaviour::Poison, "contacts that are nowhere"),
    (Behaviour::Forge, "forged bundles"),
    (Behaviour::Stale, "stale bundles"),
    (Behaviour::Oversize, "what is too long"),
    (Behaviour::Silence, "no answers"),
    (Behaviour::Flood, "floods"),
    (Behaviour::Suspect, "false suspicions"),
    (Behaviour::Elsewhere, "false addresses"),
];

/// How long adversaries attack at least before lookups are counted. A flood reaches the limits of
/// gossip within this time.
const ATTACK: Duration = Duration::from_secs(10);
/// When the new versions are published after that, however slow adversaries make it.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(50);
/// The bound that is promised: of a thousand lookups so many may go wrong, and all but one in a
/// hundred take less than this.
const WRONG_PER_1000_MAX: usize = 1;
const SLOW_MS_MAX: u64 = 4_000;
const STATE_MAX: u64 = 96 * 1024;
