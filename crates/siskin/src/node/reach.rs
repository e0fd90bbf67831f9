//! The addresses of this machine that other machines can dial.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proto::limits;

/// Returns the addresses at which machines on the same networks reach this one.
pub(super) async fn reachable(listening: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for address in listening {
        let ips = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => outward(&[TOWARDS_V4]).await,
            IpAddr::V6(ip) if ip.is_unspecified() => outward(&[TOWARDS_V4, TOWARDS_V6]).await,
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => vec![ip],
        };
        addresses.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, address.port())));
    }
    addresses.truncate(limits::NODE_ADDRESSES_MAX);
    addresses
}

/// Returns the source addresses that packets to these targets would have; sends nothing.
async fn outward(towards: &[SocketAddr]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for address in towards {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let Ok(socket) = tokio::net::UdpSocket::bind((any, 0)).await else { continue };
        if socket.connect(address).await.is_ok() {
            found.extend(socket.local_addr().map(|local| local.ip()));
        }
    }
    if found.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { found }
}

/// From the ranges for documentation, which belong to no host.
const TOWARDS_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
const TOWARDS_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9);
