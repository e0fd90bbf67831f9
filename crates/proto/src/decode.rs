//! What can be wrong with bytes, and checks that all decoders share.

use crate::ParseError;

/// Bytes that cannot be decoded. Nothing was kept of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a valid encoding.
    #[error("not a valid message")]
    Wire,
    /// The bytes end too early.
    #[error("cut short")]
    Truncated,
    /// Larger than a limit allows.
    #[error("larger than allowed")]
    TooLarge,
    /// A key, id or signature of the wrong length.
    #[error("a field of the wrong length")]
    Length,
    /// A kind that this version does not know.
    #[error("of an unknown kind")]
    Kind,
    /// An unknown frame with this request number.
    #[error("an unknown frame (request {0})")]
    UnknownFrame(u32),
    /// A version that this build does not support.
    #[error("of an unknown version")]
    Version,
}

impl From<prost::DecodeError> for DecodeError {
    fn from(_: prost::DecodeError) -> Self {
        Self::Wire
    }
}

impl From<ParseError> for DecodeError {
    fn from(_: ParseError) -> Self {
        Self::Length
    }
}

/// Checks the length of a field.
pub(crate) fn at_most(bytes: Vec<u8>, max: usize) -> Result<Vec<u8>, DecodeError> {
    if bytes.len() > max { Err(DecodeError::TooLarge) } else { Ok(bytes) }
}

/// Converts the items of a repeated field, of which there may be at most `max`.
pub(crate) fn each<T, U>(
    items: Vec<T>,
    max: usize,
    convert: impl Fn(T) -> Result<U, DecodeError>,
) -> Result<Vec<U>, DecodeError> {
    if items.len() > max {
        return Err(DecodeError::TooLarge);
    }
    items.into_iter().map(convert).collect()
}
