//! How the rest of the process talks to the node's machine.

use std::sync::Arc;

use ::node::{NodeCommand, NodeEvent};
use net::Events;
use tokio::sync::{mpsc, watch};

use crate::{failure::Failure, pending::PendingRequests};

/// Commands to the machine, its answers, and the last state that it reported.
pub(super) struct NodeHandle {
    commands: mpsc::Sender<NodeCommand>,
    pending: PendingRequests<NodeEvent>,
    state: watch::Sender<State>,
}

/// How far the node has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    pub(super) joined: bool,
    pub(super) left: bool,
}

impl NodeHandle {
    pub(super) fn new(commands: mpsc::Sender<NodeCommand>) -> Arc<Self> {
        let state = watch::channel(State::default()).0;
        Arc::new(Self { commands, pending: PendingRequests::new(), state })
    }

    /// Tells the machine something.
    pub(super) async fn tell(&self, command: NodeCommand) {
        // A machine that has stopped needs to be told nothing.
        let _ = self.commands.send(command).await;
    }

    /// Asks the machine something and waits for the answer.
    pub(super) async fn ask(
        &self,
        question: impl FnOnce(u64) -> NodeCommand,
    ) -> Result<NodeEvent, Failure> {
        let ended = || Failure::user("the node has ended");
        let (ticket, answered) = self.pending.open().ok_or_else(ended)?;
        self.tell(question(ticket)).await;
        answered.await.map_err(|_| ended())
    }

    pub(super) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Resolves when all that was kept for others is handed over.
    pub(super) async fn left(&self) {
        let _ = self.state.subscribe().wait_for(|state| state.left).await;
    }

    /// Hands out what the machine emits, until it has stopped.
    pub(super) async fn dispatch(self: Arc<Self>, mut events: Events<NodeEvent>) {
        while let Some(event) = events.recv().await {
            match &event {
                NodeEvent::Status { ticket, .. }
                | NodeEvent::Drained { ticket, .. }
                | NodeEvent::Peers { ticket, .. }
                | NodeEvent::LookedUp { ticket, .. }
                | NodeEvent::Sampled { ticket, .. } => {
                    self.pending.resolve(*ticket, event);
                }
                NodeEvent::Joined => {
                    tracing::info!("the network is found");
                    self.state.send_modify(|state| state.joined = true);
                }
                NodeEvent::Left => {
                    self.state.send_modify(|state| state.left = true);
                }
                NodeEvent::Registered(account) => tracing::info!(?account, "registered"),
                NodeEvent::Counters(counters) => tracing::info!(?counters, "counted"),
                NodeEvent::Unreachable => {
                    tracing::warn!("other nodes can't dial this one at the addresses it names");
                }
                NodeEvent::Addresses(addresses) => {
                    tracing::info!(?addresses, "others reach this node through another one");
                }
                NodeEvent::Dead(node) => tracing::debug!(?node, "is gone"),
            }
        }
        self.pending.close();
    }
}
