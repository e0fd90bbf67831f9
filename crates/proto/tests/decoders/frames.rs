//! Frames.

use proptest::{collection::vec, prelude::*};
use proto::{DecodeError, Frame, FrameReader, limits, write_frame};

use crate::{
    any,
    bent::{bend, bends},
};

/// The encoding of one frame, without its length.
fn encode(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(frame, &mut bytes);
    let length = bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    bytes.split_off(length)
}

fn decodes_stably(bytes: &[u8]) {
    if let Ok(frame) = Frame::decode(bytes) {
        assert_eq!(Frame::decode(&encode(&frame)), Ok(frame));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn come_back(frame in any::frame()) {
        prop_assert_eq!(Frame::decode(&encode(&frame)), Ok(frame));
    }

    #[test]
    fn fields_of_a_later_version_are_skipped(frame in any::frame(), unknown in any::unknown_fields()) {
        // Fields 15 and 99 of a frame are no body of this version.
        let bytes = [encode(&frame), unknown].concat();
        prop_assert_eq!(Frame::decode(&bytes), Ok(frame));
    }

    #[test]
    fn bent_frames_do_not_panic(frame in any::frame(), bends in bends()) {
        decodes_stably(&bend(encode(&frame), &bends));
    }

    #[test]
    fn noise_does_not_panic(bytes in vec(any::<u8>(), 0..300)) {
        decodes_stably(&bytes);
    }
}

#[test]
fn an_unknown_frame_names_its_request() {
    // Request 7, then field 40, which no version knows yet.
    let bytes = [0x08, 7, 0xc2, 0x02, 0];
    assert_eq!(Frame::decode(&bytes), Err(DecodeError::UnknownFrame(7)));
    assert_eq!(Frame::decode(&[]), Err(DecodeError::UnknownFrame(0)));
}

#[test]
fn an_oversized_length_is_refused_before_its_bytes_come() {
    let mut reader = FrameReader::default();
    let mut length = Vec::new();
    prost::encode_length_delimiter(limits::FRAME_MAX + 1, &mut length).unwrap();
    reader.push(&length);
    assert_eq!(reader.next_frame(), Err(DecodeError::TooLarge));
}
