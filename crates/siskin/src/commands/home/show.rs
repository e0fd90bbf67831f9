//! How home nodes, their cost and a migration are shown.

use client::ACTIVE_HOMES;
use proto::NodeAddress;
use serde::Serialize;

use crate::{
    output::{Output, Style, safe},
    rpc::{Cost, Home, Homes},
};

/// The effect of a migration.
#[derive(Serialize)]
pub(super) struct Plan {
    from: Option<String>,
    to: Vec<String>,
    /// Conversations that are copied to the new home node.
    conversations: u64,
    entries: u64,
    bytes: u64,
    /// Entries that this device sends again, because the contact has not acknowledged them.
    sent_again: u64,
}

impl Plan {
    pub(super) fn new(homes: &Homes, to: &[NodeAddress]) -> Self {
        let Cost { conversations, entries, bytes, unacknowledged, .. } = homes.cost;
        Self {
            from: homes.homes.first().map(|home| home.address.clone()),
            to: to.iter().map(ToString::to_string).collect(),
            conversations,
            entries,
            bytes,
            sent_again: unacknowledged,
        }
    }
}

pub(super) fn show_plan(plan: &Plan) -> String {
    let Plan { from, to, conversations, entries, bytes, sent_again } = plan;
    let mut lines = vec![format!("from  {}", from.as_deref().unwrap_or("-"))];
    let role = |at: usize| if at < ACTIVE_HOMES { "active" } else { "in reserve" };
    lines.extend(to.iter().enumerate().map(|(at, node)| format!("to    {node}  {}", role(at))));
    lines.push(format!(
        "copied: {conversations} conversations with {entries} entries, about {}, from the \
         contacts' home nodes to the new one and to this device again; this device sends \
         {sent_again} of them itself",
        sized(*bytes)
    ));
    lines.join("\n")
}

pub(super) fn show(homes: &Homes, out: Output) -> String {
    let mut lines: Vec<String> = homes.homes.iter().map(|home| describe(home, out)).collect();
    lines.extend(homes.next.first().map(|next| format!("moving to {next}")));
    lines.extend(
        homes
            .trouble
            .iter()
            .map(|trouble| out.styled(Style::Yellow, &format!("Not migrated: {}.", safe(trouble)))),
    );
    lines.extend(
        homes.previous.iter().map(|node| format!("previous home node, not notified yet: {node}")),
    );
    lines.extend(
        homes.unannounced.iter().map(|node| format!("to be notified of the migration: {node}")),
    );
    lines.extend(homes.proven_faulty.iter().map(|node| {
        let lost = "removed, because it has lost messages for which it had signed";
        out.styled(Style::Yellow, &format!("{lost}: {node} (`siskin home proofs`)"))
    }));
    lines.push(copies(homes));
    lines.extend(cost(&homes.cost));
    lines.join("\n")
}

fn describe(home: &Home, out: Output) -> String {
    let role = match (home.active, home.has_copies) {
        (true, _) => "active",
        (false, true) => "holds copies",
        (false, false) => "in reserve",
    };
    let mut notes = vec![role.to_owned()];
    notes.push(if home.pinned { "pinned" } else { "not pinned" }.to_owned());
    notes.extend(
        home.active.then(
            || {
                if home.up { "connected".to_owned() } else { "not connected".to_owned() }
            },
        ),
    );
    notes.push(match home.round_trip_ms {
        Some(millis) => format!("RTT {millis:.1} ms"),
        None => "no answer".to_owned(),
    });
    notes.extend(home.trouble.as_ref().map(|trouble| safe(trouble)));
    if home.proven_faulty {
        let lost = "has lost messages for which it had signed (`siskin home proofs`); replace it \
                    with `siskin home move`";
        notes.push(out.styled(Style::Yellow, lost));
    }
    notes.push(match &home.network {
        Some(network) => format!("network {network}"),
        None => "no public network".to_owned(),
    });
    notes.push(match &home.operator {
        Some(operator) => format!("operator {operator}"),
        None => "unknown operator".to_owned(),
    });
    notes.extend(home.capacity_bytes.map(|bytes| format!("{} free (not verified)", sized(bytes))));
    notes.extend(home.region.as_ref().map(|region| format!("region {}", safe(region))));
    format!("{}\n  {}", out.styled(Style::Bold, &home.address), notes.join(", "))
}

/// Shows how many home nodes hold the data, and when a message counts as stored.
pub(super) fn copies(homes: &Homes) -> String {
    let Homes { copies, acks, .. } = homes;
    let there = homes.homes.iter().filter(|home| home.has_copies).count();
    let lacking = match usize::try_from(*copies).unwrap_or(usize::MAX).saturating_sub(there) {
        0 => String::new(),
        lacking => format!(" ({lacking} more home nodes are needed: `siskin home pin`)"),
    };
    format!(
        "copies: at {there} home nodes{lacking}; a message is stored when {acks} nodes, or all \
         that hold the conversation, have signed for it"
    )
}

/// Describes the cost of the home nodes.
fn cost(cost: &Cost) -> Vec<String> {
    let Cost { conversations, entries, bytes, bytes_stored, copies_min, copies_max, .. } = cost;
    if *conversations == 0 {
        return vec!["cost: none, there are no conversations yet".to_owned()];
    }
    let range = |low: u64, high: u64| {
        if low == high { low.to_string() } else { format!("{low} to {high}") }
    };
    let copies = range(*copies_min, *copies_max);
    let extra = range(copies_min.saturating_sub(1), copies_max.saturating_sub(1));
    vec![
        format!(
            "cost: {conversations} conversations with {entries} entries, {}; with {copies} copies \
             of each {}",
            sized(*bytes),
            sized(*bytes_stored)
        ),
        format!(
            "      each message is sent to the primary home once, and from there to {extra} other \
             nodes; reserve homes hold nothing"
        ),
    ]
}

fn sized(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, shift)| bytes >> shift > 0);
    let Some((unit, shift)) = unit else { return format!("{bytes} B") };
    let tenths = u128::from(bytes).saturating_mul(10) >> shift;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}
