//! Whole networks: random scenarios, checked by the rules of the simulator.

use sim::Options;

/// Runs the scenario that these bytes choose, the first two being the seed. Whatever it is, no
/// rule may be broken.
pub fn simulator(bytes: &[u8]) {
    let (seed, choices) = bytes.split_at_checked(2).unwrap_or_default();
    let seed = seed.try_into().map_or(0, u16::from_le_bytes);
    let scenario = sim::from_bytes(choices);
    let report = sim::run(&scenario, seed.into(), Options::default());
    if let Some(first) = report.violations.first() {
        panic!("seed {seed}: {first}\n{}", scenario.to_toml());
    }
}
