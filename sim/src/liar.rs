//! Service nodes as the simulator runs them: the real node as it is, or behind a liar who bends
//! what it hears and says.
//!
//! ```text
//!  peer ──frame──▶ Manner::hear ──▶ Node ──▶ Manner::say ──▶ Mouth ──▶ peer
//!                     └───────── answers of its own ──────────▲
//! ```
//!
//! A liar does honestly whatever it doesn't lie about, keeps the contract of a machine, and says
//! only frames that can be written. What it remembers lives as long as its process. A lie that
//! marks entries does so by their ciphertexts and its dice: opened with the same dice it marks the
//! same ones. What each liar does: `spec/faults.md`, section 3.

use std::{collections::VecDeque, fmt};

use crypto::SigningKey;
use node::{Node, NodeCommand, NodeConfig, NodeEvent};
use proto::{Frame, Input, Instant, Machine, OpenError, Output, Peer, Rows, Seed};

use crate::{
    Lie, Mutant,
    dice::Dice,
    mutant::{Coordinator, Forgetful},
};
use mouth::Mouth;

mod answer;
mod forge;
mod late;
mod mouth;
mod story;
#[cfg(test)]
mod tests;

/// A service node, honest or not.
#[derive(Debug)]
pub(crate) struct Server {
    node: Node,
    mutant: Option<Mutant>,
    liar: Option<Liar>,
    /// Says more than the node does, if its word is taken for that of others.
    coordinator: Option<Coordinator>,
    outputs: VecDeque<Output<NodeEvent>>,
}

/// What a server needs to know before it opens.
#[derive(Clone, Debug)]
pub(crate) struct ServerConfig {
    /// The node's own settings.
    pub(crate) node: NodeConfig,
    /// How it lies, if it does.
    pub(crate) lie: Option<Lie>,
    /// What is broken about it, if anything.
    pub(crate) mutant: Option<Mutant>,
    /// The keys of all nodes, for a mutant that speaks for others.
    pub(crate) keys: Vec<SigningKey>,
    /// What its lies are drawn from. An honest node draws nothing.
    pub(crate) dice: Dice,
}

impl Server {
    /// How full the node's collections are.
    pub(crate) fn gauges(&self) -> Vec<proto::Gauge> {
        self.node.gauges()
    }

    /// What the node has counted so far. Of what its liar swallowed it knows nothing.
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

    fn next_output(&mut self) -> Option<Output<NodeEvent>> {
        match &mut self.liar {
            Some(liar) => liar.mouth.next_output(),
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
        let ServerConfig { node, lie, mutant, keys, dice } = config;
        let speaks_for_all = mutant == Some(Mutant::TrustCoordinator);
        let own = node.node;
        let liar = lie.map(|lie| Liar::new(lie, node.key.clone(), dice));
        let others = keys.into_iter().filter(|key| key.public().0 != own.0);
        Ok(Self {
            node: Node::open(node, seed, now, rows)?,
            mutant,
            liar,
            coordinator: speaks_for_all.then(|| Coordinator::new(others)),
            outputs: VecDeque::new(),
        })
    }

    fn foresee(&mut self, coming: &[(Peer, Frame)], rows: &dyn Rows) {
        // Foreseen frames may come bent or not at all, so a liar's node may be told as well.
        self.on_node(rows, |node, rows| node.foresee(coming, rows));
    }

    fn handle(&mut self, input: Input<NodeCommand>, now: Instant, rows: &dyn Rows) {
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.hear(&input);
        }
        let due = self.node.poll_timeout();
        let input = match &mut self.liar {
            Some(liar) => liar.hear(input, now, due),
            None => Some(input),
        };
        if let Some(input) = input {
            self.on_node(rows, |node, rows| node.handle(input, now, rows));
        }
        if let Some(liar) = &mut self.liar {
            while let Some(output) = self.node.poll_output() {
                liar.say(output);
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output<NodeEvent>> {
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
        let held = self.liar.as_ref().and_then(|liar| liar.mouth.poll_timeout());
        self.node.poll_timeout().into_iter().chain(held).min()
    }
}

/// Somebody between a node and those it talks to.
#[derive(Debug)]
struct Liar {
    manner: Box<dyn Manner>,
    mouth: Mouth,
}

/// A way of lying. What it doesn't say otherwise is honest.
trait Manner: fmt::Debug {
    /// Takes what a peer says; returns what the node gets to hear of it.
    fn hear(&mut self, _peer: Peer, frame: Frame, _mouth: &mut Mouth) -> Option<Frame> {
        Some(frame)
    }

    /// Takes what the node wants to say; says that, or something else.
    fn say(&mut self, peer: Peer, frame: Frame, mouth: &mut Mouth) {
        mouth.say(peer, frame);
    }

    /// The connection of a peer has ended.
    fn forget(&mut self, _peer: Peer) {}
}

impl Liar {
    /// One that signs with the key of its node.
    fn new(lie: Lie, key: Option<SigningKey>, mut dice: Dice) -> Self {
        let manner: Box<dyn Manner> = match lie {
            Lie::DropsAccepted => Box::new(answer::DropsAccepted::new(key)),
            Lie::Withholds => Box::new(story::Withholds::new(&mut dice)),
            Lie::Replays => Box::<story::Replays>::default(),
            Lie::Forges => Box::<forge::Forges>::default(),
            Lie::Equivocates => Box::new(story::Equivocates::new(&mut dice)),
            Lie::Dawdles => Box::<late::Dawdles>::default(),
            Lie::Floods => Box::<forge::Floods>::default(),
            Lie::Shuffles => Box::new(late::Shuffles),
            Lie::Refuses => Box::new(answer::Refuses),
        };
        Self { manner, mouth: Mouth::new(dice) }
    }

    /// Takes an input; returns what the node gets of it. `due` is when the node's own time comes.
    fn hear(
        &mut self,
        input: Input<NodeCommand>,
        now: Instant,
        due: Option<Instant>,
    ) -> Option<Input<NodeCommand>> {
        self.mouth.wake(now);
        match input {
            Input::Frame(peer, frame) => {
                let heard = self.manner.hear(peer, frame, &mut self.mouth)?;
                Some(Input::Frame(peer, heard))
            }
            Input::Connected(peer, _) | Input::Disconnected(peer) => {
                self.manner.forget(peer);
                self.mouth.forget(peer);
                Some(input)
            }
            Input::Timeout => due.is_some_and(|due| due <= now).then_some(input),
            Input::Command(_) | Input::Reached(_) => Some(input),
        }
    }

    /// Takes an output of the node. What follows a commit stays behind it.
    fn say(&mut self, output: Output<NodeEvent>) {
        match output {
            Output::Transmit(peer, frame) => self.manner.say(peer, frame, &mut self.mouth),
            Output::Disconnect(peer) => {
                self.mouth.let_out(peer);
                self.manner.forget(peer);
                self.mouth.pass(output);
            }
            Output::Commit(_)
            | Output::Note(_)
            | Output::Connect(..)
            | Output::Reach(_)
            | Output::Event(_) => {
                self.mouth.pass(output);
            }
        }
    }
}
