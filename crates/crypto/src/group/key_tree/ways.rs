//! The last ways down a key tree, so that a device's next key is two derivations away and not 48.
//!
//! Only a shortcut: it holds no secret that the tree's own nodes do not derive.

use std::ops::Range;

use zeroize::Zeroizing;

use super::node::{COUNTER_BITS, DEPTH_MAX, Node};

/// The ways to the keys last asked for, one for each device, the last used first.
#[derive(Default)]
pub(super) struct Ways(Vec<Way>);

impl Ways {
    /// The lowest node remembered above `path`.
    pub(super) fn nearest(&self, path: u64) -> Option<Node> {
        let nodes = self.0.iter().filter_map(|way| way.nearest(path));
        let (depth, secret) = nodes.max_by_key(|(depth, _)| *depth)?;
        Some(Node { depth, secret: secret.clone() })
    }

    /// The way to `path`, with what it shares with the way that it replaces: the device's last one,
    /// or else the one that was not used for longest.
    pub(super) fn way(&mut self, path: u64) -> Option<&mut Way> {
        let device = |path: u64| path >> COUNTER_BITS;
        let known = self.0.iter().position(|way| device(way.path) == device(path));
        if known.is_none() && self.0.len() < WAYS_MAX {
            self.0.push(Way::new(path));
        }
        let used = known.unwrap_or_else(|| self.0.len().saturating_sub(1));
        self.0.get_mut(..=used)?.rotate_right(1);
        let way = self.0.first_mut()?;
        way.turn(path);
        Some(way)
    }

    /// Wipes every secret that derives a key in `range`.
    pub(super) fn forget(&mut self, range: &Range<u64>) {
        for way in &mut self.0 {
            way.forget(range);
        }
    }
}

/// The nodes from the root down to a key, without the key. They never move, since what moves leaves
/// an unzeroized copy behind.
pub(super) struct Way {
    path: u64,
    secrets: Vec<Option<Zeroizing<[u8; 32]>>>,
}

impl Way {
    fn new(path: u64) -> Self {
        Self { path, secrets: (0..DEPTH_MAX).map(|_| None).collect() }
    }

    /// Remembers a node above the path.
    pub(super) fn remember(&mut self, node: &Node) {
        if let Some(secret) = self.secrets.get_mut(usize::from(node.depth)) {
            *secret = Some(node.secret.clone());
        }
    }

    fn nearest(&self, path: u64) -> Option<(u8, &Zeroizing<[u8; 32]>)> {
        let shared = shared_depth(self.path, path)?;
        let mut above = (0..DEPTH_MAX).zip(&self.secrets).rev().filter(|(at, _)| *at <= shared);
        above.find_map(|(depth, secret)| Some((depth, secret.as_ref()?)))
    }

    fn turn(&mut self, path: u64) {
        let shared = shared_depth(self.path, path);
        for (depth, secret) in (0..).zip(&mut self.secrets) {
            if shared.is_none_or(|shared| shared < depth) {
                *secret = None;
            }
        }
        self.path = path;
    }

    fn forget(&mut self, range: &Range<u64>) {
        for (depth, secret) in (0..).zip(&mut self.secrets) {
            let leaves = leaves_above(self.path, depth);
            if leaves.start < range.end && range.start < leaves.end {
                *secret = None;
            }
        }
    }
}

/// The leaves below the node that is above `path` at `depth`.
fn leaves_above(path: u64, depth: u8) -> Range<u64> {
    let width = 1_u64 << DEPTH_MAX.saturating_sub(depth);
    let first = path & !width.saturating_sub(1);
    first..first.saturating_add(width)
}

/// The depth of the lowest node above both paths, unless one of them is beyond the tree.
fn shared_depth(a: u64, b: u64) -> Option<u8> {
    let unused = u64::BITS.saturating_sub(u32::from(DEPTH_MAX));
    let shared = (a ^ b).leading_zeros().checked_sub(unused)?;
    u8::try_from(shared).ok()
}

/// Two people with four devices each can talk by turns.
const WAYS_MAX: usize = 8;

#[cfg(test)]
mod tests;
