//! One step of the machine: everything that one input leads to.

use std::collections::BTreeSet;

use proto::{Draft, Frame, Instant, LogId, NodeAddress, NodeId, Output, PublicKey, Rows};
use rand_chacha::ChaCha20Rng;

use crate::{CommandError, Event, Reply};

/// What one input changes and says. All changes become one commit; what is said leaves after it.
///
/// Two things spare the user a wait for the disk. What a node delivered is only noted: until the
/// node is told that it has arrived, it can be had again. And a message leaves before its commit,
/// if its key was set aside by an earlier one: should the commit be lost in a crash, either the
/// node has the message and delivers it, or the user was never told that it was sent.
pub(crate) struct Step<'a> {
    pub(crate) draft: Draft<'a>,
    pub(crate) now: Instant,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) durability: Durability,
    said: Vec<Output<Event>>,
    hinted: BTreeSet<Hint>,
}

/// What the application has been told to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hint {
    Account,
    Contacts,
    Timeline(LogId),
}

/// When a step's changes must be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Some time.
    Later,
    /// Before anything the step says to nodes leaves.
    First,
    /// Before the application hears of it; nodes may hear first.
    Meanwhile,
}

fn is_said_to_a_node(output: &Output<Event>) -> bool {
    matches!(output, Output::Transmit(..))
}

impl<'a> Step<'a> {
    pub(crate) fn new(rows: &'a dyn Rows, now: Instant, rng: ChaCha20Rng) -> Self {
        let durability = Durability::First;
        Self {
            draft: Draft::new(rows),
            now,
            rng,
            durability,
            said: Vec::new(),
            hinted: BTreeSet::new(),
        }
    }

    /// The step's changes can't be had again.
    pub(crate) fn must_last(&mut self) {
        if self.durability == Durability::Later {
            self.durability = Durability::First;
        }
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

    /// Tells the application something; a hint to look at rows once is enough, however many of
    /// them change.
    pub(crate) fn event(&mut self, event: Event) {
        let hint = match &event {
            Event::Account => Some(Hint::Account),
            Event::Contacts => Some(Hint::Contacts),
            Event::Timeline(log) => Some(Hint::Timeline(*log)),
            Event::Done { .. }
            | Event::Typing(_)
            | Event::Link(..)
            | Event::Sent(_)
            | Event::Convicted(_) => None,
        };
        if hint.is_some_and(|hint| !self.hinted.insert(hint)) {
            return;
        }
        self.said.push(Output::Event(event));
    }

    pub(crate) fn done(&mut self, ticket: u64, result: Result<Reply, CommandError>) {
        self.event(Event::Done { ticket, result });
    }

    /// The outputs in the order in which they are to be carried out.
    pub(crate) fn into_outputs(self) -> impl Iterator<Item = Output<Event>> {
        let batch = self.draft.into_batch();
        let (ahead, after) = match self.durability {
            Durability::Later | Durability::First => (Vec::new(), self.said),
            Durability::Meanwhile => self.said.into_iter().partition(is_said_to_a_node),
        };
        let change = match self.durability {
            Durability::Later => (!batch.is_empty()).then_some(Output::Note(batch)),
            Durability::Meanwhile => Some(Output::Commit(batch)),
            // Even without changes: what was noted before must last before a node hears of it.
            Durability::First if after.iter().any(is_said_to_a_node) || !batch.is_empty() => {
                Some(Output::Commit(batch))
            }
            Durability::First => None,
        };
        ahead.into_iter().chain(change).chain(after)
    }
}
