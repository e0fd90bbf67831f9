//! Comparing what this node holds with what others hold of the same logs, now and then: whatever one of
//! them lacks, for whatever reason, is pushed there once more. Specified in `spec/logs.md`, section 12.
//!
//! ```text
//!  Node A                                              Node B
//!   asking ── Compare{logs that both hold} ──────────▶ answering
//!          ◀─ Symbols ──────────────────────────────── equal as a rule, and that is all
//!   naming    which logs are these?
//!   asking ── Compare{entries of one log} ───────────▶ answering
//!          ◀─ Symbols ────────────────────────────────
//!   mending ─ Append ────────────────────────────────▶ what B lacks
//!          ── Lacking{what A lacks} ─────────────────▶ pushes it
//! ```
//!
//! Nothing of it is in rows: what is interrupted begins anew. All walks through rows together get a
//! portion at a time, so that a large log holds up nothing else.

mod answering;
mod asking;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::{
    Body, Code, Compare, Frame, Gauge, Instant, LogId, Output, Part, Peer, Reference, Rows, Seed,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use reconcile::{DIFFERENCES_MAX, Key};

use crate::{
    Counters, NodeEvent,
    fingerprint::kept_item,
    layout::{self, ENTRIES, REFERENCES},
    log::Logs,
    replica::{self, Answered, Replicas},
};
use answering::Answering;
use asking::{Asking, Outcome};
pub(crate) use walk::cost_of;
use walk::{Set, is_dirty};

/// All comparisons with other nodes.
#[derive(Debug)]
pub(crate) struct Comparisons {
    own: Peer,
    every: Duration,
    numbers: Numbers,
    /// Nodes of shared logs that are connected.
    pairs: BTreeMap<Peer, Pair>,
    /// When to compare with those with whom there is something to compare.
    dues: BTreeSet<(Instant, Peer)>,
    asking: BTreeMap<Peer, Asking>,
    answering: BTreeMap<Peer, Answering>,
    /// When the next portion is worked off.
    tick: Option<Instant>,
    outputs: Vec<Output<NodeEvent>>,
}

/// One other node.
#[derive(Debug)]
struct Pair {
    /// Not before.
    due: Instant,
    /// Something may differ from when the two were compared last.
    is_changed: bool,
    /// How often in a row they differed.
    tries: u32,
    /// How often in a row the other has asked although nothing has changed here, and had no more to ask.
    asked: u32,
}

/// What is drawn and counted.
#[derive(Debug)]
struct Numbers {
    /// Apart from the node's, whose draws say other things.
    rng: ChaCha20Rng,
    requests: u32,
}

/// What comparing needs of the node.
pub(crate) struct Around<'a> {
    pub(crate) rows: &'a dyn Rows,
    pub(crate) logs: &'a mut Logs,
    pub(crate) replicas: &'a mut Replicas,
    pub(crate) counters: &'a mut Counters,
}

impl Comparisons {
    pub(crate) fn new(own: Peer, every: Duration, seed: &Seed) -> Self {
        // Two nodes do not do the same at the same time even where chance is the same for both.
        let mut mixed = seed.0;
        mixed.iter_mut().zip(own.0).for_each(|(to, from)| *to ^= from);
        let mut rng = ChaCha20Rng::from_seed(mixed);
        rng.set_stream(STREAM);
        Self {
            own,
            every,
            numbers: Numbers { rng, requests: 0 },
            pairs: BTreeMap::new(),
            dues: BTreeSet::new(),
            asking: BTreeMap::new(),
            answering: BTreeMap::new(),
            tick: None,
            outputs: Vec::new(),
        }
    }

    pub(crate) fn gauges(&self) -> [Gauge; 5] {
        let fullest = |at: usize| {
            self.asking.values().filter_map(|a| a.fullness().get(at).copied()).max().unwrap_or(0)
        };
        [
            Gauge::new("nodes to compare with", self.pairs.len(), replica::PEERS_MAX),
            Gauge::new("comparisons begun", self.asking.len(), ASKING_MAX),
            Gauge::new("comparisons answered", self.answering.len(), ANSWERING_MAX),
            Gauge::new("logs that differ", fullest(0), LOGS_SYMBOLS_MAX),
            Gauge::new("items that differ", fullest(1), DIFFERENCES_MAX),
        ]
    }

    /// A node of shared logs is connected.
    pub(crate) fn greeted(&mut self, peer: Peer, now: Instant) {
        self.disconnected(&peer);
        if self.pairs.len() < replica::PEERS_MAX {
            let due = now.after(self.numbers.about(first_part(self.every)));
            self.pairs.insert(peer, Pair { due, is_changed: true, tries: 0, asked: 0 });
            self.dues.insert((due, peer));
        }
    }

