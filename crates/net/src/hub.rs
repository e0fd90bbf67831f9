//! Where links, dials and the machine's thread find each other.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    thread::Thread,
    time::Duration,
};

use proto::{Code, Peer};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    Counters, Settings,
    accept::Gate,
    counters::Tally,
    dial,
    endpoint::Endpoints,
    link::{Ending, Link},
    lock::lock,
};

/// What the tasks of one driver share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) settings: Settings,
    pub(crate) endpoints: Endpoints,
    pub(crate) gate: Gate,
    pub(crate) tally: Tally,
    pub(crate) runtime: Handle,
    machine: OnceLock<Thread>,
    /// The one connection of each peer.
    links: Mutex<BTreeMap<Peer, Arc<Link>>>,
    /// Peers to keep a connection to; the dialling task ends when its sender is dropped.
    dials: Mutex<BTreeMap<Peer, watch::Sender<Vec<SocketAddr>>>>,
    /// Links that the machine should look at, each once, in turn.
    ready: Mutex<VecDeque<Arc<Link>>>,
    /// Whether peers could be dialled, as far as the machine has not been told.
    tried: Mutex<Vec<(Peer, bool)>>,
}

impl Hub {
    pub(crate) fn new(settings: Settings, endpoints: Endpoints) -> Arc<Self> {
        Arc::new(Self {
            gate: Gate::new(&settings),
            settings,
            endpoints,
            tally: Tally::default(),
            runtime: Handle::current(),
            machine: OnceLock::new(),
            links: Mutex::default(),
            dials: Mutex::default(),
            ready: Mutex::default(),
            tried: Mutex::default(),
        })
    }

    /// Names the thread that [`Self::wake_machine`] wakes.
    pub(crate) fn runs_on(&self, machine: Thread) {
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
            counters.include(&link.connection.stats());
        }
        counters
    }

    // Links.

    /// Makes `link` the one to its peer, in place of an older one. Returns false if it is to yield.
    pub(crate) fn join(&self, link: &Arc<Link>) -> bool {
        let mut links = lock(&self.links);
        if let Some(old) = links.get(&link.peer) {
            if self.yields(link, old) {
                drop(links);
                link.connection.close(quinn::VarInt::from_u32(Code::Replaced as u32), b"");
                return false;
            }
            old.end(Ending::Now(Code::Replaced));
        }
        links.insert(link.peer, Arc::clone(link));
        // Under the lock, so that the machine learns of links in the order in which they joined.
        self.is_ready(link);
        true
    }

    /// The newer link wins, for it proves that the peer is there now. Only if both sides dialled at
    /// the same time, they must agree: then the smaller key's dial wins, once. Who dials again has
    /// not got that one, but was started anew and knows nothing of it.
    fn yields(&self, new: &Link, old: &Link) -> bool {
        if new.dialled == old.dialled || old.opened.elapsed() > SIMULTANEOUS {
            return false;
        }
        let ours_is_smaller = self.settings.keys.towards(&new.peer).public() < new.peer;
        old.dialled == ours_is_smaller && old.prevails()
    }

    pub(crate) fn link(&self, peer: &Peer) -> Option<Arc<Link>> {
        lock(&self.links).get(peer).cloned()
    }

    pub(crate) fn leave(&self, link: &Arc<Link>) {
        let mut links = lock(&self.links);
        if links.get(&link.peer).is_some_and(|current| Arc::ptr_eq(current, link)) {
            links.remove(&link.peer);
        }
        drop(links);
        link.ended();
        self.is_ready(link);
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.links).is_empty()
    }

    /// Has the machine look at a link.
    pub(crate) fn is_ready(&self, link: &Arc<Link>) {
        if link.becomes_ready() {
            lock(&self.ready).push_back(Arc::clone(link));
            self.wake_machine();
        }
    }

    /// The next link to look at.
    pub(crate) fn next_ready(&self) -> Option<Arc<Link>> {
        lock(&self.ready).pop_front()
    }

    /// Puts a link which has more to say behind all the others.
    pub(crate) fn stays_ready(&self, link: Arc<Link>) {
        lock(&self.ready).push_back(link);
    }

    // Dials.

    /// Keeps a connection to `peer` from now on; if that is already so, dials at once if need be.
    pub(crate) fn dial(self: &Arc<Self>, peer: Peer, addresses: Vec<SocketAddr>) {
        let mut dials = lock(&self.dials);
        if let Some(dial) = dials.get(&peer) {
            dial.send_replace(addresses);
            return;
        }
        let (sender, receiver) = watch::channel(addresses);
        dials.insert(peer, sender);
        drop(dials);
        self.runtime.spawn(dial::keep(Arc::clone(self), peer, receiver));
    }

    /// Keeps it no longer, and closes it after what was transmitted.
    pub(crate) fn hang_up(&self, peer: &Peer) {
        lock(&self.dials).remove(peer);
        if let Some(link) = self.link(peer) {
            link.end(Ending::Flushed(Code::Done));
        }
    }

    /// Dials whoever is not connected now, without waiting any longer.
    pub(crate) fn dial_now(&self) {
        for dial in lock(&self.dials).values() {
            dial.send_modify(|_| {});
        }
    }

    pub(crate) fn dial_no_more(&self) {
        lock(&self.dials).clear();
    }

    /// Finds out whether a peer can be dialled by somebody it knows nothing of.
    pub(crate) fn try_to_reach(self: &Arc<Self>, peer: Peer, addresses: Vec<SocketAddr>) {
        let hub = Arc::clone(self);
        self.runtime.spawn(async move {
            let is_there = dial::is_there(&hub, peer, &addresses).await;
            lock(&hub.tried).push((peer, is_there));
            hub.wake_machine();
        });
    }

    /// What has come of it since this was last asked.
    pub(crate) fn tried(&self) -> Vec<(Peer, bool)> {
        std::mem::take(&mut *lock(&self.tried))
    }
}

/// Within this time two connections in opposite directions count as dialled simultaneously.
const SIMULTANEOUS: Duration = Duration::from_secs(5);
