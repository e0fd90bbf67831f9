//! Keeping a connection to a peer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use proto::{Code, Peer};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    hub::Hub,
    lanes::{self, Lanes},
    link::{Ending, Link},
    pulse::falls_silent,
};

/// Dials `peer`, and again whenever the connection ends, until the sender of `addresses` is
/// dropped. Any word from the sender ends the wait between two attempts.
pub(crate) async fn keep(
    hub: Arc<Hub>,
    peer: Peer,
    mut addresses: watch::Receiver<Vec<SocketAddr>>,
) {
    let mut failures = 0;
    loop {
        if let Some(link) = hub.link(&peer) {
            // It was the peer who dialled, or an earlier connection is being closed.
            tokio::select! {
                _ = link.connection.closed() => {}
                () = falls_silent(&link.connection) => link.end(Ending::Now(Code::Done)),
                gone = gone(&mut addresses) => return gone,
            }
            // Its task may take a moment to notice.
            tokio::task::yield_now().await;
        }
        let candidates = addresses.borrow_and_update().clone();
        let connected = tokio::select! {
            connected = Box::pin(connect(&hub, peer, &candidates)) => connected,
            gone = gone(&mut addresses) => return gone,
        };
        let began = Instant::now();
        if let Some((link, lanes)) = connected
            && hub.join(&link)
        {
            lanes::run(Arc::clone(&hub), link, lanes).await;
        }
        if began.elapsed() >= STABLE {
            failures = 0;
        }
        tokio::select! {
            () = sleep(back_off(failures)) => failures = failures.saturating_add(1),
            word = addresses.changed() => match word {
                Ok(()) => failures = 0,
                Err(_) => return,
            },
        }
    }
}

/// Resolves when nobody wants the connection any more.
async fn gone(addresses: &mut watch::Receiver<Vec<SocketAddr>>) {
    while addresses.changed().await.is_ok() {}
}

/// Tries one address after the other.
async fn connect(hub: &Hub, peer: Peer, candidates: &[SocketAddr]) -> Option<(Arc<Link>, Lanes)> {
    for address in candidates {
        match timeout(ATTEMPT_MAX, connect_to(hub, peer, *address)).await {
            Ok(Some(connected)) => return Some(connected),
            Ok(None) => hub.tally.refused_handshakes.add(1),
            Err(_) => tracing::debug!(?peer, %address, "no answer"),
        }
    }
    None
}

async fn connect_to(hub: &Hub, peer: Peer, address: SocketAddr) -> Option<(Arc<Link>, Lanes)> {
    let identity = hub.settings.keys.towards(&peer);
    let connecting = hub.endpoints.connect(&identity, peer, address);
    let connecting = connecting
        .inspect_err(|error| tracing::warn!(?peer, %address, %error, "can't dial"))
        .ok()?;
    let connection = connecting
        .await
        .inspect_err(|error| tracing::debug!(?peer, %address, %error, "not connected"))
        .ok()?;
    let lanes = Lanes::open(&connection).await?;
    Some((Link::new(peer, connection, true, Some(address)), lanes))
}

/// Tells whether the peer answers at one of these addresses if it can't know where from: on a socket of
/// its own, for an address translator lets in what it has let out to.
pub(crate) async fn is_there(hub: &Hub, peer: Peer, candidates: &[SocketAddr]) -> bool {
    let identity = hub.settings.keys.towards(&peer);
    let search = async {
        for address in candidates {
            let connecting = hub.endpoints.connect_apart(&identity, peer, *address);
            let Ok(connecting) = connecting else { continue };
            if let Ok(connection) = connecting.await {
                // Before there are lanes, so that it never becomes the link to this peer.
                connection.close(quinn::VarInt::from_u32(Code::Done as u32), b"");
                return true;
            }
        }
        false
    };
    timeout(TRY_MAX, Box::pin(search)).await.unwrap_or(false)
}

/// How long to wait after so many failures: anything up to the step, so that the peers of a node
/// that restarts don't all come back at the same moment.
fn back_off(failures: u32) -> Duration {
    let step = BACK_OFF_MIN.saturating_mul(2_u32.saturating_pow(failures)).min(BACK_OFF_MAX);
    let mut random = [0; 4];
    // Without randomness the wait is the whole step.
    let part = getrandom::fill(&mut random).map_or(u32::MAX, |()| u32::from_le_bytes(random));
    step.mul_f64(f64::from(part) / f64::from(u32::MAX))
}

/// One address, from the first packet until the lanes are open.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
/// All addresses of a peer that is tried, together.
const TRY_MAX: Duration = Duration::from_secs(3);
/// A connection that lasted this long starts the back-off anew when it ends.
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
