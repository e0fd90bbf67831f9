//! What the driver counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the driver has done since it started.
#[expect(missing_docs, reason = "the names say it; lines where they don't")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub frames_in: u64,
    pub frames_out: u64,
    /// Bytes of frames, with their length prefix.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// UDP payload of connections that were authenticated, headers and acknowledgements included.
    pub udp_bytes_in: u64,
    pub udp_bytes_out: u64,
    pub udp_datagrams_in: u64,
    pub udp_datagrams_out: u64,
    /// Frames that did not parse, or of an unknown kind.
    pub malformed_frames: u64,
    /// Connections, in either direction, that were refused or not authenticated.
    pub refused_handshakes: u64,
    /// Frames dropped because the peer did not read its queue.
    pub dropped_frames: u64,
    /// Packets that this host's relay ports forwarded, in either direction, with headers.
    pub relayed_datagrams: u64,
    pub relayed_bytes: u64,
    /// Packets that a relay port or a tunnel dropped: too large, too many, or without a receiver.
    pub dropped_datagrams: u64,
    /// Open connections.
    pub connections: u64,
    /// Inputs that the machine has handled.
    pub inputs: u64,
    pub commits: u64,
    pub syncs: u64,
    /// Inputs covered by those syncs; divided by `syncs`, what group commit saves.
    pub inputs_synced: u64,
}

/// The live counters behind [`Counters`].
#[derive(Debug, Default)]
pub(crate) struct Tally {
    frames_in: Count,
    frames_out: Count,
    bytes_in: Count,
    bytes_out: Count,
    udp_bytes_in: Count,
    udp_bytes_out: Count,
    udp_datagrams_in: Count,
    udp_datagrams_out: Count,
    malformed_frames: Count,
    refused_handshakes: Count,
    dropped_frames: Count,
    relayed_datagrams: Count,
    relayed_bytes: Count,
    dropped_datagrams: Count,
    inputs: Count,
    commits: Count,
    syncs: Count,
    inputs_synced: Count,
}

impl Tally {
    /// Returns the counts so far, without those of live connections.
    pub(crate) fn read(&self) -> Counters {
        Counters {
            frames_in: self.frames_in.read(),
            frames_out: self.frames_out.read(),
            bytes_in: self.bytes_in.read(),
            bytes_out: self.bytes_out.read(),
            udp_bytes_in: self.udp_bytes_in.read(),
            udp_bytes_out: self.udp_bytes_out.read(),
            udp_datagrams_in: self.udp_datagrams_in.read(),
            udp_datagrams_out: self.udp_datagrams_out.read(),
            malformed_frames: self.malformed_frames.read(),
            refused_handshakes: self.refused_handshakes.read(),
            dropped_frames: self.dropped_frames.read(),
            relayed_datagrams: self.relayed_datagrams.read(),
            relayed_bytes: self.relayed_bytes.read(),
            dropped_datagrams: self.dropped_datagrams.read(),
            connections: 0,
            inputs: self.inputs.read(),
            commits: self.commits.read(),
            syncs: self.syncs.read(),
            inputs_synced: self.inputs_synced.read(),
        }
    }

    pub(crate) fn count_frame_in(&self, bytes: usize) {
        self.frames_in.add(1);
        self.bytes_in.add(bytes as u64);
    }

    pub(crate) fn count_frame_out(&self, bytes: usize) {
        self.frames_out.add(1);
        self.bytes_out.add(bytes as u64);
    }

    pub(crate) fn count_malformed_frame(&self) {
        self.malformed_frames.add(1);
    }

    pub(crate) fn count_dropped_frame(&self) {
        self.dropped_frames.add(1);
    }

    pub(crate) fn count_refused_handshake(&self) {
        self.refused_handshakes.add(1);
    }

    pub(crate) fn count_relayed_datagram(&self, bytes: usize) {
        self.relayed_datagrams.add(1);
        self.relayed_bytes.add(bytes as u64);
    }

    pub(crate) fn count_dropped_datagram(&self) {
        self.dropped_datagrams.add(1);
    }

    pub(crate) fn count_commit(&self) {
        self.commits.add(1);
    }

    pub(crate) fn count_inputs(&self, inputs: u64) {
        self.inputs.add(inputs);
    }

    /// Counts one disk sync that covers so many inputs.
    pub(crate) fn count_sync(&self, inputs: u64) {
        self.syncs.add(1);
        self.inputs_synced.add(inputs);
    }

    /// Keeps the counts of a connection that has ended.
    pub(crate) fn keep(&self, stats: &quinn::ConnectionStats) {
        self.udp_bytes_in.add(stats.udp_rx.bytes);
        self.udp_bytes_out.add(stats.udp_tx.bytes);
        self.udp_datagrams_in.add(stats.udp_rx.datagrams);
        self.udp_datagrams_out.add(stats.udp_tx.datagrams);
    }
}

impl Counters {
    /// Adds the counts of a live connection.
    pub(crate) fn include(&mut self, stats: &quinn::ConnectionStats) {
        self.connections = self.connections.saturating_add(1);
        self.udp_bytes_in = self.udp_bytes_in.saturating_add(stats.udp_rx.bytes);
        self.udp_bytes_out = self.udp_bytes_out.saturating_add(stats.udp_tx.bytes);
        self.udp_datagrams_in = self.udp_datagrams_in.saturating_add(stats.udp_rx.datagrams);
        self.udp_datagrams_out = self.udp_datagrams_out.saturating_add(stats.udp_tx.datagrams);
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Count {
    fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
