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

use proto::{Body, Code, Frame, Input, Machine, Output, Peer, Reach, Reached, RelayPort};
use store::{Store, StoreError};
use tokio::sync::mpsc;

use crate::{
    clock::Clock,
    events::EventQueue,
    hub::Hub,
    link::{Ending, Left, Link},
    relay::Relays,
};

/// Something the application wants to know of the rows.
pub(crate) type Question = Box<dyn FnOnce(&dyn Store) + Send>;

/// A machine and all it touches.
pub(crate) struct Engine<M: Machine, S> {
    pub(crate) machine: M,
    pub(crate) store: S,
    pub(crate) clock: Clock,
    pub(crate) hub: Arc<Hub>,
    pub(crate) commands: mpsc::Receiver<M::Command>,
    pub(crate) questions: mpsc::Receiver<Question>,
    pub(crate) events: Arc<EventQueue<M::Event>>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) work: Work<M::Event>,
}

/// What the thread has under way.
pub(crate) struct Work<E> {
    /// Links that the machine knows as connected.
    links: BTreeMap<Peer, Arc<Link>>,
    /// Links with something newly queued, in the order of their first: a machine that delivers
    /// before it acknowledges has a reason, and to wake one task may cost this thread its core.
    touched: Vec<Arc<Link>>,
    /// The peers of those.
    touched_peers: BTreeSet<Peer>,
    /// What follows a commit that is not durable yet.
    held: Vec<Output<E>>,
    uncommitted: bool,
    /// Open for as long as the machine knows the peer as connected.
    relays: Relays,
    /// What the machine asked for and is to be told next.
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
            relays: Relays::default(),
            relayed: Vec::new(),
            inputs: 0,
        }
    }
}

