//! Trials of routing: which one, its size, and its outcome.

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

/// The size of a trial.
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
    pub(super) fn samples(&self) -> usize {
        (self.lookups / 20).clamp(10, 100)
    }
}

/// The outcome of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// A table.
    pub text: String,
    /// Demands that were not met.
    pub failures: Vec<String>,
    /// The hash of the trace; equal for equal seeds.
    pub hash: Vec<u8>,
}
