//! The metrics of a node for a Prometheus server, in the OpenMetrics text format 1.0. Specified in
//! `spec/local-api.md`, section 6.

use std::{fmt, sync::Arc, time::Duration};

use ::node::{NodeCommand, NodeEvent, Status};
use axum::{
    Router,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use net::{Counters, Meter};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::handle::NodeHandle;
use crate::api::HttpLimits;

/// Serves the metrics of a node at `/metrics`.
pub(super) fn router(handle: Arc<NodeHandle>, meter: Meter) -> Router {
    let page = move || {
        let (handle, meter) = (Arc::clone(&handle), meter.clone());
        async move { page(&handle, &meter).await }
    };
    Router::new().route("/metrics", get(page))
}

async fn page(handle: &NodeHandle, meter: &Meter) -> Result<impl IntoResponse + use<>, StatusCode> {
    let text = text(handle, meter).await.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(([(CONTENT_TYPE, TEXT)], text))
}

/// Queries the node and formats its metrics.
async fn text(handle: &NodeHandle, meter: &Meter) -> Option<String> {
    let NodeEvent::Status { status, .. } = handle.ask(NodeCommand::Status).await.ok()? else {
        return None;
    };
    let figures = Figures { status, traffic: meter.read()?, joined: handle.state().joined };
    let mut registry = Registry::with_prefix("siskin_node");
    registry.register_collector(Box::new(figures));
    let mut text = String::new();
    encode(&mut text, &registry).ok()?;
    Some(text)
}

/// The state of a node at one moment.
#[derive(Debug)]
struct Figures {
    status: Box<Status>,
    traffic: Counters,
    joined: bool,
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.state(&mut page)?;
        self.work(&mut page)?;
        self.traffic(&mut page)
    }
}

impl Figures {
    /// Writes gauges.
    fn state(&self, page: &mut Page<'_>) -> fmt::Result {
        let Status { counters, .. } = &*self.status;
        let status = &self.status;
        for (name, help, value) in [
            ("start_time_seconds", "Start time, Unix time", status.since_s),
            ("joined", "Whether it has joined the network", self.joined.into()),
            ("connections", "Connected devices and nodes", status.connections),
            ("contacts", "Nodes in the routing table", status.contacts),
            ("links", "Connected nodes", status.links),
            ("neighbours", "Gossip neighbours", status.neighbours),
            ("records", "Records stored for other nodes and accounts", status.records),
            ("accounts", "Accounts whose home node this is", status.accounts),
            ("logs", "Logs stored", status.logs),
            ("copies_behind", "Copies at other nodes that may be incomplete", status.copies_behind),
            ("copies_lacking", "Logs of which a home node lacks a copy", status.copies_lacking),
            ("nodes_gone", "Unreachable nodes that others replace", status.nodes_gone),
            ("disk_used_bytes", "Disk usage", status.disk_used_bytes),
            ("disk_cap_bytes", "Limit of disk usage", status.disk_cap_bytes),
            ("charged_bytes", "Bytes charged to all accounts", counters.charged_bytes),
        ] {
            page.single(gauge(name, help), value)?;
        }
        if let Some(reachable) = status.reachable {
            page.single(gauge("reachable", "Whether other nodes can dial it"), reachable.into())?;
        }
        let gauges = || status.gauges.iter();
        let used = gauges().map(|gauge| (gauge.name.to_owned(), gauge.value));
        page.family(gauge("collection_size", "Size of a bounded collection"), "of", used)?;
        let limits = gauges().map(|gauge| (gauge.name.to_owned(), gauge.limit));
        page.family(gauge("collection_limit", "Limit of a bounded collection"), "of", limits)
    }

    /// Writes counters of work for clients and other nodes.
    fn work(&self, page: &mut Page<'_>) -> fmt::Result {
        let Status { counters, routing, .. } = &*self.status;
        for (name, help, value) in [
            ("envelopes_stored", "Envelopes accepted from devices and nodes", counters.appended),
            ("envelopes_again", "Envelopes that were stored already", counters.duplicates),
            ("envelopes_replicated", "Entries accepted by other nodes", counters.replicated),
            ("envelopes_unreplicated", "Entries refused by another node", counters.unreplicated),
            ("envelopes_repaired", "Entries pushed to nodes that lacked them", counters.repaired),
            ("envelopes_missed", "Entries found missing", counters.missed),
            ("comparisons", "Log comparisons with other nodes", counters.compared),
            ("logs_differing", "Logs that differed from those of another node", counters.differing),
            ("rows_repaired", "Rows repaired or removed", counters.rows_repaired),
            ("envelopes_delivered", "Entries delivered to readers", counters.delivered),
            ("envelopes_expired", "Envelopes that expired", counters.expired),
            ("pages", "Pages of history served", counters.pages),
            ("signals", "Signals forwarded, for each reader", counters.signals),
            ("routing_requests", "Routing requests to other nodes", routing.requests),
            ("routing_answers", "Routing answers to other nodes", routing.answers),
            ("routing_refused", "Routing requests refused", routing.refused),
            ("routing_dropped", "Unsolicited routing frames", routing.dropped),
        ] {
            page.single(counter(name, help), value)?;
        }
        let refused = counters.refused.iter().map(|(code, count)| (words(code), *count));
        page.family(counter("refused", "Requests refused"), "code", refused)?;
        let dropped = counters.dropped.iter().map(|(why, count)| (words(why), *count));
        page.family(counter("dropped", "Inputs dropped without an answer"), "reason", dropped)
    }

