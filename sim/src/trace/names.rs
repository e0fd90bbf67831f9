//! What ids are called in a transcript: by the names that were given, otherwise by a noun and a
//! number in order of appearance.

use std::{collections::BTreeMap, fmt::Debug};

use proto::{AccountId, LogGenesis};

use crate::network::HostId;

/// All names.
#[derive(Debug, Default)]
pub(super) struct Names {
    hosts: BTreeMap<HostId, String>,
    /// By the digits that `Debug` shows of an id: an account's place in the key space has the same
    /// ones, and so has the reference to an envelope.
    ids: BTreeMap<String, String>,
    /// How many there are already of what.
    counts: BTreeMap<String, u64>,
}

impl Names {
    pub(super) fn name_host(&mut self, host: HostId, name: &str) {
        self.hosts.insert(host, name.to_owned());
    }

    pub(super) fn name_account(&mut self, account: AccountId, name: &str) {
        self.name_id(&account, name);
        self.name_id(&LogGenesis::Inbox(account).id(), &format!("{name}'s inbox"));
    }

    pub(super) fn name_id(&mut self, id: &impl Debug, name: &str) {
        let shown = format!("{id:?}");
        let (_, digits) = shown.split_once('(').unwrap_or_default();
        self.ids.insert(digits.trim_end_matches(['…', ')']).to_owned(), name.to_owned());
    }

    pub(super) fn host(&self, host: HostId) -> String {
        self.hosts.get(&host).cloned().unwrap_or_else(|| format!("host {}", host.0))
    }

    /// The name of an id.
    pub(super) fn shown(&mut self, id: &impl Debug) -> String {
        let shown = format!("{id:?}");
        let (kind, digits) = shown.split_once('(').unwrap_or_default();
        self.id(kind, digits.trim_end_matches(['…', ')']))
    }

    /// The name of an id of this type, of which `Debug` shows these digits.
    pub(super) fn id(&mut self, kind: &str, digits: &str) -> String {
        let noun = match kind {
            "AccountId" => "account",
            "EnvelopeId" | "Reference" => "envelope",
            "LogId" => "log",
            "NodeId" => "node id",
            "PublicKey" => "key",
            _ => "id",
        };
        self.named(digits, noun)
    }

    /// The name of a node's copy of a log.
    pub(super) fn copy(&mut self, incarnation: &str) -> String {
        self.named(incarnation, "copy")
    }

    fn named(&mut self, id: &str, noun: &str) -> String {
        if let Some(name) = self.ids.get(id) {
            return name.clone();
        }
        let count = self.counts.entry(noun.to_owned()).or_default();
        *count = count.saturating_add(1);
        let name = format!("{noun} {count}");
        self.ids.insert(id.to_owned(), name.clone());
        name
    }
}
