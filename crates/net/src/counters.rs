//! What the driver counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How much the driver did since it started.
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
    /// Frames that were not what they should be, or of an unknown kind.
    pub malformed_frames: u64,
    /// Connections that were turned away or not authenticated, either way.
    pub refused_handshakes: u64,
    /// Frames for peers that did not read what was queued for them.
    pub dropped_frames: u64,
    /// Packets that a relay's ports of this side passed on, either way, with headers.
    pub relayed_datagrams: u64,
    pub relayed_bytes: u64,
    /// Packets that a relay's port or a tunnel did not pass on: too large, too many, for nobody.
    pub dropped_datagrams: u64,
    /// Connections now.
    pub connections: u64,
    /// What the machine was fed.
    pub inputs: u64,
    pub commits: u64,
    pub syncs: u64,
    /// Inputs handled before those syncs; divided by `syncs`, what group commit saves.
    pub inputs_synced: u64,
}

/// The counters while they count.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) frames_in: Count,
    pub(crate) frames_out: Count,
    pub(crate) bytes_in: Count,
    pub(crate) bytes_out: Count,
    pub(crate) udp_bytes_in: Count,
    pub(crate) udp_bytes_out: Count,
    pub(crate) udp_datagrams_in: Count,
    pub(crate) udp_datagrams_out: Count,
    pub(crate) malformed_frames: Count,
    pub(crate) refused_handshakes: Count,
    pub(crate) dropped_frames: Count,
    pub(crate) relayed_datagrams: Count,
    pub(crate) relayed_bytes: Count,
    pub(crate) dropped_datagrams: Count,
    pub(crate) inputs: Count,
    pub(crate) commits: Count,
    pub(crate) syncs: Count,
    pub(crate) inputs_synced: Count,
}

impl Tally {
    /// The counts so far, without what live connections count themselves.
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

    /// Keeps what a connection that ended has counted.
    pub(crate) fn keep(&self, stats: &quinn::ConnectionStats) {
        self.udp_bytes_in.add(stats.udp_rx.bytes);
        self.udp_bytes_out.add(stats.udp_tx.bytes);
        self.udp_datagrams_in.add(stats.udp_rx.datagrams);
        self.udp_datagrams_out.add(stats.udp_tx.datagrams);
    }
}

impl Counters {
    /// Adds what a live connection counts.
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
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
