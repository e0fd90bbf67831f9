//! Adversaries that show a selection of what there is: that leave entries out, stick to old
//! records, or show each peer another selection.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not bent goes as it is")]

use std::collections::{BTreeMap, VecDeque};

use crypto::identity::Bundle;
use proto::{AccountId, Body, Cursor, Entry, Frame, Peer};
use sha2::{Digest, Sha256};

use super::{behave::Behave, output::Output};
use crate::rng::Rng;

/// Shows a tenth of the entries to no peer.
#[derive(Debug)]
pub(super) struct Withholds {
    buckets: Buckets,
}

impl Withholds {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { buckets: Buckets(rng.bytes()) }
    }
}

impl Behave for Withholds {
    fn say(&mut self, peer: Peer, mut frame: Frame, output: &mut Output) {
        if leave(&mut frame, |entry| self.buckets.of(&entry.ciphertext) != 0) {
            output.say(peer, frame);
        }
    }
}

/// Knows the first bundle of each account and no later one, and delivers old entries again.
#[derive(Debug, Default)]
pub(super) struct Replays {
    bundles: FirstBundles,
    delivered: BTreeMap<Peer, VecDeque<(u32, Entry)>>,
}

impl Behave for Replays {
    fn hear(&mut self, peer: Peer, frame: Frame, output: &mut Output) -> Option<Frame> {
        let request = frame.request;
        if let Body::PutBundle(bundle) = &frame.body {
            let first = self.bundles.see(bundle);
            if request != 0 && first.is_some_and(|first| first != bundle) {
                let body = Body::Accepted { channel: 0, sequence: 0 };
                output.say(peer, Frame { request, body });
                return None;
            }
        }
        self.bundles.answer(peer, frame, output)
    }

    fn say(&mut self, peer: Peer, frame: Frame, output: &mut Output) {
        if let Body::BundleIs(bundle) = &frame.body {
            self.bundles.see(bundle);
        }
        let delivered = match &frame.body {
            Body::Deliver { channel, entry } => Some((*channel, entry.clone())),
            _ => None,
        };
        output.say(peer, frame);
        let Some(delivered) = delivered else { return };
        let old = self.delivered.entry(peer).or_default();
        if output.rng.chance(0.3)
            && let Some((channel, entry)) = old.get(output.rng.index(old.len())).cloned()
        {
            output.say(peer, Frame::new(Body::Deliver { channel, entry }));
        }
        old.push_back(delivered);
        if old.len() > OLD_MAX {
            old.pop_front();
        }
    }

    fn forget(&mut self, peer: Peer) {
        self.delivered.remove(&peer);
    }
}

/// Shows two groups of peers two versions, each consistent in itself.
#[derive(Debug)]
pub(super) struct Equivocates {
    buckets: Buckets,
    versions: [Version; 2],
    bundles: FirstBundles,
}

/// What one group is shown.
#[derive(Clone, Copy, Debug)]
struct Version {
    /// Entries in this bucket are left out.
    hidden: u64,
    /// Flipped in incarnations.
    mask: u64,
    /// Added to sequences and positions.
    ahead: u64,
    /// Whether bundles are the first ones.
    old_bundles: bool,
}

impl Equivocates {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let buckets = Buckets(rng.bytes());
        let mut version = |hidden| Version {
            hidden,
            mask: rng.below(u64::MAX),
            ahead: rng.below(1000),
            old_bundles: hidden == 0,
        };
        Self { buckets, versions: [version(0), version(1)], bundles: FirstBundles::default() }
    }

    fn version(&self, peer: Peer) -> Version {
        let [one, other] = self.versions;
        if self.buckets.of(&peer.0).is_multiple_of(2) { one } else { other }
    }
}

impl Behave for Equivocates {
    fn hear(&mut self, peer: Peer, mut frame: Frame, output: &mut Output) -> Option<Frame> {
        let version = self.version(peer);
        match &mut frame.body {
            Body::Open(open) => {
                if let Some(tail) = &mut open.tail {
                    tail.incarnation ^= version.mask;
                    tail.sequence = tail.sequence.saturating_sub(version.ahead);
                }
            }
            Body::Accepted { sequence, .. } => *sequence = sequence.saturating_sub(version.ahead),
            Body::PutBundle(bundle) => {
                self.bundles.see(bundle);
            }
            _ => {}
        }
        if version.old_bundles { self.bundles.answer(peer, frame, output) } else { Some(frame) }
    }

    fn say(&mut self, peer: Peer, mut frame: Frame, output: &mut Output) {
        let version = self.version(peer);
        let shift = |sequence: &mut u64| *sequence = sequence.saturating_add(version.ahead);
        if !leave(&mut frame, |entry| self.buckets.of(&entry.ciphertext) != version.hidden) {
            return;
        }
        match &mut frame.body {
            // Those who may not read see neither.
            Body::Opened { head: Cursor { incarnation: 0, .. }, .. }
            | Body::Accepted { sequence: 0, .. } => {}
            Body::Opened { head, position } => {
                head.incarnation ^= version.mask;
                shift(&mut head.sequence);
                shift(position);
            }
            Body::Accepted { sequence, .. } => shift(sequence),
            Body::Deliver { entry, .. } => shift(&mut entry.sequence),
            Body::Page { entries, .. } => {
                entries.iter_mut().for_each(|entry| shift(&mut entry.sequence));
            }
            Body::BundleIs(bundle) => {
                self.bundles.see(bundle);
            }
            _ => {}
        }
        output.say(peer, frame);
    }
}

/// The first bundle that was seen of each account.
#[derive(Debug, Default)]
struct FirstBundles(BTreeMap<AccountId, Vec<u8>>);

impl FirstBundles {
    /// Remembers the first bundle of each account; returns that of this one's account.
    fn see(&mut self, bundle: &[u8]) -> Option<&Vec<u8>> {
        let account = Bundle::verify(bundle).ok()?.account();
        if self.0.len() < BUNDLES_MAX || self.0.contains_key(&account) {
            return Some(self.0.entry(account).or_insert_with(|| bundle.to_vec()));
        }
        None
    }

    /// Answers a request for a known bundle; returns the frame if the node has to answer it.
    fn answer(&self, peer: Peer, frame: Frame, output: &mut Output) -> Option<Frame> {
        let Body::GetBundle(account) = &frame.body else { return Some(frame) };
        let Some(first) = self.0.get(account).filter(|_| frame.request != 0) else {
            return Some(frame);
        };
        let body = Body::BundleIs(first.clone());
        output.say(peer, Frame { request: frame.request, body });
        None
    }
}

/// Assigns things to buckets by their hash.
#[derive(Debug)]
struct Buckets([u8; 16]);

impl Buckets {
    fn of(&self, thing: &[u8]) -> u64 {
        let hash = Sha256::new().chain_update(self.0).chain_update(thing).finalize();
        hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)) % BUCKETS
    }
}

/// Removes hidden entries from a frame; returns whether anything is left to send.
fn leave(frame: &mut Frame, is_seen: impl Fn(&Entry) -> bool) -> bool {
    match &mut frame.body {
        Body::Deliver { entry, .. } => is_seen(entry),
        Body::Page { entries, .. } => {
            entries.retain(is_seen);
            true
        }
        _ => true,
    }
}

const BUCKETS: u64 = 10;
/// Old entries remembered for a peer.
const OLD_MAX: usize = 32;
/// Accounts whose first bundle is remembered.
const BUNDLES_MAX: usize = 1024;
