//! What the demo measured.

use std::{path::PathBuf, time::Duration};

use serde::Serialize;

use crate::{
    output::{Output, Style},
    rpc::{Status, Traffic},
};

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Messages that both have, in the same order.
    pub(super) messages: usize,
    /// Those that were sent while their reader was dead.
    pub(super) while_offline: usize,
    /// From the request to send to the reader's event, with the disk syncs of both people and their
    /// nodes; without messages that waited.
    pub(super) delivery_p50_ms: f64,
    pub(super) delivery_p99_ms: f64,
    pub(super) wire: Wire,
    pub(super) seconds: f64,
    pub(super) join: Join,
}

/// Bytes of IP packets between people and nodes for each message, with all receipts and
/// acknowledgements, until a daemon is killed.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Wire {
    messages: usize,
    to_nodes_per_message: u64,
    from_nodes_per_message: u64,
}

/// What is needed to join by hand.
#[derive(Debug, Serialize)]
pub(super) struct Join {
    pub(super) program: PathBuf,
    pub(super) ada: PathBuf,
    pub(super) ben: PathBuf,
}

impl Summary {
    pub(super) fn show(&self, keep: bool, out: Output) -> String {
        let Self { messages, while_offline, wire, .. } = self;
        let (program, ada, ben) = if keep {
            let Join { program, ada, ben } = &self.join;
            (program.display().to_string(), ada.display().to_string(), ben.display().to_string())
        } else {
            ("siskin".to_owned(), "DIR/ada".to_owned(), "DIR/ben".to_owned())
        };
        let join = if keep {
            "Join in, each command in its own terminal; everything runs until Ctrl-C:"
        } else {
            "To join in, run `siskin demo --keep`; then, with the directory that it prints:"
        };
        let head =
            format!("{messages} messages, {while_offline} of them while the reader was dead");
        format!(
            "\n{}\n\
             delivery   p50 {:.1} ms, p99 {:.1} ms, each synced to the nodes' disks\n\
             wire       {} bytes to nodes and {} bytes from nodes per message, with receipts\n\
             time       {:.1} s\n\
             \n\
             {join}\n  \
             {program} --dir {ada} tail\n  \
             {program} --dir {ben} send ada 'Hello from the demo'",
            out.styled(Style::Bold, &head),
            self.delivery_p50_ms,
            self.delivery_p99_ms,
            wire.to_nodes_per_message,
            wire.from_nodes_per_message,
            self.seconds,
        )
    }
}

impl Wire {
    /// Compares what each person has sent and received before and after some messages.
    pub(super) fn new(messages: usize, before: &[Status], after: &[Status]) -> Self {
        let per_message = |count: fn(&Traffic) -> u64| {
            let count = |status: &Status| count(&status.traffic);
            let sum = |all: &[Status]| all.iter().map(count).fold(0, u64::saturating_add);
            let total = sum(after).saturating_sub(sum(before));
            total.checked_div(u64::try_from(messages).unwrap_or(u64::MAX)).unwrap_or_default()
        };
        Self {
            messages,
            to_nodes_per_message: per_message(|t| ip_bytes(t.udp_bytes_out, t.udp_datagrams_out)),
            from_nodes_per_message: per_message(|t| ip_bytes(t.udp_bytes_in, t.udp_datagrams_in)),
        }
    }
}

/// The value below which `percent` of all are, by nearest rank, in milliseconds.
pub(super) fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = sorted.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

/// UDP and IPv4 headers take 28 bytes of each datagram.
fn ip_bytes(udp_bytes: u64, datagrams: u64) -> u64 {
    udp_bytes.saturating_add(datagrams.saturating_mul(28))
}

#[test]
fn percentiles_are_nearest_ranks() {
    let times: Vec<_> = (1..=10).rev().map(Duration::from_millis).collect();
    let near = |percent, wanted: f64| (percentile(&times, percent) - wanted).abs() < 1e-9;
    assert!(near(50, 5.0) && near(99, 10.0));
    assert!(percentile(&[], 50).abs() < 1e-9);
}
