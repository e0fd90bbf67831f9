//! Randomness: one seed, and a stream for each purpose, so that the draws of one part of the world
//! don't change those of another.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest, Sha256};

/// A stream of random choices. Only whole numbers are drawn: they are the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream of `seed` that is called `label` and has this number.
    pub(crate) fn new(seed: u64, label: &str, number: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        hash.update(number.to_le_bytes());
        hash.update(label);
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// A number below `bound`, or 0 if that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: as even as 64 bits allow, without a division.
        let product = u128::from(self.0.next_u64()).wrapping_mul(u128::from(bound));
        (product >> 64) as u64
    }

    /// A place in something of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or_default()
    }

    /// One of these, if there is any.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.index(of.len()))
    }

    /// Yes with this probability, from 0 to 1.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        // A product and a comparison of doubles are exact everywhere; nothing finer is used.
        (self.0.next_u32() as f64) < probability * 4_294_967_296.0
    }

    /// The number of one of several things that happen with these probabilities, if any happens.
    pub(crate) fn which(&mut self, probabilities: &[f64]) -> Option<usize> {
        let drawn = f64::from(self.0.next_u32()) / 4_294_967_296.0;
        let mut sum = 0.0;
        probabilities.iter().position(|probability| {
            sum += probability;
            drawn < sum
        })
    }

    /// A time from `least` up to `most`, in whole microseconds.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_micros();
        let span = u64::try_from(span).unwrap_or(u64::MAX).saturating_add(1);
        least.saturating_add(Duration::from_micros(self.below(span)))
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// Returns the generator itself, for functions that take one.
    pub(crate) fn generator(&mut self) -> &mut ChaCha8Rng {
        &mut self.0
    }
}

#[test]
fn streams_are_apart_and_repeatable() {
    let draw = |seed, label, number| Rng::new(seed, label, number).bytes::<8>();
    assert_eq!(draw(1, "network", 0), draw(1, "network", 0));
    assert_ne!(draw(1, "network", 0), draw(2, "network", 0));
    assert_ne!(draw(1, "network", 0), draw(1, "disk", 0));
    assert_ne!(draw(1, "network", 0), draw(1, "network", 1));
}

#[test]
fn draws_stay_in_bounds() {
    let mut rng = Rng::new(7, "bounds", 0);
    let second = Duration::from_secs(1);
    assert!((0..1000).all(|_| rng.below(3) < 3));
    assert!((0..1000).all(|_| rng.between(second, second * 2) <= second * 2));
    assert_eq!(rng.between(second, second), second);
    assert_eq!(rng.pick::<u8>(&[]), None);
    assert!((0..1000).all(|_| rng.which(&[0.0, 1.0]) == Some(1) && rng.which(&[0.0]).is_none()));
    assert!((0..1000).all(|_| rng.chance(1.0)) && !(0..1000).any(|_| rng.chance(0.0)));
}
