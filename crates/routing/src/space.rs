//! The key space: distances and shared bits.

use std::net::{IpAddr, SocketAddr};

use proto::{Key, Network};

pub(crate) use proto::is_public;

/// The distance of two keys: their XOR (Kademlia, section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Distance([u8; 32]);

impl Distance {
    pub(crate) fn between(a: &Key, b: &Key) -> Self {
        let mut xor = a.0;
        for (byte, other) in xor.iter_mut().zip(b.0) {
            *byte ^= other;
        }
        Self(xor)
    }

    /// Returns the key at this distance from `from`.
    pub(crate) fn from(&self, from: &Key) -> Key {
        Key(Self::between(&Key(self.0), from).0)
    }
}

/// Returns whether a node met at an address is in the network of one of these.
pub(crate) fn is_at(met_at: &IpAddr, addresses: &[SocketAddr]) -> bool {
    let network = Network::of(&SocketAddr::new(*met_at, 0));
    addresses.iter().any(|address| {
        address.ip().to_canonical() == *met_at
            || (network.is_some() && Network::of(address) == network)
    })
}

/// Returns a key made of `random` that shares exactly `bits` leading bits with `own`.
pub(crate) fn key_in_bucket(own: &Key, bits: u32, random: [u8; 32]) -> Key {
    let mut key = random;
    let bit =
        |number: u32| (usize::try_from(number / 8).unwrap_or(usize::MAX), 0x80 >> (number % 8));
    for number in 0..=bits.min(255) {
        let (index, mask) = bit(number);
        let (Some(byte), Some(same)) = (key.get_mut(index), own.0.get(index)) else { continue };
        let differs = number == bits;
        let wanted = (same & mask != 0) ^ differs;
        *byte = if wanted { *byte | mask } else { *byte & !mask };
    }
    Key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_bucket_shares_exactly_its_bits() {
        let own = Key([0xA5; 32]);
        for bits in [0, 1, 7, 8, 9, 100, 255] {
            for random in [[0; 32], [0xFF; 32], [0x5A; 32]] {
                assert_eq!(own.shared_bits(&key_in_bucket(&own, bits, random)), bits);
            }
        }
    }

    #[test]
    fn one_is_at_an_address_of_ones_network() {
        let meets = |met_at: &str, address: &str| {
            is_at(&met_at.parse().unwrap(), &[address.parse().unwrap()])
        };
        assert!(meets("192.0.2.1", "192.0.2.200:4440"));
        assert!(meets("192.0.2.1", "[::ffff:192.0.2.1]:4440"));
        assert!(meets("2001:db8::1", "[2001:db8:0:9::2]:1"));
        assert!(!meets("192.0.2.1", "192.0.3.1:4440"));
        assert!(meets("10.0.0.1", "10.0.0.1:1"));
        assert!(!meets("10.0.0.1", "10.0.0.2:1"), "any host can have any number of these");
    }

    #[test]
    fn a_distance_leads_back() {
        let (a, b) = (Key([1; 32]), Key([7; 32]));
        assert_eq!(Distance::between(&a, &b).from(&a), b);
        assert_eq!(a.shared_bits(&a), 256);
    }
}
