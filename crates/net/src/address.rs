//! Socket addresses in the forms in which this crate compares, binds and dials them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Returns the address without zone, and IPv4 as such.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Returns the local address to bind for dialling `remote`: any IP of its family, any port.
pub(crate) fn any_towards(remote: SocketAddr) -> SocketAddr {
    match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Returns the address by which this host reaches its own socket bound to `listening`.
pub(crate) fn local(listening: SocketAddr) -> SocketAddr {
    match listening {
        SocketAddr::V4(at) if at.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, at.port()).into(),
        SocketAddr::V6(at) if at.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, at.port()).into(),
        specific @ (SocketAddr::V4(_) | SocketAddr::V6(_)) => specific,
    }
}

#[test]
fn a_wildcard_address_is_reached_by_loopback() {
    for (listening, reached) in [
        ("0.0.0.0:7", "127.0.0.1:7"),
        ("[::]:7", "[::1]:7"),
        ("192.0.2.1:7", "192.0.2.1:7"),
        ("[2001:db8::1]:7", "[2001:db8::1]:7"),
    ] {
        assert_eq!(local(listening.parse().unwrap()), reached.parse().unwrap());
    }
}
