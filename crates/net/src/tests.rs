//! A small machine over real sockets, on good days and bad ones.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic, and picks what it cares about"
)]

mod bad_disk;
mod bad_peer;
mod bad_relay;
mod good_day;
mod harness;
mod nat;
mod relay;
