//! What goes on with one other node: which logs are pushed to it, how far each has come, and what
//! it has not answered.
//!
//! Entries are pulled from rows when there is room in the window, so that a slow node costs no
//! memory here. What the other appended itself is left out, as long as the connection lives.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    ops::{Bound, ControlFlow},
    time::Duration,
};

use proto::{
    AccountId, Body, Code, Cursor, Draft, Entry, Envelope, Frame, Instant, LogId, Peer, Recruit,
    Replicate, Rows, limits,
};

use super::{
    lazy::Lazy,
    push::{OWN_RANGES_MAX, Pulled, Push, State, UNTOLD_MAX},
    rows,
};
use crate::{
    layout::{self, DIRTY, ENTRIES},
    log::Logs,
};

/// The connection to one other node, and what is pushed over it.
#[derive(Debug)]
pub(super) struct Peering {
    pub(super) addresses: Vec<SocketAddr>,
    /// It has greeted; frames may flow.
    pub(super) is_up: bool,
    /// Since when it is up, or is not.
    pub(super) since: Instant,
    /// When something was last pushed or answered.
    pub(super) used: Instant,
    /// When what was put off is due: a log's push, or what [`super`] has to do.
    pub(super) timers: BTreeSet<(Instant, u64)>,
    /// By the log's number.
    pushes: BTreeMap<u64, Push>,
    /// Logs whose push may have something to send.
    behind: BTreeSet<u64>,
    /// Whose turn it was last.
    turn: u64,
    /// What is to be pushed out of turn, by log and sequence, though it was pushed before.
    again: VecDeque<(u64, u64)>,
    asks: BTreeMap<u32, Ask>,
    /// How many of those open a log.
    opening: usize,
    /// It is being told an account's record.
    telling: bool,
    numbers: u32,
    /// Entries that were not answered, and their bytes.
    entries: usize,
    bytes: usize,
    /// Dirty logs from this number on may have no push yet.
    unseen: Option<u64>,
    ticks: u64,
}

/// What was asked and not answered.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Open(u64),
    Append {
        log: u64,
        handle: u32,
        sequence: u64,
        bytes: usize,
    },
    /// It was asked to make a copy of a log of an account.
    Recruit(AccountId),
    /// It was told the record of the account with that inbox.
    Tell(u64, RecordHash),
}

/// SHA-256 of an account's record.
pub(crate) type RecordHash = [u8; 32];

/// What an answer was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It was not asked for.
    Unasked,
    Fine,
    /// The other has stored an entry.
    Stored,
    /// It will never take an entry.
    Refused,
    /// It has no copy of this log.
    NoCopy(u64),
    /// It would not make one for this account.
    Unwilling(AccountId),
    /// It has heard of the record of the account with that inbox.
    Told(u64, RecordHash),
}

/// Fullest of each, over all peerings.
pub(super) type Fullness = [usize; 8];

