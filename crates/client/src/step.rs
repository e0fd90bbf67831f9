//! One step of the machine: everything that one input leads to.

use std::{collections::BTreeSet, time::Duration};

use proto::{
    ConversationId, Frame, Instant, LogId, NodeAddress, NodeId, Output, PublicKey, Rows, Table,
    Transaction,
};
use rand_chacha::ChaCha20Rng;

use crate::{CommandError, Event, Reply, rows, timers::Timers, topics::Timer};

/// What one input changes and says. All changes become one commit; what is said leaves after it.
///
/// Two things spare the user a wait for the disk. What a node delivered is only noted: until the
/// node is told that it has arrived, it is delivered again. And a message leaves before its commit,
/// if its key was set aside by an earlier one: should the commit be lost in a crash, either the
/// node has the message and delivers it, or the user was never told that it was sent.
pub(crate) struct Step<'a> {
    rows: Transaction<'a>,
    now: Instant,
    rng: ChaCha20Rng,
    /// The machine's, for the time of the step.
    timers: Timers<Timer>,
    /// The machine's, for the time of the step.
    counters: Counters,
    demands: Demands,
    misbehaved: Vec<(NodeId, Misbehaviour)>,
    has_idle_links: bool,
    emitted: Vec<Emitted>,
    hinted: BTreeSet<Hint>,
}

/// What was dropped and why, since the device was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames and envelopes that are not what a peer may send.
    pub dropped: u64,
    /// Messages whose device used one key twice.
    pub equivocations: u64,
}

/// What the application has been told to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hint {
    Account,
    Contacts,
    Timeline(LogId),
}

/// What a step emits, in order. Events of logs carry no conversation; `finish` adds it.
enum Emitted {
    Output(Output<Event>),
    Timeline(LogId),
    Sent(LogId),
}

/// What may be held against a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misbehaviour {
    /// It would not do what it is there for. An honest node may be full, or have lost something.
    Refused,
    /// It sent what no honest node sends, whatever has happened to its disk or its connection.
    Invalid,
}

/// When a step's changes must be durable. Parts of a step demand it in any order; [`Demands`] joins
/// what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Some time.
    Later,
    /// Before anything the step says to nodes leaves.
    First,
    /// Before the application hears of it; nodes may hear first.
    Meanwhile,
}

/// What the parts of a step have demanded.
#[derive(Clone, Copy, Debug, Default)]
struct Demands {
    later: bool,
    first: bool,
    meanwhile: bool,
}

impl Demands {
    /// Joins the demands: who demands nothing gets [`Durability::First`], `Later` yields to
    /// `First`, and both to `Meanwhile`.
    fn join(self) -> Durability {
        match self {
            Self { meanwhile: true, .. } => Durability::Meanwhile,
            Self { later: true, first: false, .. } => Durability::Later,
            Self { .. } => Durability::First,
        }
    }
}

fn is_transmission(output: &Output<Event>) -> bool {
    matches!(output, Output::Transmit(..))
}

impl<'a> Step<'a> {
    pub(crate) fn new(
        rows: &'a dyn Rows,
        now: Instant,
        rng: ChaCha20Rng,
        timers: Timers<Timer>,
        counters: Counters,
    ) -> Self {
        Self {
            rows: Transaction::new(rows),
            now,
            rng,
            timers,
            counters,
            demands: Demands::default(),
            misbehaved: Vec::new(),
            has_idle_links: false,
            emitted: Vec::new(),
            hinted: BTreeSet::new(),
        }
    }

    /// The rows, with what this step has changed.
    pub(crate) fn rows(&self) -> &dyn Rows {
        &self.rows
    }

