//! Encodings that something happened to on the way.

use proptest::{collection::vec, prelude::*, sample::Index};

/// One thing that happens to bytes.
#[derive(Clone, Debug)]
pub(crate) enum Bend {
    Flip(Index, u8),
    Set(Index, u8),
    Cut(Index),
    Remove(Index),
    Insert(Index, Vec<u8>),
    Repeat(Index),
}

pub(crate) fn bends() -> impl Strategy<Value = Vec<Bend>> {
    vec(
        prop_oneof![
            (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Bend::Flip(at, 1 << bit)),
            any::<(Index, u8)>().prop_map(|(at, byte)| Bend::Set(at, byte)),
            any::<Index>().prop_map(Bend::Cut),
            any::<Index>().prop_map(Bend::Remove),
            (any::<Index>(), vec(any::<u8>(), 1..20)).prop_map(|(at, new)| Bend::Insert(at, new)),
            any::<Index>().prop_map(Bend::Repeat),
        ],
        1..4,
    )
}

pub(crate) fn bend(mut bytes: Vec<u8>, bends: &[Bend]) -> Vec<u8> {
    for bend in bends {
        if bytes.is_empty() {
            break;
        }
        match bend {
            Bend::Flip(at, mask) => *at.get_mut(&mut bytes) ^= mask,
            Bend::Set(at, byte) => *at.get_mut(&mut bytes) = *byte,
            Bend::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Bend::Remove(at) => _ = bytes.remove(at.index(bytes.len())),
            Bend::Insert(at, new) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
            Bend::Repeat(at) => bytes.extend_from_within(at.index(bytes.len())..),
        }
    }
    bytes
}
