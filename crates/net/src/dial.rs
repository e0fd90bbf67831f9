//! Keeping a connection to a peer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use proto::{Code, Peer};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    endpoint::Endpoints,
    keepalive::until_silent,
    lanes::{self, Lanes},
    link::{Ending, Link},
    registry::Registry,
};

/// Dials one peer.
#[derive(Debug)]
pub(crate) struct Dialer {
    registry: Arc<Registry>,
    endpoints: Arc<Endpoints>,
    peer: Peer,
}

impl Dialer {
    pub(crate) fn new(registry: Arc<Registry>, endpoints: Arc<Endpoints>, peer: Peer) -> Self {
        Self { registry, endpoints, peer }
    }

    /// Dials, and again whenever the connection ends, until the sender of `addresses` is dropped.
    /// Any message from the sender ends the pause between two attempts.
    pub(crate) async fn keep(self, mut addresses: watch::Receiver<Vec<SocketAddr>>) {
        let mut failures = 0;
        loop {
            if let Some(link) = self.registry.link(&self.peer) {
                // The peer has dialled, or an earlier connection is being closed.
                tokio::select! {
                    _ = link.connection().closed() => {}
                    () = until_silent(link.connection()) => link.end(Ending::Now(Code::Done)),
                    unwanted = until_unwanted(&mut addresses) => return unwanted,
                }
                // Its task may need a turn to notice.
                tokio::task::yield_now().await;
            }
            let candidates = addresses.borrow_and_update().clone();
            let connected = tokio::select! {
                connected = Box::pin(self.connect(&candidates)) => connected,
                unwanted = until_unwanted(&mut addresses) => return unwanted,
            };
            let began = Instant::now();
            if let Some((link, lanes)) = connected
                && self.registry.join(&link)
            {
                lanes::run(Arc::clone(&self.registry), link, lanes).await;
            }
            if began.elapsed() >= STABLE {
                failures = 0;
            }
            tokio::select! {
                () = sleep(back_off(failures)) => failures = failures.saturating_add(1),
                changed = addresses.changed() => match changed {
                    Ok(()) => failures = 0,
                    Err(_) => return,
                },
            }
        }
    }

    /// Tries one address after the other.
    async fn connect(&self, candidates: &[SocketAddr]) -> Option<(Arc<Link>, Lanes)> {
        for address in candidates {
            match timeout(ATTEMPT_MAX, self.connect_to(*address)).await {
                Ok(Some(connected)) => return Some(connected),
                Ok(None) => self.registry.tally().count_refused_handshake(),
                Err(_) => tracing::debug!(peer = ?self.peer, %address, "no answer"),
            }
        }
        None
    }

    async fn connect_to(&self, address: SocketAddr) -> Option<(Arc<Link>, Lanes)> {
        let peer = self.peer;
        let identity = self.registry.settings().keys.towards(&peer);
        let connecting = self.endpoints.connect(&identity, peer, address);
        let connecting = connecting
            .inspect_err(|error| tracing::warn!(?peer, %address, %error, "can't dial"))
            .ok()?;
        let connection = connecting
            .await
            .inspect_err(|error| tracing::debug!(?peer, %address, %error, "not connected"))
            .ok()?;
        let lanes = Lanes::open(&connection).await?;
        Some((Link::dialled(peer, connection, address), lanes))
    }

    /// Returns whether the peer answers at one of these addresses to an endpoint that it has never
    /// heard of: an address translator lets in packets from where it has let packets out to.
    pub(crate) async fn probe(&self, candidates: &[SocketAddr]) -> bool {
        let identity = self.registry.settings().keys.towards(&self.peer);
        let search = async {
            for address in candidates {
                let connecting = self.endpoints.connect_apart(&identity, self.peer, *address);
                let Ok(connecting) = connecting else { continue };
                if let Ok(connection) = connecting.await {
                    // Before there are lanes, so that it never becomes the link to this peer.
                    connection.close(quinn::VarInt::from_u32(Code::Done as u32), b"");
                    return true;
                }
            }
            false
        };
        timeout(PROBE_MAX, Box::pin(search)).await.unwrap_or(false)
    }
}

/// Resolves when the connection is not wanted any more.
async fn until_unwanted(addresses: &mut watch::Receiver<Vec<SocketAddr>>) {
    while addresses.changed().await.is_ok() {}
}

/// Returns how long to wait after so many failures: a random part of the step, so that the peers of
/// a restarted node don't all come back at once.
fn back_off(failures: u32) -> Duration {
    let step = BACK_OFF_MIN.saturating_mul(2_u32.saturating_pow(failures)).min(BACK_OFF_MAX);
    let mut random = [0; 4];
    // Without randomness the wait is the whole step.
    let part = getrandom::fill(&mut random).map_or(u32::MAX, |()| u32::from_le_bytes(random));
    step.mul_f64(f64::from(part) / f64::from(u32::MAX))
}

/// One address, from the first packet until the lanes are open.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
/// All addresses of a probe together.
const PROBE_MAX: Duration = Duration::from_secs(3);
/// A connection that lasted this long resets the back-off when it ends.
const STABLE: Duration = Duration::from_secs(10);
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

#[test]
fn backs_off_within_bounds() {
    for failures in 0..100 {
        assert!(back_off(failures) <= BACK_OFF_MAX);
    }
    assert!(back_off(0) <= BACK_OFF_MIN);
    assert!((0..50).any(|_| back_off(20) > Duration::from_secs(1)));
}
