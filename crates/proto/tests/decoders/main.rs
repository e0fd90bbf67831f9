//! Every decoder against generated values, cut and bent encodings, and noise: what was encoded
//! comes back, and nothing that a peer can send makes a decoder panic.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod any;
mod bent;
mod contents;
mod envelopes;
mod frames;
mod names;
mod streams;
mod words;
