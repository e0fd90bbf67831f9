//! Each kind of frame in words, names, pauses, and the hash.

use std::{collections::BTreeSet, time::Duration};

use crypto::{Authority, Device, InboxKey, Phrase, RecordDraft, SigningKey};
use proto::{
    Body, Code, Cursor, Entry, EnvelopeId, Expiry, Extension, Frame, Hello, Kind, LogGenesis,
    NodeAddress, NodeId, Open, PublicKey, PutKeyPackages, Read, write_frame,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;

const START: Instant = Instant::from_secs(1_800_000_000);
const ADA: HostId = HostId(0);
const BEN: HostId = HostId(1);
const NODE: HostId = HostId(2);

/// A transcript under way: each thing happens a millisecond after the one before.
struct Scene {
    transcript: Transcript,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let mut transcript = Transcript::new(true, START);
        for (host, name) in [(ADA, "ada"), (BEN, "ben"), (NODE, "node 0")] {
            transcript.name_host(host, name);
        }
        Self { transcript, now: START }
    }

    /// Says something that wants or gives no answer.
    fn say(&mut self, way: (HostId, HostId), body: Body) {
        self.ask(way, 0, body);
    }

    /// Says something that asks for, or answers, `request`.
    fn ask(&mut self, way: (HostId, HostId), request: u32, body: Body) {
        self.bytes(way, &encode(&Frame { request, body }));
    }

    fn bytes(&mut self, (from, to): (HostId, HostId), bytes: &[u8]) {
        self.now = self.now.after(Duration::from_millis(1));
        // Each device has one connection.
        let link = LinkId(u64::from(from.0.min(to.0)));
        self.transcript.frame(self.now, Way { link, from, to }, bytes);
    }

    /// What was said, without times.
    fn said(self) -> String {
        let lines = self.transcript.into_lines();
        lines.iter().map(|line| format!("{}\n", line.get(12..).unwrap_or(line))).collect()
    }
}

fn encode(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(frame, &mut bytes);
    bytes
}

const UP: (HostId, HostId) = (ADA, NODE);
const DOWN: (HostId, HostId) = (NODE, ADA);
const TO_BEN: (HostId, HostId) = (NODE, BEN);
const FROM_BEN: (HostId, HostId) = (BEN, NODE);

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

fn open(handle: u32, log: LogId, key: PublicKey) -> Open {
    Open {
        handle,
        log,
        key,
        proof: [0; 64],
        genesis: None,
        tail: None,
        brief: false,
        ranking: None,
    }
}

fn append(handle: u32, entry: Entry) -> Body {
    Body::Append { handle, entry, signature: [0; 64] }
}

/// A conversation whose first write key is 32 times this byte.
fn conversation(key: u8) -> LogGenesis {
    LogGenesis::Conversation { write_key: PublicKey([key; 32]), salt: [0; 16] }
}

/// A bundle of one device, and whose it is.
fn bundle() -> (AccountId, PublicKey, Vec<u8>) {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let authority = Authority::create(&Phrase::generate(&mut rng), &mut rng);
    let key = SigningKey::from_seed([2; 32]).public();
    let draft = RecordDraft {
        version: 1,
        devices: vec![Device { key, added_s: 0 }],
        homes: vec![NodeAddress {
            node: NodeId(SigningKey::from_seed([3; 32]).public().0),
            addresses: vec!["127.0.0.1:4440".parse().unwrap()],
        }],
        copies: 2,
        inbox_key: InboxKey::from_seed([4; 32]).public(),
    };
    let bundle = authority.sign_record(draft).unwrap();
    (bundle.account(), key, bundle.as_bytes().to_vec())
}

