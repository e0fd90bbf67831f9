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
mod bundle_error;
mod chain;
mod delegation;
mod genesis;
mod inbox;
mod phrase;
mod record;
mod request;
mod rotation;
pub(crate) mod statement;

pub use authority::{Authority, DelegateError, rotate};
pub use bundle::{Bundle, Precedence};
pub use bundle_error::BundleError;
pub use inbox::InboxKey;
pub use phrase::{Phrase, PhraseError};
pub use record::{Device, UnsignedRecord};
pub use request::{OpenedRequest, RequestError, open_request, seal_request};

#[cfg(test)]
pub(crate) mod tests;
