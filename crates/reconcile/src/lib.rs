//! Set reconciliation: two sides with almost equal sets find the items that only one of them has,
//! at a cost that grows with the difference and not with the sets.
//!
//! ```text
//!  Comparison ── wants 0..8 ────────────────▶ Sketch of their items
//!   minus a Sketch ◀───────── 8 symbols ──── │
//!   of ours        ── wants 8..32 ──────────▶ │
//!      │           ◀──────── 24 symbols ───── ┘
//!      └▶ Difference { ours, theirs }
//! ```
//!
//! A set is encoded as an endless sequence of coded symbols. The difference of two sets' symbols is
//! the encoding of their difference, and some 1.35 to 1.7 times as many symbols as it has items
//! decode it. These are rateless invertible Bloom lookup tables (Yang, Gilad and Alizadeh,
//! "Practical Rateless Set Reconciliation", SIGCOMM 2024), with a key in all hashes: without it an
//! attacker cannot choose colliding items.
//!
//! Nothing here has a clock, randomness or a connection. Sets are iterated, not stored: a side
//! passes an iterator whenever symbols must be computed, or adds one item after the other, the same
//! ones each time. A symbol takes 32 bytes.

mod comparison;
mod mark;
mod sketch;
#[cfg(test)]
mod tests;

pub use comparison::{Comparison, Difference};
pub use mark::{Item, Key};
pub use sketch::{DIFFERENCES_MAX, Error, Sketch};