#[test]
fn an_account_is_set_up() {
    let (account, device, bytes) = bundle();
    let inbox = LogGenesis::Inbox(account).id();
    let invite = PublicKey([9; 32]);
    let expires_s = START.as_secs() + 90_000;
    let mut scene = Scene::new();
    scene.say(UP, Body::Hello(Hello { versions: (1, 1), nonce: [0; 16] }));
    scene.say(DOWN, Body::Hello(Hello { versions: (1, 3), nonce: [0; 16] }));
    scene.ask(UP, 1, Body::PutBundle(bytes.clone()));
    scene.ask(DOWN, 1, Body::Accepted { handle: 0, sequence: 0 });
    scene.ask(UP, 2, Body::PutBundle(bytes.clone()));
    scene.ask(DOWN, 2, Body::Refused { code: Code::Stale, newer: bytes.clone() });
    scene.ask(UP, 3, Body::Open(open(1, inbox, device)));
    let head = Cursor { incarnation: 77, sequence: 0 };
    scene.ask(DOWN, 3, Body::Opened { head, position: 0 });
    let one_time = vec![vec![0; 100]; 2];
    let put = PutKeyPackages { handle: 1, device, one_time, last_resort: vec![0; 50] };
    scene.ask(UP, 4, Body::PutKeyPackages(put));
    scene.ask(DOWN, 4, Body::KeyPackages { packages: Vec::new(), left: 2 });
    scene.ask(UP, 5, Body::PutInvite { handle: 1, key: invite, expires_s, uses: 1 });
    scene.ask(DOWN, 5, Body::Accepted { handle: 1, sequence: 0 });
    scene.ask(FROM_BEN, 1, Body::GetBundle(account));
    scene.ask(TO_BEN, 1, Body::BundleIs(bytes));
    scene.ask(FROM_BEN, 2, Body::Open(open(7, inbox, invite)));
    scene.ask(TO_BEN, 2, Body::Opened { head: Cursor::default(), position: 0 });
    scene.ask(FROM_BEN, 3, Body::TakeKeyPackages { handle: 7 });
    scene.ask(TO_BEN, 3, Body::KeyPackages { packages: vec![vec![0; 100]], left: 0 });
    scene.ask(UP, 6, Body::PutInvite { handle: 1, key: invite, expires_s, uses: 0 });
    scene.ask(DOWN, 6, Body::Refused { code: Code::NotFound, newer: Vec::new() });
    scene.say(DOWN, Body::Goodbye(Code::Replaced));
    // A name that is learnt late is good for the whole story.
    scene.transcript.name_account(account, "ada");
    let story = "\
ada      ─▶ node 0   hello: version 1
node 0   ─▶ ada      hello: versions 1 to 3
ada      ─▶ node 0   put ada's bundle: rank 0.1.1, 1 device, 1 home, 1614 B
node 0   ─▶ ada      accepted: put ada's bundle
ada      ─▶ node 0   put ada's bundle: rank 0.1.1, 1 device, 1 home, 1614 B
node 0   ─▶ ada      refused, stale: put ada's bundle; better is ada's bundle: rank 0.1.1, 1 device, 1 home, 1614 B
ada      ─▶ node 0   open ada's inbox with ada's device 1
node 0   ─▶ ada      opened ada's inbox: copy 1, empty
ada      ─▶ node 0   put key packages of ada's device 1: 2 to use once and one of last resort, 250 B
node 0   ─▶ ada      key packages in ada's inbox: 2 left
ada      ─▶ node 0   put invite 1 for ada's inbox: may append once within 1 d 1 h
node 0   ─▶ ada      accepted: put invite 1 for ada's inbox
ben      ─▶ node 0   get ada's bundle
node 0   ─▶ ben      ada's bundle: rank 0.1.1, 1 device, 1 home, 1614 B
ben      ─▶ node 0   open ada's inbox with invite 1
node 0   ─▶ ben      opened ada's inbox
ben      ─▶ node 0   take key packages from ada's inbox
node 0   ─▶ ben      1 key package from ada's inbox: 100 B
ada      ─▶ node 0   take back invite 1 for ada's inbox
node 0   ─▶ ada      refused, not found: take back invite 1 for ada's inbox
node 0   ─▶ ada      goodbye: replaced
";
    assert_eq!(scene.said(), story);
}

