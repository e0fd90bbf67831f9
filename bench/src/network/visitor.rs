//! An unknown device with one request to one node.

use std::{
    collections::VecDeque,
    time::{Duration, Instant as Moment},
};

use anyhow::{Context, Result};
use net::{Driver, Identity, Keys, Settings};
use proto::{
    Body, Frame, Hello, Input, Instant, Machine, NodeAddress, OpenError, Output, PublicKey, Rows,
    Seed, VERSIONS,
};
use store::Memory;
use tokio::time::timeout;

/// What a node has answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Body,
    /// From the first packet until the node had said Hello.
    pub(super) met: Duration,
    /// From the question until the answer.
    pub(super) took: Duration,
}

/// Asks a node something, over a connection of its own with a key of its own.
pub(super) async fn ask(node: NodeAddress, question: Body) -> Result<Answer> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let settings = Settings::new(Keys::One(Identity::from_seed(seed)));
    let mut running = Driver::<Visitor>::start(settings, (node, question), Memory::new()).await?;
    let mut events = running.take_events().context("no events")?;
    timeout(PATIENCE, events.recv()).await.context("no answer in time")?.context("no answer")
}

struct Visitor {
    question: Option<Body>,
    began: Moment,
    met: Duration,
    asked: Moment,
    outputs: VecDeque<Output<Answer>>,
}

impl Machine for Visitor {
    type Config = (NodeAddress, Body);
    type Command = ();
    type Event = Answer;

    fn open(config: Self::Config, _: Seed, _: Instant, _: &dyn Rows) -> Result<Self, OpenError> {
        let (node, question) = config;
        let connect = Output::Connect(PublicKey(node.node.0), node.addresses);
        Ok(Self {
            question: Some(question),
            began: Moment::now(),
            met: Duration::ZERO,
            asked: Moment::now(),
            outputs: VecDeque::from([connect]),
        })
    }

    fn handle(&mut self, input: Input<()>, _: Instant, _: &dyn Rows) {
        match input {
            Input::Connected(peer, _) => {
                let hello = Body::Hello(Hello { versions: VERSIONS, nonce: [1; 16] });
                self.outputs.push_back(Output::Transmit(peer, Frame::new(hello)));
            }
            Input::Frame(peer, Frame { request, body }) => {
                if let (Body::Hello(_), Some(question)) = (&body, self.question.take()) {
                    self.met = self.began.elapsed();
                    self.asked = Moment::now();
                    let frame = Frame { request: REQUEST, body: question };
                    self.outputs.push_back(Output::Transmit(peer, frame));
                } else if request == REQUEST {
                    let took = self.asked.elapsed();
                    self.outputs.push_back(Output::Event(Answer { body, met: self.met, took }));
                }
            }
            _ => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output<Answer>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

const REQUEST: u32 = 1;
/// All paths wait for nodes that are gone, one after the other.
const PATIENCE: Duration = Duration::from_secs(20);
