//! Adversaries that answer late, or in another order.

use std::{collections::BTreeMap, time::Duration};

use proto::{Body, Frame, Instant, Peer};

use super::{behave::Behave, output::Output};

/// Sends every frame seconds late, in order.
#[derive(Debug, Default)]
pub(super) struct Dawdles {
    /// When the last of what is held for a peer leaves.
    last: BTreeMap<Peer, Instant>,
}

impl Behave for Dawdles {
    fn say(&mut self, peer: Peer, frame: Frame, output: &mut Output) {
        let at = output.now.after(output.rng.between(LATE_MIN, LATE_MAX));
        let last = self.last.entry(peer).or_default();
        *last = at.max(*last);
        output.say_at(*last, peer, frame);
    }

    fn forget(&mut self, peer: Peer) {
        self.last.remove(&peer);
    }
}

/// Sends frames in another order, except `Hello`: peers accept nothing before it.
#[derive(Debug)]
pub(super) struct Shuffles;

impl Behave for Shuffles {
    fn say(&mut self, peer: Peer, frame: Frame, output: &mut Output) {
        if matches!(frame.body, Body::Hello(_)) {
            return output.say(peer, frame);
        }
        let at = output.now.after(output.rng.between(Duration::ZERO, SHUFFLED_WITHIN));
        output.say_at(at, peer, frame);
    }
}

const LATE_MIN: Duration = Duration::from_secs(1);
const LATE_MAX: Duration = Duration::from_secs(10);
/// Long enough that successive messages of a person are reordered.
const SHUFFLED_WITHIN: Duration = Duration::from_secs(2);
