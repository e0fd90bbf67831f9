//! The simulator as the command line sees it.

use sim::{Options, Report, Scenario};

/// What the command line needs of the simulator; tests make one up.
pub(crate) trait Simulator: Sync {
    /// Runs a scenario with a seed.
    fn run(&self, scenario: &Scenario, seed: u64, options: Options) -> Report;

    /// Draws a scenario.
    fn random(&self, seed: u64) -> Scenario;

    /// Finds a smaller scenario that still fails, in so many tries at most.
    fn shrink(
        &self,
        scenario: Scenario,
        tries: u32,
        fails: &mut dyn FnMut(&Scenario) -> bool,
    ) -> Scenario;
}