    pub(crate) fn disconnected(&mut self, peer: &Peer) {
        self.asking.remove(peer);
        self.answering.remove(peer);
        if let Some(pair) = self.pairs.remove(peer) {
            self.dues.remove(&(pair.due, *peer));
        }
    }

    /// What is in a log of these nodes has changed. There is time to push it before it is compared.
    pub(crate) fn changed(&mut self, nodes: &[Peer], now: Instant) {
        for peer in nodes {
            if let Some(pair) = self.pairs.get_mut(peer)
                && !std::mem::replace(&mut pair.is_changed, true)
                && !self.asking.contains_key(peer)
            {
                pair.due = pair.due.max(now.after(self.numbers.about(first_part(self.every))));
                self.dues.insert((pair.due, *peer));
            }
        }
    }

    /// Tells whether no node of shared logs is connected.
    pub(crate) fn is_alone(&self) -> bool {
        self.pairs.is_empty()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.dues.first().map(|(due, _)| *due);
        let asking = self.asking.values().map(Asking::deadline);
        let answering = self.answering.values().map(|answering| answering.used.after(FORGOTTEN));
        due.into_iter().chain(self.tick).chain(asking).chain(answering).min()
    }

    pub(crate) fn take_outputs(&mut self) -> Vec<Output<NodeEvent>> {
        std::mem::take(&mut self.outputs)
    }

    /// Does what has fallen due.
    pub(crate) fn timeout(&mut self, around: &mut Around<'_>, now: Instant) {
        self.begin_due(around.rows, now);
        if self.tick.is_some_and(|tick| tick <= now) {
            self.work(around, now);
        }
        self.end_asking(around, now);
        self.answering.retain(|_, answering| now.since(answering.used) < FORGOTTEN);
        self.plan(now);
    }

    fn begin_due(&mut self, rows: &dyn Rows, now: Instant) {
        while let Some((_, peer)) = self.dues.first().copied().filter(|(due, _)| *due <= now) {
            self.dues.pop_first();
            let Some(pair) = self.pairs.get_mut(&peer) else { continue };
            if self.asking.len() >= ASKING_MAX {
                pair.due = now.after(self.numbers.about(WAIT));
                self.dues.insert((pair.due, peer));
                continue;
            }
            pair.is_changed = false;
            if !replica::shares_logs(rows, &peer) {
                // Neither has anything of the other, for now.
                continue;
            }
            let (asking, frame) = Asking::begin(peer, &mut self.numbers, now);
            self.outputs.push(Output::Transmit(peer, frame));
            self.asking.insert(peer, asking);
        }
    }

    /// Works a portion off, everybody's share of it.
    fn work(&mut self, around: &mut Around<'_>, now: Instant) {
        let shares = self.asking.len().saturating_add(self.answering.len()).max(1);
        let share = PORTION.checked_div(shares).unwrap_or(PORTION).max(1);
        for (peer, asking) in &mut self.asking {
            if asking.is_ready(now) {
                let frame = asking.go_on(around, &mut self.numbers, &mut share.clone(), now);
                self.outputs.extend(frame.map(|frame| Output::Transmit(*peer, frame)));
            }
        }
        for (peer, answering) in &mut self.answering {
            if answering.is_busy() {
                let frame = answering.go_on(around.rows, &mut share.clone());
                answering.used = now;
                self.outputs.extend(frame.map(|frame| Output::Transmit(*peer, frame)));
            }
        }
    }

    fn end_asking(&mut self, around: &mut Around<'_>, now: Instant) {
        let over = |(peer, asking): (&Peer, &Asking)| asking.is_over(now).then_some(*peer);
        let over: Vec<Peer> = self.asking.iter().filter_map(over).collect();
        for peer in over {
            let Some(asking) = self.asking.remove(&peer) else { continue };
            let Some(pair) = self.pairs.get_mut(&peer) else { continue };
            let outcome = asking.outcome();
            pair.tries = match outcome {
                Outcome::Equal => 0,
                Outcome::Unfinished => pair.tries,
                Outcome::Differed => pair.tries.saturating_add(1),
            };
            pair.is_changed |= outcome != Outcome::Equal;
            let doubled = 1_u32.checked_shl(pair.tries).unwrap_or(u32::MAX).min(TIMES_MAX);
            pair.due = now.after(self.numbers.about(self.every.saturating_mul(doubled)));
            if pair.is_changed {
                self.dues.insert((pair.due, peer));
            }
            let counters = &mut around.counters;
            counters.compared = counters.compared.saturating_add(1);
        }
    }

