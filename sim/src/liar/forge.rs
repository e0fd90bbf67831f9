//! Lies of those who change and make up what they say, and of those who say too much.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not bent goes as it is")]

use std::collections::BTreeMap;

use proto::{Body, Cursor, Entry, Expiry, Extension, Frame, Kind, Peer, PublicKey};

use super::{Manner, answer::any_code, mouth::Mouth};

/// Changes some of what the node says and adds things that nobody said.
#[derive(Debug, Default)]
pub(super) struct Forges {
    asked: Asked,
}

impl Manner for Forges {
    fn hear(&mut self, peer: Peer, frame: Frame, _mouth: &mut Mouth) -> Option<Frame> {
        self.asked.note(peer, frame.request);
        Some(frame)
    }

    fn say(&mut self, peer: Peer, frame: Frame, mouth: &mut Mouth) {
        if matches!(frame.body, Body::Hello(_) | Body::Goodbye(_)) {
            return mouth.say(peer, frame);
        }
        match mouth.dice.below(8) {
            0 => {
                let bent = bent(frame, mouth);
                mouth.say(peer, bent);
            }
            1 => {
                let bent = bent(frame.clone(), mouth);
                mouth.say(peer, bent);
                mouth.say(peer, frame);
            }
            2 => {
                mouth.say(peer, frame.clone());
                let bent = bent(frame, mouth);
                mouth.say(peer, bent);
            }
            _ => mouth.say(peer, frame),
        }
        if mouth.dice.chance(0.2) {
            let write_key = mouth.dice.chance(0.5).then(|| PublicKey(mouth.dice.bytes()));
            let made_up = made_up(self.asked.number(peer, mouth), write_key, mouth);
            mouth.say(peer, made_up);
        }
    }

    fn forget(&mut self, peer: Peer) {
        self.asked.0.remove(&peer);
    }
}

/// Says everything several times, and much besides; only while it has something to say.
#[derive(Debug, Default)]
pub(super) struct Floods {
    /// What was said too much in a second.
    excess: BTreeMap<Peer, (u64, u64)>,
}

impl Manner for Floods {
    fn say(&mut self, peer: Peer, frame: Frame, mouth: &mut Mouth) {
        if matches!(frame.body, Body::Goodbye(_)) {
            return mouth.say(peer, frame);
        }
        mouth.say(peer, frame.clone());
        for _ in 0..mouth.dice.below(5) {
            self.exceed(peer, frame.clone(), mouth);
        }
        for _ in 0..mouth.dice.below(10) {
            // No answer to anything, and nothing that a device would have to keep.
            let request = if mouth.dice.chance(0.5) { 0 } else { NEVER_ASKED };
            let made_up = made_up(request, None, mouth);
            self.exceed(peer, made_up, mouth);
        }
    }

    fn forget(&mut self, peer: Peer) {
        self.excess.remove(&peer);
    }
}

