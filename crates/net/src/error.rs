//! Why a driver does not start, or has stopped.

use std::{io, net::SocketAddr};

use proto::OpenError;
use store::StoreError;

/// The driver could not start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error("can't listen on {0}: {1}")]
    Bind(SocketAddr, #[source] io::Error),
    /// Listening needs [`Keys::One`](crate::Keys::One).
    #[error("a side that listens must have one identity")]
    NoIdentity,
    /// The TLS library rejects the key.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The machine cannot open the rows.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system provides no thread or no randomness.
    #[error("the system refuses: {0}")]
    System(#[source] io::Error),
}

/// Why a driver has stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// The store failed. Nothing that follows the last successful sync was transmitted.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine broke its contract and panicked.
    #[error("the machine panicked")]
    Panicked,
    /// The application stopped it.
    #[error("the driver was stopped")]
    Stopped,
}
