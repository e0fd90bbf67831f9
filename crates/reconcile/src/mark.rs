//! The mapping of items to symbols.

use siphasher::sip128::{Hash128, SipHasher24};

/// An item of a set: 16 collision-resistant bytes, such as a truncated hash.
pub type Item = [u8; 16];

/// The key of all hashes of a comparison: 16 random bytes, fresh for each, chosen by the initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// Returns an item for longer bytes; without the key an attacker cannot find a collision.
    #[must_use]
    pub fn item(&self, bytes: &[u8]) -> Item {
        let Hash128 { h1, h2 } = SipHasher24::new_with_key(&self.0).hash(bytes);
        let (h1, h2) = (h1.to_le_bytes(), h2.to_le_bytes());
        let mut item = [0; 16];
        item.iter_mut().zip(h1.iter().chain(&h2)).for_each(|(to, from)| *to = *from);
        item
    }

    pub(crate) fn mark(&self, item: u128) -> Mark {
        let Hash128 { h1: check, h2: seed } =
            SipHasher24::new_with_key(&self.0).hash(&item.to_be_bytes());
        Mark { item, check, seed }
    }
}

/// An item with its keyed hashes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) item: u128,
    /// Distinguishes a lone item from a sum of several.
    pub(crate) check: u64,
    seed: u64,
}

impl Mark {
    /// Returns the endless rising sequence of the symbols that contain the item: symbol i with
    /// probability 1 / (1 + i / 2).
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let mut state = self.seed;
        std::iter::successors(Some(0_u64), move |place| {
            // SplitMix64, of Steele, Lea and Flood.
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut drawn = state;
            drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            drawn ^= drawn >> 31;
            // (place + 3/2) · (1/√(drawn / 2^64) − 1), equal on all platforms: IEEE 754 defines
            // square roots to the bit.
            #[expect(clippy::cast_possible_truncation, reason = "the root of 64 bits has 32")]
            let root = ((drawn as f64).sqrt() as u64).max(1);
            let above = place.checked_mul(2)?.checked_add(3)?;
            let above = above.checked_mul((1_u64 << 32).saturating_sub(root))?;
            let skipped = above.checked_div(root.wrapping_mul(2))?;
            place.checked_add(skipped)?.checked_add(1)
        })
        .map_while(|place| usize::try_from(place).ok())
    }
}
