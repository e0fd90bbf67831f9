//! What the fuzzers run: one function per place where bytes of a stranger come in. Each takes any
//! bytes, and a panic is the bug it looks for.
//!
//! `tests/corpus.rs` runs them on the committed corpus and on some thousand mutations of it, with
//! the stable compiler. For real fuzzing `libfuzzer/` wraps them for cargo-fuzz; see `README.md`
//! here.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "only what is fuzzed must not panic, not what sets it up"
)]

mod network;
mod secrets;
mod talk;
mod words;
mod worlds;

pub use network::node_machine;
pub use secrets::{bundle, inbox_item, kept_secrets, message_open};
pub use talk::client_machine;
pub use words::{content, envelope, frame, frame_reader, records};
pub use worlds::simulator;

/// A function and the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 12] = [
    ("bundle", bundle),
    ("client_machine", client_machine),
    ("content", content),
    ("envelope", envelope),
    ("frame", frame),
    ("frame_reader", frame_reader),
    ("inbox_item", inbox_item),
    ("kept_secrets", kept_secrets),
    ("message_open", message_open),
    ("node_machine", node_machine),
    ("records", records),
    ("simulator", simulator),
];
