//! What the run checks of its hosts: what nodes hold in the end, and how full machines are
//! meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use client::Client;
use proto::{EnvelopeId, LogId};

use crate::{
    Rule,
    adversary::Server,
    checks::{Secrets, look_through},
    driver::Driver,
    scenario::Who,
    world::World,
};

impl World<'_> {
    /// Checks all that nodes hold.
    pub(crate) fn check_nodes(&mut self) {
        let mut entries = 0_u64;
        let mut copies = Vec::new();
        let secrets = Secrets::new(&self.transports);
        for number in 0..self.scenario.nodes {
            let Some(node) = self.nodes.get(number as usize) else { continue };
            let mut holding = look_through(node.rows(), &secrets);
            if !self.scenario.excused(number) && !self.is_gone(Who::Node(number)) {
                copies.push((number, holding.take_logs(self.scenario.adversaries.is_empty())));
            }
            entries = entries.saturating_add(holding.entries);
            let allowed = self.bytes_allowed(number, holding.entries);
            for (rule, text) in holding.found {
                self.report(rule, format!("node {number}: {text}"));
            }
            if holding.bytes > allowed {
                let text = format!(
                    "node {number} holds {} bytes for {} entries, {allowed} are enough",
                    holding.bytes, holding.entries
                );
                self.report(Rule::Growth, text);
            }
        }
        self.check_copies(&copies);
        self.env.tally.stored = entries;
        let allowed = self.entries_allowed();
        if entries > allowed {
            let text =
                format!("nodes hold {entries} entries, {allowed} are enough for what was done");
            self.report(Rule::Growth, text);
        }
    }

    /// Checks that nodes which hold the same log hold the same entries.
    fn check_copies(&mut self, copies: &[(u32, BTreeMap<LogId, BTreeSet<EnvelopeId>>)]) {
        for (at, (a, logs_of_a)) in copies.iter().enumerate() {
            for (b, logs_of_b) in copies.iter().skip(at.saturating_add(1)) {
                for (log, of_a) in logs_of_a {
                    let Some(of_b) = logs_of_b.get(log) else { continue };
                    let differing = of_a.symmetric_difference(of_b).count();
                    if differing > 0 {
                        let text = format!("{differing} entries are at node {a} or {b} alone");
                        self.report(Rule::Lost, text);
                    }
                }
            }
        }
    }

    /// Checks, every so many steps, how full the collections of the machine that acts are.
    pub(crate) fn check_gauges(&mut self, who: Who) {
        if !self.env.tally.steps.is_multiple_of(GAUGES_EVERY) {
            return;
        }
        let gauges = match who {
            Who::Node(number) => {
                let driver = self.nodes.get(number as usize);
                driver.and_then(Driver::machine).map(Server::gauges)
            }
            Who::Person(number) => {
                let driver = self.devices.get(number as usize);
                driver.and_then(Driver::machine).map(Client::gauges)
            }
        };
        for gauge in gauges.unwrap_or_default() {
            if gauge.value > gauge.limit {
                let text =
                    format!("{who}: {} {}, {} at most", gauge.value, gauge.name, gauge.limit);
                self.report(Rule::Limit, text);
            }
        }
    }

    /// What is done makes so many entries at most: itself, and a receipt or two, at each of the
    /// nodes where the two are at home.
    fn entries_allowed(&self) -> u64 {
        let acts = u64::from(self.scenario.talk.acts).saturating_mul(self.scenario.people.into());
        let pairs = self.pairs().len() as u64;
        let served = (self.scenario.homes as usize).min(self.scenario.copies as usize);
        let copies = (self.scenario.nodes as usize).min(served.saturating_mul(2)) as u64;
        acts.saturating_mul(ENTRIES_PER_ACT)
            .saturating_add(pairs.saturating_mul(ENTRIES_PER_PAIR))
            .saturating_mul(copies)
    }

    fn bytes_allowed(&self, node: u32, entries: u64) -> u64 {
        let accounts =
            (0..self.scenario.people).filter(|person| self.homes(*person).any(|home| home == node));
        let accounts = (accounts.count() as u64).saturating_add(1);
        accounts
            .saturating_mul(BYTES_PER_ACCOUNT)
            .saturating_add(entries.saturating_mul(BYTES_PER_ENTRY))
    }
}

const ENTRIES_PER_ACT: u64 = 4;
const ENTRIES_PER_PAIR: u64 = 40;
const BYTES_PER_ENTRY: u64 = 5 * 1024;
const BYTES_PER_ACCOUNT: u64 = 512 * 1024;
/// Steps between two looks at gauges.
const GAUGES_EVERY: u64 = 16;
