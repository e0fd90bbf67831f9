//! The keys with which a log may be written.

use std::collections::BTreeSet;

use crypto::SigningKey;
use proto::PublicKey;

/// The write keys of a log; its owner keeps them.
pub(crate) trait WriteKeys {
    /// The key whose public half is `public`.
    fn find(&self, public: &PublicKey) -> Option<&SigningKey>;
    /// The first key, with which a node makes its copy of the log.
    fn first(&self) -> Option<&SigningKey>;
    /// Keys that a node may know as the newest, from the newest that is not in `unpublished` back
    /// to the first.
    fn published(&self, unpublished: &BTreeSet<PublicKey>) -> Vec<&SigningKey>;
}
