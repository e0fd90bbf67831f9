//! The simulator of routing: ten thousand routers on one thread, with churn, faults and
//! attackers. The very machines that nodes have inside; how to use it is in `sim/README.md`.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "no peer chooses what is computed here"
)]

mod adversary;
mod attacker;
mod churn;
mod eclipse;
mod fault;
mod growth;
mod hostile;
mod mesh;
mod records;
mod trial;

pub use trial::{Report, Size, Trial};

use mesh::Mesh;
use records::Account;

/// Runs a trial.
pub fn run(trial: Trial, size: Size) -> Report {
    match trial {
        Trial::Growth => {
            let sizes = [100, 300, 1_000, 3_000, 10_000];
            let fits = |nodes: &u32| (size.least..=size.nodes).contains(nodes);
            let sizes: Vec<u32> = sizes.into_iter().filter(fits).collect();
            growth::run(&sizes, size)
        }
        Trial::Churn => growth::settled(size, |mesh, accounts| churn::run(mesh, accounts, size)),
        Trial::Death => growth::settled(size, |mesh, accounts| fault::death(mesh, accounts, size)),
        Trial::Eclipse => eclipse::run(size),
        Trial::Hostile => hostile::run(size),
        Trial::Soak => growth::settled(size, |mesh, accounts| soak(mesh, accounts, size)),
        Trial::Partition => growth::settled(size, |mesh, accounts| {
            fault::partition(mesh, accounts, &fault::AFTER, size)
        }),
    }
}

fn soak(mesh: &mut Mesh, accounts: &mut [Account], size: Size) -> Report {
    let parts = [
        fault::partition(mesh, accounts, &fault::AFTER[..3], size),
        churn::run(mesh, accounts, size),
        fault::death(mesh, accounts, size),
    ];
    let mut all = Report { text: String::new(), failures: Vec::new(), hash: Vec::new() };
    for part in parts {
        all.text += &format!("{}\n", part.text);
        all.failures.extend(part.failures);
        all.hash = part.hash;
    }
    all
}
