//! One lane of a connection, one way: what is on its way and what waits.

use std::collections::BTreeMap;

use proto::{Instant, Lane, limits};

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Flying {
    pub(super) lane: Lane,
    /// Of its lane.
    pub(super) number: u64,
    pub(super) departs: Instant,
    pub(super) load: usize,
    /// It is through the downlink.
    pub(super) admitted: bool,
    pub(super) bytes: Vec<u8>,
}

/// One lane, one way.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// What follows doesn't leave before.
    pub(super) departs: Instant,
    /// What follows doesn't arrive before.
    pub(super) arrives: Instant,
    /// Frames.
    pub(super) sent: u64,
    /// The number of the next frame to arrive.
    pub(super) expected: u64,
    /// From this number on, frames won't arrive.
    pub(super) lost_from: Option<u64>,
    /// Bytes that were sent and have not arrived.
    pub(super) waiting: usize,
    /// Frames that are there before those which should come first.
    pub(super) early: BTreeMap<u64, Flying>,
    /// Frames that wait for the end of a cut.
    pub(super) stuck: BTreeMap<u64, Vec<u8>>,
}

impl Stream {
    pub(super) fn is_stuck(&self) -> bool {
        !self.stuck.is_empty()
    }

    /// What is stuck is lost, and what would come after it.
    pub(super) fn drop_stuck(&mut self) {
        let stuck = std::mem::take(&mut self.stuck);
        if let Some(first) = stuck.keys().next() {
            self.loses_from(*first);
        }
    }

    pub(super) fn loses_from(&mut self, number: u64) {
        self.lost_from = Some(self.lost_from.map_or(number, |first| first.min(number)));
    }

    /// Something is on its way.
    pub(super) fn is_outstanding(&self) -> bool {
        self.expected < self.lost_from.unwrap_or(u64::MAX).min(self.sent)
    }
}

/// Bytes that may wait on a lane: see `spec/transport.md`, section 4.
pub(super) fn waiting_max(lane: Lane) -> usize {
    match lane {
        Lane::Control => limits::QUEUE_BYTES_MAX,
        Lane::Messages => MESSAGES_BYTES_MAX,
        Lane::Bulk => BULK_BYTES_MAX,
    }
}

/// A full [`limits::DELIVER_WINDOW`] of the largest envelopes.
const MESSAGES_BYTES_MAX: usize = 256 * (limits::ENVELOPE_MAX + 1024);
const _: () = assert!(limits::DELIVER_WINDOW == 256);
/// Sixteen of the largest pages.
const BULK_BYTES_MAX: usize = 16 * limits::FRAME_MAX;
