//! Devices and nodes: the real machines in one network, over rows in memory and virtual time.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic"
)]

mod audit;
mod conversation;
mod copies;
mod crossing;
mod failover;
mod faults;
mod hostile;
mod limits;
mod lying_home;
mod migration;
mod refusals;
mod reserve;
mod retries;
mod withdrawn;
mod world;
