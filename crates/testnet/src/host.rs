//! One machine over rows in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    ops::ControlFlow,
};

use proto::{
    Direction, Frame, FrameReader, Gauge, Input, Instant, Machine, Output, Peer, Reach, Rows, Seed,
    Table, WriteBatch, write_frame,
};
use store::{Memory, Store};

use crate::START;

/// A machine over rows in memory, driven as the real driver does: what follows a commit leaves
/// after the next sync.
pub struct Host<M: Machine> {
    /// The process, unless it is down.
    pub machine: Option<M>,
    /// What the disk holds.
    pub store: Memory,
    /// The time at which the next input arrives.
    pub now: Instant,
    /// What the machine has told the application.
    pub events: Vec<M::Event>,
    /// Peers to which the machine wants a connection, each with its addresses.
    pub wanted: BTreeMap<Peer, Vec<SocketAddr>>,
    /// Peers on which the machine has hung up.
    pub hung_up: Vec<Peer>,
    /// Whether each commit is synced at once. Otherwise all outputs wait for [`Self::sync`].
    pub syncs: bool,
    /// The power fails at the next commit.
    pub dies_before_commit: bool,
    /// Whether an input may change rows only once, before every other output, and not with an
    /// empty batch.
    pub commits_once: bool,
    /// Whether the machine may open relays and try whether peers can be dialled.
    pub relays: bool,
    pub(crate) has_died: bool,
    pub(crate) requests: Vec<Request>,
    outbox: BTreeMap<Peer, VecDeque<Frame>>,
    held: Vec<Output<M::Event>>,
    has_committed: bool,
    config: Box<dyn FnMut() -> M::Config>,
    gauges: fn(&M) -> Vec<Gauge>,
    seed: [u64; 2],
    starts: u64,
}

/// What a machine wants of the network.
pub(crate) enum Request {
    Dial(Peer),
    HangUp(Peer),
    Relay(Peer),
    Try(Peer, Vec<SocketAddr>),
}

impl<M: Machine> Host<M> {
    /// Creates a host whose process is not started yet. `config` is called at each start; `gauges`
    /// returns the machine's gauges, which are checked after each input.
    pub fn new(
        seed: [u64; 2],
        config: impl FnMut() -> M::Config + 'static,
        gauges: fn(&M) -> Vec<Gauge>,
    ) -> Self {
        Self {
            machine: None,
            store: Memory::new(),
            now: START,
            events: Vec::new(),
            wanted: BTreeMap::new(),
            hung_up: Vec::new(),
            syncs: true,
            dies_before_commit: false,
            commits_once: false,
            relays: false,
            has_died: false,
            requests: Vec::new(),
            outbox: BTreeMap::new(),
            held: Vec::new(),
            has_committed: false,
            config: Box::new(config),
            gauges,
            seed,
            starts: 0,
        }
    }

    /// Changes what the process is started with from now on.
    pub fn set_config(&mut self, config: impl FnMut() -> M::Config + 'static) {
        self.config = Box::new(config);
    }

    /// Starts the process from its rows, with fresh randomness and no connections.
    pub fn start(&mut self) {
        self.kill();
        self.starts += 1;
        let mut seed = [1; 32];
        for (bytes, part) in seed.chunks_mut(8).zip([self.starts, self.seed[0], self.seed[1]]) {
            bytes.copy_from_slice(&part.to_be_bytes());
        }
        let machine = M::open((self.config)(), Seed(seed), self.now, self.store.as_rows());
        self.machine = Some(machine.expect("the rows can be opened"));
        self.drain();
    }

    /// The power fails: what was not synced is lost, and so is what has not left.
    pub fn crash(&mut self) {
        self.store = std::mem::take(&mut self.store).crash();
        self.kill();
    }

    /// Ends the process. What has not left is lost; the rows stay.
    pub fn kill(&mut self) {
        self.machine = None;
        self.dies_before_commit = false;
        self.held.clear();
        self.has_committed = false;
        self.outbox.clear();
        self.requests.clear();
        self.wanted.clear();
    }

    /// Returns the machine, or panics if the process is down.
    pub fn machine(&self) -> &M {
        self.machine.as_ref().expect("the process is up")
    }

