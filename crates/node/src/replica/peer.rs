//! Replication to one other node: the logs that are pushed to it, how far each has come, and the
//! requests that it has not answered.
//!
//! Entries are pulled from rows when there is room in the window, so that a slow node costs no
//! memory here. Entries that the other node appended itself are left out while the connection
//! lives.

mod answer;
mod fill;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use proto::{
    AccountId, Body, Code, Cursor, Frame, Instant, LogId, Peer, Recruit, Replicate, Rows,
    Transaction, limits,
};

use super::{
    deferred_push::DeferredPushes,
    push::{OWN_RANGES_MAX, Push, State, UNANNOUNCED_MAX},
};
use crate::log::{EntryAt, Logs};

/// The connection to one other node, and what is pushed over it.
#[derive(Debug)]
pub(super) struct ReplicationPeer {
    pub(super) addresses: Vec<SocketAddr>,
    /// It has said Hello; frames may flow.
    pub(super) is_up: bool,
    /// Since when it is up, or is not.
    pub(super) since: Instant,
    /// When an entry was last pushed or answered.
    pub(super) used: Instant,
    timers: BTreeSet<(Instant, Timer)>,
    /// By the log's number.
    pushes: BTreeMap<u64, Push>,
    /// Logs whose push may have entries to send.
    behind: BTreeSet<u64>,
    /// The log that was served last.
    turn: u64,
    /// Entries to be pushed out of turn, though they were pushed before.
    again: VecDeque<EntryAt>,
    requests: BTreeMap<u32, Request>,
    /// How many requests open a log.
    opening: usize,
    /// A record was sent and not answered.
    is_passing_record: bool,
    numbers: u32,
    /// Entries that were not answered, and their bytes.
    entries: usize,
    bytes: usize,
    /// Dirty logs from this number on may have no push yet.
    unseen: Option<u64>,
    ticks: u64,
}

/// What is due later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Dial the node again.
    Redial,
    /// Try to open a log again.
    Log(u64),
    /// Count the node as unreachable, if it is still away.
    Unreachable,
    /// Drop the connection, if no log needs it.
    Unneeded,
}

/// A request that was not answered.
#[derive(Clone, Copy, Debug)]
enum Request {
    Open(u64),
    Append {
        at: EntryAt,
        channel: u32,
        bytes: usize,
    },
    /// To make a copy of a log of this account.
    Recruit(AccountId),
    /// To take this record.
    PassRecord(RecordOf),
}

/// SHA-256 of an account's record.
pub(crate) type RecordHash = [u8; 32];

/// The record of the account with this inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordOf {
    pub(crate) inbox: u64,
    pub(crate) hash: RecordHash,
}

/// What an answer was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It answers no request.
    Unasked,
    Fine,
    /// The other node has stored an entry.
    Stored,
    /// It refuses an entry permanently.
    Refused,
    /// It has no copy of this log.
    NoCopy(u64),
    /// It has refused to make a copy for this account.
    Unwilling(AccountId),
    /// It has answered to this record.
    PassedRecord(RecordOf),
}

/// What a peer needs of the rest of the node.
pub(super) struct Around<'a, 'rows> {
    /// The other node.
    pub(super) peer: Peer,
    pub(super) tx: &'a mut Transaction<'rows>,
    pub(super) logs: &'a mut Logs,
    pub(super) deferred: &'a DeferredPushes,
}

/// Fullest of each, over all peers.
pub(super) type Fullness = [usize; 8];

impl ReplicationPeer {
    pub(super) fn new(addresses: Vec<SocketAddr>, now: Instant) -> Self {
        Self {
            addresses,
            is_up: false,
            since: now,
            used: now,
            timers: BTreeSet::new(),
            pushes: BTreeMap::new(),
            behind: BTreeSet::new(),
            turn: 0,
            again: VecDeque::new(),
            requests: BTreeMap::new(),
            opening: 0,
            is_passing_record: false,
            numbers: 0,
            entries: 0,
            bytes: 0,
            unseen: Some(0),
            ticks: 0,
        }
    }

