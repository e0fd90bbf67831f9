//! The batch verifier: verifies the signatures of envelopes that are about to be appended all at
//! once, for less than half the cost of verifying each by itself.

use std::collections::BTreeSet;

use proto::{Envelope, Gauge, Seed};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// Envelopes that were verified ahead of time. Losing them costs only work.
#[derive(Debug)]
pub(crate) struct BatchVerifier {
    /// Apart from the node's generator, which draws the same numbers whatever was verified ahead.
    rng: ChaCha20Rng,
    /// Envelopes with good signatures, as they will be stored.
    good: BTreeSet<Vec<u8>>,
}

impl BatchVerifier {
    pub(crate) fn new(seed: &Seed) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed.0);
        rng.set_stream(STREAM);
        Self { rng, good: BTreeSet::new() }
    }

    pub(crate) fn gauge(&self) -> Gauge {
        Gauge::new("prefetched envelopes", self.good.len(), ENVELOPES_MAX)
    }

    /// Verifies envelopes, and forgets those of the last call. A single one is not worth it.
    pub(crate) fn verify(&mut self, envelopes: &[Envelope]) {
        self.good.clear();
        let mut room = BYTES_MAX;
        let some: Vec<&Envelope> = envelopes
            .iter()
            .take_while(|envelope| {
                room = room.saturating_sub(envelope.ciphertext.len().saturating_add(OVERHEAD));
                room > 0
            })
            .collect();
        if some.len() < 2 {
            return;
        }
        let verdicts = crypto::verify_envelopes(&some, &mut self.rng);
        let good = some.into_iter().zip(verdicts).filter(|(_, is_good)| *is_good);
        self.good.extend(good.map(|(envelope, _)| envelope.encode()));
    }

    /// Returns whether the signature of an envelope, given as the bytes to be stored, is known to
    /// be good, and forgets it: it is stored once.
    pub(crate) fn take_verified(&mut self, stored: &[u8]) -> bool {
        self.good.remove(stored)
    }
}

/// The node's own generator draws from stream 0 of the same seed.
const STREAM: u64 = 1;
/// Bytes that are remembered; a driver's batch fits.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// About what an envelope takes besides its ciphertext.
const OVERHEAD: usize = 512;
/// As many empty ones fit.
const ENVELOPES_MAX: usize = BYTES_MAX / OVERHEAD;

#[cfg(test)]
mod tests {
    use crypto::{SigningKey, sign_envelope};
    use proto::{Expiry, Extension, Head, Kind, LogId};

    use super::*;

    #[test]
    fn remembers_the_good_ones_once_and_until_the_next_time() {
        let mut batch_verifier = BatchVerifier::new(&Seed([1; 32]));
        let mut envelopes: Vec<Envelope> = (1..=100).map(made).collect();
        envelopes[41].signature[3] ^= 1;
        batch_verifier.verify(&envelopes);
        for (i, envelope) in envelopes.iter().enumerate().skip(1) {
            assert_eq!(batch_verifier.take_verified(&envelope.encode()), i != 41, "{i}");
            assert!(!batch_verifier.take_verified(&envelope.encode()), "{i}, again");
        }
        batch_verifier.verify(&envelopes[50..52]);
        assert!(!batch_verifier.take_verified(&envelopes[0].encode()));
        assert!(batch_verifier.take_verified(&envelopes[50].encode()));
        batch_verifier.verify(&envelopes[..1]);
        assert!(batch_verifier.good.is_empty());
    }

    #[test]
    fn remembers_no_more_than_it_may() {
        let mut batch_verifier = BatchVerifier::new(&Seed([1; 32]));
        let mut large: Vec<Envelope> = (1..=5).map(made).collect();
        large.iter_mut().for_each(|envelope| envelope.ciphertext = vec![0; BYTES_MAX / 3]);
        let small = (6..=8).map(made);
        batch_verifier.verify(&small.clone().chain(large).chain(small).collect::<Vec<_>>());
        assert_eq!(batch_verifier.good.len(), 3);
    }

    fn made(position: u64) -> Envelope {
        let key = SigningKey::from_seed([1; 32]);
        let head = Head {
            kind: Kind::Entry,
            expiry: Expiry::Never,
            position,
            log: LogId([2; 32]),
            write_key: key.public(),
            extension: Extension::default(),
        };
        sign_envelope(&key, head, b"text".to_vec())
    }
}
