//! The driver of one machine: what the crate `net` does, over a virtual clock, disk and network.
//! As there, a batch of inputs shares one sync, and what follows a commit leaves after it. How the
//! two are known to differ: `spec/faults.md`, section 4.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use proto::{
    Body, Code, Frame, Input, Instant, Machine, OpenError, Output, Peer, Reach, Reached, Rows, Seed,
};

use crate::{
    dial::Dials,
    disk::{Disk, Full},
    env::{Env, Happening},
    network::{HostId, LinkEnd, Notice},
};
use process::{Link, Process, Waiting, carry_on, frame, parse, transmit};

mod process;

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

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The power fails.
    Crash,
    /// It is killed; the host keeps running.
    Kill,
    /// It is asked to stop.
    Stop,
}

/// What can happen to a host, whatever machine it runs.
pub(crate) trait Host {
    fn is_up(&self) -> bool;
    fn disk(&mut self) -> &mut Disk;
    /// Ends the process.
    fn end(&mut self, ending: Ending, env: &mut Env);
    /// The power fails when the next sync would end, or no longer does.
    fn dies_in_sync(&mut self, dies: bool);
    /// The process hangs, or continues.
    fn stall(&mut self, stalled: bool, env: &mut Env);
    /// Something happened on the network.
    fn notice(&mut self, notice: Notice, env: &mut Env);
    /// The pause of this number between two dials is over.
    fn redial(&mut self, peer: Peer, number: u64, env: &mut Env);
    /// It turns out whether a peer can be dialled.
    fn tried(&mut self, peer: Peer, is_there: bool, env: &mut Env);
    /// The sync of this number ends: outputs that waited for it leave, and `resume` is due. Returns
    /// true if the power has failed instead.
    fn synced(&mut self, number: u64, env: &mut Env) -> bool;
    /// Continues with the inputs that waited for a sync.
    fn resume(&mut self, env: &mut Env);
    /// The machine's time may have come.
    fn wake(&mut self, env: &mut Env);
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

    /// How many connections the process has.
    pub(crate) fn connections(&self) -> usize {
        self.process.as_ref().map_or(0, |process| process.links.len())
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
        env: &mut Env,
    ) -> Result<(), OpenError> {
        let machine = M::open(config, seed, self.local(env.now), self.disk.rows())?;
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
        env.network.rise(self.host, env.now, &mut env.queue);
        // A machine may have something to say from the start.
        match self.drain(env) {
            Ok(()) => self.finish_step(env),
            Err(Full) => self.stop_for_lack_of_space(env),
        }
        Ok(())
    }

    /// The application asks for something. Says whether there is a process to ask.
    pub(crate) fn command(&mut self, command: M::Command, env: &mut Env) -> bool {
        let Some(process) = &mut self.process else { return false };
        process.waiting.push_back(Waiting::Input(Input::Command(command)));
        self.run(env);
        true
    }

    /// Hands the machine what waits, a batch at a time, until it waits for the disk or for time.
    fn run(&mut self, env: &mut Env) {
        while self.is_free() {
            let now = self.local(env.now);
            let Some(process) = &mut self.process else { return };
            let due = process.machine.poll_timeout().is_some_and(|due| due <= now);
            if process.waiting.is_empty() && !due {
                break;
            }
            if self.take_batch(now, env).is_err() {
                return self.stop_for_lack_of_space(env);
            }
            self.finish_step(env);
            // If its next timeout is due at once, the machine gets it `MOMENT` later: handling an
            // input takes time.
            if due {
                break;
            }
        }
        self.plan_wake(env);
    }

    /// Ends the process and schedules its restart. The real driver exits when its store fails, and
    /// a supervisor restarts it.
    fn stop_for_lack_of_space(&mut self, env: &mut Env) {
        env.note(self.host, "stops, for its disk is full");
        self.end(Ending::Kill, env);
        env.queue.enter(env.now.after(RESTART_AFTER), Happening::Start(self.host));
    }

