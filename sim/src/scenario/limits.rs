//! What a scenario may ask for. Whatever is within these limits can be run in finite time and
//! memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    time::Duration,
};

use proto::limits;

use super::{Churn, Fault, Scenario, ScenarioError, Span, Talk, Weather, What, Who};

impl Scenario {
    /// Checks that it can be run; [`Self::parse`] has done so.
    pub fn check(&self) -> Result<(), ScenarioError> {
        if self.name.is_empty() || self.name.chars().any(char::is_control) {
            return wrong("name must be one line of text");
        }
        within("nodes", self.nodes, 1, NODES_MAX)?;
        within("people", self.people, 0, PEOPLE_MAX)?;
        within("homes", self.homes as usize, 1, limits::RANKING_MAX)?;
        within("copies", self.copies, limits::COPIES_MIN, limits::COPIES_MAX)?;
        within("friends", self.friends, 0, self.people.saturating_sub(1))?;
        let pairs = u64::from(self.people).saturating_mul(self.friends.into());
        within("people times friends", pairs, 0, PAIRS_MAX)?;
        within("lasts", self.lasts, Span(Duration::from_secs(1)), Span::MAX)?;
        within("skew", self.skew, Span::default(), Span::MAX)?;
        self.talk.check()?;
        let acts = u64::from(self.people).saturating_mul(self.talk.acts.into());
        within("people times talk.acts", acts, 0, ACTS_MAX)?;
        self.network.check()?;
        range("disks.node_sync", self.disks.node_sync, SYNC_MAX)?;
        range("disks.device_sync", self.disks.device_sync, SYNC_MAX)?;
        none_or_within("disks.node_bytes", self.disks.node_bytes, NODE_BYTES_MIN, NODE_BYTES_MAX)?;
        let checked_every = self.disks.checked_every;
        within("disks.checked_every", checked_every, CHECKED_EVERY_MIN, CHECKED_EVERY_MAX)?;
        if let Some(churn) = &self.churn {
            churn.check()?;
            let expected = self.churned_millionths(churn) / 1_000_000;
            within("nodes that churn takes down", expected, 0, FAULTS_MAX as u64)?;
        }
        self.check_nodes_by_number()?;
        self.check_faults()
    }

    fn check_nodes_by_number(&self) -> Result<(), ScenarioError> {
        let mut seen = BTreeSet::new();
        for node in &self.behind_nat {
            self.exists("behind_nat", Who::Node(*node))?;
            if !seen.insert(*node) {
                return wrong(format!("behind_nat: node {node} is there twice"));
            }
        }
        let mut seen = BTreeSet::new();
        for adversary in &self.adversaries {
            self.exists("adversary", Who::Node(adversary.node))?;
            if !seen.insert(adversary.node) {
                return wrong(format!("adversary: node {} is one already", adversary.node));
            }
        }
        Ok(())
    }

    fn check_faults(&self) -> Result<(), ScenarioError> {
        within("number of faults", self.faults.len(), 0, FAULTS_MAX)?;
        for (number, fault) in (1..).zip(&self.faults) {
            let place = format!("fault {number}");
            within(&format!("{place}: at"), fault.at, Span::default(), self.lasts)?;
            if let Some(lasts) = fault.lasts {
                within(&format!("{place}: lasts"), lasts, Fault::MIN, Span::MAX)?;
            }
            if let Some(until) = fault.until {
                within(&format!("{place}: until"), until, fault.at, self.lasts)?;
            }
            within(&format!("{place}: some_nodes"), fault.some_nodes, 0, self.nodes)?;
            if fault.who.is_empty() && fault.some_nodes == 0 {
                return wrong(format!("{place}: who is empty"));
            }
            let mut seen = BTreeSet::new();
            for who in &fault.who {
                self.exists(&place, *who)?;
                if !seen.insert(*who) {
                    return wrong(format!("{place}: {who} is there twice"));
                }
            }
        }
        self.check_joins()
    }

    fn check_joins(&self) -> Result<(), ScenarioError> {
        let joins = || (1..).zip(&self.faults).filter(|(_, fault)| fault.what == What::Join);
        let mut joined = BTreeMap::new();
        for (number, fault) in joins() {
            if self.acquainted {
                return wrong(format!("fault {number}: no host joins late if all are acquainted"));
            }
            if fault.lasts.is_some() {
                return wrong(format!("fault {number}: a join has no `lasts`"));
            }
            if fault.until.is_some() || fault.some_nodes > 0 {
                return wrong(format!("fault {number}: a join says when and of whom"));
            }
            for who in &fault.who {
                if joined.insert(*who, fault.at).is_some() {
                    return wrong(format!("fault {number}: {who} joins twice"));
                }
            }
        }
        let early = |who: &&Who, at| joined.get(who).is_some_and(|join| *join > at);
        for (number, fault) in (1..).zip(&self.faults) {
            if let Some(who) = fault.who.iter().find(|who| early(who, fault.at)) {
                return wrong(format!("fault {number}: {who} has not joined yet at {}", fault.at));
            }
        }
        Ok(())
    }

