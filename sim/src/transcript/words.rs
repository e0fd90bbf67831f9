//! Frames in words. What is opaque appears as its size alone.

use std::collections::BTreeMap;

use proto::{
    Body, Compare, DecodeError, Entry, EnvelopeId, Frame, FrameReader, Instant, LogGenesis, LogId,
    Open, PublicKey, PutKeyPackages, Read, Recruit, Reference, Replicate,
};

use super::{Way, names::Names, story::span};
use crate::network::{HostId, LinkId};
use terms::{code, entry_kept, from_place, hello, list, numbered, routing, tail};

mod answers;
mod terms;

/// What it takes to understand a frame: names, and what was said before on its connection.
#[derive(Debug)]
pub(super) struct Words {
    names: Names,
    /// What the opener means by a number, whether the other side agreed or not.
    handles: BTreeMap<(LinkId, HostId, u32), Handle>,
    /// What was asked and not answered yet, by the asker's number for it.
    asked: BTreeMap<(LinkId, HostId, u32), Asked>,
}

/// An open log.
#[derive(Clone, Copy, Debug)]
struct Handle {
    log: LogId,
    key: PublicKey,
}

/// What an answer needs to know of the question.
#[derive(Debug)]
struct Asked {
    what: String,
    handle: Option<Handle>,
}

impl Words {
    pub(super) fn new(names: Names) -> Self {
        Self { names, handles: BTreeMap::new(), asked: BTreeMap::new() }
    }

    pub(super) fn host(&self, host: HostId) -> String {
        self.names.host(host)
    }

    /// Tells what `bytes`, a frame with its length, says on its way.
    pub(super) fn say(&mut self, now: Instant, way: Way, bytes: &[u8]) -> String {
        let mut reader = FrameReader::default();
        reader.push(bytes);
        let size = bytes.len();
        match reader.next_frame() {
            Ok(Some((frame, taken))) if taken == size => self.frame(now, way, &frame),
            Ok(Some((frame, taken))) => {
                let more = size.saturating_sub(taken);
                format!("{}; and {more} B after it", self.frame(now, way, &frame))
            }
            Ok(None) => format!("no frame: cut short, {size} B"),
            Err(DecodeError::UnknownFrame(request)) => {
                format!("a frame of an unknown kind: request {request}, {size} B")
            }
            Err(error) => format!("no frame: {error}, {size} B"),
        }
    }

