//! The machine of a device that has one question.

use std::{collections::VecDeque, time::Duration};

use proto::{
    Body, Code, Frame, Hello, Hop, Input, Instant, Key, Machine, NodeAddress, OpenError, Output,
    Peer, PublicKey, Record, Routing, Rows, Seed, VERSIONS,
};

/// What to ask, and whom.
pub(super) struct Question {
    pub(super) node: NodeAddress,
    pub(super) ask: Ask,
}

/// What to ask.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// For a record.
    Lookup { target: Key, trace: bool },
    /// For nodes drawn at random.
    Sample,
}

/// What came of it.
pub(super) struct Answer {
    pub(super) word: Word,
    /// The time to the node and back, for something that it has at hand.
    pub(super) round_trip: Duration,
}

pub(super) enum Word {
    Found(Option<Record>, Vec<Hop>),
    /// Signed records, and milliseconds from the node that was asked and back.
    Sampled(Vec<(Vec<u8>, u32)>),
    Refused(Code),
}

/// Asks once it has been greeted.
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
                self.say(peer, Frame::new(Body::Hello(hello)));
            }
            Input::Frame(peer, frame) => self.frame(peer, frame, now),
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
    fn frame(&mut self, peer: Peer, Frame { request, body }: Frame, now: Instant) {
        if let Body::Hello(_) = body {
            self.asked = now;
            let find = Routing::Find { target: self.question.node.node.into(), record: true };
            self.say(peer, Frame { request: FIRST, body: Body::Routing(find) });
        } else if request == FIRST {
            self.round_trip = now.since(self.asked);
            let ask = match self.question.ask {
                Ask::Lookup { target, trace } => Routing::Lookup { target, trace },
                Ask::Sample => Routing::Sample,
            };
            self.say(peer, Frame { request: REQUEST, body: Body::Routing(ask) });
        } else if request != REQUEST {
            // Not for us.
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

    fn say(&mut self, peer: Peer, frame: Frame) {
        self.outputs.push_back(Output::Transmit(peer, frame));
    }
}

/// Whatever comes back, it shows how far the node is.
const FIRST: u32 = 1;
const REQUEST: u32 = 2;
