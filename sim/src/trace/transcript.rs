//! A transcript: what happens in order of time, a line each, written once the run is over, so that
//! a name that is learnt late is used in all of it.

#![expect(clippy::wildcard_enum_match_arm, reason = "only a few frames define channels")]

use std::{collections::BTreeMap, time::Duration};

use proto::{Body, DecodeError, Frame, FrameReader, Instant, LogId, PublicKey};

use super::{names::Names, words::shorten};
use crate::network::{HostId, LinkId};

/// What happened, and what everything is called.
#[derive(Debug)]
pub(super) struct Transcript {
    beginning: Instant,
    pub(super) names: Names,
    lines: Vec<(Instant, Line)>,
    /// What the opener means by a number, whether the other side agreed or not.
    channels: BTreeMap<(LinkId, HostId, u32), (LogId, PublicKey)>,
}

/// The way that a frame takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) link: LinkId,
    pub(crate) from: HostId,
    pub(crate) to: HostId,
}

#[derive(Debug)]
enum Line {
    Frame(Way, Vec<u8>),
    Note(String),
}

impl Transcript {
    pub(super) fn new(beginning: Instant) -> Self {
        let (names, lines, channels) = (Names::default(), Vec::new(), BTreeMap::new());
        Self { beginning, names, lines, channels }
    }

    pub(super) fn frame(&mut self, now: Instant, way: Way, bytes: &[u8]) {
        self.lines.push((now, Line::Frame(way, bytes.to_vec())));
    }

    /// Takes a note in, which stays on one line.
    pub(super) fn note(&mut self, now: Instant, text: &str) {
        self.lines.push((now, Line::Note(text.replace('\n', " "))));
    }

    pub(super) fn into_lines(mut self) -> Vec<String> {
        let mut text = Vec::with_capacity(self.lines.len());
        let mut last = self.beginning;
        for (now, line) in std::mem::take(&mut self.lines) {
            let pause = now.since(last);
            if pause > PAUSE_MIN {
                text.push(format!("            … {} s pass", pause.as_secs()));
            }
            last = now;
            let line = match line {
                Line::Note(note) => note,
                Line::Frame(way, bytes) => {
                    let said = self.said(way, &bytes);
                    let [from, to] = [way.from, way.to].map(|host| self.names.host(host));
                    format!("{from:<8} ─▶ {to:<8} {said}")
                }
            };
            text.push(format!("{}  {line}", time(now.since(self.beginning))));
        }
        text
    }

    /// What `bytes`, a frame with its length, say.
    fn said(&mut self, way: Way, bytes: &[u8]) -> String {
        let mut reader = FrameReader::default();
        reader.push(bytes);
        match reader.next_frame() {
            Ok(Some((frame, taken))) if taken == bytes.len() => self.described(way, &frame),
            Ok(Some(_) | None) => format!("not one whole frame, {} B", bytes.len()),
            Err(DecodeError::UnknownFrame(request)) => {
                format!("#{request} an unknown frame, {} B", bytes.len())
            }
            Err(error) => format!("not a frame: {error}, {} B", bytes.len()),
        }
    }

    fn described(&mut self, way: Way, frame: &Frame) -> String {
        let text = format!("{:?}", frame.body);
        let defined = match &frame.body {
            Body::Open(open) => Some((open.channel, open.log, open.key)),
            // Entries on such a channel name their keys.
            Body::Replicate(opened) => Some((opened.channel, opened.log, PublicKey::default())),
            _ => None,
        };
        let mut opened = None;
        if let Some((channel, log, key)) = defined {
            self.channels.insert((way.link, way.from, channel), (log, key));
        } else if let Some(channel) = channel_in(&text) {
            let opener = if is_to_opener(&frame.body) { way.to } else { way.from };
            opened = self.channels.get(&(way.link, opener, channel)).copied();
        }
        if let Body::PutBundle(bytes) | Body::BundleIs(bytes) = &frame.body {
            self.name_devices(bytes);
        }
        let mut said = match frame.request {
            0 => String::new(),
            request => format!("#{request} "),
        };
        if let Body::Append { entry, .. } | Body::Deliver { entry, .. } = &frame.body
            && let Some((log, key)) = opened
        {
            let id = entry.clone().into_envelope(log, key, [0; 64]).id();
            said += &format!("{}: ", self.names.shown(&id));
        }
        let log = opened.map(|(log, _)| self.names.shown(&log));
        said + &shorten(&text, log.as_deref(), &mut self.names)
    }

    /// Devices are called after their accounts.
    fn name_devices(&mut self, bytes: &[u8]) {
        let Ok(bundle) = crypto::identity::Bundle::verify(bytes) else { return };
        let account = self.names.shown(&bundle.account());
        for device in bundle.devices() {
            self.names.name_id(&device.key, &format!("{account}'s device"));
        }
    }
}

/// The channel that a frame names, in the text of it.
fn channel_in(text: &str) -> Option<u32> {
    let (_, after) = text.split_once("channel: ")?;
    after.split([',', ' ']).next()?.parse().ok()
}

/// Returns whether a frame goes to the peer that opened its channel.
fn is_to_opener(body: &Body) -> bool {
    matches!(body, Body::Deliver { .. } | Body::Announce { .. } | Body::NodeAck { .. })
}

/// Milliseconds, to the microsecond.
fn time(since: Duration) -> String {
    format!("{:>6}.{:03}", since.as_millis(), since.subsec_micros() % 1000)
}

/// A longer pause has a line of its own.
const PAUSE_MIN: Duration = Duration::from_secs(5);
