//! Adversaries that change and make up frames, and those that send too many.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not bent goes as it is")]

use std::collections::BTreeMap;

use proto::{Body, Cursor, Entry, Expiry, Extension, Frame, Kind, Peer, PublicKey};

use super::{answer::any_code, behave::Behave, output::Output};

/// Changes some of the frames that the node sends, and adds invented ones.
#[derive(Debug, Default)]
pub(super) struct Forges {
    asked: Asked,
}

impl Behave for Forges {
    fn hear(&mut self, peer: Peer, frame: Frame, _output: &mut Output) -> Option<Frame> {
        self.asked.note(peer, frame.request);
        Some(frame)
    }

    fn say(&mut self, peer: Peer, frame: Frame, output: &mut Output) {
        if matches!(frame.body, Body::Hello(_) | Body::Goodbye(_)) {
            return output.say(peer, frame);
        }
        match output.rng.below(8) {
            0 => {
                let bent = bent(frame, output);
                output.say(peer, bent);
            }
            1 => {
                let bent = bent(frame.clone(), output);
                output.say(peer, bent);
                output.say(peer, frame);
            }
            2 => {
                output.say(peer, frame.clone());
                let bent = bent(frame, output);
                output.say(peer, bent);
            }
            _ => output.say(peer, frame),
        }
        if output.rng.chance(0.2) {
            let write_key = output.rng.chance(0.5).then(|| PublicKey(output.rng.bytes()));
            let made_up = made_up(self.asked.number(peer, output), write_key, output);
            output.say(peer, made_up);
        }
    }

    fn forget(&mut self, peer: Peer) {
        self.asked.0.remove(&peer);
    }
}

/// Sends every frame several times, and invented ones, while its node has something to send.
#[derive(Debug, Default)]
pub(super) struct Floods {
    /// Additional frames sent in a second.
    excess: BTreeMap<Peer, (u64, u64)>,
}

impl Behave for Floods {
    fn say(&mut self, peer: Peer, frame: Frame, output: &mut Output) {
        if matches!(frame.body, Body::Goodbye(_)) {
            return output.say(peer, frame);
        }
        output.say(peer, frame.clone());
        for _ in 0..output.rng.below(5) {
            self.exceed(peer, frame.clone(), output);
        }
        for _ in 0..output.rng.below(10) {
            // It answers no request, and no device has to keep it.
            let request = if output.rng.chance(0.5) { 0 } else { NEVER_ASKED };
            let made_up = made_up(request, None, output);
            self.exceed(peer, made_up, output);
        }
    }

    fn forget(&mut self, peer: Peer) {
        self.excess.remove(&peer);
    }
}

impl Floods {
    fn exceed(&mut self, peer: Peer, frame: Frame, output: &mut Output) {
        let second = output.now.as_secs();
        let (of, said) = self.excess.entry(peer).or_default();
        if *of != second {
            (*of, *said) = (second, 0);
        }
        if *said < EXCESS_PER_S_MAX {
            *said = said.saturating_add(1);
            output.say(peer, frame);
        }
    }
}

/// The highest request that each peer has made.
#[derive(Debug, Default)]
struct Asked(BTreeMap<Peer, u32>);

impl Asked {
    fn note(&mut self, peer: Peer, request: u32) {
        let last = self.0.entry(peer).or_default();
        *last = request.max(*last);
    }

    /// The number of a question: one of the last, one still to come, or none.
    fn number(&self, peer: Peer, output: &mut Output) -> u32 {
        let last = self.0.get(&peer).copied().unwrap_or_default();
        let near = u32::try_from(output.rng.below(8)).unwrap_or_default();
        match output.rng.below(4) {
            0 => 0,
            1 => u32::from_be_bytes(output.rng.bytes()),
            _ => last.saturating_add(4).saturating_sub(near),
        }
    }
}

