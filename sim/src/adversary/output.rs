//! What an adversary sends: now and later, and the rng from which it draws.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use node::NodeEvent;
use proto::{Frame, Instant, Peer};

use crate::rng::Rng;

/// Outputs of an adversary in the order in which they leave.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) rng: Rng,
    pub(super) now: Instant,
    outputs: VecDeque<proto::Output<NodeEvent>>,
    /// Frames to send later, by peer and then by time.
    held: BTreeMap<Peer, BTreeMap<Place, Frame>>,
    due: BTreeSet<(Place, Peer)>,
    count: u64,
}

/// When a frame leaves; of those that leave together the one first that was first held.
type Place = (Instant, u64);

impl Output {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            now: Instant::default(),
            outputs: VecDeque::new(),
            held: BTreeMap::new(),
            due: BTreeSet::new(),
            count: 0,
        }
    }

    /// It is `now`: sends what was held until then.
    pub(super) fn wake(&mut self, now: Instant) {
        self.now = now;
        while let Some(((at, number), peer)) = self.due.first().copied()
            && at <= now
        {
            self.take((at, number), peer);
        }
    }

    /// Sends a frame at once.
    pub(super) fn say(&mut self, peer: Peer, frame: Frame) {
        self.pass(proto::Output::Transmit(peer, frame));
    }

    /// Sends a frame later. When too many are held for a peer, the next one leaves early.
    pub(super) fn say_at(&mut self, at: Instant, peer: Peer, frame: Frame) {
        self.count = self.count.saturating_add(1);
        let place = (at, self.count);
        let held = self.held.entry(peer).or_default();
        held.insert(place, frame);
        self.due.insert((place, peer));
        let first = held.keys().next().copied().filter(|_| held.len() > HELD_MAX);
        if let Some(first) = first {
            self.take(first, peer);
        }
    }

    /// Sends at once all frames that are held for a peer.
    pub(super) fn let_out(&mut self, peer: Peer) {
        for (place, frame) in self.held.remove(&peer).unwrap_or_default() {
            self.due.remove(&(place, peer));
            self.say(peer, frame);
        }
    }

    /// Forgets what is held for a peer.
    pub(super) fn forget(&mut self, peer: Peer) {
        for (place, _) in self.held.remove(&peer).unwrap_or_default() {
            self.due.remove(&(place, peer));
        }
    }

    /// Lets an output out as it is.
    pub(super) fn pass(&mut self, output: proto::Output<NodeEvent>) {
        self.outputs.push_back(output);
    }

    pub(super) fn next_output(&mut self) -> Option<proto::Output<NodeEvent>> {
        self.outputs.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|((at, _), _)| *at)
    }

    fn take(&mut self, place: Place, peer: Peer) {
        self.due.remove(&(place, peer));
        let Some(held) = self.held.get_mut(&peer) else { return };
        let frame = held.remove(&place);
        if held.is_empty() {
            self.held.remove(&peer);
        }
        if let Some(frame) = frame {
            self.say(peer, frame);
        }
    }
}

/// Frames held for one peer: twice what a node delivers and a device asks at a time.
const HELD_MAX: usize = 1024;