    fn frame(&mut self, now: Instant, way: Way, frame: &Frame) -> String {
        let Frame { request, body } = frame;
        // Who answers names the asker's number.
        let answered = (way.link, way.to, *request);
        match body {
            Body::Hello(said) => hello(said),
            Body::Goodbye(why) => format!("goodbye: {}", code(*why)),
            Body::Accepted { handle, sequence } if *request == 0 => {
                let log = self.log(self.handle(way, way.from, *handle), *handle);
                format!("accepted: {log} up to entry {sequence}")
            }
            Body::Deliver { handle, entry } => {
                let found = self.handle(way, way.to, *handle);
                let (log, envelope) = (self.log(found, *handle), self.envelope(found, entry));
                let how = self.entry(entry, None);
                format!("deliver from {log}: {envelope}, entry {}, {how}", entry.sequence)
            }
            Body::Brief { handle, sequence, reference } => {
                self.brief(way, *handle, *sequence, *reference)
            }
            Body::Held { handle, reference, node, receipt: _ } => {
                self.held(way, *handle, *reference, node.is_some())
            }
            Body::Settled { handle, sequence } => {
                let log = self.log(self.handle(way, way.from, *handle), *handle);
                format!("settled: {log} up to entry {sequence}")
            }
            Body::Compare(compare) => self.compare(way, *request, compare),
            Body::Symbols(portion) => self.symbols(answered, portion.len()),
            Body::Lacking { log, references } => self.lacking(way, *request, *log, references),
            Body::Signal { handle, ciphertext } => {
                let own = self.handle(way, way.from, *handle);
                let found = own.or_else(|| self.handle(way, way.to, *handle));
                format!("signal on {}: {} B", self.log(found, *handle), ciphertext.len())
            }

            Body::Accepted { handle: _, sequence } => self.accepted(answered, *sequence),
            Body::Refused { code, newer } => self.refused(answered, *code, newer),
            Body::Opened { head, position } => self.opened(answered, *head, *position),
            Body::Page { entries, more } => self.page(answered, entries, *more),
            Body::BundleIs(bundle) => self.bundle_is(answered, bundle),
            Body::KeyPackages { packages, left } => self.key_packages(answered, packages, *left),

            Body::Open(open) => self.open(way, *request, open),
            Body::Replicate(replicate) => self.replicate(way, *request, replicate),
            Body::Recruit(recruit) => self.recruit(way, *request, recruit),
            Body::Close { handle } => {
                let on = self.on(way, *handle);
                self.ask(way, *request, format!("close {}", on.0), "", on.1)
            }
            Body::Append { handle, entry, signature: _ } => {
                self.append(way, *request, *handle, entry)
            }
            Body::Read(read) => self.read(way, *request, read),
            Body::Fetch { handle, references } => self.fetch(way, *request, *handle, references),
            Body::Challenge { handle, id, .. } => self.challenge(way, *request, *handle, id),
            Body::Lost { .. } => "lost, and signed so".to_owned(),
            Body::PutBundle(bundle) => {
                let (whose, how) = self.bundle(bundle);
                self.ask(way, *request, format!("put {whose}"), &how, None)
            }
            Body::GetBundle(account) => {
                let whose = self.names.account(*account);
                self.ask(way, *request, format!("get {whose}'s bundle"), "", None)
            }
            Body::PutKeyPackages(put) => self.put_key_packages(way, *request, put),
            Body::TakeKeyPackages { handle } => self.take_key_packages(way, *request, *handle),
            Body::Routing(word) => routing(word).to_owned(),
            Body::PutInvite { handle, key, expires_s, uses } => {
                let left = span(expires_s.saturating_sub(now.as_secs()));
                self.put_invite(way, *request, *handle, *key, &left, *uses)
            }
        }
    }

    fn brief(&mut self, way: Way, handle: u32, sequence: u64, reference: Reference) -> String {
        let log = self.log(self.handle(way, way.to, handle), handle);
        format!("brief from {log}: envelope {}, entry {sequence}", self.names.envelope(reference))
    }

    fn held(&mut self, way: Way, handle: u32, reference: Reference, elsewhere: bool) -> String {
        let log = self.log(self.handle(way, way.to, handle), handle);
        let at = if elsewhere { " at another node" } else { "" };
        format!("held{at}: envelope {} of {log}", self.names.envelope(reference))
    }

    // What wants an answer.

    fn open(&mut self, way: Way, request: u32, open: &Open) -> String {
        let handle = Handle { log: open.log, key: open.key };
        self.handles.insert((way.link, way.from, open.handle), handle);
        let log = self.names.log(open.log);
        let mut how = format!(" with {}", self.names.opening_key(open.key, open.log));
        match open.genesis.as_deref().map(LogGenesis::decode) {
            None => {}
            Some(Ok(genesis)) if genesis.id() == open.log => how.push_str(", creating it"),
            Some(Ok(_)) => how.push_str(", with the genesis of another"),
            Some(Err(_)) => how.push_str(", with a bad genesis"),
        }
        if let Some(ranking) = &open.ranking {
            how.push_str(&format!(", held by {}", numbered(ranking.nodes.len(), "node")));
        }
        if let Some(cursor) = open.tail {
            how.push_str(&tail(cursor, |incarnation| self.names.copy(incarnation)));
        }
        self.ask(way, request, format!("open {log}"), &how, Some(handle))
    }

