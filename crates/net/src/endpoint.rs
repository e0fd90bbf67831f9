//! Sockets, and how QUIC is set up on them.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::Peer;
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::QuicClientConfig,
};
use ring::hmac;

use crate::{Identity, Keys, Settings, address::any_towards, error::StartError, lock::lock, tls};

/// The sockets of one driver.
#[derive(Debug)]
pub(crate) struct Endpoints {
    listening: Vec<Endpoint>,
    /// For dialling where no listening socket has the right address family; opened when needed.
    dialling: Mutex<Vec<Endpoint>>,
    /// For probes, from ports that no peer knows; opened when needed.
    apart: Mutex<Vec<Endpoint>>,
    transport: Arc<TransportConfig>,
}

impl Endpoints {
    /// Binds the listening sockets. They accept nothing until their endpoints are polled.
    pub(crate) fn bind(settings: &Settings) -> Result<Self, StartError> {
        let mut listening = Vec::new();
        for address in settings.listen.iter().flatten() {
            let Keys::One(identity) = &settings.keys else { return Err(StartError::NoIdentity) };
            let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls::server(identity)?));
            config
                .transport_config(Arc::new(transport(settings, None)))
                .max_incoming(INCOMING_MAX)
                .incoming_buffer_size(16 * 1024);
            let endpoint = open(*address, Some(config), Some(identity))
                .map_err(|error| StartError::Bind(*address, error))?;
            listening.push(endpoint);
        }
        let transport = Arc::new(transport(settings, Some(settings.keep_alive)));
        Ok(Self { listening, dialling: Mutex::default(), apart: Mutex::default(), transport })
    }

    pub(crate) fn listening(&self) -> &[Endpoint] {
        &self.listening
    }

    /// Returns the listening addresses, with the ports that the system chose.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listening.iter().filter_map(|endpoint| endpoint.local_addr().ok()).collect()
    }

    /// Starts a handshake with `peer` at `address`.
    pub(crate) fn connect(
        &self,
        identity: &Identity,
        peer: Peer,
        address: SocketAddr,
    ) -> io::Result<quinn::Connecting> {
        self.connect_from(&self.towards(address)?, identity, peer, address)
    }

    /// Starts a handshake from a port that this driver uses only for probes.
    pub(crate) fn connect_apart(
        &self,
        identity: &Identity,
        peer: Peer,
        address: SocketAddr,
    ) -> io::Result<quinn::Connecting> {
        self.connect_from(&opened_towards(&self.apart, address)?, identity, peer, address)
    }

    fn connect_from(
        &self,
        endpoint: &Endpoint,
        identity: &Identity,
        peer: Peer,
        address: SocketAddr,
    ) -> io::Result<quinn::Connecting> {
        let crypto: QuicClientConfig = tls::client(identity, peer).map_err(io::Error::other)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport));
        endpoint.connect_with(config, address, "siskin.invalid").map_err(io::Error::other)
    }

    /// Closes all connections at once and accepts no more.
    pub(crate) fn close(&self) {
        for endpoint in self.all() {
            endpoint.close(VarInt::from_u32(0), b"");
        }
    }

    /// Waits until every connection has gone through QUIC's draining.
    pub(crate) async fn closed(&self) {
        for endpoint in self.all() {
            endpoint.wait_idle().await;
        }
    }

    fn all(&self) -> Vec<Endpoint> {
        let (dialling, apart) = (lock(&self.dialling), lock(&self.apart));
        self.listening.iter().chain(dialling.iter()).chain(apart.iter()).cloned().collect()
    }

    fn towards(&self, address: SocketAddr) -> io::Result<Endpoint> {
        match self.listening.iter().find(|endpoint| suits(endpoint, address)) {
            Some(endpoint) => Ok(endpoint.clone()),
            None => opened_towards(&self.dialling, address),
        }
    }
}

/// Returns an endpoint of the right family for this address, opened if there is none yet.
fn opened_towards(opened: &Mutex<Vec<Endpoint>>, address: SocketAddr) -> io::Result<Endpoint> {
    let mut opened = lock(opened);
    if let Some(endpoint) = opened.iter().find(|endpoint| suits(endpoint, address)) {
        return Ok(endpoint.clone());
    }
    let endpoint = open(any_towards(address), None, None)?;
    opened.push(endpoint.clone());
    Ok(endpoint)
}

fn suits(endpoint: &Endpoint, address: SocketAddr) -> bool {
    endpoint.local_addr().is_ok_and(|local| local.is_ipv4() == address.is_ipv4())
}

fn open(
    address: SocketAddr,
    server: Option<quinn::ServerConfig>,
    identity: Option<&Identity>,
) -> io::Result<Endpoint> {
    let socket = UdpSocket::bind(address)?;
    let state = quinn::udp::UdpSocketState::new((&socket).into())?;
    // As much as the system allows: a burst of many peers must not overflow the socket.
    let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER);
    let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER);
    let mut config = EndpointConfig::default();
    config.cid_generator(|| Box::new(ShortIds)).min_reset_interval(Duration::from_millis(1));
    if let Some(identity) = identity {
        // Derived, so that a node that has crashed can still reset its peers' connections.
        let key = hmac::Key::new(hmac::HMAC_SHA256, identity.seed());
        let key = hmac::sign(&key, b"siskin1 stateless reset");
        config.reset_key(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())));
    }
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime))
}

/// Returns QUIC's settings. Tuned for many idle connections: small windows, and no traffic but the
/// keep-alive while idle.
fn transport(settings: &Settings, keep_alive: Option<Duration>) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(LANES))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .keep_alive_interval(keep_alive)
        .max_idle_timeout(IdleTimeout::try_from(settings.idle_timeout).ok())
        // Probes of 1,452 bytes every ten minutes alone would be half of an idle connection's cost.
        .mtu_discovery_config(None)
        // Saves no datagram of a conversation and 2 % of those of a bulk transfer; and quinn-proto
        // 0.11.19 writes the frame without checking that the packet has room.
        .ack_frequency_config(None)
        .allow_spin(false);
    config
}

/// Four bytes tell the connections of one socket apart, and make each packet four bytes smaller
/// than the usual eight.
struct ShortIds;

impl quinn::ConnectionIdGenerator for ShortIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        let mut id = [0; ID_BYTES];
        // Without randomness the id collides, and is drawn again.
        let _ = getrandom::fill(&mut id);
        quinn::ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// One stream per lane, for the life of the connection.
const LANES: u32 = 3;
/// The largest frame, so that one may be in flight while another is read.
const STREAM_WINDOW: u32 = 256 * 1024;
/// More than all lanes together, so that a blocked lane never blocks another.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What may be unacknowledged: 10 MB/s at 100 ms.
const SEND_WINDOW: u64 = 1024 * 1024;
const ID_BYTES: usize = 4;
/// Handshakes that wait to be accepted.
const INCOMING_MAX: usize = 4096;
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
