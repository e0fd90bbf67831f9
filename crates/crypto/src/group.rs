//! Groups: MLS behind the trait [`Cgka`], the secrets of its epochs, and the ciphertexts sealed
//! with them. Specified in `spec/encryption.md`.
//!
//! ```text
//!  Cgka ─▶ root of an epoch ─▶ Epoch ─▶ key tree ─▶ message keys ─▶ ciphertexts
//!                                └─▶ write key ─▶ envelopes
//! ```

mod cgka;
mod epoch;
mod key_tree;
mod message;
mod mls;

pub use cgka::{
    Allowed, Cgka, CgkaError, Committed, Created, EpochOut, Intent, Joined, Member, NewEpoch,
    Processed,
};
pub use epoch::{CommitId, Epoch};
pub use message::{OpenError, Opened, sealed_len};
pub use mls::Mls;
pub use proto::wire::CommitRef;
