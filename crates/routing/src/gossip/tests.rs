//! Tests of gossip: networks of it without sockets, and single nodes that are told anything.

#![expect(clippy::arithmetic_side_effects, reason = "a test may panic")]

mod floods;
mod healing;
mod spreading;
mod suspicions;
mod world;
