//! A node's word that an entry is on its disk, and passing on that of others.

use proto::{Body, Draft, Envelope, Frame, NodeId, Output, Peer, Reference};

use super::Node;
use crate::counters::Dropped;

impl Node {
    /// Gives the peer that has appended an entry on a handle this node's receipt for it. It leaves with
    /// the answer, once the entry is durable.
    pub(super) fn give_receipt(&mut self, peer: Peer, handle: u32, envelope: &Envelope) {
        let Some(key) = &self.config.key else { return };
        let id = envelope.id();
        let message = crypto::held_message(&envelope.head.log, &id);
        let signature = key.sign(crypto::HELD_CONTEXT, &message);
        let body = Body::Held { handle, reference: id.reference(), node: None, signature };
        self.replies.push_back(Output::Transmit(peer, Frame::new(body)));
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
        signature: [u8; 64],
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
            let body = Body::Held { handle, reference, node: Some(NodeId(node.0)), signature };
            self.replies.push_back(Output::Transmit(device, Frame::new(body)));
        }
    }
}
