//! Events on their way from the machine to the application.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, OnceLock},
    thread::Thread,
};

use tokio::sync::Notify;

use crate::lock::lock;

/// The machine's events for the application, in order.
///
/// None is lost: while [`EVENTS_MAX`] wait, the machine takes no more frames from its peers. It
/// still takes commands and reads, so that an application that waits for those can't block itself.
/// Dropping this discards events.
pub struct Events<E>(Arc<EventQueue<E>>);

impl<E> Events<E> {
    /// Returns the next event; `None` once the driver has stopped and all were taken.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "one reader at a time")]
    pub async fn recv(&mut self) -> Option<E> {
        loop {
            // Created before the queue is checked, so that an event pushed in between wakes it.
            let news = self.0.news.notified();
            // Read before the queue is checked as well: nothing is pushed after the close.
            let closed = lock(&self.0.state).closed;
            if let Some(event) = self.0.pop() {
                return Some(event);
            }
            if closed {
                return None;
            }
            news.await;
        }
    }

    /// Returns the next event if there is one now.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "one reader at a time")]
    pub fn try_recv(&mut self) -> Option<E> {
        self.0.pop()
    }
}

impl<E> Drop for Events<E> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.unread = true;
        let discarded = std::mem::take(&mut state.waiting);
        drop(state);
        drop(discarded);
        if let Some(machine) = self.0.machine.get() {
            machine.unpark();
        }
    }
}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

/// The queue behind [`Events`].
pub(crate) struct EventQueue<E> {
    state: Mutex<State<E>>,
    news: Notify,
    machine: OnceLock<Thread>,
}

struct State<E> {
    waiting: VecDeque<E>,
    /// The reader was dropped.
    unread: bool,
    closed: bool,
}

impl<E> EventQueue<E> {
    pub(crate) fn open() -> (Arc<Self>, Events<E>) {
        let state = State { waiting: VecDeque::new(), unread: false, closed: false };
        let queue = Arc::new(Self {
            state: Mutex::new(state),
            news: Notify::new(),
            machine: OnceLock::new(),
        });
        (Arc::clone(&queue), Events(queue))
    }

    /// Names the thread to wake when there is room again.
    pub(crate) fn set_machine(&self, machine: Thread) {
        let _ = self.machine.set(machine);
    }

    pub(crate) fn push(&self, event: E) {
        let mut state = lock(&self.state);
        if !state.unread {
            state.waiting.push_back(event);
            drop(state);
            self.news.notify_one();
        }
    }

    fn pop(&self) -> Option<E> {
        let mut state = lock(&self.state);
        let event = state.waiting.pop_front();
        let reopened = event.is_some() && state.waiting.len() == EVENTS_MAX.saturating_sub(1);
        drop(state);
        if let (true, Some(machine)) = (reopened, self.machine.get()) {
            machine.unpark();
        }
        event
    }

    pub(crate) fn is_full(&self) -> bool {
        lock(&self.state).waiting.len() >= EVENTS_MAX
    }

    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.news.notify_one();
    }
}

/// A few seconds of a busy machine.
const EVENTS_MAX: usize = 4096;
