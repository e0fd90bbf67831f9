//! One connection to a peer, as the machine's thread and the connection's task share it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Waker,
    time::{Duration, Instant},
};

use proto::{Code, Frame, Lane, Peer, limits, write_frame};

use crate::{counters::Tally, lock::lock};

/// The queues between the machine and one connection.
#[derive(Debug)]
pub(crate) struct Link {
    peer: Peer,
    connection: quinn::Connection,
    /// This side dialled.
    dialled: bool,
    met_at: Option<SocketAddr>,
    opened: Instant,
    known: AtomicBool,
    /// Another connection of the same peer had to yield to this one.
    prevailed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    inbox: VecDeque<(Frame, usize)>,
    inbox_bytes: usize,
    outbox: [Outbox; LANES],
    /// How the connection's task is asked to end.
    ending: Option<Ending>,
    /// The task has ended; nothing follows what is in the inbox.
    ended: bool,
    /// In the registry's queue of links that the machine should serve.
    ready: bool,
    /// The task waits for room in the inbox.
    stalled: bool,
    task: Option<Waker>,
}

/// Frames of one lane on their way out, already encoded: whatever waits leaves as one write.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    /// With those that the task took and QUIC has not.
    pending: usize,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// After what waits to be sent.
    Flushed(Code),
    /// At once.
    Now(Code),
    /// It is gone already.
    Lost,
}

/// What [`Link::take`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// More frames.
    Frames,
    /// Nothing for now.
    Nothing,
    /// Nothing, and nothing will follow.
    Ended,
}

impl Link {
    /// The link of a connection that this side has dialled at this address.
    pub(crate) fn dialled(peer: Peer, connection: quinn::Connection, at: SocketAddr) -> Arc<Self> {
        Self::new(peer, connection, true, Some(at))
    }

    /// The link of a connection that the peer has dialled; see [`Self::met_at`].
    pub(crate) fn accepted(
        peer: Peer,
        connection: quinn::Connection,
        met_at: Option<SocketAddr>,
    ) -> Arc<Self> {
        Self::new(peer, connection, false, met_at)
    }