impl Floods {
    fn exceed(&mut self, peer: Peer, frame: Frame, mouth: &mut Mouth) {
        let second = mouth.now.as_secs();
        let (of, said) = self.excess.entry(peer).or_default();
        if *of != second {
            (*of, *said) = (second, 0);
        }
        if *said < EXCESS_PER_S_MAX {
            *said = said.saturating_add(1);
            mouth.say(peer, frame);
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
    fn number(&self, peer: Peer, mouth: &mut Mouth) -> u32 {
        let last = self.0.get(&peer).copied().unwrap_or_default();
        let near = u32::try_from(mouth.dice.below(8)).unwrap_or_default();
        match mouth.dice.below(4) {
            0 => 0,
            1 => u32::from_be_bytes(mouth.dice.bytes()),
            _ => last.saturating_add(4).saturating_sub(near),
        }
    }
}

/// The frame with something about it changed; still one that can be written.
fn bent(mut frame: Frame, mouth: &mut Mouth) -> Frame {
    match &mut frame.body {
        Body::Deliver { handle, entry } => {
            if mouth.dice.chance(0.1) {
                *handle = some_handle(mouth);
            }
            bend_entry(entry, mouth);
        }
        Body::Page { entries, more } => {
            *more = mouth.dice.chance(0.5);
            for entry in entries {
                if mouth.dice.chance(0.5) {
                    bend_entry(entry, mouth);
                }
            }
        }
        Body::Accepted { sequence, .. } => *sequence = near(*sequence, mouth),
        Body::Refused { code, .. } => *code = any_code(mouth),
        Body::Opened { head, position } => {
            head.incarnation = near(head.incarnation, mouth);
            head.sequence = near(head.sequence, mouth);
            *position = near(*position, mouth);
        }
        Body::Signal { ciphertext: bytes, .. } | Body::BundleIs(bytes) => flip(bytes, mouth),
        Body::KeyPackages { packages, left } => {
            *left = 0;
            packages.iter_mut().for_each(|package| flip(package, mouth));
        }
        _ => {}
    }
    frame
}

fn bend_entry(entry: &mut Entry, mouth: &mut Mouth) {
    match mouth.dice.below(8) {
        0 => entry.position = near(entry.position, mouth),
        1 => entry.sequence = near(entry.sequence, mouth),
        2 => entry.write_key = Some(PublicKey(mouth.dice.bytes())),
        3 => entry.write_key = None,
        4 => {
            entry.kind = match entry.kind {
                Kind::Entry => Kind::KeyChange,
                Kind::KeyChange => Kind::Entry,
            };
            entry.extension = Extension::next_key(PublicKey(mouth.dice.bytes()));
        }
        5 => entry.ciphertext.truncate(mouth.dice.index(entry.ciphertext.len())),
        _ => flip(&mut entry.ciphertext, mouth),
    }
}

/// Something that nobody said, in answer to `request`. Entries of no key but the handle's are
/// thrown away by whoever gets them; others may be kept for later.
fn made_up(request: u32, write_key: Option<PublicKey>, mouth: &mut Mouth) -> Frame {
    let handle = some_handle(mouth);
    let entry = Entry {
        sequence: near(0, mouth),
        kind: Kind::Entry,
        expiry: Expiry::Never,
        position: mouth.dice.below(100),
        extension: Extension::default(),
        ciphertext: some_bytes(mouth),
        write_key,
    };
    let body = match mouth.dice.below(8) {
        0 => Body::Accepted { handle, sequence: near(1, mouth) },
        1 => Body::Refused { code: any_code(mouth), newer: some_bytes(mouth) },
        2 => Body::Opened {
            head: Cursor { incarnation: near(1, mouth), sequence: near(1, mouth) },
            position: near(1, mouth),
        },
        3 => Body::Page { entries: vec![entry; 3], more: true },
        4 => Body::BundleIs(some_bytes(mouth)),
        5 => Body::KeyPackages { packages: vec![some_bytes(mouth)], left: u32::MAX },
        6 => Body::Signal { handle, ciphertext: some_bytes(mouth) },
        _ => return Frame::new(Body::Deliver { handle, entry }),
    };
    Frame { request, body }
}

/// Devices number their handles from 1.
fn some_handle(mouth: &mut Mouth) -> u32 {
    u32::try_from(mouth.dice.below(8)).unwrap_or_default()
}

fn some_bytes(mouth: &mut Mouth) -> Vec<u8> {
    mouth.dice.bytes::<200>().to_vec()
}

/// A number beside this one, or far from it.
fn near(number: u64, mouth: &mut Mouth) -> u64 {
    match mouth.dice.below(5) {
        0 => 0,
        1 => u64::MAX,
        2 => mouth.dice.below(u64::MAX),
        3 => number.saturating_sub(1),
        _ => number.saturating_add(1),
    }
}

/// Changes one bit.
fn flip(bytes: &mut [u8], mouth: &mut Mouth) {
    let (place, bit) = (mouth.dice.index(bytes.len()), mouth.dice.below(8));
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << bit;
    }
}

/// The number of a question that no device gets to.
const NEVER_ASKED: u32 = u32::MAX;
/// What is said too much to one peer, so that a run ends.
const EXCESS_PER_S_MAX: u64 = 200;
