//! The driver of one machine: what the crate `net` does, over a virtual clock, disk and network.
//! As there, a batch of inputs shares one sync, and what follows a commit leaves after it. How the
//! two are known to differ: `spec/faults.md`, section 4.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use proto::{
    Body, Code, Frame, FrameReader, Input, Instant, Machine, OpenError, Output, Peer, Rows, Seed,
    write_frame,
};

use crate::{
    checks,
    dial::{Dials, Next},
    disk::{Disk, Full},
    network::{HostId, LinkId, Notice, Side},
    stage::{Happening, Stage},
    transcript::Way,
};

/// A host: a disk, a clock, and the process that runs the machine, unless it is down.
pub(crate) struct Driver<M: Machine> {
    pub(crate) host: HostId,
    pub(crate) disk: Disk,
    /// How far its clock is ahead, in microseconds.
    pub(crate) ahead_us: i64,
    /// Outputs don't wait for the disk: a deliberate break.
    pub(crate) hasty: bool,
    /// The power fails when the next sync would end.
    dies_in_sync: bool,
    process: Option<Process<M>>,
    events: Vec<M::Event>,
    syncs: u64,
    wake_at: Option<Instant>,
}

/// What is gone when the process ends.
struct Process<M: Machine> {
    machine: M,
    waiting: VecDeque<Waiting<M::Command>>,
    /// What waits for the sync that runs.
    held: Vec<Output<M::Event>>,
    uncommitted: bool,
    syncing: Option<u64>,
    stalled: bool,
    links: BTreeMap<Peer, Link>,
    /// Peers whose connection is another one, or gone, and the machine has yet to hear of it so often.
    unheard: BTreeMap<Peer, u32>,
    peers: BTreeMap<LinkId, Peer>,
    dials: Dials,
}

/// An input on its way to the machine.
enum Waiting<C> {
    Input(Input<C>),
    /// Parsed when its turn comes.
    Bytes(Peer, Vec<u8>),
}

/// The connection to a peer.
#[derive(Clone, Copy, Debug)]
struct Link {
    id: LinkId,
    side: Side,
    /// The host at the other end.
    other: HostId,
    since: Instant,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The power fails.
    Crash,
    /// It is killed; the machine it runs on goes on.
    Kill,
    /// It is asked to stop.
    Stop,
}

/// What can happen to a host, whatever machine it runs.
pub(crate) trait Host {
    fn is_up(&self) -> bool;
    fn disk(&mut self) -> &mut Disk;
    /// Ends the process.
    fn end(&mut self, ending: Ending, stage: &mut Stage);
    /// The power fails when the next sync would end, or no longer does.
    fn dies_in_sync(&mut self, dies: bool);
    /// The process hangs, or goes on.
    fn stall(&mut self, stalled: bool, stage: &mut Stage);
    /// Something happened on the network.
    fn notice(&mut self, notice: Notice, stage: &mut Stage);
    /// The pause of this number between two dials is over.
    fn redial(&mut self, peer: Peer, number: u64, stage: &mut Stage);
    /// The sync of this number ends: what it made durable may be spoken of, and `go_on` is due. Says
    /// whether the power has failed instead.
    fn synced(&mut self, number: u64, stage: &mut Stage) -> bool;
    /// Takes up what has waited for a sync.
    fn go_on(&mut self, stage: &mut Stage);
    /// The machine's time may have come.
    fn wake(&mut self, stage: &mut Stage);
}

impl<M: Machine> Driver<M> {
    pub(crate) fn new(host: HostId, disk: Disk, ahead_us: i64) -> Self {
        Self {
            host,
            disk,
            ahead_us,
            hasty: false,
            dies_in_sync: false,
            process: None,
            events: Vec::new(),
            syncs: 0,
            wake_at: None,
        }
    }

    pub(crate) fn machine(&self) -> Option<&M> {
        self.process.as_ref().map(|process| &process.machine)
    }

