//! Frames on a byte stream.

use proptest::{collection::vec, prelude::*, sample::Index};
use proto::{DecodeError, Frame, FrameReader, write_frame};

use crate::{
    any,
    bent::{bend, bends},
};

/// Feeds `bytes` in pieces that end at `cuts` and returns what came out, up to what ends a stream.
fn read(bytes: &[u8], cuts: &[Index]) -> (Vec<Result<Frame, DecodeError>>, usize, FrameReader) {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let (mut reader, mut frames, mut taken) = (FrameReader::default(), Vec::new(), 0);
    let mut begin = 0;
    for end in ends {
        reader.push(&bytes[begin..end]);
        begin = end;
        loop {
            match reader.next_frame() {
                Ok(Some((frame, size))) => {
                    taken += size;
                    frames.push(Ok(frame));
                }
                Ok(None) => break,
                Err(error) => {
                    frames.push(Err(error));
                    if error == DecodeError::TooLarge {
                        return (frames, taken, reader);
                    }
                }
            }
            assert!(frames.len() <= bytes.len(), "every frame takes at least one byte");
        }
    }
    (frames, taken, reader)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn frames_come_back_however_the_stream_is_cut(
        frames in vec(any::frame(), 0..6),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| write_frame(frame, &mut bytes));
        let (read, taken, reader) = read(&bytes, &cuts);
        prop_assert_eq!(read, frames.into_iter().map(Ok).collect::<Vec<_>>());
        prop_assert_eq!(taken, bytes.len());
        prop_assert!(!reader.is_midway());
    }

    #[test]
    fn a_frame_cut_short_is_waited_for(frame in any::frame(), cut in any::<Index>()) {
        let mut bytes = Vec::new();
        write_frame(&frame, &mut bytes);
        bytes.truncate(cut.index(bytes.len()));
        let (read, _, reader) = read(&bytes, &[]);
        prop_assert_eq!(read, []);
        prop_assert_eq!(reader.is_midway(), !bytes.is_empty());
    }

    #[test]
    fn cutting_changes_nothing_about_a_bent_stream(
        frames in vec(any::frame(), 1..4),
        bends in bends(),
        cuts in vec(any::<Index>(), 0..10),
    ) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| write_frame(frame, &mut bytes));
        let bytes = bend(bytes, &bends);
        prop_assert_eq!(read(&bytes, &cuts).0, read(&bytes, &[]).0);
    }

    #[test]
    fn noise_does_not_panic(bytes in vec(any::<u8>(), 0..300), cuts in vec(any::<Index>(), 0..10)) {
        prop_assert_eq!(read(&bytes, &cuts).0, read(&bytes, &[]).0);
    }
}
