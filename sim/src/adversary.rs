//! Service nodes as the simulator runs them: the real node as it is, or behind an adversary that
//! changes the frames that it receives and sends.
//!
//! ```text
//!  peer ──frame──▶ Behave::hear ──▶ Node ──▶ Behave::say ──▶ Output ──▶ peer
//!                     └───────── answers of its own ──────────▲
//! ```
//!
//! An adversary is honest in all that its behaviour does not concern, keeps the contract of a
//! machine, and sends only frames that can be encoded. Its memory lasts as long as its process. A
//! behaviour that marks entries does so by their ciphertexts and its rng: opened with the same rng
//! it marks the same entries. Each behaviour is described in `spec/faults.md`, section 3.

use std::collections::VecDeque;

use crypto::SigningKey;
use node::{Node, NodeCommand, NodeConfig, NodeEvent};
use proto::{Frame, Input, Instant, Machine, OpenError, Peer, Rows, Seed};

use crate::{
    Behaviour, Mutant,
    mutant::{Coordinator, Forgetful},
    rng::Rng,
};
use behave::Behave;
use output::Output;

mod answer;
mod behave;
mod forge;
mod late;
mod output;
mod selective;
#[cfg(test)]
mod tests;

/// A service node, honest or not.
#[derive(Debug)]
pub(crate) struct Server {
    node: Node,
    mutant: Option<Mutant>,
    adversary: Option<Adversary>,
    /// Sends acks in the name of other nodes, if a mutant lets devices believe them.
    coordinator: Option<Coordinator>,
    outputs: VecDeque<proto::Output<NodeEvent>>,
}

/// What a server needs to know before it opens.
#[derive(Clone, Debug)]
pub(crate) struct ServerConfig {
    /// The node's own settings.
    pub(crate) node: NodeConfig,
    /// How it attacks, if it does.
    pub(crate) behaviour: Option<Behaviour>,
    /// What is broken about it, if anything.
    pub(crate) mutant: Option<Mutant>,
    /// The keys of all nodes, for a mutant that speaks for others.
    pub(crate) keys: Vec<SigningKey>,
    /// What its behaviour is drawn from. An honest node draws nothing.
    pub(crate) rng: Rng,
}

impl Server {
    /// How full the node's collections are.
    pub(crate) fn gauges(&self) -> Vec<proto::Gauge> {
        self.node.gauges()
    }

    /// What the node has counted so far. Of what its adversary swallowed it knows nothing.
    #[cfg(test)]
    pub(crate) fn counters(&self) -> &node::Counters {
        self.node.counters()
    }

    fn on_node<T>(&mut self, rows: &dyn Rows, act: impl FnOnce(&mut Node, &dyn Rows) -> T) -> T {
        match self.mutant {
            Some(Mutant::NoDuplicateCheck) => act(&mut self.node, &Forgetful(rows)),
            Some(
                Mutant::AcceptBeforeCommit | Mutant::TimelineByArrival | Mutant::TrustCoordinator,
            )
            | None => act(&mut self.node, rows),
        }
    }

    fn next_output(&mut self) -> Option<proto::Output<NodeEvent>> {
        match &mut self.adversary {
            Some(adversary) => adversary.output.next_output(),
            None => self.node.poll_output(),
        }
    }
}

impl Machine for Server {
    type Config = ServerConfig;
    type Command = NodeCommand;
    type Event = NodeEvent;

