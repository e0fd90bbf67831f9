//! Telling another node what is here, symbol by symbol, when it asks.

use std::ops::Range;

use proto::{Body, Code, Compare, Frame, Instant, LogId, Peer, Rows};
use reconcile::{Key, Sketch};

use super::{
    around::symbols_max,
    walk::{Scope, Set, Walk},
};

/// A comparison that another node has begun.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) log: Option<LogId>,
    key: Key,
    scope: Scope,
    sketch: Sketch,
    /// The question to be answered at the end of the walk.
    asked: Option<(u32, Range<usize>)>,
    walk: Option<Walk>,
    /// Entries that the other node may still say it lacks: no more than it was sent symbols.
    pub(super) wants: usize,
    pub(super) used: Instant,
}

impl Answering {
    pub(super) fn new(compare: &Compare, set: Set, now: Instant) -> Self {
        let Compare { log, key, part, symbols: _ } = compare;
        let key = Key(*key);
        let (log, scope, sketch) = (*log, Scope { set, part: *part }, Sketch::new(key));
        Self { log, key, scope, sketch, asked: None, walk: None, wants: 0, used: now }
    }

    /// Returns whether a question continues this comparison.
    pub(super) fn is_of(&self, compare: &Compare) -> bool {
        (self.log, self.key.0, self.scope.part) == (compare.log, compare.key, compare.part)
    }

    /// Returns whether the other node waits for an answer.
    pub(super) fn is_busy(&self) -> bool {
        self.asked.is_some()
    }

    /// The other node asks for symbols. The answer follows from [`Self::advance`].
    pub(super) fn ask(
        &mut self,
        peer: Peer,
        request: u32,
        compare: &Compare,
        now: Instant,
    ) -> Result<(), Code> {
        let number = |number: u32| usize::try_from(number).map_err(|_| Code::Malformed);
        let (from, to) = compare.symbols;
        let range = number(from)?..number(to)?;
        if range.is_empty() || range.end > symbols_max(self.scope.set) {
            return Err(Code::Malformed);
        }
        if self.asked.is_some() {
            return Err(Code::Busy);
        }
        self.used = now;
        if self.sketch.grow(range.end) {
            self.walk = Some(Walk::new(peer, self.scope, self.key));
        }
        self.asked = Some((request, range));
        Ok(())
    }

    /// Walks on, and answers at the end of the walk.
    pub(super) fn advance(&mut self, rows: &dyn Rows, room: &mut usize) -> Option<Frame> {
        if let Some(walk) = &mut self.walk {
            if !walk.advance(rows, room, |item, _| self.sketch.extend([item])) {
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
