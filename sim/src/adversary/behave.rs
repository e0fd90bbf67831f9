//! What an adversary does with the frames of its node and of its peers.

use std::fmt;

use proto::{Frame, Peer};

use super::output::Output;

/// A way to deviate from the protocol. All else is honest.
pub(super) trait Behave: fmt::Debug {
    /// Takes what a peer says; returns what the node gets to hear of it.
    fn hear(&mut self, _peer: Peer, frame: Frame, _output: &mut Output) -> Option<Frame> {
        Some(frame)
    }

    /// Takes what the node wants to say; says that, or something else.
    fn say(&mut self, peer: Peer, frame: Frame, output: &mut Output) {
        output.say(peer, frame);
    }

    /// The connection of a peer has ended.
    fn forget(&mut self, _peer: Peer) {}
}
