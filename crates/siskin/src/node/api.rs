//! What a node that runs tells its operator, over a socket in its directory, and how that looks.
//! Specified in `spec/local-api.md`, section 5.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ::node::{Drained, NodeCommand, NodeEvent, NodePeer, Status};
use net::Reader;
use proto::NodeAddress;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::UnixStream;

use super::{
    backup_file::{BackupShape, Place, back_up_running},
    handle::NodeHandle,
};
use crate::{
    failure::Failure,
    output::{Output, Style, safe},
    paths,
    rpc::{Refusal, Remote, answer_by},
};

/// How a node fares.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StatusShape {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) node: String,
    /// What others need to use it.
    pub(crate) address: String,
    pub(crate) joined: bool,
    /// Null as long as nobody has tried.
    pub(crate) reachable: Option<bool>,
    pub(crate) up_s: u64,
    pub(crate) connections: u64,
    pub(crate) contacts: u64,
    pub(crate) links: u64,
    pub(crate) neighbours: u64,
    pub(crate) records: u64,
    pub(crate) accounts: u64,
    pub(crate) logs: u64,
    /// Copies at other nodes that may lack something.
    pub(crate) copies_behind: u64,
    /// Logs of which a home that is to have a copy has none.
    pub(crate) copies_lacking: u64,
    /// Nodes whose place others take.
    pub(crate) nodes_gone: u64,
    pub(crate) disk_used: u64,
    pub(crate) disk_cap: u64,
    pub(crate) devices_served: ServedShape,
    pub(crate) nodes_served: RoutedShape,
}

/// What was done for devices since the process started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServedShape {
    pub(crate) appended: u64,
    pub(crate) duplicates: u64,
    pub(crate) delivered: u64,
    pub(crate) pages: u64,
    pub(crate) signals: u64,
    pub(crate) expired: u64,
    pub(crate) refused: u64,
    pub(crate) dropped: u64,
}

/// What was done for nodes since the process started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RoutedShape {
    pub(crate) requests: u64,
    pub(crate) answers: u64,
    pub(crate) refused: u64,
    pub(crate) dropped: u64,
}

/// A node that is connected.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PeerShape {
    pub(crate) node: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) region: String,
    pub(crate) version: String,
    /// Since when it has been running, as it says; seconds since the Unix epoch.
    pub(crate) since_s: u64,
    /// The two gossip with each other.
    pub(crate) neighbour: bool,
}

/// How many of its logs others hold too.
#[derive(Debug, Serialize, Deserialize)]
struct DrainShape {
    /// Two other homes of the account have all of it, or the only other one.
    safe: u64,
    /// They are getting it.
    left: u64,
    /// Their account has no other home that can be reached.
    stuck: u64,
}

/// What a node that runs is asked on its socket.
pub(super) struct Api {
    pub(super) handle: Arc<NodeHandle>,
    /// What others need to use it, if they can dial it.
    pub(super) address: String,
    pub(super) reader: Reader,
    pub(super) directory: PathBuf,
}

impl Api {
    /// Answers whoever has connected to the socket.
    pub(super) async fn converse(self: Arc<Self>, stream: UnixStream) {
        answer_by(stream, |method, params| {
            let api = Arc::clone(&self);
            async move { api.answer(&method, params).await }
        })
        .await;
    }

    async fn answer(&self, method: &str, params: Value) -> Option<Result<Value, Refusal>> {
        if method == BACKUP {
            return Some(match serde_json::from_value(params) {
                Ok(place) => value(back_up_running(&self.reader, &self.directory, place).await),
                Err(error) => Err(Refusal::Params(error.to_string())),
            });
        }
        let takes_none = params.is_null() || params.as_object().is_some_and(|p| p.is_empty());
        if !takes_none {
            return Some(Err(Refusal::Params("there are no parameters".to_owned())));
        }
        match method {
            STATUS => Some(value(status(&self.handle, &self.address).await)),
            PEERS => Some(value(peers(&self.handle).await)),
            DRAIN => Some(value(drained(&self.handle).await)),
            _ => None,
        }
    }
}