    fn exists(&self, place: &str, who: Who) -> Result<(), ScenarioError> {
        let (number, all) = match who {
            Who::Node(number) => (number, self.nodes),
            Who::Person(number) => (number, self.people),
        };
        match number < all {
            true => Ok(()),
            false => wrong(format!("{place}: there is no {who}; they are numbered from 0")),
        }
    }
}

impl Talk {
    fn check(&self) -> Result<(), ScenarioError> {
        within("talk.every", self.every, Span::from_millis(1), Span::MAX)?;
        let chances = [
            ("talk.edits", self.edits),
            ("talk.deletions", self.deletions),
            ("talk.reactions", self.reactions),
            ("talk.reads", self.reads),
            ("talk.rekeys", self.rekeys),
        ];
        let mut millionths = 0u64;
        for (place, chance) in chances {
            within(place, chance, 0.0, 1.0)?;
            millionths = millionths.saturating_add(whole_millionths(chance));
        }
        match millionths <= 1_000_000 {
            true => Ok(()),
            false => wrong("talk: the chances add up to more than 1"),
        }
    }
}

impl Weather {
    fn check(&self) -> Result<(), ScenarioError> {
        within("network.regions", self.regions, 1, REGIONS_MAX)?;
        range("network.near", self.near, DELAY_MAX)?;
        range("network.far", self.far, DELAY_MAX)?;
        within("network.jitter", self.jitter, Span::default(), DELAY_MAX)?;
        within("network.loss", self.loss, 0.0, LOSS_MAX)?;
        within("network.duplication", self.duplication, 0.0, 1.0)?;
        within("network.reordering", self.reordering, 0.0, 1.0)?;
        none_or_within("network.device_bps", self.device_bps, BPS_MIN, BPS_MAX)?;
        none_or_within("network.node_bps", self.node_bps, BPS_MIN, BPS_MAX)
    }
}

impl Churn {
    fn check(&self) -> Result<(), ScenarioError> {
        within("churn.per_hour", self.per_hour, 0.0, 3600.0)?;
        within("churn.ungraceful", self.ungraceful, 0.0, 1.0)?;
        within("churn.away", self.away[0], Fault::MIN, Span::MAX)?;
        range("churn.away", self.away, Span::MAX)
    }
}

impl Fault {
    /// The shortest that a fault may last.
    pub(crate) const MIN: Span = Span::from_millis(1);
}

fn within<T: PartialOrd + Display>(
    place: &str,
    value: T,
    least: T,
    most: T,
) -> Result<(), ScenarioError> {
    // Written so that a number which is none fails too.
    match value >= least && value <= most {
        true => Ok(()),
        false => wrong(format!("{place} is {value}, must be from {least} to {most}")),
    }
}

fn none_or_within(place: &str, value: u64, least: u64, most: u64) -> Result<(), ScenarioError> {
    match value == 0 || (least..=most).contains(&value) {
        true => Ok(()),
        false => wrong(format!("{place} is {value}, must be 0 or from {least} to {most}")),
    }
}

fn range(place: &str, [least, most]: [Span; 2], limit: Span) -> Result<(), ScenarioError> {
    within(place, most, Span::default(), limit)?;
    match least <= most {
        true => Ok(()),
        false => wrong(format!("{place}: the least, {least}, is above the most, {most}")),
    }
}

/// How many millionths this is, rounded down: whole numbers add up to the same everywhere.
#[expect(clippy::cast_possible_truncation, reason = "what is out of range becomes the nearest")]
pub(super) fn whole_millionths(part: f64) -> u64 {
    (part * 1_000_000.0) as u64
}

fn wrong<T>(text: impl Into<String>) -> Result<T, ScenarioError> {
    Err(ScenarioError(text.into()))
}

const NODES_MAX: u32 = 20_000;
const PEOPLE_MAX: u32 = 100_000;
const PAIRS_MAX: u64 = 1_000_000;
const ACTS_MAX: u64 = 10_000_000;
const FAULTS_MAX: usize = 100_000;
const REGIONS_MAX: u32 = 100;
const DELAY_MAX: Span = Span::from_millis(10_000);
/// A slow disk takes a hundred times as long.
const SYNC_MAX: Span = Span::from_millis(1_000);
const CHECKED_EVERY_MIN: Span = Span::from_millis(60_000);
const CHECKED_EVERY_MAX: Span = Span::from_millis(24 * 3_600_000);
const LOSS_MAX: f64 = 0.5;
const BPS_MIN: u64 = 8_000;
const BPS_MAX: u64 = 1_000_000_000_000;
const NODE_BYTES_MIN: u64 = 65_536;
const NODE_BYTES_MAX: u64 = 1 << 50;