    fn new(
        peer: Peer,
        connection: quinn::Connection,
        dialled: bool,
        met_at: Option<SocketAddr>,
    ) -> Arc<Self> {
        Arc::new(Self {
            peer,
            connection,
            dialled,
            met_at,
            opened: Instant::now(),
            known: AtomicBool::new(false),
            prevailed: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    pub(crate) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    /// Returns whether this side has dialled.
    pub(crate) fn is_dialled(&self) -> bool {
        self.dialled
    }

    /// Returns where the handshake was answered, or `None` behind a relay. The peer may move later.
    pub(crate) fn met_at(&self) -> Option<SocketAddr> {
        self.met_at
    }

    /// Returns how long ago the connection was opened.
    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Notes that the machine knows this link. Returns true the first time.
    pub(crate) fn mark_known(&self) -> bool {
        !self.known.swap(true, Relaxed)
    }

    /// Notes that another connection of the same peer yields to this one. Returns true the first
    /// time.
    pub(crate) fn mark_prevailed(&self) -> bool {
        !self.prevailed.swap(true, Relaxed)
    }

    /// Queues a frame for the peer. If too much waits already, drops the frame and the connection;
    /// the peer resumes from its cursors on the next one.
    pub(crate) fn queue(&self, frame: &Frame, tally: &Tally) {
        let lane = frame.lane();
        let mut state = lock(&self.state);
        if state.ending.is_some() || state.ended {
            return;
        }
        let Some(outbox) = state.outbox.get_mut(lane as usize) else { return };
        let before = outbox.bytes.len();
        write_frame(frame, &mut outbox.bytes);
        let length = outbox.bytes.len().saturating_sub(before);
        let pending = outbox.pending.saturating_add(length);
        if pending > outbox_max(lane) {
            tally.count_dropped_frame();
            state.outbox = Default::default();
            drop(state);
            self.end(Ending::Now(Code::Busy));
            return;
        }
        outbox.pending = pending;
        tally.count_frame_out(length);
    }

    /// Wakes the connection's task to send what was queued.
    pub(crate) fn wake(&self) {
        let task = lock(&self.state).task.take();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Asks the connection's task to end; the first reason counts, but `Now` overtakes a flush.
    pub(crate) fn end(&self, ending: Ending) {
        let mut state = lock(&self.state);
        if state.ending.is_none() || matches!(ending, Ending::Now(_)) {
            state.ending = Some(ending);
        }
        drop(state);
        self.wake();
    }

    /// Moves at most `max` frames with their sizes to `frames`.
    pub(crate) fn take(&self, max: usize, frames: &mut Vec<(Frame, usize)>) -> Left {
        let mut state = lock(&self.state);
        let many = state.inbox.len().min(max);
        let from = frames.len();
        frames.extend(state.inbox.drain(..many));
        let taken = frames.iter().skip(from).map(|(_, size)| size).sum();
        state.inbox_bytes = state.inbox_bytes.saturating_sub(taken);
        if !state.inbox.is_empty() {
            return Left::Frames;
        }
        // An idle connection holds no buffer.
        state.inbox = VecDeque::new();
        state.ready = false;
        let left = if state.ended { Left::Ended } else { Left::Nothing };
        let stalled = std::mem::take(&mut state.stalled);
        drop(state);
        if stalled {
            self.wake();
        }
        left
    }

    /// Notes that the machine should serve this link. Returns true unless that was noted before.
    pub(crate) fn mark_ready(&self) -> bool {
        !std::mem::replace(&mut lock(&self.state).ready, true)
    }

    // What follows is for the connection's task.

    /// Leaves a waker, before the task looks for work. Returns how the task must end, if it must.
    pub(crate) fn register(&self, waker: &Waker) -> Option<Ending> {
        let mut state = lock(&self.state);
        if !state.task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            state.task = Some(waker.clone());
        }
        state.ending
    }

    /// Takes what waits to be sent on a lane.
    pub(crate) fn take_out(&self, lane: usize) -> Vec<u8> {
        let mut state = lock(&self.state);
        state
            .outbox
            .get_mut(lane)
            .map(|outbox| std::mem::take(&mut outbox.bytes))
            .unwrap_or_default()
    }

    /// Notes that QUIC has taken `written` bytes of a lane.
    pub(crate) fn mark_written(&self, lane: usize, written: usize) {
        if let Some(outbox) = lock(&self.state).outbox.get_mut(lane) {
            outbox.pending = outbox.pending.saturating_sub(written);
        }
    }

    /// Returns whether the machine is so far behind that no more should be read from this peer. If
    /// so, the task is woken when the machine has caught up.
    pub(crate) fn stalls(&self) -> bool {
        let mut state = lock(&self.state);
        state.stalled =
            state.inbox.len() >= INBOX_FRAMES_MAX || state.inbox_bytes >= INBOX_BYTES_MAX;
        state.stalled
    }

    /// Hands frames to the machine.
    pub(crate) fn put(&self, frames: &mut Vec<(Frame, usize)>) {
        let mut state = lock(&self.state);
        let bytes = frames.iter().map(|(_, size)| size).sum();
        state.inbox_bytes = state.inbox_bytes.saturating_add(bytes);
        state.inbox.extend(frames.drain(..));
    }

    /// Notes that the task has ended.
    pub(crate) fn mark_ended(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.outbox = Default::default();
        state.task = None;
    }
}

/// Returns how many bytes may wait on a lane. Frames aren't counted: they are encoded one behind
/// the other, so many small ones cost no more than a few large ones.
///
/// On the messages lane a node delivers up to a window of envelopes per log before it waits, and a
/// device that comes online may send its whole outbox, so it takes a full window of the largest
/// ones. On the bulk lane, a few pages that were asked for together.
fn outbox_max(lane: Lane) -> usize {
    match lane {
        Lane::Control => limits::QUEUE_BYTES_MAX,
        Lane::Messages => MESSAGES_BYTES_MAX,
        Lane::Bulk => BULK_BYTES_MAX,
    }
}

/// Streams of a connection: [`Lane`]s.
pub(crate) const LANES: usize = 3;
/// A full [`limits::DELIVER_WINDOW`] of the largest envelopes.
const MESSAGES_BYTES_MAX: usize = 256 * (limits::ENVELOPE_MAX + 1024);
const _: () = assert!(limits::DELIVER_WINDOW == 256);
/// Sixteen of the largest pages.
const BULK_BYTES_MAX: usize = 16 * limits::FRAME_MAX;
/// What one peer may have waiting for the machine: enough to fill a batch alone.
const INBOX_FRAMES_MAX: usize = 1024;
/// As [`INBOX_FRAMES_MAX`], and room for any one frame.
const INBOX_BYTES_MAX: usize = 512 * 1024;