    fn open(
        config: ServerConfig,
        seed: Seed,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<Self, OpenError> {
        let ServerConfig { node, behaviour, mutant, keys, rng } = config;
        let speaks_for_all = mutant == Some(Mutant::TrustCoordinator);
        let own = node.node;
        let adversary = behaviour.map(|behaviour| Adversary::new(behaviour, node.key.clone(), rng));
        let others = keys.into_iter().filter(|key| key.public().0 != own.0);
        Ok(Self {
            node: Node::open(node, seed, now, rows)?,
            mutant,
            adversary,
            coordinator: speaks_for_all.then(|| Coordinator::new(others)),
            outputs: VecDeque::new(),
        })
    }

    fn prefetch(&mut self, coming: &[(Peer, Frame)], rows: &dyn Rows) {
        // Foreseen frames may come bent or not at all, so an adversary's node may be told as well.
        self.on_node(rows, |node, rows| node.prefetch(coming, rows));
    }

    fn handle(&mut self, input: Input<NodeCommand>, now: Instant, rows: &dyn Rows) {
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.hear(&input);
        }
        let due = self.node.poll_timeout();
        let input = match &mut self.adversary {
            Some(adversary) => adversary.hear(input, now, due),
            None => Some(input),
        };
        if let Some(input) = input {
            self.on_node(rows, |node, rows| node.handle(input, now, rows));
        }
        if let Some(adversary) = &mut self.adversary {
            while let Some(output) = self.node.poll_output() {
                adversary.say(output);
            }
        }
    }

    fn poll_output(&mut self) -> Option<proto::Output<NodeEvent>> {
        if self.outputs.is_empty() {
            let output = self.next_output()?;
            if let Some(coordinator) = &mut self.coordinator {
                self.outputs.extend(coordinator.precede(&output));
            }
            self.outputs.push_back(output);
        }
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let held = self.adversary.as_ref().and_then(|adversary| adversary.output.poll_timeout());
        self.node.poll_timeout().into_iter().chain(held).min()
    }
}

/// Sits between a node and its peers.
#[derive(Debug)]
struct Adversary {
    behaviour: Box<dyn Behave>,
    output: Output,
}

impl Adversary {
    /// One that signs with the key of its node.
    fn new(behaviour: Behaviour, key: Option<SigningKey>, mut rng: Rng) -> Self {
        let behaviour: Box<dyn Behave> = match behaviour {
            Behaviour::DropsAccepted => Box::new(answer::DropsAccepted::new(key)),
            Behaviour::Withholds => Box::new(selective::Withholds::new(&mut rng)),
            Behaviour::Replays => Box::<selective::Replays>::default(),
            Behaviour::Forges => Box::<forge::Forges>::default(),
            Behaviour::Equivocates => Box::new(selective::Equivocates::new(&mut rng)),
            Behaviour::Dawdles => Box::<late::Dawdles>::default(),
            Behaviour::Floods => Box::<forge::Floods>::default(),
            Behaviour::Shuffles => Box::new(late::Shuffles),
            Behaviour::Refuses => Box::new(answer::Refuses),
        };
        Self { behaviour, output: Output::new(rng) }
    }

    /// Takes an input; returns what the node gets of it. `due` is when the node's own time comes.
    fn hear(
        &mut self,
        input: Input<NodeCommand>,
        now: Instant,
        due: Option<Instant>,
    ) -> Option<Input<NodeCommand>> {
        self.output.wake(now);
        match input {
            Input::Frame(peer, frame) => {
                let heard = self.behaviour.hear(peer, frame, &mut self.output)?;
                Some(Input::Frame(peer, heard))
            }
            Input::Connected(peer, _) | Input::Disconnected(peer) => {
                self.behaviour.forget(peer);
                self.output.forget(peer);
                Some(input)
            }
            Input::Timeout => due.is_some_and(|due| due <= now).then_some(input),
            Input::Command(_) | Input::Reached(_) => Some(input),
        }
    }

    /// Takes an output of the node. What follows a commit stays behind it.
    fn say(&mut self, output: proto::Output<NodeEvent>) {
        match output {
            proto::Output::Transmit(peer, frame) => {
                self.behaviour.say(peer, frame, &mut self.output);
            }
            proto::Output::Disconnect(peer) => {
                self.output.let_out(peer);
                self.behaviour.forget(peer);
                self.output.pass(output);
            }
            proto::Output::Commit(_)
            | proto::Output::Note(_)
            | proto::Output::Connect(..)
            | proto::Output::Reach(_)
            | proto::Output::Event(_) => {
                self.output.pass(output);
            }
        }
    }
}