    /// Returns pushes, unanswered entries and bytes, requests, timers, own ranges, entries pushed
    /// again, unannounced entries.
    pub(super) fn fullness(&self) -> Fullness {
        let own = self.pushes.values().map(|push| push.own.len()).max().unwrap_or(0);
        let (requests, again) = (self.requests.len(), self.again.len());
        let unannounced = self.pushes.values().map(Push::unannounced).max().unwrap_or(0);
        let timers = self.timers.len();
        [self.pushes.len(), self.entries, self.bytes, requests, timers, own, again, unannounced]
    }

    pub(super) fn limits() -> Fullness {
        let requests = WINDOW_ENTRIES.saturating_add(OPENING_MAX);
        // One for each push, and three of the connection.
        let timers = PUSHES_MAX + 3;
        let bytes = WINDOW_BYTES_END;
        let own = OWN_RANGES_MAX;
        [PUSHES_MAX, WINDOW_ENTRIES, bytes, requests, timers, own, AGAIN_MAX, UNANNOUNCED_MAX]
    }

    /// Returns whether an answer is awaited.
    pub(super) fn is_busy(&self) -> bool {
        !self.requests.is_empty()
    }

    /// The connection stands: everything dirty is to be pushed.
    pub(super) fn greeted(&mut self, now: Instant) {
        self.is_up = true;
        self.since = now;
        self.unseen = Some(0);
    }

    /// The connection is gone, with all that the other node knew of it.
    pub(super) fn disconnected(&mut self, now: Instant) {
        let since = if self.is_up { now } else { self.since };
        let addresses = std::mem::take(&mut self.addresses);
        let mut timers = std::mem::take(&mut self.timers);
        timers.retain(|(_, timer)| !matches!(timer, Timer::Log(_)));
        *self = Self { timers, since, ..Self::new(addresses, self.used) };
    }

    /// Sets a timer, in place of an earlier one for the same.
    pub(super) fn arm(&mut self, due: Instant, timer: Timer) {
        self.timers.retain(|(_, armed)| *armed != timer);
        self.timers.insert((due, timer));
    }

