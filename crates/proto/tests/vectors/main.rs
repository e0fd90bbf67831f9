//! Test vectors: `spec/vectors/frames.txt` and `spec/vectors/contents.txt` hold one value of each
//! kind, so that another implementation can check itself and ours can't change unnoticed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod words;

use std::{collections::BTreeSet, fmt::Write as _};

use proto::{
    AccountId, Body, Code, Compare, Content, ContentBody, Cursor, Entry, EnvelopeId, Expiry,
    Extension, Frame, FrameReader, Hello, Kind, LogId, NodeAck, NodeAddress, NodeId, Open, Part,
    PublicKey, PutKeyPackages, Ranking, Read, Receipt, Recruit, Reference, Replicate, write_frame,
};

use crate::words::words;

#[test]
fn frames_are_encoded_as_specified() {
    let specified = include_str!("../../../../spec/vectors/frames.txt");
    let lines = all_frames().into_iter().map(|(name, body)| {
        let mut bytes = Vec::new();
        write_frame(&Frame { request: 7, body }, &mut bytes);
        format!("{name} {}", hex(&bytes))
    });
    compare(specified, &lines.collect::<Vec<_>>());
}

#[test]
fn specified_frames_are_read() {
    let specified = include_str!("../../../../spec/vectors/frames.txt");
    for ((name, body), line) in all_frames().into_iter().zip(vectors(specified)) {
        let (_, digits) = line.split_once(' ').unwrap();
        let mut reader = FrameReader::default();
        reader.push(&unhex(digits));
        let (frame, _) = reader.next_frame().unwrap().unwrap();
        assert_eq!(frame, Frame { request: 7, body }, "{name}");
    }
}

#[test]
fn there_is_a_vector_of_every_frame() {
    let schema = include_str!("../../../../spec/proto/frames.proto");
    let (_, oneof) = schema.split_once("oneof body {").unwrap();
    let (oneof, _) = oneof.split_once('}').unwrap();
    let named: BTreeSet<_> =
        oneof.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let routing = ["routing"].into_iter();
    let tested: BTreeSet<_> =
        all_frames().into_iter().map(|(name, _)| name).chain(routing).collect();
    assert_eq!(tested, named);
}

#[test]
fn words_are_encoded_as_specified_and_read_back() {
    let specified = include_str!("../../../../spec/vectors/routing.txt");
    let lines = words().into_iter().map(|(name, word)| {
        let frame = Frame { request: 7, body: Body::Routing(word) };
        let (mut bytes, mut reader) = (Vec::new(), FrameReader::default());
        write_frame(&frame, &mut bytes);
        reader.push(&bytes);
        assert_eq!(reader.next_frame().unwrap().unwrap().0, frame, "{name}");
        format!("{name} {}", hex(&bytes))
    });
    compare(specified, &lines.collect::<Vec<_>>());
}

#[test]
fn there_is_a_vector_of_every_word() {
    let schema = include_str!("../../../../spec/proto/routing.proto");
    let (_, oneof) = schema.split_once("oneof word {").unwrap();
    let (oneof, _) = oneof.split_once('}').unwrap();
    let fields = oneof.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let named: BTreeSet<_> = fields.filter_map(|line| line.split_whitespace().nth(1)).collect();
    let tested: BTreeSet<_> = words().into_iter().map(|(name, _)| name).collect();
    assert_eq!(tested, named);
}

#[test]
fn contents_are_encoded_as_specified() {
    let specified = include_str!("../../../../spec/vectors/contents.txt");
    let lines = contents().map(|(name, body)| {
        let content = Content {
            dependencies: vec![Reference([0xd1; 16]), Reference([0xd2; 16])],
            sent_at_s: 1_900_000_000,
            body,
            bundle_seen: Some([0xb5; 32]),
        };
        assert_eq!(Content::decode(&content.encode()), Ok(content.clone()), "{name}");
        format!("{name} {}", hex(&content.encode()))
    });
    compare(specified, &lines);
}

fn all_frames() -> Vec<(&'static str, Body)> {
    frames().into_iter().chain(told()).chain([recruit()]).chain(compared()).collect()
}

/// What a home says to another one, for a third is gone.
fn recruit() -> (&'static str, Body) {
    let conversation = Some((b"genesis".to_vec(), ranking()));
    ("recruit", Body::Recruit(Box::new(Recruit { bundle: b"bundle".to_vec(), conversation })))
}

fn ranking() -> Ranking {
    let node = |byte, port| NodeAddress {
        node: NodeId([byte; 32]),
        addresses: vec![([192, 0, 2, 1], port).into()],
    };
    let nodes = vec![node(0xb1, 4440), node(0xb2, 4441)];
    Ranking { version: 2, nodes, reserve: vec![node(0xb3, 4442)] }
}