    pub(crate) fn rows(&self) -> &dyn Rows {
        self.disk.rows()
    }

    /// Takes what the machine has told the application.
    pub(crate) fn take_events(&mut self) -> Vec<M::Event> {
        std::mem::take(&mut self.events)
    }

    /// The time that the host's clock shows at `now`.
    pub(crate) fn local(&self, now: Instant) -> Instant {
        Instant::from_micros(now.as_micros().saturating_add_signed(self.ahead_us))
    }

    /// When the host's clock will show `local`.
    fn global(&self, local: Instant) -> Instant {
        Instant::from_micros(
            local.as_micros().saturating_add_signed(self.ahead_us.saturating_neg()),
        )
    }

    /// Starts the process: opens the machine from its rows.
    pub(crate) fn start(
        &mut self,
        config: M::Config,
        dials: Dials,
        seed: Seed,
        stage: &mut Stage,
    ) -> Result<(), OpenError> {
        let machine = M::open(config, seed, self.local(stage.now), self.disk.rows())?;
        self.process = Some(Process {
            machine,
            waiting: VecDeque::new(),
            held: Vec::new(),
            unheard: BTreeMap::new(),
            uncommitted: false,
            syncing: None,
            stalled: false,
            links: BTreeMap::new(),
            peers: BTreeMap::new(),
            dials,
        });
        self.wake_at = None;
        stage.network.rise(self.host, stage.now, &mut stage.agenda);
        // A machine may have something to say from the start.
        match self.drain(stage) {
            Ok(()) => self.settle(stage),
            Err(Full) => self.stop_for_lack_of_space(stage),
        }
        Ok(())
    }

    /// The application asks for something. Says whether there is a process to ask.
    pub(crate) fn command(&mut self, command: M::Command, stage: &mut Stage) -> bool {
        let Some(process) = &mut self.process else { return false };
        process.waiting.push_back(Waiting::Input(Input::Command(command)));
        self.run(stage);
        true
    }

    /// Hands the machine what waits, a batch at a time, until it waits for the disk or for time.
    fn run(&mut self, stage: &mut Stage) {
        while self.is_free() {
            let now = self.local(stage.now);
            let Some(process) = &mut self.process else { return };
            let due = process.machine.poll_timeout().is_some_and(|due| due <= now);
            if process.waiting.is_empty() && !due {
                break;
            }
            if self.take_batch(now, stage).is_err() {
                return self.stop_for_lack_of_space(stage);
            }
            self.settle(stage);
            // A machine whose time has come again at once is asked again a moment later: time
            // passes for whoever does something.
            if due {
                break;
            }
        }
        self.plan_wake(stage);
    }

    /// The real driver ends when its store fails; whatever watches over the process starts it anew.
    fn stop_for_lack_of_space(&mut self, stage: &mut Stage) {
        stage.note(self.host, "stops, for its disk is full");
        self.end(Ending::Kill, stage);
        stage.agenda.enter(stage.now.after(RESTART_AFTER), Happening::Start(self.host));
    }

