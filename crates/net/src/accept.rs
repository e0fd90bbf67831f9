//! Accepting connections.

use std::{sync::Arc, time::Duration};

use quinn::{Endpoint, Incoming};
use tokio::time::timeout;

use crate::{
    address::canonical,
    admission::{Admission, AdmissionLimiter, Origin, Verdict},
    lanes::{self, Lanes},
    link::Link,
    registry::Registry,
    tls,
};

/// Accepts connections until the endpoint closes.
pub(crate) async fn accept(
    registry: Arc<Registry>,
    limiter: Arc<AdmissionLimiter>,
    endpoint: Endpoint,
) {
    while let Some(incoming) = endpoint.accept().await {
        let origin = limiter.origin(incoming.remote_address());
        match limiter.judge(origin, incoming.remote_address_validated()) {
            Verdict::Accept => {
                let admission = Admission::new(&limiter, origin);
                tokio::spawn(serve(Arc::clone(&registry), admission, origin, incoming));
                continue;
            }
            // Costs no handshake here, and a round trip there.
            Verdict::Retry => {
                let _ = incoming.retry();
            }
            Verdict::Ignore => incoming.ignore(),
            Verdict::Refuse => incoming.refuse(),
        }
        registry.tally().count_refused_handshake();
    }
}

async fn serve(registry: Arc<Registry>, admission: Admission, origin: Origin, incoming: Incoming) {
    let opened = Box::pin(timeout(HANDSHAKE_MAX, open(incoming, origin))).await;
    let Ok(Some((link, lanes))) = opened else {
        registry.tally().count_refused_handshake();
        return;
    };
    if registry.join(&link) {
        lanes::run(registry, link, lanes).await;
    }
    drop(admission);
}

/// Completes the handshake and accepts the lanes.
async fn open(incoming: Incoming, origin: Origin) -> Option<(Arc<Link>, Lanes)> {
    // The handshake proves this address. Later the connection may name another, unproved one.
    let is_direct = matches!(origin, Origin::Direct(_));
    let met_at = is_direct.then(|| canonical(incoming.remote_address()));
    let connection = incoming.accept().ok()?.await.ok()?;
    let peer = tls::peer_of(&connection)?;
    let lanes = Lanes::accept(&connection).await?;
    Some((Link::accepted(peer, connection, met_at), lanes))
}

/// From the first packet until the lanes are open.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