/// Has a node that runs back itself up.
pub(super) async fn ask_backup(mut node: Remote, place: &Place) -> Result<BackupShape, Failure> {
    let params = serde_json::to_value(place).map_err(|error| Failure::user(error.to_string()))?;
    node.ask(BACKUP, params).await
}

/// Asks the node that runs in a directory how it fares.
pub(crate) async fn ask_status(directory: &Path) -> Result<StatusShape, Failure> {
    connect(directory).await?.ask(STATUS, Value::Null).await
}

pub(super) async fn show_status(directory: &Path, out: Output) -> Result<(), Failure> {
    let status = ask_status(directory).await?;
    out.result(&status, |status| describe(status, out));
    Ok(())
}

pub(super) async fn show_peers(directory: &Path, out: Output) -> Result<(), Failure> {
    let peers: Vec<PeerShape> = connect(directory).await?.ask(PEERS, Value::Null).await?;
    if out.is_json() {
        peers.iter().for_each(|peer| out.result(peer, |_| String::new()));
        return Ok(());
    }
    out.result(&peers, |peers| table(peers, out));
    Ok(())
}

/// Waits until other nodes hold all that the node has which runs in a directory.
pub(super) async fn drain(directory: &Path, out: Output) -> Result<(), Failure> {
    let mut node = connect(directory).await?;
    loop {
        let DrainShape { safe, left, stuck } = node.ask(DRAIN, Value::Null).await?;
        if left > 0 {
            out.say(&format!("{safe} logs are elsewhere too, {left} are on the way, {stuck} stay"));
            continue;
        }
        out.result(&DrainShape { safe, left, stuck }, |_| format!("{safe} logs are elsewhere too"));
        if stuck == 0 {
            return Ok(());
        }
        return Err(Failure::network(format!("{stuck} logs are nowhere else"))
            .hint("their accounts name no other home that can be reached; they have to move"));
    }
}

pub(super) async fn connect(directory: &Path) -> Result<Remote, Failure> {
    Remote::connect(&paths::node_socket(directory)).await.map_err(|_| {
        Failure::user(format!("no node runs in {}", directory.display()))
            .hint("start one with `siskin node`, or say where it is with --data-dir DIR")
    })
}

/// Where others find the node: by a port of another one, if it can't be dialled itself.
fn reached_at(status: &Status, told: &str) -> String {
    let addresses = status.addresses.clone();
    let is_told = addresses.is_empty() || status.reachable.is_none();
    if is_told { told.to_owned() } else { NodeAddress { node: status.node, addresses }.to_string() }
}

async fn status(handle: &NodeHandle, address: &str) -> Result<StatusShape, Failure> {
    let NodeEvent::Status { status, .. } = handle.ask(NodeCommand::Status).await? else {
        return Err(Failure::user("the node does not say"));
    };
    let address = reached_at(&status, address);
    let Status { counters, routing, .. } = *status;
    let sum = |counts: &mut dyn Iterator<Item = &u64>| {
        counts.fold(0_u64, |sum, count| sum.saturating_add(*count))
    };
    Ok(StatusShape {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        node: status.node.to_string(),
        address,
        joined: handle.state().joined,
        reachable: status.reachable,
        up_s: now_s().saturating_sub(status.since_s),
        connections: status.connections,
        contacts: status.contacts,
        links: status.links,
        neighbours: status.neighbours,
        records: status.records,
        accounts: status.accounts,
        logs: status.logs,
        copies_behind: status.copies_behind,
        copies_lacking: status.copies_lacking,
        nodes_gone: status.nodes_gone,
        disk_used: status.disk_used_bytes,
        disk_cap: status.disk_cap_bytes,
        devices_served: ServedShape {
            appended: counters.appended,
            duplicates: counters.duplicates,
            delivered: counters.delivered,
            pages: counters.pages,
            signals: counters.signals,
            expired: counters.expired,
            refused: sum(&mut counters.refused.values()),
            dropped: sum(&mut counters.dropped.values()),
        },
        nodes_served: RoutedShape {
            requests: routing.requests,
            answers: routing.answers,
            refused: routing.refused,
            dropped: routing.dropped,
        },
    })
}

