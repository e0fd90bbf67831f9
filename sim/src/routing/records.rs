//! What is published and looked up in these worlds: bundles, and whether lookups of them go well.

use std::{collections::BTreeMap, time::Duration};

use crypto::{
    SigningKey,
    identity::{Authority, Device, InboxKey, Phrase, UnsignedRecord},
};
use proto::{Instant, Key, NodeAddress, NodeId, Record};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use routing::{RouterCommand, RouterEvent};

use super::mesh::Mesh;
use crate::table::Table;

/// An account whose bundle is published.
pub(super) struct Account {
    pub(super) key: Key,
    /// Bundle of each version, the last of which was published last.
    pub(super) bundles: Vec<Vec<u8>>,
    /// Its home node.
    pub(super) home: u32,
    authority: Authority,
}

impl Account {
    pub(super) fn new(number: u64, home: u32) -> Self {
        let mut seed = [0x5A; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let mut rng = ChaCha20Rng::from_seed(seed);
        let authority = Authority::create(&Phrase::generate(&mut rng), &mut rng);
        let mut account =
            Self { key: authority.account().into(), bundles: Vec::new(), home, authority };
        account.renew();
        account
    }

    /// Signs the next version.
    pub(super) fn renew(&mut self) {
        let node = NodeId([1; 32]);
        let homes = vec![NodeAddress { node, addresses: vec![([192, 0, 2, 1], 4440).into()] }];
        let key = SigningKey::from_seed(self.key.0).public();
        let draft = UnsignedRecord {
            version: self.bundles.len() as u64 + 1,
            devices: vec![Device { key, added_s: 0 }],
            homes,
            copies: 2,
            inbox_key: InboxKey::from_seed([7; 32]).public(),
        };
        if let Ok(bundle) = self.authority.sign_record(draft) {
            self.bundles.push(bundle.as_bytes().to_vec());
        }
    }

    pub(super) fn newest(&self) -> Vec<u8> {
        self.bundles.last().cloned().unwrap_or_default()
    }

    pub(super) fn publish(&self, mesh: &mut Mesh) {
        let command = RouterCommand::Publish { ticket: PUBLISHED, bundle: self.newest() };
        mesh.command(self.home, command);
    }
}

/// Lookups under way, and what has come of those that ended.
#[derive(Default)]
pub(super) struct Lookups {
    asked: BTreeMap<u64, (Instant, usize)>,
    number: u64,
    pub(super) right: usize,
    /// Another version than the newest.
    pub(super) stale: usize,
    pub(super) missing: usize,
    pub(super) rounds: Values,
    pub(super) requests: Values,
    pub(super) took_ms: Values,
    /// Requests of publications.
    pub(super) publishing: Values,
}

impl Lookups {
    /// Has a host look an account up.
    pub(super) fn ask(&mut self, mesh: &mut Mesh, at: u32, account: usize, key: Key) {
        self.number += 1;
        let ticket = self.number;
        self.asked.insert(ticket, (mesh.env.now, account));
        mesh.command(at, RouterCommand::Lookup { ticket, target: key, insist: false });
    }

    /// Takes in what routers have said.
    pub(super) fn hear(&mut self, mesh: &mut Mesh, accounts: &[Account]) {
        for heard in std::mem::take(&mut mesh.heard) {
            match heard.event {
                RouterEvent::LookedUp { ticket, result } => {
                    let Some((asked, account)) = self.asked.remove(&ticket) else { continue };
                    let newest = accounts.get(account).map(|a| Record::Account(a.newest()));
                    match &result.record {
                        Some(record) if Some(record) == newest.as_ref() => self.right += 1,
                        Some(_) => self.stale += 1,
                        None => self.missing += 1,
                    }
                    self.rounds.add(result.rounds.into());
                    self.requests.add(result.requests.into());
                    self.took_ms.add(heard.at.since(asked).as_millis() as u64);
                }
                RouterEvent::Published { requests, .. } => self.publishing.add(requests.into()),
                _ => {}
            }
        }
    }

    /// Waits for pending lookups; drops those whose node has left.
    pub(super) fn finish(&mut self, mesh: &mut Mesh, accounts: &[Account]) {
        for _ in 0..60 {
            self.hear(mesh, accounts);
            if self.asked.is_empty() {
                return;
            }
            mesh.pass(Duration::from_secs(1));
        }
        self.asked.clear();
    }

    pub(super) fn ended(&self) -> usize {
        self.right + self.stale + self.missing
    }
}

const PUBLISHED: u64 = u64::MAX;

/// Many values of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(Vec<u64>);

impl Values {
    pub(super) fn add(&mut self, value: u64) {
        self.0.push(value);
    }

    pub(super) fn mean(&self) -> f64 {
        let sum: u64 = self.0.iter().sum();
        sum as f64 / self.0.len().max(1) as f64
    }

    pub(super) fn max(&self) -> u64 {
        self.0.iter().copied().max().unwrap_or_default()
    }

    /// The value below which so many of a thousand lie.
    pub(super) fn quantile(&self, thousandths: usize) -> u64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * thousandths / 1000).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or_default()
    }
}

impl FromIterator<u64> for Values {
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// A table of lookups, a row for each run of them.
pub(super) struct Sheet(Table);

impl Sheet {
    /// Creates a table whose first column says what was run; `further` columns come last.
    pub(super) fn new(first: &str, further: &[&str]) -> Self {
        Self(Table::new(&[&[first][..], &COLUMNS, further].concat()))
    }

    pub(super) fn push(&mut self, name: &str, asked: usize, lookups: &Lookups, further: &[String]) {
        let Lookups { right, stale, missing, rounds, requests, took_ms, .. } = lookups;
        let mut row = vec![
            name.to_owned(),
            format!("{:.2} % of {asked}", per_cent(*right, asked)),
            stale.to_string(),
            missing.to_string(),
            rounds.quantile(500).to_string(),
            rounds.quantile(990).to_string(),
            format!("{:.1}", requests.mean()),
            took_ms.quantile(500).to_string(),
            took_ms.quantile(990).to_string(),
        ];
        row.extend_from_slice(further);
        self.0.push(row);
    }

    pub(super) fn text(&self) -> String {
        self.0.to_string()
    }
}

const COLUMNS: [&str; 8] =
    ["lookups right", "older", "none", "rounds p50", "p99", "requests", "ms p50", "p99"];

/// What share of `all` these are, in per cent.
pub(super) fn per_cent(part: usize, all: usize) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}
