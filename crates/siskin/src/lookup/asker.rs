//! The machine of a device that has one question.

use std::collections::VecDeque;

use proto::{
    Body, Code, Frame, Hello, Hop, Input, Instant, Key, Machine, NodeAddress, OpenError, Output,
    Peer, PublicKey, Record, Routing, Rows, Seed, VERSIONS,
};

/// What to ask, and whom.
pub(super) struct Question {
    pub(super) node: NodeAddress,
    pub(super) target: Key,
    pub(super) trace: bool,
}

/// What came of it.
pub(super) enum Word {
    Found(Option<Record>, Vec<Hop>),
    Refused(Code),
}

/// Asks once it has been greeted.
pub(super) struct Asker {
    question: Question,
    nonce: [u8; 16],
    outputs: VecDeque<Output<Word>>,
}

impl Machine for Asker {
    type Config = Question;
    type Command = ();
    type Event = Word;

    fn open(question: Question, seed: Seed, _: Instant, _: &dyn Rows) -> Result<Self, OpenError> {
        let NodeAddress { node, addresses } = question.node.clone();
        let nonce = seed.0.first_chunk::<16>().copied().unwrap_or_default();
        let outputs = VecDeque::from([Output::Connect(PublicKey(node.0), addresses)]);
        Ok(Self { question, nonce, outputs })
    }

    fn handle(&mut self, input: Input<()>, _: Instant, _: &dyn Rows) {
        match input {
            Input::Connected(peer, _) => {
                let hello = Hello { versions: VERSIONS, nonce: self.nonce };
                self.say(peer, Frame::new(Body::Hello(hello)));
            }
            Input::Frame(peer, frame) => self.frame(peer, frame),
            Input::Command(()) | Input::Disconnected(_) | Input::Relayed(..) | Input::Timeout => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output<Word>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

impl Asker {
    fn frame(&mut self, peer: Peer, Frame { request, body }: Frame) {
        if let Body::Hello(_) = body {
            let Question { target, trace, .. } = self.question;
            let body = Body::Routing(Routing::Lookup { target, trace });
            self.say(peer, Frame { request: REQUEST, body });
        } else if request != REQUEST {
            // Not for us.
        } else if let Body::Routing(Routing::LookedUp { record, hops }) = body {
            self.outputs.push_back(Output::Event(Word::Found(record, hops)));
        } else if let Body::Refused { code, .. } = body {
            self.outputs.push_back(Output::Event(Word::Refused(code)));
        }
    }

    fn say(&mut self, peer: Peer, frame: Frame) {
        self.outputs.push_back(Output::Transmit(peer, frame));
    }
}

const REQUEST: u32 = 1;
