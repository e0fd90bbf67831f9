//! Any value that has a wire form.

use proptest::{collection::vec, option, prelude::*};
use proto::{
    AccountId, Body, Code, Compare, Content, ContentBody, Cursor, Entry, Envelope, EnvelopeId,
    Expiry, Extension, Frame, Head, Hello, Kind, LogGenesis, LogId, NodeAck, NodeAddress, NodeId,
    Open, Part, PublicKey, PutKeyPackages, Ranking, Read, Receipt, Recruit, Reference, Replicate,
    limits,
};

use crate::words::word;

pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    (any::<u32>(), body()).prop_map(|(request, body)| Frame { request, body })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        messages(),
        connections(),
        accounts(),
        reads(),
        compared(),
        word().prop_map(Body::Routing)
    ]
}

fn messages() -> impl Strategy<Value = Body> {
    let channel = any::<u32>;
    prop_oneof![
        (channel(), any::<u64>())
            .prop_map(|(channel, sequence)| Body::Accepted { channel, sequence }),
        (code(), bytes(64)).prop_map(|(code, newer)| Body::Refused { code, newer }),
        (channel(), entry(), any::<[u8; 64]>())
            .prop_map(|(channel, entry, signature)| { Body::Append { channel, entry, signature } }),
        (channel(), entry()).prop_map(|(channel, entry)| Body::Deliver { channel, entry }),
        told(),
        (channel(), bytes(limits::SIGNAL_MAX))
            .prop_map(|(channel, ciphertext)| Body::Signal { channel, ciphertext }),
    ]
}

/// What a node says of entries without handing them over.
fn told() -> impl Strategy<Value = Body> {
    let (channel, reference) = (any::<u32>, || any::<[u8; 16]>().prop_map(Reference));
    let node = option::of(any::<[u8; 32]>().prop_map(NodeId));
    prop_oneof![
        (channel(), any::<u64>(), reference()).prop_map(|(channel, sequence, reference)| {
            Body::Announce { channel, sequence, reference }
        }),
        (channel(), reference(), node, ack()).prop_map(|(channel, reference, node, ack)| {
            Body::NodeAck { channel, reference, node, ack }
        }),
        (channel(), any::<[u8; 32]>(), ack()).prop_map(|(channel, id, ack)| {
            Body::Challenge { channel, id: EnvelopeId(id), ack }
        }),
        any::<[u8; 64]>().prop_map(|signature| Body::Lost { signature }),
        (channel(), any::<u64>())
            .prop_map(|(channel, sequence)| Body::Settled { channel, sequence }),
    ]
}

fn ack() -> impl Strategy<Value = NodeAck> {
    any::<(u64, [u8; 64])>().prop_map(|(incarnation, signature)| NodeAck { incarnation, signature })
}

/// What nodes say when they compare what they hold.
fn compared() -> impl Strategy<Value = Body> {
    let log = || any::<[u8; 32]>().prop_map(LogId);
    let part = (0..=Part::DEPTH_MAX, any::<u16>()).prop_map(|(depth, bits)| {
        Part::new(depth, u32::from(bits) >> (Part::DEPTH_MAX - depth)).expect("as many bits")
    });
    prop_oneof![
        (option::of(log()), any::<[u8; 16]>(), part, any::<(u32, u32)>()).prop_map(
            |(log, key, part, symbols)| Body::Compare(Compare { log, key, part, symbols })
        ),
        bytes(1000).prop_map(Body::Symbols),
        (log(), references(limits::FETCH_MAX))
            .prop_map(|(log, references)| Body::Lacking { log, references }),
    ]
}

