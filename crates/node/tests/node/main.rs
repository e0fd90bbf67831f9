//! The node through its inputs and outputs, over rows in memory, with devices that sign for real.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic"
)]

mod accounts;
mod acks;
mod announcements;
mod anti_entropy;
mod batch_verifier;

mod copies;
mod delivery;
mod durability;
mod gauges;
mod inboxes;
mod logs;
mod neighbours;
mod network;
mod quotas;
mod refusals;
mod replication;
mod reserve;
mod restore;
mod routes;
mod spread;
mod strangers;
mod town;
mod verify;
mod world;
