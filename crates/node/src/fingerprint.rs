//! The fingerprint of a log: the sum of the ids of its entries that don't expire, in 32 bytes.
//! Specified in `spec/logs.md`, section 12.

use proto::{Envelope, EnvelopeId, Expiry, Reference};
use reconcile::Item;

/// The sum of ids, as numbers of 256 bits that overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) [u8; 32]);

impl Fingerprint {
    /// Adds an entry.
    pub(crate) fn add(&mut self, id: &EnvelopeId) {
        let mut carry = 0;
        for (to, from) in self.0.iter_mut().zip(id.0).rev() {
            let sum = u16::from(*to).saturating_add(u16::from(from)).saturating_add(carry);
            let [high, low] = sum.to_be_bytes();
            *to = low;
            carry = u16::from(high);
        }
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        row.try_into().ok().map(Self)
    }
}

/// Returns whether an envelope never expires. Expiry is counted from the arrival at each node, so
/// copies differ about expiring entries for some time.
pub(crate) fn is_kept(envelope: &Envelope) -> bool {
    envelope.head.expiry == Expiry::Never
}

/// Returns the item of an entry in a comparison, if it counts. Most that don't are recognised by
/// one byte.
pub(crate) fn kept_item(row: &[u8]) -> Option<Item> {
    if row.get(EXPIRY_AT) != Some(&(Expiry::Never as u8)) {
        return None;
    }
    let Reference(item) = Envelope::decode(row).ok()?.id().reference();
    Some(item)
}

/// Where an envelope says how long it is kept: `spec/logs.md`, section 2.
const EXPIRY_AT: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_overflow_and_their_order_does_not_matter() {
        let ids = [[0xFF; 32], [1; 32], [0x80; 32]].map(EnvelopeId);
        let sum = |ids: &[EnvelopeId]| {
            let mut sum = Fingerprint::default();
            ids.iter().for_each(|id| sum.add(id));
            sum
        };
        assert_eq!(sum(&[ids[0], ids[1], ids[2]]), sum(&[ids[2], ids[0], ids[1]]));
        let mut one = [0; 32];
        one[31] = 1;
        assert_eq!(sum(&[ids[0], EnvelopeId(one)]), Fingerprint::default());
        assert_eq!(sum(&[ids[1], ids[2]]), Fingerprint([0x81; 32]));
        assert_ne!(sum(&[ids[0]]), sum(&[ids[1]]));
    }
}
