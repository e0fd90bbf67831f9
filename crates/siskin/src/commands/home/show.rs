//! How homes, their cost and a move look.

use client::HOMES_SERVED;
use proto::NodeAddress;
use serde::Serialize;

use crate::{
    output::{Output, Style, safe},
    rpc::{Cost, Home, Homes},
};

/// What a move would do.
#[derive(Serialize)]
pub(super) struct Plan {
    from: Option<String>,
    to: Vec<String>,
    /// Conversations that the new home gets.
    conversations: u64,
    entries: u64,
    bytes: u64,
    /// Entries that this device sends there, because the contact has not acknowledged them.
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
    let role = |at: usize| if at < HOMES_SERVED { "serves" } else { "in reserve" };
    lines.extend(to.iter().enumerate().map(|(at, node)| format!("to    {node}  {}", role(at))));
    lines.push(format!(
        "copied: {conversations} conversations with {entries} entries, about {}: from the contacts' \
         homes to the new one, and from there to this device once more; {sent_again} of them this \
         device sends itself",
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
            .map(|trouble| out.styled(Style::Yellow, &format!("Not moved: {}.", safe(trouble)))),
    );
    lines.extend(homes.former.iter().map(|node| format!("left, but not yet told: {node}")));
    lines.extend(homes.untold.iter().map(|node| format!("yet to hear of the move: {node}")));
    lines.extend(homes.convicted.iter().map(|node| {
        let lost = "no home any more, for it has lost messages that it signed for";
        out.styled(Style::Yellow, &format!("{lost}: {node} (`siskin home proofs`)"))
    }));
    lines.push(copies(homes));
    lines.extend(cost(&homes.cost));
    lines.join("\n")
}

fn describe(home: &Home, out: Output) -> String {
    let role = match (home.serves, home.has_copies) {
        (true, _) => "serves",
        (false, true) => "holds copies",
        (false, false) => "in reserve",
    };
    let mut notes = vec![role.to_owned()];
    notes.push(if home.pinned { "pinned" } else { "not pinned" }.to_owned());
    notes.extend(
        home.serves.then(
            || {
                if home.up { "connected".to_owned() } else { "not connected".to_owned() }
            },
        ),
    );
    notes.push(match home.round_trip_ms {
        Some(millis) => format!("answers in {millis:.1} ms"),
        None => "does not answer".to_owned(),
    });
    notes.extend(home.trouble.as_ref().map(|trouble| safe(trouble)));
    if home.convicted {
        let lost = "has lost messages that it signed for (`siskin home proofs`); `siskin home move` leaves it";
        notes.push(out.styled(Style::Yellow, lost));
    }
    notes.push(match &home.network {
        Some(network) => format!("network {network}"),
        None => "no public network".to_owned(),
    });
    notes.push(match &home.operator {
        Some(operator) => format!("operator {operator}"),
        None => "operator not named".to_owned(),
    });
    notes.extend(home.capacity_bytes.map(|bytes| format!("{} free, as it says", sized(bytes))));
    notes.extend(home.region.as_ref().map(|region| format!("region {}", safe(region))));
    format!("{}\n  {}", out.styled(Style::Bold, &home.address), notes.join(", "))
}

/// How many of the homes hold what the account has, and when a message is called stored.
pub(super) fn copies(homes: &Homes) -> String {
    let Homes { copies, receipts, .. } = homes;
    let there = homes.homes.iter().filter(|home| home.has_copies).count();
    let lacking = match usize::try_from(*copies).unwrap_or(usize::MAX).saturating_sub(there) {
        0 => String::new(),
        lacking => format!(" ({lacking} more homes are wanted: `siskin home pin`)"),
    };
    format!(
        "copies: at {there} of your homes{lacking}; a message is stored when {receipts} nodes have \
         signed for it, or all that hold the conversation"
    )
}

/// What the set costs, in plain words.
fn cost(cost: &Cost) -> Vec<String> {
    let Cost { conversations, entries, bytes, bytes_stored, copies_min, copies_max, .. } = cost;
    if *conversations == 0 {
        return vec!["cost: no conversations yet, so nothing is copied".to_owned()];
    }
    let range = |low: u64, high: u64| {
        if low == high { low.to_string() } else { format!("{low} to {high}") }
    };
    let copies = range(*copies_min, *copies_max);
    let extra = range(copies_min.saturating_sub(1), copies_max.saturating_sub(1));
    vec![
        format!(
            "cost: {conversations} conversations with {entries} entries are {}; held by {copies} \
             nodes each they take {}",
            sized(*bytes),
            sized(*bytes_stored)
        ),
        format!(
            "      each message goes to the serving home once, and from there {extra} times to \
             another node; homes in reserve hold nothing"
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