fn connections() -> impl Strategy<Value = Body> {
    let hello = (any::<(u32, u32)>(), any::<[u8; 16]>());
    prop_oneof![
        hello.prop_map(|(versions, nonce)| Body::Hello(Hello { versions, nonce })),
        code().prop_map(Body::Goodbye),
        open().prop_map(Body::Open),
        (cursor(), any::<u64>()).prop_map(|(head, position)| Body::Opened { head, position }),
        any::<u32>().prop_map(|channel| Body::Close { channel }),
        (any::<u32>(), any::<[u8; 32]>(), cursor()).prop_map(|(channel, log, head)| {
            Body::Replicate(Replicate { channel, log: LogId(log), head })
        }),
        (bytes(300), option::of((vec(any::<u8>(), 1..100), ranking()))).prop_map(
            |(bundle, conversation)| { Body::Recruit(Box::new(Recruit { bundle, conversation })) }
        ),
    ]
}

fn accounts() -> impl Strategy<Value = Body> {
    let packages = || vec(bytes(300), 0..4);
    prop_oneof![
        bytes(limits::BUNDLE_MAX).prop_map(Body::PutBundle),
        any::<[u8; 32]>().prop_map(|account| Body::GetBundle(AccountId(account))),
        bytes(limits::BUNDLE_MAX).prop_map(Body::BundleIs),
        (any::<u32>(), key(), packages(), bytes(300)).prop_map(
            |(channel, device, one_time, last_resort)| {
                Body::PutKeyPackages(PutKeyPackages { channel, device, one_time, last_resort })
            }
        ),
        any::<u32>().prop_map(|channel| Body::TakeKeyPackages { channel }),
        (packages(), any::<u32>())
            .prop_map(|(packages, left)| Body::KeyPackages { packages, left }),
        (any::<u32>(), key(), any::<u64>(), any::<u32>()).prop_map(
            |(channel, key, expires_s, uses)| Body::PutInvite { channel, key, expires_s, uses }
        ),
    ]
}

fn reads() -> impl Strategy<Value = Body> {
    prop_oneof![
        (any::<(u32, u64, bool, u32)>(), any::<[u8; 32]>()).prop_map(
            |((channel, position, backward, limit), id)| {
                Body::Read(Read { channel, from: (position, EnvelopeId(id)), backward, limit })
            }
        ),
        (any::<u32>(), references(limits::FETCH_MAX))
            .prop_map(|(channel, references)| Body::Fetch { channel, references }),
        (vec(entry(), 0..5), any::<bool>())
            .prop_map(|(entries, more)| Body::Page { entries, more }),
    ]
}

fn open() -> impl Strategy<Value = Open> {
    let ids = (any::<u32>(), any::<[u8; 32]>(), key(), any::<[u8; 64]>());
    let genesis = option::of(vec(any::<u8>(), 1..100));
    (ids, genesis, option::of(cursor()), any::<bool>(), option::of(ranking())).prop_map(
        |((channel, log, key, proof), genesis, tail, announce, ranking)| Open {
            channel,
            log: LogId(log),
            key,
            proof,
            genesis,
            tail,
            announce,
            ranking: ranking.map(Box::new),
        },
    )
}

fn ranking() -> impl Strategy<Value = Ranking> {
    (any::<u64>(), vec(node_address(), 1..=limits::RANKING_MAX), any::<prop::sample::Index>())
        .prop_map(|(version, mut nodes, at)| {
            let reserve = nodes.split_off(at.index(nodes.len()) + 1);
            Ranking { version, nodes, reserve }
        })
}

fn cursor() -> impl Strategy<Value = Cursor> {
    any::<(u64, u64)>().prop_map(|(incarnation, sequence)| Cursor { incarnation, sequence })
}

fn entry() -> impl Strategy<Value = Entry> {
    let fixed = (any::<u64>(), kind(), expiry(), any::<u64>());
    (fixed, extension(), bytes(400), option::of(key())).prop_map(
        |((sequence, kind, expiry, position), extension, ciphertext, write_key)| Entry {
            sequence,
            kind,
            expiry,
            position,
            extension,
            ciphertext,
            write_key,
        },
    )
}