    pub(super) fn first_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (_, timer) = self.timers.first().copied().filter(|(due, _)| *due <= now)?;
        self.timers.pop_first();
        Some(timer)
    }

    /// An entry of a log was stored, which the other node may lack. Returns whether a row must say
    /// so.
    pub(super) fn appended(&mut self, number: u64) -> bool {
        let Some(push) = self.pushes.get_mut(&number) else {
            self.unseen = Some(0);
            return true;
        };
        if push.is_open() {
            self.behind.insert(number);
        }
        !std::mem::replace(&mut push.marked, true)
    }

    /// The other node has an entry that was not pushed to it, because it came from there or because
    /// a third node has pushed it.
    pub(super) fn note_held(&mut self, log: u64, sequence: u64) {
        let is_overdue = self.pushes.get_mut(&log).is_some_and(|push| push.note_held(sequence));
        if is_overdue && self.again.len() < AGAIN_MAX {
            self.again.push_back(EntryAt { log, sequence });
        }
    }

    /// An entry was stored, which the other node may lack but is to get from a third one. Returns
    /// whether a row must say so.
    pub(super) fn owed_later(&mut self, EntryAt { log, sequence }: EntryAt) -> bool {
        let Some(push) = self.pushes.get_mut(&log) else {
            self.unseen = Some(0);
            return true;
        };
        push.pass_over(sequence);
        !std::mem::replace(&mut push.marked, true)
    }

    /// No third node has pushed an entry in time.
    pub(super) fn owed_now(&mut self, EntryAt { log, sequence }: EntryAt) {
        match self.pushes.get_mut(&log) {
            Some(push) if push.is_open() => {
                push.next = push.next.min(sequence);
                self.behind.insert(log);
            }
            // It is pulled once the log is open.
            Some(_) => {}
            None => self.unseen = Some(0),
        }
    }

    /// Returns up to where the other node has this node's copy of a log.
    pub(super) fn holds(&self, number: u64) -> Option<u64> {
        self.pushes.get(&number)?.holds()
    }

    /// All nodes of a log have the entries that were pushed up to `sequence`: the other node may
    /// await word of that.
    pub(super) fn tell(&mut self, number: u64, sequence: u64) -> Option<Frame> {
        let push = self.pushes.get_mut(&number).filter(|push| push.is_open())?;
        let (channel, sequence) = (push.channel, push.tell(sequence)?);
        Some(Frame::new(Body::Settled { channel, sequence }))
    }

    /// Returns the log that an answer is about.
    pub(super) fn log_of(&self, request: u32) -> Option<u64> {
        self.requests.get(&request).and_then(|request| match request {
            Request::Open(log) | Request::Append { at: EntryAt { log, .. }, .. } => Some(*log),
            Request::Recruit(_) | Request::PassRecord(_) => None,
        })
    }

    /// Asks the other node to make a copy of a log, if there is room.
    pub(super) fn recruit(&mut self, account: AccountId, recruit: Recruit) -> Option<Frame> {
        if self.opening >= OPENING_MAX {
            return None;
        }
        let request = self.number();
        self.requests.insert(request, Request::Recruit(account));
        self.opening = self.opening.saturating_add(1);
        Some(Frame { request, body: Body::Recruit(Box::new(recruit)) })
    }

    /// Sends the other node an account's record, one at a time.
    pub(super) fn pass_record_on(&mut self, record: RecordOf, bytes: Vec<u8>) -> Option<Frame> {
        if !self.is_up || std::mem::replace(&mut self.is_passing_record, true) {
            return None;
        }
        let request = self.number();
        self.requests.insert(request, Request::PassRecord(record));
        Some(Frame { request, body: Body::PutBundle(bytes) })
    }

    /// The other node has a copy of a log that was not known. Returns whether a row must say that
    /// it may lack entries.
    pub(super) fn called(&mut self, number: u64) -> bool {
        let Some(push) = self.pushes.get_mut(&number) else {
            self.unseen = Some(0);
            return true;
        };
        match &mut push.state {
            // It has said which entries it lacks.
            State::Open => return false,
            State::Asked { called } => *called = true,
            State::Paused(_) => {
                self.forget(number);
                self.unseen = Some(0);
                return true;
            }
        }
        !std::mem::replace(&mut push.marked, true)
    }

    /// Stops pushing a log. Answers to entries on their way are dropped.
    pub(super) fn forget(&mut self, number: u64) -> Option<Frame> {
        self.behind.remove(&number);
        let push = self.pushes.remove(&number)?;
        if let State::Paused(due) = push.state {
            self.timers.remove(&(due, Timer::Log(number)));
        }
        (push.channel > 0).then(|| Frame::new(Body::Close { channel: push.channel }))
    }

    /// Tries to open a log again after a pause.
    pub(super) fn resume(
        &mut self,
        number: u64,
        logs: &mut Logs,
        rows: &dyn Rows,
    ) -> Option<Frame> {
        let tries = self.pushes.get(&number)?.tries;
        self.ask_to_open(number, tries, true, logs, rows)
    }

    /// Returns the number of the channel on which a log is pushed.
    pub(super) fn channel(&self, number: u64) -> Option<u32> {
        let push = self.pushes.get(&number).filter(|push| push.is_open())?;
        Some(push.channel)
    }

    /// Returns whether some log is pushed on this channel.
    pub(super) fn is_pushed(&self, channel: u32) -> bool {
        self.pushes.values().any(|push| push.channel == channel && push.is_open())
    }

    /// Pushes an entry once more if the connection stands, and opens the log for that if it is
    /// closed.
    pub(super) fn push_again(
        &mut self,
        at: EntryAt,
        logs: &mut Logs,
        rows: &dyn Rows,
    ) -> Option<Frame> {
        let frame = self.open_ahead(at.log, logs, rows);
        if self.pushes.contains_key(&at.log)
            && self.again.len() < AGAIN_MAX
            && !self.again.contains(&at)
        {
            self.again.push_back(at);
        }
        frame
    }

    /// Leaves some room for entries that devices ask for.
    pub(super) fn room_to_push_again(&self) -> usize {
        (AGAIN_MAX / 2).saturating_sub(self.again.len())
    }

    /// Opens a log before there is an entry to push, if there is room.
    pub(super) fn open_ahead(
        &mut self,
        number: u64,
        logs: &mut Logs,
        rows: &dyn Rows,
    ) -> Option<Frame> {
        let has_room = self.opening < OPENING_MAX && self.pushes.len() < PUSHES_MAX;
        if !self.is_up || self.pushes.contains_key(&number) || !has_room {
            return None;
        }
        self.ask_to_open(number, 0, false, logs, rows)
    }

    fn ask_to_open(
        &mut self,
        number: u64,
        tries: u32,
        marked: bool,
        logs: &mut Logs,
        rows: &dyn Rows,
    ) -> Option<Frame> {
        let (log, head) = head_of(number, logs, rows)?;
        let channel = self.number();
        let used = self.tick();
        self.pushes.insert(number, Push::new(channel, tries, marked, used));
        self.behind.remove(&number);
        self.requests.insert(channel, Request::Open(number));
        self.opening = self.opening.saturating_add(1);
        let body = Body::Replicate(Replicate { channel, log, head });
        Some(Frame { request: channel, body })
    }

    /// Returns a number for a request, or for a channel and the request that opens it.
    fn number(&mut self) -> u32 {
        self.numbers = self.numbers.checked_add(1).unwrap_or(1);
        self.numbers
    }

    fn tick(&mut self) -> u64 {
        self.ticks = self.ticks.saturating_add(1);
        self.ticks
    }
}

