//! Frames: who takes each of them in, and what is answered.

use proto::{Body, Code, Frame, Instant, Peer, Transaction};

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
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Durability {
        if !self.sessions.is_connected(peer) {
            self.counting.dropped(Dropped::NotConnected);
            return Durability::Spared;
        }
        if let Some(Asked { asker, number }) = self.sessions.take(peer, &frame) {
            let on_wire = std::mem::replace(&mut frame.request, number);
            let is_taken = match asker {
                Asker::Replica => self.on_replica_answer(peer, &frame, tx, now),
                Asker::AntiEntropy => self.on_anti_entropy_answer(peer, &frame, tx, now),
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
        if self.on_routing_answer(peer, &frame, tx, now) {
            return Durability::Needed;
        }
        let Frame { request, body } = frame;
        match self.on_request(Question { peer, request }, body, tx, now) {
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
        self.pull(peer, tx);
        Durability::Needed
    }

    /// Does what a frame asks and returns the answer, if there is one now.
    fn on_request(
        &mut self,
        question: Question,
        body: Body,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<Option<Body>, Refusal> {
        let peer = question.peer;
        let opened = |number| Channel { peer, number };
        if !matches!(body, Body::Hello(_) | Body::Goodbye(_)) {
            self.sessions.check_greeted(peer)?;
        }
        Ok(Some(match body {
            Body::Hello(hello) => {
                return Ok(self.on_hello(peer, &hello, tx, now).map(|()| None)?);
            }
            Body::Routing(_) => {
                return self.on_routing(question, body, tx, now).map(|()| None);
            }
            Body::Goodbye(_)
            | Body::Accepted { .. }
            | Body::Refused { .. }
            | Body::Symbols(_)
            | Body::Lost { .. }
            | Body::NodeAck { .. }
            | Body::Settled { .. } => {
                self.on_notice(peer, body, tx, now);
                return Ok(None);
            }
            Body::Compare(compare) => {
                return Ok(self.on_compare(question, &compare, tx, now).map(|()| None)?);
            }
            Body::Signal { channel, ciphertext } => {
                return Ok(self.on_signal(opened(channel), &ciphertext, tx, now).map(|()| None)?);
            }
            Body::GetBundle(account) => {
                return self.on_get_bundle(question, account, tx, now);
            }
            Body::Lacking { log, references } => self.on_lacking(peer, log, &references, tx)?,
            Body::Open(open) => self.on_open(peer, &open, tx, now)?,
            Body::Replicate(replicate) => self.on_replicate(peer, &replicate, tx, now)?,
            Body::Recruit(recruit) => self.on_recruit(peer, &recruit, tx, now)?,
            Body::Close { channel } => self.close(opened(channel))?,
            Body::Append { channel, entry, signature } => {
                self.on_append(opened(channel), entry, signature, tx, now)?
            }
            Body::Read(read) => self.on_read(peer, &read, tx)?,
            Body::Fetch { channel, references } => {
                self.on_fetch(opened(channel), &references, tx)?
            }
            Body::Challenge { channel, id, ack } => {
                self.on_challenge(opened(channel), &id, &ack, tx)?
            }
            Body::PutBundle(bundle) => self.put_bundle(tx, &bundle, now)?,
            Body::PutKeyPackages(put) => self.on_put_key_packages(peer, &put, tx)?,
            Body::TakeKeyPackages { channel } => {
                self.on_take_key_packages(opened(channel), tx, now)?
            }
            Body::PutInvite { channel, key, expires_s, uses } => {
                self.on_put_invite(opened(channel), &key, Terms { expires_s, uses }, tx, now)?
            }
            // Only nodes say these.
            Body::Opened { .. }
            | Body::Deliver { .. }
            | Body::Announce { .. }
            | Body::Page { .. }
            | Body::BundleIs(_)
            | Body::KeyPackages { .. } => return Err(Code::Unexpected.into()),
        }))
    }

    /// Takes a frame that is never answered.
    fn on_notice(&mut self, peer: Peer, body: Body, tx: &mut Transaction<'_>, now: Instant) {
        let opened = |number| Channel { peer, number };
        if let Body::Accepted { channel, sequence } = body {
            self.on_accepted(opened(channel), sequence);
        } else if let Body::NodeAck { channel, reference, node, ack } = body {
            self.on_ack(opened(channel), reference, node, ack);
        } else if let Body::Settled { channel, sequence } = body {
            self.on_settled(opened(channel), sequence, tx, now);
        } else if !matches!(body, Body::Goodbye(_)) {
            // A refusal that was not asked for. Two nodes that refused each other's refusals would
            // not stop.
            self.counting.dropped(Dropped::Unasked);
        } else if !self.replicas.wants(&peer) {
            self.hang_up(peer, tx, now);
        }
        // A node of shared logs closes the connection itself after Goodbye, and is dialled again.
    }
}
