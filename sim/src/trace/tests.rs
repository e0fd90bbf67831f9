//! Frames in words, names, pauses, and the hash.

use std::{collections::BTreeSet, time::Duration};

use crypto::{
    SigningKey,
    identity::{Authority, Device, InboxKey, Phrase, UnsignedRecord},
};
use proto::{
    Body, Code, Cursor, Entry, Expiry, Extension, Frame, Hello, Kind, NodeAddress, NodeId, Open,
    PublicKey, write_frame,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::network::LinkId;

const START: Instant = Instant::from_secs(1_800_000_000);
const ADA: HostId = HostId(0);
const NODE: HostId = HostId(2);
const UP: (HostId, HostId) = (ADA, NODE);
const DOWN: (HostId, HostId) = (NODE, ADA);

/// A trace in which each thing happens a millisecond after the one before.
struct Scene {
    trace: Trace,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let mut trace = Trace::new(true, START);
        trace.name_host(ADA, "ada");
        trace.name_host(NODE, "node 0");
        Self { trace, now: START }
    }

    fn send(&mut self, way: (HostId, HostId), request: u32, body: Body) {
        let mut bytes = Vec::new();
        write_frame(&Frame { request, body }, &mut bytes);
        self.bytes(way, &bytes);
    }

    fn bytes(&mut self, way: (HostId, HostId), bytes: &[u8]) {
        let (from, to) = way;
        self.now = self.now.after(Duration::from_millis(1));
        self.trace.frame(self.now, Way { link: LinkId(0), from, to }, bytes);
    }

    /// What was said, without times.
    fn said(self) -> String {
        let lines = self.trace.into_lines();
        lines.iter().map(|line| format!("{}\n", line.get(12..).unwrap_or(line))).collect()
    }
}

fn entry(position: u64, size: usize) -> Entry {
    Entry {
        sequence: 0,
        kind: Kind::Entry,
        expiry: Expiry::Never,
        position,
        extension: Extension::default(),
        ciphertext: vec![7; size],
        write_key: None,
    }
}

fn open(log: LogId, key: PublicKey) -> Open {
    Open {
        channel: 1,
        log,
        key,
        proof: [0; 64],
        genesis: None,
        tail: None,
        announce: false,
        ranking: None,
    }
}

/// A bundle of one device, and whose it is.
fn bundle() -> (AccountId, PublicKey, Vec<u8>) {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let authority = Authority::create(&Phrase::generate(&mut rng), &mut rng);
    let key = SigningKey::from_seed([2; 32]).public();
    let draft = UnsignedRecord {
        version: 1,
        devices: vec![Device { key, added_s: 0 }],
        homes: vec![NodeAddress {
            node: NodeId([3; 32]),
            addresses: vec![([127, 0, 0, 1], 4440).into()],
        }],
        copies: 2,
        inbox_key: InboxKey::from_seed([4; 32]).public(),
    };
    let bundle = authority.sign_record(draft).unwrap();
    (bundle.account(), key, bundle.as_bytes().to_vec())
}

#[test]
fn a_conversation_reads_like_one() {
    let (log, key) = (LogId([5; 32]), PublicKey([6; 32]));
    let mut scene = Scene::new();
    scene.send(UP, 0, Body::Hello(Hello { versions: (1, 1), nonce: [0; 16] }));
    scene.send(UP, 1, Body::Open(open(log, key)));
    let head = Cursor { incarnation: 1 << 60, sequence: 2 };
    scene.send(DOWN, 1, Body::Opened { head, position: 2 });
    let append =
        |position| Body::Append { channel: 1, entry: entry(position, 211), signature: [0; 64] };
    scene.send(UP, 2, append(3));
    scene.send(DOWN, 2, Body::Accepted { channel: 0, sequence: 3 });
    scene.send(DOWN, 0, Body::Deliver { channel: 1, entry: entry(3, 211) });
    scene.send(UP, 0, Body::Accepted { channel: 1, sequence: 3 });
    // What is learnt late is a name for all.
    scene.trace.name_log(log, "ada & ben");
    let said = scene.said();
    assert_eq!(
        said,
        "ada      ─▶ node 0   Hello { versions: (1, 1) }
ada      ─▶ node 0   #1 Open { channel: 1, log: ada & ben, key: key 1 }
node 0   ─▶ ada      #1 Opened { head: Cursor { copy 1, sequence: 2 }, position: 2 }
ada      ─▶ node 0   #2 envelope 1: Append { log: ada & ben, entry: Entry { position: 3, \
ciphertext: 211 B } }
node 0   ─▶ ada      #2 Accepted { sequence: 3 }
node 0   ─▶ ada      envelope 1: Deliver { log: ada & ben, entry: Entry { position: 3, \
ciphertext: 211 B } }
ada      ─▶ node 0   Accepted { log: ada & ben, sequence: 3 }
"
    );
}

#[test]
fn devices_are_called_after_accounts() {
    let (account, device, bytes) = bundle();
    let mut scene = Scene::new();
    scene.trace.name_account(account, "ada");
    scene.send(UP, 1, Body::PutBundle(bytes));
    scene.send(UP, 2, Body::PutInvite { channel: 3, key: device, expires_s: 9, uses: 1 });
    let said = scene.said();
    let last = said.lines().last().unwrap();
    assert!(last.contains("key: ada's device"), "{said}");
}

