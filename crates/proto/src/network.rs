//! Networks: which addresses are likely in one hand.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// What one customer is usually given: an IPv4 /24 or an IPv6 /48. Nothing for addresses that mean
/// something in one network only, and of which anybody can have any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network([u8; 7]);

impl Network {
    /// The network of an address.
    pub fn of(address: &SocketAddr) -> Option<Self> {
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

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([version, a, b, c, d, e, g]) = *self;
        if version == 4 {
            return write!(f, "{}/24", Ipv4Addr::new(a, b, c, 0));
        }
        let ip = [[a, b], [c, d], [e, g]].map(u16::from_be_bytes);
        let [first, second, third] = ip;
        write!(f, "{}/48", Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0))
    }
}

/// The networks of a node's addresses.
pub fn networks(addresses: &[SocketAddr]) -> impl Iterator<Item = Network> {
    addresses.iter().filter_map(Network::of)
}

/// Returns whether an address means the same node from everywhere.
pub fn is_public(ip: &IpAddr) -> bool {
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
