//! What a run found.

use std::{collections::BTreeMap, fmt, time::Duration};

use proto::Instant;

use crate::{Count, Mutant, Purpose};

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Write down what happens, line by line.
    pub transcript: bool,
    /// Break something on purpose.
    pub mutant: Option<Mutant>,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Of all that happened, in order.
    pub hash: [u8; 32],
    /// What should not have been; empty if all is well.
    pub violations: Vec<Violation>,
    /// What was counted.
    pub tally: Tally,
    /// What happened, if it was asked for.
    pub transcript: Vec<String>,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule is broken.
    pub rule: Rule,
    /// When it was noticed.
    pub at: Instant,
    /// What exactly.
    pub text: String,
}

/// What must hold, whatever goes wrong: `spec/faults.md`, section 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Messages that a user was told are sent are shown on both devices in the end.
    Lost,
    /// Nothing is shown twice, nor stored twice by one node.
    Twice,
    /// Everything shown was said by a person, and is shown as it was said.
    Forged,
    /// A timeline is the same on every device, once quiet.
    Order,
    /// What a message answers is shown before it.
    Dependency,
    /// A mark says what is so: what is "delivered" the other's device has shown, and still has
    /// after a restart; in the end everything is.
    DeliveryStatus,
    /// No plaintext is in a frame, no plaintext or secret in what a node holds.
    Secret,
    /// Every collection keeps its limit.
    Limit,
    /// No store grows beyond what it was given.
    Growth,
    /// An idle network is silent.
    Quiet,
    /// What is said between people who can reach their nodes arrives soon.
    Progress,
    /// A machine opens from its rows, whatever happened to it.
    Opening,
    /// Only adversaries are convicted of a loss.
    Slander,
    /// Nothing panics.
    Panic,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.since(BEGINNING);
        write!(f, "{:?} at {:.3} ms: {}", self.rule, at.as_secs_f64() * 1000.0, self.text)
    }
}

/// Where the parts of a run meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The scenario's time begins: all are up and, if it asks for that, acquainted.
    Beginning,
    /// Its time is over: faults end, and what must be is checked.
    Quiesce,
}

/// What was counted in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages said by people, edits and reactions included.
    pub said: u64,
    /// Times that a message of another person was shown.
    pub shown: u64,
    /// Texts that their author's device calls stored, or better, in the end.
    pub acknowledged: u64,
    /// Those of them that the other's device does not show.
    pub lost: u64,
    /// Nodes that devices have convicted of a loss.
    pub convicted: u64,
    /// Frames sent.
    pub frames: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Frames that carried an entry: an append or a delivery.
    pub hops: u64,
    /// Frames that asked for entries, and those that brought them.
    pub fetches: u64,
    /// Entries that nodes stored.
    pub stored: u64,
    /// Disk syncs.
    pub syncs: u64,
    /// Connections made.
    pub connections: u64,
    /// What nodes said to each other.
    pub between_nodes: BTreeMap<Purpose, Count>,
    /// From saying to showing, in microseconds, in no order.
    pub latencies_us: Vec<u64>,
    /// The same of messages from before the run quiesced to devices that were up until they showed
    /// them.
    pub talk_latencies_us: Vec<u64>,
    /// Texts that devices took before the run quiesced, in conversations that are not excused.
    pub texts: u64,
    /// Those of them that the other's device has shown.
    pub delivered: u64,
    /// Virtual time that passed.
    pub simulated: Duration,
    /// Things that happened: what the simulator itself has to do.
    pub steps: u64,
}

/// When virtual time begins.
pub(crate) const BEGINNING: Instant = Instant::from_secs(1_800_000_000);