    fn plan(&mut self, now: Instant) {
        let is_ready = self.asking.values().any(|asking| asking.is_ready(now))
            || self.answering.values().any(Answering::is_busy);
        let resumes = self.asking.values().filter_map(Asking::resumes).min();
        self.tick = if is_ready { Some(now.after(TICK)) } else { resumes };
    }
}

/// What other nodes say.
impl Comparisons {
    /// Takes a frame in, if it answers a question.
    pub(crate) fn answered(&mut self, peer: Peer, frame: &Frame, now: Instant) -> Answered {
        let may_be =
            matches!(frame.body, Body::Symbols(_) | Body::Accepted { .. } | Body::Refused { .. });
        let asking = self.asking.get_mut(&peer).filter(|_| may_be);
        let Some(asking) = asking else { return Answered::Unasked };
        let answered = asking.answered(frame.request, &frame.body, now);
        if answered != Answered::Unasked {
            self.plan(now);
        }
        answered
    }

    /// Another node asks what is here. It is answered from the next portion on.
    pub(crate) fn ask(
        &mut self,
        peer: Peer,
        request: u32,
        compare: &Compare,
        around: &mut Around<'_>,
        now: Instant,
    ) -> Result<(), Code> {
        if request == 0 {
            return Err(Code::Malformed);
        }
        if self.answering.get(&peer).is_none_or(|answering| !answering.is_of(compare)) {
            if compare.symbols.0 > 0 {
                return Err(Code::Unexpected);
            }
            let set = self.set_of(peer, compare.log, around)?;
            if set == Set::Logs && self.own < peer && self.asking.contains_key(&peer) {
                // One comparison does for both.
                return Err(Code::Busy);
            }
            self.make_room(&peer, now)?;
            self.answering.insert(peer, Answering::new(compare, set, now));
            self.is_compared_by_the_other(peer, compare, now);
        }
        let answering = self.answering.get_mut(&peer).ok_or(Code::Unexpected)?;
        answering.ask(peer, request, compare.symbols, now)?;
        self.plan(now);
        Ok(())
    }

    /// Another node lacks what this one has, as the two have found out.
    pub(crate) fn lacking(
        &mut self,
        peer: Peer,
        log: LogId,
        references: &[Reference],
        around: &mut Around<'_>,
    ) -> Result<Body, Code> {
        let answering = self.answering.get_mut(&peer).filter(|a| a.log == Some(log));
        let answering = answering.ok_or(Code::Unexpected)?;
        let number = shared(&self.own, &peer, log, around)?;
        if references.len() > answering.wants {
            return Err(Code::Unexpected);
        }
        if references.len() > around.replicas.room_to_push_again(&peer) {
            return Err(Code::Busy);
        }
        answering.wants = answering.wants.saturating_sub(references.len());
        for reference in references {
            around.push(&peer, number, *reference);
        }
        Ok(Body::Accepted { handle: 0, sequence: 0 })
    }

    fn set_of(&self, peer: Peer, log: Option<LogId>, around: &mut Around<'_>) -> Result<Set, Code> {
        let Some(log) = log else {
            let is_any = replica::shares_logs(around.rows, &peer);
            return if is_any { Ok(Set::Logs) } else { Err(Code::NotFound) };
        };
        let number = shared(&self.own, &peer, log, around)?;
        if is_dirty(around.rows, &peer, number) {
            return Err(Code::Busy);
        }
        let log = around.logs.get(around.rows, number).ok_or(Code::NotFound)?;
        Ok(Set::Entries { number, last: log.state.last_sequence })
    }

    /// A node has one comparison here. If there are as many as there may be, one makes room that has
    /// rested for some time.
    fn make_room(&mut self, peer: &Peer, now: Instant) -> Result<(), Code> {
        if self.answering.contains_key(peer) || self.answering.len() < ANSWERING_MAX {
            return Ok(());
        }
        let rested = |(_, answering): &(&Peer, &Answering)| {
            !answering.is_busy() && now.since(answering.used) >= RESTED
        };
        let rested = self.answering.iter().filter(rested);
        let victim = rested.min_by_key(|(_, answering)| answering.used).map(|(peer, _)| *peer);
        self.answering.remove(&victim.ok_or(Code::Busy)?);
        Ok(())
    }

    /// Whoever asks sees to what is lacking on both sides, but for what only the other one counts as being on
    /// both. Who asks again and has no more to ask, with nothing new here, may have found that; then this node has
    /// its turn.
    fn is_compared_by_the_other(&mut self, peer: Peer, compare: &Compare, now: Instant) {
        let is_of_logs = compare.log.is_none();
        if is_of_logs {
            self.asking.remove(&peer);
        }
        let Some(pair) = self.pairs.get_mut(&peer) else { return };
        if !is_of_logs {
            pair.asked = 0;
        } else if compare.part == Part::ALL {
            self.dues.remove(&(pair.due, peer));
            pair.due = now.after(self.numbers.about(self.every));
            pair.asked = if pair.is_changed { 0 } else { pair.asked.saturating_add(1) };
            pair.is_changed = pair.asked >= TURN_AFTER;
            if pair.is_changed {
                pair.asked = 0;
                self.dues.insert((pair.due, peer));
            }
        }
    }
}

