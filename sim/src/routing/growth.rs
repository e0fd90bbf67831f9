//! Growth: what it costs to be one of many.

use std::time::Duration;

use super::{
    mesh::Mesh,
    records::{Account, Lookups, Sheet, Values, per_cent},
    trial::{Report, Size},
};
use routing::Defences;

/// Networks of these sizes, one after the other.
pub(super) fn run(sizes: &[u32], size: Size) -> Report {
    let mut sheet = Sheet::new("nodes", &["publish", "links mean", "max", "state KiB mean", "max"]);
    let mut failures = Vec::new();
    let mut hash = Vec::new();
    for nodes in sizes {
        let seen = one(*nodes, size);
        if per_cent(seen.lookups.right, seen.asked) < 99.9 {
            failures
                .push(format!("{nodes} nodes: {} of {} lookups", seen.lookups.right, seen.asked));
        }
        if seen.lookups.rounds.quantile(500) > 4 {
            failures.push(format!("{nodes} nodes: {} rounds", seen.lookups.rounds.quantile(500)));
        }
        if seen.links.max() > 60 || seen.state.max() > 64 * 1024 {
            failures.push(format!(
                "{nodes} nodes: {} links, {} bytes",
                seen.links.max(),
                seen.state.max()
            ));
        }
        let further = [
            format!("{:.1}", seen.lookups.publishing.mean()),
            format!("{:.1}", seen.links.mean()),
            seen.links.max().to_string(),
            format!("{:.1}", seen.state.mean() / 1024.0),
            format!("{:.1}", seen.state.max() as f64 / 1024.0),
        ];
        sheet.push(&nodes.to_string(), seen.asked, &seen.lookups, &further);
        hash.extend(seen.hash);
    }
    Report { text: sheet.text(), failures, hash }
}

struct Seen {
    asked: usize,
    lookups: Lookups,
    links: Values,
    state: Values,
    hash: [u8; 32],
}

fn one(nodes: u32, size: Size) -> Seen {
    let mut mesh = Mesh::grown(size.seed, nodes, Defences::default());
    let mut lookups = Lookups::default();
    let accounts = publish(&mut mesh, size.accounts, &mut lookups);
    let (mut links, mut state) = (Values::default(), Values::default());
    for number in 0..size.lookups {
        let account = mesh.rng.index(accounts.len());
        let at = mesh.rng.index(nodes as usize) as u32;
        lookups.ask(&mut mesh, at, account, accounts[account].key);
        mesh.pass(Duration::from_millis(20));
        lookups.hear(&mut mesh, &accounts);
        if number % (size.lookups / 8).max(1) == 0 {
            for host in 0..nodes {
                let Some(router) = mesh.router(host) else { continue };
                state.add(router.state_bytes() as u64);
                links.add(mesh.connections(host) as u64);
            }
        }
    }
    lookups.finish(&mut mesh, &accounts);
    Seen { asked: size.lookups, lookups, links, state, hash: mesh.env.trace.hash() }
}

/// Does something with a network that has grown and keeps its accounts' bundles.
pub(super) fn settled(
    size: Size,
    then: impl FnOnce(&mut Mesh, &mut [Account]) -> Report,
) -> Report {
    let mut mesh = Mesh::grown(size.seed, size.nodes, Defences::default());
    let mut accounts = publish(&mut mesh, size.accounts, &mut Lookups::default());
    then(&mut mesh, &mut accounts)
}

/// So many accounts at random homes, published.
pub(super) fn publish(mesh: &mut Mesh, accounts: usize, lookups: &mut Lookups) -> Vec<Account> {
    let honest = mesh.honest();
    let accounts: Vec<Account> = (0..accounts)
        .map(|number| {
            let home = mesh.rng.pick(&honest).copied().unwrap_or_default();
            Account::new(number as u64, home)
        })
        .collect();
    for account in &accounts {
        account.publish(mesh);
        mesh.pass(Duration::from_millis(50));
        lookups.hear(mesh, &accounts);
    }
    mesh.pass(Duration::from_secs(30));
    lookups.hear(mesh, &accounts);
    accounts
}
