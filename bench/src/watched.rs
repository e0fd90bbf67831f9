//! A machine that notes when it began and finished what concerns a message.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant as Moment,
};

use proto::{Body, Frame, Input, Instant, Machine, OpenError, Output, Peer, Rows, Seed};

/// Any machine, watched.
#[derive(Debug)]
pub(crate) struct Watched<M> {
    machine: M,
    moments: Arc<Moments>,
}

/// When the last command and the last delivery were handled: begin and end of each.
#[derive(Debug, Default)]
pub(crate) struct Moments(Mutex<[Option<(Moment, Moment)>; 2]>);

impl Moments {
    pub(crate) fn read(&self) -> [Option<(Moment, Moment)>; 2] {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, which: usize, begin: Moment) {
        let mut moments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        moments[which] = Some((begin, Moment::now()));
    }
}

impl<M: Machine> Machine for Watched<M> {
    type Config = (M::Config, Arc<Moments>);
    type Command = M::Command;
    type Event = M::Event;

    fn open(
        config: Self::Config,
        seed: Seed,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<Self, OpenError> {
        let (config, moments) = config;
        Ok(Self { machine: M::open(config, seed, now, rows)?, moments })
    }

    fn prefetch(&mut self, coming: &[(Peer, Frame)], rows: &dyn Rows) {
        self.machine.prefetch(coming, rows);
    }

    fn handle(&mut self, input: Input<M::Command>, now: Instant, rows: &dyn Rows) {
        let which = match &input {
            Input::Command(_) => Some(0),
            Input::Frame(_, frame) if matches!(frame.body, Body::Deliver { .. }) => Some(1),
            _ => None,
        };
        let begin = Moment::now();
        self.machine.handle(input, now, rows);
        if let Some(which) = which {
            self.moments.note(which, begin);
        }
    }

    fn poll_output(&mut self) -> Option<Output<M::Event>> {
        self.machine.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }
}