    pub(crate) fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, row: impl Into<Vec<u8>>) {
        self.rows.put(table, key, row);
    }

    pub(crate) fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.rows.delete(table, key);
    }

    /// Deletes all rows whose key begins with `prefix`.
    pub(crate) fn erase(&mut self, table: Table, prefix: &[u8]) {
        for (key, _) in rows::all(&self.rows, table, prefix) {
            self.rows.delete(table, [prefix, &key].concat());
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.rng
    }

    /// What is due later.
    pub(crate) fn timers(&mut self) -> &mut Timers<Timer> {
        &mut self.timers
    }

    /// Sets a timer; one that is set already keeps its time.
    pub(crate) fn arm(&mut self, after: Duration, timer: Timer) {
        self.timers.arm(self.now.after(after), timer);
    }

    /// Sets a timer; one that is set for later is moved to this time.
    pub(crate) fn arm_by(&mut self, after: Duration, timer: Timer) {
        self.timers.arm_by(self.now.after(after), timer);
    }

    pub(crate) fn take_due_timer(&mut self) -> Option<Timer> {
        self.timers.pop_due(self.now)
    }

    /// Demands when the step's changes are durable.
    pub(crate) fn require(&mut self, durability: Durability) {
        match durability {
            Durability::Later => self.demands.later = true,
            Durability::First => self.demands.first = true,
            Durability::Meanwhile => self.demands.meanwhile = true,
        }
    }

    /// Reports what speaks against a node.
    pub(crate) fn report(&mut self, node: &NodeId, kind: Misbehaviour) {
        self.misbehaved.push((*node, kind));
    }

    pub(crate) fn take_misbehaved(&mut self) -> Vec<(NodeId, Misbehaviour)> {
        std::mem::take(&mut self.misbehaved)
    }

    /// Some links may be needed no more: they are looked at when all of the input is done.
    pub(crate) fn drop_idle_links(&mut self) {
        self.has_idle_links = true;
    }

    pub(crate) fn has_idle_links(&self) -> bool {
        self.has_idle_links
    }

    /// Counts a frame or an envelope that is not what a peer may send.
    pub(crate) fn count_dropped(&mut self) {
        self.counters.dropped = self.counters.dropped.saturating_add(1);
    }

    /// Counts a message whose device used one key twice.
    pub(crate) fn count_equivocation(&mut self) {
        self.counters.equivocations = self.counters.equivocations.saturating_add(1);
    }

    pub(crate) fn transmit(&mut self, node: &NodeId, frame: Frame) {
        self.push(Output::Transmit(PublicKey(node.0), frame));
    }

    pub(crate) fn connect(&mut self, address: &NodeAddress) {
        self.push(Output::Connect(PublicKey(address.node.0), address.addresses.clone()));
    }

    pub(crate) fn disconnect(&mut self, node: &NodeId) {
        self.push(Output::Disconnect(PublicKey(node.0)));
    }

    /// Tells the application something; a hint to look at rows once is enough, however many of
    /// them change.
    pub(crate) fn emit(&mut self, event: Event) {
        let hint = match &event {
            Event::Account => Some(Hint::Account),
            Event::Contacts => Some(Hint::Contacts),
            Event::Done { .. }
            | Event::Timeline(_)
            | Event::Typing { .. }
            | Event::LinkChanged(..)
            | Event::Sent(_)
            | Event::Convicted(_) => None,
        };
        if hint.is_none_or(|hint| self.hinted.insert(hint)) {
            self.push(Output::Event(event));
        }
    }

    /// Tells the application that the timeline over a log has changed.
    pub(crate) fn timeline_changed(&mut self, log: &LogId) {
        if self.hinted.insert(Hint::Timeline(*log)) {
            self.emitted.push(Emitted::Timeline(*log));
        }
    }

    /// Tells the application that everything in the outbox of a log is at its node.
    pub(crate) fn outbox_emptied(&mut self, log: &LogId) {
        self.emitted.push(Emitted::Sent(*log));
    }

    fn push(&mut self, output: Output<Event>) {
        self.emitted.push(Emitted::Output(output));
    }

    pub(crate) fn done(&mut self, ticket: u64, result: Result<Reply, CommandError>) {
        self.emit(Event::Done { ticket, result });
    }

    /// Returns the outputs in the order in which they are to be carried out, and what the machine
    /// had lent to the step. `conversation` names the conversation over a log, if there is one.
    pub(crate) fn finish(
        self,
        conversation: impl Fn(&LogId) -> Option<ConversationId>,
    ) -> (Vec<Output<Event>>, Timers<Timer>, Counters) {
        let emitted = self.emitted.into_iter().filter_map(|emitted| match emitted {
            Emitted::Output(output) => Some(output),
            Emitted::Timeline(log) => conversation(&log).map(Event::Timeline).map(Output::Event),
            Emitted::Sent(log) => conversation(&log).map(Event::Sent).map(Output::Event),
        });
        let durability = self.demands.join();
        let batch = self.rows.into_batch();
        let (ahead, after): (Vec<_>, Vec<_>) = match durability {
            Durability::Later | Durability::First => (Vec::new(), emitted.collect()),
            Durability::Meanwhile => emitted.partition(is_transmission),
        };
        let change = match durability {
            Durability::Later => (!batch.is_empty()).then_some(Output::Note(batch)),
            Durability::Meanwhile => Some(Output::Commit(batch)),
            // Even without changes: what was noted before must last before a node hears of it.
            Durability::First if after.iter().any(is_transmission) || !batch.is_empty() => {
                Some(Output::Commit(batch))
            }
            Durability::First => None,
        };
        let outputs = ahead.into_iter().chain(change).chain(after).collect();
        (outputs, self.timers, self.counters)
    }
}
