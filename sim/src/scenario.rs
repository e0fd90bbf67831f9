//! Scenarios: who, how many, which faults, which workload, for how long; as small files in TOML
//! under `sim/scenarios/`. Everything but `name`, `nodes`, `people` and `lasts` has a default that
//! does no harm.

mod draw;
mod limits;
mod text;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use text::ScenarioError;

/// A world and what happens in it. With a seed it is a run.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What it is for, in a sentence or two.
    #[serde(default)]
    pub about: String,
    /// Service nodes.
    pub nodes: u32,
    /// People, each with one device.
    pub people: u32,
    /// Homes of each person, 1 by default and no more than there are nodes: person `i` is at home
    /// at node `i mod nodes` and those that follow, which are in reserve but for the first two.
    #[serde(default = "one")]
    pub homes: u32,
    /// How many of those are to hold all that a person has, 2 by default. With more, as many nodes
    /// have to sign for what is called stored, 3 at most.
    #[serde(default = "two", skip_serializing_if = "is_two")]
    pub copies: u32,
    /// How many others each person knows: the next ones in a ring. 1 by default; fewer than there
    /// are people.
    #[serde(default = "one")]
    pub friends: u32,
    /// Whether friends have become contacts before the faults begin and the time counts. Then
    /// no host joins late.
    #[serde(default)]
    pub acquainted: bool,
    /// For how long people talk and faults happen. Then the run quiesces: all faults end, hosts
    /// that are away come back unless they left permanently, and the rules are checked.
    pub lasts: Span,
    /// What people do.
    #[serde(default)]
    pub talk: Talk,
    /// The network.
    #[serde(default)]
    pub network: Weather,
    /// The disks.
    #[serde(default)]
    pub disks: Disks,
    /// The most that a clock is wrong, either way.
    #[serde(default)]
    pub skew: Span,
    /// Nodes that dial but can't be dialled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind_nat: Vec<u32>,
    /// Coming and going of nodes, drawn from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// Adversaries: nodes that break the protocol in one way each.
    #[serde(default, rename = "adversary", skip_serializing_if = "Vec::is_empty")]
    pub adversaries: Vec<AdversaryAt>,
    /// What goes wrong and when.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// A length of time, written as a whole number of `us`, `ms`, `s`, `m`, `h` or `d`, such as
/// `250ms`; at most 30 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// What people do. Chances are of each thing that a person does; what is left is plain texts.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Talk {
    /// How many things each person does.
    pub acts: u32,
    /// The mean time between two of them, per person.
    pub every: Span,
    /// That one changes an earlier message.
    pub edits: f64,
    /// That one takes an earlier message back.
    pub deletions: f64,
    /// That one reacts to a message.
    pub reactions: f64,
    /// That one reads all there is.
    pub reads: f64,
    /// That one gives the conversation fresh keys.
    pub rekeys: f64,
}

/// How the network is when nothing is wrong.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weather {
    /// Hosts are spread over so many regions.
    pub regions: u32,
    /// One way between hosts of one region: least and most.
    pub near: [Span; 2],
    /// One way between regions: least and most. Each ordered pair has its own base, drawn once, so
    /// that there and back differ.
    pub far: [Span; 2],
    /// What is added to each packet, at most.
    pub jitter: Span,
    /// Of packets. At most half: with more, nothing that must arrive would in useful time.
    pub loss: f64,
    /// Of packets.
    pub duplication: f64,
    /// Of packets: these come up to one round trip late.
    pub reordering: f64,
    /// Bits a second into and out of a device. 0 is without limit.
    pub device_bps: u64,
    /// Bits a second into and out of a node. 0 is without limit.
    pub node_bps: u64,
}

/// How disks are when nothing is wrong.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disks {
    /// What a sync takes on a node: least and most.
    pub node_sync: [Span; 2],
    /// What a sync takes on a device: least and most.
    pub device_sync: [Span; 2],
    /// Bytes that a node's disk has. 0 means no limit; with a limit, messages need not arrive.
    pub node_bytes: u64,
    /// How often a node compares its logs with those of others if anything has changed; it scrubs
    /// its rows a third less often. 3 minutes by default, so that whatever can be repaired is
    /// repaired before the end; the product takes an hour and a day.
    pub checked_every: Span,
}

