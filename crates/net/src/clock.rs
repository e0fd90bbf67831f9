//! The time that machines are told.

use std::time::{Instant as Monotonic, SystemTime};

use proto::Instant;

/// The wall clock at the start, and what has passed since; it never goes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    ticking: Monotonic,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let start = Instant::default().after(since_epoch.unwrap_or_default());
        Self { start, ticking: Monotonic::now() }
    }

    pub(crate) fn now(&self) -> Instant {
        self.start.after(self.ticking.elapsed())
    }
}
