//! Requests to a machine that wait for its answers.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The requests under way, each under the ticket that its answer carries.
#[derive(Debug)]
pub(crate) struct PendingRequests<A> {
    state: Mutex<State<A>>,
}

#[derive(Debug)]
struct State<A> {
    last: u64,
    waiting: BTreeMap<u64, oneshot::Sender<A>>,
    closed: bool,
}

impl<A> PendingRequests<A> {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State { last: 0, waiting: BTreeMap::new(), closed: false }) }
    }

    /// Opens a request. Returns its ticket and where the answer will arrive, or nothing once the
    /// machine has stopped.
    pub(crate) fn open(&self) -> Option<(u64, oneshot::Receiver<A>)> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        // A caller that stopped waiting has dropped its end.
        state.waiting.retain(|_, answer| !answer.is_closed());
        state.last = state.last.wrapping_add(1);
        let ticket = state.last;
        state.waiting.insert(ticket, answer);
        Some((ticket, answered))
    }

    /// Hands an answer to the caller that waits for it.
    pub(crate) fn resolve(&self, ticket: u64, answer: A) {
        if let Some(caller) = self.lock().waiting.remove(&ticket) {
            // The caller may have stopped waiting.
            let _ = caller.send(answer);
        }
    }

    /// Fails all open requests and refuses further ones.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
    }

    /// The state is consistent whenever the lock is free, so a panic elsewhere doesn't spoil it.
    fn lock(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_goes_to_the_caller_with_its_ticket() {
        let pending = PendingRequests::new();
        let (first, mut first_answered) = pending.open().unwrap();
        let (second, mut second_answered) = pending.open().unwrap();
        pending.resolve(second, 'b');
        pending.resolve(first, 'a');
        pending.resolve(first, 'c');
        assert_eq!((first_answered.try_recv(), second_answered.try_recv()), (Ok('a'), Ok('b')));
    }

    #[test]
    fn a_caller_that_stopped_waiting_takes_no_room() {
        let pending = PendingRequests::<()>::new();
        for _ in 0..100 {
            drop(pending.open());
        }
        assert!(pending.lock().waiting.len() <= 1);
    }

    #[test]
    fn no_caller_waits_for_a_machine_that_has_stopped() {
        let pending = PendingRequests::<()>::new();
        let (_, mut answered) = pending.open().unwrap();
        pending.close();
        assert_eq!(answered.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(pending.open().is_none());
    }
}
