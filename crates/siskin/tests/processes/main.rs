//! Tests of the binary: real processes, real disks, loopback only. Nothing waits for a time to
//! pass. Children are killed when a test ends, however it ends.
#![allow(clippy::disallowed_methods, reason = "tests look at files and start processes")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed, as it should"
)]

mod account;
mod api;
mod demo;
mod homes;
mod mdns;
mod messages;
mod metrics;
mod network;
mod node;
mod people;
