//! What must not be found at a node, nor grow: checked on its rows and on what machines say of
//! themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use client::Client;
use proto::{Direction, Envelope, EnvelopeId, Expiry, LogId, Rows, Table};

use crate::{Rule, driver::Driver, liar::Server, model::MARKER, scenario::Who, world::World};

/// What the rows of a node hold.
#[derive(Debug, Default)]
struct Holding {
    entries: u64,
    bytes: u64,
    found: Vec<(Rule, String)>,
    /// Which log has which number.
    numbers: BTreeMap<Vec<u8>, LogId>,
    /// The entries of each log, by its number.
    logs: BTreeMap<Vec<u8>, BTreeSet<EnvelopeId>>,
    /// Those that are not kept for ever.
    passing: BTreeSet<EnvelopeId>,
}

impl World<'_> {
    /// Looks at everything that nodes hold.
    pub(crate) fn check_nodes(&mut self) {
        let mut entries = 0_u64;
        let mut copies = Vec::new();
        let secrets = Secrets::new(&self.transports);
        for number in 0..self.scenario.nodes {
            let Some(node) = self.nodes.get(number as usize) else { continue };
            let mut holding = look_through(node.rows(), &secrets);
            if !self.scenario.excused(number) && !self.is_gone(Who::Node(number)) {
                copies.push((number, holding.take_logs(self.scenario.liars.is_empty())));
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
        self.stage.tally.stored = entries;
        let allowed = self.entries_allowed();
        if entries > allowed {
            let text =
                format!("nodes hold {entries} entries, {allowed} are enough for what was done");
            self.report(Rule::Growth, text);
        }
    }

    /// Whoever holds the same log holds the same entries.
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

    /// Now and then asks the machine of a host that was just busy how full its collections are.
    pub(crate) fn check_gauges(&mut self, who: Who) {
        if !self.stage.tally.steps.is_multiple_of(GAUGES_EVERY) {
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

impl Holding {
    /// What passes is pushed and never compared: who lies does not push it.
    fn take_logs(&mut self, with_passing: bool) -> BTreeMap<LogId, BTreeSet<EnvelopeId>> {
        let logs = std::mem::take(&mut self.numbers).into_iter();
        let logs = logs.map(|(number, log)| {
            let mut entries = self.logs.remove(&number).unwrap_or_default();
            entries.retain(|entry| with_passing || !self.passing.contains(entry));
            (log, entries)
        });
        logs.collect()
    }
}

fn look_through(rows: &dyn Rows, secrets: &Secrets) -> Holding {
    let mut holding = Holding::default();
    for table in 0..TABLES_MAX {
        let table = Table(table);
        rows.scan(table, &[], &[0xFF; 64], Direction::Forward, &mut |key, value| {
            let size = key.len().saturating_add(value.len()) as u64;
            holding.bytes = holding.bytes.saturating_add(size);
            if [key, value].into_iter().any(|bytes| secrets.are_in(bytes) || holds_marker(bytes)) {
                holding.found.push((Rule::Secret, format!("a secret in table {}", table.0)));
            }
            if table == NUMBERS
                && let Ok(log) = LogId::try_from(key)
            {
                holding.numbers.insert(value.to_vec(), log);
            }
            if table == ENTRIES {
                holding.entries = holding.entries.saturating_add(1);
                let log = key.get(..8).unwrap_or_default().to_vec();
                let Ok(envelope) = Envelope::decode(value) else {
                    return ControlFlow::Continue(());
                };
                if envelope.head.expiry != Expiry::Never {
                    holding.passing.insert(envelope.id());
                }
                if !holding.logs.entry(log).or_default().insert(envelope.id()) {
                    let text = format!("an entry at position {} twice", envelope.head.position);
                    holding.found.push((Rule::Twice, text));
                }
            }
            ControlFlow::Continue(())
        });
    }
    holding
}

/// What only devices may know.
#[derive(Debug)]
struct Secrets {
    /// Which first two bytes there are, so that most windows need no second look.
    begin: Vec<bool>,
    all: BTreeSet<[u8; 32]>,
}

impl Secrets {
    fn new(all: &[[u8; 32]]) -> Self {
        let mut begin = vec![false; 1 << 16];
        for secret in all {
            if let Some(begins) = begin.get_mut(first_two(secret)) {
                *begins = true;
            }
        }
        Self { begin, all: all.iter().copied().collect() }
    }

    fn are_in(&self, bytes: &[u8]) -> bool {
        bytes.windows(32).any(|window| {
            self.begin.get(first_two(window)) == Some(&true) && self.all.contains(window)
        })
    }
}

fn first_two(bytes: &[u8]) -> usize {
    bytes.first_chunk().map_or(0, |first| u16::from_le_bytes(*first).into())
}

/// Whether bytes hold the marker of all plaintexts.
pub(crate) fn holds_marker(bytes: &[u8]) -> bool {
    holds(bytes, MARKER.as_bytes())
}

fn holds(bytes: &[u8], sought: &[u8]) -> bool {
    let Some(first) = sought.first() else { return false };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = rest.get(at..).unwrap_or_default();
        if rest.starts_with(sought) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

/// A node's table of logs: the name to the number.
const NUMBERS: Table = Table(1);
/// A node's table of entries: the number of the log in eight bytes, and a sequence, to the envelope.
const ENTRIES: Table = Table(4);
/// More than any layout has.
const TABLES_MAX: u8 = 64;
const ENTRIES_PER_ACT: u64 = 4;
const ENTRIES_PER_PAIR: u64 = 40;
const BYTES_PER_ENTRY: u64 = 5 * 1024;
const BYTES_PER_ACCOUNT: u64 = 512 * 1024;
/// Steps between two looks at gauges.
const GAUGES_EVERY: u64 = 16;
