//! HTTP/1.1 for a router: a bounded number of connections, each for a bounded time.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::failure::Failure;

/// What one server takes from its peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpLimits {
    pub(crate) connections: usize,
    /// From the first byte of a request to the last of the response.
    pub(crate) connection_time: Duration,
    /// Bytes of a request line with its headers.
    pub(crate) head: usize,
}

/// A TCP port on which a router is served.
pub(crate) struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl HttpServer {
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| Failure::io(address, &error))?;
        let address = listener.local_addr().map_err(|error| Failure::io(address, &error))?;
        Ok(Self { listener, address })
    }

    /// Returns the address, with the port that the system chose for port 0.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests, one for each connection, until dropped.
    pub(crate) async fn serve(self, router: Router, limits: HttpLimits) {
        let room = Arc::new(Semaphore::new(limits.connections));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                // Most likely too many files are open. Nothing tells when one is closed, and
                // accepting fails at once until then.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let router = router.clone();
            tokio::spawn(async move {
                let _ = timeout(limits.connection_time, answer(stream, router, limits)).await;
                drop(place);
            });
        }
    }
}

async fn answer(stream: TcpStream, router: Router, limits: HttpLimits) {
    let served = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .max_buf_size(limits.head)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP connection failed");
    }
}

const PAUSE: Duration = Duration::from_millis(100);
