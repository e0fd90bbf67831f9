//! Frames on a byte stream, each preceded by its length as a protobuf varint.

use prost::Message;

use crate::{DecodeError, Frame, limits, wire};

/// Appends `frame` with its length to `out`.
pub fn write_frame(frame: &Frame, out: &mut Vec<u8>) {
    let wire = wire::Frame::from(frame);
    out.reserve(wire.encoded_len().saturating_add(prost::length_delimiter_len(wire.encoded_len())));
    // A `Vec` grows, so encoding into it can't run out of room.
    let _ = wire.encode_length_delimited(out);
}

/// Splits a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    consumed: usize,
}

impl FrameReader {
    /// Appends the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole frame and the number of its bytes on the wire, `None` until there is
    /// one. After [`DecodeError::TooLarge`] or [`DecodeError::Wire`] on the length, framing is lost
    /// and the stream must be closed; any other error concerns this one frame.
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

/// Bytes that a 64-bit varint takes at most.
const VARINT_MAX: usize = 10;
