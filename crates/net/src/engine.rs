//! The machine's thread: feeds the machine, commits, and lets nothing leave too early.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use proto::{
    Body, Code, Frame, Input, Machine, OpenError, Output, Peer, Reach, Reached, RelayPort, Seed,
};
use store::{Store, StoreError};
use tokio::sync::mpsc;

use crate::{
    clock::Clock,
    events::EventQueue,
    link::{Ending, Left, Link},
    registry::Registry,
    spawner::Spawner,
};

/// A read of the rows for the application.
pub(crate) type Question = Box<dyn FnOnce(&dyn Store) + Send>;

/// A machine and all it touches.
pub(crate) struct Engine<M: Machine, S> {
    machine: M,
    store: S,
    clock: Clock,
    tasks: Tasks,
    inbox: Inbox<M::Command>,
    events: Arc<EventQueue<M::Event>>,
    work: Work<M::Event>,
}

/// What the thread shares with the tasks of the driver.
pub(crate) struct Tasks {
    registry: Arc<Registry>,
    spawner: Arc<Spawner>,
}

impl Tasks {
    pub(crate) fn new(registry: Arc<Registry>, spawner: Arc<Spawner>) -> Self {
        Self { registry, spawner }
    }
}

/// What the application asks of the thread.
pub(crate) struct Inbox<C> {
    commands: mpsc::Receiver<C>,
    questions: mpsc::Receiver<Question>,
    stop: Arc<AtomicBool>,
}

impl<C> Inbox<C> {
    pub(crate) fn new(
        commands: mpsc::Receiver<C>,
        questions: mpsc::Receiver<Question>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self { commands, questions, stop }
    }
}

/// What the thread has in progress.
struct Work<E> {
    /// Links that the machine knows as connected.
    links: BTreeMap<Peer, Arc<Link>>,
    /// Links with newly queued frames, in the order in which the machine used them. A machine that
    /// delivers before it acknowledges has a reason, and waking a task may cost this thread its
    /// core.
    touched: Vec<Arc<Link>>,
    /// The peers of `touched`.
    touched_peers: BTreeSet<Peer>,
    /// What follows a commit that is not durable yet.
    held: Vec<Output<E>>,
    uncommitted: bool,
    /// Relay ports that the machine must be told of next.
    relayed: Vec<(Peer, Option<RelayPort>)>,
    inputs: u64,
}

impl<E> Default for Work<E> {
    fn default() -> Self {
        Self {
            links: BTreeMap::new(),
            touched: Vec::new(),
            touched_peers: BTreeSet::new(),
            held: Vec::new(),
            uncommitted: false,
            relayed: Vec::new(),
            inputs: 0,
        }
    }
}

impl<E> Work<E> {
    /// Drops held frames for a peer: they were meant for a connection that has ended, and must not
    /// be sent on the next one.
    fn drop_held(&mut self, peer: Peer) {
        self.held.retain(|output| !matches!(output, Output::Transmit(to, _) if *to == peer));
    }
}

/// What one link has for the machine, apart from the frames themselves.
struct Turn {
    link: Arc<Link>,
    /// The machine does not know it yet.
    is_new: bool,
    frames: usize,
    left: Left,
}

/// How much of a batch may still be handled before its sync.
struct Room {
    inputs: usize,
    bytes: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) {
        self.inputs = self.inputs.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn is_left(&self) -> bool {
        self.inputs > 0 && self.bytes > 0
    }
}

impl<M: Machine, S: Store> Engine<M, S> {
    /// Opens the machine from the rows in `store`.
    pub(crate) fn open(
        config: M::Config,
        seed: Seed,
        store: S,
        tasks: Tasks,
        inbox: Inbox<M::Command>,
        events: &Arc<EventQueue<M::Event>>,
    ) -> Result<Self, OpenError> {
        let clock = tasks.registry.clock();
        let machine = M::open(config, seed, clock.now(), store.as_rows())?;
        let (events, work) = (Arc::clone(events), Work::default());
        Ok(Self { machine, store, clock, tasks, inbox, events, work })
    }

