//! `siskin node status`, `peers` and `drain`: queries a running node and shows the answers.

use std::path::Path;

use super::methods::{Drain, DrainProgress, NodeStatus, Peer, PeerList, StatusShow, now_s};
use crate::{
    api::Remote,
    failure::Failure,
    output::{Output, Style, safe},
    paths,
};

/// Returns the status of the node that runs in a directory.
pub(crate) async fn ask_status(directory: &Path) -> Result<NodeStatus, Failure> {
    connect(directory).await?.call(StatusShow {}).await
}

pub(super) async fn status(directory: &Path, out: Output) -> Result<(), Failure> {
    let status = ask_status(directory).await?;
    out.result(&status, |status| describe(status, out));
    Ok(())
}

pub(super) async fn peers(directory: &Path, out: Output) -> Result<(), Failure> {
    let peers = connect(directory).await?.call(PeerList {}).await?;
    if out.is_json() {
        peers.iter().for_each(|peer| out.result(peer, |_| String::new()));
        return Ok(());
    }
    out.result(&peers, |peers| table(peers, out));
    Ok(())
}

/// Waits until other nodes hold everything that the local node holds.
pub(super) async fn drain(directory: &Path, out: Output) -> Result<(), Failure> {
    let mut node = connect(directory).await?;
    loop {
        let DrainProgress { safe, left, stuck } = node.call(Drain {}).await?;
        if left > 0 {
            out.say(&format!(
                "{safe} logs are copied, {left} are being copied, {stuck} can't be copied"
            ));
            continue;
        }
        out.result(&DrainProgress { safe, left, stuck }, |_| {
            format!("{safe} logs are copied to other home nodes")
        });
        if stuck == 0 {
            return Ok(());
        }
        return Err(Failure::network(format!("{stuck} logs have no other copy"))
            .hint("their accounts have no other reachable home node; they have to migrate"));
    }
}

pub(super) async fn connect(directory: &Path) -> Result<Remote, Failure> {
    Remote::connect(&paths::node_socket(directory)).await.map_err(|_| {
        Failure::user(format!("no node runs in {}", directory.display()))
            .hint("start one with `siskin node`, or name its directory with --data-dir DIR")
    })
}

fn describe(status: &NodeStatus, out: Output) -> String {
    let reachable = match status.reachable {
        Some(true) => "other nodes can dial it",
        Some(false) => "other nodes can't dial it",
        None => "no node has tried to dial it yet",
    };
    let joined = if status.joined { "joined the network" } else { "not joined yet" };
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
        ("hosts", format!("{} accounts, {} logs", status.accounts, status.logs)),
        (
            "replicas",
            format!(
                "{} incomplete, {} missing; {} nodes unreachable",
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

fn table(peers: &[Peer], out: Output) -> String {
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

/// Formats a duration, roughly.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Formats a number of bytes, roughly.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, bits)| bytes >> bits > 0);
    unit.map_or_else(|| format!("{bytes} B"), |(name, bits)| format!("{} {name}", bytes >> bits))
}
