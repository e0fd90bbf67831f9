//! The homes of the account of this device, and what they cost.

use std::{collections::BTreeSet, ops::ControlFlow};

use crypto::{Bundle, LossProof, sealed_len};
use prost::Message;
use proto::{NodeAddress, NodeId, Ranking, Rows};

use crate::{
    account,
    schema::{
        self, ACCOUNT, CONVERSATIONS, CONVICTIONS, INVITES, KEPT, KEY_PACKAGES, MESSAGES,
        MessageRow, OUTBOX,
    },
};

/// Where the account is at home, and where it is about to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomesView {
    /// In the order of the record.
    pub homes: Vec<HomeView>,
    /// While the account moves: its homes after that.
    pub next: Vec<NodeAddress>,
    /// Homes that were left and that have yet to be told, or to hand over what came there.
    pub former: Vec<NodeAddress>,
    /// Nodes that have yet to be told who holds a conversation.
    pub untold: Vec<NodeAddress>,
    /// Nodes that are homes no more and are proved to have lost what they signed for.
    pub convicted: Vec<NodeId>,
    /// Why the next home does not take the account; empty if it does.
    pub trouble: String,
    /// How many of the homes are to hold all that the account has.
    pub copies: u32,
    /// How many nodes have to sign for a message before it is called stored, as far as there are so many.
    pub receipts: u32,
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
    pub serves: bool,
    /// It holds them. Those that don't are named for when others are gone.
    pub has_copies: bool,
    /// It has taken all that it is to hold: the record, key packages and every open invite.
    pub settled: bool,
    /// Why it does not serve the account; empty if it does, or has not answered yet.
    pub trouble: String,
    /// It is proved to have lost what it signed for.
    pub convicted: bool,
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
    let rows = schema::load_all::<schema::Conviction>(rows, CONVICTIONS, b"").into_iter();
    let view = |row: schema::Conviction| {
        Some(ConvictionView { proof: LossProof::decode(&row.proof).ok()?, at_s: row.at_s })
    };
    rows.filter_map(|(_, row)| view(row)).collect()
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
    let row: schema::Account = schema::load(rows, ACCOUNT, b"")?;
    let bundle = Bundle::verify(&row.bundle).ok()?;
    let packages = schema::load_all::<schema::KeyPackage>(rows, KEY_PACKAGES, b"");
    let invites = schema::load_all::<schema::Invite>(rows, INVITES, b"");
    let home = |(at, address): (usize, &NodeAddress)| HomeView {
        address: address.clone(),
        pinned: row.pinned.iter().any(|node| *node == address.node.0),
        serves: at < account::HOMES_SERVED,
        has_copies: at < bundle.copies(),
        settled: packages
            .iter()
            .any(|(_, package)| package.last_resort && package.is_at(&address.node))
            && invites.iter().all(|(_, invite)| invite.is_at(&address.node)),
        trouble: why_not(&row, &address.node).unwrap_or_default(),
        convicted: rows.get(CONVICTIONS, &address.node.0).is_some(),
    };
    let next = account::next(&row).map(|next| next.homes().to_vec()).unwrap_or_default();
    let former = row.former.iter().filter_map(|former| former.home.as_ref());
    let extra = bundle.homes().iter().take(bundle.copies()).skip(account::HOMES_SERVED);
    let convicted = schema::load_all::<schema::Conviction>(rows, CONVICTIONS, b"").into_iter();
    let convicted = convicted.filter_map(|(node, _)| NodeId::try_from(node.as_slice()).ok());
    let is_home = |node: &NodeId| bundle.homes().iter().any(|home| home.node == *node);
    let (cost, untold) = cost(rows, &extra.map(|home| home.node).collect::<Vec<_>>());
    Some(HomesView {
        homes: bundle.homes().iter().enumerate().map(home).collect(),
        next,
        former: former.filter_map(|home| NodeAddress::try_from(home).ok()).collect(),
        untold,
        convicted: convicted.filter(|node| !is_home(node)).collect(),
        copies: bundle.next_draft().copies,
        receipts: row.receipts.max(u32::try_from(account::RECEIPTS_MIN).unwrap_or(u32::MAX)),
        trouble: row.moving_trouble,
        cost,
    })
}

/// Why none of the homes that are to serve an account does; empty if one may.
pub(super) fn trouble(row: &schema::Account, bundle: &Bundle) -> String {
    let served = account::served(bundle).iter();
    let whys: Option<Vec<String>> = served.map(|home| why_not(row, &home.node)).collect();
    whys.and_then(|whys| whys.into_iter().next()).unwrap_or_default()
}

fn why_not(row: &schema::Account, node: &NodeId) -> Option<String> {
    let refusal = row.refusals.iter().find(|refusal| refusal.node == node.0)?;
    Some(refusal.why.clone())
}

/// `extra` are homes that have copies without being named by rankings.
fn cost(rows: &dyn Rows, extra: &[NodeId]) -> (CostView, Vec<NodeAddress>) {
    let (mut cost, mut untold, mut named) = (CostView::default(), Vec::new(), BTreeSet::new());
    for (log, row) in schema::load_all::<schema::Conversation>(rows, CONVERSATIONS, b"") {
        let ranking = row.ranking.and_then(|ranking| Ranking::try_from(ranking).ok());
        let nodes = ranking.map(|ranking| ranking.nodes).unwrap_or_default();
        let (mut entries, mut bytes) = (0_u64, 0_u64);
        schema::each(rows, MESSAGES, &log, &mut |_, value| {
            let content = MessageRow::decode(value).map_or(0, |row| row.content.len());
            entries = entries.saturating_add(1);
            let envelope = sealed_len(content).saturating_add(AROUND_CIPHERTEXT);
            bytes = bytes.saturating_add(u64::try_from(envelope).unwrap_or(u64::MAX));
            ControlFlow::Continue(())
        });
        let extra = extra.iter().filter(|home| nodes.iter().all(|node| node.node != **home));
        let copies = u64::try_from(nodes.len().saturating_add(extra.count())).unwrap_or(u64::MAX);
        let (fewest, most) = cost.copies;
        cost = CostView {
            logs: cost.logs.saturating_add(1),
            entries: cost.entries.saturating_add(entries),
            bytes: cost.bytes.saturating_add(bytes),
            bytes_stored: cost.bytes_stored.saturating_add(bytes.saturating_mul(copies)),
            copies: (if cost.logs == 0 { copies } else { fewest.min(copies) }, most.max(copies)),
            unacknowledged: [KEPT, OUTBOX].into_iter().fold(cost.unacknowledged, |sum, table| {
                let count = super::count(rows, table, &log);
                sum.saturating_add(u64::try_from(count).unwrap_or(u64::MAX))
            }),
        };
        let is_untold = |node: &NodeId| row.untold.iter().any(|untold| *untold == node.0);
        untold.extend(
            nodes
                .into_iter()
                .filter(|address| is_untold(&address.node) && named.insert(address.node)),
        );
    }
    (cost, untold)
}

/// Of an envelope: its head and its signature.
const AROUND_CIPHERTEXT: usize = 77 + 64;
