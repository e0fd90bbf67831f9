//! `siskin node status`, `peers` and `drain`: what a running node is asked, and how that looks.

use std::path::Path;

use super::methods::{Drain, DrainProgress, NodeStatus, Peer, PeerList, StatusShow, now_s};
use crate::{
    api::Remote,
    failure::Failure,
    output::{Output, Style, safe},
    paths,
};

/// Asks the node that runs in a directory how it fares.
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

/// Waits until other nodes hold all that the node has which runs in a directory.
pub(super) async fn drain(directory: &Path, out: Output) -> Result<(), Failure> {
    let mut node = connect(directory).await?;
    loop {
        let DrainProgress { safe, left, stuck } = node.call(Drain {}).await?;
        if left > 0 {
            out.say(&format!("{safe} logs are elsewhere too, {left} are on the way, {stuck} stay"));
            continue;
        }
        out.result(&DrainProgress { safe, left, stuck }, |_| {
            format!("{safe} logs are elsewhere too")
        });
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

fn describe(status: &NodeStatus, out: Output) -> String {
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