pub(crate) fn envelope() -> impl Strategy<Value = Envelope> {
    let fixed = (kind(), expiry(), any::<u64>(), any::<[u8; 32]>(), key());
    (fixed, extension(), bytes(400), any::<[u8; 64]>()).prop_map(
        |((kind, expiry, position, log, write_key), extension, ciphertext, signature)| {
            let log = LogId(log);
            let head = Head { kind, expiry, position, log, write_key, extension };
            Envelope { head, ciphertext, signature }
        },
    )
}

/// With or without a key, with or without fields of a later version.
pub(crate) fn extension() -> impl Strategy<Value = Extension> {
    (option::of(key()), unknown_fields()).prop_map(|(key, unknown)| {
        let known = key.map(Extension::next_key).unwrap_or_default();
        let bytes = [known.as_bytes(), &unknown].concat();
        Extension::decode(&bytes).expect("well-formed")
    })
}

/// A varint as field 15 or bytes as field 99, or neither.
pub(crate) fn unknown_fields() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        (0..128_u8).prop_map(|number| vec![15 << 3, number]),
        vec(any::<u8>(), 0..100).prop_map(|bytes| {
            let length = u8::try_from(bytes.len()).expect("short");
            [&[0x9a, 0x06, length], bytes.as_slice()].concat()
        }),
    ]
}

pub(crate) fn genesis() -> impl Strategy<Value = LogGenesis> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(|account| LogGenesis::Inbox(AccountId(account))),
        (key(), any::<[u8; 16]>())
            .prop_map(|(write_key, salt)| LogGenesis::Conversation { write_key, salt }),
    ]
}

pub(crate) fn content() -> impl Strategy<Value = Content> {
    let fixed = (references(limits::DEPENDENCIES_MAX), any::<u64>(), option::of(any::<[u8; 32]>()));
    (fixed, content_body()).prop_map(|((dependencies, sent_at_s, bundle_seen), body)| Content {
        dependencies,
        sent_at_s,
        body,
        bundle_seen,
    })
}

fn content_body() -> impl Strategy<Value = ContentBody> {
    let target = || any::<[u8; 16]>().prop_map(Reference);
    prop_oneof![
        (".{1,200}", option::of(target()))
            .prop_map(|(text, reply_to)| ContentBody::Text { text, reply_to }),
        (target(), ".{0,200}").prop_map(|(target, text)| ContentBody::Edit { target, text }),
        target().prop_map(|target| ContentBody::Delete { target }),
        (target(), ".{0,8}").prop_map(|(target, emoji)| ContentBody::Reaction { target, emoji }),
        (references(limits::DEPENDENCIES_MAX), references(limits::DEPENDENCIES_MAX))
            .prop_map(|(delivered, read)| ContentBody::Receipt(Receipt { delivered, read })),
        (bytes(limits::BUNDLE_MAX), option::of(any::<[u8; 32]>())).prop_map(|(bundle, log)| {
            ContentBody::Accept { bundle, instead_of: log.map(LogId) }
        }),
        Just(ContentBody::Unknown),
    ]
}

pub(crate) fn node_address() -> impl Strategy<Value = NodeAddress> {
    let addresses = vec(any::<(std::net::IpAddr, u16)>(), 1..=limits::NODE_ADDRESSES_MAX);
    (any::<[u8; 32]>(), addresses).prop_map(|(node, addresses)| NodeAddress {
        node: NodeId(node),
        addresses: addresses.into_iter().map(Into::into).collect(),
    })
}

pub(crate) fn key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(PublicKey)
}

fn references(max: usize) -> impl Strategy<Value = Vec<Reference>> {
    vec(any::<[u8; 16]>().prop_map(Reference), 0..=max)
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Entry), Just(Kind::KeyChange)]
}

fn expiry() -> impl Strategy<Value = Expiry> {
    (0..4_u32).prop_map(|expiry| Expiry::try_from(expiry).expect("known"))
}

fn code() -> impl Strategy<Value = Code> {
    (0..16_u32).prop_map(Code::from_number)
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=max)
}
