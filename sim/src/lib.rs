//! The simulator: whole networks of the real machines, thousands on one thread, under a virtual
//! clock, network and disk, with everything that can go wrong; all from one seed. What is simulated
//! and what must hold is in `spec/faults.md`, how to use it in `sim/README.md`.
//!
//! ```text
//!  scenario, random ─▶ world ──────────┬─ run      what happens in a run, and when
//!                      │ event queue   ├─ faults   what goes wrong
//!                      │ env           └─ people ─▶ model   what is right
//!                      └─ driver (one for each host) ─▶ dial, disk, network, adversary
//!  checks, model ─▶ report             trace: hash and transcript       shrink: smaller scenarios
//! ```
mod adversary;
mod checks;
mod dial;
mod disk;
mod driver;
mod env;
mod event_queue;
mod excuse;
mod faults;
mod model;
mod mutant;
mod network;
mod people;
mod person;
mod random;
mod report;
mod rng;
pub mod routing;
mod run;
mod scenario;
mod shrink;
pub mod table;
mod trace;
mod traffic;
mod world;

use world::World;

pub use mutant::Mutant;
pub use random::{from_bytes, random};
pub use report::{Milestone, Options, Report, Rule, Tally, Violation};
pub use scenario::{
    AdversaryAt, Behaviour, Churn, Disks, Fault, Scenario, ScenarioError, Span, Talk, Weather,
    What, Who,
};
pub use shrink::shrink;
pub use traffic::{Count, Purpose};

/// Runs a scenario with a seed. The same ones give the same report, on any machine.
pub fn run(scenario: &Scenario, seed: u64, options: Options) -> Report {
    run_watched(scenario, seed, options, &mut |_, _| {})
}

/// As [`run()`]; reports each milestone and the counts until then, so that a caller with a clock
/// can time the parts of a run. Latencies are reported at the end.
pub fn run_watched(
    scenario: &Scenario,
    seed: u64,
    options: Options,
    passes: &mut dyn FnMut(Milestone, &Tally),
) -> Report {
    let scenario = scenario.drawn(seed);
    let mut world = World::new(&scenario, seed, options);
    world.run(passes);
    world.into_report()
}
