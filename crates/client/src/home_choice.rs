//! The choice of home nodes from a sample. Specified in `spec/routing.md`, section 11.

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use crypto::node::NodeRecord;
use proto::{Network, NodeAddress, NodeId, PublicKey, networks};
use sha2::{Digest, Sha256};

/// Chooses up to `count` of the nodes in a sample, the preferred ones first, to stand behind those
/// in `kept`. With each is told how long the way to it and back takes.
///
/// Weighted rendezvous hashing: a node draws as many lots as it weighs, each a hash with `secret`,
/// and the highest win. The secret is fresh and never told, so that no node can be made to win
/// for a certain account. Of a network and of an operator no more than one is taken.
pub fn choose_homes(
    sample: &[(NodeRecord, Duration)],
    kept: &[NodeAddress],
    count: usize,
    secret: &[u8; 32],
) -> Vec<NodeAddress> {
    let mut lots: Vec<(Reverse<[u8; 32]>, &NodeRecord)> = sample
        .iter()
        .filter(|(record, _)| is_usable(record))
        .map(|(record, way)| (Reverse(best_lot(record, weight(record, *way), secret)), record))
        .collect();
    lots.sort_by_key(|(lot, record)| (*lot, record.node()));
    let mut taken = Taken::default();
    let mut homes: Vec<NodeAddress> = kept.to_vec();
    homes.iter().for_each(|home| taken.add(home, None));
    for (_, record) in lots {
        if homes.len() >= count {
            break;
        }
        let addresses = record.says().addresses.clone();
        let home = NodeAddress { node: record.node(), addresses };
        if taken.admits(&home, record.says().operator) {
            taken.add(&home, record.says().operator);
            homes.push(home);
        }
    }
    homes.truncate(count);
    homes
}

/// What stands for diversity among homes.
#[derive(Default)]
struct Taken {
    nodes: BTreeSet<NodeId>,
    networks: BTreeSet<Network>,
    operators: BTreeSet<PublicKey>,
}

impl Taken {
    fn admits(&self, home: &NodeAddress, operator: Option<PublicKey>) -> bool {
        !self.nodes.contains(&home.node)
            && networks(&home.addresses).all(|network| !self.networks.contains(&network))
            && operator.is_none_or(|operator| !self.operators.contains(&operator))
    }

    fn add(&mut self, home: &NodeAddress, operator: Option<PublicKey>) {
        self.nodes.insert(home.node);
        self.networks.extend(networks(&home.addresses));
        self.operators.extend(operator);
    }
}

fn is_usable(record: &NodeRecord) -> bool {
    !record.says().addresses.is_empty() && !record.says().leaving
}

fn best_lot(record: &NodeRecord, weight: u32, secret: &[u8; 32]) -> [u8; 32] {
    let lot = |number: u32| {
        let mut hash = Sha256::new();
        hash.update(secret);
        hash.update(record.node().0);
        hash.update(number.to_be_bytes());
        <[u8; 32]>::from(hash.finalize())
    };
    (0..weight.max(1)).map(lot).max().unwrap_or_default()
}

/// How many lots a node draws: 1 to 12. The way is measured. What a node says of its capacity
/// counts up to what most have, so that a lie is worth nothing; since when it has been running, not
/// at all, for it is not measured.
fn weight(record: &NodeRecord, way: Duration) -> u32 {
    let says = record.says();
    let capacity = match says.capacity_bytes >> 30 {
        0 => 1,
        1..4 => 2,
        _ => 3,
    };
    let way = match way.as_millis() {
        0..40 => 4,
        40..120 => 3,
        120..300 => 2,
        _ => 1,
    };
    u32::saturating_mul(capacity, way)
}

#[cfg(test)]
mod tests;