impl<E> Work<E> {
    /// What waits to be said to a peer was meant for a connection that is over: on the next one it would
    /// be out of place.
    fn forget_said(&mut self, peer: Peer) {
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
    /// Runs until asked to stop, or until the store fails.
    pub(crate) fn run(mut self) -> Result<(), StoreError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        // What the machine wants before its first input, such as connections.
        self.drain()?;
        self.settle()?;
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            let busy = self.answer(&mut cx) | self.batch(&mut cx)?;
            if stopping {
                // What was only noted, too.
                self.store.sync()?;
                self.say_goodbye();
                return Ok(());
            }
            if !busy {
                self.rest();
            }
        }
    }

    /// Handles what waits, makes it durable, and lets out what followed.
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
        self.settle()?;
        Ok(busy)
    }

    /// Tells the machine of the relays that it asked for, and of whom it had tried to reach.
    fn take_answers(&mut self, room: &mut Room) -> Result<bool, StoreError> {
        let relayed = std::mem::take(&mut self.work.relayed);
        let relayed = relayed.into_iter().map(|(peer, port)| Reached::Relayed(peer, port));
        let tried = self.hub.tried().into_iter().map(|(peer, there)| Reached::Tried(peer, there));
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
            let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) else {
                return Ok(taken > 0);
            };
            room.take(0);
            self.input(Input::Command(command))?;
        }
        Ok(true)
    }

    /// Gives the links that wait their turns, as far as there is room.
    fn take_frames(&mut self, room: &mut Room) -> Result<bool, StoreError> {
        let (turns, frames) = self.gather(room);
        if frames.len() > 1 {
            self.machine.foresee(&frames, self.store.as_rows());
        }
        let busy = !turns.is_empty();
        let mut frames = frames.into_iter();
        for turn in turns {
            self.take_turn(turn, &mut frames)?;
        }
        Ok(busy)
    }

    /// Takes what waits from one link after the other, so that the machine can be told of all of
    /// it before it is handed the first.
    fn gather(&self, room: &mut Room) -> (Vec<Turn>, Vec<(Peer, Frame)>) {
        let (mut turns, mut gathered, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        while room.is_left()
            && let Some(link) = self.hub.next_ready()
        {
            let is_new = link.is_new();
            let left = link.take(TURN_MAX.min(room.inputs), &mut taken);
            let frames = taken.len();
            for (frame, size) in taken.drain(..) {
                room.take(size);
                gathered.push((link.peer, frame));
            }
            if left == Left::Frames {
                self.hub.stays_ready(Arc::clone(&link));
            }
            turns.push(Turn { link, is_new, frames, left });
        }
        (turns, gathered)
    }

    /// Hands one link's turn to the machine, whose frames come next in `frames`.
    fn take_turn(
        &mut self,
        Turn { link, is_new, frames: many, left }: Turn,
        frames: &mut impl Iterator<Item = (Peer, Frame)>,
    ) -> Result<(), StoreError> {
        if is_new {
            if self.work.links.insert(link.peer, Arc::clone(&link)).is_some() {
                self.disconnected(link.peer)?;
            }
            self.work.forget_said(link.peer);
            // What was said in this batch woke the old link; the new one has to be woken as well.
            self.work.touched_peers.remove(&link.peer);
            self.input(Input::Connected(link.peer, link.met_at))?;
        }
        let current =
            self.work.links.get(&link.peer).is_some_and(|known| Arc::ptr_eq(known, &link));
        for (peer, frame) in frames.take(many) {
            if current {
                self.input(Input::Frame(peer, frame))?;
            }
        }
        if left == Left::Ended && current {
            self.work.links.remove(&link.peer);
            self.disconnected(link.peer)?;
        }
        Ok(())
    }

    fn disconnected(&mut self, peer: Peer) -> Result<(), StoreError> {
        self.work.relays.close(&peer);
        // The machine hears of a relay as it hears frames: while the peer is connected.
        self.work.relayed.retain(|(of, _)| *of != peer);
        self.work.forget_said(peer);
        self.input(Input::Disconnected(peer))
    }

    fn input(&mut self, input: Input<M::Command>) -> Result<(), StoreError> {
        self.work.inputs = self.work.inputs.saturating_add(1);
        self.machine.handle(input, self.clock.now(), self.store.as_rows());
        self.drain()
    }

    /// Carries out what the machine wants, as far as it may leave already.
    fn drain(&mut self) -> Result<(), StoreError> {
        // Nothing concluded from rows that could not be read is carried out.
        if let Some(fault) = self.store.fault() {
            return Err(fault);
        }
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Commit(batch) => {
                    self.store.apply(&batch)?;
                    self.hub.tally.commits.add(1);
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

    /// Ends a batch: one sync for all its commits, then what they held back.
    fn settle(&mut self) -> Result<(), StoreError> {
        self.send();
        let handled = std::mem::take(&mut self.work.inputs);
        self.hub.tally.inputs.add(handled);
        if self.work.uncommitted {
            self.store.sync()?;
            self.work.uncommitted = false;
            self.hub.tally.syncs.add(1);
            self.hub.tally.inputs_synced.add(handled);
            for output in std::mem::take(&mut self.work.held) {
                self.carry_out(output);
            }
            self.send();
        }
        Ok(())
    }

    fn carry_out(&mut self, output: Output<M::Event>) {
        match output {
            Output::Transmit(peer, frame) => {
                if let Some(link) = self.work.links.get(&peer) {
                    link.queue(&frame, &self.hub.tally);
                    if self.work.touched_peers.insert(peer) {
                        self.work.touched.push(Arc::clone(link));
                    }
                }
            }
            Output::Connect(peer, addresses) => self.hub.dial(peer, addresses),
            Output::Disconnect(peer) => self.hub.hang_up(&peer),
            Output::Event(event) => self.events.push(event),
            Output::Reach(reach) => self.reach(reach),
            // Applied where they came out; see `drain`.
            Output::Commit(_) | Output::Note(_) => {}
        }
    }

    fn reach(&mut self, reach: Reach) {
        match reach {
            Reach::Relay(peer) => {
                if self.work.links.contains_key(&peer) {
                    let port = self.work.relays.open(&self.hub, peer);
                    self.work.relayed.push((peer, port));
                }
            }
            Reach::Tunnel { through, at, token } => {
                if self.work.links.contains_key(&through) {
                    self.work.relays.tunnel(&self.hub, through, at, token);
                }
            }
            Reach::Try(peer, addresses) => self.hub.try_to_reach(peer, addresses),
        }
    }

    /// Wakes the tasks of all links with something new.
    fn send(&mut self) {
        self.work.touched_peers.clear();
        for link in self.work.touched.drain(..) {
            link.wake();
        }
    }

    /// Lets the application read rows, all commits in them durable.
    fn answer(&mut self, cx: &mut Context<'_>) -> bool {
        for answered in 0..TURN_MAX {
            let Poll::Ready(Some(question)) = self.questions.poll_recv(cx) else {
                return answered > 0;
            };
            question(&self.store);
        }
        true
    }

    /// Sleeps until somebody wakes this thread or the machine's time has come.
    fn rest(&self) {
        match self.machine.poll_timeout() {
            Some(due) => thread::park_timeout(due.since(self.clock.now())),
            None => thread::park(),
        }
    }

    fn say_goodbye(&self) {
        self.hub.dial_no_more();
        for link in self.work.links.values() {
            link.queue(&Frame::new(Body::Goodbye(Code::Done)), &self.hub.tally);
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
/// Bytes of frames before a sync, likewise.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Inputs from one source before the next has its turn.
const TURN_MAX: usize = 64;
