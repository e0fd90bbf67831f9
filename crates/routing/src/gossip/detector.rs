//! The detector: whether a node that this one does not reach any more is reached by others, as in
//! SWIM (section 3.1: a `ping-req` through k others tells a dead node from a bad way to it).
//! Specified in `spec/routing.md`, section 9.

use std::{collections::BTreeMap, time::Duration};

use proto::{Contact, Gauge, Instant, NodeId};

use super::{GossipOutput, Outputs, dice};
use rand_chacha::ChaCha20Rng;

/// Nodes that others were asked to reach.
#[derive(Debug, Default)]
pub(super) struct Detector {
    watches: BTreeMap<NodeId, Watch>,
}

#[derive(Debug)]
struct Watch {
    /// Of the newest record of the node that is known here.
    serial: u64,
    /// Who was asked and has not answered.
    asked: Vec<NodeId>,
    /// So many of those who were asked don't reach it either; so many must not.
    vain: usize,
    needed: usize,
    /// When to conclude, and afterwards, when to say so.
    due: Instant,
    concluded: bool,
}

impl Detector {
    /// Has a node probed through some of the neighbours.
    pub(super) fn watch(
        &mut self,
        contact: &Contact,
        serial: u64,
        through: Vec<NodeId>,
        now: Instant,
        out: &mut Outputs,
    ) {
        let node = contact.node;
        if through.is_empty()
            || self.watches.contains_key(&node)
            || self.watches.len() >= WATCHES_MAX
        {
            return;
        }
        for through in &through {
            out.push_back(GossipOutput::Probe { of: contact.clone(), through: *through });
        }
        let needed = NEEDED.min(through.len());
        let due = now.after(PROBED_FOR);
        let watch = Watch { serial, asked: through, vain: 0, needed, due, concluded: false };
        self.watches.insert(node, watch);
    }

    /// Takes an answer in. Nothing is an answer that says nothing.
    pub(super) fn probed(
        &mut self,
        node: &NodeId,
        by: &NodeId,
        reached: Option<bool>,
        now: Instant,
    ) {
        let Some(watch) = self.watches.get_mut(node) else { return };
        let Some(at) = watch.asked.iter().position(|asked| asked == by) else { return };
        watch.asked.swap_remove(at);
        match reached {
            Some(true) => self.alive(node),
            Some(false) => watch.vain = watch.vain.saturating_add(1),
            None => {}
        }
        if let Some(watch) = self.watches.get_mut(node)
            && watch.asked.is_empty()
            && !watch.concluded
        {
            watch.due = now;
        }
    }

    /// There is a sign of life, or no doubt.
    pub(super) fn alive(&mut self, node: &NodeId) {
        self.watches.remove(node);
    }

    /// Returns the node to suspect now, with its serial.
    ///
    /// All who lost the node conclude at about the same time; those who wait longer hear of enough
    /// suspicions meanwhile, and have nothing to add.
    pub(super) fn timeout(&mut self, rng: &mut ChaCha20Rng, now: Instant) -> Vec<(NodeId, u64)> {
        let mut suspected = Vec::new();
        self.watches.retain(|node, watch| {
            if watch.due > now {
                return true;
            }
            // If not even answers come, it may be this node that is cut off.
            if watch.vain < watch.needed {
                return false;
            }
            if std::mem::replace(&mut watch.concluded, true) {
                suspected.push((*node, watch.serial));
                return false;
            }
            watch.due = now.after(dice::up_to(rng, HESITATION));
            true
        });
        suspected
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.watches.values().map(|watch| watch.due).min()
    }

    pub(super) fn gauge(&self) -> Gauge {
        Gauge::new("nodes that others probe", self.watches.len(), WATCHES_MAX)
    }

    pub(super) fn state_bytes(&self) -> usize {
        let asked: usize = self.watches.values().map(|watch| watch.asked.capacity()).sum();
        let watches = self.watches.len().saturating_mul(size_of::<(NodeId, Watch)>());
        watches.saturating_mul(3).saturating_div(2).saturating_add(asked.saturating_mul(32))
    }
}

/// Other nodes that are asked to reach a node: SWIM's k; three nearly always find a living node.
pub(super) const THROUGH: usize = 3;
/// So many of them must have failed: one might lie.
const NEEDED: usize = 2;
/// Time for a dial through two links; who reaches it later than this finds it slow.
const PROBED_FOR: Duration = Duration::from_secs(10);
/// Over which those who lost the same node spread what they say.
const HESITATION: Duration = Duration::from_secs(5);
/// Nodes that are probed at the same time: more are lost at once only by who is cut off itself.
const WATCHES_MAX: usize = 16;
