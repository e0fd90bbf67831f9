//! Bytes that are no frames: the codec refuses them.

use prost::Message;
use proto::{Body, DecodeError, Frame, Hello, VERSIONS, limits, wire, write_frame};

use super::{Case, Outcome::Undecodable, Sent};
use crate::world::{REQUEST, append, open_frame};

/// Bytes that end or begin in the wrong place.
pub(super) fn cuts() -> Vec<Case> {
    vec![
        ("a frame of the future", Undecodable(DecodeError::UnknownFrame(REQUEST)), |_| {
            // Field 500, which no version has yet.
            framed(&[0x08, REQUEST as u8, 0xA2, 0x1F, 0x00])
        }),
        ("a frame of nothing", Undecodable(DecodeError::UnknownFrame(0)), |_| framed(&[])),
        ("noise", Undecodable(DecodeError::Wire), |_| framed(&[0xFF; 30])),
        ("a length beyond the limit", Undecodable(DecodeError::TooLarge), |_| {
            Sent::Bytes(vec![0xFF, 0xFF, 0xFF, 0x7F])
        }),
        ("a frame cut short inside", Undecodable(DecodeError::Wire), |s| {
            let whole = wire_bytes(append(2, &s.talk.envelope(2, b"x")));
            framed(&whole[..whole.len() - 3])
        }),
    ]
}

/// Frames with a field that breaks a rule.
pub(super) fn fields() -> Vec<Case> {
    vec![
        ("a short signature", Undecodable(DecodeError::Length), |s| {
            let mut wire = wire_frame(append(2, &s.talk.envelope(2, b"x")));
            if let Some(wire::frame::Body::Append(append)) = &mut wire.body {
                append.signature.pop();
            }
            framed(&wire.encode_to_vec())
        }),
        ("a short proof", Undecodable(DecodeError::Length), |s| {
            let open = open_frame(&s.owner, 3, s.talk.log, &s.talk.key, None, None);
            let mut wire = wire_frame(Body::Open(open));
            if let Some(wire::frame::Body::Open(open)) = &mut wire.body {
                open.proof.pop();
            }
            framed(&wire.encode_to_vec())
        }),
        ("a kind of the future", Undecodable(DecodeError::Kind), |s| {
            let mut wire = wire_frame(append(2, &s.talk.envelope(2, b"x")));
            if let Some(wire::frame::Body::Append(append)) = &mut wire.body {
                append.kind = 2;
            }
            framed(&wire.encode_to_vec())
        }),
        ("an expiry of the future", Undecodable(DecodeError::Kind), |s| {
            let mut wire = wire_frame(append(2, &s.talk.envelope(2, b"x")));
            if let Some(wire::frame::Body::Append(append)) = &mut wire.body {
                append.expiry = 4;
            }
            framed(&wire.encode_to_vec())
        }),
        ("an extension that is too large", Undecodable(DecodeError::TooLarge), |s| {
            let mut wire = wire_frame(append(2, &s.talk.envelope(2, b"x")));
            if let Some(wire::frame::Body::Append(append)) = &mut wire.body {
                append.extension = vec![0; limits::EXTENSION_MAX + 1];
            }
            framed(&wire.encode_to_vec())
        }),
        ("an announced key of 31 bytes", Undecodable(DecodeError::Length), |s| {
            let mut wire = wire_frame(append(2, &s.talk.envelope(2, b"x")));
            if let Some(wire::frame::Body::Append(append)) = &mut wire.body {
                append.extension = wire::Extension { next_key: vec![1; 31] }.encode_to_vec();
            }
            framed(&wire.encode_to_vec())
        }),
        ("more names than allowed", Undecodable(DecodeError::TooLarge), |s| {
            let references = vec![s.talk.envelope(1, b"x").id().reference(); limits::FETCH_MAX + 1];
            framed(&wire_bytes(Body::Fetch { channel: 2, references }))
        }),
        ("a bundle that is too large", Undecodable(DecodeError::TooLarge), |_| {
            framed(&wire_bytes(Body::PutBundle(vec![0; limits::BUNDLE_MAX + 1])))
        }),
        ("a nonce of 15 bytes", Undecodable(DecodeError::Length), |_| {
            let body = Body::Hello(Hello { versions: VERSIONS, nonce: [1; 16] });
            let mut wire = wire_frame(body);
            if let Some(wire::frame::Body::Hello(hello)) = &mut wire.body {
                hello.nonce.pop();
            }
            framed(&wire.encode_to_vec())
        }),
    ]
}

fn wire_frame(body: Body) -> wire::Frame {
    wire::Frame::from(&Frame { request: REQUEST, body })
}

fn wire_bytes(body: Body) -> Vec<u8> {
    wire_frame(body).encode_to_vec()
}

fn framed(bytes: &[u8]) -> Sent {
    let mut framed = Vec::new();
    prost::encode_length_delimiter(bytes.len(), &mut framed).unwrap();
    framed.extend(bytes);
    Sent::Bytes(framed)
}

#[test]
fn frames_are_cut_as_they_are_written() {
    let mut written = Vec::new();
    write_frame(&Frame { request: REQUEST, body: Body::Close { channel: 1 } }, &mut written);
    match framed(&wire_bytes(Body::Close { channel: 1 })) {
        Sent::Bytes(bytes) => assert_eq!(bytes, written),
        Sent::Frame(..) => panic!(),
    }
}
