//! One step of the machine: everything that one input leads to.

use proto::{Draft, Frame, Instant, NodeAddress, NodeId, Output, PublicKey, Rows};
use rand_chacha::ChaCha20Rng;

use crate::{CommandError, Event, Reply};

/// What one input changes and says. All changes become one commit; what is said leaves after it.
pub(crate) struct Step<'a> {
    pub(crate) draft: Draft<'a>,
    pub(crate) now: Instant,
    pub(crate) rng: ChaCha20Rng,
    said: Vec<Output<Event>>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(rows: &'a dyn Rows, now: Instant, rng: ChaCha20Rng) -> Self {
        Self { draft: Draft::new(rows), now, rng, said: Vec::new() }
    }

    pub(crate) fn transmit(&mut self, node: &NodeId, frame: Frame) {
        self.said.push(Output::Transmit(PublicKey(node.0), frame));
    }

    pub(crate) fn connect(&mut self, address: &NodeAddress) {
        self.said.push(Output::Connect(PublicKey(address.node.0), address.addresses.clone()));
    }

    pub(crate) fn disconnect(&mut self, node: &NodeId) {
        self.said.push(Output::Disconnect(PublicKey(node.0)));
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.said.push(Output::Event(event));
    }

    pub(crate) fn done(&mut self, ticket: u64, result: Result<Reply, CommandError>) {
        self.event(Event::Done { ticket, result });
    }

    /// The outputs in the order in which they are to be carried out.
    pub(crate) fn into_outputs(self) -> impl Iterator<Item = Output<Event>> {
        let batch = self.draft.into_batch();
        let commit = (!batch.is_empty()).then_some(Output::Commit(batch));
        commit.into_iter().chain(self.said)
    }
}