impl Peering {
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
            asks: BTreeMap::new(),
            opening: 0,
            telling: false,
            numbers: 0,
            entries: 0,
            bytes: 0,
            unseen: Some(0),
            ticks: 0,
        }
    }

    /// Pushes, unanswered entries and bytes, asks, timers, own ranges, entries pushed again, untold.
    pub(super) fn fullness(&self) -> Fullness {
        let own = self.pushes.values().map(|push| push.own.len()).max().unwrap_or(0);
        let (asks, again) = (self.asks.len(), self.again.len());
        let untold = self.pushes.values().map(Push::untold).max().unwrap_or(0);
        let timers = self.timers.len();
        [self.pushes.len(), self.entries, self.bytes, asks, timers, own, again, untold]
    }

    pub(super) fn limits() -> Fullness {
        let asks = WINDOW_ENTRIES.saturating_add(OPENING_MAX);
        // One for each push, and three of the connection.
        let timers = PUSHES_MAX + 3;
        let bytes = WINDOW_BYTES_END;
        let own = OWN_RANGES_MAX;
        [PUSHES_MAX, WINDOW_ENTRIES, bytes, asks, timers, own, AGAIN_MAX, UNTOLD_MAX]
    }

    /// Tells whether an answer is awaited.
    pub(super) fn is_busy(&self) -> bool {
        !self.asks.is_empty()
    }

    /// The connection stands: everything dirty is to be pushed.
    pub(super) fn greeted(&mut self, now: Instant) {
        self.is_up = true;
        self.since = now;
        self.unseen = Some(0);
    }

    /// The connection is gone, and with it all that the other knew of it.
    pub(super) fn disconnected(&mut self, now: Instant) {
        let since = if self.is_up { now } else { self.since };
        let addresses = std::mem::take(&mut self.addresses);
        let mut timers = std::mem::take(&mut self.timers);
        timers.retain(|(_, what)| matches!(*what, REDIAL | UNNEEDED | GONE));
        *self = Self { timers, since, ..Self::new(addresses, self.used) };
    }

    /// An entry of a log was stored, which the other may lack. Tells whether a row must say so.
    pub(super) fn appended(&mut self, number: u64) -> bool {
        let Some(push) = self.pushes.get_mut(&number) else {
            self.unseen = Some(0);
            return true;
        };
        if push.state == State::Open {
            self.behind.insert(number);
        }
        !std::mem::replace(&mut push.marked, true)
    }

    /// The other has an entry that was not pushed to it, because it came from there or because somebody
    /// else has seen to it.
    pub(super) fn has(&mut self, number: u64, sequence: u64) {
        let is_overdue = self.pushes.get_mut(&number).is_some_and(|push| push.has(sequence));
        if is_overdue && self.again.len() < AGAIN_MAX {
            self.again.push_back((number, sequence));
        }
    }

    /// An entry of a log was stored, which the other may lack but is to get from somebody else. Tells
    /// whether a row must say so.
    pub(super) fn owed_later(&mut self, number: u64, sequence: u64) -> bool {
        let Some(push) = self.pushes.get_mut(&number) else {
            self.unseen = Some(0);
            return true;
        };
        push.pass_over(sequence);
        !std::mem::replace(&mut push.marked, true)
    }

    /// Nobody else has seen to it that the other gets an entry.
    pub(super) fn owed_now(&mut self, number: u64, sequence: u64) {
        match self.pushes.get_mut(&number) {
            Some(push) if push.is_open() => {
                push.next = push.next.min(sequence);
                self.behind.insert(number);
            }
            // It is looked for when the log is open.
            Some(_) => {}
            None => self.unseen = Some(0),
        }
    }

    /// Up to where the other has this node's copy of a log.
    pub(super) fn holds(&self, number: u64) -> Option<u64> {
        self.pushes.get(&number)?.holds()
    }

    /// All nodes of a log have what was pushed up to `sequence`: the other may want to know.
    pub(super) fn tell(&mut self, number: u64, sequence: u64) -> Option<Frame> {
        let push = self.pushes.get_mut(&number).filter(|push| push.is_open())?;
        let (handle, sequence) = (push.handle, push.tell(sequence)?);
        Some(Frame::new(Body::Settled { handle, sequence }))
    }

    /// The log of which an answer speaks.
    pub(super) fn log_of(&self, request: u32) -> Option<u64> {
        self.asks.get(&request).and_then(|ask| match ask {
            Ask::Open(log) | Ask::Append { log, .. } => Some(*log),
            Ask::Recruit(_) | Ask::Tell(..) => None,
        })
    }

    /// Asks the other to make a copy of a log, if there is room.
    pub(super) fn recruit(&mut self, account: AccountId, recruit: Recruit) -> Option<Frame> {
        if self.opening >= OPENING_MAX {
            return None;
        }
        let request = self.number();
        self.asks.insert(request, Ask::Recruit(account));
        self.opening = self.opening.saturating_add(1);
        Some(Frame { request, body: Body::Recruit(Box::new(recruit)) })
    }

    /// Tells the other an account's record, one after the other.
    pub(super) fn tell_record(
        &mut self,
        inbox: u64,
        hash: RecordHash,
        record: Vec<u8>,
    ) -> Option<Frame> {
        if !self.is_up || std::mem::replace(&mut self.telling, true) {
            return None;
        }
        let request = self.number();
        self.asks.insert(request, Ask::Tell(inbox, hash));
        Some(Frame { request, body: Body::PutBundle(record) })
    }

    /// The other has a copy of a log of which nothing was known. Tells whether a row must say that
    /// it may lack something.
    pub(super) fn called(&mut self, number: u64) -> bool {
        let Some(push) = self.pushes.get_mut(&number) else {
            self.unseen = Some(0);
            return true;
        };
        match &mut push.state {
            // It has said what it lacks.
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

    /// The log is not pushed any more. What is on its way will be answered in vain.
    pub(super) fn forget(&mut self, number: u64) -> Option<Frame> {
        self.behind.remove(&number);
        let push = self.pushes.remove(&number)?;
        if let State::Paused(due) = push.state {
            self.timers.remove(&(due, number));
        }
        (push.handle > 0).then(|| Frame::new(Body::Close { handle: push.handle }))
    }

    /// A pause is over.
    pub(super) fn resume(
        &mut self,
        number: u64,
        logs: &mut Logs,
        rows: &dyn Rows,
    ) -> Option<Frame> {
        let tries = self.pushes.get(&number)?.tries;
        self.ask_to_open(number, tries, true, logs, rows)
    }

    /// The handle on which a log is pushed.
    pub(super) fn handle(&self, number: u64) -> Option<u32> {
        let push = self.pushes.get(&number).filter(|push| push.state == State::Open)?;
        Some(push.handle)
    }

    /// Tells whether some log is pushed on this handle.
    pub(super) fn is_pushed(&self, handle: u32) -> bool {
        self.pushes.values().any(|push| push.handle == handle && push.state == State::Open)
    }

    /// Pushes an entry once more, if the connection stands. Opens the log for that if need be.
    pub(super) fn push_again(
        &mut self,
        number: u64,
        sequence: u64,
        logs: &mut Logs,
        rows: &dyn Rows,
    ) -> Option<Frame> {
        let frame = self.warm(number, logs, rows);
        if self.pushes.contains_key(&number)
            && self.again.len() < AGAIN_MAX
            && !self.again.contains(&(number, sequence))
        {
            self.again.push_back((number, sequence));
        }
        frame
    }

    /// Leaves some room for those that devices ask for.
    pub(super) fn room_to_push_again(&self) -> usize {
        (AGAIN_MAX / 2).saturating_sub(self.again.len())
    }

    /// Opens a log ahead of need, if there is room.
    pub(super) fn warm(&mut self, number: u64, logs: &mut Logs, rows: &dyn Rows) -> Option<Frame> {
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
        let handle = self.number();
        let used = self.tick();
        self.pushes.insert(number, Push::new(handle, tries, marked, used));
        self.behind.remove(&number);
        self.asks.insert(handle, Ask::Open(number));
        self.opening = self.opening.saturating_add(1);
        Some(Frame { request: handle, body: Body::Replicate(Replicate { handle, log, head }) })
    }

    /// A number for a request, or for a handle and the request that opens it.
    fn number(&mut self) -> u32 {
        self.numbers = self.numbers.checked_add(1).unwrap_or(1);
        self.numbers
    }

    fn tick(&mut self) -> u64 {
        self.ticks = self.ticks.saturating_add(1);
        self.ticks
    }
}

/// Answers.
impl Peering {
    /// Takes the other's answer in.
    pub(super) fn answered(
        &mut self,
        peer: &Peer,
        request: u32,
        body: &Body,
        (draft, logs, lazy): (&mut Draft<'_>, &mut Logs, &Lazy),
        now: Instant,
    ) -> Answered {
        let Some(ask) = self.asks.remove(&request) else { return Answered::Unasked };
        self.used = now;
        let refused = if let Body::Refused { code, .. } = body { Some(*code) } else { None };
        match ask {
            Ask::Open(number) => {
                self.opening = self.opening.saturating_sub(1);
                let is_current = self.pushes.get(&number).is_some_and(|p| p.handle == request);
                if is_current {
                    self.open_answered(peer, number, body, (draft, logs, lazy), now);
                }
                let has_none = matches!(refused, Some(Code::NotFound | Code::Forbidden));
                if has_none && is_current { Answered::NoCopy(number) } else { Answered::Fine }
            }
            Ask::Recruit(account) => {
                self.opening = self.opening.saturating_sub(1);
                if refused.is_some() { Answered::Unwilling(account) } else { Answered::Fine }
            }
            Ask::Tell(inbox, hash) => {
                self.telling = false;
                Answered::Told(inbox, hash)
            }
            Ask::Append { log: number, handle, sequence, bytes } => {
                self.entries = self.entries.saturating_sub(1);
                self.bytes = self.bytes.saturating_sub(bytes);
                let push = self.pushes.get_mut(&number).filter(|push| push.handle == handle);
                let Some(push) = push else { return Answered::Fine };
                push.answered(sequence, refused.is_some());
                if refused.is_some_and(|code| !is_about_the_entry(code)) {
                    self.put_off(number, now);
                    return Answered::Fine;
                }
                if std::mem::take(&mut push.tries) > 0 {
                    // It takes entries again: the others may follow.
                    self.behind.insert(number);
                }
                self.check_drained(peer, number, lazy, draft);
                if refused.is_some() { Answered::Refused } else { Answered::Stored }
            }
        }
    }

    fn open_answered(
        &mut self,
        peer: &Peer,
        number: u64,
        body: &Body,
        (draft, logs, lazy): (&mut Draft<'_>, &mut Logs, &Lazy),
        now: Instant,
    ) {
        if let Body::Opened { head, .. } = body {
            self.opened(peer, number, *head, (draft, logs, lazy));
        } else if let Body::Refused { code, .. } = body {
            self.not_opened(peer, number, *code, draft, now);
        } else {
            self.put_off(number, now);
        }
    }

    /// The other's copy is open, and says how far it has got.
    fn opened(
        &mut self,
        peer: &Peer,
        number: u64,
        got: Cursor,
        (draft, logs, lazy): (&mut Draft<'_>, &mut Logs, &Lazy),
    ) {
        let Some((_, head)) = head_of(number, logs, draft) else { return };
        let Some(push) = self.pushes.get_mut(&number) else { return };
        let fits = got.incarnation == head.incarnation && got.sequence <= head.sequence;
        push.state = State::Open;
        push.next = if fits { got.sequence } else { 0 }.saturating_add(1);
        self.behind.insert(number);
        if push.next > head.sequence {
            self.behind.remove(&number);
            self.check_drained(peer, number, lazy, draft);
        }
    }

    /// The other would not open its copy. If it has none, or does not know that it is to be
    /// replicated here, it will call when that changes: whoever creates a copy, or hears of a new
    /// ranking, opens the log at all others.
    fn not_opened(
        &mut self,
        peer: &Peer,
        number: u64,
        code: Code,
        draft: &mut Draft<'_>,
        now: Instant,
    ) {
        if !matches!(code, Code::NotFound | Code::Forbidden) {
            return self.put_off(number, now);
        }
        let push = self.pushes.remove(&number);
        if matches!(push, Some(Push { state: State::Asked { called: true }, .. })) {
            self.unseen = Some(0);
            return;
        }
        rows::put_received(draft, peer, number, Cursor::default());
        rows::unmark(draft, peer, number);
    }

    /// Tries a log again later. The other has closed it, if it was open.
    fn put_off(&mut self, number: u64, now: Instant) {
        let Some(push) = self.pushes.get_mut(&number) else { return };
        let pause = PAUSE_MIN.saturating_mul(1_u32.checked_shl(push.tries).unwrap_or(u32::MAX));
        let due = now.after(pause.min(PAUSE_MAX));
        push.tries = push.tries.saturating_add(1);
        push.state = State::Paused(due);
        // Whatever else is on its way on this handle is answered in vain.
        push.handle = 0;
        push.unanswered.clear();
        self.behind.remove(&number);
        self.timers.insert((due, number));
    }

    /// Takes note if the other has all of a log.
    pub(super) fn check_drained(
        &mut self,
        peer: &Peer,
        number: u64,
        lazy: &Lazy,
        draft: &mut Draft<'_>,
    ) {
        if self.behind.contains(&number) {
            return;
        }
        if let Some(push) = self.pushes.get_mut(&number)
            && push.state == State::Open
            && push.unanswered.is_empty()
            && lazy.first(number, peer).is_none()
            && std::mem::take(&mut push.marked)
        {
            rows::unmark(draft, peer, number);
        }
    }
}

/// Pushing.
impl Peering {
    /// Opens what is dirty and fills the window, logs in turn.
    pub(super) fn fill(
        &mut self,
        peer: &Peer,
        (draft, logs, lazy): (&mut Draft<'_>, &mut Logs, &Lazy),
        now: Instant,
        transmit: &mut dyn FnMut(Frame),
    ) {
        if !self.is_up {
            return;
        }
        self.open_dirty(peer, draft, logs, transmit);
        if self.entries > WINDOW_ENTRIES / 2 || self.bytes > WINDOW_BYTES / 2 {
            return;
        }
        self.fill_again(peer, lazy, draft, transmit);
        while self.has_room()
            && let Some(number) = self.next_turn()
        {
            let head = head_of(number, logs, draft);
            let entries = match self.pushes.get_mut(&number) {
                // It took nothing of late, so entries go one at a time.
                Some(push) if push.tries > 0 && !push.unanswered.is_empty() => {
                    self.behind.remove(&number);
                    continue;
                }
                Some(push) if push.state == State::Open => {
                    let most = if push.tries > 0 { 1 } else { TURN_ENTRIES };
                    let room = WINDOW_ENTRIES.saturating_sub(self.entries).min(most);
                    let room = (room, WINDOW_BYTES.saturating_sub(self.bytes));
                    push.pull(number, draft, room, |own| lazy.owes(number, own, peer))
                }
                Some(_) | None => Pulled { envelopes: Vec::new(), is_last: true },
            };
            self.used = now;
            let first_owed = lazy.first(number, peer);
            for (sequence, envelope) in entries.envelopes {
                let cursor = before(first_owed, sequence);
                if let Some(push) = self.pushes.get_mut(&number) {
                    push.pushed_in_turn(sequence, cursor);
                }
                if let Some(frame) = self.push(number, sequence, cursor, &envelope) {
                    transmit(frame);
                }
            }
            if entries.is_last {
                self.behind.remove(&number);
                if let (Some(push), Some((_, head))) = (self.pushes.get_mut(&number), head) {
                    push.next = push.next.max(head.sequence.saturating_add(1));
                    push.own.clear();
                }
                self.check_drained(peer, number, lazy, draft);
            }
        }
    }

    /// Pushes what was asked for once more, out of turn. That tells the other nothing of how far it has
    /// got, for it is behind what was pushed already; what is not comes in its turn. What has expired,
    /// and what is of a log that could not be opened, is left out.
    fn fill_again(
        &mut self,
        peer: &Peer,
        lazy: &Lazy,
        rows: &dyn Rows,
        transmit: &mut dyn FnMut(Frame),
    ) {
        for (number, sequence) in std::mem::take(&mut self.again) {
            let Some(push) = self.pushes.get(&number) else { continue };
            let is_past = sequence < push.next;
            match push.state {
                State::Asked { .. } => self.again.push_back((number, sequence)),
                State::Open if is_past && push.tries == 0 && self.has_room() => {
                    let row = rows.get(ENTRIES, &layout::entry_key(number, sequence));
                    let envelope = row.and_then(|row| Envelope::decode(&row).ok());
                    let cursor = before(lazy.first(number, peer), sequence);
                    let frame =
                        envelope.and_then(|found| self.push(number, sequence, cursor, &found));
                    frame.into_iter().for_each(&mut *transmit);
                }
                State::Open if is_past && push.tries == 0 => {
                    self.again.push_back((number, sequence));
                }
                State::Open | State::Paused(_) => {}
            }
        }
    }

    /// Pushes an entry. With it goes the `cursor` up to where the other has all of this node's copy then.
    fn push(
        &mut self,
        number: u64,
        sequence: u64,
        cursor: u64,
        envelope: &Envelope,
    ) -> Option<Frame> {
        let (request, used) = (self.number(), self.tick());
        let push = self.pushes.get_mut(&number)?;
        push.used = used;
        push.pushed(sequence);
        let (handle, key) = (push.handle, envelope.head.write_key);
        let entry = Entry::from_envelope(envelope, cursor, key);
        let entry = Entry { write_key: Some(key), ..entry };
        let bytes = entry.ciphertext.len().saturating_add(ENTRY_BYTES_MIN);
        self.asks.insert(request, Ask::Append { log: number, handle, sequence, bytes });
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        let body = Body::Append { handle, entry, signature: envelope.signature };
        Some(Frame { request, body })
    }

    /// Asks the other to open logs of which it may lack something, a few at a time.
    fn open_dirty(
        &mut self,
        peer: &Peer,
        draft: &Draft<'_>,
        logs: &mut Logs,
        transmit: &mut dyn FnMut(Frame),
    ) {
        let Some(from) = self.unseen else { return };
        let room = OPENING_MAX.saturating_sub(self.opening);
        let mut dirty = Vec::new();
        self.unseen = None;
        rows::logs_of(draft, DIRTY, peer, from, |number| {
            if dirty.len() >= room {
                self.unseen = Some(number);
                return ControlFlow::Break(());
            }
            if !self.pushes.contains_key(&number) {
                dirty.push(number);
            }
            ControlFlow::Continue(())
        });
        for number in dirty {
            if self.pushes.len() >= PUSHES_MAX && !self.close_idle(transmit) {
                self.unseen = Some(number);
                return;
            }
            if let Some(frame) = self.ask_to_open(number, 0, true, logs, draft) {
                transmit(frame);
            }
        }
    }

    /// Closes the log that was idle for the longest time; tells whether there was one.
    fn close_idle(&mut self, transmit: &mut dyn FnMut(Frame)) -> bool {
        let idle = self.pushes.iter().filter(|(number, push)| {
            push.state == State::Open && !push.marked && !self.behind.contains(number)
        });
        let Some(number) = idle.min_by_key(|(_, push)| push.used).map(|(number, _)| *number) else {
            return false;
        };
        self.forget(number).into_iter().for_each(transmit);
        true
    }

    fn has_room(&self) -> bool {
        self.entries < WINDOW_ENTRIES && self.bytes < WINDOW_BYTES
    }

    fn next_turn(&mut self) -> Option<u64> {
        let after = (Bound::Excluded(self.turn), Bound::Unbounded);
        let next = self.behind.range(after).next().or_else(|| self.behind.first()).copied()?;
        self.turn = next;
        Some(next)
    }
}

/// An entry's sequence, or the one before what is owed to the other later: after a crash, that is
/// where pushing goes on.
fn before(first_owed: Option<u64>, sequence: u64) -> u64 {
    first_owed.map_or(sequence, |first| sequence.min(first.saturating_sub(1)))
}

/// The name of a log and where this node's copy ends.
fn head_of(number: u64, logs: &mut Logs, rows: &dyn Rows) -> Option<(LogId, Cursor)> {
    let log = logs.get(rows, number)?;
    let (incarnation, sequence) = (log.row.incarnation, log.state.last_sequence);
    Some((log.row.id, Cursor { incarnation, sequence }))
}

/// Whether a refusal speaks of one entry, so that the next ones may be taken. After any other one
/// the handle is closed: nothing may be stored before what was refused.
pub(crate) fn is_about_the_entry(code: Code) -> bool {
    matches!(
        code,
        Code::Forbidden | Code::BadSignature | Code::Position | Code::Invalid | Code::Malformed
    )
}

/// Logs that are open at one other node: what a busy node pushes within minutes. Those beyond take
/// turns.
const PUSHES_MAX: usize = 1024;
/// Logs that are being opened at one other node.
const OPENING_MAX: usize = 64;
/// Entries pushed and not answered: as many as may wait for a peer.
const WINDOW_ENTRIES: usize = limits::QUEUE_FRAMES_MAX;
/// Their bytes: half of what may wait for a peer, which leaves the other half for answers.
const WINDOW_BYTES: usize = limits::QUEUE_BYTES_MAX / 2;
/// The same with the entry that filled the window, which may be one of the largest.
const WINDOW_BYTES_END: usize = WINDOW_BYTES + limits::ENVELOPE_MAX + ENTRY_BYTES_MIN;
/// What an entry takes at least, so that empty ones count.
const ENTRY_BYTES_MIN: usize = 64;
/// Entries of one log before the next has its turn.
const TURN_ENTRIES: usize = 32;
/// Entries that are pushed once more: as many as a device has on the way, and some.
const AGAIN_MAX: usize = 256;
/// How long to wait before a log is tried again for the first time.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest wait.
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// What one input makes a peering say at most: a full window, openings, and a close for each.
pub(super) const FRAMES_MAX: usize = WINDOW_ENTRIES + 2 * OPENING_MAX;
/// In place of a log's number, which is at least 1 and less than 2^64 − 2.
pub(super) const REDIAL: u64 = 0;
pub(super) const UNNEEDED: u64 = u64::MAX;
pub(super) const GONE: u64 = u64::MAX - 1;
