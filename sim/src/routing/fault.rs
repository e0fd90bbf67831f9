//! Faults: a third of the nodes die at once; the network falls in two and heals.

use std::time::Duration;

use super::{
    mesh::Mesh,
    records::{Account, Lookups, Sheet},
    trial::{Report, Size},
};
use crate::driver::Ending;

/// 30 % die at once; what is found after so many seconds.
pub(super) fn death(mesh: &mut Mesh, accounts: &[Account], size: Size) -> Report {
    for host in mesh.honest() {
        if mesh.rng.chance(0.3) {
            mesh.end(host, Ending::Kill);
        }
    }
    let mut sheet = Sheet::new("when", &[]);
    let mut failures = Vec::new();
    for after in [0, 20, 60] {
        let passed = mesh.env.now;
        let lookups = everywhere(mesh, accounts, size.lookups);
        if after == 60 && lookups.right < size.lookups {
            failures.push(format!("{} of {} found after 60 s", lookups.right, size.lookups));
        }
        sheet.push(&format!("{after} s"), size.lookups, &lookups, &[]);
        let left = Duration::from_secs(40).saturating_sub(mesh.env.now.since(passed));
        mesh.pass(if after == 0 { Duration::from_secs(20).min(left) } else { left });
    }
    Report { text: sheet.text(), failures, hash: mesh.env.trace.hash().to_vec() }
}

/// Halves for ten minutes, in which one half publishes newer versions; what is found when so many
/// minutes have passed after it.
pub(super) fn partition(
    mesh: &mut Mesh,
    accounts: &mut [Account],
    after: &[u64],
    size: Size,
) -> Report {
    let mut sheet = Sheet::new("when", &[]);
    let mut measure = |mesh: &mut Mesh, accounts: &[Account], when: &str| {
        let lookups = everywhere(mesh, accounts, size.lookups);
        sheet.push(when, size.lookups, &lookups, &[]);
        lookups.right
    };
    measure(mesh, accounts, "before");
    mesh.set_split(true);
    mesh.pass(Duration::from_secs(300));
    for account in &mut *accounts {
        if mesh.half_of(account.home) {
            account.renew();
            account.publish(mesh);
            mesh.pass(Duration::from_millis(50));
        }
    }
    mesh.heard.clear();
    mesh.pass(Duration::from_secs(300));
    measure(mesh, accounts, "in halves");
    mesh.set_split(false);
    let mut failures = Vec::new();
    let mut before = 0;
    for minutes in after.iter().copied() {
        mesh.pass(Duration::from_secs(60 * (minutes - before)));
        before = minutes;
        if minutes == 75 {
            // Within the hour every home has published.
            for account in &*accounts {
                account.publish(mesh);
                mesh.pass(Duration::from_millis(50));
            }
            mesh.pass(Duration::from_secs(10));
            mesh.heard.clear();
        }
        let right = measure(mesh, accounts, &format!("{minutes} min after"));
        let least = match minutes {
            10 => size.lookups * 98 / 100,
            75 => size.lookups,
            _ => 0,
        };
        if right < least {
            failures.push(format!("{right} of {} right {minutes} minutes after", size.lookups));
        }
    }
    Report { text: sheet.text(), failures, hash: mesh.env.trace.hash().to_vec() }
}

/// Lookups of random accounts by random nodes.
fn everywhere(mesh: &mut Mesh, accounts: &[Account], count: usize) -> Lookups {
    let mut lookups = Lookups::default();
    let honest = mesh.honest();
    for _ in 0..count {
        let account = mesh.rng.index(accounts.len());
        let at = mesh.rng.pick(&honest).copied().unwrap_or_default();
        lookups.ask(mesh, at, account, accounts[account].key);
        mesh.pass(Duration::from_millis(5));
    }
    lookups.finish(mesh, accounts);
    lookups
}

/// Minutes after which all homes have published.
pub(super) const AFTER: [u64; 4] = [1, 3, 10, 75];
