//! What the operator of the driver may configure. Limits that every member of the network must keep
//! are in [`proto::limits`].

use std::{net::SocketAddr, time::Duration};

use proto::limits;

use crate::Keys;

/// The settings of a driver. Start from [`Settings::new`].
#[derive(Debug)]
pub struct Settings {
    /// The key that peers are shown.
    pub keys: Keys,
    /// Where to accept connections; `None` to dial only.
    pub listen: Option<Vec<SocketAddr>>,
    /// The keep-alive interval of the side that dialled. 25 s: home routers forget a UDP flow after
    /// 30 s, and 25 s costs less than 300 bytes a minute.
    pub keep_alive: Duration,
    /// The idle timeout of a connection. 80 s: three lost keep-alives.
    pub idle_timeout: Duration,
    /// Accepted connections at the same time. 20,000: at about 32 KB each, 0.64 GB.
    pub connections_max: usize,
    /// Accepted connections of one IPv4 address or IPv6 /64. 1,024: an office or a mobile
    /// provider's gateway shares one address.
    pub connections_per_ip_max: usize,
    /// Handshakes accepted per second.
    pub handshakes_per_s_max: u32,
    /// Relay ports open at the same time. 64: at 1 MiB/s each, they take at most half of a gigabit
    /// line; and at most two files each.
    pub relays_max: usize,
}

impl Settings {
    /// Returns the defaults, for a side that only dials.
    pub fn new(keys: Keys) -> Self {
        Self {
            keys,
            listen: None,
            keep_alive: Duration::from_secs(25),
            idle_timeout: Duration::from_secs(80),
            connections_max: 20_000,
            connections_per_ip_max: 1_024,
            handshakes_per_s_max: limits::HANDSHAKES_PER_S_MAX,
            relays_max: 64,
        }
    }
}
