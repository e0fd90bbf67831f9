//! Comparing with another node, from the question to the entries that one of the two lacks: first
//! which logs differ, then, log by log, in which entries.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use proto::{Body, Code, Compare, Frame, Instant, LogId, Part, Peer, Reference, limits};
use reconcile::{Comparison, Difference, Error, Item, Key};

use super::{
    around::{Around, Draws, symbols_max},
    walk::{Scope, Set, Walk, after, finer},
};
use crate::replica::{Answered, is_marked};

/// A comparison that this node has begun.
#[derive(Debug)]
pub(super) struct Asking {
    peer: Peer,
    stage: Stage,
    /// The request that the other node has not answered.
    request: Option<u32>,
    /// The current part of all logs.
    logs: Part,
    /// Logs that differ and are yet to be compared.
    differing: VecDeque<u64>,
    outcome: Outcome,
    /// It ends then if there is no progress.
    until: Instant,
    /// It ends then in any case.
    end: Instant,
}

/// How a comparison went, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Equal,
    /// Some logs could not be compared this time.
    Unfinished,
    Differed,
}

#[derive(Debug)]
enum Stage {
    Comparing(Comparing),
    /// Which logs are these?
    Naming {
        items: BTreeSet<Item>,
        walk: Walk,
    },
    Repairing(Repair),
    /// The current log is done.
    Next,
    Over,
}

#[derive(Debug)]
struct Comparing {
    key: Key,
    scope: Scope,
    comparison: Comparison,
    /// The symbols of the other node, until this side is ready for them.
    portion: Option<Vec<u8>>,
    walk: Option<Walk>,
}

#[derive(Debug)]
struct Repair {
    scope: Scope,
    /// What the other node lacks.
    ours: Vec<Item>,
    /// What this node lacks, and which of it was asked for last.
    theirs: Vec<Item>,
    asked: Vec<Item>,
    resume: Instant,
}

impl Asking {
    pub(super) fn begin(peer: Peer, draws: &mut Draws, now: Instant) -> (Self, Frame) {
        let mut asking = Self {
            peer,
            stage: Stage::Over,
            request: None,
            logs: Part::ALL,
            differing: VecDeque::new(),
            outcome: Outcome::Equal,
            until: now.after(ANSWER_TIMEOUT),
            end: now.after(ROUND_MAX),
        };
        let comparing = Comparing::new(Scope { set: Set::Logs, part: Part::ALL }, draws);
        let frame = asking.ask(comparing, None, draws);
        (asking, frame)
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.deadline() <= now
    }

    /// Returns what it counts as if it ends now.
    pub(super) fn outcome(&self) -> Outcome {
        let is_over = matches!(self.stage, Stage::Over);
        self.outcome.max(if is_over { Outcome::Equal } else { Outcome::Unfinished })
    }

    /// Returns when it ends unless there is progress.
    pub(super) fn deadline(&self) -> Instant {
        let is_over = matches!(self.stage, Stage::Over);
        if is_over { Instant::default() } else { self.until.min(self.end) }
    }

    /// Returns the number of logs to be compared, and of items of the current log.
    pub(super) fn fullness(&self) -> [usize; 2] {
        let items = match &self.stage {
            Stage::Naming { items, .. } => items.len(),
            Stage::Repairing(Repair { ours, theirs, asked, .. }) => {
                ours.len().saturating_add(theirs.len()).saturating_add(asked.len())
            }
            Stage::Comparing(_) | Stage::Next | Stage::Over => 0,
        };
        [self.differing.len(), items]
    }