/// What nodes say when they compare what they hold.
fn compared() -> [(&'static str, Body); 4] {
    let (log, key, symbols) = (LogId([0x22; 32]), [0x99; 16], (8, 32));
    let compare = |log, part, symbols| Body::Compare(Compare { log, key, part, symbols });
    let references = vec![Reference([0x88; 16])];
    [
        ("compare", compare(None, Part::ALL, (0, 8))),
        ("compare", compare(Some(log), Part::new(3, 5).unwrap(), symbols)),
        ("symbols", Body::Symbols(b"portion".to_vec())),
        ("lacking", Body::Lacking { log, references }),
    ]
}

/// What a node says of entries without handing them over.
fn told() -> [(&'static str, Body); 6] {
    let (channel, sequence, reference) = (3, 42, Reference([0x88; 16]));
    let ack = NodeAck { incarnation: 0x1234_5678, signature: [0x66; 64] };
    let held = |node| Body::NodeAck { channel, reference, node, ack };
    [
        ("announce", Body::Announce { channel, sequence, reference }),
        ("node_ack", held(None)),
        ("node_ack", held(Some(NodeId([0xb1; 32])))),
        ("settled", Body::Settled { channel, sequence }),
        ("challenge", Body::Challenge { channel, id: EnvelopeId([0x88; 32]), ack }),
        ("lost", Body::Lost { signature: [0x66; 64] }),
    ]
}

fn frames() -> [(&'static str, Body); 24] {
    let channel = 3;
    let (key, log) = (PublicKey([0x11; 32]), LogId([0x22; 32]));
    let head = Cursor { incarnation: 0x1234_5678, sequence: 41 };
    let entry = Entry {
        sequence: 42,
        kind: Kind::Entry,
        expiry: Expiry::Never,
        position: 9,
        extension: Extension::default(),
        ciphertext: b"ciphertext".to_vec(),
        write_key: None,
    };
    let change = Entry {
        kind: Kind::KeyChange,
        expiry: Expiry::Day,
        extension: Extension::next_key(PublicKey([0x33; 32])),
        write_key: Some(key),
        ..entry.clone()
    };
    let appended = Entry { sequence: 0, ..entry.clone() };
    let open = Open {
        channel,
        log,
        key,
        proof: [0x44; 64],
        genesis: Some(b"genesis".to_vec()),
        tail: Some(head),
        announce: false,
        ranking: None,
    };
    let announce = Open { announce: true, ..open.clone() };
    let ranked = Open { ranking: Some(Box::new(ranking())), ..open.clone() };
    let put = PutKeyPackages {
        channel,
        device: key,
        one_time: vec![b"one".to_vec(), b"two".to_vec()],
        last_resort: b"last".to_vec(),
    };
    let from = (8, EnvelopeId([0x55; 32]));
    [
        ("accepted", Body::Accepted { channel, sequence: 42 }),
        ("refused", Body::Refused { code: Code::Stale, newer: b"newer".to_vec() }),
        ("append", Body::Append { channel, entry: appended, signature: [0x66; 64] }),
        ("append", Body::Append { channel, entry: change.clone(), signature: [0x66; 64] }),
        ("deliver", Body::Deliver { channel, entry: change.clone() }),
        ("signal", Body::Signal { channel, ciphertext: b"signal".to_vec() }),
        ("hello", Body::Hello(Hello { versions: (1, 2), nonce: [0x77; 16] })),
        ("goodbye", Body::Goodbye(Code::Version)),
        ("open", Body::Open(open)),
        ("open", Body::Open(ranked)),
        ("open", Body::Open(announce)),
        ("opened", Body::Opened { head, position: 9 }),
        ("close", Body::Close { channel }),
        ("read", Body::Read(Read { channel, from, backward: true, limit: 50 })),
        ("fetch", Body::Fetch { channel, references: vec![Reference([0x88; 16])] }),
        ("page", Body::Page { entries: vec![entry, change], more: true }),
        ("put_bundle", Body::PutBundle(b"bundle".to_vec())),
        ("get_bundle", Body::GetBundle(AccountId([0x99; 32]))),
        ("bundle_is", Body::BundleIs(b"bundle".to_vec())),
        ("put_key_packages", Body::PutKeyPackages(put)),
        ("take_key_packages", Body::TakeKeyPackages { channel }),
        ("key_packages", Body::KeyPackages { packages: vec![b"one".to_vec()], left: 99 }),
        ("put_invite", Body::PutInvite { channel, key, expires_s: 1_900_000_000, uses: 1 }),
        ("replicate", Body::Replicate(Replicate { channel, log, head })),
    ]
}

fn contents() -> [(&'static str, ContentBody); 9] {
    let target = Reference([0xaa; 16]);
    let instead_of = Some(LogId([0x22; 32]));
    let accept = ContentBody::Accept { bundle: b"bundle".to_vec(), instead_of };
    let ack = Receipt { delivered: vec![Reference([0xd1; 16])], read: vec![Reference([0xd2; 16])] };
    [
        ("text", ContentBody::Text { text: "Grüezi".to_owned(), reply_to: None }),
        ("reply", ContentBody::Text { text: "你好".to_owned(), reply_to: Some(target) }),
        ("edit", ContentBody::Edit { target, text: "edited".to_owned() }),
        ("delete", ContentBody::Delete { target }),
        ("reaction", ContentBody::Reaction { target, emoji: "👍".to_owned() }),
        ("receipt", ContentBody::Receipt(ack)),
        ("accept", ContentBody::Accept { bundle: b"bundle".to_vec(), instead_of: None }),
        ("accept", accept),
        ("unknown", ContentBody::Unknown),
    ]
}

fn compare(specified: &str, lines: &[String]) {
    let same = vectors(specified).eq(lines.iter().map(String::as_str));
    assert!(same, "the vectors should be\n{}", lines.join("\n"));
}

/// The lines of a file of vectors that aren't comments.
fn vectors(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
