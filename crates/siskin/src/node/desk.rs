//! Where the node's machine is asked, and where what it tells is handed out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ::node::{NodeCommand, NodeEvent};
use net::Events;
use tokio::sync::{mpsc, oneshot, watch};

use crate::failure::Failure;

/// Questions under way, and what the machine said last.
pub(super) struct Desk {
    commands: mpsc::Sender<NodeCommand>,
    waiting: Mutex<(u64, BTreeMap<u64, oneshot::Sender<NodeEvent>>)>,
    state: watch::Sender<State>,
}

/// How far the node has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    pub(super) joined: bool,
    pub(super) left: bool,
}

impl Desk {
    pub(super) fn new(commands: mpsc::Sender<NodeCommand>) -> Arc<Self> {
        let state = watch::channel(State::default()).0;
        Arc::new(Self { commands, waiting: Mutex::default(), state })
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
        let (answer, answered) = oneshot::channel();
        let ticket = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let (tickets, answers) = &mut *waiting;
            // Whoever gave up waiting needs no answer.
            answers.retain(|_, answer| !answer.is_closed());
            *tickets = tickets.wrapping_add(1);
            answers.insert(*tickets, answer);
            *tickets
        };
        self.tell(question(ticket)).await;
        answered.await.map_err(|_| Failure::user("the node has ended"))
    }

    pub(super) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Resolves when all that was kept for others is handed over.
    pub(super) async fn left(&self) {
        let _ = self.state.subscribe().wait_for(|state| state.left).await;
    }

    /// Hands out what the machine tells, until it has stopped.
    pub(super) async fn hand_out(self: Arc<Self>, mut events: Events<NodeEvent>) {
        while let Some(event) = events.recv().await {
            match &event {
                NodeEvent::Status { ticket, .. }
                | NodeEvent::Drained { ticket, .. }
                | NodeEvent::Peers { ticket, .. }
                | NodeEvent::LookedUp { ticket, .. }
                | NodeEvent::Sampled { ticket, .. } => {
                    let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(answer) = waiting.1.remove(ticket) {
                        let _ = answer.send(event);
                    }
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
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
    }
}
