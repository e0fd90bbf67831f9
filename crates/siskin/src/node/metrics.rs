//! What a node tells a Prometheus server: counters and gauges in the OpenMetrics text format 1.0, over
//! HTTP. Specified in `spec/local-api.md`, section 6.

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

/// Asks the node and writes down what it says.
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

/// What a node counted up to one moment.
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
    /// How it is now.
    fn state(&self, page: &mut Page<'_>) -> fmt::Result {
        let Status { counters, .. } = &*self.status;
        let status = &self.status;
        for (name, help, value) in [
            ("start_time_seconds", "Since when it has been running, Unix time", status.since_s),
            ("joined", "Whether it has found the network", self.joined.into()),
            ("connections", "Devices and nodes that are connected", status.connections),
            ("contacts", "Nodes in its table", status.contacts),
            ("links", "Nodes that are connected", status.links),
            ("neighbours", "Nodes with which it gossips", status.neighbours),
            ("records", "Records that it keeps for others", status.records),
            ("accounts", "Accounts that are at home here", status.accounts),
            ("logs", "Logs that are here", status.logs),
            ("copies_behind", "Copies elsewhere that may lack something", status.copies_behind),
            ("copies_lacking", "Logs of which a home lacks a copy", status.copies_lacking),
            ("nodes_gone", "Nodes whose place others take", status.nodes_gone),
            ("disk_used_bytes", "What is on disk", status.disk_used_bytes),
            ("disk_cap_bytes", "What may be", status.disk_cap_bytes),
            ("charged_bytes", "What all accounts are charged for", counters.charged_bytes),
        ] {
            page.single(Kind::Gauge, name, help, value)?;
        }
        if let Some(reachable) = status.reachable {
            page.single(Kind::Gauge, "reachable", "Whether others can dial it", reachable.into())?;
        }
        let gauges = || status.gauges.iter();
        let used = gauges().map(|gauge| (gauge.name.to_owned(), gauge.value));
        page.family(
            Kind::Gauge,
            ("collection_size", "How much of what others can make grow"),
            "of",
            used,
        )?;
        let limits = gauges().map(|gauge| (gauge.name.to_owned(), gauge.limit));
        page.family(Kind::Gauge, ("collection_limit", "How much of it there may be"), "of", limits)
    }

    /// What was done for others.
    fn work(&self, page: &mut Page<'_>) -> fmt::Result {
        let Status { counters, routing, .. } = &*self.status;
        for (name, help, value) in [
            ("envelopes_stored", "Envelopes taken from devices and nodes", counters.appended),
            ("envelopes_again", "Envelopes that were here already", counters.duplicates),
            ("envelopes_replicated", "Entries that other nodes have taken", counters.replicated),
            (
                "envelopes_unreplicated",
                "Entries that another would not take",
                counters.unreplicated,
            ),
            ("envelopes_repaired", "Entries pushed to nodes without them", counters.repaired),
            ("envelopes_missed", "Entries found to be lacking here", counters.missed),
            ("comparisons", "Comparisons with other nodes", counters.compared),
            ("logs_differing", "Logs found to differ from another node's", counters.differing),
            ("rows_mended", "Rows put right or taken away", counters.mended),
            ("envelopes_delivered", "Entries handed to readers", counters.delivered),
            ("envelopes_expired", "Envelopes whose time was over", counters.expired),
            ("pages", "Pages of history handed out", counters.pages),
            ("signals", "Signals passed on, for each reader", counters.signals),
            ("routing_requests", "Questions to other nodes", routing.requests),
            ("routing_answers", "Answers to other nodes", routing.answers),
            ("routing_refused", "Questions of nodes that were refused", routing.refused),
            ("routing_dropped", "What nodes said and nobody had asked", routing.dropped),
        ] {
            page.single(Kind::Counter, name, help, value)?;
        }
        let refused = counters.refused.iter().map(|(code, count)| (words(code), *count));
        page.family(Kind::Counter, ("refused", "Requests refused"), "code", refused)?;
        let dropped = counters.dropped.iter().map(|(why, count)| (words(why), *count));
        page.family(Kind::Counter, ("dropped", "What got no answer"), "reason", dropped)
    }

    /// What went over the network and to the disk.
    fn traffic(&self, page: &mut Page<'_>) -> fmt::Result {
        let traffic = &self.traffic;
        for (name, help, (received, sent)) in [
            ("frames", "Frames", (traffic.frames_in, traffic.frames_out)),
            ("frame_bytes", "Bytes of frames", (traffic.bytes_in, traffic.bytes_out)),
            ("udp_bytes", "Bytes in datagrams", (traffic.udp_bytes_in, traffic.udp_bytes_out)),
            ("udp_datagrams", "Datagrams", (traffic.udp_datagrams_in, traffic.udp_datagrams_out)),
        ] {
            let ways = [("received".to_owned(), received), ("sent".to_owned(), sent)];
            page.family(Kind::Counter, (name, help), "direction", ways.into_iter())?;
        }
        for (name, help, value) in [
            (
                "frames_malformed",
                "Frames that were not what they should be",
                traffic.malformed_frames,
            ),
            ("frames_dropped", "Frames for peers that did not read", traffic.dropped_frames),
            ("handshakes_refused", "Connections turned away", traffic.refused_handshakes),
            ("relayed_datagrams", "Packets passed on for others", traffic.relayed_datagrams),
            ("relayed_bytes", "Bytes of them", traffic.relayed_bytes),
            ("relayed_datagrams_dropped", "Packets not passed on", traffic.dropped_datagrams),
            ("inputs", "What the node was fed", traffic.inputs),
            ("commits", "Changes of rows", traffic.commits),
            ("syncs", "Disk syncs", traffic.syncs),
            ("inputs_synced", "Inputs handled before those syncs", traffic.inputs_synced),
        ] {
            page.single(Kind::Counter, name, help, value)?;
        }
        Ok(())
    }
}

/// A page of figures being written.
struct Page<'a>(DescriptorEncoder<'a>);

#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

impl Page<'_> {
    /// Writes a metric without labels.
    fn single(&mut self, kind: Kind, name: &str, help: &str, value: u64) -> fmt::Result {
        kind.encode(value, self.0.encode_descriptor(name, help, None, kind.metric_type())?)
    }

    /// Writes a metric with one label.
    fn family(
        &mut self,
        kind: Kind,
        (name, help): (&str, &str),
        label: &str,
        values: impl Iterator<Item = (String, u64)>,
    ) -> fmt::Result {
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

/// The name of a variant such as `NotFound`, in the words of the specification: `not found`.
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
