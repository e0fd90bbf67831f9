//! A node's word that an entry is on its disk, or is not any more, and passing on that of others.

use crypto::{sign_held, sign_lost, verify_held};
use proto::{
    Body, Code, Draft, Entry, Envelope, EnvelopeId, Frame, NodeId, NodeReceipt, Output, Peer,
    Reference, Rows,
};

use super::Node;
use crate::counters::Dropped;

impl Node {
    /// Gives the peer that has appended an entry on a handle this node's receipt for it. It leaves with
    /// the answer, once the entry is durable.
    pub(super) fn give_receipt(
        &mut self,
        (peer, handle, number): (Peer, u32, u64),
        envelope: &Envelope,
        rows: &dyn Rows,
    ) {
        let (Some(key), Some(log)) = (&self.config.key, self.logs.get(rows, number)) else {
            return;
        };
        let id = envelope.id();
        let receipt = sign_held(key, &log.row.id, &id, log.row.incarnation);
        let body = Body::Held { handle, reference: id.reference(), node: None, receipt };
        self.replies.push_back(Output::Transmit(peer, Frame::new(body)));
    }

    /// A device shows a receipt of this node for an entry that it did not get when it asked for it: it gets
    /// the entry, or this node's word that it has lost it.
    pub(super) fn challenged(
        &mut self,
        (peer, handle): (Peer, u32),
        id: &EnvelopeId,
        receipt: &NodeReceipt,
        rows: &dyn Rows,
    ) -> Result<Body, Code> {
        let handle = self.reading(peer, handle)?;
        let found = self.logs.fetch(rows, handle.log, handle.key, &[id.reference()]);
        let log = self.logs.get(rows, handle.log).ok_or(Code::NotFound)?;
        let (log, incarnation) = (log.row.id, log.row.incarnation);
        let is_it =
            |entry: &Entry| entry.clone().into_envelope(log, handle.key, [0; 64]).id() == *id;
        if found.0.iter().any(is_it) {
            return Ok(self.page(found));
        }
        // What was signed for another copy is no promise any more.
        let key = self.config.key.as_ref().filter(|_| receipt.incarnation == incarnation);
        let key = key.ok_or(Code::NotFound)?;
        verify_held(&self.config.node, &log, id, receipt).map_err(|_| Code::BadSignature)?;
        Ok(Body::Lost { signature: sign_lost(key, &log, id, receipt) })
    }

    /// Remembers that a device wants to hear from the other nodes of its log. If the entry was here
    /// `before`, under that sequence, they may have spoken when nobody listened, and are asked again.
    pub(super) fn await_receipts(
        &mut self,
        (peer, handle, number): (Peer, u32, u64),
        envelope: &Envelope,
        before: Option<u64>,
        draft: &Draft<'_>,
    ) {
        let Some(log) = self.logs.get(draft, number).filter(|log| !log.nodes.is_empty()) else {
            return;
        };
        let own = self.config.node.0;
        let others: Vec<Peer> = log.nodes.iter().filter(|node| node.0 != own).copied().collect();
        if let Some(sequence) = before {
            self.replicas.push_again((number, &others), sequence, &mut self.logs, draft);
        }
        self.receipts.expect((envelope.id().reference(), peer, handle), number, others);
    }

    /// Passes the receipt of another node on to the devices that wait for it. What it is worth they
    /// find out themselves.
    pub(super) fn held(
        &mut self,
        node: Peer,
        (handle, reference): (u32, Reference),
        signer: Option<NodeId>,
        receipt: NodeReceipt,
    ) {
        // Each node speaks for itself.
        if signer.is_some() {
            return self.counting.dropped(Dropped::Unasked);
        }
        let replicas = &self.replicas;
        let is_pushed = |log| replicas.handle(&node, log) == Some(handle);
        let told = self.receipts.held(reference, &node, is_pushed);
        // That nobody waits is nothing unusual: it was pushed again, or who has appended it is gone.
        if told.is_empty() && !replicas.is_pushed(&node, handle) {
            self.counting.dropped(Dropped::Unasked);
        }
        for (device, handle) in told {
            let body = Body::Held { handle, reference, node: Some(NodeId(node.0)), receipt };
            self.replies.push_back(Output::Transmit(device, Frame::new(body)));
        }
    }
}