#[test]
fn a_conversation_is_held() {
    let genesis = conversation(1);
    let (log, key) = (genesis.id(), PublicKey([1; 32]));
    let mut scene = Scene::new();
    scene.transcript.name_log(log, "ada & ben");
    let tail = Some(Cursor::default());
    let open = Open { genesis: Some(genesis.encode()), tail, ..open(1, log, key) };
    scene.ask(UP, 1, Body::Open(open.clone()));
    let head = Cursor { incarnation: 77, sequence: 2 };
    scene.ask(DOWN, 1, Body::Opened { head, position: 2 });
    let tail = Some(Cursor { incarnation: 77, sequence: 2 });
    scene.ask(FROM_BEN, 1, Body::Open(Open { handle: 9, genesis: None, tail, ..open }));
    scene.ask(UP, 2, append(1, entry(3, 212)));
    scene.ask(DOWN, 2, Body::Accepted { handle: 1, sequence: 3 });
    let delivered = Entry { sequence: 3, ..entry(3, 212) };
    scene.say(TO_BEN, Body::Deliver { handle: 9, entry: delivered });
    scene.say(FROM_BEN, Body::Accepted { handle: 9, sequence: 3 });
    scene.say(FROM_BEN, Body::Signal { handle: 9, ciphertext: vec![0; 40] });
    scene.say(DOWN, Body::Signal { handle: 1, ciphertext: vec![0; 40] });
    let rekeyed = Entry {
        kind: Kind::KeyChange,
        expiry: Expiry::Day,
        extension: Extension::next_key(PublicKey([2; 32])),
        ..entry(4, 500)
    };
    scene.ask(UP, 3, append(1, rekeyed));
    let other_key = Entry { sequence: 5, write_key: Some(PublicKey([2; 32])), ..entry(5, 80) };
    scene.say(TO_BEN, Body::Deliver { handle: 9, entry: other_key.clone() });
    let from = (0, EnvelopeId([0; 32]));
    scene.ask(UP, 4, Body::Read(Read { handle: 1, from, backward: false, limit: 50 }));
    let entries = vec![Entry { sequence: 3, ..entry(3, 212) }, other_key.clone()];
    scene.ask(DOWN, 4, Body::Page { entries, more: true });
    let from = (5, other_key.into_envelope(log, key, [0; 64]).id());
    scene.ask(UP, 5, Body::Read(Read { handle: 1, from, backward: true, limit: 50 }));
    scene.ask(DOWN, 5, Body::Page { entries: Vec::new(), more: false });
    scene.ask(UP, 6, Body::Fetch { handle: 1, references: vec![from.1.reference()] });
    scene.ask(UP, 7, Body::Close { handle: 1 });
    scene.ask(DOWN, 7, Body::Accepted { handle: 1, sequence: 0 });
    let story = "\
ada      ─▶ node 0   open ada & ben with epoch key 1, creating it, following from the beginning
node 0   ─▶ ada      opened ada & ben: copy 1, up to entry 2, position 2
ben      ─▶ node 0   open ada & ben with epoch key 1, following after entry 2 of copy 1
ada      ─▶ node 0   append envelope 1 to ada & ben: position 3, epoch key 1, 212 B
node 0   ─▶ ada      accepted as entry 3: append envelope 1 to ada & ben
node 0   ─▶ ben      deliver from ada & ben: envelope 1, entry 3, position 3, 212 B
ben      ─▶ node 0   accepted: ada & ben up to entry 3
ben      ─▶ node 0   signal on ada & ben: 40 B
node 0   ─▶ ada      signal on ada & ben: 40 B
ada      ─▶ node 0   append envelope 2 to ada & ben: position 4, epoch key 1, 500 B, changing to epoch key 2, kept for a day
node 0   ─▶ ben      deliver from ada & ben: envelope 3, entry 5, position 5, epoch key 2, 80 B
ada      ─▶ node 0   read ada & ben: at most 50, forward from the beginning
node 0   ─▶ ada      page of ada & ben: envelopes 1, 3, 292 B, and there is more
ada      ─▶ node 0   read ada & ben: at most 50, backward from envelope 3 at position 5
node 0   ─▶ ada      page of ada & ben: nothing
ada      ─▶ node 0   fetch from ada & ben: envelope 3
ada      ─▶ node 0   close ada & ben
node 0   ─▶ ada      accepted: close ada & ben
";
    assert_eq!(scene.said(), story);
}

#[test]
fn what_makes_no_sense_is_told_as_it_is() {
    let log = LogGenesis::Inbox(AccountId([5; 32])).id();
    let bad = Open { genesis: Some(vec![1]), ..open(1, log, PublicKey([6; 32])) };
    let good = encode(&Frame::new(Body::Close { handle: 4 }));
    let mut scene = Scene::new();
    scene.ask(UP, 1, append(4, entry(1, 10)));
    scene.ask(UP, 2, Body::Open(bad));
    scene.ask(DOWN, 99, Body::Accepted { handle: 4, sequence: 0 });
    scene.ask(DOWN, 98, Body::Page { entries: vec![entry(1, 10)], more: false });
    scene.say(DOWN, Body::Refused { code: Code::Malformed, newer: Vec::new() });
    scene.ask(DOWN, 97, Body::Opened { head: Cursor::default(), position: 0 });
    scene.say(DOWN, Body::BundleIs(vec![1, 2]));
    scene.bytes(UP, &[]);
    scene.bytes(UP, &[2, 0x08]);
    scene.bytes(UP, &[2, 0x08, 7]);
    scene.bytes(UP, &[3, 1, 2, 3]);
    scene.bytes(UP, &[0xFF; 12]);
    scene.bytes(UP, &[&good[..], &[1, 2, 3]].concat());
    let story = "\
ada      ─▶ node 0   append an envelope to handle 4: position 1, 10 B
ada      ─▶ node 0   open log 1 with epoch key 1, with a bad genesis
node 0   ─▶ ada      accepted: request 99
node 0   ─▶ ada      page of what request 98 was about: 1 envelope, 10 B
node 0   ─▶ ada      refused, malformed: a frame without a number
node 0   ─▶ ada      opened what request 97 was about
node 0   ─▶ ada      a bundle: not valid, 2 B
ada      ─▶ node 0   no frame: cut short, 0 B
ada      ─▶ node 0   no frame: cut short, 2 B
ada      ─▶ node 0   a frame of an unknown kind: request 7, 3 B
ada      ─▶ node 0   no frame: not a valid message, 4 B
ada      ─▶ node 0   no frame: larger than allowed, 12 B
ada      ─▶ node 0   close handle 4; and 3 B after it
";
    assert_eq!(scene.said(), story);
}

