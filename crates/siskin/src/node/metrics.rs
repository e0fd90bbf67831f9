//! What a node tells a Prometheus server: counters and gauges in the OpenMetrics text format 1.0, over
//! HTTP. Specified in `spec/local-api.md`, section 6.

use std::{convert::Infallible, fmt, net::SocketAddr, sync::Arc, time::Duration};

use ::node::{NodeCommand, NodeEvent, Status};
use hyper::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use net::{Counters, Meter};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use super::handle::NodeHandle;
use crate::failure::Failure;

/// Where a node is asked for its figures.
pub(super) struct Metrics {
    listener: TcpListener,
    address: SocketAddr,
}

impl Metrics {
    pub(super) async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| Failure::io(address, &error))?;
        let address = listener.local_addr().map_err(|error| Failure::io(address, &error))?;
        Ok(Self { listener, address })
    }

    /// With the port that the system chose if it was to choose one.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers whoever asks, for as long as this is polled.
    pub(super) async fn serve(self, handle: Arc<NodeHandle>, meter: Meter) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                // As a rule too many files are open. Nothing tells when one is closed, and accepting
                // fails at once until then.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let (handle, meter) = (Arc::clone(&handle), meter.clone());
            tokio::spawn(async move {
                let _ = timeout(CONNECTION_MAX, converse(stream, handle, meter)).await;
                drop(place);
            });
        }
    }
}

async fn converse(stream: TcpStream, handle: Arc<NodeHandle>, meter: Meter) {
    let service = service_fn(|request| answer(request, &handle, &meter));
    let served = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .max_buf_size(REQUEST_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "somebody asked for metrics, but not in HTTP");
    }
}

async fn answer<B>(
    request: Request<B>,
    handle: &NodeHandle,
    meter: &Meter,
) -> Result<Response<String>, Infallible> {
    let mut response = Response::new(String::new());
    if request.uri().path() != PATH {
        *response.status_mut() = StatusCode::NOT_FOUND;
    } else if request.method() != Method::GET {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    } else if let Some(text) = text(handle, meter).await {
        response.headers_mut().insert(CONTENT_TYPE, TEXT);
        *response.body_mut() = text;
    } else {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
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
            page.gauge(name, help, value)?;
        }
        if let Some(reachable) = status.reachable {
            page.gauge("reachable", "Whether others can dial it", reachable.into())?;
        }
        let gauges = || status.gauges.iter();
        let used = gauges().map(|gauge| (gauge.name.to_owned(), gauge.value));
        page.gauges("collection_size", "How much of what others can make grow", "of", used)?;
        let limits = gauges().map(|gauge| (gauge.name.to_owned(), gauge.limit));
        page.gauges("collection_limit", "How much of it there may be", "of", limits)
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
            page.counter(name, help, value)?;
        }
        let refused = counters.refused.iter().map(|(code, count)| (words(code), *count));
        page.counters("refused", "Requests refused", "code", refused)?;
        let dropped = counters.dropped.iter().map(|(why, count)| (words(why), *count));
        page.counters("dropped", "What got no answer", "reason", dropped)
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
            page.counters(name, help, "direction", ways.into_iter())?;
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
            page.counter(name, help, value)?;
        }
        Ok(())
    }
}

/// A page of figures being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (String, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (text, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&[(label, text)])?)?;
        }
        Ok(())
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (String, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (text, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&[(label, text)])?)?;
        }
        Ok(())
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

const PATH: &str = "/metrics";
const TEXT: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// A server or two, and somebody who looks on.
const CONNECTIONS_MAX: usize = 16;
/// From the first byte of a question to the last of the answer.
const CONNECTION_MAX: Duration = Duration::from_secs(5);
/// Bytes of a question, with its headers.
const REQUEST_MAX: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn variants_are_named_in_words() {
    assert_eq!(words(proto::Code::BadSignature), "bad signature");
    assert_eq!(words(::node::Dropped::Unasked), "unasked");
}
