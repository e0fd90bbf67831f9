//! One of two machines, so that both kinds meet in one network.

use proto::{Frame, Input, Instant, Machine, OpenError, Output, Peer, Rows, Seed};

/// One of two machines, or what belongs to it: its configuration, a command or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

impl<A, B> Either<A, B> {
    /// Returns the first, or panics.
    pub fn left(self) -> A {
        let Self::Left(left) = self else { panic!("not of the first kind") };
        left
    }

    /// Returns the second, or panics.
    pub fn right(self) -> B {
        let Self::Right(right) = self else { panic!("not of the second kind") };
        right
    }

    /// Borrows the first, or panics.
    pub fn left_ref(&self) -> &A {
        let Self::Left(left) = self else { panic!("not of the first kind") };
        left
    }

    /// Borrows the second, or panics.
    pub fn right_ref(&self) -> &B {
        let Self::Right(right) = self else { panic!("not of the second kind") };
        right
    }
}

impl<A: Machine, B: Machine> Machine for Either<A, B> {
    type Config = Either<A::Config, B::Config>;
    type Command = Either<A::Command, B::Command>;
    type Event = Either<A::Event, B::Event>;

    fn open(
        config: Self::Config,
        seed: Seed,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<Self, OpenError> {
        Ok(match config {
            Either::Left(config) => Self::Left(A::open(config, seed, now, rows)?),
            Either::Right(config) => Self::Right(B::open(config, seed, now, rows)?),
        })
    }

    fn prefetch(&mut self, coming: &[(Peer, Frame)], rows: &dyn Rows) {
        match self {
            Self::Left(machine) => machine.prefetch(coming, rows),
            Self::Right(machine) => machine.prefetch(coming, rows),
        }
    }

    fn handle(&mut self, input: Input<Self::Command>, now: Instant, rows: &dyn Rows) {
        match self {
            Self::Left(machine) => machine.handle(map_input(input, Either::left), now, rows),
            Self::Right(machine) => machine.handle(map_input(input, Either::right), now, rows),
        }
    }

    fn poll_output(&mut self) -> Option<Output<Self::Event>> {
        match self {
            Self::Left(machine) => Some(map_output(machine.poll_output()?, Either::Left)),
            Self::Right(machine) => Some(map_output(machine.poll_output()?, Either::Right)),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Left(machine) => machine.poll_timeout(),
            Self::Right(machine) => machine.poll_timeout(),
        }
    }
}

fn map_input<C, D>(input: Input<C>, command: fn(C) -> D) -> Input<D> {
    match input {
        Input::Command(asked) => Input::Command(command(asked)),
        Input::Connected(peer, at) => Input::Connected(peer, at),
        Input::Frame(peer, frame) => Input::Frame(peer, frame),
        Input::Disconnected(peer) => Input::Disconnected(peer),
        Input::Reached(reached) => Input::Reached(reached),
        Input::Timeout => Input::Timeout,
    }
}

fn map_output<E, F>(output: Output<E>, event: fn(E) -> F) -> Output<F> {
    match output {
        Output::Commit(batch) => Output::Commit(batch),
        Output::Note(batch) => Output::Note(batch),
        Output::Connect(peer, at) => Output::Connect(peer, at),
        Output::Disconnect(peer) => Output::Disconnect(peer),
        Output::Transmit(peer, frame) => Output::Transmit(peer, frame),
        Output::Reach(reach) => Output::Reach(reach),
        Output::Event(told) => Output::Event(event(told)),
    }
}
