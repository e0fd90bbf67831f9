//! Node acks: a node's signature that an entry is on its disk, or no longer is, and passing on the
//! acks of other nodes.

use crypto::node::{sign_ack, sign_lost, verify_ack};
use proto::{
    Body, Code, Entry, Envelope, EnvelopeId, NodeAck, NodeId, Peer, Reference, Rows, Transaction,
};

use super::Node;
use crate::{
    acks::AckRequest,
    counters::Dropped,
    log::EntryAt,
    session::{Channel, LogChannel},
};

impl Node {
    /// Acks an entry to the peer that has appended it. The ack leaves with the answer, once the
    /// entry is durable.
    pub(super) fn ack(&mut self, at: LogChannel, envelope: &Envelope, rows: &dyn Rows) {
        let (Some(key), Some(log)) = (&self.config.key, self.logs.get(rows, at.log)) else {
            return;
        };
        let id = envelope.id();
        let ack = sign_ack(key, &log.row.id, &id, log.row.incarnation);
        let Channel { peer, number } = at.channel;
        let reference = id.reference();
        self.send(peer, Body::NodeAck { channel: number, reference, node: None, ack });
    }

    /// Answers a device that shows this node's ack for an entry that it did not get when it asked:
    /// with the entry, or with a signature that the entry is lost.
    pub(super) fn on_challenge(
        &mut self,
        channel: Channel,
        id: &EnvelopeId,
        ack: &NodeAck,
        rows: &dyn Rows,
    ) -> Result<Body, Code> {
        let access = self.reading(channel)?;
        let found = self.logs.fetch(rows, access.log, access.key, &[id.reference()]);
        let log = self.logs.get(rows, access.log).ok_or(Code::NotFound)?;
        let (log, incarnation) = (log.row.id, log.row.incarnation);
        let is_it =
            |entry: &Entry| entry.clone().into_envelope(log, access.key, [0; 64]).id() == *id;
        if found.entries.iter().any(is_it) {
            return Ok(self.page(found));
        }
        // An ack for another incarnation of the copy promises nothing.
        let key = self.config.key.as_ref().filter(|_| ack.incarnation == incarnation);
        let key = key.ok_or(Code::NotFound)?;
        verify_ack(&self.config.node, &log, id, ack).map_err(|_| Code::BadSignature)?;
        Ok(Body::Lost { signature: sign_lost(key, &log, id, ack) })
    }

    /// Awaits the acks of the other nodes of a log for the device that has appended an entry. If
    /// the entry was stored `before`, under that sequence, their acks may have come when no device
    /// awaited them, so the entry is pushed to them again.
    pub(super) fn await_acks(
        &mut self,
        LogChannel { log: number, channel }: LogChannel,
        envelope: &Envelope,
        before: Option<u64>,
        tx: &Transaction<'_>,
    ) {
        let Some(log) = self.logs.get(tx, number).filter(|log| !log.nodes.is_empty()) else {
            return;
        };
        let own = self.config.node.0;
        let others: Vec<Peer> = log.nodes.iter().filter(|node| node.0 != own).copied().collect();
        if let Some(sequence) = before {
            let at = EntryAt { log: number, sequence };
            self.replicas.push_again(&others, at, &mut self.logs, tx);
        }
        let request = AckRequest { reference: envelope.id().reference(), channel };
        self.acks.expect(request, number, others);
    }

    /// Passes the ack of another node on to the devices that await it. They check the signature.
    pub(super) fn on_ack(
        &mut self,
        channel: Channel,
        reference: Reference,
        signer: Option<NodeId>,
        ack: NodeAck,
    ) {
        // Each node speaks for itself.
        if signer.is_some() {
            return self.counting.dropped(Dropped::Unasked);
        }
        let (replicas, node) = (&self.replicas, channel.peer);
        let is_pushed = |log| replicas.channel(&node, log) == Some(channel.number);
        let told = self.acks.acked(reference, &node, is_pushed);
        // That no device awaits it is normal: the entry was pushed again, or its writer is gone.
        if told.is_empty() && !replicas.is_pushed(channel) {
            self.counting.dropped(Dropped::Unasked);
        }
        let node = Some(NodeId(node.0));
        for Channel { peer, number } in told {
            self.send(peer, Body::NodeAck { channel: number, reference, node, ack });
        }
    }
}
