//! The homes of the account of this device, and what they cost.

use std::{collections::BTreeSet, ops::ControlFlow};

use crypto::{group::sealed_len, identity::Bundle, node::LossProof};
use proto::{Direction, NodeAddress, NodeId, Rows};

use crate::{
    account::{self, audit, invites, key_packages, row::AccountRow},
    conversation, entries, log,
    ranking::{ACTIVE_HOMES, first_homes},
    rows::prefix_range,
};

/// Where the account is at home, and where it is about to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomesView {
    /// In the order of the record.
    pub homes: Vec<HomeView>,
    /// While the account moves: its homes after that.
    pub next: Vec<NodeAddress>,
    /// Homes that were left and that have yet to be told, or to hand over what came there.
    pub previous: Vec<NodeAddress>,
    /// Nodes that have yet to be told who holds a conversation.
    pub unannounced: Vec<NodeAddress>,
    /// Nodes that are homes no more and are proved to have lost what they signed for.
    pub proven_faulty: Vec<NodeId>,
    /// Why the next home does not take the account; empty if it does.
    pub trouble: String,
    /// How many of the homes are to hold all that the account has.
    pub copies: u32,
    /// How many nodes have to sign for a message before it is called stored, as far as there are so
    /// many.
    pub acks: u32,
    /// What they cost.
    pub cost: CostView,
}

/// One home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeView {
    /// Which node, and where.
    pub address: NodeAddress,
    /// The user has pinned it.
    pub pinned: bool,
    /// It holds the inbox and the conversations, and devices talk with it.
    pub active: bool,
    /// It holds them. Those that don't are named for when others are gone.
    pub has_copies: bool,
    /// It has taken all that it is to hold: the record, key packages and every open invite.
    pub settled: bool,
    /// Why it does not serve the account; empty if it does, or has not answered yet.
    pub trouble: String,
    /// It is proved to have lost what it signed for.
    pub proven_faulty: bool,
}

/// A node that is proved to have lost what it signed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvictionView {
    /// Convinces anybody.
    pub proof: LossProof,
    /// When it was proved, in seconds since the Unix epoch.
    pub at_s: u64,
}

/// The nodes that have lost what they signed for, homes of the account or not any more.
pub fn convictions(rows: &dyn Rows) -> Vec<ConvictionView> {
    let proofs = audit::proofs(rows).into_iter();
    proofs.map(|(proof, at_s)| ConvictionView { proof, at_s }).collect()
}

/// What conversations cost, counted from the rows of this device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CostView {
    /// Conversations.
    pub logs: u64,
    /// Their entries.
    pub entries: u64,
    /// The bytes of their envelopes, once. Key changes count as if they were messages.
    pub bytes: u64,
    /// The same, as often as there are nodes that hold them.
    pub bytes_stored: u64,
    /// Copies of a log: of the one with the fewest, and of the one with the most.
    pub copies: (u64, u64),
    /// Entries that the contact has not acknowledged: another home is sent them once more.
    pub unacknowledged: u64,
}

/// The homes of the account of this device, if there is one.
pub fn homes(rows: &dyn Rows) -> Option<HomesView> {
    let row = account::row::load(rows)?;
    let bundle = row.bundle()?;
    let faulty = audit::faulty(rows);
    let pinned: Vec<NodeId> = row.pinned().collect();
    let home = |(at, address): (usize, &NodeAddress)| HomeView {
        address: address.clone(),
        pinned: pinned.contains(&address.node),
        active: at < ACTIVE_HOMES,
        has_copies: at < bundle.copies(),
        settled: key_packages::is_last_resort_at(rows, &address.node)
            && invites::are_all_at(rows, &address.node),
        trouble: row.refusal_of(&address.node).unwrap_or_default().to_owned(),
        proven_faulty: faulty.contains(&address.node),
    };
    let extra = bundle.homes().iter().take(bundle.copies()).skip(ACTIVE_HOMES);
    let is_home = |node: &NodeId| bundle.homes().iter().any(|home| home.node == *node);
    let (cost, unannounced) = cost(rows, &extra.map(|home| home.node).collect::<Vec<_>>());
    Some(HomesView {
        homes: bundle.homes().iter().enumerate().map(home).collect(),
        next: row.next().map(|next| next.homes().to_vec()).unwrap_or_default(),
        previous: row.previous_homes(),
        unannounced,
        proven_faulty: faulty.iter().filter(|node| !is_home(node)).copied().collect(),
        copies: bundle.next_record().copies,
        acks: row.acks_needed(),
        trouble: row.migration_trouble().to_owned(),
        cost,
    })
}

/// Why none of the homes that are to serve an account does; empty if one may.
pub(super) fn trouble(row: &AccountRow, bundle: &Bundle) -> String {
    let homes = first_homes(bundle).iter();
    let whys: Option<Vec<&str>> = homes.map(|home| row.refusal_of(&home.node)).collect();
    whys.and_then(|whys| whys.first().copied()).unwrap_or_default().to_owned()
}

/// `extra` are homes that have copies without being named by rankings.
fn cost(rows: &dyn Rows, extra: &[NodeId]) -> (CostView, Vec<NodeAddress>) {
    let (mut cost, mut unannounced, mut named) = (CostView::default(), Vec::new(), BTreeSet::new());
    for (log, placement) in conversation::placements(rows) {
        let (mut entries, mut bytes) = (0_u64, 0_u64);
        let (from, to) = prefix_range(&log.0);
        entries::scan(rows, &log, &from, &to, Direction::Forward, &mut |_, row| {
            entries = entries.saturating_add(1);
            let envelope = sealed_len(row.len()).saturating_add(AROUND_CIPHERTEXT);
            bytes = bytes.saturating_add(u64::try_from(envelope).unwrap_or(u64::MAX));
            ControlFlow::Continue(())
        });
        let nodes = &placement.ranking.nodes;
        let extra = extra.iter().filter(|home| nodes.iter().all(|node| node.node != **home));
        let copies = u64::try_from(nodes.len().saturating_add(extra.count())).unwrap_or(u64::MAX);
        let (fewest, most) = cost.copies;
        let waiting = u64::try_from(log::count_unacked(rows, &log)).unwrap_or(u64::MAX);
        cost = CostView {
            logs: cost.logs.saturating_add(1),
            entries: cost.entries.saturating_add(entries),
            bytes: cost.bytes.saturating_add(bytes),
            bytes_stored: cost.bytes_stored.saturating_add(bytes.saturating_mul(copies)),
            copies: (if cost.logs == 0 { copies } else { fewest.min(copies) }, most.max(copies)),
            unacknowledged: cost.unacknowledged.saturating_add(waiting),
        };
        let is_untold = |address: &&NodeAddress| placement.unannounced.contains(&address.node);
        let news = nodes.iter().filter(is_untold).filter(|address| named.insert(address.node));
        unannounced.extend(news.cloned());
    }
    (cost, unannounced)
}

/// Of an envelope: its head and its signature.
const AROUND_CIPHERTEXT: usize = 77 + 64;
