//! Lies of those who answer what they have not given to their node.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not bent goes as it is")]

use std::collections::BTreeMap;

use crypto::{HELD_CONTEXT, SigningKey, held_message};
use proto::{Body, Code, Frame, LogId, Peer, PublicKey};

use super::{Manner, mouth::Mouth};

/// Says of half of what is appended that it is stored, signs so, and drops it.
#[derive(Debug)]
pub(super) struct DropsAccepted {
    key: Option<SigningKey>,
    /// What handles are for: log and write key.
    logs: BTreeMap<(Peer, u32), (LogId, PublicKey)>,
    /// Logs being opened, by the request that asked for it.
    opening: BTreeMap<(Peer, u32), u32>,
    /// The last sequence that each handle has seen. Those who may not read see none.
    heads: BTreeMap<(Peer, u32), Option<u64>>,
}

impl Manner for DropsAccepted {
    fn hear(&mut self, peer: Peer, frame: Frame, mouth: &mut Mouth) -> Option<Frame> {
        let request = frame.request;
        match &frame.body {
            Body::Open(open) if request != 0 => {
                self.opening.insert((peer, request), open.handle);
                self.logs.insert((peer, open.handle), (open.log, open.key));
            }
            Body::Close { handle } => {
                self.heads.remove(&(peer, *handle));
                self.logs.remove(&(peer, *handle));
            }
            Body::Append { handle, entry, signature } if request != 0 => {
                let handle = *handle;
                if let Some(head) = self.heads.get_mut(&(peer, handle))
                    && mouth.dice.chance(0.5)
                {
                    // The sequence that the node would give to it.
                    *head = head.map(|head| head.saturating_add(1));
                    let sequence = head.unwrap_or_default();
                    if let (Some(key), Some((log, write_key))) =
                        (&self.key, self.logs.get(&(peer, handle)))
                    {
                        let id = entry.clone().into_envelope(*log, *write_key, *signature).id();
                        let signature = key.sign(HELD_CONTEXT, &held_message(log, &id));
                        let reference = id.reference();
                        let body = Body::Held { handle, reference, node: None, signature };
                        mouth.say(peer, Frame::new(body));
                    }
                    let body = Body::Accepted { handle, sequence };
                    mouth.say(peer, Frame { request, body });
                    return None;
                }
            }
            _ => {}
        }
        Some(frame)
    }

    fn say(&mut self, peer: Peer, frame: Frame, mouth: &mut Mouth) {
        let opened = self.opening.remove(&(peer, frame.request));
        match &frame.body {
            Body::Opened { head, .. } => {
                let reads = head.incarnation != 0;
                let head = reads.then_some(head.sequence);
                self.heads.extend(opened.map(|handle| ((peer, handle), head)));
            }
            Body::Accepted { handle, sequence } => self.saw(peer, *handle, *sequence),
            Body::Deliver { handle, entry } => self.saw(peer, *handle, entry.sequence),
            _ => {}
        }
        mouth.say(peer, frame);
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
        Self { key, logs, opening, heads }
    }

    fn saw(&mut self, peer: Peer, handle: u32, sequence: u64) {
        if let Some(Some(head)) = self.heads.get_mut(&(peer, handle)) {
            *head = sequence.max(*head);
        }
    }
}

/// Refuses a tenth of what is asked, for no reason.
#[derive(Debug)]
pub(super) struct Refuses;

impl Manner for Refuses {
    fn hear(&mut self, peer: Peer, frame: Frame, mouth: &mut Mouth) -> Option<Frame> {
        let Frame { request, body } = &frame;
        let asks = *request != 0 && !matches!(body, Body::Hello(_) | Body::Goodbye(_));
        if !asks || !mouth.dice.chance(0.1) {
            return Some(frame);
        }
        let code = any_code(mouth);
        let newer = if code == Code::Stale { vec![0; 64] } else { Vec::new() };
        mouth.say(peer, Frame { request: *request, body: Body::Refused { code, newer } });
        None
    }
}

/// One of the codes.
pub(super) fn any_code(mouth: &mut Mouth) -> Code {
    let number = mouth.dice.below(CODES);
    Code::from_number(u32::try_from(number).unwrap_or_default())
}

/// Codes are numbered from 0: `spec/frames.md`, section 10.
const CODES: u64 = 16;