    /// Returns when the machine's timeout is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.machine.as_ref()?.poll_timeout()
    }

    /// Hands the machine an input, if the process is up, and carries out what it wants.
    pub fn input(&mut self, input: Input<M::Command>) {
        let Some(machine) = &mut self.machine else { return };
        machine.handle(input, self.now, self.store.as_rows());
        self.drain();
    }

    /// Makes durable what was committed, and lets out what waited for it.
    pub fn sync(&mut self) {
        self.has_committed = true;
        self.let_out();
    }

    /// Notes alone need no sync: the next commit makes them durable.
    fn let_out(&mut self) {
        if std::mem::take(&mut self.has_committed) {
            self.store.sync().unwrap();
        }
        for output in std::mem::take(&mut self.held) {
            self.carry_out(output);
        }
    }

    fn drain(&mut self) {
        for gauge in self.machine.as_ref().map(self.gauges).unwrap_or_default() {
            assert!(gauge.value <= gauge.limit, "{gauge:?}");
        }
        let mut is_first = true;
        while let Some(output) = self.machine.as_mut().and_then(Machine::poll_output) {
            match output {
                Output::Commit(_) if self.dies_before_commit => {
                    // What the machine told before is known.
                    if self.syncs {
                        self.let_out();
                    }
                    self.crash();
                    self.has_died = true;
                    return;
                }
                Output::Commit(batch) => {
                    self.apply(&batch, is_first);
                    self.has_committed = true;
                }
                Output::Note(batch) => self.apply(&batch, is_first),
                output => self.held.push(output),
            }
            is_first = false;
        }
        if self.syncs {
            self.let_out();
        }
    }

    fn apply(&mut self, batch: &WriteBatch, is_first: bool) {
        if self.commits_once {
            assert!(is_first, "rows change behind another output");
            assert!(!batch.is_empty(), "an empty batch");
        }
        self.store.apply(batch).unwrap();
    }

    fn carry_out(&mut self, output: Output<M::Event>) {
        match output {
            Output::Transmit(peer, frame) => {
                self.outbox.entry(peer).or_default().push_back(over_the_wire(&frame));
            }
            Output::Event(event) => self.events.push(event),
            Output::Connect(peer, addresses) => {
                self.wanted.insert(peer, addresses);
                self.requests.push(Request::Dial(peer));
            }
            Output::Disconnect(peer) => {
                self.wanted.remove(&peer);
                self.hung_up.push(peer);
                self.requests.push(Request::HangUp(peer));
            }
            Output::Reach(Reach::Relay(peer)) if self.relays => {
                self.requests.push(Request::Relay(peer));
            }
            Output::Reach(Reach::Tunnel { .. }) if self.relays => {}
            Output::Reach(Reach::Try(peer, at)) if self.relays => {
                self.requests.push(Request::Try(peer, at));
            }
            Output::Commit(_) | Output::Note(_) | Output::Reach(_) => panic!("unexpected output"),
        }
    }

    /// Takes all frames for a peer.
    pub fn take(&mut self, peer: Peer) -> Vec<Frame> {
        self.outbox.remove(&peer).unwrap_or_default().into()
    }

    /// Takes the first frame for a peer that fits, and leaves the others.
    pub fn take_first(&mut self, peer: Peer, fits: impl FnMut(&Frame) -> bool) -> Option<Frame> {
        let frames = self.outbox.get_mut(&peer)?;
        let at = frames.iter().position(fits)?;
        frames.remove(at)
    }

    /// Returns the peers for which there are frames.
    pub fn receivers(&self) -> Vec<Peer> {
        self.outbox.keys().copied().collect()
    }

    /// Returns the rows of all tables.
    pub fn dump(&self) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
        let of = |table| self.rows(table).into_iter().map(move |(key, row)| (table, key, row));
        (0..=u8::MAX).map(Table).flat_map(of).collect()
    }

    /// Returns the rows of a table.
    pub fn rows(&self, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        self.store.scan(table, &[], &[0xFF; 200], Direction::Forward, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        rows
    }
}

/// Encodes a frame and returns what its receiver decodes, which must be the same.
fn over_the_wire(frame: &Frame) -> Frame {
    let mut bytes = Vec::new();
    write_frame(frame, &mut bytes);
    let mut reader = FrameReader::default();
    reader.push(&bytes);
    let (read, _) = reader.next_frame().expect("a frame that decodes").expect("all of a frame");
    assert_eq!(read, *frame, "a frame changes on the wire");
    read
}
