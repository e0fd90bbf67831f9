//! What things are called in a story: by the names that were given, otherwise by a noun and a
//! number in order of appearance.

use std::collections::BTreeMap;

use proto::{AccountId, LogGenesis, LogId, PublicKey, Reference};

use crate::network::HostId;

/// All names.
#[derive(Debug, Default)]
pub(super) struct Names {
    hosts: BTreeMap<HostId, String>,
    accounts: BTreeMap<AccountId, String>,
    inboxes: BTreeMap<LogId, AccountId>,
    logs: BTreeMap<LogId, String>,
    keys: BTreeMap<PublicKey, String>,
    envelopes: BTreeMap<Reference, u64>,
    /// Nodes' copies of logs, by what the nodes call them.
    copies: BTreeMap<u64, String>,
    /// How many there are already of what.
    counts: BTreeMap<String, u64>,
}

impl Names {
    pub(super) fn name_host(&mut self, host: HostId, name: &str) {
        self.hosts.insert(host, name.to_owned());
    }

    pub(super) fn name_account(&mut self, account: AccountId, name: &str) {
        self.accounts.insert(account, name.to_owned());
        self.inboxes.insert(LogGenesis::Inbox(account).id(), account);
    }

    pub(super) fn name_log(&mut self, log: LogId, name: &str) {
        self.logs.insert(log, name.to_owned());
    }

    pub(super) fn host(&self, host: HostId) -> String {
        self.hosts.get(&host).cloned().unwrap_or_else(|| format!("host {}", host.0))
    }

    pub(super) fn account(&mut self, account: AccountId) -> String {
        if let Some(name) = self.accounts.get(&account) {
            return name.clone();
        }
        let name = self.next("account");
        self.name_account(account, &name);
        name
    }

    pub(super) fn log(&mut self, log: LogId) -> String {
        if let Some(name) = self.logs.get(&log) {
            return name.clone();
        }
        if let Some(account) = self.inboxes.get(&log) {
            return format!("{}'s inbox", self.account(*account));
        }
        let name = self.next("log");
        self.name_log(log, &name);
        name
    }

    /// The name of a key, which is a `noun` if it appears for the first time.
    pub(super) fn key(&mut self, key: PublicKey, noun: &str) -> String {
        if let Some(name) = self.keys.get(&key) {
            return name.clone();
        }
        let name = self.next(noun);
        self.keys.insert(key, name.clone());
        name
    }

    /// The name of a key that opens a log: inboxes have had theirs introduced by then, if it is
    /// an honest one.
    pub(super) fn opening_key(&mut self, key: PublicKey, log: LogId) -> String {
        let noun = if self.inboxes.contains_key(&log) { "key" } else { "epoch key" };
        self.key(key, noun)
    }

    /// The number of an envelope, the same wherever it appears.
    pub(super) fn envelope(&mut self, reference: Reference) -> u64 {
        let next = (self.envelopes.len() as u64).saturating_add(1);
        *self.envelopes.entry(reference).or_insert(next)
    }

    /// The name of a node's copy of a log.
    pub(super) fn copy(&mut self, incarnation: u64) -> String {
        if let Some(name) = self.copies.get(&incarnation) {
            return name.clone();
        }
        let name = self.next("copy");
        self.copies.insert(incarnation, name.clone());
        name
    }

    fn next(&mut self, noun: &str) -> String {
        let count = self.counts.entry(noun.to_owned()).or_default();
        *count = count.saturating_add(1);
        format!("{noun} {count}")
    }
}