#[test]
fn what_makes_no_sense_is_told_as_it_is() {
    let mut scene = Scene::new();
    scene.bytes(UP, &[0, 0]);
    scene.send(DOWN, 7, Body::Refused { code: Code::Busy, newer: Vec::new() });
    scene.bytes(UP, &[0xFF; 40]);
    let said = scene.said();
    assert!(said.contains("an unknown frame, 2 B"), "{said}");
    assert!(said.contains("#7 Refused { code: Busy }") && said.contains("not a frame: "), "{said}");
}

#[test]
fn time_counts_from_the_beginning_and_pauses_are_told() {
    let mut trace = Trace::new(true, START);
    trace.note(START.after(Duration::from_micros(1_234_567)), "x", &[], || "one\ntwo".to_owned());
    trace.note(START.after(Duration::from_secs(61)), "y", &[], || "three".to_owned());
    assert_eq!(
        trace.into_lines(),
        ["  1234.567  one two", "            … 59 s pass", " 61000.000  three"]
    );
}

#[test]
fn channels_belong_to_one_connection() {
    let mut trace = Trace::new(true, START);
    let mut say = |link, request, body| {
        let mut bytes = Vec::new();
        write_frame(&Frame { request, body }, &mut bytes);
        trace.frame(START, Way { link: LinkId(link), from: ADA, to: NODE }, &bytes);
    };
    for link in [0, 1] {
        let id = [u8::try_from(link).unwrap(); 32];
        say(link, 1, Body::Open(open(LogId(id), PublicKey([9; 32]))));
    }
    for link in [0, 1, 2] {
        say(link, 2, Body::Close { channel: 1 });
    }
    let lines = trace.into_lines();
    let said: Vec<_> = lines.iter().map(|line| line.chars().skip(33).collect::<String>()).collect();
    assert_eq!(
        said[2..],
        ["#2 Close { log: log 1 }", "#2 Close { log: log 2 }", "#2 Close { channel: 1 }"]
    );
}

/// What a run does to a trace.
#[derive(Clone, Copy)]
struct Run {
    write: bool,
    at: Instant,
    way: Way,
    bytes: &'static [u8],
    what: &'static str,
    numbers: &'static [u64],
}

impl Run {
    fn new(write: bool) -> Self {
        let way = Way { link: LinkId(0), from: ADA, to: NODE };
        Self { write, at: START, way, bytes: &[1, 2, 3], what: "dies", numbers: &[4, 5] }
    }

    fn hash(self) -> [u8; 32] {
        let mut trace = Trace::new(self.write, START);
        trace.name_host(ADA, if self.write { "ada" } else { "another person" });
        trace.frame(self.at, self.way, self.bytes);
        trace.note(self.at, self.what, self.numbers, || "text".to_owned());
        trace.hash()
    }
}

#[test]
fn the_hash_is_the_same_with_and_without_a_transcript() {
    assert_eq!(Run::new(true).hash(), Run::new(false).hash());
    let mut unwritten = Trace::new(false, START);
    unwritten.note(START, "dies", &[], || panic!("no text is made"));
    assert_eq!(unwritten.into_lines(), Vec::<String>::new());
}

#[test]
fn the_hash_differs_when_anything_does() {
    let run = Run::new(false);
    let way = run.way;
    let runs = [
        run,
        Run { at: START.after(Duration::from_micros(1)), ..run },
        Run { way: Way { link: LinkId(1), ..way }, ..run },
        Run { way: Way { from: HostId(1), ..way }, ..run },
        Run { way: Way { to: HostId(1), ..way }, ..run },
        Run { bytes: &[1, 2, 4], ..run },
        Run { bytes: &[1, 2], ..run },
        Run { what: "died", ..run },
        Run { what: "die", ..run },
        Run { numbers: &[4], ..run },
        Run { numbers: &[4, 6], ..run },
        Run { numbers: &[5, 4], ..run },
    ];
    let hashes: BTreeSet<_> = runs.into_iter().map(Run::hash).collect();
    assert_eq!(hashes.len(), runs.len());
}

#[test]
fn the_order_of_what_happens_counts() {
    let Run { at, way, bytes, .. } = Run::new(false);
    let hash = |happens: fn(&mut Trace, Instant, Way, &[u8])| {
        let mut trace = Trace::new(false, START);
        happens(&mut trace, at, way, bytes);
        trace.hash()
    };
    let hashes = BTreeSet::from([
        hash(|_, _, _, _| {}),
        hash(|t, at, way, bytes| t.frame(at, way, bytes)),
        hash(|t, at, way, bytes| {
            t.frame(at, way, bytes);
            t.note(at, "dies", &[], String::new);
        }),
        hash(|t, at, way, bytes| {
            t.note(at, "dies", &[], String::new);
            t.frame(at, way, bytes);
        }),
    ]);
    assert_eq!(hashes.len(), 4);
}
