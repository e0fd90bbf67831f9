//! The key tree of an epoch: one key for each message, each reachable in 48 steps and each
//! permanently deletable. Specified in `spec/encryption.md`, section 4.
//!
//! ```text
//!                 root                     a node derives its children, never the other way:
//!            ┌─────┴─────┐                 a holder of a node has its leaves and nothing else
//!           "0"         "1"
//!         ┌──┴──┐     ┌──┴──┐              48 levels: 20 bits say which leaf of the MLS tree (a
//!        "00" "01"   "10" "11"             device) sends, 28 bits count what it sends
//! ```
//!
//! The tree is kept as the set of the highest nodes still held. Taking a key replaces its ancestor
//! by the siblings of the path down to it, so what is left derives everything but that key.

use std::{collections::BTreeMap, fmt, ops::Range};

use zeroize::Zeroizing;

use self::{
    node::{COUNTER_BITS, DEPTH_MAX, Node},
    ways::Ways,
};
use crate::memory::Memory;

mod node;
mod ways;

/// The keys of an epoch that are held: all of them, or what deletion or a grant left.
///
/// Keys are named by their path, see [`KeyTree::path`]. Ranges of paths include the first and leave
/// out the last.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct KeyTree {
    nodes: BTreeMap<u64, Node>,
    ways: Memory<Ways>,
}

impl KeyTree {
    /// The tree of all keys below `root`.
    pub(super) fn new(root: Zeroizing<[u8; 32]>) -> Self {
        Self::of(BTreeMap::from([(0, Node { depth: 0, secret: root })]))
    }

    /// The path of message `counter` of the device at `leaf`, unless one of the two is beyond what
    /// an epoch has keys for.
    pub(super) fn path(leaf: u32, counter: u32) -> Option<u64> {
        (leaf < LEAF_MAX && counter < COUNTER_MAX)
            .then_some((u64::from(leaf) << COUNTER_BITS) | u64::from(counter))
    }

    /// The paths of the messages `counters` of the device at `leaf`.
    pub(super) fn paths(leaf: u32, counters: Range<u32>) -> Range<u64> {
        if leaf >= LEAF_MAX {
            return 0..0;
        }
        let path = |counter: u32| {
            (u64::from(leaf) << COUNTER_BITS).saturating_add(u64::from(counter.min(COUNTER_MAX)))
        };
        path(counters.start)..path(counters.end)
    }

    /// The key at `path`, if it is held. The keys that follow it are near then.
    pub(super) fn get(&self, path: u64) -> Option<Zeroizing<[u8; 32]>> {
        let mut ways = self.ways.get();
        let near = ways.as_ref().and_then(|ways| ways.nearest(path));
        let mut node = near.or_else(|| self.covering(path).map(|(_, node)| node))?;
        let mut way = ways.as_mut().and_then(|ways| ways.way(path));
        while let Some(child) = node.child_towards(path) {
            if let Some(way) = &mut way {
                way.remember(&node);
            }
            node = child;
        }
        Some(node.secret)
    }

    /// The key at `path`, if it is held; from then on neither this tree nor any grant from it
    /// derives that key.
    pub(super) fn take(&mut self, path: u64) -> Option<Zeroizing<[u8; 32]>> {
        let key = self.get(path)?;
        self.erase_range(path..path.saturating_add(1));
        Some(key)
    }

    /// Deletes all keys in `range`. What is outside stays.
    pub(super) fn erase_range(&mut self, range: Range<u64>) {
        self.ways.get_mut().forget(&range);
        for (first, node) in self.overlapping(&range) {
            self.nodes.remove(&first);
            split(first, node, &range, Part::Outside, &mut self.nodes);
        }
    }

    /// The fewest secrets that derive the keys in `range` which are still held, and no other.
    pub(super) fn grant(&self, range: Range<u64>) -> Self {
        let mut granted = BTreeMap::new();
        for (first, node) in self.overlapping(&range) {
            split(first, node, &range, Part::Inside, &mut granted);
        }
        Self::of(granted)
    }

    /// Reads a grant that a peer encoded.
    pub(super) fn from_grant(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > GRANT_NODES_MAX.saturating_mul(NODE_LEN) {
            return None;
        }
        Self::decode(bytes)
    }

    /// The nodes in order, 39 bytes each: depth, path of the first leaf below (6 bytes,
    /// big-endian), secret.
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.nodes.len().saturating_mul(NODE_LEN));
        for (first, node) in &self.nodes {
            let [_, _, path @ ..] = first.to_be_bytes();
            bytes.push(node.depth);
            bytes.extend(path);
            bytes.extend(*node.secret);
        }
        Zeroizing::new(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else: nodes must be in order and may
    /// not overlap.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (nodes, rest) = bytes.as_chunks::<NODE_LEN>();
        if !rest.is_empty() {
            return None;
        }
        let (mut tree, mut free_from) = (BTreeMap::new(), 0);
        for &[depth, a, b, c, d, e, f, ref secret @ ..] in nodes {
            let first = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
            let node = Node { depth, secret: Zeroizing::new(*secret) };
            if depth > DEPTH_MAX || !first.is_multiple_of(node.width()) || first < free_from {
                return None;
            }
            free_from = first.saturating_add(node.width());
            tree.insert(first, node);
        }
        Some(Self::of(tree))
    }

    fn of(nodes: BTreeMap<u64, Node>) -> Self {
        Self { nodes, ways: Memory::default() }
    }

    /// The node held above `path`, and its first leaf.
    fn covering(&self, path: u64) -> Option<(u64, Node)> {
        let (first, node) = self.nodes.range(..=path).next_back()?;
        node.leaves(*first).contains(&path).then(|| (*first, node.clone()))
    }

    fn overlapping(&self, range: &Range<u64>) -> Vec<(u64, Node)> {
        if range.is_empty() {
            return Vec::new();
        }
        let from = self.covering(range.start).map_or(range.start, |(first, _)| first);
        let nodes = self.nodes.range(from..range.end.max(from));
        nodes.map(|(first, node)| (*first, node.clone())).collect()
    }
}

impl fmt::Debug for KeyTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyTree").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Inside,
    Outside,
}

/// Puts into `kept` the fewest nodes below `node` that derive its leaves inside or outside of
/// `range`, and no other leaf.
fn split(first: u64, node: Node, range: &Range<u64>, part: Part, kept: &mut BTreeMap<u64, Node>) {
    let leaves = node.leaves(first);
    let inside = range.start <= leaves.start && leaves.end <= range.end;
    let outside = leaves.end <= range.start || range.end <= leaves.start;
    if inside || outside {
        if inside == (part == Part::Inside) {
            kept.insert(first, node);
        }
        return;
    }
    let middle = first.saturating_add(node.width() / 2);
    for (first, bit) in [(first, 0), (middle, 1)] {
        if let Some(child) = node.child(bit) {
            split(first, child, range, part, kept);
        }
    }
}

const LEAF_MAX: u32 = 1 << 20;
const COUNTER_MAX: u32 = 1 << COUNTER_BITS;
const NODE_LEN: usize = 39;
/// A grant of any range has at most 94 nodes; more come from states with many holes.
const GRANT_NODES_MAX: usize = 4096;

#[cfg(test)]
mod tests;
