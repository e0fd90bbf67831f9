//! Decoders of what goes over the wire.

use proto::{
    Content, DecodeError, Envelope, Extension, Frame, FrameReader, LogGenesis, write_frame,
};

/// One frame without its length: what decodes comes back from its own encoding.
pub fn frame(bytes: &[u8]) {
    if let Ok(frame) = Frame::decode(bytes) {
        survives(&frame);
    }
}

/// A stream of frames; where it is cut changes nothing. The first byte says where.
pub fn frame_reader(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let (before, after) = stream.split_at_checked(usize::from(*cut)).unwrap_or((stream, &[]));
    let whole = read(&[stream]);
    assert_eq!(read(&[before, after]), whole);
    let frames: Vec<_> = whole.into_iter().flatten().collect();
    let again: Vec<u8> = frames.iter().flat_map(written).collect();
    assert_eq!(read(&[&again]), frames.into_iter().map(Ok).collect::<Vec<_>>());
}

/// An envelope, which has one encoding only, since its hash is its name.
pub fn envelope(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::decode(bytes) {
        assert_eq!(envelope.encode(), bytes);
    }
}

/// What a member says to another.
pub fn content(bytes: &[u8]) {
    if let Ok(content) = Content::decode(bytes) {
        assert_eq!(Content::decode(&content.encode()), Ok(content));
    }
}

/// The small structures that frames and envelopes carry as bytes, and names as people type them.
pub fn records(bytes: &[u8]) {
    if let Ok(extension) = Extension::decode(bytes) {
        assert_eq!(extension.as_bytes(), bytes);
    }
    if let Ok(genesis) = LogGenesis::decode(bytes) {
        assert_eq!(LogGenesis::decode(&genesis.encode()), Ok(genesis));
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    let _ = text.parse::<proto::AccountId>();
    let _ = text.parse::<proto::EnvelopeId>();
    if let Ok(address) = text.parse::<proto::NodeAddress>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

/// Asserts that a frame comes back from its own encoding.
pub(crate) fn survives(frame: &Frame) {
    assert_eq!(read(&[&written(frame)]), [Ok(frame.clone())]);
}

fn written(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(frame, &mut bytes);
    bytes
}

/// All frames of a stream that comes in these pieces, up to what ends it.
fn read(pieces: &[&[u8]]) -> Vec<Result<Frame, DecodeError>> {
    let mut reader = FrameReader::default();
    let mut frames = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_frame() {
                Ok(Some((frame, _))) => frames.push(Ok(frame)),
                Ok(None) => break,
                Err(error) => {
                    frames.push(Err(error));
                    if error == DecodeError::TooLarge {
                        return frames;
                    }
                }
            }
        }
    }
    frames
}
