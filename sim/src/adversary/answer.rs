//! Adversaries that answer what they have not handed to their node.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not bent goes as it is")]

use std::collections::BTreeMap;

use crypto::{SigningKey, node::sign_ack};
use proto::{Body, Code, Entry, Frame, LogId, Peer, PublicKey};

use super::{behave::Behave, output::Output};

/// Acknowledges and signs for every entry that a device or node appends, and drops half of them.
/// The entry's id decides, so each copy of it meets the same fate.
#[derive(Debug)]
pub(super) struct DropsAccepted {
    key: Option<SigningKey>,
    /// What channels are for: log and write key.
    logs: BTreeMap<(Peer, u32), (LogId, PublicKey)>,
    /// Of its copies, as far as devices have opened them.
    incarnations: BTreeMap<LogId, u64>,
    /// Logs being opened, by the request that asked for it.
    opening: BTreeMap<(Peer, u32), u32>,
    /// The last sequence that each channel of a device has seen. Those who may not read see none.
    heads: BTreeMap<(Peer, u32), Option<u64>>,
}

/// A request to append an entry.
struct Append<'a> {
    peer: Peer,
    request: u32,
    channel: u32,
    entry: &'a Entry,
    signature: &'a [u8; 64],
}

impl Behave for DropsAccepted {
    fn hear(&mut self, peer: Peer, frame: Frame, output: &mut Output) -> Option<Frame> {
        let request = frame.request;
        match &frame.body {
            Body::Open(open) if request != 0 => {
                self.opening.insert((peer, request), open.channel);
                self.logs.insert((peer, open.channel), (open.log, open.key));
            }
            Body::Replicate(replicate) => {
                let of = (replicate.log, PublicKey::default());
                self.logs.insert((peer, replicate.channel), of);
            }
            Body::Close { channel } => {
                self.heads.remove(&(peer, *channel));
                self.logs.remove(&(peer, *channel));
            }
            Body::Append { channel, entry, signature } if request != 0 => {
                let append = Append { peer, request, channel: *channel, entry, signature };
                return self.passes_on(&append, output).then_some(frame);
            }
            _ => {}
        }
        Some(frame)
    }

    fn say(&mut self, peer: Peer, frame: Frame, output: &mut Output) {
        let opened = self.opening.remove(&(peer, frame.request));
        match &frame.body {
            Body::Opened { head, .. } => {
                let reads = head.incarnation != 0;
                if let Some(channel) = opened.filter(|_| reads)
                    && let Some((log, _)) = self.logs.get(&(peer, channel))
                {
                    self.incarnations.insert(*log, head.incarnation);
                }
                let head = reads.then_some(head.sequence);
                self.heads.extend(opened.map(|channel| ((peer, channel), head)));
            }
            Body::Accepted { channel, sequence } => self.saw(peer, *channel, *sequence),
            Body::Deliver { channel, entry } => self.saw(peer, *channel, entry.sequence),
            _ => {}
        }
        output.say(peer, frame);
    }

    fn forget(&mut self, peer: Peer) {
        self.opening.retain(|(of, _), _| *of != peer);
        self.heads.retain(|(of, _), _| *of != peer);
        self.logs.retain(|(of, _), _| *of != peer);
    }
}

impl DropsAccepted {
    /// One that signs with this key.
    pub(super) fn new(key: Option<SigningKey>) -> Self {
        let (logs, opening, heads) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { key, logs, incarnations: BTreeMap::new(), opening, heads }
    }

    /// Handles an appended entry; returns whether the node gets it.
    fn passes_on(&mut self, append: &Append<'_>, output: &mut Output) -> bool {
        let Append { peer, request, channel, entry, signature } = *append;
        let Some((log, write_key)) = self.logs.get(&(peer, channel)).copied() else { return true };
        let id = entry.clone().into_envelope(log, write_key, *signature).id();
        if id.0.first().is_none_or(|first| first % 2 == 0) {
            return true;
        }
        let sequence = match self.heads.get_mut(&(peer, channel)) {
            // The sequence that the node would give to it.
            Some(Some(head)) => {
                *head = head.saturating_add(1);
                *head
            }
            Some(None) => 0,
            None => entry.sequence,
        };
        if let (Some(key), Some(incarnation)) = (&self.key, self.incarnations.get(&log)) {
            let ack = sign_ack(key, &log, &id, *incarnation);
            let body = Body::NodeAck { channel, reference: id.reference(), node: None, ack };
            output.say(peer, Frame::new(body));
        }
        output.say(peer, Frame { request, body: Body::Accepted { channel, sequence } });
        false
    }

    fn saw(&mut self, peer: Peer, channel: u32, sequence: u64) {
        if let Some(Some(head)) = self.heads.get_mut(&(peer, channel)) {
            *head = sequence.max(*head);
        }
    }
}

/// Refuses a tenth of what is asked, for no reason.
#[derive(Debug)]
pub(super) struct Refuses;

impl Behave for Refuses {
    fn hear(&mut self, peer: Peer, frame: Frame, output: &mut Output) -> Option<Frame> {
        let Frame { request, body } = &frame;
        let asks = *request != 0 && !matches!(body, Body::Hello(_) | Body::Goodbye(_));
        if !asks || !output.rng.chance(0.1) {
            return Some(frame);
        }
        let code = any_code(output);
        let newer = if code == Code::Stale { vec![0; 64] } else { Vec::new() };
        output.say(peer, Frame { request: *request, body: Body::Refused { code, newer } });
        None
    }
}

/// One of the codes.
pub(super) fn any_code(output: &mut Output) -> Code {
    let number = output.rng.below(CODES);
    Code::from_number(u32::try_from(number).unwrap_or_default())
}

/// Codes are numbered from 0: `spec/frames.md`, section 10.
const CODES: u64 = 16;
