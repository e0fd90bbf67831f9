//! What nodes say to each other, by what it is for: what replication costs when all is well, and
//! what it costs to repair what is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::{Body, Frame, Instant};

use crate::network::HostId;

/// What a node says something to another node for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// To hand it an entry for the first time, within ten seconds after any node was.
    Push,
    /// To answer: accepted, refused, held, settled.
    Answer,
    /// To hand it an entry for the first time, but later than that: it was away, or makes a copy.
    Late,
    /// To hand it an entry that it has been handed before.
    Again,
    /// To open copies, and to say how far they have got.
    Replicate,
    /// To have it make a copy in place of a node that is gone.
    Recruit,
    /// To compare copies.
    Compare,
    /// To ask for what a comparison found.
    Lacking,
    /// To greet, to part, and all the rest.
    Other,
}

/// Frames and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub frames: u64,
    /// How large they are together.
    pub bytes: u64,
}

/// Sees what is said, and knows who has been handed what.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// Hosts of a smaller number are nodes.
    nodes: u32,
    /// When an entry was first handed to a node, by the beginning of its signature.
    begun: BTreeMap<[u8; 16], Instant>,
    handed: BTreeSet<([u8; 16], HostId)>,
    counts: BTreeMap<Purpose, Count>,
}

impl Purpose {
    /// Returns whether it would not be said if all nodes were there all the time.
    pub fn is_repair(self) -> bool {
        match self {
            Self::Push | Self::Answer | Self::Other => false,
            Self::Late
            | Self::Again
            | Self::Replicate
            | Self::Recruit
            | Self::Compare
            | Self::Lacking => true,
        }
    }
}

impl Count {
    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            frames: self.frames.saturating_add(other.frames),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl Traffic {
    pub(crate) fn new(nodes: u32) -> Self {
        Self { nodes, begun: BTreeMap::new(), handed: BTreeSet::new(), counts: BTreeMap::new() }
    }

    /// A frame of this size leaves.
    pub(crate) fn sees(
        &mut self,
        now: Instant,
        [from, to]: [HostId; 2],
        frame: &Frame,
        bytes: usize,
    ) {
        let purpose = self.purpose(now, to, frame);
        if from.0 < self.nodes && to.0 < self.nodes {
            let count = self.counts.entry(purpose).or_default();
            *count = count.with(Count { frames: 1, bytes: bytes as u64 });
        }
    }

    /// What was said between nodes.
    pub(crate) fn counts(&self) -> &BTreeMap<Purpose, Count> {
        &self.counts
    }

    fn purpose(&mut self, now: Instant, to: HostId, frame: &Frame) -> Purpose {
        match &frame.body {
            Body::Append { signature, .. } => self.hand(now, to, signature),
            Body::Accepted { .. }
            | Body::Refused { .. }
            | Body::NodeAck { .. }
            | Body::Settled { .. } => Purpose::Answer,
            Body::Replicate(_) | Body::Opened { .. } | Body::Close { .. } => Purpose::Replicate,
            Body::Recruit(_) => Purpose::Recruit,
            Body::Compare(_) | Body::Symbols(_) => Purpose::Compare,
            Body::Lacking { .. } => Purpose::Lacking,
            Body::Hello(_)
            | Body::Goodbye(_)
            | Body::Open(_)
            | Body::Deliver { .. }
            | Body::Announce { .. }
            | Body::Signal { .. }
            | Body::Read(_)
            | Body::Fetch { .. }
            | Body::Page { .. }
            | Body::Challenge { .. }
            | Body::Lost { .. }
            | Body::PutBundle(_)
            | Body::GetBundle(_)
            | Body::BundleIs(_)
            | Body::PutKeyPackages(_)
            | Body::TakeKeyPackages { .. }
            | Body::KeyPackages { .. }
            | Body::PutInvite { .. }
            | Body::Routing(_) => Purpose::Other,
        }
    }

    fn hand(&mut self, now: Instant, to: HostId, signature: &[u8; 64]) -> Purpose {
        // An envelope keeps its signature when it is handed on.
        let entry = *signature.first_chunk().unwrap_or(&[0; 16]);
        let begun = *self.begun.entry(entry).or_insert(now);
        match self.handed.insert((entry, to)) {
            false => Purpose::Again,
            true if now.since(begun) > LATE => Purpose::Late,
            true => Purpose::Push,
        }
    }
}

/// Longer than a push takes between nodes that are there, losses and full disks apart.
const LATE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use proto::{Code, Entry, Expiry, Extension, Kind};

    use super::*;

    fn append(signature: u8) -> Frame {
        let entry = Entry {
            sequence: 0,
            kind: Kind::Entry,
            expiry: Expiry::Never,
            position: 1,
            extension: Extension::default(),
            ciphertext: Vec::new(),
            write_key: None,
        };
        Frame::new(Body::Append { channel: 1, entry, signature: [signature; 64] })
    }

    #[test]
    fn an_entry_is_pushed_once_and_soon_or_it_is_repair() {
        let mut traffic = Traffic::new(3);
        let mut says = |second, from, to, frame| {
            traffic.sees(Instant::from_secs(second), [from, to].map(HostId), &frame, 100);
        };
        says(1, 7, 0, append(1)); // by a device
        says(1, 0, 1, append(1));
        says(2, 2, 1, append(1));
        says(12, 0, 2, append(1));
        says(12, 7, 0, append(2));
        says(12, 0, 2, append(2));
        says(13, 2, 0, Frame::new(Body::Goodbye(Code::Done)));
        let counts = traffic.counts().iter().map(|(purpose, count)| (*purpose, count.frames));
        let expected =
            [(Purpose::Push, 2), (Purpose::Late, 1), (Purpose::Again, 1), (Purpose::Other, 1)];
        assert!(counts.eq(expected), "{:?}", traffic.counts());
    }
}
