//! Two replicas with a million envelopes each find out in what they differ: ours, and range-based
//! reconciliation as the crate `negentropy` does it, on the same sets in turns.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use reconcile::{Comparison, Item, Key, Sketch};
use sha2::{Digest, Sha256};

use crate::measure::millis;

pub(crate) fn run() -> Result<()> {
    println!("differences: two sets of {ITEMS} items, half of what differs on each side");
    let both: Vec<Timed> = (0..ITEMS).map(|number| (number, id(number))).collect();
    for (count, newest) in CASES {
        let within = if newest { count * 2 } else { ITEMS };
        let sides = [0, 1].map(|side| {
            let time = |number| ITEMS - within + (within / count.max(1)) * (number * 2 + side);
            let apart =
                (0..count / 2).map(|number| (time(number), id(ITEMS * (side + 1) + number)));
            both.iter().copied().chain(apart).collect::<Vec<Timed>>()
        });
        let (ours, ranges) = (ours(&sides)?, ranges(&sides)?);
        ensure!(ours.found == count && ranges.found == count, "not all was found");
        let place = if newest { "the newest" } else { "anywhere" };
        println!("  {count:4} {place:10}  at least {:6} bytes", minimum(count));
        println!("    symbols {ours}");
        println!("    ranges  {ranges}");
        println!(
            "    symbols/ranges: bytes {:.3}, time {:.3}",
            ours.bytes as f64 / ranges.bytes as f64,
            ours.took.as_secs_f64() / (ranges.built + ranges.took).as_secs_f64(),
        );
    }
    Ok(())
}

/// An item with the time by which ranges are ordered.
type Timed = (u64, [u8; 32]);

/// What a comparison cost both sides together.
#[derive(Default)]
struct Cost {
    bytes: usize,
    messages: usize,
    took: Duration,
    built: Duration,
    found: u64,
}

impl fmt::Display for Cost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, messages, took, built, found: _ } = self;
        let (took, built) = (millis(*took), millis(*built));
        write!(out, "{bytes:8} bytes {messages:3} messages {took:7.0} ms")?;
        if built > 0.0 { write!(out, " and {built:.0} ms to sort") } else { Ok(()) }
    }
}

fn ours([ours, theirs]: &[Vec<Timed>; 2]) -> Result<Cost> {
    let began = Instant::now();
    let (mut comparison, mut sketch) = (Comparison::new(Key([9; 16])), Sketch::new(Key([9; 16])));
    // The key and how many symbols are wanted.
    let mut cost = Cost { bytes: 16, ..Cost::default() };
    loop {
        let portion = sketch.portion(comparison.wants(), theirs.iter().map(short))?;
        cost.bytes += 8 + portion.len();
        cost.messages += 2;
        if let Some(difference) = comparison.hear(&portion, ours.iter().map(short))? {
            cost.found = (difference.ours.len() + difference.theirs.len()) as u64;
            cost.took = began.elapsed();
            return Ok(cost);
        }
    }
}

fn ranges(sides: &[Vec<Timed>; 2]) -> Result<Cost> {
    let began = Instant::now();
    let [ours, theirs] = sides.each_ref().map(|ids| {
        let mut storage = NegentropyStorageVector::with_capacity(ids.len());
        for (time, id) in ids {
            storage.insert(*time, Id::from_byte_array(*id))?;
        }
        storage.seal()?;
        Ok::<_, negentropy::Error>(storage)
    });
    let (ours, theirs) = (ours?, theirs?);
    let mut cost = Cost { built: began.elapsed(), ..Cost::default() };
    let began = Instant::now();
    let mut asks = Negentropy::borrowed(&ours, 0)?;
    let mut answers = Negentropy::borrowed(&theirs, 0)?;
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut question = Some(asks.initiate()?);
    while let Some(said) = question {
        let answer = answers.reconcile(&said)?;
        cost.bytes += said.len() + answer.len();
        cost.messages += 2;
        question = asks.reconcile_with_ids(&answer, &mut have, &mut need)?;
    }
    cost.took = began.elapsed();
    cost.found = (have.len() + need.len()) as u64;
    Ok(cost)
}

fn short(timed: &Timed) -> Item {
    *timed.1.first_chunk().unwrap_or(&[0; 16])
}

fn id(number: u64) -> [u8; 32] {
    Sha256::digest(number.to_be_bytes()).into()
}

/// The bytes of a set of so many of all 2^128 items: log2 of the number of such sets.
fn minimum(count: u64) -> u64 {
    let count = count as f64;
    let bits =
        if count > 0.0 { count * (128.0 - count.log2() + std::f64::consts::LOG2_E) } else { 0.0 };
    (bits / 8.0) as u64
}

const ITEMS: u64 = 1_000_000;
/// How many items differ, and whether they are the newest only, as after an outage.
const CASES: [(u64, bool); 5] = [(0, false), (10, false), (10, true), (1000, false), (1000, true)];