    /// Returns whether it can advance without the other node.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        match &self.stage {
            Stage::Comparing(comparing) => comparing.walk.is_some() || comparing.portion.is_some(),
            Stage::Naming { .. } | Stage::Next => true,
            Stage::Repairing(repair) => {
                let is_free = self.request.is_none() && repair.resume <= now;
                is_free || !repair.ours.is_empty()
            }
            Stage::Over => false,
        }
    }

    /// Returns when it advances by itself.
    pub(super) fn resumes(&self) -> Option<Instant> {
        let Stage::Repairing(repair) = &self.stage else { return None };
        self.request.is_none().then_some(repair.resume)
    }

    /// Takes an answer, if it is one.
    pub(super) fn on_answer(&mut self, frame: &Frame, now: Instant) -> Answered {
        let Frame { request, body } = frame;
        if self.request != Some(*request) {
            return Answered::Unasked;
        }
        self.request = None;
        self.until = now.after(ANSWER_TIMEOUT);
        match (&mut self.stage, body) {
            (Stage::Comparing(comparing), Body::Symbols(portion)) => {
                comparing.portion = Some(portion.clone());
            }
            (Stage::Comparing(comparing), Body::Refused { code, .. }) => {
                if *code != Code::NotFound {
                    // As a rule it is being pushed. A log that the other node lacks is no
                    // difference.
                    self.outcome = self.outcome.max(Outcome::Unfinished);
                }
                let set = comparing.scope.set;
                self.stage = if set == Set::Logs { Stage::Over } else { Stage::Next };
                if let (Set::Entries { number, .. }, Code::NotFound) = (set, code) {
                    return Answered::NoCopy(number);
                }
            }
            (Stage::Repairing(repair), Body::Refused { code: Code::Busy, .. }) => {
                let asked = std::mem::take(&mut repair.asked);
                repair.theirs.extend(asked);
                repair.resume = now.after(PAUSE);
            }
            (Stage::Repairing(repair), _) => repair.asked.clear(),
            (Stage::Comparing(_) | Stage::Naming { .. } | Stage::Next | Stage::Over, _) => {
                self.outcome = self.outcome.max(Outcome::Unfinished);
                self.stage = Stage::Over;
            }
        }
        Answered::Fine
    }

    /// Advances as far as there is room, and returns what is to be asked next.
    pub(super) fn advance(
        &mut self,
        around: &mut Around<'_>,
        draws: &mut Draws,
        room: &mut usize,
        now: Instant,
    ) -> Option<Frame> {
        self.until = now.after(ANSWER_TIMEOUT);
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Comparing(comparing) => self.compare(comparing, around, draws, room),
            Stage::Naming { items, walk } => self.name(items, walk, around, draws, room),
            Stage::Repairing(repair) => self.repair(repair, around, draws, now),
            Stage::Next => self.next_log(around, draws),
            Stage::Over => None,
        }
    }
}

/// The stages.
impl Asking {
    fn compare(
        &mut self,
        mut comparing: Comparing,
        around: &mut Around<'_>,
        draws: &mut Draws,
        room: &mut usize,
    ) -> Option<Frame> {
        let scope @ Scope { set, part } = comparing.scope;
        if let Some(walk) = &mut comparing.walk {
            let comparison = &mut comparing.comparison;
            let is_done = walk.advance(around.rows, room, |item, _| comparison.extend([item]));
            if walk.left_out {
                self.outcome = self.outcome.max(Outcome::Unfinished);
            }
            if is_done {
                comparing.walk = None;
            }
        }
        let Some(portion) = comparing.portion.take_if(|_| comparing.walk.is_none()) else {
            self.stage = Stage::Comparing(comparing);
            return None;
        };
        match comparing.comparison.hear(&portion, []) {
            Ok(Some(difference)) => {
                let again = Walk::new(self.peer, scope, comparing.key);
                self.found(scope, again, difference, around, draws)
            }
            Ok(None) if comparing.comparison.wants().end <= symbols_max(set) => {
                let log = self.log_of(set, around)?;
                Some(self.ask(comparing, log, draws))
            }
            Ok(None) | Err(Error::TooDifferent) => {
                self.outcome = self.outcome.max(Outcome::Differed);
                match finer(part) {
                    Some(part) => self.start(Scope { set, part }, around, draws),
                    None => self.go_to_next(scope, around, draws),
                }
            }
            Err(Error::Malformed | Error::Forged) => {
                self.outcome = self.outcome.max(Outcome::Differed);
                None
            }
        }
    }

    fn found(
        &mut self,
        scope: Scope,
        again: Walk,
        difference: Difference,
        around: &mut Around<'_>,
        draws: &mut Draws,
    ) -> Option<Frame> {
        let Difference { ours, theirs } = difference;
        if !ours.is_empty() || !theirs.is_empty() {
            self.outcome = self.outcome.max(Outcome::Differed);
        }
        match scope.set {
            // An item that only the other node has is another state of one that only this node has,
            // or of a log that is not here.
            Set::Logs if !ours.is_empty() => {
                self.stage = Stage::Naming { items: ours.into_iter().collect(), walk: again };
                None
            }
            Set::Entries { .. } if !ours.is_empty() || !theirs.is_empty() => {
                let (asked, resume) = (Vec::new(), Instant::default());
                self.stage = Stage::Repairing(Repair { scope, ours, theirs, asked, resume });
                None
            }
            Set::Logs | Set::Entries { .. } => self.go_to_next(scope, around, draws),
        }
    }

    fn name(
        &mut self,
        items: BTreeSet<Item>,
        mut walk: Walk,
        around: &mut Around<'_>,
        draws: &mut Draws,
        room: &mut usize,
    ) -> Option<Frame> {
        let before = self.differing.len();
        let is_done = walk.advance(around.rows, room, |item, number| {
            if items.contains(&item) {
                self.differing.push_back(number);
            }
        });
        let found = self.differing.len().saturating_sub(before) as u64;
        let counters = &mut around.counters;
        counters.differing = counters.differing.saturating_add(found);
        if !is_done {
            self.stage = Stage::Naming { items, walk };
            return None;
        }
        self.next_log(around, draws)
    }

