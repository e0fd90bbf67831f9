//! Requests of this node on one connection. Three parts of the node send requests to other nodes,
//! each numbering its own. A request keeps its number on the wire unless that number is open
//! already; then it gets the next free one. So an answer belongs to exactly one request.

use std::collections::BTreeMap;

use proto::{Body, Frame, Routing, limits};

/// The part of the node that has sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Replica,
    AntiEntropy,
    Router,
}

/// A request that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) asker: Asker,
    /// Its number as the asker knows it.
    pub(crate) number: u32,
}

/// The open requests of one connection, by their number on the wire.
#[derive(Debug, Default)]
pub(super) struct Requests(BTreeMap<u32, Asked>);

impl Requests {
    /// Gives a frame of a part its number on the wire, if the frame is a request.
    pub(super) fn assign_number(&mut self, asker: Asker, frame: &mut Frame) {
        if frame.request == 0 || !is_request(&frame.body) {
            return;
        }
        match asker {
            // It has one request at a time.
            Asker::AntiEntropy => self.forget(asker),
            // It drops requests that time out, and they stay here until they make room.
            Asker::Router => self.make_room(asker),
            Asker::Replica => {}
        }
        let number = frame.request;
        while frame.request == 0 || self.0.contains_key(&frame.request) {
            frame.request = frame.request.wrapping_add(1);
        }
        self.0.insert(frame.request, Asked { asker, number });
    }

    /// Takes the request that a frame answers.
    pub(super) fn take(&mut self, frame: &Frame) -> Option<Asked> {
        let asked = self.0.get(&frame.request).copied()?;
        if !may_answer(asked.asker, &frame.body) {
            return None;
        }
        self.0.remove(&frame.request)
    }

    /// Forgets the requests of a part.
    pub(super) fn forget(&mut self, asker: Asker) {
        self.0.retain(|_, asked| asked.asker != asker);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets the oldest request of a part that has too many. The oldest has timed out: the router
    /// has at most 64 requests open at one peer.
    fn make_room(&mut self, asker: Asker) {
        let of_asker = || self.0.iter().filter(|(_, asked)| asked.asker == asker);
        if of_asker().count() >= ROUTER_MAX
            && let Some(oldest) = of_asker().map(|(number, _)| *number).next()
        {
            self.0.remove(&oldest);
        }
    }
}

fn is_request(body: &Body) -> bool {
    matches!(
        body,
        Body::Replicate(_)
            | Body::Append { .. }
            | Body::Recruit(_)
            | Body::PutBundle(_)
            | Body::Compare(_)
            | Body::Lacking { .. }
            | Body::Routing(
                Routing::Find { .. }
                    | Routing::Store { .. }
                    | Routing::Probe { .. }
                    | Routing::Sample
                    | Routing::Lookup { .. }
                    | Routing::AskRelay
            )
    )
}

/// Returns whether a frame may be the answer to a request of this part.
fn may_answer(asker: Asker, body: &Body) -> bool {
    match (asker, body) {
        (_, Body::Accepted { .. } | Body::Refused { .. })
        | (Asker::Replica, Body::Opened { .. })
        | (Asker::AntiEntropy, Body::Symbols(_)) => true,
        (Asker::Router, Body::Routing(word)) => matches!(
            word,
            Routing::Found { .. }
                | Routing::Probed(_)
                | Routing::Sampled(_)
                | Routing::LookedUp { .. }
                | Routing::RelayIs { .. }
        ),
        _ => false,
    }
}

/// Requests of one connection: a full window of entries and 64 openings, a record, a comparison,
/// and those of the router.
pub(super) const REQUESTS_MAX: usize = limits::QUEUE_FRAMES_MAX + 64 + 2 + ROUTER_MAX;
/// Requests of the router: twice as many as it has open, since some have timed out.
const ROUTER_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use proto::{Code, Key};

    use super::*;

    fn find(request: u32) -> Frame {
        let find = Routing::Find { target: Key([1; 32]), record: false };
        Frame { request, body: Body::Routing(find) }
    }

    fn put(request: u32) -> Frame {
        Frame { request, body: Body::PutBundle(vec![1]) }
    }

    fn refusal(request: u32) -> Frame {
        Frame { request, body: Body::Refused { code: Code::Busy, newer: Vec::new() } }
    }

    #[test]
    fn an_answer_belongs_to_one_request() {
        let mut requests = Requests::default();
        let (mut one, mut other) = (find(7), put(7));
        requests.assign_number(Asker::Router, &mut one);
        requests.assign_number(Asker::Replica, &mut other);
        assert_eq!((one.request, other.request), (7, 8));
        let symbols = Frame { request: 8, body: Body::Symbols(Vec::new()) };
        assert_eq!(requests.take(&symbols), None, "not to replication");
        let asked = |asker| Some(Asked { asker, number: 7 });
        assert_eq!(requests.take(&refusal(8)), asked(Asker::Replica));
        assert_eq!(requests.take(&refusal(8)), None, "once");
        assert_eq!(requests.take(&refusal(7)), asked(Asker::Router));
        assert_eq!(requests.len(), 0);
    }

    #[test]
    fn answers_keep_the_number_of_the_question() {
        let mut requests = Requests::default();
        let mut answer = refusal(7);
        requests.assign_number(Asker::AntiEntropy, &mut answer);
        assert_eq!((answer.request, requests.len()), (7, 0));
    }

    #[test]
    fn the_oldest_requests_of_the_router_make_room() {
        let mut requests = Requests::default();
        requests.assign_number(Asker::Replica, &mut put(1));
        for number in 1..=1000 {
            requests.assign_number(Asker::Router, &mut find(number));
            assert!(requests.len() <= REQUESTS_MAX);
        }
        assert_eq!(requests.len(), ROUTER_MAX.saturating_add(1));
        assert!(requests.take(&refusal(1)).is_some(), "that of replication stays");
    }
}
