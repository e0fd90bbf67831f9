//! What becomes of a scenario with a seed, and of whom nothing can be asked.

use std::{collections::BTreeMap, time::Duration};

use super::{Churn, Fault, Scenario, Span, What, Who, limits::whole_millionths};
use crate::rng::Rng;

impl Scenario {
    /// All faults by time: those that the scenario names, and those that its churn comes to with
    /// this seed.
    pub(crate) fn faults_of(&self, seed: u64) -> Vec<Fault> {
        let mut faults = self.faults.clone();
        if let Some(churn) = &self.churn {
            faults.extend(self.churned(churn, &mut Rng::new(seed, "churn", 0)));
        }
        faults.sort_by_key(|fault| fault.at);
        faults
    }

    /// The same scenario with its churn and all that faults leave to the seed written out as
    /// faults, so that these can be taken away one by one.
    pub fn settled(&self, seed: u64) -> Self {
        let drawn = self.drawn(seed);
        Self { faults: drawn.faults_of(seed), churn: None, ..drawn }
    }

    /// The same scenario with faults that say when and to whom they happen. Churn is drawn
    /// later: it is large, and no host leaves permanently by it.
    pub(crate) fn drawn(&self, seed: u64) -> Self {
        let mut drawn = self.clone();
        let mut rng = Rng::new(seed, "faults", 0);
        for place in 0..drawn.faults.len() {
            let Some(fault) = drawn.faults.get(place) else { break };
            let until = fault.until.map_or(fault.at, |until| until.max(fault.at));
            let at = Span(rng.between(fault.at.0, until.0));
            let who = drawn.some_nodes(fault, &mut rng);
            if let Some(fault) = drawn.faults.get_mut(place) {
                (fault.at, fault.until, fault.some_nodes) = (at, None, 0);
                fault.who.extend(who);
            }
        }
        drawn.faults.retain(|fault| !fault.who.is_empty());
        drawn
    }

    fn some_nodes(&self, fault: &Fault, rng: &mut Rng) -> Vec<Who> {
        let joins = |who: &Who| {
            let mut joins = self.faults.iter().filter(|other| other.what == What::Join);
            joins.any(|join| join.who.contains(who))
        };
        let mut nodes: Vec<Who> = (0..self.nodes).map(Who::Node).collect();
        nodes.retain(|who| !fault.who.contains(who) && !self.leaves(*who) && !joins(who));
        let drawn = (0..fault.some_nodes.min(self.nodes)).map_while(|_| {
            let place = rng.index(nodes.len());
            (place < nodes.len()).then(|| nodes.swap_remove(place))
        });
        drawn.collect()
    }

    /// Returns whether people and conversations at this node may lose something: it is malicious,
    /// leaves permanently, can't be dialled or has a small disk, and no other one serves them.
    pub(crate) fn excused(&self, node: u32) -> bool {
        self.is_no_good(node) || self.leaves(Who::Node(node))
    }

    /// Returns whether this node is unreliable from the beginning: it is malicious, can't be
    /// dialled or has a small disk.
    pub(crate) fn is_no_good(&self, node: u32) -> bool {
        self.disks.node_bytes > 0
            || self.behind_nat.contains(&node)
            || self.adversaries.iter().any(|adversary| adversary.node == node)
    }

    /// Returns whether this host goes and never comes back.
    pub(crate) fn leaves(&self, who: Who) -> bool {
        self.faults.iter().any(|fault| fault.is_permanent() && fault.who.contains(&who))
    }

    fn churned(&self, churn: &Churn, rng: &mut Rng) -> Vec<Fault> {
        // In millionths, so that nothing is rounded differently elsewhere.
        let expected = self.churned_millionths(churn);
        let (whole, part) = (expected / MILLION, expected % MILLION);
        let number = whole.saturating_add((rng.below(MILLION) < part).into());
        let stays = self.stays();
        let mut faults = Vec::new();
        for _ in 0..number {
            let node = u32::try_from(rng.below(self.nodes.into())).unwrap_or_default();
            let at = Span(rng.between(Duration::ZERO, self.lasts.0));
            let what = if rng.chance(churn.ungraceful) { What::Crash } else { What::Stop };
            let lasts = Some(Span(rng.between(churn.away[0].0, churn.away[1].0)));
            let who = Who::Node(node);
            if stays.get(&who).is_none_or(|[from, until]| (*from..*until).contains(&at)) {
                let (until, some_nodes) = (None, 0);
                faults.push(Fault { at, until, what, who: vec![who], some_nodes, lasts });
            }
        }
        faults
    }

    /// How often nodes go down by churn, on average, times a million.
    pub(super) fn churned_millionths(&self, churn: &Churn) -> u64 {
        let per_hour = u128::from(whole_millionths(churn.per_hour));
        let hour = Duration::from_secs(3600).as_micros();
        let product = per_hour.saturating_mul(u128::from(self.nodes));
        let millionths = product.saturating_mul(self.lasts.0.as_micros()).checked_div(hour);
        millionths.and_then(|number| u64::try_from(number).ok()).unwrap_or(u64::MAX)
    }

    /// From when until when hosts are there, as far as the named faults go; others always are.
    fn stays(&self) -> BTreeMap<Who, [Span; 2]> {
        let mut stays = BTreeMap::new();
        for fault in &self.faults {
            for who in &fault.who {
                let [from, until] = stays.entry(*who).or_insert(ALWAYS);
                if fault.what == What::Join {
                    *from = fault.at;
                } else if fault.is_permanent() {
                    *until = fault.at.min(*until);
                }
            }
        }
        stays
    }
}

impl Fault {
    /// Returns whether the hosts that it hits never come back.
    pub(crate) fn is_permanent(&self) -> bool {
        self.lasts.is_none() && self.what.takes_away()
    }
}

const MILLION: u64 = 1_000_000;
const ALWAYS: [Span; 2] = [Span(Duration::ZERO), Span::MAX];