    /// Pushes entries that the other node lacks, and says which are lacking here, some at a time.
    fn repair(
        &mut self,
        mut repair: Repair,
        around: &mut Around<'_>,
        draws: &mut Draws,
        now: Instant,
    ) -> Option<Frame> {
        let Set::Entries { number, .. } = repair.scope.set else { return None };
        let room = around.replicas.room_to_push_again(&self.peer).min(limits::FETCH_MAX);
        for item in repair.ours.drain(repair.ours.len().saturating_sub(room)..) {
            around.push(&self.peer, number, Reference(item));
        }
        let mut frame = None;
        if self.request.is_none() && repair.resume <= now {
            let from = repair.theirs.len().saturating_sub(limits::FETCH_MAX);
            let theirs = repair.theirs.drain(from..);
            let is_lacking = |item: &Item| around.find(number, Reference(*item)).is_none();
            repair.asked = theirs.filter(is_lacking).collect();
            if !repair.asked.is_empty()
                && let Some(log) = around.logs.get(around.rows, number).map(|log| log.row.id)
            {
                let references: Vec<Reference> =
                    repair.asked.iter().copied().map(Reference).collect();
                let counters = &mut around.counters;
                counters.missed = counters.missed.saturating_add(references.len() as u64);
                let request = draws.request();
                self.request = Some(request);
                frame = Some(Frame { request, body: Body::Lacking { log, references } });
            }
        }
        let is_done = repair.ours.is_empty() && repair.theirs.is_empty();
        if is_done && self.request.is_none() {
            return self.go_to_next(repair.scope, around, draws);
        }
        self.stage = Stage::Repairing(repair);
        frame
    }

    fn go_to_next(
        &mut self,
        Scope { set, part }: Scope,
        around: &mut Around<'_>,
        draws: &mut Draws,
    ) -> Option<Frame> {
        match after(part) {
            Some(part) => self.start(Scope { set, part }, around, draws),
            None if set == Set::Logs => None,
            None => self.next_log(around, draws),
        }
    }

    fn next_log(&mut self, around: &mut Around<'_>, draws: &mut Draws) -> Option<Frame> {
        while let Some(number) = self.differing.pop_front() {
            if is_marked(around.rows, &self.peer, number) {
                continue;
            }
            let Some(log) = around.logs.get(around.rows, number) else { continue };
            let set = Set::Entries { number, last: log.state.last_sequence };
            return self.start(Scope { set, part: Part::ALL }, around, draws);
        }
        let scope = Scope { set: Set::Logs, part: self.logs };
        self.go_to_next(scope, around, draws)
    }

    fn start(&mut self, scope: Scope, around: &mut Around<'_>, draws: &mut Draws) -> Option<Frame> {
        if scope.set == Set::Logs {
            self.logs = scope.part;
        }
        let log = self.log_of(scope.set, around)?;
        Some(self.ask(Comparing::new(scope, draws), log, draws))
    }

    /// Returns the log's name on the wire, `Some(None)` for the set of logs, or `None` if the log
    /// is gone.
    #[expect(clippy::option_option, reason = "no log is named where logs are compared")]
    fn log_of(&self, set: Set, around: &mut Around<'_>) -> Option<Option<LogId>> {
        let Set::Entries { number, .. } = set else { return Some(None) };
        around.logs.get(around.rows, number).map(|log| Some(log.row.id))
    }

    /// Asks for the next symbols, and meanwhile walks through what is here.
    fn ask(&mut self, mut comparing: Comparing, log: Option<LogId>, draws: &mut Draws) -> Frame {
        let Comparing { key, scope, .. } = comparing;
        if comparing.comparison.grow() {
            comparing.walk = Some(Walk::new(self.peer, scope, key));
        }
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let wants = comparing.comparison.wants();
        let symbols = (number(wants.start), number(wants.end));
        self.stage = Stage::Comparing(comparing);
        let request = draws.request();
        let part = scope.part;
        self.request = Some(request);
        Frame { request, body: Body::Compare(Compare { log, key: key.0, part, symbols }) }
    }
}

impl Comparing {
    fn new(scope: Scope, draws: &mut Draws) -> Self {
        let key = draws.key();
        let comparison = Comparison::new(key);
        Self { key, scope, comparison, portion: None, walk: None }
    }
}

/// How long to wait for an answer: as long as a slow node walks through its largest log.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one comparison takes at most, so that no node holds up those with others. Repairs made
/// by then stay.
const ROUND_MAX: Duration = Duration::from_secs(600);
/// How long to wait if the other node has too much to push already.
const PAUSE: Duration = Duration::from_secs(1);