    /// Runs until asked to stop, or until the store fails.
    pub(crate) fn run(mut self) -> Result<(), StoreError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        // The outputs of opening the machine, such as connections.
        self.drain()?;
        self.finish_step()?;
        loop {
            let stopping = self.inbox.stop.load(Ordering::Acquire);
            let busy = self.answer(&mut cx) | self.batch(&mut cx)?;
            if stopping {
                // Makes notes durable, too.
                self.store.sync()?;
                self.say_goodbye();
                return Ok(());
            }
            if !busy {
                self.rest();
            }
        }
    }

    /// Handles what waits, makes it durable, and then carries out what followed.
    fn batch(&mut self, cx: &mut Context<'_>) -> Result<bool, StoreError> {
        let mut room = Room { inputs: BATCH_INPUTS_MAX, bytes: BATCH_BYTES_MAX };
        if self.machine.poll_timeout().is_some_and(|due| due <= self.clock.now()) {
            self.input(Input::Timeout)?;
        }
        while room.is_left() {
            let answers = self.take_answers(&mut room)?;
            let commands = self.take_commands(&mut room, cx)?;
            let frames = !self.events.is_full() && self.take_frames(&mut room)?;
            if !answers && !commands && !frames {
                break;
            }
        }
        let busy = self.work.inputs > 0;
        self.finish_step()?;
        Ok(busy)
    }

    /// Hands the machine the answers to its relay requests and dial probes.
    fn take_answers(&mut self, room: &mut Room) -> Result<bool, StoreError> {
        let relayed = std::mem::take(&mut self.work.relayed);
        let relayed = relayed.into_iter().map(|(peer, port)| Reached::Relayed(peer, port));
        let tried = self
            .tasks
            .registry
            .take_tried()
            .into_iter()
            .map(|(peer, there)| Reached::Tried(peer, there));
        let answers: Vec<_> = relayed.chain(tried).collect();
        let busy = !answers.is_empty();
        for answer in answers {
            room.take(0);
            self.input(Input::Reached(answer))?;
        }
        Ok(busy)
    }

    fn take_commands(&mut self, room: &mut Room, cx: &mut Context<'_>) -> Result<bool, StoreError> {
        for taken in 0..TURN_MAX {
            let Poll::Ready(Some(command)) = self.inbox.commands.poll_recv(cx) else {
                return Ok(taken > 0);
            };
            room.take(0);
            self.input(Input::Command(command))?;
        }
        Ok(true)
    }

    /// Gives each waiting link a turn, as far as there is room.
    fn take_frames(&mut self, room: &mut Room) -> Result<bool, StoreError> {
        let (turns, frames) = self.gather(room);
        if frames.len() > 1 {
            self.machine.prefetch(&frames, self.store.as_rows());
        }
        let busy = !turns.is_empty();
        let mut frames = frames.into_iter();
        for turn in turns {
            self.take_turn(turn, &mut frames)?;
        }
        Ok(busy)
    }

    /// Takes the waiting frames of one link after the other, so that the machine can prefetch all
    /// of them before it handles the first.
    fn gather(&self, room: &mut Room) -> (Vec<Turn>, Vec<(Peer, Frame)>) {
        let (mut turns, mut gathered, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        while room.is_left()
            && let Some(link) = self.tasks.registry.next_ready()
        {
            let is_new = link.mark_known();
            let left = link.take(TURN_MAX.min(room.inputs), &mut taken);
            let frames = taken.len();
            for (frame, size) in taken.drain(..) {
                room.take(size);
                gathered.push((link.peer(), frame));
            }
            if left == Left::Frames {
                self.tasks.registry.requeue(Arc::clone(&link));
            }
            turns.push(Turn { link, is_new, frames, left });
        }
        (turns, gathered)
    }

    /// Hands one link's turn to the machine, whose frames come next in `frames`.
    fn take_turn(
        &mut self,
        turn: Turn,
        frames: &mut impl Iterator<Item = (Peer, Frame)>,
    ) -> Result<(), StoreError> {
        let Turn { link, is_new, frames: many, left } = turn;
        let peer = link.peer();
        if is_new {
            if self.work.links.insert(peer, Arc::clone(&link)).is_some() {
                self.disconnected(peer)?;
            }
            self.work.drop_held(peer);
            // Frames of this batch wake the old link; the new one has to be woken as well.
            self.work.touched_peers.remove(&peer);
            self.input(Input::Connected(peer, link.met_at()))?;
        }
        let current = self.work.links.get(&peer).is_some_and(|known| Arc::ptr_eq(known, &link));
        for (peer, frame) in frames.take(many) {
            if current {
                self.input(Input::Frame(peer, frame))?;
            }
        }
        if left == Left::Ended && current {
            self.work.links.remove(&peer);
            self.disconnected(peer)?;
        }
        Ok(())
    }

    fn disconnected(&mut self, peer: Peer) -> Result<(), StoreError> {
        self.tasks.spawner.close_relays(&peer);
        // As with frames, the machine is told of a relay only while the peer is connected.
        self.work.relayed.retain(|(of, _)| *of != peer);
        self.work.drop_held(peer);
        self.input(Input::Disconnected(peer))
    }

    fn input(&mut self, input: Input<M::Command>) -> Result<(), StoreError> {
        self.work.inputs = self.work.inputs.saturating_add(1);
        self.machine.handle(input, self.clock.now(), self.store.as_rows());
        self.drain()
    }

    /// Carries out the machine's outputs; those that follow a commit are held.
    fn drain(&mut self) -> Result<(), StoreError> {
        // Nothing derived from rows that could not be read is carried out.
        if let Some(fault) = self.store.fault() {
            return Err(fault);
        }
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Commit(batch) => {
                    self.store.apply(&batch)?;
                    self.tasks.registry.tally().count_commit();
                    self.work.uncommitted = true;
                }
                Output::Note(batch) => self.store.apply(&batch)?,
                Output::Connect(..)
                | Output::Disconnect(_)
                | Output::Transmit(..)
                | Output::Reach(_)
                | Output::Event(_) => {
                    if self.work.uncommitted {
                        self.work.held.push(output);
                    } else {
                        self.carry_out(output);
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends a batch: one sync for all its commits, then the held outputs.
    fn finish_step(&mut self) -> Result<(), StoreError> {
        self.wake_touched();
        let handled = std::mem::take(&mut self.work.inputs);
        self.tasks.registry.tally().count_inputs(handled);
        if self.work.uncommitted {
            self.store.sync()?;
            self.work.uncommitted = false;
            self.tasks.registry.tally().count_sync(handled);
            for output in std::mem::take(&mut self.work.held) {
                self.carry_out(output);
            }
            self.wake_touched();
        }
        Ok(())
    }

    fn carry_out(&mut self, output: Output<M::Event>) {
        match output {
            Output::Transmit(peer, frame) => {
                if let Some(link) = self.work.links.get(&peer) {
                    link.queue(&frame, self.tasks.registry.tally());
                    if self.work.touched_peers.insert(peer) {
                        self.work.touched.push(Arc::clone(link));
                    }
                }
            }
            Output::Connect(peer, addresses) => self.tasks.spawner.dial(peer, addresses),
            Output::Disconnect(peer) => self.tasks.spawner.hang_up(&peer),
            Output::Event(event) => self.events.push(event),
            Output::Reach(reach) => self.reach(reach),
            // Applied in `drain`.
            Output::Commit(_) | Output::Note(_) => {}
        }
    }

    fn reach(&mut self, reach: Reach) {
        match reach {
            Reach::Relay(peer) => {
                if self.work.links.contains_key(&peer) {
                    let port = self.tasks.spawner.open_relay(peer);
                    self.work.relayed.push((peer, port));
                }
            }
            Reach::Tunnel { through, at, token } => {
                if self.work.links.contains_key(&through) {
                    self.tasks.spawner.open_tunnel(through, at, token);
                }
            }
            Reach::Try(peer, addresses) => self.tasks.spawner.probe(peer, addresses),
        }
    }

    /// Wakes the tasks of all links with newly queued frames.
    fn wake_touched(&mut self) {
        self.work.touched_peers.clear();
        for link in self.work.touched.drain(..) {
            link.wake();
        }
    }

    /// Answers reads of the application; all commits in the rows are durable.
    fn answer(&mut self, cx: &mut Context<'_>) -> bool {
        for answered in 0..TURN_MAX {
            let Poll::Ready(Some(question)) = self.inbox.questions.poll_recv(cx) else {
                return answered > 0;
            };
            question(&self.store);
        }
        true
    }

    /// Sleeps until another thread wakes this one or the machine's timeout is due.
    fn rest(&self) {
        match self.machine.poll_timeout() {
            Some(due) => thread::park_timeout(due.since(self.clock.now())),
            None => thread::park(),
        }
    }

    fn say_goodbye(&self) {
        self.tasks.spawner.stop_dialling();
        for link in self.work.links.values() {
            link.queue(&Frame::new(Body::Goodbye(Code::Done)), self.tasks.registry.tally());
            link.end(Ending::Flushed(Code::Done));
        }
    }
}

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Inputs before a sync: more would make the first wait noticeably longer than its sync takes.
const BATCH_INPUTS_MAX: usize = 1024;
/// Bytes of frames before a sync, for the same reason.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Inputs from one source before the next source's turn.
const TURN_MAX: usize = 64;
