//! Frames on a byte stream: each is preceded by its length as a protobuf varint.

use prost::Message;

use crate::{Frame, ParseError, limits, wire};

/// Appends `frame` with its length to `out`.
pub fn write_frame(frame: &Frame, out: &mut Vec<u8>) {
    let wire = wire::Frame::from(frame);
    out.reserve(wire.encoded_len().saturating_add(prost::length_delimiter_len(wire.encoded_len())));
    // A `Vec` grows, so encoding into it can't run out of room.
    let _ = wire.encode_length_delimited(out);
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    consumed: usize,
}

impl FrameReader {
    /// Feeds the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole frame and the number of its bytes on the wire, `None` until there is
    /// one. After [`DecodeError::TooLarge`] or [`DecodeError::Wire`] on the length the stream has
    /// lost its place and must be closed; any other error concerns this one frame.
    pub fn next_frame(&mut self) -> Result<Option<(Frame, usize)>, DecodeError> {
        let rest = self.buffer.get(self.consumed..).unwrap_or_default();
        let mut cursor = rest;
        let length = match prost::decode_length_delimiter(&mut cursor) {
            Ok(length) => length,
            Err(_) if rest.len() < VARINT_MAX => return Ok(None),
            Err(_) => return Err(DecodeError::TooLarge),
        };
        if length > limits::FRAME_MAX {
            return Err(DecodeError::TooLarge);
        }
        let Some(body) = cursor.get(..length) else { return Ok(None) };
        let taken = rest.len().saturating_sub(cursor.len()).saturating_add(length);
        let frame = Frame::decode(body);
        self.consumed = self.consumed.saturating_add(taken);
        if self.consumed == self.buffer.len() {
            // An idle connection holds no buffer.
            *self = Self::default();
        }
        Ok(Some((frame?, taken)))
    }

    /// Returns whether a frame has begun and is incomplete.
    pub fn is_midway(&self) -> bool {
        self.buffer.len() > self.consumed
    }
}

/// Bytes that are not what they should be. Nothing was kept of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the encoding of any message.
    #[error("not a valid message")]
    Wire,
    /// They end too early.
    #[error("cut short")]
    Truncated,
    /// Larger than a limit allows.
    #[error("larger than allowed")]
    TooLarge,
    /// A key, id or signature of another length.
    #[error("a field of the wrong length")]
    Length,
    /// A kind or a frame that this version does not know; `request` is what to answer, if known.
    #[error("of an unknown kind")]
    Kind,
    /// An unknown frame in answer to, or asking for, this request.
    #[error("an unknown frame (request {0})")]
    UnknownFrame(u32),
    /// Of a version that this build does not speak.
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

/// Bytes that a 64-bit varint takes at most.
const VARINT_MAX: usize = 10;
