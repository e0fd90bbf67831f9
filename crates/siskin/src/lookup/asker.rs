//! The machine of a device that sends one request.

use std::{collections::VecDeque, time::Duration};

use proto::{
    Body, Code, Frame, Hello, Hop, Input, Instant, Key, Machine, NodeAddress, OpenError, Output,
    Peer, PublicKey, Record, Routing, Rows, Seed, VERSIONS,
};

/// What to ask, and which node.
pub(super) struct Question {
    pub(super) node: NodeAddress,
    pub(super) ask: Ask,
}

/// What to ask.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// Look up a record.
    Lookup { target: Key, trace: bool },
    /// Draw nodes at random.
    Sample,
}

/// The answer of a node.
pub(super) struct Answer {
    pub(super) word: Word,
    /// Round-trip time of a request for a record that the node has stored.
    pub(super) round_trip: Duration,
}

pub(super) enum Word {
    Found(Option<Record>, Vec<Hop>),
    /// Signed records, and their round-trip time from the node that was asked, in milliseconds.
    Sampled(Vec<(Vec<u8>, u32)>),
    Refused(Code),
}

/// Asks after the handshake.
pub(super) struct Asker {
    question: Question,
    nonce: [u8; 16],
    asked: Instant,
    round_trip: Duration,
    outputs: VecDeque<Output<Answer>>,
}

impl Machine for Asker {
    type Config = Question;
    type Command = ();
    type Event = Answer;

    fn open(question: Question, seed: Seed, now: Instant, _: &dyn Rows) -> Result<Self, OpenError> {
        let NodeAddress { node, addresses } = question.node.clone();
        let nonce = seed.0.first_chunk::<16>().copied().unwrap_or_default();
        let outputs = VecDeque::from([Output::Connect(PublicKey(node.0), addresses)]);
        Ok(Self { question, nonce, asked: now, round_trip: Duration::ZERO, outputs })
    }

    fn handle(&mut self, input: Input<()>, now: Instant, _: &dyn Rows) {
        match input {
            Input::Connected(peer, _) => {
                let hello = Hello { versions: VERSIONS, nonce: self.nonce };
                self.outputs.push_back(Output::Transmit(peer, Frame::new(Body::Hello(hello))));
            }
            Input::Frame(peer, frame) => self.on_frame(peer, frame, now),
            Input::Command(()) | Input::Disconnected(_) | Input::Reached(_) | Input::Timeout => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output<Answer>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

impl Asker {
    fn on_frame(&mut self, peer: Peer, Frame { request, body }: Frame, now: Instant) {
        if let Body::Hello(_) = body {
            self.asked = now;
            let find = Routing::Find { target: self.question.node.node.into(), record: true };
            self.request(peer, FIRST, find);
        } else if request == FIRST {
            self.round_trip = now.since(self.asked);
            let ask = match self.question.ask {
                Ask::Lookup { target, trace } => Routing::Lookup { target, trace },
                Ask::Sample => Routing::Sample,
            };
            self.request(peer, REQUEST, ask);
        } else if request != REQUEST {
            // Not an answer to a request of this machine.
        } else if let Body::Routing(Routing::LookedUp { record, hops }) = body {
            self.answered(Word::Found(record, hops));
        } else if let Body::Routing(Routing::Sampled(nodes)) = body {
            self.answered(Word::Sampled(nodes));
        } else if let Body::Refused { code, .. } = body {
            self.answered(Word::Refused(code));
        }
    }

    fn answered(&mut self, word: Word) {
        let round_trip = self.round_trip;
        self.outputs.push_back(Output::Event(Answer { word, round_trip }));
    }

    fn request(&mut self, peer: Peer, request: u32, routing: Routing) {
        let frame = Frame { request, body: Body::Routing(routing) };
        self.outputs.push_back(Output::Transmit(peer, frame));
    }
}

/// Measures the round-trip time, whatever the answer.
const FIRST: u32 = 1;
const REQUEST: u32 = 2;
