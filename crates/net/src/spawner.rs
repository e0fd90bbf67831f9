//! The tasks of one driver: those that accept, dial, probe and relay.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::{Code, Peer, RelayPort, RelayToken};
use tokio::{runtime::Handle, sync::watch, time::timeout};

use crate::{
    accept::accept,
    admission::AdmissionLimiter,
    dial::Dialer,
    endpoint::Endpoints,
    link::Ending,
    lock::lock,
    registry::Registry,
    relay::{Relays, TunnelEnds},
};

/// Starts and ends tasks; what they do shows in the [`Registry`].
#[derive(Debug)]
pub(crate) struct Spawner {
    registry: Arc<Registry>,
    endpoints: Arc<Endpoints>,
    limiter: Arc<AdmissionLimiter>,
    runtime: Handle,
    /// Peers to keep a connection to; the dialling task ends when its sender is dropped.
    dials: Mutex<BTreeMap<Peer, watch::Sender<Vec<SocketAddr>>>>,
    relays: Mutex<Relays>,
}

impl Spawner {
    /// Spawns on the tokio runtime of the caller.
    pub(crate) fn new(registry: Arc<Registry>, endpoints: Endpoints) -> Self {
        Self {
            limiter: Arc::new(AdmissionLimiter::new(registry.settings())),
            registry,
            endpoints: Arc::new(endpoints),
            runtime: Handle::current(),
            dials: Mutex::default(),
            relays: Mutex::default(),
        }
    }

    /// Returns the listening addresses, with the ports that the system chose.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.endpoints.addresses()
    }

    /// Begins to accept connections.
    pub(crate) fn accept(&self) {
        for endpoint in self.endpoints.listening() {
            let (registry, limiter) = (Arc::clone(&self.registry), Arc::clone(&self.limiter));
            self.runtime.spawn(accept(registry, limiter, endpoint.clone()));
        }
    }

    /// Keeps a connection to `peer` from now on. If that is already so, dials at once if needed.
    pub(crate) fn dial(&self, peer: Peer, addresses: Vec<SocketAddr>) {
        let mut dials = lock(&self.dials);
        if let Some(dial) = dials.get(&peer) {
            dial.send_replace(addresses);
            return;
        }
        let (sender, receiver) = watch::channel(addresses);
        dials.insert(peer, sender);
        drop(dials);
        self.runtime.spawn(self.dialer(peer).keep(receiver));
    }

    /// Stops dialling `peer` and closes the connection after what was transmitted.
    pub(crate) fn hang_up(&self, peer: &Peer) {
        lock(&self.dials).remove(peer);
        if let Some(link) = self.registry.link(peer) {
            link.end(Ending::Flushed(Code::Done));
        }
    }

    /// Dials every peer that is not connected now, without waiting any longer.
    pub(crate) fn dial_now(&self) {
        for dial in lock(&self.dials).values() {
            dial.send_modify(|_| {});
        }
    }

    pub(crate) fn stop_dialling(&self) {
        lock(&self.dials).clear();
    }

    /// Finds out whether a peer can be dialled from an endpoint that it has never heard of.
    pub(crate) fn probe(&self, peer: Peer, addresses: Vec<SocketAddr>) {
        let dialer = self.dialer(peer);
        let registry = Arc::clone(&self.registry);
        self.runtime.spawn(async move {
            let is_there = dialer.probe(&addresses).await;
            registry.report_tried(peer, is_there);
        });
    }

    fn dialer(&self, peer: Peer) -> Dialer {
        Dialer::new(Arc::clone(&self.registry), Arc::clone(&self.endpoints), peer)
    }

    /// Opens a port through which `peer` is reached, unless it has one.
    pub(crate) fn open_relay(&self, peer: Peer) -> Option<RelayPort> {
        let _runtime = self.runtime.enter();
        lock(&self.relays).open(&self.registry, peer, &self.endpoints.addresses())
    }

    /// Has this machine reached through the port that `through` opened.
    pub(crate) fn open_tunnel(&self, through: Peer, at: SocketAddr, token: RelayToken) {
        let Some(listening) = self.endpoints.addresses().first().copied() else {
            return tracing::warn!("no tunnel: this driver does not listen");
        };
        let _runtime = self.runtime.enter();
        let ends = TunnelEnds::new(through, at, token, listening);
        lock(&self.relays).tunnel(&self.registry, &self.limiter, ends);
    }

    /// Closes the port and the tunnel that depend on the connection to `peer`.
    pub(crate) fn close_relays(&self, peer: &Peer) {
        lock(&self.relays).close(peer);
    }

    /// Ends what a stopped machine no longer needs; its connections may still flush.
    pub(crate) fn stop(&self) {
        self.stop_dialling();
        *lock(&self.relays) = Relays::default();
    }

    /// Closes all connections at once, and waits at most [`CLOSE_MAX`] until the peers are told.
    pub(crate) async fn close(&self) {
        self.endpoints.close();
        let _ = timeout(CLOSE_MAX, self.endpoints.closed()).await;
    }
}

/// The packets that tell peers of the close leave at once. QUIC then lingers for three times its
/// timeout to repeat them; a command on a far node should not.
const CLOSE_MAX: Duration = Duration::from_millis(100);
