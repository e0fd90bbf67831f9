//! Makes a failing scenario as small as it gets while it still fails.

use std::ops::Range;

use crate::scenario::{Disks, Fault, Scenario, Span, Talk, Weather, Who};

#[cfg(test)]
mod tests;

/// The smallest scenario found, near this one, that still fails; `fails` is asked about others at
/// most `budget` times and never about one that isn't valid. Churn stays or goes as a whole, and
/// what faults leave to the seed stays left to it: [`Scenario::settled`] writes both out first.
pub fn shrink(scenario: Scenario, budget: u32, fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut shrinker = Shrinker { best: scenario, left: budget, fails };
    loop {
        let before = shrinker.best.clone();
        shrinker.drop_causes();
        shrinker.drop_hosts();
        shrinker.shorten();
        shrinker.calm();
        shrinker.ease_faults();
        if shrinker.left == 0 || shrinker.best == before {
            return shrinker.best;
        }
    }
}

/// The smallest failure so far. Every change makes it smaller in some respect and larger in none,
/// so that this ends.
struct Shrinker<F> {
    best: Scenario,
    left: u32,
    fails: F,
}

impl<F: FnMut(&Scenario) -> bool> Shrinker<F> {
    /// Keeps a change if the scenario still fails with it; says whether it does.
    fn attempt(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        if self.left == 0 {
            return false;
        }
        let mut changed = self.best.clone();
        change(&mut changed);
        if changed == self.best || changed.check().is_err() {
            return false;
        }
        self.left = self.left.saturating_sub(1);
        let still = (self.fails)(&changed);
        if still {
            self.best = changed;
        }
        still
    }

    /// Cuts out as many of a scenario's things as it can: all, halves, quarters, at last each.
    fn thin(
        &mut self,
        count: impl Fn(&Scenario) -> usize,
        cut: impl Fn(&mut Scenario, Range<usize>),
    ) {
        let mut size = count(&self.best);
        while size > 0 && self.left > 0 {
            // From the end, so that what is still to be tried keeps its place.
            let mut end = count(&self.best);
            while end > 0 && self.left > 0 {
                let start = end.saturating_sub(size);
                self.attempt(|scenario| cut(scenario, start..end));
                end = start;
            }
            size /= 2;
        }
    }

    /// Halves a number again and again, then takes one off, down to `least`.
    fn lower(&mut self, number: impl Fn(&mut Scenario) -> &mut u32, least: u32) {
        self.attempt(|scenario| *number(scenario) = least);
        let halve = |old: u32| (old / 2).max(least);
        while self.attempt(|scenario| *number(scenario) = halve(*number(scenario))) {}
        let less = |old: u32| old.saturating_sub(1).max(least);
        while self.attempt(|scenario| *number(scenario) = less(*number(scenario))) {}
    }

    fn drop_causes(&mut self) {
        self.thin(|s| s.faults.len(), |s, range| drop(s.faults.drain(range)));
        self.thin(|s| s.adversaries.len(), |s, range| drop(s.adversaries.drain(range)));
        self.thin(|s| s.behind_nat.len(), |s, range| drop(s.behind_nat.drain(range)));
        self.attempt(|scenario| scenario.churn = None);
    }

    fn drop_hosts(&mut self) {
        self.thin(|s| s.people as usize, drop_people);
        self.thin(|s| s.nodes as usize, drop_nodes);
        self.lower(|scenario| &mut scenario.friends, 0);
        self.lower(|scenario| &mut scenario.homes, 1);
        self.lower(|scenario| &mut scenario.copies, 2);
    }

    fn shorten(&mut self) {
        self.lower(|scenario| &mut scenario.talk.acts, 0);
        while self.attempt(|scenario| end_at(scenario, halved(scenario.lasts))) {}
        self.attempt(|scenario| {
            let last = scenario.faults.iter().map(|fault| fault.at).max();
            end_at(scenario, last.unwrap_or_default().max(SECOND).min(scenario.lasts));
        });
        self.attempt(|scenario| scenario.acquainted = true);
    }

