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

use mesh::Mesh;
use records::Account;

/// What happens in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Networks of growing size, up to this many nodes.
    Growth,
    /// Half of the nodes go within an hour.
    Churn,
    /// A third of them die at once.
    Death,
    /// The network falls in two and heals.
    Partition,
    /// Three nodes in ten are in one hand, with and without our defences.
    Eclipse,
    /// One node in five does harm, of each kind.
    Hostile,
    /// Halves, churn and the death of a third, one after the other in one network.
    Soak,
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Everything is drawn from this.
    pub seed: u64,
    /// Nodes, at most.
    pub nodes: u32,
    /// The smallest of growing networks.
    pub least: u32,
    /// Accounts whose bundles are published.
    pub accounts: usize,
    /// Lookups of them.
    pub lookups: usize,
    /// How long churn lasts.
    pub minutes: u64,
}

impl Size {
    /// Samples from which homes are chosen.
    fn samples(&self) -> usize {
        (self.lookups / 20).clamp(10, 100)
    }
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// A table.
    pub text: String,
    /// What was not as it must be.
    pub failures: Vec<String>,
    /// The same seed gives the same one.
    pub hash: Vec<u8>,
}

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
