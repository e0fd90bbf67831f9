//! A node of a key tree: where it is and how its children follow from it.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::signing::derive_key;

/// A secret of the tree. Its place is the caller's to know: the path of its first leaf.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) depth: u8,
    pub(super) secret: Zeroizing<[u8; 32]>,
}

impl Node {
    /// How many leaves are below.
    pub(super) fn width(&self) -> u64 {
        1 << DEPTH_MAX.saturating_sub(self.depth)
    }

    pub(super) fn leaves(&self, first: u64) -> Range<u64> {
        first..first.saturating_add(self.width())
    }

    /// The left child (0) or the right one (1), or nothing if this is a leaf.
    pub(super) fn child(&self, bit: u8) -> Option<Self> {
        let depth = self.depth.checked_add(1).filter(|depth| *depth <= DEPTH_MAX)?;
        Some(Self { depth, secret: derive_key(&self.secret, "tree", &[bit]) })
    }

    /// The child above `path`, if this node is above it and not the leaf itself. Its sibling is not
    /// derived too, which would double the cost of a key.
    pub(super) fn child_towards(&self, path: u64) -> Option<Self> {
        self.child(u8::from(path & (self.width() >> 1) != 0))
    }
}

/// So many of a path's bits count messages; those above name the device.
pub(super) const COUNTER_BITS: u32 = 28;
/// A node this deep is the key of a message.
pub(super) const DEPTH_MAX: u8 = 48;