impl Around<'_> {
    /// The sequence of an entry that is here, if it is one of those that are compared.
    fn find(&self, number: u64, reference: Reference) -> Option<u64> {
        let sequence = self.rows.get(REFERENCES, &layout::reference_key(number, reference))?;
        let sequence = layout::last_u64(&sequence)?;
        let row = self.rows.get(ENTRIES, &layout::entry_key(number, sequence))?;
        (kept_item(&row) == Some(reference.0)).then_some(sequence)
    }

    /// Pushes an entry to a node that lacks it.
    fn push(&mut self, peer: &Peer, number: u64, reference: Reference) {
        let Some(sequence) = self.find(number, reference) else { return };
        self.replicas.push_again((number, &[*peer]), sequence, self.logs, self.rows);
        self.counters.repaired = self.counters.repaired.saturating_add(1);
    }
}

impl Numbers {
    /// A key that nobody knows yet.
    fn key(&mut self) -> Key {
        let mut key = [0; 16];
        self.rng.fill_bytes(&mut key);
        Key(key)
    }

    /// Above those of pushes, so that answers are told apart.
    fn request(&mut self) -> u32 {
        self.requests = self.requests.wrapping_add(1);
        self.requests | FIRST_REQUEST
    }

    /// From half as long to half as long again, so that not all nodes do the same at once.
    fn about(&mut self, time: Duration) -> Duration {
        let half = time.checked_div(2).unwrap_or_default();
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let drawn = self.rng.next_u64().checked_rem(micros.saturating_add(1)).unwrap_or_default();
        half.saturating_add(Duration::from_micros(drawn))
    }
}

/// How long after a connection, or after something has changed, a comparison is due.
fn first_part(time: Duration) -> Duration {
    time.checked_div(FIRST_PART).unwrap_or_default()
}

/// The number of a log that both hold. Whoever does not hold it is told the same as if it were not there.
fn shared(own: &Peer, peer: &Peer, log: LogId, around: &mut Around<'_>) -> Result<u64, Code> {
    let (number, log) = around.logs.find(around.rows, &log).ok_or(Code::NotFound)?;
    if peer != own && log.nodes.contains(peer) { Ok(number) } else { Err(Code::NotFound) }
}

/// Symbols of a set that are told at most; parts of larger differences are compared by themselves.
fn symbols_max(set: Set) -> usize {
    match set {
        Set::Logs => LOGS_SYMBOLS_MAX,
        Set::Entries { .. } => ENTRIES_SYMBOLS_MAX,
    }
}

/// What one input leads to here at most: a frame for each comparison.
pub(crate) const OUTPUTS_MAX: usize = 2 * ASKING_MAX + ANSWERING_MAX;
/// Comparisons at a time that this node has begun, each of up to 2 MiB.
const ASKING_MAX: usize = 4;
/// And others, each of up to 512 KiB.
const ANSWERING_MAX: usize = 8;
/// 32 KiB: enough for some 500 logs that differ. As logs may change from one walk to the next, they
/// are walked through once or twice.
const LOGS_SYMBOLS_MAX: usize = 1024;
/// 512 KiB: enough for some 10,000 entries that differ.
const ENTRIES_SYMBOLS_MAX: usize = 16_384;
/// Rows walked through at a time, and how long after each other: 25,600 a second, which take a few
/// hundredths of it.
const PORTION: usize = 512;
const TICK: Duration = Duration::from_millis(20);
/// When nothing more is expected of a node that has asked.
const FORGOTTEN: Duration = Duration::from_secs(120);
/// When it makes room for another one.
const RESTED: Duration = Duration::from_secs(10);
/// How long to wait while there are as many comparisons as there may be.
const WAIT: Duration = Duration::from_secs(10);
/// The first comparison follows after this part of the time between two.
const FIRST_PART: u32 = 12;
/// Times as long at most nodes wait that keep differing.
const TIMES_MAX: u32 = 24;
/// How often in a row the other node asks in vain before this one does.
const TURN_AFTER: u32 = 2;
/// The first request: others that go to nodes are counted from 1.
const FIRST_REQUEST: u32 = 1 << 31;
/// Of the seed's random numbers.
const STREAM: u64 = 3;
