//! Anti-entropy: comparing what this node holds with what others hold of the same logs,
//! periodically. Entries that one of them lacks, whatever the reason, are pushed there once more.
//! Specified in `spec/logs.md`, section 12.
//!
//! ```text
//!  Node A                                              Node B
//!   asking ── Compare{logs that both hold} ──────────▶ answering
//!          ◀─ Symbols ──────────────────────────────── equal as a rule, and that is all
//!   naming    which logs are these?
//!   asking ── Compare{entries of one log} ───────────▶ answering
//!          ◀─ Symbols ────────────────────────────────
//!   repair ── Append ────────────────────────────────▶ what B lacks
//!          ── Lacking{what A lacks} ─────────────────▶ pushes it
//! ```
//!
//! Nothing of it is in rows: an interrupted comparison begins from the start. All walks through
//! rows share one portion at a time, so that a large log holds up nothing else.

mod answering;
mod around;
mod asking;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::{
    Body, Code, Compare, Frame, Gauge, Instant, LogId, Output, Part, Peer, Reference, Rows, Seed,
};
use reconcile::DIFFERENCES_MAX;

use crate::{
    command::NodeEvent,
    replica::{self, Answered},
    session::Question,
};
use answering::Answering;
pub(crate) use around::Around;
use around::{Draws, LOGS_SYMBOLS_MAX};
use asking::{Asking, Outcome};
use walk::Set;
pub(crate) use walk::cost_of;

/// All comparisons with other nodes.
#[derive(Debug)]
pub(crate) struct AntiEntropy {
    own: Peer,
    every: Duration,
    draws: Draws,
    /// Nodes of shared logs that are connected.
    pairs: BTreeMap<Peer, Pair>,
    /// When to compare with which of them, if anything may differ.
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
    /// A log has changed since the last comparison.
    is_changed: bool,
    /// How often in a row they differed.
    tries: u32,
    /// How often in a row the other node has compared all logs although nothing has changed here.
    asked: u32,
}

impl AntiEntropy {
    pub(crate) fn new(own: Peer, every: Duration, seed: &Seed) -> Self {
        Self {
            own,
            every,
            draws: Draws::new(own, seed),
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
            let due = now.after(self.draws.about(first_part(self.every)));
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

    /// A log of these nodes has changed. It is pushed first and compared later.
    pub(crate) fn changed(&mut self, nodes: &[Peer], now: Instant) {
        for peer in nodes {
            if let Some(pair) = self.pairs.get_mut(peer)
                && !std::mem::replace(&mut pair.is_changed, true)
                && !self.asking.contains_key(peer)
            {
                pair.due = pair.due.max(now.after(self.draws.about(first_part(self.every))));
                self.dues.insert((pair.due, *peer));
            }
        }
    }

    /// Returns whether no node of shared logs is connected.
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
    pub(crate) fn on_timeout(&mut self, around: &mut Around<'_>, now: Instant) {
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
                pair.due = now.after(self.draws.about(WAIT));
                self.dues.insert((pair.due, peer));
                continue;
            }
            pair.is_changed = false;
            if !replica::shares_logs(rows, &peer) {
                // There is nothing to compare now.
                continue;
            }
            let (asking, frame) = Asking::begin(peer, &mut self.draws, now);
            self.outputs.push(Output::Transmit(peer, frame));
            self.asking.insert(peer, asking);
        }
    }

