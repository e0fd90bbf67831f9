//! Accounts: from 24 words to a bundle that verifies against the account's id alone. Specified in
//! `spec/accounts.md`.
//!
//! ```text
//!  genesis ─hash─▶ AccountId
//!  recovery key ──signs──▶ rotation ─▶ next recovery key ──signs──▶ delegation ─▶ authority
//!                                                                                  │ signs
//!                                                    devices, homes, inbox key ◀─ record
//! ```

mod authority;
mod bundle;
mod chain;
mod delegation;
mod genesis;
mod phrase;
mod record;
mod rotation;
pub(crate) mod statement;

pub use authority::{Authority, DelegateError, rotate};
pub use bundle::{Bundle, BundleError, Standing};
pub use genesis::Genesis;
pub use phrase::{Phrase, PhraseError};
pub use record::{Device, RecordDraft};

#[cfg(test)]
pub(crate) mod tests;
