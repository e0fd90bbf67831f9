//! One connection: its two ends, and what is between them.

use std::time::Duration;

use proto::{Instant, Lane, Peer};

use super::{
    packet::{Call, HostId, LinkId, Notice, Side, What},
    paths::Paths,
    stream::Stream,
};

#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) call: Call,
    pub(super) dialled: Instant,
    pub(super) dialler: End,
    pub(super) listener: End,
    /// The hosts don't hear each other, or one end is gone without a word. Who is still there is
    /// watching then.
    pub(super) troubled: bool,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: HostId,
    /// The life of the host that it belongs to.
    pub(super) life: u32,
    pub(super) state: State,
    /// When it came to that state.
    pub(super) since: Instant,
    /// When it last heard of the other. While all is well keep-alives don't count; see
    /// [`Link::falter`].
    pub(super) heard: Instant,
    /// When it last sent something.
    pub(super) sent: Instant,
    /// When it first sent something that it has reason to miss an answer to.
    pub(super) owed: Option<Instant>,
    /// When it will check whether to close the connection.
    pub(super) watched: Option<Instant>,
    /// What it says.
    pub(super) out: Out,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not connected yet.
    Coming,
    Open,
    /// It was broken off, and its driver must still be told.
    Failing,
    /// It was hung up: all that it sent goes its way.
    Leaving,
    /// What has not left when it came to this won't.
    Gone,
}

/// What one end says.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) lanes: [Stream; 3],
    /// Nothing arrives before.
    pub(super) opens: Instant,
    /// The last word of the handshake, or the goodbye, waits for the end of a cut.
    pub(super) stuck_finish: bool,
    pub(super) stuck_bye: bool,
}

impl Link {
    pub(super) fn hosts(&self) -> [HostId; 2] {
        [self.dialler.host, self.listener.host]
    }

    /// Returns whether no side will hear of it again.
    pub(super) fn is_over(&self) -> bool {
        let over = |end: &End| matches!(end.state, State::Leaving | State::Gone);
        // A listener that never received the end of the handshake has not reported it.
        let stillborn = self.listener.state == State::Coming && self.dialler.out.stuck_finish;
        over(&self.dialler) && (over(&self.listener) || stillborn)
    }

    pub(super) fn end(&self, side: Side) -> &End {
        match side {
            Side::Dialler => &self.dialler,
            Side::Listener => &self.listener,
        }
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Dialler => &mut self.dialler,
            Side::Listener => &mut self.listener,
        }
    }

    /// That end, then the other.
    pub(super) fn ends_mut(&mut self, side: Side) -> (&mut End, &mut End) {
        match side {
            Side::Dialler => (&mut self.dialler, &mut self.listener),
            Side::Listener => (&mut self.listener, &mut self.dialler),
        }
    }

    /// The host of that side, then the other.
    pub(super) fn way(&self, side: Side) -> (HostId, HostId) {
        (self.end(side).host, self.end(side.other()).host)
    }

    pub(super) fn severed(&self, paths: &Paths) -> Option<Instant> {
        paths.severed(self.dialler.host, self.listener.host)
    }

    pub(super) fn round_trip(&self, paths: &Paths) -> Duration {
        paths.round_trip(self.dialler.host, self.listener.host)
    }

    /// What `side` has proved to be.
    pub(super) fn key(&self, side: Side) -> Peer {
        match side {
            Side::Dialler => self.call.own,
            Side::Listener => self.call.peer,
        }
    }

    /// Something on its way is there.
    pub(super) fn pass(
        &mut self,
        side: Side,
        what: What,
        now: Instant,
        paths: &mut Paths,
    ) -> Option<Notice> {
        match what {
            What::Hello => {
                self.hello(now, paths);
                None
            }
            What::Answer { departs } => self.answer(departs, now, paths),
            What::Finish { departs } => self.finish(departs, now, paths),
            What::Frame(frame) => self.arrive(side, frame, now, paths),
            What::Bye { departs, flushed } => self.bye(side, departs, flushed, now, paths),
            What::Release => {
                self.release(side, now, paths);
                None
            }
            What::Check { due } => self.check(side, due, now, paths),
            What::Reset => self.reset(side, now, paths),
            What::Over => {
                (self.end(side).state == State::Failing).then(|| self.conclude(side, now))
            }
        }
    }

    /// The connection is over for this side, whose driver must hear of it.
    pub(super) fn conclude(&mut self, side: Side, now: Instant) -> Notice {
        let link = self.id;
        let end = self.end_mut(side);
        end.set(State::Gone, now);
        Notice::Ended { host: end.host, link }
    }

    /// The host of an end, or of both, has died, and so do its ends that are at such a state.
    pub(super) fn host_died(
        &mut self,
        host: HostId,
        dies: impl Fn(State) -> bool,
        now: Instant,
        paths: &mut Paths,
    ) {
        if self.dialler.host == host && self.dialler.state == State::Coming {
            // The listener was told nothing yet.
            self.listener.set(State::Gone, now);
        }
        for side in [Side::Dialler, Side::Listener] {
            let end = self.end_mut(side);
            if end.host == host && end.state != State::Gone && dies(end.state) {
                end.set(State::Gone, now);
                self.falter(now, paths);
            }
        }
    }
}

impl End {
    pub(super) fn new(host: HostId, now: Instant, paths: &Paths) -> Self {
        let (owed, watched, out) = Default::default();
        let (life, state) = (paths.life(host), State::Coming);
        Self { host, life, state, since: now, heard: now, sent: now, owed, watched, out }
    }

    pub(super) fn set(&mut self, state: State, now: Instant) {
        (self.state, self.since) = (state, now);
    }

    /// It will say nothing more, and may not have said so.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.state, State::Failing | State::Gone)
    }

    /// What would have left then has not.
    pub(super) fn left_before(&self, departs: Instant) -> bool {
        self.is_silent() && self.since < departs
    }
}

impl Out {
    pub(super) fn lane(&mut self, lane: Lane) -> &mut Stream {
        let [control, messages, bulk] = &mut self.lanes;
        match lane {
            Lane::Control => control,
            Lane::Messages => messages,
            Lane::Bulk => bulk,
        }
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.stuck_finish || self.stuck_bye || self.lanes.iter().any(Stream::is_stuck)
    }

    /// What is stuck won't come.
    pub(super) fn drop_stuck(&mut self) {
        (self.stuck_finish, self.stuck_bye) = (false, false);
        self.lanes.iter_mut().for_each(Stream::drop_stuck);
    }
}