    fn is_free(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.stalled && process.syncing.is_none())
    }

    fn take_batch(&mut self, now: Instant, stage: &mut Stage) -> Result<(), Full> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let many = process.waiting.len().min(BATCH_MAX);
        let batch: Vec<_> = process.waiting.drain(..many).filter_map(parse).collect();
        // What comes alone is not foreseen, and most does.
        if batch.len() > 1 {
            let frames: Vec<_> = batch.iter().filter_map(frame).collect();
            if frames.len() > 1 {
                process.machine.foresee(&frames, self.disk.rows());
            }
        }
        let due = process.machine.poll_timeout().is_some_and(|due| due <= now);
        for input in batch.into_iter().chain(due.then_some(Input::Timeout)) {
            let Some(process) = &mut self.process else { return Ok(()) };
            process.hears(&input);
            process.machine.handle(input, now, self.disk.rows());
            self.drain(stage)?;
        }
        Ok(())
    }

    fn drain(&mut self, stage: &mut Stage) -> Result<(), Full> {
        while let Some(process) = &mut self.process
            && let Some(output) = process.machine.poll_output()
        {
            match output {
                Output::Commit(batch) => {
                    self.disk.apply(batch)?;
                    process.uncommitted = true;
                }
                Output::Note(batch) => self.disk.apply(batch)?,
                Output::Connect(..)
                | Output::Disconnect(_)
                | Output::Transmit(..)
                | Output::Reach(_)
                | Output::Event(_)
                    if process.uncommitted && !self.hasty =>
                {
                    process.held.push(output);
                }
                Output::Connect(..)
                | Output::Disconnect(_)
                | Output::Transmit(..)
                | Output::Reach(_)
                | Output::Event(_) => self.carry_out(output, stage),
            }
        }
        Ok(())
    }

    /// Ends a batch: one sync for all its commits.
    fn settle(&mut self, stage: &mut Stage) {
        let Some(process) = &mut self.process else { return };
        if std::mem::take(&mut process.uncommitted) {
            self.syncs = self.syncs.saturating_add(1);
            process.syncing = Some(self.syncs);
            let ends = stage.now.after(self.disk.sync_time());
            stage.agenda.enter(ends, Happening::Synced(self.host, self.syncs));
        }
    }

    fn plan_wake(&mut self, stage: &mut Stage) {
        if !self.is_free() {
            return;
        }
        let Some(due) = self.machine().and_then(Machine::poll_timeout) else { return };
        let due = self.global(due).max(stage.now.after(MOMENT));
        if self.wake_at.is_none_or(|planned| planned > due) {
            self.wake_at = Some(due);
            stage.agenda.enter(due, Happening::Wake(self.host));
        }
    }

    fn carry_out(&mut self, output: Output<M::Event>, stage: &mut Stage) {
        let Some(process) = &mut self.process else { return };
        match output {
            Output::Transmit(peer, frame) => {
                // What is said on a connection never goes out on the next one.
                if let Some(link) = process.links.get(&peer)
                    && !process.unheard.contains_key(&peer)
                {
                    transmit(self.host, *link, &frame, stage);
                }
            }
            Output::Connect(peer, addresses) => {
                let linked = process.links.contains_key(&peer);
                let next = process.dials.want(peer, addresses, linked);
                carry_on(self.host, peer, next, stage);
            }
            Output::Disconnect(peer) => {
                process.dials.forget(&peer);
                if let Some(link) = process.links.get(&peer).copied() {
                    process.hang_up(peer, link, stage);
                }
            }
            Output::Event(event) => self.events.push(event),
            // Applied where they came out, see `drain`; and there are no packets here that could be
            // relayed, see `spec/faults.md`, section 4.
            Output::Commit(_) | Output::Note(_) | Output::Reach(_) => {}
        }
    }
}

impl<M: Machine> Host for Driver<M> {
    fn is_up(&self) -> bool {
        self.process.is_some()
    }

    fn disk(&mut self) -> &mut Disk {
        &mut self.disk
    }

    fn end(&mut self, ending: Ending, stage: &mut Stage) {
        let Some(process) = self.process.take() else { return };
        if ending == Ending::Stop {
            for link in process.links.values() {
                let goodbye = Frame::new(Body::Goodbye(Code::Done));
                transmit(self.host, *link, &goodbye, stage);
                stage.network.hang_up((link.id, link.side), stage.now, &mut stage.agenda);
            }
            stage.network.stop(self.host, stage.now, &mut stage.agenda);
        } else {
            stage.network.die(self.host, stage.now, &mut stage.agenda);
        }
        self.dies_in_sync = false;
        match ending {
            Ending::Crash => self.disk.lose_power(),
            Ending::Kill | Ending::Stop => self.disk.sync(),
        }
    }

    fn dies_in_sync(&mut self, dies: bool) {
        self.dies_in_sync = dies;
    }

