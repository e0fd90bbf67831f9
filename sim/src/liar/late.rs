//! Lies about time: those who answer late, and in another order.

use std::{collections::BTreeMap, time::Duration};

use proto::{Body, Frame, Instant, Peer};

use super::{Manner, mouth::Mouth};

/// Says everything seconds late, though in order.
#[derive(Debug, Default)]
pub(super) struct Dawdles {
    /// When the last of what is held for a peer leaves.
    last: BTreeMap<Peer, Instant>,
}

impl Manner for Dawdles {
    fn say(&mut self, peer: Peer, frame: Frame, mouth: &mut Mouth) {
        let at = mouth.now.after(mouth.dice.between(LATE_MIN, LATE_MAX));
        let last = self.last.entry(peer).or_default();
        *last = at.max(*last);
        mouth.say_at(*last, peer, frame);
    }

    fn forget(&mut self, peer: Peer) {
        self.last.remove(&peer);
    }
}

/// Says things in another order. Only the greeting keeps its place: nothing is heard before it.
#[derive(Debug)]
pub(super) struct Shuffles;

impl Manner for Shuffles {
    fn say(&mut self, peer: Peer, frame: Frame, mouth: &mut Mouth) {
        if matches!(frame.body, Body::Hello(_)) {
            return mouth.say(peer, frame);
        }
        let at = mouth.now.after(mouth.dice.between(Duration::ZERO, SHUFFLED_WITHIN));
        mouth.say_at(at, peer, frame);
    }
}

const LATE_MIN: Duration = Duration::from_secs(1);
const LATE_MAX: Duration = Duration::from_secs(10);
/// Long enough that what people say in a row changes places.
const SHUFFLED_WITHIN: Duration = Duration::from_secs(2);
