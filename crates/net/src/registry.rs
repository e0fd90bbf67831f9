//! Who is connected, which connections the machine should serve next, and what was counted.
//!
//! The registry is where the machine's thread and the tasks meet. It starts no task and knows
//! none; see [`Spawner`](crate::spawner::Spawner).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, OnceLock},
    thread::Thread,
    time::Duration,
};

use proto::{Code, Peer};

use crate::{
    Counters, Settings,
    clock::Clock,
    counters::Tally,
    link::{Ending, Link},
    lock::lock,
};

/// The connections of one driver.
#[derive(Debug)]
pub(crate) struct Registry {
    settings: Settings,
    clock: Clock,
    tally: Tally,
    machine: OnceLock<Thread>,
    /// The one connection of each peer.
    links: Mutex<BTreeMap<Peer, Arc<Link>>>,
    /// Links that the machine should serve, each once, in turn.
    ready: Mutex<VecDeque<Arc<Link>>>,
    /// Results of dial probes that the machine has not taken yet.
    tried: Mutex<Vec<(Peer, bool)>>,
}

impl Registry {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            clock: Clock::start(),
            tally: Tally::default(),
            machine: OnceLock::new(),
            links: Mutex::default(),
            ready: Mutex::default(),
            tried: Mutex::default(),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the clock of the machine and of the relays.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Names the thread that [`Self::wake_machine`] wakes.
    pub(crate) fn set_machine(&self, machine: Thread) {
        let _ = self.machine.set(machine);
    }

    pub(crate) fn wake_machine(&self) {
        if let Some(machine) = self.machine.get() {
            machine.unpark();
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        let links = lock(&self.links);
        let mut counters = self.tally.read();
        for link in links.values() {
            counters.include(&link.connection().stats());
        }
        counters
    }

    /// Makes `link` the one to its peer, replacing an older one. Returns false if it must yield.
    pub(crate) fn join(&self, link: &Arc<Link>) -> bool {
        let mut links = lock(&self.links);
        if let Some(old) = links.get(&link.peer()) {
            if self.should_yield(link, old) {
                drop(links);
                link.connection().close(quinn::VarInt::from_u32(Code::Replaced as u32), b"");
                return false;
            }
            old.end(Ending::Now(Code::Replaced));
        }
        links.insert(link.peer(), Arc::clone(link));
        // Under the lock, so that the machine learns of links in the order in which they joined.
        self.mark_ready(link);
        true
    }

    /// Returns whether the new link must yield to the old one.
    ///
    /// Usually the newer one wins, for it proves that the peer is there now. Only if both sides
    /// dialled at the same time must they agree: then the dial of the smaller key wins, once. A
    /// peer that dials again has lost that connection, for instance because it was restarted.
    fn should_yield(&self, new: &Link, old: &Link) -> bool {
        if new.is_dialled() == old.is_dialled() || old.age() > SIMULTANEOUS {
            return false;
        }
        let ours_is_smaller = self.settings.keys.towards(&new.peer()).public() < new.peer();
        old.is_dialled() == ours_is_smaller && old.mark_prevailed()
    }

    pub(crate) fn link(&self, peer: &Peer) -> Option<Arc<Link>> {
        lock(&self.links).get(peer).cloned()
    }

    pub(crate) fn leave(&self, link: &Arc<Link>) {
        let mut links = lock(&self.links);
        if links.get(&link.peer()).is_some_and(|current| Arc::ptr_eq(current, link)) {
            links.remove(&link.peer());
        }
        drop(links);
        link.mark_ended();
        self.mark_ready(link);
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.links).is_empty()
    }

    /// Has the machine serve a link.
    pub(crate) fn mark_ready(&self, link: &Arc<Link>) {
        if link.mark_ready() {
            lock(&self.ready).push_back(Arc::clone(link));
            self.wake_machine();
        }
    }

    /// Takes the next link to serve.
    pub(crate) fn next_ready(&self) -> Option<Arc<Link>> {
        lock(&self.ready).pop_front()
    }

    /// Puts a link that has more frames behind all others.
    pub(crate) fn requeue(&self, link: Arc<Link>) {
        lock(&self.ready).push_back(link);
    }

    /// Reports whether a peer could be dialled.
    pub(crate) fn report_tried(&self, peer: Peer, is_there: bool) {
        lock(&self.tried).push((peer, is_there));
        self.wake_machine();
    }

    /// Takes the reports since the last call.
    pub(crate) fn take_tried(&self) -> Vec<(Peer, bool)> {
        std::mem::take(&mut *lock(&self.tried))
    }
}

/// Within this time two connections in opposite directions count as dialled simultaneously.
const SIMULTANEOUS: Duration = Duration::from_secs(5);