    /// Sets back the weather, the disks, the clocks and the talk, as a whole or field by field.
    fn calm(&mut self) {
        self.attempt(|scenario| scenario.skew = Span::default());
        if !self.attempt(|scenario| scenario.network = Weather::default()) {
            let calm = Weather::default();
            self.attempt(|scenario| scenario.network.regions = calm.regions);
            self.attempt(|scenario| scenario.network.near = calm.near);
            self.attempt(|scenario| scenario.network.far = calm.far);
            self.attempt(|scenario| scenario.network.jitter = calm.jitter);
            self.attempt(|scenario| scenario.network.loss = calm.loss);
            self.attempt(|scenario| scenario.network.duplication = calm.duplication);
            self.attempt(|scenario| scenario.network.reordering = calm.reordering);
            self.attempt(|scenario| scenario.network.device_bps = calm.device_bps);
            self.attempt(|scenario| scenario.network.node_bps = calm.node_bps);
        }
        if !self.attempt(|scenario| scenario.disks = Disks::default()) {
            let calm = Disks::default();
            self.attempt(|scenario| scenario.disks.node_sync = calm.node_sync);
            self.attempt(|scenario| scenario.disks.device_sync = calm.device_sync);
            self.attempt(|scenario| scenario.disks.node_bytes = calm.node_bytes);
        }
        // Of talk, plain texts are the calmest.
        self.attempt(|scenario| scenario.talk.edits = 0.0);
        self.attempt(|scenario| scenario.talk.deletions = 0.0);
        self.attempt(|scenario| scenario.talk.reactions = 0.0);
        self.attempt(|scenario| scenario.talk.reads = 0.0);
        self.attempt(|scenario| scenario.talk.rekeys = 0.0);
        self.attempt(|scenario| scenario.talk.every = Talk::default().every);
    }

    /// Makes each fault hit fewer, earlier, more briefly and at rounder times.
    fn ease_faults(&mut self) {
        for place in 0..self.best.faults.len() {
            self.thin(
                |scenario| scenario.faults.get(place).map_or(0, |fault| fault.who.len()),
                |scenario, range| on(scenario, place, |fault| drop(fault.who.drain(range))),
            );
            while self.ease(place, |fault| fault.at = halved(fault.at)) {}
            self.ease(place, |fault| fault.at = rounded(fault.at));
            self.ease(place, |fault| {
                if fault.is_permanent() {
                    fault.lasts = Some(SECOND);
                }
            });
            while self.ease(place, |fault| fault.lasts = fault.lasts.map(briefer)) {}
            self.ease(place, |fault| fault.lasts = fault.lasts.map(rounded));
        }
    }

    fn ease(&mut self, place: usize, change: impl FnOnce(&mut Fault)) -> bool {
        self.attempt(|scenario| on(scenario, place, change))
    }
}

fn on(scenario: &mut Scenario, place: usize, change: impl FnOnce(&mut Fault)) {
    if let Some(fault) = scenario.faults.get_mut(place) {
        change(fault);
    }
}

/// Sends these people home and gives the others the numbers from 0 again.
fn drop_people(scenario: &mut Scenario, range: Range<usize>) {
    scenario.people = scenario.people.saturating_sub(length(&range));
    scenario.friends = scenario.friends.min(scenario.people.saturating_sub(1));
    keep_hosts(scenario, |who| match who {
        Who::Person(number) => renumbered(number, &range).map(Who::Person),
        Who::Node(_) => Some(who),
    });
}

fn drop_nodes(scenario: &mut Scenario, range: Range<usize>) {
    scenario.nodes = scenario.nodes.saturating_sub(length(&range));
    let number = |node: u32| renumbered(node, &range);
    scenario.behind_nat = scenario.behind_nat.iter().copied().filter_map(number).collect();
    scenario.adversaries.retain_mut(|adversary| {
        number(adversary.node).inspect(|number| adversary.node = *number).is_some()
    });
    keep_hosts(scenario, |who| match who {
        Who::Node(node) => number(node).map(Who::Node),
        Who::Person(_) => Some(who),
    });
}

/// Renames the hosts of faults. Hosts without a new name are removed, and so are faults without
/// hosts.
fn keep_hosts(scenario: &mut Scenario, name: impl Fn(Who) -> Option<Who>) {
    for fault in &mut scenario.faults {
        fault.who = fault.who.iter().copied().filter_map(&name).collect();
    }
    scenario.faults.retain(|fault| !fault.who.is_empty() || fault.some_nodes > 0);
}

fn renumbered(number: u32, gone: &Range<usize>) -> Option<u32> {
    let place = number as usize;
    match (place < gone.start, place < gone.end) {
        (true, _) => Some(number),
        (false, true) => None,
        (false, false) => Some(number.saturating_sub(length(gone))),
    }
}

fn length(range: &Range<usize>) -> u32 {
    u32::try_from(range.len()).unwrap_or(u32::MAX)
}

/// Ends a scenario earlier, without what would have gone wrong after that.
fn end_at(scenario: &mut Scenario, end: Span) {
    scenario.lasts = end;
    scenario.faults.retain(|fault| fault.at <= end);
}

/// Half of it, in whole tenths of a second.
fn halved(span: Span) -> Span {
    let tenths = span.0.as_millis() / 200;
    Span::from_millis(u64::try_from(tenths).unwrap_or_default().saturating_mul(100))
}

/// In whole seconds.
fn rounded(span: Span) -> Span {
    Span::from_millis(span.0.as_secs().saturating_mul(1000))
}

/// Half of it, but not shorter than a fault can be.
fn briefer(span: Span) -> Span {
    halved(span).max(Fault::MIN).min(span)
}

const SECOND: Span = Span::from_millis(1_000);
