//! Draws from gossip's one stream of random numbers.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

/// Returns a number below `count`; 0 if that is 0.
pub(super) fn below(rng: &mut ChaCha20Rng, count: usize) -> usize {
    let drawn = usize::try_from(rng.next_u32()).unwrap_or_default();
    drawn.checked_rem(count).unwrap_or_default()
}

/// Returns one of these.
pub(super) fn one_of<T: Copy>(rng: &mut ChaCha20Rng, all: &[T]) -> Option<T> {
    all.get(below(rng, all.len())).copied()
}

/// Returns at most `count` of these, in random order.
pub(super) fn some_of<T>(rng: &mut ChaCha20Rng, mut all: Vec<T>, count: usize) -> Vec<T> {
    let mut drawn = Vec::new();
    while drawn.len() < count && !all.is_empty() {
        drawn.push(all.swap_remove(below(rng, all.len())));
    }
    drawn
}

/// Returns a random duration of up to `most`.
pub(super) fn up_to(rng: &mut ChaCha20Rng, most: Duration) -> Duration {
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(rng.next_u64().checked_rem(most).unwrap_or_default())
}
