//! What the demo found.

use std::{path::PathBuf, time::Duration};

use serde::Serialize;

use crate::{
    output::{Output, Style},
    rpc::Traffic,
};

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Texts that both have, in the same order.
    pub(super) messages: usize,
    /// Of them written while the other was dead.
    pub(super) while_offline: usize,
    /// From the request to send to the other's event, disk syncs of both people and their node
    /// included; without those that waited.
    pub(super) delivery_p50_ms: f64,
    pub(super) delivery_p99_ms: f64,
    pub(super) wire: Wire,
    pub(super) seconds: f64,
    pub(super) join: Join,
}

/// Bytes of IP packets between people and nodes for each text, all receipts and acknowledgements
/// included, counted until somebody goes offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Wire {
    pub(super) messages: usize,
    pub(super) to_nodes_per_message: u64,
    pub(super) from_nodes_per_message: u64,
}

/// How to go on by hand.
#[derive(Debug, Serialize)]
pub(super) struct Join {
    pub(super) program: PathBuf,
    pub(super) ada: PathBuf,
    pub(super) ben: PathBuf,
}

impl Summary {
    pub(super) fn show(&self, keep: bool, out: Output) -> String {
        let Self { messages, while_offline, wire, .. } = self;
        let program = self.join.program.display();
        let (ada, ben) = (self.join.ada.display(), self.join.ben.display());
        let mut lines = vec![
            String::new(),
            out.styled(
                Style::Bold,
                &format!("{messages} messages, {while_offline} of them while the other was dead"),
            ),
            format!(
                "delivery   p50 {:.1} ms, p99 {:.1} ms, each synced to the node's disk",
                self.delivery_p50_ms, self.delivery_p99_ms
            ),
            format!(
                "wire       {} bytes to nodes and {} bytes from nodes per message, receipts included",
                wire.to_nodes_per_message, wire.from_nodes_per_message
            ),
            format!("time       {:.1} s", self.seconds),
            String::new(),
        ];
        if keep {
            lines.extend([
                "Join in, each in a terminal of its own:".to_owned(),
                format!("  SISKIN_HOME={ada} {program} tail"),
                format!("  SISKIN_HOME={ben} {program} send ada 'Hello from the demo'"),
                "Everything runs until Ctrl-C.".to_owned(),
            ]);
        } else {
            lines.extend([
                "Join in: `siskin demo --keep` leaves all of it running; then, with the directory it names,".to_owned(),
                "  SISKIN_HOME=DIR/ada siskin tail".to_owned(),
                "  SISKIN_HOME=DIR/ben siskin send ada 'Hello from the demo'".to_owned(),
            ]);
        }
        lines.join("\n")
    }
}

impl Wire {
    /// `before` and `after` are the traffic of both people.
    pub(super) fn new(messages: usize, before: &[Traffic], after: &[Traffic]) -> Self {
        let divisor = u64::try_from(messages).unwrap_or(u64::MAX);
        let out = |traffic: &Traffic| ip_bytes(traffic.udp_bytes_out, traffic.udp_datagrams_out);
        let into = |traffic: &Traffic| ip_bytes(traffic.udp_bytes_in, traffic.udp_datagrams_in);
        let sum = |count: &dyn Fn(&Traffic) -> u64| {
            let of = |all: &[Traffic]| all.iter().map(count).fold(0, u64::saturating_add);
            of(after).saturating_sub(of(before)).checked_div(divisor).unwrap_or_default()
        };
        Self { messages, to_nodes_per_message: sum(&out), from_nodes_per_message: sum(&into) }
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