    /// Writes counters of network and disk.
    fn traffic(&self, page: &mut Page<'_>) -> fmt::Result {
        let traffic = &self.traffic;
        for (name, help, (received, sent)) in [
            ("frames", "Frames", (traffic.frames_in, traffic.frames_out)),
            ("frame_bytes", "Bytes of frames", (traffic.bytes_in, traffic.bytes_out)),
            ("udp_bytes", "Bytes of UDP payload", (traffic.udp_bytes_in, traffic.udp_bytes_out)),
            (
                "udp_datagrams",
                "UDP datagrams",
                (traffic.udp_datagrams_in, traffic.udp_datagrams_out),
            ),
        ] {
            let ways = [("received".to_owned(), received), ("sent".to_owned(), sent)];
            page.family(counter(name, help), "direction", ways.into_iter())?;
        }
        for (name, help, value) in [
            ("frames_malformed", "Malformed frames", traffic.malformed_frames),
            (
                "frames_dropped",
                "Frames dropped because the peer did not read",
                traffic.dropped_frames,
            ),
            ("handshakes_refused", "Connections refused", traffic.refused_handshakes),
            ("relayed_datagrams", "Datagrams relayed for other nodes", traffic.relayed_datagrams),
            ("relayed_bytes", "Bytes relayed for other nodes", traffic.relayed_bytes),
            ("relayed_datagrams_dropped", "Datagrams not relayed", traffic.dropped_datagrams),
            ("inputs", "Inputs of the node machine", traffic.inputs),
            ("commits", "Commits of rows", traffic.commits),
            ("syncs", "Disk syncs", traffic.syncs),
            ("inputs_synced", "Inputs covered by disk syncs", traffic.inputs_synced),
        ] {
            page.single(counter(name, help), value)?;
        }
        Ok(())
    }
}

/// A page of metrics that is being written.
struct Page<'a>(DescriptorEncoder<'a>);

/// A metric without its values.
#[derive(Clone, Copy)]
struct Metric<'a> {
    kind: Kind,
    name: &'a str,
    help: &'a str,
}

#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

impl Page<'_> {
    /// Writes a metric without labels.
    fn single(&mut self, metric: Metric<'_>, value: u64) -> fmt::Result {
        let Metric { kind, name, help } = metric;
        kind.encode(value, self.0.encode_descriptor(name, help, None, kind.metric_type())?)
    }

    /// Writes a metric with one label.
    fn family(
        &mut self,
        metric: Metric<'_>,
        label: &str,
        values: impl Iterator<Item = (String, u64)>,
    ) -> fmt::Result {
        let Metric { kind, name, help } = metric;
        let mut family = self.0.encode_descriptor(name, help, None, kind.metric_type())?;
        for (text, value) in values {
            kind.encode(value, family.encode_family(&[(label, text)])?)?;
        }
        Ok(())
    }
}

impl Kind {
    fn metric_type(self) -> MetricType {
        match self {
            Self::Gauge => MetricType::Gauge,
            Self::Counter => MetricType::Counter,
        }
    }

    fn encode(self, value: u64, encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Gauge => ConstGauge::new(value).encode(encoder),
            Self::Counter => ConstCounter::new(value).encode(encoder),
        }
    }
}

fn gauge<'a>(name: &'a str, help: &'a str) -> Metric<'a> {
    Metric { kind: Kind::Gauge, name, help }
}

fn counter<'a>(name: &'a str, help: &'a str) -> Metric<'a> {
    Metric { kind: Kind::Counter, name, help }
}

/// Formats a variant such as `NotFound` as in the specification: `not found`.
fn words(variant: impl fmt::Debug) -> String {
    let mut words = String::new();
    for letter in format!("{variant:?}").chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

const TEXT: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// Room for a server or two and an operator's browser.
pub(super) const LIMITS: HttpLimits =
    HttpLimits { connections: 16, connection_time: Duration::from_secs(5), head: 16 * 1024 };

#[test]
fn variants_are_named_in_words() {
    assert_eq!(words(proto::Code::BadSignature), "bad signature");
    assert_eq!(words(::node::Dropped::Unasked), "unasked");
}
