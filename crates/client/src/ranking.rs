//! Rankings: which nodes hold the log between two accounts, as their records say. Specified in
//! `spec/delivery.md`, section 2.

use crypto::identity::Bundle;
use proto::{NodeAddress, NodeId, Ranking, limits};

/// Homes of an account that its devices talk with. If it wants more copies than these have, nodes
/// see to it.
pub const ACTIVE_HOMES: usize = limits::COPIES_MIN as usize;

/// Returns the homes that are active while all are up: the first of the record, and one that can
/// take its place at once.
pub(crate) fn first_homes(bundle: &Bundle) -> &[NodeAddress] {
    let homes = bundle.homes();
    homes.get(..ACTIVE_HOMES).unwrap_or(homes)
}

/// Returns the ranking of a log between two accounts: the homes of each that hold it in turns, the
/// creator's first, then the reserve homes in the same way.
///
/// Both members come to the same one from the same records, and to one with a larger version from
/// newer ones.
pub(crate) fn ranking(creator: &Bundle, other: &Bundle) -> Ranking {
    let mut named = Vec::new();
    let nodes = in_turns(first_homes(creator), first_homes(other), &mut named);
    let reserve = |bundle: &'_ Bundle| bundle.homes().iter().skip(ACTIVE_HOMES).cloned().collect();
    let (first, second): (Vec<_>, Vec<_>) = (reserve(creator), reserve(other));
    let reserve = in_turns(&first, &second, &mut named);
    Ranking { version: age(creator).saturating_add(age(other)), nodes, reserve }
}

/// Returns the homes of two accounts that are not `named` yet, in turns, as many as a ranking has
/// room for. The same node under other addresses is no other node.
fn in_turns(
    first: &[NodeAddress],
    second: &[NodeAddress],
    named: &mut Vec<NodeId>,
) -> Vec<NodeAddress> {
    let mut nodes = Vec::new();
    for turn in 0..first.len().max(second.len()) {
        for home in [first.get(turn), second.get(turn)].into_iter().flatten() {
            if named.len() < limits::RANKING_MAX && !named.contains(&home.node) {
                named.push(home.node);
                nodes.push(home.clone());
            }
        }
    }
    nodes
}

/// Returns a number that is larger for a newer record of the same account.
fn age(bundle: &Bundle) -> u64 {
    let (rotations, serial, version) = bundle.rank();
    let part = |number: u64, bits: u32| number.min((1_u64 << bits).saturating_sub(1));
    (part(rotations, ROTATION_BITS) << (SERIAL_BITS + VERSION_BITS))
        | (part(serial, SERIAL_BITS) << VERSION_BITS)
        | part(version, VERSION_BITS)
}

/// Of the version: rotations are few, delegations rare.
const ROTATION_BITS: u32 = 4;
const SERIAL_BITS: u32 = 24;
const VERSION_BITS: u32 = 32;

#[cfg(test)]
mod tests {
    use crypto::{
        SigningKey,
        identity::{Authority, Device, InboxKey, Phrase, UnsignedRecord},
    };
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn bundle(seed: u8, version: u64, homes: &[u8]) -> Bundle {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let authority = Authority::create(&Phrase::generate(&mut rng), &mut rng);
        let key = SigningKey::from_seed([seed; 32]).public();
        let home = |node: &u8| NodeAddress {
            node: NodeId([*node; 32]),
            addresses: vec![([192, 0, 2, *node], 4440).into()],
        };
        let record = UnsignedRecord {
            version,
            devices: vec![Device { key, added_s: 1 }],
            homes: homes.iter().map(home).collect(),
            copies: 2,
            inbox_key: InboxKey::from_seed([seed; 32]).public(),
        };
        authority.sign_record(record).unwrap()
    }

    fn nodes(ranking: &Ranking) -> Vec<u8> {
        ranking.nodes.iter().map(|node| node.node.0[0]).collect()
    }

    #[test]
    fn homes_come_in_turns_the_creators_first_and_a_shared_one_once() {
        let (a, b) = (bundle(1, 1, &[7, 8, 6]), bundle(2, 1, &[9]));
        assert_eq!(nodes(&ranking(&a, &b)), [7, 9, 8]);
        let reserve = |ranking: Ranking| {
            ranking.reserve.iter().map(|node| node.node.0[0]).collect::<Vec<_>>()
        };
        assert_eq!(reserve(ranking(&a, &b)), [6]);
        let c = bundle(3, 1, &[6, 5, 7, 4, 3, 2]);
        assert_eq!(nodes(&ranking(&a, &c)), [7, 6, 8, 5]);
        assert_eq!(reserve(ranking(&a, &c)), [4, 3, 2]);
        assert_eq!(nodes(&ranking(&b, &a)), [9, 7, 8]);
        assert_eq!(nodes(&ranking(&a, &bundle(2, 1, &[7, 5]))), [7, 8, 5]);
    }

    #[test]
    fn a_newer_record_makes_a_newer_ranking() {
        let (a, b) = (bundle(1, 1, &[7]), bundle(2, 1, &[9]));
        let (later, moved) = (bundle(1, 5, &[6]), bundle(2, 2, &[5]));
        let versions = [
            ranking(&a, &b).version,
            ranking(&a, &moved).version,
            ranking(&later, &b).version,
            ranking(&later, &moved).version,
        ];
        assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
    }
}
