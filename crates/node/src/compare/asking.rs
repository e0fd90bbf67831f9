//! Comparing with another node, from the question to what one of the two lacks: first which logs differ,
//! then one after the other in what.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use proto::{Body, Code, Compare, Frame, Instant, LogId, Part, Peer, Reference, limits};
use reconcile::{Comparison, Difference, Error, Item, Key};

use super::{
    Around, Numbers, symbols_max,
    walk::{Set, Walk, after, finer, is_dirty},
};
use crate::replica::Answered;

/// A comparison that this node has begun.
#[derive(Debug)]
pub(super) struct Asking {
    peer: Peer,
    stage: Stage,
    /// The request that the other has not answered.
    request: Option<u32>,
    /// The part of all logs in hand.
    logs: Part,
    /// Logs that differ and are yet to be looked at.
    differing: VecDeque<u64>,
    outcome: Outcome,
    /// It is given up if nothing has happened until then.
    until: Instant,
    /// It is given up then, whatever happens.
    end: Instant,
}

/// How a comparison went, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Equal,
    /// Something could not be compared this time.
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
    Mending(Mending),
    /// The log in hand is done with.
    Next,
    Over,
}

#[derive(Debug)]
struct Comparing {
    key: Key,
    set: Set,
    part: Part,
    comparison: Comparison,
    /// What the other has told, until this side is ready for it.
    portion: Option<Vec<u8>>,
    walk: Option<Walk>,
}

#[derive(Debug)]
struct Mending {
    set: Set,
    part: Part,
    /// What the other lacks.
    ours: Vec<Item>,
    /// What this node lacks, and what of it was asked for last.
    theirs: Vec<Item>,
    asked: Vec<Item>,
    resume: Instant,
}

impl Asking {
    pub(super) fn begin(peer: Peer, numbers: &mut Numbers, now: Instant) -> (Self, Frame) {
        let mut asking = Self {
            peer,
            stage: Stage::Over,
            request: None,
            logs: Part::ALL,
            differing: VecDeque::new(),
            outcome: Outcome::Equal,
            until: now.after(PATIENCE),
            end: now.after(ROUND_MAX),
        };
        let comparing = Comparing::new((Set::Logs, Part::ALL), numbers);
        let frame = asking.ask(comparing, None, numbers);
        (asking, frame)
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.deadline() <= now
    }

    /// What it counts as, if it ends now.
    pub(super) fn outcome(&self) -> Outcome {
        let is_over = matches!(self.stage, Stage::Over);
        self.outcome.max(if is_over { Outcome::Equal } else { Outcome::Unfinished })
    }

    /// When it ends unless something happens.
    pub(super) fn deadline(&self) -> Instant {
        let is_over = matches!(self.stage, Stage::Over);
        if is_over { Instant::default() } else { self.until.min(self.end) }
    }

    /// Logs to be looked at, and items of the log in hand.
    pub(super) fn fullness(&self) -> [usize; 2] {
        let items = match &self.stage {
            Stage::Naming { items, .. } => items.len(),
            Stage::Mending(Mending { ours, theirs, asked, .. }) => {
                ours.len().saturating_add(theirs.len()).saturating_add(asked.len())
            }
            Stage::Comparing(_) | Stage::Next | Stage::Over => 0,
        };
        [self.differing.len(), items]
    }

