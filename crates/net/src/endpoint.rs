//! Sockets, and how QUIC is set up on them.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::Peer;
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::QuicClientConfig,
};
use ring::hmac;

use crate::{Identity, Keys, Settings, StartError, lock::lock, tls};

/// The sockets of one driver.
#[derive(Debug)]
pub(crate) struct Endpoints {
    listening: Vec<Endpoint>,
    /// For dialling where no listening socket is of the right family; opened at need.
    dialling: Mutex<Vec<Endpoint>>,
    /// For dialling where a peer must not know the port; opened at need.
    apart: Mutex<Vec<Endpoint>>,
    transport: Arc<TransportConfig>,
}

impl Endpoints {
    /// Binds what is to listen. Nothing is accepted before [`Self::listening`] is polled.
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

    /// Where this listens, with the port that the system chose if it was to choose one.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listening.iter().filter_map(|endpoint| endpoint.local_addr().ok()).collect()
    }

    /// Begins a handshake with `peer` at `address`.
    pub(crate) fn connect(
        &self,
        identity: &Identity,
        peer: Peer,
        address: SocketAddr,
    ) -> io::Result<quinn::Connecting> {
        self.connect_by(&self.towards(address)?, identity, peer, address)
    }

    /// The same from a port that this machine uses for nothing else.
    pub(crate) fn connect_apart(
        &self,
        identity: &Identity,
        peer: Peer,
        address: SocketAddr,
    ) -> io::Result<quinn::Connecting> {
        self.connect_by(&any_port(&self.apart, address)?, identity, peer, address)
    }

    fn connect_by(
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
            None => any_port(&self.dialling, address),
        }
    }
}

/// An endpoint by which one gets to this address, on any port; opened if there is none yet.
fn any_port(opened: &Mutex<Vec<Endpoint>>, address: SocketAddr) -> io::Result<Endpoint> {
    let mut opened = lock(opened);
    if let Some(endpoint) = opened.iter().find(|endpoint| suits(endpoint, address)) {
        return Ok(endpoint.clone());
    }
    let endpoint = open(any(address), None, None)?;
    opened.push(endpoint.clone());
    Ok(endpoint)
}

fn suits(endpoint: &Endpoint, address: SocketAddr) -> bool {
    endpoint.local_addr().is_ok_and(|local| local.is_ipv4() == address.is_ipv4())
}

/// Any port, by which one gets to this address.
fn any(address: SocketAddr) -> SocketAddr {
    if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    }
}

fn open(
    address: SocketAddr,
    server: Option<quinn::ServerConfig>,
    identity: Option<&Identity>,
) -> io::Result<Endpoint> {
    let socket = UdpSocket::bind(address)?;
    let state = quinn::udp::UdpSocketState::new((&socket).into())?;
    // As much as the system gives: a burst of many peers must not overflow the socket.
    let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER);
    let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER);
    let mut config = EndpointConfig::default();
    config.cid_generator(|| Box::new(ShortIds)).min_reset_interval(Duration::from_millis(1));
    if let Some(identity) = identity {
        // Derived, so that a node which lost its connections in a crash can tell its peers so.
        let key = hmac::Key::new(hmac::HMAC_SHA256, identity.seed());
        let key = hmac::sign(&key, b"siskin1 stateless reset");
        config.reset_key(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())));
    }
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime))
}

/// What QUIC does on a connection. Tuned for many that idle: small windows, and nothing but the
/// keep-alive while nobody speaks.
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
        // Saves no datagram of a conversation and 2 % of those of a bulk transfer, and quinn-proto
        // 0.11.19 writes the frame without looking whether the packet has room.
        .ack_frequency_config(None)
        .allow_spin(false);
    config
}

/// Four bytes tell apart what one socket carries, and each message is four bytes smaller than with
/// the usual eight.
struct ShortIds;

impl quinn::ConnectionIdGenerator for ShortIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        let mut id = [0; ID_BYTES];
        // Without randomness the id is a collision, which is drawn again.
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
/// The largest frame, so that one may be on its way while another is read.
const STREAM_WINDOW: u32 = 256 * 1024;
/// More than all lanes together, so that a lane which stands still never holds up another.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What may be unacknowledged: 10 MB/s at 100 ms.
const SEND_WINDOW: u64 = 1024 * 1024;
const ID_BYTES: usize = 4;
/// Handshakes that wait for the accepting task.
const INCOMING_MAX: usize = 4096;
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
