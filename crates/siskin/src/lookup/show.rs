//! How a record and the trace of its lookup are shown.

use proto::{Hop, HopOutcome};
use serde::Serialize;

use super::found::Found;
use crate::{
    cli::Sought,
    output::{Output, Style, date, safe},
};

/// A record, and the nodes that were asked for it.
#[derive(Serialize)]
pub(super) struct LookupResult {
    target: String,
    /// `null` if nothing was found.
    record: Option<FoundRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hops: Option<Vec<TraceHop>>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum FoundRecord {
    Account {
        /// Serial number of the delegation.
        serial: u64,
        version: u64,
        rotations: u64,
        homes: Vec<String>,
        devices: Vec<Device>,
    },
    Node {
        /// When it was signed, in seconds since the Unix epoch.
        serial: u64,
        addresses: Vec<String>,
        region: String,
        version: String,
        operator: Option<String>,
        capacity_bytes: u64,
        since_s: u64,
        leaving: bool,
    },
}

#[derive(Serialize)]
struct Device {
    key: String,
    added_s: u64,
}

#[derive(Serialize)]
struct TraceHop {
    path: u32,
    round: u32,
    node: String,
    address: Option<String>,
    outcome: &'static str,
    micros: u32,
    depth: u32,
}

impl LookupResult {
    pub(super) fn new(what: Sought, found: Option<&Found>, hops: Option<&[Hop]>) -> Self {
        let target = match what {
            Sought::Account(account) => account.to_string(),
            Sought::Node(node) => node.to_string(),
        };
        let hops = hops.map(|hops| hops.iter().map(TraceHop::new).collect());
        Self { target, record: found.map(FoundRecord::new), hops }
    }

    pub(super) fn describe(&self, out: Output) -> String {
        let mut lines = Vec::new();
        if let Some(record) = &self.record {
            lines.push(out.styled(Style::Bold, &self.target));
            lines.extend(record.describe(out));
        }
        if let Some(hops) = &self.hops {
            let head = format!(
                "{:>4}  {:>5}  {:>5}  {:>10}  {:9}  {:21}  node",
                "path", "round", "depth", "time", "outcome", "address"
            );
            lines.push(out.styled(Style::Dim, &head));
            lines.extend(hops.iter().map(TraceHop::describe));
        }
        lines.join("\n")
    }
}

impl FoundRecord {
    fn new(found: &Found) -> Self {
        match found {
            Found::Account(bundle) => {
                let (rotations, serial, version) = bundle.rank();
                let devices = bundle.devices().iter();
                let device = |device: &crypto::identity::Device| Device {
                    key: device.key.to_string(),
                    added_s: device.added_s,
                };
                Self::Account {
                    serial,
                    version,
                    rotations,
                    homes: bundle.homes().iter().map(ToString::to_string).collect(),
                    devices: devices.map(device).collect(),
                }
            }
            Found::Node(record) => {
                let says = record.says();
                Self::Node {
                    serial: says.serial,
                    addresses: says.addresses.iter().map(ToString::to_string).collect(),
                    region: says.region.clone(),
                    version: says.version.clone(),
                    operator: says.operator.map(|key| key.to_string()),
                    capacity_bytes: says.capacity_bytes,
                    since_s: says.since_s,
                    leaving: says.leaving,
                }
            }
        }
    }

    fn describe(&self, out: Output) -> Vec<String> {
        let line = |name: &str, text: &str| {
            format!("{}  {}", out.styled(Style::Dim, &format!("{name:9}")), safe(text))
        };
        match self {
            Self::Account { serial, version, rotations, homes, devices } => {
                let rank = format!("version {version}, delegation {serial}, {rotations} rotations");
                let mut lines = vec![line("record", &rank)];
                lines.extend(homes.iter().map(|home| line("home", home)));
                lines.extend(devices.iter().map(|device| {
                    line("device", &format!("{}  since {}", device.key, date(device.added_s)))
                }));
                lines
            }
            Self::Node { serial, addresses, region, version, since_s, leaving, .. } => {
                let said =
                    format!("of {}{}", date(*serial), if *leaving { ", leaving" } else { "" });
                let mut lines = vec![line("record", &said)];
                lines.extend(addresses.iter().map(|address| line("address", address)));
                lines.push(line("region", if region.is_empty() { "-" } else { region }));
                lines.push(line("version", version));
                lines.push(line("up since", &date(*since_s)));
                lines
            }
        }
    }
}

impl TraceHop {
    fn new(hop: &Hop) -> Self {
        Self {
            path: hop.path,
            round: hop.round,
            node: hop.node.to_string(),
            address: hop.address.map(|address| address.to_string()),
            outcome: match hop.outcome {
                HopOutcome::Silent => "silent",
                HopOutcome::Contacts => "contacts",
                HopOutcome::Record => "record",
                HopOutcome::Stale => "stale",
                HopOutcome::Nonsense => "nonsense",
            },
            micros: hop.micros,
            depth: hop.depth,
        }
    }

    fn describe(&self) -> String {
        let Self { path, round, node, address, outcome, micros, depth } = self;
        let time = format!("{}.{} ms", micros / 1000, micros % 1000 / 100);
        let address = address.as_deref().unwrap_or("-");
        format!("{path:>4}  {round:>5}  {depth:>5}  {time:>10}  {outcome:9}  {address:21}  {node}")
    }
}
