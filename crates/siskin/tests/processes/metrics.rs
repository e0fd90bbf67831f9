//! The metrics of a node.

#![allow(clippy::disallowed_types, reason = "a test connects as a Prometheus server does")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::people::{Person, Running, assert_fails, siskin};

struct Measured {
    node: Running,
    at: String,
    _place: tempfile::TempDir,
}

impl Measured {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut command = siskin(&["node", "--json", "--no-mdns", "--listen", "127.0.0.1:0"]);
        command.args(["--metrics", "127.0.0.1:0", "--data-dir"]).arg(place.path());
        let node = Running::start(&mut command);
        let at = node.first["metrics"].as_str().unwrap().to_owned();
        Self { node, at, _place: place }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Says something and returns all that is answered.
    fn said(&self, words: &[u8]) -> String {
        let mut stream = self.connect();
        // It may be cut off before it has said all.
        let _ = stream.write_all(words);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn page(&self) -> String {
        let answer = self.said(b"GET /metrics HTTP/1.1\r\nhost: node\r\n\r\n");
        let (head, page) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("application/openmetrics-text"), "{head}");
        page.to_owned()
    }

    /// A figure of the page.
    fn figure(&self, name: &str) -> u64 {
        let page = self.page();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
    }
}

#[test]
fn the_figures_follow_what_the_node_does() {
    let measured = Measured::new();
    assert_eq!(measured.figure("siskin_node_accounts"), 0);
    assert_eq!(measured.figure("siskin_node_commits_total"), 0);
    let _ada = Person::with_account("Ada", measured.node.address());
    assert_eq!(measured.figure("siskin_node_accounts"), 1);
    assert_eq!(measured.figure("siskin_node_logs"), 1);
    assert!(measured.figure("siskin_node_commits_total") > 0);
    assert!(measured.figure("siskin_node_frames_total{direction=\"received\"}") > 0);
    assert!(measured.figure("siskin_node_disk_used_bytes") < 8 << 30);
    assert_eq!(measured.figure("siskin_node_disk_cap_bytes"), 8 << 30);
    assert!(measured.figure("siskin_node_collection_limit{of=\"connections\"}") > 1000);
}

#[test]
fn the_page_is_what_a_prometheus_server_reads() {
    let page = Measured::new().page();
    let mut described = None;
    for line in page.lines() {
        if let Some(words) = line.strip_prefix("# ") {
            described = words.split(' ').nth(1).map(str::to_owned).or(described);
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let family = described.clone().unwrap();
        assert!(name.starts_with(&family), "{name} below {family}");
        value.parse::<u64>().unwrap();
    }
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn whatever_is_asked_the_node_goes_on() {
    let measured = Measured::new();
    let status = |words: &[u8]| measured.said(words).lines().next().unwrap_or_default().to_owned();
    assert!(status(b"GET / HTTP/1.1\r\nhost: node\r\n\r\n").contains(" 404 "));
    assert!(status(b"POST /metrics HTTP/1.1\r\nhost: node\r\n\r\n").contains(" 405 "));
    assert!(status(b"\x16\x03\x01 this is TLS\r\n\r\n").contains(" 400 "));
    // More than a question may have.
    let endless = [b"GET /metrics HTTP/1.1\r\nx: ".as_slice(), &[b'x'; 100_000]].concat();
    assert!(!status(&endless).contains(" 200 "));
    // Silent connections take places for some seconds, but not permanently.
    let silent: Vec<TcpStream> = (0..20).map(|_| measured.connect()).collect();
    assert_eq!(measured.figure("siskin_node_accounts"), 0);
    drop(silent);
    assert!(measured.node.terminate().success());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let measured = Measured::new();
    let place = tempfile::tempdir().unwrap();
    let mut command = siskin(&["node", "--listen", "127.0.0.1:0", "--metrics", &measured.at]);
    assert_fails(&command.arg("--data-dir").arg(place.path()).output().unwrap(), 1, &measured.at);
}