/// Returns the name of a log and where this node's copy ends.
fn head_of(number: u64, logs: &mut Logs, rows: &dyn Rows) -> Option<(LogId, Cursor)> {
    let log = logs.get(rows, number)?;
    let (incarnation, sequence) = (log.row.incarnation, log.state.last_sequence);
    Some((log.row.id, Cursor { incarnation, sequence }))
}

/// Returns whether a refusal is about one entry, so that the next ones may be taken. After any
/// other refusal the channel is closed: nothing may be stored before the refused entry.
pub(crate) fn is_about_the_entry(code: Code) -> bool {
    matches!(
        code,
        Code::Forbidden | Code::BadSignature | Code::Position | Code::Invalid | Code::Malformed
    )
}

/// Logs that are open at one other node: as many as a busy node pushes within minutes. Those beyond
/// take turns.
const PUSHES_MAX: usize = 1024;
/// Logs that are being opened at one other node.
const OPENING_MAX: usize = 64;
/// Entries pushed and not answered: as many as may wait for a peer.
const WINDOW_ENTRIES: usize = limits::QUEUE_FRAMES_MAX;
/// Their bytes: half of what may wait for a peer, which leaves the other half for answers.
const WINDOW_BYTES: usize = limits::QUEUE_BYTES_MAX / 2;
/// The same with the entry that filled the window, which may be of the largest size.
const WINDOW_BYTES_END: usize = WINDOW_BYTES + limits::ENVELOPE_MAX + ENTRY_BYTES_MIN;
/// The least that an entry counts for, so that empty ones count.
const ENTRY_BYTES_MIN: usize = 64;
/// Entries of one log before the next has its turn.
const TURN_ENTRIES: usize = 32;
/// Entries that are pushed once more: more than a device sends without an answer.
const AGAIN_MAX: usize = 256;
/// How long to wait before a log is tried again for the first time.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest wait.
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// The most frames that one input leads to at one peer: a full window, openings, and a close for
/// each.
pub(super) const FRAMES_MAX: usize = WINDOW_ENTRIES + 2 * OPENING_MAX;
