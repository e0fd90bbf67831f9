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

mod cgka;
mod envelope;
mod epoch;
mod identity;
mod inbox;
mod key_tree;
mod memory;
mod message;
mod mls;
mod node;
mod receipt;
mod request;
mod signing;
#[cfg(test)]
mod vectors;

pub use cgka::{Allowed, Cgka, CgkaError, Committed, Created, EpochOut, Joined, Member, Processed};
pub use envelope::{sign_envelope, verify_envelope, verify_envelopes};
pub use epoch::{CommitId, Epoch};
pub use identity::{
    Authority, Bundle, BundleError, DelegateError, Device, Genesis, Phrase, PhraseError,
    RecordDraft, Standing, rotate,
};
pub use inbox::{InboxKey, SealError, seal_to_inbox};
pub use key_tree::{KeyTree, NotATree};
pub use message::{
    OpenError, Opened, SealedBy, Unsealable, open, open_signal, seal_commit, seal_message,
    seal_signal, sealed_len,
};
pub use mls::Mls;
pub use node::{
    NodeDraft, NodeRecord, RecordError, Suspicion, Verifier, leading_zeros, place, prove_work,
};
pub use proto::wire::CommitLink;
pub use receipt::{LossProof, NoProof, sign_held, sign_lost, verify_held, verify_lost};
pub use request::{OpenedRequest, RequestError, open_request, seal_request};
pub use signing::{
    BadSignature, OPEN_CONTEXT, SigningKey, derive_key, is_weak, open_proof_message, verify,
};
