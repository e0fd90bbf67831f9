//! Frames: who takes each of them in, and what is answered.

use proto::{Body, Code, Draft, Frame, Instant, Peer};

use super::{Durability, Node};
use crate::{
    account::Refusal,
    counters::Dropped,
    invite::Terms,
    session::{Asked, Asker, Channel, Question},
};

impl Node {
    pub(super) fn on_frame(
        &mut self,
        peer: Peer,
        mut frame: Frame,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Durability {
        if !self.sessions.is_connected(peer) {
            self.counting.dropped(Dropped::NotConnected);
            return Durability::Spared;
        }
        if let Some(Asked { asker, number }) = self.sessions.take(peer, &frame) {
            let on_wire = std::mem::replace(&mut frame.request, number);
            let is_taken = match asker {
                Asker::Replica => self.on_replica_answer(peer, &frame, draft, now),
                Asker::AntiEntropy => self.on_anti_entropy_answer(peer, &frame, draft, now),
                Asker::Router => false,
            };
            if is_taken {
                return Durability::Spared;
            }
            if asker != Asker::Router {
                frame.request = on_wire;
            }
        }
        // The router also counts what answers no request.
        if self.on_routing_answer(peer, &frame, draft, now) {
            return Durability::Needed;
        }
        let Frame { request, body } = frame;
        match self.on_request(Question { peer, request }, body, draft, now) {
            Ok(Some(answer)) if request != 0 => {
                self.transmit(peer, Frame { request, body: answer });
            }
            Ok(_) => {}
            Err(Refusal { code, newer }) => {
                self.counting.refused(code);
                if request != 0 && code != Code::Version {
                    self.transmit(peer, Frame { request, body: Body::Refused { code, newer } });
                }
            }
        }
        self.pull(peer, draft);
        Durability::Needed
    }

    /// Does what a frame asks and returns the answer, if there is one now.
    fn on_request(
        &mut self,
        question: Question,
        body: Body,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<Option<Body>, Refusal> {
        let peer = question.peer;
        let channel = |number| Channel { peer, number };
        if !matches!(body, Body::Hello(_) | Body::Goodbye(_)) {
            self.sessions.check_greeted(peer)?;
        }
        Ok(Some(match body {
            Body::Hello(hello) => {
                return Ok(self.on_hello(peer, &hello, draft, now).map(|()| None)?);
            }
            Body::Routing(_) => return self.on_routing(question, body, draft, now).map(|()| None),
            Body::Goodbye(_)
            | Body::Accepted { .. }
            | Body::Refused { .. }
            | Body::Symbols(_)
            | Body::Lost { .. }
            | Body::Held { .. }
            | Body::Settled { .. } => {
                self.on_notice(peer, body, draft, now);
                return Ok(None);
            }
            Body::Compare(compare) => {
                return Ok(self.on_compare(question, &compare, draft, now).map(|()| None)?);
            }
            Body::Signal { handle, ciphertext } => {
                return Ok(self
                    .on_signal(channel(handle), &ciphertext, draft, now)
                    .map(|()| None)?);
            }
            Body::GetBundle(account) => return self.on_get_bundle(question, account, draft, now),
            Body::Lacking { log, references } => self.on_lacking(peer, log, &references, draft)?,
            Body::Open(open) => self.on_open(peer, &open, draft, now)?,
            Body::Replicate(replicate) => self.on_replicate(peer, &replicate, draft, now)?,
            Body::Recruit(recruit) => self.on_recruit(peer, &recruit, draft, now)?,
            Body::Close { handle } => self.close(channel(handle))?,
            Body::Append { handle, entry, signature } => {
                self.on_append(channel(handle), entry, signature, draft, now)?
            }
            Body::Read(read) => self.on_read(peer, &read, draft)?,
            Body::Fetch { handle, references } => {
                self.on_fetch(channel(handle), &references, draft)?
            }
            Body::Challenge { handle, id, receipt } => {
                self.on_challenge(channel(handle), &id, &receipt, draft)?
            }
            Body::PutBundle(bundle) => self.put_bundle(draft, &bundle, now)?,
            Body::PutKeyPackages(put) => self.on_put_key_packages(peer, &put, draft)?,
            Body::TakeKeyPackages { handle } => {
                self.on_take_key_packages(channel(handle), draft, now)?
            }
            Body::PutInvite { handle, key, expires_s, uses } => {
                self.on_put_invite(channel(handle), &key, Terms { expires_s, uses }, draft, now)?
            }
            // Only nodes say these.
            Body::Opened { .. }
            | Body::Deliver { .. }
            | Body::Brief { .. }
            | Body::Page { .. }
            | Body::BundleIs(_)
            | Body::KeyPackages { .. } => return Err(Code::Unexpected.into()),
        }))
    }

    /// Takes a frame that is never answered.
    fn on_notice(&mut self, peer: Peer, body: Body, draft: &mut Draft<'_>, now: Instant) {
        let channel = |number| Channel { peer, number };
        if let Body::Accepted { handle, sequence } = body {
            self.on_accepted(channel(handle), sequence);
        } else if let Body::Held { handle, reference, node, receipt } = body {
            self.on_ack(channel(handle), reference, node, receipt);
        } else if let Body::Settled { handle, sequence } = body {
            self.on_settled(channel(handle), sequence, draft, now);
        } else if !matches!(body, Body::Goodbye(_)) {
            // A refusal that was not asked for. Two nodes that refused each other's refusals would
            // not stop.
            self.counting.dropped(Dropped::Unasked);
        } else if !self.replicas.wants(&peer) {
            self.hang_up(peer, draft, now);
        }
        // A node of shared logs closes the connection itself after Goodbye, and is dialled again.
    }
}