    /// Works on a portion, an equal share of it for each comparison.
    fn work(&mut self, around: &mut Around<'_>, now: Instant) {
        let shares = self.asking.len().saturating_add(self.answering.len()).max(1);
        let share = PORTION.checked_div(shares).unwrap_or(PORTION).max(1);
        for (peer, asking) in &mut self.asking {
            if asking.is_ready(now) {
                let frame = asking.advance(around, &mut self.draws, &mut share.clone(), now);
                self.outputs.extend(frame.map(|frame| Output::Transmit(*peer, frame)));
            }
        }
        for (peer, answering) in &mut self.answering {
            if answering.is_busy() {
                let frame = answering.advance(around.rows, &mut share.clone());
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
            pair.due = now.after(self.draws.about(self.every.saturating_mul(doubled)));
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
impl AntiEntropy {
    /// Takes a frame, if it answers a question.
    pub(crate) fn on_answer(&mut self, peer: Peer, frame: &Frame, now: Instant) -> Answered {
        let Some(asking) = self.asking.get_mut(&peer) else { return Answered::Unasked };
        let answered = asking.on_answer(frame, now);
        if answered != Answered::Unasked {
            self.plan(now);
        }
        answered
    }

    /// Another node asks what is here. It is answered from the next portion on.
    pub(crate) fn on_compare(
        &mut self,
        Question { peer, request }: Question,
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
                // One comparison serves both.
                return Err(Code::Busy);
            }
            self.make_room(&peer, now)?;
            self.answering.insert(peer, Answering::new(compare, set, now));
            self.note_asked_by(peer, compare, now);
        }
        let answering = self.answering.get_mut(&peer).ok_or(Code::Unexpected)?;
        answering.ask(peer, request, compare, now)?;
        self.plan(now);
        Ok(())
    }

    /// Another node lacks entries that this one has, as a comparison has shown.
    pub(crate) fn on_lacking(
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
        Ok(Body::Accepted { channel: 0, sequence: 0 })
    }

    fn set_of(&self, peer: Peer, log: Option<LogId>, around: &mut Around<'_>) -> Result<Set, Code> {
        let Some(log) = log else {
            let is_any = replica::shares_logs(around.rows, &peer);
            return if is_any { Ok(Set::Logs) } else { Err(Code::NotFound) };
        };
        let number = shared(&self.own, &peer, log, around)?;
        if replica::is_marked(around.rows, &peer, number) {
            return Err(Code::Busy);
        }
        let log = around.logs.get(around.rows, number).ok_or(Code::NotFound)?;
        Ok(Set::Entries { number, last: log.state.last_sequence })
    }

    /// Makes room for the comparison of a node. Each node has one. Beyond the limit, the one that
    /// has rested longest is dropped.
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

    /// Notes that another node compares: it repairs both sides, so this node need not ask too. It
    /// can't repair entries that only this node counts as being on both sides. If it keeps asking
    /// although nothing has changed here, that may be the reason, and this node asks next.
    fn note_asked_by(&mut self, peer: Peer, compare: &Compare, now: Instant) {
        let is_of_logs = compare.log.is_none();
        if is_of_logs {
            self.asking.remove(&peer);
        }
        let Some(pair) = self.pairs.get_mut(&peer) else { return };
        if !is_of_logs {
            pair.asked = 0;
        } else if compare.part == Part::ALL {
            self.dues.remove(&(pair.due, peer));
            pair.due = now.after(self.draws.about(self.every));
            pair.asked = if pair.is_changed { 0 } else { pair.asked.saturating_add(1) };
            pair.is_changed = pair.asked >= TURN_AFTER;
            if pair.is_changed {
                pair.asked = 0;
                self.dues.insert((pair.due, peer));
            }
        }
    }
}

/// Returns how long after a connection or a change a comparison is due.
fn first_part(time: Duration) -> Duration {
    time.checked_div(FIRST_PART).unwrap_or_default()
}

/// Returns the number of a log that both hold. A peer that does not hold it gets the same refusal
/// as for a log that is not here.
fn shared(own: &Peer, peer: &Peer, log: LogId, around: &mut Around<'_>) -> Result<u64, Code> {
    let (number, log) = around.logs.find(around.rows, &log).ok_or(Code::NotFound)?;
    if peer != own && log.nodes.contains(peer) { Ok(number) } else { Err(Code::NotFound) }
}

/// What one input leads to here at most: a frame for each comparison.
pub(crate) const OUTPUTS_MAX: usize = 2 * ASKING_MAX + ANSWERING_MAX;
/// Comparisons that this node has begun, each of up to 2 MiB.
const ASKING_MAX: usize = 4;
/// Comparisons that other nodes have begun, each of up to 512 KiB.
const ANSWERING_MAX: usize = 8;
/// Rows walked through at a time, and how long after each other: 25,600 a second, which take a few
/// hundredths of it.
const PORTION: usize = 512;
const TICK: Duration = Duration::from_millis(20);
/// After how long no further question is expected.
const FORGOTTEN: Duration = Duration::from_secs(120);
/// After how long a comparison may be dropped for another one.
const RESTED: Duration = Duration::from_secs(10);
/// How long to wait while there are as many comparisons as there may be.
const WAIT: Duration = Duration::from_secs(10);
/// The first comparison follows after this part of the time between two.
const FIRST_PART: u32 = 12;
/// The longest wait of nodes that keep differing, in multiples of the time between two comparisons.
const TIMES_MAX: u32 = 24;
/// How often in a row the other node asks without success before this one does.
const TURN_AFTER: u32 = 2;
