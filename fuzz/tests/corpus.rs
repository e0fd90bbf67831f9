//! Runs every fuzz target on its committed corpus and on mutations of it.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic and read its files"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// A test for each target, with the number of mutations it tries.
macro_rules! replay {
    ($($target:ident $mutations:literal,)*) => {
        $(#[test]
        fn $target() {
            run(stringify!($target), $mutations);
        })*

        const REPLAYED: &[&str] = &[$(stringify!($target)),*];
    };
}

replay! {
    bundle 1_000,
    client_machine 60,
    content 5_000,
    envelope 5_000,
    frame 5_000,
    frame_reader 5_000,
    inbox_item 400,
    kept_secrets 5_000,
    message_open 1_000,
    node_machine 800,
    records 5_000,
    simulator 60,
}

#[test]
fn every_target_is_replayed_and_has_a_corpus_and_a_fuzzer() {
    let names = |directory: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(below(directory)).unwrap();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries.map(|entry| stem(entry.unwrap().path())).collect()
    };
    let targets = BTreeSet::from(fuzz_targets::TARGETS.map(|(name, _)| name.to_owned()));
    assert_eq!(REPLAYED.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), targets);
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("libfuzzer/fuzz_targets"), targets);
}

fn run(name: &str, mutations: u32) {
    let (_, target) = fuzz_targets::TARGETS.into_iter().find(|(n, _)| *n == name).unwrap();
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    target(&[]);
    for input in &corpus {
        target(input);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0x5155_1510);
    for _ in 0..mutations {
        target(&mutated(&corpus, &mut rng));
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(below("corpus").join(name)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

fn below(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)
}

/// One input of the corpus with one to four things done to it.
fn mutated(corpus: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = corpus[below_max(corpus.len(), rng)].clone();
    for _ in 0..=below_max(4, rng) {
        let at = below_max(bytes.len() + 1, rng);
        match below_max(7, rng) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, low_byte(rng)),
            2 => bytes.splice(at..at, [0xff; 9]).for_each(drop),
            3 => bytes.extend_from_slice(&corpus[below_max(corpus.len(), rng)]),
            4 => bytes.extend_from_within(at..),
            5 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] ^= 1 << below_max(8, rng),
            _ => bytes.push(low_byte(rng)),
        }
    }
    bytes
}

fn below_max(max: usize, rng: &mut ChaCha8Rng) -> usize {
    usize::try_from(rng.next_u64() % u64::try_from(max).unwrap()).unwrap()
}

fn low_byte(rng: &mut ChaCha8Rng) -> u8 {
    rng.next_u64().to_le_bytes()[0]
}
