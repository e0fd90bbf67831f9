//! Differences are found, and forged symbols are rejected.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::{
    Comparison, DIFFERENCES_MAX, Difference, Error, Item, Key, Sketch,
    sketch::{PORTION_MAX, SYMBOLS_MAX},
};

const KEY: Key = Key([7; 16]);

fn item(number: u64) -> Item {
    *Sha256::digest(number.to_be_bytes()).first_chunk().unwrap()
}

fn items(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<Item> {
    numbers.into_iter().map(item).collect()
}

/// Returns the result, and how many symbols it took.
fn compare(
    ours: &BTreeSet<Item>,
    theirs: &BTreeSet<Item>,
    mut bend: impl FnMut(&mut Vec<u8>),
) -> (Result<Difference, Error>, usize) {
    let (mut comparison, mut sketch) = (Comparison::new(KEY), Sketch::new(KEY));
    loop {
        let wants = comparison.wants();
        let Ok(mut portion) = sketch.portion(wants.clone(), theirs.iter().copied()) else {
            return (Err(Error::TooDifferent), wants.end);
        };
        bend(&mut portion);
        match comparison.hear(&portion, ours.iter().copied()) {
            Ok(None) => {}
            Ok(Some(difference)) => return (Ok(difference), wants.end),
            Err(error) => return (Err(error), wants.end),
        }
    }
}

fn right(ours: &BTreeSet<Item>, theirs: &BTreeSet<Item>) -> Difference {
    Difference {
        ours: ours.difference(theirs).copied().collect(),
        theirs: theirs.difference(ours).copied().collect(),
    }
}

fn sets() -> impl Strategy<Value = (BTreeSet<Item>, BTreeSet<Item>)> {
    let numbers = || proptest::collection::vec(0..500_u64, 0..300);
    (numbers(), numbers(), numbers()).prop_map(|(both, one, other)| {
        let with = |more: Vec<u64>| items(both.iter().copied().chain(more));
        (with(one), with(other))
    })
}

proptest! {
    #[test]
    fn what_differs_is_found(sets in sets()) {
        let (ours, theirs) = sets;
        let (found, _) = compare(&ours, &theirs, |_| {});
        prop_assert_eq!(found, Ok(right(&ours, &theirs)));
    }

    #[test]
    fn flipped_bits_are_never_believed(sets in sets(), at: prop::sample::Index, bit in 0..8) {
        let (ours, theirs) = sets;
        let mut flipped = false;
        let (found, _) = compare(&ours, &theirs, |portion| {
            if !std::mem::replace(&mut flipped, true) {
                let at = at.index(portion.len());
                portion[at] ^= 1_u8 << bit;
            }
        });
        if let Ok(found) = found {
            prop_assert_eq!(found, right(&ours, &theirs));
        }
    }

    #[test]
    fn arbitrary_bytes_may_arrive(portion: Vec<u8>, sets in sets()) {
        let _ = Comparison::new(KEY).hear(&portion, sets.0);
    }
}

#[test]
fn equal_sets_cost_eight_symbols() {
    let set = items(0..10_000);
    assert_eq!(compare(&set, &set, |_| {}), (Ok(Difference::default()), 8));
    let portion = Sketch::new(KEY).portion(0..8, set).unwrap();
    assert!(portion.len() < 224, "{}", portion.len());
}

#[test]
fn symbols_grow_with_the_difference_and_not_with_the_sets() {
    for (differences, most) in
        [(1_u64, 8), (10, 32), (100, 512), (300, 512), (1000, 1728), (5000, 8704)]
    {
        let ours = items(0..20_000);
        let theirs = items(differences / 2..20_000 + differences.div_ceil(2));
        let (found, symbols) = compare(&ours, &theirs, |_| {});
        assert_eq!(found, Ok(right(&ours, &theirs)));
        assert!(symbols <= most, "{differences}: {symbols}");
    }
}

#[test]
fn an_item_is_in_symbol_i_with_probability_one_in_one_plus_half_of_i() {
    let (mut seen, count) = ([0_u32; 64], 20_000_u32);
    for number in 0..count {
        let mark = KEY.mark(u128::from_be_bytes(item(number.into())));
        let places: Vec<usize> = mark.places().take_while(|place| *place < 64).collect();
        assert!(places.is_sorted_by(|a, b| a < b));
        places.into_iter().for_each(|place| seen[place] += 1);
    }
    for (place, seen) in (0_u32..).zip(seen) {
        let expected = 2 * count / (place + 2);
        assert!(seen.abs_diff(expected) < 30 + expected / 20, "{place}: {seen}, {expected}");
    }
}

#[test]
fn who_adds_items_one_by_one_gets_the_same() {
    let (ours, theirs) = (items(0..3000), items(30..3040));
    let (mut comparison, mut sketch) = (Comparison::new(KEY), Sketch::new(KEY));
    let found = loop {
        let wants = comparison.wants();
        if sketch.grow(wants.end) {
            theirs.iter().for_each(|item| sketch.extend([*item]));
        }
        let portion = sketch.portion(wants.clone(), []).unwrap();
        if comparison.grow() {
            comparison.extend(ours.iter().copied());
        }
        if let Some(found) = comparison.hear(&portion, []).unwrap() {
            break found;
        }
    };
    assert_eq!(found, right(&ours, &theirs));
}

#[test]
fn too_many_differences_come_to_an_end() {
    let theirs: BTreeSet<Item> = items(0..DIFFERENCES_MAX as u64 + 1000);
    let (found, symbols) = compare(&BTreeSet::new(), &theirs, |_| {});
    assert_eq!(found, Err(Error::TooDifferent));
    assert!(symbols <= SYMBOLS_MAX);
}

/// Symbols of no set, each with one lone item: the same in all, or one not mapped there.
#[test]
fn forged_symbols_come_to_an_end() {
    let lone = |number: u64| {
        let mark = KEY.mark(u128::from_be_bytes(item(number)));
        let mut bytes = vec![2];
        bytes.extend(mark.item.to_be_bytes());
        bytes.extend(mark.check.to_be_bytes());
        bytes
    };
    for differ in [false, true] {
        let mut comparison = Comparison::new(KEY);
        let error = loop {
            let wants = comparison.wants();
            let symbols = wants.flat_map(|place| lone(if differ { place as u64 } else { 0 }));
            // Of a set that is said to be empty, so that counts stand for themselves.
            let portion: Vec<u8> = std::iter::once(0).chain(symbols).collect();
            match comparison.hear(&portion, []) {
                Ok(None) => {}
                Ok(Some(found)) => panic!("{found:?}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Forged | Error::TooDifferent), "{error}");
    }
}

#[test]
fn what_was_not_offered_is_not_told() {
    let mut sketch = Sketch::new(KEY);
    for range in [0..0, 0..PORTION_MAX + 1, SYMBOLS_MAX..SYMBOLS_MAX + 1] {
        assert_eq!(sketch.portion(range, []), Err(Error::Malformed));
    }
}

#[test]
fn symbols_are_those_of_the_specification() {
    let vectors = include_str!("../../../spec/vectors/reconciliation.txt");
    let values = |sought: &'static str| {
        let lines = vectors.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once(" = "));
        pairs.filter(move |(name, _)| *name == sought).map(|(_, value)| value.to_owned())
    };
    let items: Vec<Item> = values("item").map(|value| hex(&value).try_into().unwrap()).collect();
    let key = Key(hex(&values("key").next().unwrap()).try_into().unwrap());
    let portion = Sketch::new(key).portion(0..8, items).unwrap();
    assert_eq!(Some(portion), values("portion").next().map(|value| hex(&value)));
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |digit: char| u8::try_from(digit.to_digit(16).unwrap()).unwrap();
    let digits: Vec<u8> = text.chars().map(digit).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
