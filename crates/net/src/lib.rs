//! The driver: runs any [`Machine`](proto::Machine) over QUIC and a [`Store`](store::Store).
//!
//! ```text
//!  peers ═QUIC═ link tasks ──frames──▶ ┌────────────────┐ ◀── commands, reads
//!               (tokio)    ◀──bytes─── │ machine thread │ ──▶ events
//!                                      │ machine, store │
//!                                      └────────────────┘
//! ```
//!
//! The machine and its store live on a thread of their own. It takes one input and whatever else
//! waits, applies what the machine commits at once, and holds back everything that follows a commit
//! until **one** disk sync has made all of them durable; there is no linger. Without a commit
//! nothing waits. When the store fails the driver stops on the spot and transmits nothing more.
//!
//! Each peer has one connection, mutually authenticated by Ed25519 raw public keys (RFC 7250) in
//! TLS 1.3, with one bidirectional stream per [`Lane`](proto::Lane). Nothing a peer does can make
//! the driver hold more than fixed amounts of memory: a peer that sends too fast is read more
//! slowly, one that does not read loses its connection. Specified in `spec/transport.md`.
//!
//! A peer that cannot be dialled is reached through a port of a driver that it is connected to; see
//! [`Reach`](proto::Reach).
//!
//! This is the only asynchronous library of the workspace and the only one that reads the clock or
//! asks the operating system for randomness.
#![allow(clippy::disallowed_methods, reason = "the clock and threads belong to the driver")]
#![allow(clippy::disallowed_types, reason = "sockets belong to the driver")]

mod accept;
mod address;
mod admission;
mod clock;
mod counters;
mod dial;
mod driver;
mod endpoint;
mod engine;
mod error;
mod events;
mod identity;
mod keepalive;
mod lanes;
mod link;
mod lock;
mod registry;
mod relay;
mod settings;
mod spawner;
#[cfg(test)]
mod tests;
mod tls;

pub use counters::Counters;
pub use driver::{Driver, Meter, Reader, Running};
pub use error::{DriverError, StartError};
pub use events::Events;
pub use identity::{Identity, Keys};
pub use settings::Settings;
