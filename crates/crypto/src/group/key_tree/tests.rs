//! Properties of the key tree, and its vectors.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    signing::derive_key,
    vectors::{hex, read, unhex},
};

fn tree() -> KeyTree {
    KeyTree::new(Zeroizing::new([1; 32]))
}

/// Paths around which ranges and holes meet: near each other, at both ends, across devices.
pub(super) fn near() -> impl Strategy<Value = u64> {
    prop_oneof![0..40_u64, (PATHS - 40)..PATHS, ((1 << 28) - 20_u64)..((1 << 28) + 20), 0..PATHS,]
}

fn range() -> impl Strategy<Value = Range<u64>> {
    (near(), near()).prop_map(|(a, b)| a.min(b)..a.max(b))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_grant_covers_its_range_and_nothing_else(
        range in range(), probes in vec(near(), 1..16),
    ) {
        let (tree, grant) = (tree(), tree().grant(range.clone()));
        let ends = [range.start, range.end.wrapping_sub(1), range.end, range.start.wrapping_sub(1)];
        for path in probes.into_iter().chain(ends) {
            let expected = tree.get(path).filter(|_| range.contains(&path));
            prop_assert_eq!(grant.get(path), expected, "path {}", path);
        }
        prop_assert!(grant.nodes.len() <= 94);
        let covered: u64 = grant.nodes.values().map(Node::width).sum();
        prop_assert_eq!(Some(covered), range.end.checked_sub(range.start));
    }

    #[test]
    fn taken_keys_are_gone_and_all_others_stay(
        taken in vec(near(), 0..24), probes in vec(near(), 1..24),
    ) {
        let (whole, mut punctured) = (tree(), tree());
        for path in &taken {
            let key = punctured.take(*path);
            prop_assert!(key.is_none() || key == whole.get(*path));
            prop_assert_eq!(punctured.take(*path), None);
        }
        for path in probes.iter().chain(&taken) {
            let expected = whole.get(*path).filter(|_| !taken.contains(path));
            prop_assert_eq!(punctured.get(*path), expected, "path {}", path);
        }
    }

    #[test]
    fn the_order_of_taking_does_not_matter(mut taken in vec(near(), 0..24)) {
        let take_all = |paths: &[u64]| {
            let mut tree = tree();
            for path in paths {
                tree.take(*path);
            }
            tree
        };
        let one = take_all(&taken);
        taken.reverse();
        prop_assert_eq!(&one, &take_all(&taken));
        taken.sort_unstable();
        prop_assert_eq!(&one, &take_all(&taken));
    }

    #[test]
    fn erasing_a_range_is_taking_each_of_it(start in near(), length in 0..40_u64) {
        let range = start..start.saturating_add(length).min(PATHS);
        let (mut erased, mut taken) = (tree(), tree());
        erased.erase_range(range.clone());
        for path in range {
            taken.take(path);
        }
        prop_assert_eq!(erased, taken);
    }

    #[test]
    fn a_grant_never_brings_back_what_was_erased(
        erased in vec(range(), 0..6), granted in range(), probes in vec(near(), 1..16),
    ) {
        let (whole, mut punctured) = (tree(), tree());
        for range in &erased {
            punctured.erase_range(range.clone());
        }
        let grant = punctured.grant(granted.clone());
        let ends = erased.iter().flat_map(|range| [range.start, range.end.wrapping_sub(1)]);
        for path in probes.into_iter().chain(ends) {
            let expected = whole.get(path).filter(|_| {
                granted.contains(&path) && !erased.iter().any(|range| range.contains(&path))
            });
            prop_assert_eq!(grant.get(path), expected, "path {}", path);
        }
    }

    #[test]
    fn a_tree_survives_its_encoding(erased in vec(range(), 0..6)) {
        let mut tree = tree();
        for range in erased {
            tree.erase_range(range);
        }
        prop_assert_eq!(KeyTree::decode(&tree.encode()), Some(tree));
    }

    #[test]
    fn decoding_never_panics(bytes in vec(any::<u8>(), 0..400)) {
        if let Some(tree) = KeyTree::decode(&bytes) {
            prop_assert_eq!(&*tree.encode(), &bytes);
        }
    }
}

