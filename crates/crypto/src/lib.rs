//! Every key and every ciphertext: identity, envelope signatures, groups, history keys, recovery.
//!
//! ```text
//!  Phrase ─▶ recovery key ─▶ Delegation ─▶ Authority ─▶ record ─▶ Bundle      (spec/accounts.md)
//!                                             devices │      inbox key │
//!  Cgka ─▶ root of an epoch ─▶ Epoch ─▶ KeyTree ─▶ message keys        └─▶ sealed contact requests
//!                                └─▶ write key ─▶ envelopes
//! ```
//!
//! Nothing here has a clock, a disk or randomness of its own: random bytes come from the generator
//! that the caller passes in. Secrets zeroize when dropped and `Debug` never shows them. What a
//! peer sends is checked once, into types that can't hold what was not checked.
#![deny(clippy::expect_used)]

mod envelope;
pub mod group;
pub mod identity;
mod memory;
pub mod node;
mod signing;
#[cfg(test)]
mod vectors;

pub use envelope::{sign_envelope, verify_envelope, verify_envelopes};
pub use signing::{
    BadSignature, OPEN_CONTEXT, SigningKey, derive_key, is_weak, open_proof_message, verify,
};
