//! Set reconciliation: two peers that hold almost the same items find those that only one of them
//! has, for bytes that grow with the difference and not with the sets.
//!
//! ```text
//!  Comparison ── wants 0..8 ────────────────▶ Sketch of their items
//!   minus a Sketch ◀───────── 8 symbols ──── │
//!   of ours        ── wants 8..32 ──────────▶ │
//!      │           ◀──────── 24 symbols ───── ┘
//!      └▶ Difference { ours, theirs }
//! ```
//!
//! A set is sent as an unlimited sequence of coded symbols; of two sets the symbols' differences
//! are the symbols of the difference, and about 1.35 to 1.7 times as many as it has items give it
//! away. These are rateless invertible Bloom lookup tables (Yang, Gilad and Alizadeh, "Practical
//! Rateless Set Reconciliation", SIGCOMM 2024), with a key in all hashes: an attacker who chooses
//! items without knowing it can't make any of them collide.
//!
//! Nothing here has a clock, randomness or a connection. Sets are walked through, not kept: a side
//! passes an iterator whenever symbols have to be computed, or adds one item after the other, the
//! same ones each time. What is kept is 32 bytes a symbol.

mod comparison;
mod mark;
mod sketch;
#[cfg(test)]
mod tests;

pub use comparison::{Comparison, Difference};
pub use mark::{Item, Key};
pub use sketch::{DIFFERENCES_MAX, Error, Sketch};
