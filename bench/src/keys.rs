//! The cost of keys, seals and signatures, one operation at a time: the best of several runs, for
//! a busy machine makes them longer and nothing makes them shorter.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use crypto::{
    SigningKey, derive_key,
    group::{CommitId, Epoch},
    sign_envelope, verify, verify_envelope,
};
use proto::{Content, ContentBody, Envelope, LogId, Reference};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::{measure::micros, people::MESSAGE_BYTES, signed::head};

pub(crate) fn run() -> Result<()> {
    println!("keys: the best of {RUNS} runs");
    for number in [100, 10_000, 1_000_000] {
        // A new epoch each time, since one that was asked remembers the way.
        let ours = best(200, || epoch().take_key(0, number));
        let chain = chain(number);
        println!(
            "  key of message {number:9}  tree {:8.1} µs   chain {:10.1} µs   chain/tree {:9.1}",
            micros(ours),
            micros(chain),
            chain.as_secs_f64() / ours.as_secs_f64(),
        );
    }
    let (mut epoch, mut counter) = (epoch(), 0..);
    let next = best(200, || counter.next().map(|counter| epoch.take_key(0, counter)));
    println!("  key of the message after it   {:8.1} µs", micros(next));
    messages()
}

fn epoch() -> Epoch {
    Epoch::from_root(CommitId([1; 32]), [2; 32], &[3; 32])
}

fn messages() -> Result<()> {
    let epoch = epoch();
    let (device, write_key) = (SigningKey::from_seed([4; 32]), epoch.write_key());
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let body = ContentBody::Text { text: "x".repeat(MESSAGE_BYTES), reply_to: None };
    let dependencies = vec![Reference([7; 16])];
    let content = Content { dependencies, sent_at_s: 1_800_000_000, body, bundle_seen: None };
    let content = content.encode();
    let head = head(&write_key, LogId([6; 32]), 1);
    let mut seal = |counter| epoch.seal_message(&device, 0, counter, &head, &content, &mut rng);
    let sealing = best(200, || seal(1));
    let page: Vec<Envelope> = (0..PAGE)
        .map(|counter| {
            let ciphertext = seal(counter).context("not sealed")?;
            Ok(sign_envelope(&write_key, head.clone(), ciphertext))
        })
        .collect::<Result<_>>()?;
    let first = page.first().context("an empty page")?;
    let sign = best(200, || sign_envelope(&write_key, head.clone(), first.ciphertext.clone()));
    let check = best(200, || verify_envelope(first));
    let public = device.public();
    let signature = device.sign(b"", &content);
    let verifying = best(200, || verify(&public, b"", &content, &signature));
    let opening = best(10, || {
        page.iter()
            .map(|envelope| epoch.open(&envelope.head, &envelope.ciphertext, &|_| Some(public)))
            .filter(Result::is_ok)
            .count()
    });
    let unsigned = opening.saturating_sub(verifying * PAGE);
    println!("  seal a text of {MESSAGE_BYTES} bytes      {:8.1} µs", micros(sealing));
    println!("  sign an envelope            {:8.1} µs", micros(sign));
    println!("  verify an envelope          {:8.1} µs", micros(check));
    println!("  open a page of {PAGE}           {:8.1} µs", micros(opening));
    println!("    without device signatures {:8.1} µs", micros(unsigned));
    let (all, ciphertext) = (first.encode().len(), first.ciphertext.len());
    println!("  an envelope takes {all} bytes, its ciphertext {ciphertext}");
    Ok(())
}

/// What the key of message `number` costs where each key is derived from the one before.
fn chain(number: u32) -> Duration {
    let runs = if number > 100_000 { 1 } else { 20 };
    best(runs, || (0..number).fold([1; 32], |key, _| *derive_key(&key, "chain", b"")))
}

/// The mean of `repeat` operations, in the best of several runs.
fn best<T>(repeat: u32, mut operation: impl FnMut() -> T) -> Duration {
    let mut run = || {
        let start = Instant::now();
        for _ in 0..repeat {
            black_box(operation());
        }
        start.elapsed() / repeat
    };
    (0..RUNS).map(|_| run()).min().unwrap_or_default()
}

const RUNS: u32 = 7;
const PAGE: u32 = 50;