/// Nodes come and go at random times, as drawn from the seed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// Which part of the nodes goes down in an hour; above 1 if each does so several times.
    pub per_hour: f64,
    /// Which part of those crashes instead of stopping.
    pub ungraceful: f64,
    /// For how long they are away: least and most.
    pub away: [Span; 2],
}

/// A host by its role and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// `node 3`
    Node(u32),
    /// `person 0`, that is the device.
    Person(u32),
}

/// Something goes wrong. Faults of one host may overlap: it is back when the last one that keeps
/// it away has ended.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When, after the beginning; not after the end of the scenario and, if the host joins late,
    /// not before it does.
    pub at: Span,
    /// If given, at a time between `at` and this, drawn from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Span>,
    /// What.
    pub what: What,
    /// To whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub who: Vec<Who>,
    /// To so many other nodes as well, drawn from the seed; not to those that join late or leave
    /// permanently by another fault.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub some_nodes: u32,
    /// For how long. If absent, a host that is away never comes back; a slow or full disk and a bad
    /// link last until the run quiesces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The power fails: what the disk had not synced is lost, but for any beginning of it.
    Crash,
    /// The process is killed: what it wrote is there, what it held is gone.
    Kill,
    /// The process stops as asked and says goodbye.
    Stop,
    /// The power fails just before the next sync ends, and comes back after `lasts`.
    CrashInSync,
    /// The process hangs.
    Stall,
    /// These hosts reach each other, but no other host, and no other host reaches them.
    Partition,
    /// A sync takes a hundred times as long.
    SlowDisk,
    /// The disk takes no more.
    FullDisk,
    /// Four of five packets are lost.
    BadLink,
    /// The host is there only from then on: it joins late. Has no `lasts`.
    Join,
}

/// A node that breaks the protocol in one way for as long as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdversaryAt {
    /// Which node.
    pub node: u32,
    /// How.
    #[serde(alias = "lie")]
    pub behaviour: Behaviour,
}

/// How an adversary breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Acknowledges entries that it drops.
    DropsAccepted,
    /// Withholds some entries from readers.
    Withholds,
    /// Serves the first account record that it saw, despite later ones, and delivers old entries
    /// again.
    Replays,
    /// Changes and makes up what it delivers.
    Forges,
    /// Shows peers different versions: other cursors, other entries, other records.
    Equivocates,
    /// Answers everything seconds late.
    Dawdles,
    /// Sends every frame many times, and frames that answer no request.
    Floods,
    /// Sends frames in another order.
    Shuffles,
    /// Refuses at random, with random codes.
    Refuses,
}

impl What {
    /// Returns whether a host to which this happens permanently is gone.
    fn takes_away(self) -> bool {
        match self {
            Self::Crash
            | Self::Kill
            | Self::Stop
            | Self::CrashInSync
            | Self::Stall
            | Self::Partition => true,
            Self::SlowDisk | Self::FullDisk | Self::BadLink | Self::Join => false,
        }
    }
}

impl Default for Talk {
    fn default() -> Self {
        Self {
            acts: 20,
            every: Span(Duration::from_secs(3)),
            edits: 0.05,
            deletions: 0.03,
            reactions: 0.1,
            reads: 0.15,
            rekeys: 0.02,
        }
    }
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            regions: 1,
            near: [Span::from_millis(1), Span::from_millis(5)],
            far: [Span::from_millis(20), Span::from_millis(150)],
            jitter: Span::from_millis(2),
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            device_bps: 20_000_000,
            node_bps: 200_000_000,
        }
    }
}

impl Default for Disks {
    fn default() -> Self {
        Self {
            node_sync: [Span(Duration::from_micros(500)), Span::from_millis(3)],
            device_sync: [Span::from_millis(1), Span::from_millis(10)],
            node_bytes: 0,
            checked_every: Span::from_millis(180_000),
        }
    }
}

fn two() -> u32 {
    2
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_two(copies: &u32) -> bool {
    *copies == 2
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
