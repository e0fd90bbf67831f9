//! What all hosts share: the time, what will happen, the network, and the record of it all.

use std::fmt;

use proto::{Instant, Peer};

use crate::{
    event_queue::EventQueue,
    network::{HostId, Network, Packet},
    report::{BEGINNING, Tally},
    trace::Trace,
    traffic::Traffic,
};

/// Where the hosts act.
pub(crate) struct Env {
    pub(crate) now: Instant,
    pub(crate) queue: EventQueue<Happening>,
    pub(crate) network: Network,
    pub(crate) trace: Trace,
    pub(crate) tally: Tally,
    pub(crate) traffic: Traffic,
    /// All hosts run routers: they learn the addresses of their peers and can try to dial them, and
    /// there is no plaintext that a frame could hold.
    pub(crate) only_routers: bool,
    /// A frame held a plaintext.
    pub(crate) leaks: bool,
    /// What hosts are called, by their numbers.
    pub(crate) names: Vec<String>,
}

/// What will happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// Something on the network.
    Packet(Packet),
    /// A machine's time may have come.
    Wake(HostId),
    /// The sync of this number ends.
    Synced(HostId, u64),
    /// The pause of this number between two dials is over.
    Redial(HostId, Peer, u64),
    /// It turns out whether this peer can be dialled.
    Tried(HostId, Peer, bool),
    /// A host that is down starts.
    Start(HostId),
    /// A host whose power failed in a sync is kept down no longer.
    PowerReturns(HostId),
    /// A fault of the scenario begins.
    Begin(usize),
    /// It ends.
    End(usize),
    /// A person looks at the device.
    Moment(u32),
}

impl Env {
    pub(crate) fn new(
        network: Network,
        trace: Trace,
        traffic: Traffic,
        only_routers: bool,
    ) -> Self {
        Self {
            now: BEGINNING,
            queue: EventQueue::new(),
            network,
            trace,
            tally: Tally::default(),
            traffic,
            only_routers,
            leaks: false,
            names: Vec::new(),
        }
    }

    /// Writes down what happens to a host.
    pub(crate) fn note(&mut self, host: HostId, what: &'static str) {
        let Self { trace, names, now, .. } = self;
        trace.note(*now, what, &[host.0.into()], || {
            let name = names.get(host.0 as usize).map_or("unnamed", String::as_str);
            format!("{name} {what}")
        });
    }

    /// Writes down what happens between two hosts.
    pub(crate) fn note_between(&mut self, from: HostId, what: &'static str, to: HostId) {
        let Self { trace, names, now, .. } = self;
        trace.note(*now, what, &[from.0.into(), to.0.into()], || {
            let name = |host: HostId| names.get(host.0 as usize).map_or("unnamed", String::as_str);
            format!("{} {what} {}", name(from), name(to))
        });
    }
}

impl From<Packet> for Happening {
    fn from(packet: Packet) -> Self {
        Self::Packet(packet)
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Env({:?})", self.now)
    }
}