    fn is_free(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.stalled && process.syncing.is_none())
    }

    fn take_batch(&mut self, now: Instant, env: &mut Env) -> Result<(), Full> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let many = process.waiting.len().min(BATCH_MAX);
        let batch: Vec<_> = process.waiting.drain(..many).filter_map(parse).collect();
        // What comes alone is not prefetched, and most does.
        if batch.len() > 1 {
            let frames: Vec<_> = batch.iter().filter_map(frame).collect();
            if frames.len() > 1 {
                process.machine.prefetch(&frames, self.disk.rows());
            }
        }
        let due = process.machine.poll_timeout().is_some_and(|due| due <= now);
        for input in batch.into_iter().chain(due.then_some(Input::Timeout)) {
            let Some(process) = &mut self.process else { return Ok(()) };
            process.hears(&input);
            process.machine.handle(input, now, self.disk.rows());
            self.drain(env)?;
        }
        Ok(())
    }

    fn drain(&mut self, env: &mut Env) -> Result<(), Full> {
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
                | Output::Event(_) => self.carry_out(output, env),
            }
        }
        Ok(())
    }

    /// Ends a batch: one sync for all its commits.
    fn finish_step(&mut self, env: &mut Env) {
        let Some(process) = &mut self.process else { return };
        if std::mem::take(&mut process.uncommitted) {
            self.syncs = self.syncs.saturating_add(1);
            process.syncing = Some(self.syncs);
            let ends = env.now.after(self.disk.sync_time());
            env.queue.enter(ends, Happening::Synced(self.host, self.syncs));
        }
    }

    fn plan_wake(&mut self, env: &mut Env) {
        if !self.is_free() {
            return;
        }
        let Some(due) = self.machine().and_then(Machine::poll_timeout) else { return };
        let due = self.global(due).max(env.now.after(MOMENT));
        if self.wake_at.is_none_or(|planned| planned > due) {
            self.wake_at = Some(due);
            env.queue.enter(due, Happening::Wake(self.host));
        }
    }

    fn carry_out(&mut self, output: Output<M::Event>, env: &mut Env) {
        let Some(process) = &mut self.process else { return };
        match output {
            Output::Transmit(peer, frame) => {
                // What is said on a connection never goes out on the next one.
                if let Some(link) = process.links.get(&peer)
                    && !process.unheard.contains_key(&peer)
                {
                    transmit(self.host, *link, &frame, env);
                }
            }
            Output::Connect(peer, addresses) => {
                let linked = process.links.contains_key(&peer);
                let next = process.dials.want(peer, addresses, linked);
                carry_on(self.host, peer, next, env);
            }
            Output::Disconnect(peer) => {
                process.dials.forget(&peer);
                if let Some(link) = process.links.get(&peer).copied() {
                    process.hang_up(peer, link, env);
                }
            }
            Output::Event(event) => self.events.push(event),
            Output::Reach(Reach::Try(peer, addresses)) if env.only_routers => {
                let (is_there, takes) = env.network.try_dial(self.host, &peer, &addresses);
                let tried = Happening::Tried(self.host, peer, is_there);
                env.queue.enter(env.now.after(takes), tried);
            }
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

    fn end(&mut self, ending: Ending, env: &mut Env) {
        let Some(process) = self.process.take() else { return };
        if ending == Ending::Stop {
            for link in process.links.values() {
                let goodbye = Frame::new(Body::Goodbye(Code::Done));
                transmit(self.host, *link, &goodbye, env);
                env.network.hang_up(link.end, env.now, &mut env.queue);
            }
            env.network.stop(self.host, env.now, &mut env.queue);
        } else {
            env.network.die(self.host, env.now, &mut env.queue);
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

    fn stall(&mut self, stalled: bool, env: &mut Env) {
        if let Some(process) = &mut self.process {
            process.stalled = stalled;
        }
        self.run(env);
    }

    fn notice(&mut self, notice: Notice, env: &mut Env) {
        let Some(process) = &mut self.process else { return };
        match notice {
            Notice::Connected { link, side, peer, .. } => {
                let end = LinkEnd { link, side };
                let Some(other) = env.network.other(end) else { return };
                let link = Link { end, other, since: env.now };
                process.connected(self.host, peer, link, env);
            }
            Notice::NotConnected { peer, .. } => {
                let next = process.dials.failed(&peer);
                carry_on(self.host, peer, next, env);
            }
            Notice::Arrived { link, bytes, .. } => {
                if let Some(peer) = process.peers.get(&link) {
                    process.waiting.push_back(Waiting::Bytes(*peer, bytes));
                }
            }
            Notice::Ended { link, .. } => {
                if let Some(peer) = process.peers.get(&link).copied() {
                    process.ended(self.host, peer, env);
                }
            }
        }
        self.run(env);
    }

    fn redial(&mut self, peer: Peer, number: u64, env: &mut Env) {
        let Some(process) = &mut self.process else { return };
        let linked = process.links.contains_key(&peer);
        let next = process.dials.rested(&peer, number, linked);
        carry_on(self.host, peer, next, env);
    }

    fn tried(&mut self, peer: Peer, is_there: bool, env: &mut Env) {
        if let Some(process) = &mut self.process {
            process
                .waiting
                .push_back(Waiting::Input(Input::Reached(Reached::Tried(peer, is_there))));
        }
        self.run(env);
    }

    fn synced(&mut self, number: u64, env: &mut Env) -> bool {
        let process = self.process.as_mut().filter(|process| process.syncing == Some(number));
        let Some(process) = process else { return false };
        if std::mem::take(&mut self.dies_in_sync) {
            self.end(Ending::Crash, env);
            return true;
        }
        process.syncing = None;
        self.disk.sync();
        env.tally.syncs = env.tally.syncs.saturating_add(1);
        let held = std::mem::take(&mut process.held);
        for output in held {
            self.carry_out(output, env);
        }
        false
    }

    fn resume(&mut self, env: &mut Env) {
        self.run(env);
    }

    fn wake(&mut self, env: &mut Env) {
        if self.wake_at == Some(env.now) {
            self.wake_at = None;
            self.run(env);
        }
    }
}

/// Inputs that share a sync.
const BATCH_MAX: usize = 1024;
/// The delay after which a supervisor restarts a process.
pub(crate) const RESTART_AFTER: Duration = Duration::from_secs(5);
/// The least time until a machine is asked again.
const MOMENT: Duration = Duration::from_micros(1);