async fn peers(handle: &NodeHandle) -> Result<Vec<PeerShape>, Failure> {
    let NodeEvent::Peers { peers, .. } = handle.ask(NodeCommand::Peers).await? else {
        return Err(Failure::user("the node does not say"));
    };
    let shape = |NodePeer { record, neighbour }: NodePeer| {
        let says = record.says();
        PeerShape {
            node: record.node().to_string(),
            addresses: says.addresses.iter().map(ToString::to_string).collect(),
            region: says.region.clone(),
            version: says.version.clone(),
            since_s: says.since_s,
            neighbour,
        }
    };
    Ok(peers.into_iter().map(shape).collect())
}

async fn drained(handle: &NodeHandle) -> Result<DrainShape, Failure> {
    let NodeEvent::Drained { drained, .. } = handle.ask(NodeCommand::Drain).await? else {
        return Err(Failure::user("the node does not say"));
    };
    let Drained { safe, left, stuck } = drained;
    Ok(DrainShape { safe, left, stuck })
}

fn value<T: Serialize>(result: Result<T, Failure>) -> Result<Value, Refusal> {
    let value = result.map_err(Refusal::Failed)?;
    serde_json::to_value(value).map_err(|error| Refusal::Failed(Failure::user(error.to_string())))
}

fn describe(status: &StatusShape, out: Output) -> String {
    let reachable = match status.reachable {
        Some(true) => "others can dial it",
        Some(false) => "others can't dial it",
        None => "nobody has tried to dial it yet",
    };
    let joined = if status.joined { "has found the network" } else { "has found no other node" };
    let served = &status.devices_served;
    let routed = &status.nodes_served;
    let lines = [
        ("address", safe(&status.address)),
        ("state", format!("up {}; {joined}; {reachable}", duration(status.up_s))),
        (
            "network",
            format!(
                "{} contacts, {} connected, {} neighbours, {} records kept",
                status.contacts, status.links, status.neighbours, status.records
            ),
        ),
        ("at home", format!("{} accounts, {} logs", status.accounts, status.logs)),
        (
            "elsewhere",
            format!(
                "{} copies of logs lack something, {} logs lack a copy, {} nodes are gone",
                status.copies_behind, status.copies_lacking, status.nodes_gone
            ),
        ),
        ("disk", format!("{} of {}", size(status.disk_used), size(status.disk_cap))),
        ("connections", status.connections.to_string()),
        (
            "devices",
            format!(
                "{} envelopes stored, {} delivered, {} requests refused, {} dropped",
                served.appended, served.delivered, served.refused, served.dropped
            ),
        ),
        (
            "nodes",
            format!(
                "{} requests, {} answers, {} refused, {} dropped",
                routed.requests, routed.answers, routed.refused, routed.dropped
            ),
        ),
    ];
    let line = |(name, text): &(&str, String)| {
        format!("{}  {text}", out.styled(Style::Dim, &format!("{name:11}")))
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn table(peers: &[PeerShape], out: Output) -> String {
    if peers.is_empty() {
        out.say("no other node is connected");
        return String::new();
    }
    let head = format!("{:67}  {:21}  {:16}  {:>8}  neighbour", "node", "address", "region", "up");
    let mut lines = vec![out.styled(Style::Dim, &head)];
    for peer in peers {
        let address = peer.addresses.first().map_or("-", String::as_str);
        let region = if peer.region.is_empty() { "-" } else { &peer.region };
        let up = duration(now_s().saturating_sub(peer.since_s));
        let neighbour = if peer.neighbour { "yes" } else { "no" };
        let (node, region) = (safe(&peer.node), safe(region));
        lines.push(format!("{node:67}  {address:21}  {region:16}  {up:>8}  {neighbour}"));
    }
    lines.join("\n")
}

/// A span of time, roughly.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Bytes, roughly.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, bits)| bytes >> bits > 0);
    unit.map_or_else(|| format!("{bytes} B"), |(name, bits)| format!("{} {name}", bytes >> bits))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const BACKUP: &str = "node.backup";
const STATUS: &str = "node.status";
const PEERS: &str = "node.peers";
const DRAIN: &str = "node.drain";
