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

/// The state of the node.
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

    /// Sends a command to the machine.
    pub(super) async fn tell(&self, command: NodeCommand) {
        // A stopped machine takes no commands.
        let _ = self.commands.send(command).await;
    }

    /// Sends a request to the machine and waits for the answer.
    pub(super) async fn ask(
        &self,
        question: impl FnOnce(u64) -> NodeCommand,
    ) -> Result<NodeEvent, Failure> {
        let ended = || Failure::user("the node has stopped");
        let (ticket, answered) = self.pending.open().ok_or_else(ended)?;
        self.tell(question(ticket)).await;
        answered.await.map_err(|_| ended())
    }

    pub(super) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Resolves when everything that was stored for other nodes is handed over.
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
                    tracing::info!("joined the network");
                    self.state.send_modify(|state| state.joined = true);
                }
                NodeEvent::Left => {
                    self.state.send_modify(|state| state.left = true);
                }
                NodeEvent::Registered(account) => tracing::info!(?account, "registered"),
                NodeEvent::Counters(counters) => tracing::info!(?counters, "counted"),
                NodeEvent::Unreachable => {
                    tracing::warn!("other nodes can't dial this node at its advertised addresses");
                }
                NodeEvent::Addresses(addresses) => {
                    tracing::info!(?addresses, "this node is reachable through a relay");
                }
                NodeEvent::Dead(node) => tracing::debug!(?node, "unreachable"),
            }
        }
        self.pending.close();
    }
}