    fn stall(&mut self, stalled: bool, stage: &mut Stage) {
        if let Some(process) = &mut self.process {
            process.stalled = stalled;
        }
        self.run(stage);
    }

    fn notice(&mut self, notice: Notice, stage: &mut Stage) {
        let Some(process) = &mut self.process else { return };
        match notice {
            Notice::Connected { link: id, side, peer, .. } => {
                let Some(other) = stage.network.other(id, side) else { return };
                let link = Link { id, side, other, since: stage.now };
                process.connected(self.host, peer, link, stage);
            }
            Notice::NotConnected { peer, .. } => {
                let next = process.dials.failed(&peer);
                carry_on(self.host, peer, next, stage);
            }
            Notice::Arrived { link, bytes, .. } => {
                if let Some(peer) = process.peers.get(&link) {
                    process.waiting.push_back(Waiting::Bytes(*peer, bytes));
                }
            }
            Notice::Ended { link, .. } => {
                if let Some(peer) = process.peers.get(&link).copied() {
                    process.ended(self.host, peer, stage);
                }
            }
        }
        self.run(stage);
    }

    fn redial(&mut self, peer: Peer, number: u64, stage: &mut Stage) {
        let Some(process) = &mut self.process else { return };
        let linked = process.links.contains_key(&peer);
        let next = process.dials.rested(&peer, number, linked);
        carry_on(self.host, peer, next, stage);
    }

    fn synced(&mut self, number: u64, stage: &mut Stage) -> bool {
        let process = self.process.as_mut().filter(|process| process.syncing == Some(number));
        let Some(process) = process else { return false };
        if std::mem::take(&mut self.dies_in_sync) {
            self.end(Ending::Crash, stage);
            return true;
        }
        process.syncing = None;
        self.disk.sync();
        stage.tally.syncs = stage.tally.syncs.saturating_add(1);
        let held = std::mem::take(&mut process.held);
        for output in held {
            self.carry_out(output, stage);
        }
        false
    }

    fn go_on(&mut self, stage: &mut Stage) {
        self.run(stage);
    }

    fn wake(&mut self, stage: &mut Stage) {
        if self.wake_at == Some(stage.now) {
            self.wake_at = None;
            self.run(stage);
        }
    }
}

impl<M: Machine> Process<M> {
    /// A connection stands. A newer one takes the place of the older one, unless both sides have
    /// dialled at the same time: then the one that the smaller key dialled stays.
    fn connected(&mut self, host: HostId, peer: Peer, link: Link, stage: &mut Stage) {
        if let Some(old) = self.links.get(&peer).copied() {
            let crossed = old.side != link.side && stage.now.since(old.since) < CROSSING;
            let ours_is_smaller = self.dials.own_key(&peer) < peer;
            if crossed && (old.side == Side::Dialler) == ours_is_smaller {
                stage.network.hang_up((link.id, link.side), stage.now, &mut stage.agenda);
                if link.side == Side::Dialler {
                    // What was to be reached is connected.
                    self.dials.connected(&peer);
                }
                return;
            }
            self.hang_up(peer, old, stage);
        }
        stage.tally.connections = stage.tally.connections.saturating_add(1);
        if link.side == Side::Dialler {
            self.dials.connected(&peer);
            stage.note_between(host, "is connected to", link.other);
        }
        self.links.insert(peer, link);
        self.peers.insert(link.id, peer);
        // Only routing asks where somebody is, and it is not simulated here.
        self.tell_of(peer, Input::Connected(peer, None));
    }

    /// The machine will hear of another connection to a peer, or of its end.
    fn tell_of(&mut self, peer: Peer, input: Input<M::Command>) {
        let unheard = self.unheard.entry(peer).or_default();
        *unheard = unheard.saturating_add(1);
        self.waiting.push_back(Waiting::Input(input));
    }

