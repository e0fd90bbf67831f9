//! Remembered ways change no answer, keep nothing of deleted keys and make what comes next cheap.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::group::key_tree::{KeyTree, tests::near};

#[derive(Clone, Debug)]
enum Step {
    Get(u64),
    Take(u64),
    Erase(Range<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    let erased =
        (near(), 0..40_u64).prop_map(|(first, n)| Step::Erase(first..first.saturating_add(n)));
    let wide = (near(), near()).prop_map(|(a, b)| Step::Erase(a.min(b)..a.max(b)));
    let (get, take) = (near().prop_map(Step::Get), near().prop_map(Step::Take));
    prop_oneof![12 => get, 4 => take, 2 => erased, 1 => wide]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_memory_changes_no_answer_and_keeps_nothing_of_deleted_keys(steps in vec(step(), 1..32)) {
        let mut tree = tree();
        let mut erased: Vec<Range<u64>> = Vec::new();
        for step in steps {
            // A copy has no memory.
            let mut without = tree.clone();
            match step {
                Step::Get(path) => prop_assert_eq!(tree.get(path), without.get(path)),
                Step::Take(path) => {
                    prop_assert_eq!(tree.take(path), without.take(path));
                    erased.push(path..path.saturating_add(1));
                }
                Step::Erase(range) => {
                    tree.erase_range(range.clone());
                    without.erase_range(range.clone());
                    erased.push(range);
                }
            }
            prop_assert_eq!(&tree, &without);
            for leaves in remembered(&tree) {
                let gone = erased.iter().find(|gone| {
                    gone.start.max(leaves.start) < gone.end.min(leaves.end)
                });
                prop_assert_eq!(gone, None, "derivable from what is remembered of {:?}", leaves);
            }
        }
        for way in &tree.ways.get().unwrap().0 {
            let mut node = Node { depth: 0, secret: Zeroizing::new(ROOT) };
            for secret in &way.secrets {
                prop_assert!(secret.as_ref().is_none_or(|secret| *secret == node.secret));
                node = node.child_towards(way.path).unwrap();
            }
        }
    }
}

#[test]
fn the_next_key_of_a_device_is_two_derivations_away() {
    let tree = tree();
    let mut derivations = 0;
    for counter in 0..1000 {
        let path = KeyTree::path(7, counter).unwrap();
        derivations += derivations_to(&tree, path);
        tree.get(path).unwrap();
    }
    assert!(derivations < 48 + 2 * 1000, "{derivations}");
}

#[test]
fn devices_that_send_by_turns_do_not_forget_each_other() {
    let tree = tree();
    let devices = u32::try_from(WAYS_MAX).unwrap();
    let mut derivations = 0;
    for (counter, leaf) in (0..200).flat_map(|counter| (0..devices).map(move |l| (counter, l))) {
        // Not neighbours, and not at the same place in their sequences.
        let path = KeyTree::path(leaf * 1000, counter + leaf * 77).unwrap();
        derivations += derivations_to(&tree, path);
        tree.get(path).unwrap();
    }
    assert!(derivations < devices * (48 + 2 * 200 + 8), "{derivations}");
}

#[test]
fn deleting_one_devices_keys_leaves_the_ways_of_the_others() {
    let mut tree = tree();
    let [ours, theirs] = [3, 900].map(|leaf| KeyTree::path(leaf, 500).unwrap());
    tree.get(ours).unwrap();
    tree.get(theirs).unwrap();
    tree.take(theirs).unwrap();
    assert!(derivations_to(&tree, ours + 1) <= 4);
}

#[test]
fn the_memory_is_bounded() {
    let tree = tree();
    for leaf in 0..100 {
        tree.get(KeyTree::path(leaf, leaf).unwrap()).unwrap();
    }
    let ways = tree.ways.get().unwrap();
    assert_eq!(ways.0.len(), WAYS_MAX);
    assert!(ways.0.iter().all(|way| way.secrets.len() == usize::from(DEPTH_MAX)));
}

#[test]
fn keys_that_are_not_there_are_not_remembered() {
    let tree = tree();
    assert_eq!(tree.get(1 << DEPTH_MAX), None);
    assert_eq!(tree.get(u64::MAX), None);
    assert_eq!(KeyTree::default().get(0), None);
    assert_eq!(remembered(&tree), []);
}

#[test]
fn a_memory_is_neither_copied_nor_compared_nor_encoded_nor_shown() {
    let (used, unused) = (tree(), tree());
    used.get(5).unwrap();
    assert_ne!(remembered(&used), []);
    assert_eq!(used, unused);
    let mut copy = used.clone();
    assert_eq!(remembered(&copy), []);
    copy.take(5).unwrap();
    assert_ne!(used.get(5), None);
    assert_eq!(used.encode(), unused.encode());
    assert_eq!(format!("{used:?}"), format!("{unused:?}"));
}

#[test]
fn a_tree_whose_memory_is_in_use_answers_too() {
    let tree = tree();
    let ways = tree.ways.get().unwrap();
    let key = tree.get(5);
    drop(ways);
    assert_eq!(remembered(&tree), []);
    assert_eq!(key, tree.get(5));
}

#[test]
fn a_tree_goes_to_other_threads() {
    fn goes<T: Send + Sync>() {}
    goes::<KeyTree>();
    goes::<crate::group::Epoch>();
}

fn tree() -> KeyTree {
    KeyTree::new(Zeroizing::new(ROOT))
}

/// Of every secret in the memory, the leaves it derives.
fn remembered(tree: &KeyTree) -> Vec<Range<u64>> {
    let ways = tree.ways.get().unwrap();
    let nodes = ways.0.iter().flat_map(|way| {
        let held = (0..).zip(&way.secrets).filter(|(_, secret)| secret.is_some());
        held.map(|(depth, _)| leaves_above(way.path, depth))
    });
    nodes.collect()
}

/// From the lowest node that is held or remembered.
fn derivations_to(tree: &KeyTree, path: u64) -> u32 {
    let near = tree.ways.get().unwrap().nearest(path).map(|node| node.depth);
    let held = tree.covering(path).map(|(_, node)| node.depth);
    u32::from(DEPTH_MAX.saturating_sub(near.max(held).unwrap()))
}

const ROOT: [u8; 32] = [1; 32];