    fn replicate(&mut self, way: Way, request: u32, replicate: &Replicate) -> String {
        let Replicate { handle, log, head } = replicate;
        // Entries on such a handle name their keys.
        let handle_of = Handle { log: *log, key: PublicKey::default() };
        self.handles.insert((way.link, way.from, *handle), handle_of);
        let how =
            format!(": entries up to {} of {}", head.sequence, self.names.copy(head.incarnation));
        let what = format!("replicate {}", self.names.log(*log));
        self.ask(way, request, what, &how, Some(handle_of))
    }

    fn challenge(&mut self, way: Way, request: u32, handle: u32, id: &EnvelopeId) -> String {
        let (log, found) = self.on(way, handle);
        let envelope = self.names.envelope(id.reference());
        self.ask(way, request, format!("challenge for envelope {envelope} of {log}"), "", found)
    }

    fn take_key_packages(&mut self, way: Way, request: u32, handle: u32) -> String {
        let (log, found) = self.on(way, handle);
        self.ask(way, request, format!("take key packages from {log}"), "", found)
    }

    fn recruit(&mut self, way: Way, request: u32, recruit: &Recruit) -> String {
        let what = match &recruit.conversation {
            Some((genesis, _)) => match LogGenesis::decode(genesis) {
                Ok(genesis) => format!("recruit for {}", self.names.log(genesis.id())),
                Err(_) => "recruit for what is no log".to_owned(),
            },
            None => "recruit for an inbox".to_owned(),
        };
        self.ask(way, request, what, "", None)
    }

    fn compare(&mut self, way: Way, request: u32, compare: &Compare) -> String {
        let Compare { log, key: _, part, symbols: (from, to) } = compare;
        let of = log.map_or_else(|| "logs".to_owned(), |log| self.names.log(log));
        let part = match part.depth() {
            0 => String::new(),
            depth => format!(", part {} of {}", part.bits(), 1_u64 << depth),
        };
        let how = format!(": symbols from {from} to {to}{part}");
        self.ask(way, request, format!("compare {of}"), &how, None)
    }

    fn lacking(&mut self, way: Way, request: u32, log: LogId, references: &[Reference]) -> String {
        let numbers: Vec<_> = references.iter().map(|r| self.names.envelope(*r)).collect();
        let how = format!(": {}", list("envelope", &numbers));
        let what = format!("lacking in {}", self.names.log(log));
        self.ask(way, request, what, &how, None)
    }

    fn append(&mut self, way: Way, request: u32, handle: u32, entry: &Entry) -> String {
        let (log, found) = self.on(way, handle);
        let what = format!("append {} to {log}", self.envelope(found, entry));
        let how = format!(": {}", self.entry(entry, found));
        self.ask(way, request, what, &how, found)
    }

    fn read(&mut self, way: Way, request: u32, read: &Read) -> String {
        let (log, found) = self.on(way, read.handle);
        let place = from_place(read, |id| self.names.envelope(id.reference()));
        let how = format!(": at most {}, {place}", read.limit);
        self.ask(way, request, format!("read {log}"), &how, found)
    }

    fn fetch(&mut self, way: Way, request: u32, handle: u32, references: &[Reference]) -> String {
        let (log, found) = self.on(way, handle);
        let numbers: Vec<_> = references.iter().map(|r| self.names.envelope(*r)).collect();
        let how = format!(": {}", list("envelope", &numbers));
        self.ask(way, request, format!("fetch from {log}"), &how, found)
    }

    fn put_key_packages(&mut self, way: Way, request: u32, put: &PutKeyPackages) -> String {
        let (_, found) = self.on(way, put.handle);
        let what = format!("put key packages of {}", self.names.key(put.device, "key"));
        let packages = put.one_time.iter().chain([&put.last_resort]);
        let size: usize = packages.map(Vec::len).sum();
        let last_resort = if put.last_resort.is_empty() { "" } else { " and one of last resort" };
        let how = format!(": {} to use once{last_resort}, {size} B", put.one_time.len());
        self.ask(way, request, what, &how, found)
    }

