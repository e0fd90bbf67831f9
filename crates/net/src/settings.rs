//! What the person who runs the driver may choose. What every member of the network keeps is in
//! [`proto::limits`].

use std::{net::SocketAddr, time::Duration};

use proto::limits;

use crate::Keys;

/// How a driver meets its peers. Start from [`Settings::new`].
#[derive(Debug)]
pub struct Settings {
    /// With which key.
    pub keys: Keys,
    /// Where to accept connections; `None` to dial only.
    pub listen: Option<Vec<SocketAddr>>,
    /// How often the side that dialled says that it is still there. 25 s: home routers forget a
    /// UDP flow after 30 s, and 25 s costs less than 300 bytes a minute.
    pub keep_alive: Duration,
    /// When a silent peer is given up. 80 s: three lost keep-alives.
    pub idle_timeout: Duration,
    /// Accepted connections at the same time. 20,000: at about 32 KB each, 0.64 GB.
    pub connections_max: usize,
    /// Accepted connections of one IPv4 address or IPv6 /64. 1,024: an office or a mobile
    /// provider's gateway shares one address.
    pub connections_per_ip_max: usize,
    /// Handshakes accepted per second.
    pub handshakes_per_s_max: u32,
    /// Ports open at the same time for peers that can't be dialled. 64: with 1 MiB/s each, they
    /// take at most half of a gigabit line; and two files each at most.
    pub relays_max: usize,
}

impl Settings {
    /// The defaults, for a side that only dials.
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