    /// The machine is about to hear this.
    fn hears(&mut self, input: &Input<M::Command>) {
        let (Input::Connected(peer, _) | Input::Disconnected(peer)) = input else { return };
        let is_of_it =
            |held: &Output<M::Event>| matches!(held, Output::Transmit(to, _) if to == peer);
        self.held.retain(|held| !is_of_it(held));
        let left = self.unheard.remove(peer).unwrap_or_default().saturating_sub(1);
        if left > 0 {
            self.unheard.insert(*peer, left);
        }
    }

    fn hang_up(&mut self, peer: Peer, link: Link, stage: &mut Stage) {
        stage.network.hang_up((link.id, link.side), stage.now, &mut stage.agenda);
        self.links.remove(&peer);
        self.peers.remove(&link.id);
        self.tell_of(peer, Input::Disconnected(peer));
    }

    fn ended(&mut self, host: HostId, peer: Peer, stage: &mut Stage) {
        let Some(link) = self.links.remove(&peer) else { return };
        self.peers.remove(&link.id);
        self.tell_of(peer, Input::Disconnected(peer));
        stage.note_between(host, "loses its connection to", link.other);
        let next = self.dials.ended(&peer, stage.now.since(link.since));
        carry_on(host, peer, next, stage);
    }
}

/// Does what is next in the life of a connection that is wanted.
fn carry_on(host: HostId, peer: Peer, next: Next, stage: &mut Stage) {
    match next {
        Next::Nothing => {}
        Next::Dial(call) => stage.network.dial(call, stage.now, &mut stage.agenda),
        Next::Rest(number, pause) => {
            let over = stage.now.after(pause);
            stage.agenda.enter(over, Happening::Redial(host, peer, number));
        }
    }
}

fn transmit(host: HostId, link: Link, frame: &Frame, stage: &mut Stage) {
    let mut bytes = Vec::new();
    write_frame(frame, &mut bytes);
    stage.leaks |= checks::holds_marker(&bytes);
    let tally = &mut stage.tally;
    tally.frames = tally.frames.saturating_add(1);
    tally.bytes = tally.bytes.saturating_add(bytes.len() as u64);
    if matches!(frame.body, Body::Append { .. } | Body::Deliver { .. }) {
        tally.hops = tally.hops.saturating_add(1);
    }
    if matches!(frame.body, Body::Fetch { .. } | Body::Page { .. }) {
        tally.fetches = tally.fetches.saturating_add(1);
    }
    stage.traffic.sees(stage.now, [host, link.other], frame, bytes.len());
    let way = Way { link: link.id, from: host, to: link.other };
    stage.transcript.frame(stage.now, way, &bytes);
    let way = (link.id, link.side);
    stage.network.send(way, frame.lane(), bytes, stage.now, &mut stage.agenda);
}

fn frame<C>(input: &Input<C>) -> Option<(Peer, Frame)> {
    match input {
        Input::Frame(peer, frame) => Some((*peer, frame.clone())),
        Input::Command(_)
        | Input::Connected(..)
        | Input::Disconnected(_)
        | Input::Reached(_)
        | Input::Timeout => None,
    }
}

/// What is no frame is dropped; the real driver also answers that it is none.
fn parse<C>(waiting: Waiting<C>) -> Option<Input<C>> {
    match waiting {
        Waiting::Input(input) => Some(input),
        Waiting::Bytes(peer, bytes) => {
            let mut reader = FrameReader::default();
            reader.push(&bytes);
            Some(Input::Frame(peer, reader.next_frame().ok()??.0))
        }
    }
}

/// Inputs that share a sync.
const BATCH_MAX: usize = 1024;
/// Two connections within this time are one that both sides wanted.
const CROSSING: Duration = Duration::from_secs(5);
/// When whatever watches over a process starts it anew.
pub(crate) const RESTART_AFTER: Duration = Duration::from_secs(5);
/// The least time until a machine is asked again.
const MOMENT: Duration = Duration::from_micros(1);
