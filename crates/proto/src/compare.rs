//! What is compared when two nodes compare what they hold. Specified in `spec/logs.md`,
//! section 12.

use crate::LogId;

/// Asks another node for coded symbols of what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Whose entries are compared; without one, the logs that both nodes hold.
    pub log: Option<LogId>,
    /// Random per comparison, so that no peer can choose ids for it.
    pub key: [u8; 16],
    /// Only items of this part are compared.
    pub part: Part,
    /// The numbers of the first symbol that is wanted, and of the first that is not any more.
    pub symbols: (u32, u32),
}

/// A part of all ids: those that begin with certain bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    depth: u32,
    bits: u32,
}

impl Part {
    /// Of all ids.
    pub const ALL: Self = Self { depth: 0, bits: 0 };

    /// Of those that begin with `depth` bits, at most [`DEPTH_MAX`](Self::DEPTH_MAX), which are
    /// those of `bits`.
    pub fn new(depth: u32, bits: u32) -> Option<Self> {
        let fits = depth <= Self::DEPTH_MAX && bits.checked_shr(depth) == Some(0);
        fits.then_some(Self { depth, bits })
    }

    /// By how many bits.
    pub fn depth(self) -> u32 {
        self.depth
    }

    /// Which.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// Returns whether an id that begins with these two bytes is in it.
    pub fn has(self, first: [u8; 2]) -> bool {
        let first = u32::from(u16::from_be_bytes(first));
        first.checked_shr(Self::DEPTH_MAX.saturating_sub(self.depth)) == Some(self.bits)
    }

    /// How fine parts may be.
    pub const DEPTH_MAX: u32 = 16;
}

#[test]
fn an_id_is_in_one_part_of_each_depth() {
    for depth in 0..=Part::DEPTH_MAX {
        for first in [[0, 0], [0xFF, 0xFF], [0xA5, 0x3C]] {
            let parts = (0..1_u32 << depth).filter_map(|bits| Part::new(depth, bits));
            assert_eq!(parts.filter(|part| part.has(first)).count(), 1, "{depth}");
        }
        assert_eq!(Part::new(depth, 1 << depth), None);
    }
    assert_eq!(Part::new(17, 0), None);
}