#[test]
fn paths_end_where_the_tree_does() {
    assert_eq!(KeyTree::path(0, 0), Some(0));
    assert_eq!(KeyTree::path(1, 0), Some(1 << 28));
    assert_eq!(KeyTree::path((1 << 20) - 1, (1 << 28) - 1), Some(PATHS - 1));
    assert_eq!(KeyTree::path(1 << 20, 0), None);
    assert_eq!(KeyTree::path(0, 1 << 28), None);
    assert_eq!(tree().get(PATHS), None);
    assert_eq!(tree().get(u64::MAX), None);
}

#[test]
fn ranges_beyond_the_tree_and_reversed_ranges_are_harmless() {
    let mut tree = tree();
    tree.erase_range(PATHS..u64::MAX);
    #[expect(clippy::reversed_empty_ranges, reason = "that is the test")]
    tree.erase_range(9..3);
    assert_eq!(tree.grant(0..u64::MAX), tree);
    tree.erase_range(0..u64::MAX);
    assert_eq!(tree, KeyTree::default());
}

#[test]
fn a_tree_consumed_in_order_stays_small() {
    let mut tree = tree();
    for path in 0..1000 {
        assert!(tree.take(path).is_some());
        assert!(tree.nodes.len() <= 48);
    }
}

#[test]
fn trees_out_of_order_or_overlapping_are_refused() {
    let nodes = tree().grant(5..1000).encode();
    let mut swapped = nodes.to_vec();
    swapped.rotate_left(NODE_LEN);
    assert_eq!(KeyTree::decode(&swapped), None);
    let twice = [&nodes[..NODE_LEN], &nodes[..]].concat();
    assert_eq!(KeyTree::decode(&twice), None);
    let below_another = [&tree().encode()[..], &nodes].concat();
    assert_eq!(KeyTree::decode(&below_another), None);

    let mut misaligned = tree().grant(0..2).encode();
    misaligned[6] = 1;
    assert_eq!(KeyTree::decode(&misaligned), None);
    let mut too_deep = tree().grant(0..1).encode();
    too_deep[0] = 49;
    assert_eq!(KeyTree::decode(&too_deep), None);
    let mut beyond = tree().encode();
    beyond[1] = 1;
    assert_eq!(KeyTree::decode(&beyond), None);
}

#[test]
fn grants_of_unreasonable_size_are_refused() {
    let mut tree = tree();
    for path in (0..8200).step_by(2) {
        tree.take(path);
    }
    let odd = tree.grant(0..8200).encode();
    assert_eq!(KeyTree::from_grant(&odd), None);
    let fewer = tree.grant(0..8000);
    assert_eq!(KeyTree::from_grant(&fewer.encode()), Some(fewer));
}

#[test]
fn agrees_with_the_known_answers() {
    let vectors = read(include_str!("../../../../../spec/vectors/key_tree.txt"));
    let secret = |name| Zeroizing::new(<[u8; 32]>::try_from(unhex(vectors[name])).unwrap());
    let x = derive_key(&secret("x_secret"), vectors["x_label"], &unhex(vectors["x_context"]));
    assert_eq!(hex(*x), vectors["x_result"]);

    let tree = KeyTree::new(secret("root"));
    let [leaf, counter] = ["leaf", "counter"].map(|name| vectors[name].parse().unwrap());
    let path = KeyTree::path(leaf, counter).unwrap();
    assert_eq!(hex(&path.to_be_bytes()[2..]), vectors["path"]);
    for depth in [1, 20, 48] {
        let width = 1_u64 << (48 - depth);
        let first = path / width * width;
        let node = tree.grant(first..first + width).encode();
        assert_eq!(hex(&node), vectors[format!("node_at_depth_{depth}").as_str()]);
    }
    assert_eq!(hex(*tree.get(path).unwrap()), vectors["leaf_key"]);

    let middle = 1 << 27;
    for range in [0..1, 5..1000, middle - 1..middle + 1] {
        let name = format!("grant_{}_{}", range.start, range.end);
        assert_eq!(hex(tree.grant(range).encode()), vectors[name.as_str()]);
    }
    let mut taken = tree;
    for path in 0..100 {
        taken.take(path).unwrap();
    }
    assert_eq!(hex(taken.encode()), vectors["after_taking_0_to_99"]);
}

#[test]
fn debug_shows_no_secret() {
    let mut tree = tree();
    tree.take(0);
    assert_eq!(format!("{tree:?}"), "KeyTree { nodes: 48, .. }");
}

const PATHS: u64 = 1 << 48;