/// The frame with something about it changed; still one that can be written.
fn bent(mut frame: Frame, output: &mut Output) -> Frame {
    match &mut frame.body {
        Body::Deliver { channel, entry } => {
            if output.rng.chance(0.1) {
                *channel = some_channel(output);
            }
            bend_entry(entry, output);
        }
        Body::Page { entries, more } => {
            *more = output.rng.chance(0.5);
            for entry in entries {
                if output.rng.chance(0.5) {
                    bend_entry(entry, output);
                }
            }
        }
        Body::Accepted { sequence, .. } => *sequence = near(*sequence, output),
        Body::Refused { code, .. } => *code = any_code(output),
        Body::Opened { head, position } => {
            head.incarnation = near(head.incarnation, output);
            head.sequence = near(head.sequence, output);
            *position = near(*position, output);
        }
        Body::Signal { ciphertext: bytes, .. } | Body::BundleIs(bytes) => flip(bytes, output),
        Body::KeyPackages { packages, left } => {
            *left = 0;
            packages.iter_mut().for_each(|package| flip(package, output));
        }
        _ => {}
    }
    frame
}

fn bend_entry(entry: &mut Entry, output: &mut Output) {
    match output.rng.below(8) {
        0 => entry.position = near(entry.position, output),
        1 => entry.sequence = near(entry.sequence, output),
        2 => entry.write_key = Some(PublicKey(output.rng.bytes())),
        3 => entry.write_key = None,
        4 => {
            entry.kind = match entry.kind {
                Kind::Entry => Kind::KeyChange,
                Kind::KeyChange => Kind::Entry,
            };
            entry.extension = Extension::next_key(PublicKey(output.rng.bytes()));
        }
        5 => entry.ciphertext.truncate(output.rng.index(entry.ciphertext.len())),
        _ => flip(&mut entry.ciphertext, output),
    }
}

/// Invents a frame that answers `request`. Peers discard an entry without a write key of its own;
/// with one, they may keep the entry for later.
fn made_up(request: u32, write_key: Option<PublicKey>, output: &mut Output) -> Frame {
    let channel = some_channel(output);
    let entry = Entry {
        sequence: near(0, output),
        kind: Kind::Entry,
        expiry: Expiry::Never,
        position: output.rng.below(100),
        extension: Extension::default(),
        ciphertext: some_bytes(output),
        write_key,
    };
    let body = match output.rng.below(8) {
        0 => Body::Accepted { channel, sequence: near(1, output) },
        1 => Body::Refused { code: any_code(output), newer: some_bytes(output) },
        2 => Body::Opened {
            head: Cursor { incarnation: near(1, output), sequence: near(1, output) },
            position: near(1, output),
        },
        3 => Body::Page { entries: vec![entry; 3], more: true },
        4 => Body::BundleIs(some_bytes(output)),
        5 => Body::KeyPackages { packages: vec![some_bytes(output)], left: u32::MAX },
        6 => Body::Signal { channel, ciphertext: some_bytes(output) },
        _ => return Frame::new(Body::Deliver { channel, entry }),
    };
    Frame { request, body }
}

/// Devices number their channels from 1.
fn some_channel(output: &mut Output) -> u32 {
    u32::try_from(output.rng.below(8)).unwrap_or_default()
}

fn some_bytes(output: &mut Output) -> Vec<u8> {
    output.rng.bytes::<200>().to_vec()
}

/// A number beside this one, or far from it.
fn near(number: u64, output: &mut Output) -> u64 {
    match output.rng.below(5) {
        0 => 0,
        1 => u64::MAX,
        2 => output.rng.below(u64::MAX),
        3 => number.saturating_sub(1),
        _ => number.saturating_add(1),
    }
}

/// Changes one bit.
fn flip(bytes: &mut [u8], output: &mut Output) {
    let (place, bit) = (output.rng.index(bytes.len()), output.rng.below(8));
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << bit;
    }
}

/// The number of a question that no device gets to.
const NEVER_ASKED: u32 = u32::MAX;
/// Additional frames to one peer, so that a run ends.
const EXCESS_PER_S_MAX: u64 = 200;
