//! Telling another node what is here, symbol by symbol, when it asks.

use std::ops::Range;

use proto::{Body, Code, Compare, Frame, Instant, LogId, Part, Peer, Rows};
use reconcile::{Key, Sketch};

use super::{
    symbols_max,
    walk::{Set, Walk},
};

/// A comparison that another node has begun.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) log: Option<LogId>,
    key: Key,
    part: Part,
    set: Set,
    sketch: Sketch,
    /// What is to be answered once all was walked through.
    asked: Option<(u32, Range<usize>)>,
    walk: Option<Walk>,
    /// Entries that the other may still say it lacks: no more than it was told symbols.
    pub(super) wants: usize,
    pub(super) used: Instant,
}

impl Answering {
    pub(super) fn new(compare: &Compare, set: Set, now: Instant) -> Self {
        let Compare { log, key, part, symbols: _ } = compare;
        let key = Key(*key);
        let sketch = Sketch::new(key);
        let (log, part) = (*log, *part);
        Self { log, key, part, set, sketch, asked: None, walk: None, wants: 0, used: now }
    }

    /// Tells whether a question goes on with this.
    pub(super) fn is_of(&self, compare: &Compare) -> bool {
        (self.log, self.key.0, self.part) == (compare.log, compare.key, compare.part)
    }

    /// Tells whether the other waits for an answer.
    pub(super) fn is_busy(&self) -> bool {
        self.asked.is_some()
    }

    /// The other asks for symbols. The answer follows from [`Self::go_on`].
    pub(super) fn ask(
        &mut self,
        peer: Peer,
        request: u32,
        (from, to): (u32, u32),
        now: Instant,
    ) -> Result<(), Code> {
        let number = |number: u32| usize::try_from(number).map_err(|_| Code::Malformed);
        let range = number(from)?..number(to)?;
        if range.is_empty() || range.end > symbols_max(self.set) {
            return Err(Code::Malformed);
        }
        if self.asked.is_some() {
            return Err(Code::Busy);
        }
        self.used = now;
        if self.sketch.grow(range.end) {
            self.walk = Some(Walk::new(peer, (self.set, self.part), self.key));
        }
        self.asked = Some((request, range));
        Ok(())
    }

    /// Walks on, and answers when there is nothing more to be walked through.
    pub(super) fn go_on(&mut self, rows: &dyn Rows, room: &mut usize) -> Option<Frame> {
        if let Some(walk) = &mut self.walk {
            if !walk.go_on(rows, room, |item, _| self.sketch.extend([item])) {
                return None;
            }
            self.walk = None;
        }
        let (request, range) = self.asked.take()?;
        self.wants = self.wants.saturating_add(range.len());
        let body = match self.sketch.portion(range, []) {
            Ok(portion) => Body::Symbols(portion),
            Err(_) => Body::Refused { code: Code::Malformed, newer: Vec::new() },
        };
        Some(Frame { request, body })
    }
}
