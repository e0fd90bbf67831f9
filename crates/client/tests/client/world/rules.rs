//! What becomes of frames between nodes and people.

use std::collections::BTreeMap;

use proto::{Body, Frame};
use testnet::{Fate, Sent};

pub(crate) struct Rules {
    /// How many hosts are nodes: the first ones.
    nodes: usize,
    liars: BTreeMap<usize, Liar>,
    /// Frames from nodes to people that never arrive.
    pub(crate) lost: fn(&Frame) -> bool,
    /// Frames in one direction that wait although others arrive.
    pub(crate) late: (usize, usize, fn(&Body) -> bool),
}

/// A node that lies to people.
struct Liar {
    /// What it answers in place of its honest half.
    answers: Answers,
    /// What it makes of what its honest half sends.
    says: Says,
}

type Answers = Box<dyn FnMut(&Frame) -> Option<Body>>;
type Says = Box<dyn FnMut(Frame) -> Vec<Frame>>;

impl Rules {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes, liars: BTreeMap::new(), lost: |_| false, late: (0, 0, |_| false) }
    }

    pub(crate) fn lie(
        &mut self,
        node: usize,
        answers: impl FnMut(&Frame) -> Option<Body> + 'static,
        says: impl FnMut(Frame) -> Vec<Frame> + 'static,
    ) {
        self.liars.insert(node, Liar { answers: Box::new(answers), says: Box::new(says) });
    }

    pub(crate) fn repent(&mut self, node: usize) {
        self.liars.remove(&node);
    }

    pub(crate) fn fate(&mut self, sent: &Sent) -> Fate {
        let Sent { from, to, frame, .. } = sent;
        let (late_from, late_to, is_late) = self.late;
        if (*from, *to) == (late_from, late_to) && is_late(&frame.body) {
            return Fate::Hold;
        }
        let (from_node, to_node) = (*from < self.nodes, *to < self.nodes);
        if to_node
            && !from_node
            && let Some(liar) = self.liars.get_mut(to)
        {
            return (liar.answers)(frame).map_or(Fate::Deliver, Fate::Answer);
        }
        if from_node && !to_node {
            if (self.lost)(frame) {
                return Fate::Lose;
            }
            if let Some(liar) = self.liars.get_mut(from) {
                return Fate::Become((liar.says)(frame.clone()));
            }
        }
        Fate::Deliver
    }
}
