//! What can be wrong with a bundle, or with one of its statements.

/// Why bytes are no valid bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// More bytes or rotations than the limits allow.
    #[error("the bundle is larger than allowed")]
    TooLarge,
    /// Not the one encoding of a bundle, a part is missing, or a key is of the wrong length.
    #[error("not a bundle of this version")]
    Malformed,
    /// A statement about another account.
    #[error("a statement in the bundle is about another account")]
    Account,
    /// A signature is missing or not by the key that the chain demands.
    #[error("a signature in the bundle is not valid")]
    Signature,
    /// Rotations out of order, a record of another delegation, or a count that begins with 0.
    #[error("the statements of the bundle don't follow one another")]
    Serial,
    /// None, too many, one twice, or no key or a weak one.
    #[error("the bundle's devices are not valid")]
    Devices,
    /// None, too many, one twice, no address, or a number of copies beyond the limits.
    #[error("the bundle's home set is not valid")]
    Homes,
    /// Not an X-Wing public key.
    #[error("the bundle's inbox key is not valid")]
    InboxKey,
}
