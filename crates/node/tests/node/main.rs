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
mod brief;
mod city;
mod compare;
mod copies;
mod delivery;
mod durability;
mod foresight;
mod gauges;
mod inboxes;
mod logs;
mod network;
mod quotas;
mod receipts;
mod refusals;
mod renewal;
mod replication;
mod routes;
mod spread;
mod standby;
mod strangers;
mod town;
mod verify;
mod world;