    fn put_invite(
        &mut self,
        way: Way,
        request: u32,
        handle: u32,
        key: PublicKey,
        left: &str,
        uses: u32,
    ) -> String {
        let (log, found) = self.on(way, handle);
        let invite = self.names.key(key, "invite");
        match uses {
            0 => self.ask(way, request, format!("take back {invite} for {log}"), "", found),
            uses => {
                let times = if uses == 1 { "once".to_owned() } else { format!("{uses} times") };
                let how = format!(": may append {times} within {left}");
                self.ask(way, request, format!("put {invite} for {log}"), &how, found)
            }
        }
    }

    /// Remembers what was asked until it is answered, and says it.
    fn ask(
        &mut self,
        way: Way,
        request: u32,
        what: String,
        how: &str,
        handle: Option<Handle>,
    ) -> String {
        let said = format!("{what}{how}");
        if request != 0 {
            self.asked.insert((way.link, way.from, request), Asked { what, handle });
        }
        said
    }

    // What frames are about.

    fn handle(&self, way: Way, opener: HostId, number: u32) -> Option<Handle> {
        self.handles.get(&(way.link, opener, number)).copied()
    }

    /// The log behind a handle of the speaker's.
    fn on(&mut self, way: Way, number: u32) -> (String, Option<Handle>) {
        let handle = self.handle(way, way.from, number);
        (self.log(handle, number), handle)
    }

    fn log(&mut self, handle: Option<Handle>, number: u32) -> String {
        handle.map_or_else(|| format!("handle {number}"), |handle| self.names.log(handle.log))
    }

    fn envelope(&mut self, handle: Option<Handle>, entry: &Entry) -> String {
        match self.envelope_number(handle, entry) {
            Some(number) => format!("envelope {number}"),
            None => "an envelope".to_owned(),
        }
    }

    /// The envelope's number, if its id can be known: that takes the handle's log and key.
    fn envelope_number(&mut self, handle: Option<Handle>, entry: &Entry) -> Option<u64> {
        let Handle { log, key } = handle?;
        let envelope = entry.clone().into_envelope(log, key, [0; 64]);
        Some(self.names.envelope(envelope.id().reference()))
    }

    /// What nodes read of an entry; the handle's key only if `handle` is given.
    fn entry(&mut self, entry: &Entry, handle: Option<Handle>) -> String {
        let mut words = format!("position {}", entry.position);
        if let Some(key) = entry.write_key.or_else(|| handle.map(|handle| handle.key)) {
            words.push_str(&format!(", {}", self.names.key(key, "epoch key")));
        }
        words.push_str(&format!(", {} B", entry.ciphertext.len()));
        let announced = entry.extension.announced_key();
        let announced = announced.map(|key| self.names.key(key, "epoch key"));
        words.push_str(&entry_kept(entry, announced.as_deref()));
        words
    }

    /// Whose bundle it is, and which one.
    fn bundle(&mut self, bytes: &[u8]) -> (String, String) {
        let size = bytes.len();
        let Ok(bundle) = crypto::Bundle::verify(bytes) else {
            return ("a bundle".to_owned(), format!(": not valid, {size} B"));
        };
        let name = self.names.account(bundle.account());
        let device = format!("{name}'s device");
        for known in bundle.devices() {
            self.names.key(known.key, &device);
        }
        let (rotations, delegation, version) = bundle.rank();
        let rank = format!("rank {rotations}.{delegation}.{version}");
        let devices = numbered(bundle.devices().len(), "device");
        let homes = numbered(bundle.homes().len(), "home");
        (format!("{name}'s bundle"), format!(": {rank}, {devices}, {homes}, {size} B"))
    }
}