#[test]
fn numbers_belong_to_one_connection() {
    let (first, second) = (conversation(1).id(), conversation(2).id());
    let mut transcript = Transcript::new(true, START);
    let mut say = |link, (from, to), request, body| {
        let bytes = encode(&Frame { request, body });
        transcript.frame(START, Way { link: LinkId(link), from, to }, &bytes);
    };
    say(0, UP, 1, Body::Open(open(1, first, PublicKey([1; 32]))));
    say(1, UP, 1, Body::Open(open(1, second, PublicKey([2; 32]))));
    say(0, UP, 2, Body::Close { handle: 1 });
    say(1, UP, 2, Body::Close { handle: 1 });
    say(2, UP, 2, Body::Close { handle: 1 });
    say(0, DOWN, 1, Body::Refused { code: Code::Busy, newer: Vec::new() });
    // The other side's own numbers are others, too.
    say(0, UP, 2, Body::Refused { code: Code::Busy, newer: Vec::new() });
    let lines = transcript.into_lines();
    let said: Vec<_> = lines.iter().map(|line| line.chars().skip(33).collect::<String>()).collect();
    assert_eq!(
        said,
        [
            "open log 1 with epoch key 1",
            "open log 2 with epoch key 2",
            "close log 1",
            "close log 2",
            "close handle 1",
            "refused, busy: open log 1",
            "refused, busy: request 2",
        ]
    );
}

#[test]
fn time_counts_from_the_beginning_and_pauses_are_told() {
    let mut transcript = Transcript::new(true, START);
    let mut note = |after, text: &str| {
        transcript.note(START.after(after), "note", &[], || text.to_owned());
    };
    note(Duration::from_micros(12_034), "ada starts");
    note(Duration::from_micros(5_012_034), "still here");
    note(Duration::from_secs(30), "ben's\npower fails");
    note(Duration::from_secs(7_300), "ben starts");
    assert_eq!(
        transcript.into_lines(),
        [
            "    12.034  ada starts",
            "  5012.034  still here",
            "            … 24 s pass",
            " 30000.000  ben's power fails",
            "            … 2 h 1 min pass",
            "7300000.000  ben starts",
        ]
    );
}

#[test]
fn frames_stand_in_columns() {
    let mut scene = Scene::new();
    scene.say(UP, Body::Goodbye(Code::Done));
    scene.say((HostId(12), ADA), Body::Goodbye(Code::Busy));
    assert_eq!(
        scene.transcript.into_lines(),
        [
            "     1.000  ada      ─▶ node 0   goodbye: done",
            "     2.000  host 12  ─▶ ada      goodbye: busy",
        ]
    );
}

/// What a run does to a transcript.
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
        let mut transcript = Transcript::new(self.write, START);
        transcript.name_host(ADA, if self.write { "ada" } else { "somebody else" });
        transcript.frame(self.at, self.way, self.bytes);
        transcript.note(self.at, self.what, self.numbers, || "text".to_owned());
        transcript.hash()
    }
}

#[test]
fn the_hash_is_the_same_whether_the_story_is_written_or_not() {
    assert_eq!(Run::new(true).hash(), Run::new(false).hash());
    let mut unwritten = Transcript::new(false, START);
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
        Run { way: Way { from: BEN, ..way }, ..run },
        Run { way: Way { to: BEN, ..way }, ..run },
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
    let hash = |story: fn(&mut Transcript, Instant, Way, &[u8])| {
        let mut transcript = Transcript::new(false, START);
        story(&mut transcript, at, way, bytes);
        transcript.hash()
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