    /// Tells whether there is something to be done without the other.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        match &self.stage {
            Stage::Comparing(comparing) => comparing.walk.is_some() || comparing.portion.is_some(),
            Stage::Naming { .. } | Stage::Next => true,
            Stage::Mending(mending) => {
                let is_free = self.request.is_none() && mending.resume <= now;
                is_free || !mending.ours.is_empty()
            }
            Stage::Over => false,
        }
    }

    /// Whatever waits for nobody but the time.
    pub(super) fn resumes(&self) -> Option<Instant> {
        let Stage::Mending(mending) = &self.stage else { return None };
        self.request.is_none().then_some(mending.resume)
    }

    /// Takes an answer in, if it is one.
    pub(super) fn answered(&mut self, request: u32, body: &Body, now: Instant) -> Answered {
        if self.request != Some(request) {
            return Answered::Unasked;
        }
        self.request = None;
        self.until = now.after(PATIENCE);
        match (&mut self.stage, body) {
            (Stage::Comparing(comparing), Body::Symbols(portion)) => {
                comparing.portion = Some(portion.clone());
            }
            (Stage::Comparing(comparing), Body::Refused { code, .. }) => {
                if *code != Code::NotFound {
                    // As a rule it is being pushed. What the other has not at all is no difference.
                    self.outcome = self.outcome.max(Outcome::Unfinished);
                }
                let set = comparing.set;
                self.stage = if set == Set::Logs { Stage::Over } else { Stage::Next };
                if let (Set::Entries { number, .. }, Code::NotFound) = (set, code) {
                    return Answered::NoCopy(number);
                }
            }
            (Stage::Mending(mending), Body::Refused { code: Code::Busy, .. }) => {
                let asked = std::mem::take(&mut mending.asked);
                mending.theirs.extend(asked);
                mending.resume = now.after(PAUSE);
            }
            (Stage::Mending(mending), _) => mending.asked.clear(),
            (Stage::Comparing(_) | Stage::Naming { .. } | Stage::Next | Stage::Over, _) => {
                self.outcome = self.outcome.max(Outcome::Unfinished);
                self.stage = Stage::Over;
            }
        }
        Answered::Fine
    }

    /// Goes on as far as there is room, and returns what is to be asked next.
    pub(super) fn go_on(
        &mut self,
        around: &mut Around<'_>,
        numbers: &mut Numbers,
        room: &mut usize,
        now: Instant,
    ) -> Option<Frame> {
        self.until = now.after(PATIENCE);
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Comparing(comparing) => self.compare(comparing, around, numbers, room),
            Stage::Naming { items, walk } => self.name((items, walk), around, numbers, room),
            Stage::Mending(mending) => self.mend(mending, around, numbers, now),
            Stage::Next => self.next_log(around, numbers),
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
        numbers: &mut Numbers,
        room: &mut usize,
    ) -> Option<Frame> {
        let Comparing { set, part, .. } = comparing;
        if let Some(walk) = &mut comparing.walk {
            let comparison = &mut comparing.comparison;
            let is_done = walk.go_on(around.rows, room, |item, _| comparison.extend([item]));
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
                let again = Walk::new(self.peer, (set, part), comparing.key);
                self.found((set, part, again), difference, around, numbers)
            }
            Ok(None) if comparing.comparison.wants().end <= symbols_max(set) => {
                let log = self.log_of(set, around)?;
                Some(self.ask(comparing, log, numbers))
            }
            Ok(None) | Err(Error::TooDifferent) => {
                self.outcome = self.outcome.max(Outcome::Differed);
                match finer(part) {
                    Some(finer) => self.take_up((set, finer), around, numbers),
                    None => self.go_to_next((set, part), around, numbers),
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
        (set, part, again): (Set, Part, Walk),
        difference: Difference,
        around: &mut Around<'_>,
        numbers: &mut Numbers,
    ) -> Option<Frame> {
        let Difference { ours, theirs } = difference;
        if !ours.is_empty() || !theirs.is_empty() {
            self.outcome = self.outcome.max(Outcome::Differed);
        }
        match set {
            // What is theirs alone is another state of what is ours alone, or nothing to be seen here.
            Set::Logs if !ours.is_empty() => {
                self.stage = Stage::Naming { items: ours.into_iter().collect(), walk: again };
                None
            }
            Set::Entries { .. } if !ours.is_empty() || !theirs.is_empty() => {
                let (asked, resume) = (Vec::new(), Instant::default());
                self.stage = Stage::Mending(Mending { set, part, ours, theirs, asked, resume });
                None
            }
            Set::Logs | Set::Entries { .. } => self.go_to_next((set, part), around, numbers),
        }
    }

    fn name(
        &mut self,
        (items, mut walk): (BTreeSet<Item>, Walk),
        around: &mut Around<'_>,
        numbers: &mut Numbers,
        room: &mut usize,
    ) -> Option<Frame> {
        let before = self.differing.len();
        let is_done = walk.go_on(around.rows, room, |item, number| {
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
        self.next_log(around, numbers)
    }

    /// Pushes what the other lacks, and says what is lacking here, some at a time.
    fn mend(
        &mut self,
        mut mending: Mending,
        around: &mut Around<'_>,
        numbers: &mut Numbers,
        now: Instant,
    ) -> Option<Frame> {
        let Set::Entries { number, .. } = mending.set else { return None };
        let room = around.replicas.room_to_push_again(&self.peer).min(limits::FETCH_MAX);
        for item in mending.ours.drain(mending.ours.len().saturating_sub(room)..) {
            around.push(&self.peer, number, Reference(item));
        }
        let mut frame = None;
        if self.request.is_none() && mending.resume <= now {
            let from = mending.theirs.len().saturating_sub(limits::FETCH_MAX);
            let theirs = mending.theirs.drain(from..);
            let is_lacking = |item: &Item| around.find(number, Reference(*item)).is_none();
            mending.asked = theirs.filter(is_lacking).collect();
            if !mending.asked.is_empty()
                && let Some(log) = around.logs.get(around.rows, number).map(|log| log.row.id)
            {
                let references: Vec<Reference> =
                    mending.asked.iter().copied().map(Reference).collect();
                let counters = &mut around.counters;
                counters.missed = counters.missed.saturating_add(references.len() as u64);
                let request = numbers.request();
                self.request = Some(request);
                frame = Some(Frame { request, body: Body::Lacking { log, references } });
            }
        }
        let is_done = mending.ours.is_empty() && mending.theirs.is_empty();
        if is_done && self.request.is_none() {
            return self.go_to_next((mending.set, mending.part), around, numbers);
        }
        self.stage = Stage::Mending(mending);
        frame
    }

    fn go_to_next(
        &mut self,
        (set, part): (Set, Part),
        around: &mut Around<'_>,
        numbers: &mut Numbers,
    ) -> Option<Frame> {
        match after(part) {
            Some(part) => self.take_up((set, part), around, numbers),
            None if set == Set::Logs => None,
            None => self.next_log(around, numbers),
        }
    }

    fn next_log(&mut self, around: &mut Around<'_>, numbers: &mut Numbers) -> Option<Frame> {
        while let Some(number) = self.differing.pop_front() {
            if is_dirty(around.rows, &self.peer, number) {
                continue;
            }
            let Some(log) = around.logs.get(around.rows, number) else { continue };
            let set = Set::Entries { number, last: log.state.last_sequence };
            return self.take_up((set, Part::ALL), around, numbers);
        }
        let part = self.logs;
        self.go_to_next((Set::Logs, part), around, numbers)
    }

    fn take_up(
        &mut self,
        (set, part): (Set, Part),
        around: &mut Around<'_>,
        numbers: &mut Numbers,
    ) -> Option<Frame> {
        if set == Set::Logs {
            self.logs = part;
        }
        let log = self.log_of(set, around)?;
        Some(self.ask(Comparing::new((set, part), numbers), log, numbers))
    }

    /// The log's name on the wire, if it is one; nothing at all, if it is gone.
    #[expect(clippy::option_option, reason = "no log is named where logs are compared")]
    fn log_of(&self, set: Set, around: &mut Around<'_>) -> Option<Option<LogId>> {
        let Set::Entries { number, .. } = set else { return Some(None) };
        around.logs.get(around.rows, number).map(|log| Some(log.row.id))
    }

    /// Asks for the next symbols, and walks through what is here meanwhile.
    fn ask(
        &mut self,
        mut comparing: Comparing,
        log: Option<LogId>,
        numbers: &mut Numbers,
    ) -> Frame {
        let Comparing { key, set, part, .. } = comparing;
        if comparing.comparison.grow() {
            comparing.walk = Some(Walk::new(self.peer, (set, part), key));
        }
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let wants = comparing.comparison.wants();
        let symbols = (number(wants.start), number(wants.end));
        self.stage = Stage::Comparing(comparing);
        let request = numbers.request();
        self.request = Some(request);
        Frame { request, body: Body::Compare(Compare { log, key: key.0, part, symbols }) }
    }
}

impl Comparing {
    fn new((set, part): (Set, Part), numbers: &mut Numbers) -> Self {
        let key = numbers.key();
        let comparison = Comparison::new(key);
        Self { key, set, part, comparison, portion: None, walk: None }
    }
}

/// How long to wait for an answer: as long as a slow node walks through its largest log.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one comparison takes at most, so that nobody holds up those with others. What is repaired by
/// then stays so.
const ROUND_MAX: Duration = Duration::from_secs(600);
/// How long to wait if the other has too much to push already.
const PAUSE: Duration = Duration::from_secs(1);
