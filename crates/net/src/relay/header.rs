//! The header of packets between a relay and the node behind it: it names the client that has sent
//! the packet, or that the packet is for. Drawn in `spec/transport.md`, section 7.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proto::RelayToken;

/// A packet, as read by a receiver that knows the token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received<'a> {
    /// No header: a client's own packet.
    Plain,
    /// A keep-alive, which only refreshes the sender's address.
    KeepAlive,
    /// A packet from this client, or for it.
    Of(SocketAddr, &'a [u8]),
    /// Another token, or a malformed header.
    Invalid,
}

/// Reads the header, if there is one.
pub(super) fn read<'a>(packet: &'a [u8], token: &RelayToken) -> Received<'a> {
    match packet.strip_prefix(&MARK) {
        None => Received::Plain,
        Some(rest) => read_rest(rest, token).unwrap_or(Received::Invalid),
    }
}

fn read_rest<'a>(rest: &'a [u8], token: &RelayToken) -> Option<Received<'a>> {
    let (shown, rest) = rest.split_first_chunk::<16>()?;
    let (family, rest) = rest.split_first()?;
    let (ip, rest) = rest.split_first_chunk::<16>()?;
    let (port, inner) = rest.split_first_chunk::<2>()?;
    // In constant time, so that the token cannot be guessed byte by byte.
    let differs = shown.iter().zip(&token.0).fold(0, |differs, (a, b)| differs | (a ^ b));
    // A header within a header would make one relay send to another.
    if differs != 0 || inner.len() > INNER_MAX || inner.starts_with(&MARK) {
        return None;
    }
    let [a, b, c, d, unused @ ..] = *ip;
    let ip = match *family {
        NOBODY => {
            let empty = *ip == [0; 16] && *port == [0; 2] && inner.is_empty();
            return empty.then_some(Received::KeepAlive);
        }
        IPV4 if unused == [0; 12] => IpAddr::from([a, b, c, d]),
        // An IPv4 address is written in one way only.
        IPV6 => Some(IpAddr::from(*ip)).filter(|ip| ip.to_canonical().is_ipv6())?,
        _ => return None,
    };
    let client = SocketAddr::new(ip, u16::from_be_bytes(*port));
    (!inner.is_empty()).then_some(Received::Of(client, inner))
}

/// Replaces `packet` by `inner` with a header in front.
pub(super) fn write(token: &RelayToken, client: SocketAddr, inner: &[u8], packet: &mut Vec<u8>) {
    let (family, ip) = match client.ip().to_canonical() {
        IpAddr::V4(ip) => (IPV4, in_sixteen(ip)),
        IpAddr::V6(ip) => (IPV6, ip.octets()),
    };
    packet.clear();
    packet.extend(MARK);
    packet.extend(token.0);
    packet.push(family);
    packet.extend(ip);
    packet.extend(client.port().to_be_bytes());
    packet.extend(inner);
}

/// Returns the packet that only refreshes the sender's address.
pub(crate) fn keep_alive(token: &RelayToken) -> Vec<u8> {
    let mut packet = Vec::new();
    write(token, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), &[], &mut packet);
    if let Some(family) = packet.get_mut(MARK.len().saturating_add(token.0.len())) {
        *family = NOBODY;
    }
    packet
}

fn in_sixteen(ip: Ipv4Addr) -> [u8; 16] {
    let [a, b, c, d] = ip.octets();
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// The start of a header, with its version. A QUIC packet has the bit 0x40 of its first byte set,
/// or a connection id that its receiver has drawn in its next four bytes.
const MARK: [u8; 5] = *b"\0skr\x01";
const NOBODY: u8 = 0;
const IPV4: u8 = 4;
const IPV6: u8 = 6;

/// Bytes of a header.
pub(super) const HEADER: usize = 40;
/// The largest packet that is relayed. With the header it fits the 1,500 bytes of an Ethernet
/// frame under IPv6 and UDP; our own have 1,200.
pub(crate) const INNER_MAX: usize = 1_452 - HEADER;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::address::canonical;

    const TOKEN: RelayToken = RelayToken([7; 16]);

    fn written(client: &str, inner: &[u8]) -> Vec<u8> {
        let mut packet = vec![1, 2, 3];
        write(&TOKEN, client.parse().unwrap(), inner, &mut packet);
        packet
    }

    #[test]
    fn it_is_laid_out_as_specified() {
        let packet = written("192.0.2.1:258", b"inner");
        let ip = [192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let expected = [b"\0skr\x01".as_slice(), &[7; 16], &[4], &ip, &[1, 2], b"inner"].concat();
        assert_eq!(packet, expected);
        assert_eq!(packet.len(), HEADER + 5);
        assert_eq!(keep_alive(&TOKEN).len(), HEADER);
    }

    #[test]
    fn malformed_packets_are_not_read() {
        let good = written("192.0.2.1:9", &[0x40]);
        let other = RelayToken([8; 16]);
        assert_eq!(read(&good, &other), Received::Invalid, "another token");
        assert_eq!(read(&keep_alive(&TOKEN), &TOKEN), Received::KeepAlive);
        assert_eq!(read(&keep_alive(&TOKEN), &other), Received::Invalid);
        assert_eq!(read(b"\x40skr\x01", &TOKEN), Received::Plain);
        let mapped = [&good[..21], &[6], &[0; 10], &[255, 255, 192, 0, 2, 1], &good[38..]].concat();
        for (what, packet) in [
            ("cut short", good[..39].to_vec()),
            ("nothing inside", good[..40].to_vec()),
            ("a header inside", written("192.0.2.1:9", &good)),
            ("too much inside", written("192.0.2.1:9", &[0x40; INNER_MAX + 1])),
            ("a packet for no client", [keep_alive(&TOKEN), vec![0x40]].concat()),
            ("an unknown family", [&good[..21], &[5], &good[22..]].concat()),
            ("a long IPv4 address", [&good[..37], &[1], &good[38..]].concat()),
            ("IPv4 written as IPv6", mapped),
        ] {
            assert_eq!(read(&packet, &TOKEN), Received::Invalid, "{what}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_comes_back(
            ip: IpAddr,
            port: u16,
            inner in prop::collection::vec(any::<u8>(), 1..=INNER_MAX),
        ) {
            prop_assume!(!inner.starts_with(&MARK));
            let client = SocketAddr::new(ip, port);
            let mut packet = Vec::new();
            write(&TOKEN, client, &inner, &mut packet);
            prop_assert_eq!(read(&packet, &TOKEN), Received::Of(canonical(client), &inner));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, after_mark: bool, shown: bool) {
            let mut packet = Vec::new();
            packet.extend(MARK.iter().filter(|_| after_mark || shown));
            packet.extend(TOKEN.0.iter().filter(|_| shown));
            packet.extend(bytes);
            if let Received::Of(_, inner) = read(&packet, &TOKEN) {
                prop_assert_eq!(packet.len().checked_sub(inner.len()), Some(HEADER));
            }
        }
    }
}
