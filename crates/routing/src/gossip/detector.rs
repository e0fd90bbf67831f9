//! The failure detector: probes an unreachable node through other nodes, as in SWIM (section 3.1: a
//! `ping-req` through k others tells a dead node from a bad path to it).
//! Specified in `spec/routing.md`, section 9.

use std::{collections::BTreeMap, time::Duration};

use proto::{Contact, Gauge, Instant, NodeId};

use super::{
    output::{GossipOutput, Outputs},
    rng,
};
use rand_chacha::ChaCha20Rng;

/// The nodes that others were asked to probe.
#[derive(Debug, Default)]
pub(super) struct Detector {
    watches: BTreeMap<NodeId, Watch>,
}

#[derive(Debug)]
struct Watch {
    /// Of the newest record of the node that is known here.
    serial: u64,
    /// The probers that have not answered yet.
    asked: Vec<NodeId>,
    /// How many probers did not reach it either, and how many must not.
    failed: usize,
    needed: usize,
    /// When to conclude; after that, when to spread the suspicion.
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
        let watch = Watch { serial, asked: through, failed: 0, needed, due, concluded: false };
        self.watches.insert(node, watch);
    }

    /// Handles a prober's answer; `None` says nothing.
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
            Some(false) => watch.failed = watch.failed.saturating_add(1),
            None => {}
        }
        if let Some(watch) = self.watches.get_mut(node)
            && watch.asked.is_empty()
            && !watch.concluded
        {
            watch.due = now;
        }
    }

    /// Stops watching a node that is alive, or known to be dead.
    pub(super) fn alive(&mut self, node: &NodeId) {
        self.watches.remove(node);
    }

    /// Returns the nodes to suspect now, with the serials of their records.
    ///
    /// All nodes that lost the node conclude at about the same time; those that hesitate longer
    /// hear enough suspicions in the meantime, and have nothing to add.
    pub(super) fn timeout(&mut self, rng: &mut ChaCha20Rng, now: Instant) -> Vec<(NodeId, u64)> {
        let mut suspected = Vec::new();
        self.watches.retain(|node, watch| {
            if watch.due > now {
                return true;
            }
            // Without answers it may be this node that is disconnected.
            if watch.failed < watch.needed {
                return false;
            }
            if std::mem::replace(&mut watch.concluded, true) {
                suspected.push((*node, watch.serial));
                return false;
            }
            watch.due = now.after(rng::up_to(rng, HESITATION));
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

/// Probers of a node: SWIM's k; three find a living node nearly always.
pub(super) const THROUGH: usize = 3;
/// How many of them must have failed: one might lie.
const NEEDED: usize = 2;
/// Time for a dial through two links; a node that is reached later is slow.
const PROBED_FOR: Duration = Duration::from_secs(10);
/// Observers of the same failure spread their suspicions over this time.
const HESITATION: Duration = Duration::from_secs(5);
/// Nodes that are probed at the same time: only a node that is itself disconnected loses more.
const WATCHES_MAX: usize = 16;
