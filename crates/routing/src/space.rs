//! The key space: distances, shared bits, and which network an address belongs to.

use std::net::{IpAddr, SocketAddr};

use proto::Key;

/// How far two keys are apart: their XOR (Kademlia, section 2.1).
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

    /// The key that is so far from `from`.
    pub(crate) fn from(&self, from: &Key) -> Key {
        Key(Self::between(&Key(self.0), from).0)
    }
}

/// Leading bits that two keys share: the number of the bucket that one is in for the other.
pub(crate) fn shared_bits(a: &Key, b: &Key) -> u32 {
    crypto::leading_zeros(&Distance::between(a, b).0)
}

/// A key drawn from `random` that shares exactly `bits` leading bits with `place`.
pub(crate) fn key_in_bucket(place: &Key, bits: u32, random: [u8; 32]) -> Key {
    let mut key = random;
    let bit =
        |number: u32| (usize::try_from(number / 8).unwrap_or(usize::MAX), 0x80 >> (number % 8));
    for number in 0..=bits.min(255) {
        let (index, mask) = bit(number);
        let (Some(byte), Some(own)) = (key.get_mut(index), place.0.get(index)) else { continue };
        let differs = number == bits;
        let wanted = (own & mask != 0) ^ differs;
        *byte = if wanted { *byte | mask } else { *byte & !mask };
    }
    Key(key)
}

/// What one customer is usually given: an IPv4 /24 or an IPv6 /48. Nothing for addresses that mean
/// something in one network only, and of which anybody can have any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Network([u8; 7]);

impl Network {
    pub(crate) fn of(address: &SocketAddr) -> Option<Self> {
        let ip = address.ip().to_canonical();
        if !is_public(&ip) {
            return None;
        }
        Some(Self(match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                [4, a, b, c, 0, 0, 0]
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                [6, a, b, c, d, e, f]
            }
        }))
    }
}

/// The networks of a node's addresses.
pub(crate) fn networks(addresses: &[SocketAddr]) -> impl Iterator<Item = Network> {
    addresses.iter().filter_map(Network::of)
}

/// Tells whether an address means the same node from everywhere.
pub(crate) fn is_public(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_bucket_shares_exactly_its_bits() {
        let place = Key([0xA5; 32]);
        for bits in [0, 1, 7, 8, 9, 100, 255] {
            for random in [[0; 32], [0xFF; 32], [0x5A; 32]] {
                assert_eq!(shared_bits(&place, &key_in_bucket(&place, bits, random)), bits);
            }
        }
    }

    #[test]
    fn a_distance_leads_back() {
        let (a, b) = (Key([1; 32]), Key([7; 32]));
        assert_eq!(Distance::between(&a, &b).from(&a), b);
        assert_eq!(shared_bits(&a, &a), 256);
    }

    #[test]
    fn networks_are_those_of_public_addresses() {
        let network = |text: &str| Network::of(&text.parse().unwrap());
        assert_eq!(network("192.0.2.1:1"), network("192.0.2.200:2"));
        assert_ne!(network("192.0.2.1:1"), network("192.0.3.1:1"));
        assert_eq!(network("[2001:db8:1:2::1]:1"), network("[2001:db8:1:3::1]:1"));
        assert_ne!(network("[2001:db8:1::1]:1"), network("[2001:db8:2::1]:1"));
        assert_eq!(network("[::ffff:192.0.2.9]:1"), network("192.0.2.1:1"));
        for private in ["127.0.0.1:1", "10.1.2.3:1", "[::1]:1", "[fd00::1]:1", "100.64.0.1:1"] {
            assert_eq!(network(private), None, "{private}");
        }
    }
}
