//! Logs: who may write, what is stored, and reading it in both orders.
//!
//! Every envelope passes [`Logs::append`], which checks everything before it changes anything.
//! What an append needs of its log is mirrored in memory, so that it reads no row unless its
//! position says that it may be a duplicate.

mod dropped;

use std::ops::ControlFlow;

use proto::{
    AccountId, Code, Direction, Draft, Entry, Envelope, EnvelopeId, Gauge, Head, Instant, Kind,
    LogGenesis, LogId, NodeAddress, OpenError, Peer, PublicKey, Read, Reference, Rows, limits,
};

use crate::{
    cache::Cache,
    fingerprint::{Fingerprint, is_kept},
    foresight::Foresight,
    layout::{
        self, ENTRIES, EXPIRIES, FINGERPRINTS, GENESES, KEYS, LOGS, LogRow, NUMBERS, POSITIONS,
        REFERENCES, STATES, StateRow, WriteKey,
    },
    quota::Quota,
    replica,
};

/// All logs.
#[derive(Debug)]
pub(crate) struct Logs {
    cache: Cache<Log>,
    foresight: Foresight,
    log_quota_bytes: u64,
    next_number: u64,
    /// When the next entry expires.
    next_expiry: Option<Instant>,
    /// When more of the copies that were given up goes.
    next_drop: Option<Instant>,
}

/// A log as its rows say it is.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) row: LogRow,
    pub(crate) state: StateRow,
    /// Who holds it, if a ranking was told: its nodes, and standbys that have made a copy.
    pub(crate) nodes: Vec<Peer>,
    /// The other standbys.
    pub(crate) standbys: Vec<Peer>,
    /// What it keeps, if that was counted.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// A device; tells whether its key may, apart from what the log knows of its own keys.
    Device {
        /// Whether the invite, if it came with one, is still good.
        may_write: bool,
    },
    /// Another node that holds the log, which has let the writer in.
    Replica,
}

/// An envelope is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// Under this sequence, now.
    New(u64),
    /// Under this sequence, before.
    Before(u64),
}

impl Logs {
    pub(crate) fn open(
        log_quota_bytes: u64,
        foresight: Foresight,
        rows: &dyn Rows,
    ) -> Result<Self, OpenError> {
        let mut last = Some(0);
        rows.scan(LOGS, &[], &[0xFF; 9], Direction::Backward, &mut |key, _| {
            last = layout::last_u64(key);
            ControlFlow::Break(())
        });
        let last = last.ok_or(OpenError::Damaged("a log's row"))?.max(dropped::last_used(rows));
        Ok(Self {
            cache: Cache::new(LOGS_CACHED_MAX),
            foresight,
            log_quota_bytes,
            next_number: last.saturating_add(1),
            next_expiry: first_expiry(rows),
            next_drop: dropped::first(rows).map(|_| Instant::default()),
        })
    }

    pub(crate) fn gauges(&self) -> [Gauge; 3] {
        let keys = self.cache.values().map(|log| log.row.keys.len()).max().unwrap_or(0);
        [
            self.cache.gauge("cached logs"),
            Gauge::new("write keys of a log", keys, limits::WRITE_KEYS_MAX),
            self.foresight.gauge(),
        ]
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.next_number.saturating_sub(1)
    }

    /// The log with this number.
    pub(crate) fn get(&mut self, rows: &dyn Rows, number: u64) -> Option<&Log> {
        self.cache.get(number, || Log::load(rows, number)).map(|log| &*log)
    }

    /// The log with this name, and its number.
    pub(crate) fn find(&mut self, rows: &dyn Rows, id: &LogId) -> Option<(u64, &Log)> {
        let number = layout::last_u64(&rows.get(NUMBERS, &id.0)?)?;
        Some((number, self.get(rows, number)?))
    }

    /// Creates an account's inbox, which its own account is charged for.
    pub(crate) fn create_inbox(
        &mut self,
        draft: &mut Draft<'_>,
        account: AccountId,
        devices: impl Iterator<Item = PublicKey>,
        incarnation: u64,
    ) -> u64 {
        let row = LogRow {
            id: LogGenesis::Inbox(account).id(),
            account: self.next_number,
            incarnation,
            inbox_of: Some(account),
            keys: open_keys(devices),
        };
        self.create(draft, row)
    }

    /// Creates a conversation, which `account` is charged for.
    pub(crate) fn create_conversation(
        &mut self,
        draft: &mut Draft<'_>,
        id: LogId,
        key: PublicKey,
        genesis: &[u8],
        account: u64,
        incarnation: u64,
    ) -> u64 {
        let keys = open_keys([key].into_iter());
        let row = LogRow { id, account, incarnation, inbox_of: None, keys };
        let number = self.create(draft, row);
        draft.put(KEYS, layout::public_key_key(number, &key), []);
        draft.put(GENESES, layout::number_key(number), genesis);
        number
    }

    /// Reads anew who holds a log.
    pub(crate) fn ranked(&mut self, rows: &dyn Rows, number: u64) {
        if let Some(log) = self.cache.get(number, || Log::load(rows, number)) {
            (log.nodes, log.standbys) = holders_of(rows, number);
        }
    }

    /// Sets the devices of an inbox.
    pub(crate) fn set_devices(
        &mut self,
        draft: &mut Draft<'_>,
        inbox: u64,
        devices: impl Iterator<Item = PublicKey>,
    ) {
        if let Some(log) = self.cache.get(inbox, || Log::load(draft, inbox)) {
            log.row.keys = open_keys(devices);
            draft.put(LOGS, layout::number_key(inbox), log.row.encode());
        }
    }

    /// Verifies the signatures of envelopes that are about to be appended, all at once. Changes
    /// nothing but what appending them costs.
    pub(crate) fn foresee(&mut self, envelopes: &[Envelope]) {
        self.foresight.verify(envelopes);
    }

    /// Tells whether appending an envelope will take a look at its signature, as far as can be said
    /// without much work.
    pub(crate) fn expects(&mut self, rows: &dyn Rows, number: u64, envelope: &Envelope) -> bool {
        let Some(log) = self.get(rows, number) else { return false };
        let Head { position, write_key, .. } = &envelope.head;
        (log.row.inbox_of.is_some() || log.has(write_key))
            && (*position > log.state.highest_position
                || log.stored_before(rows, number, *position, &envelope.id()).is_none())
    }

    /// Stores an envelope. Of one that another node has taken the key may have closed: that node has
    /// checked it, and what it took within its own time must not be missing here.
    pub(crate) fn append(
        &mut self,
        draft: &mut Draft<'_>,
        quota: &mut Quota,
        number: u64,
        envelope: &Envelope,
        writer: Writer,
        now: Instant,
    ) -> Result<Appended, Code> {
        let log = self.cache.get(number, || Log::load(draft, number)).ok_or(Code::NotFound)?;
        let bytes = envelope.encode();
        if bytes.len() > STORED_MAX {
            return Err(Code::Malformed);
        }
        let id = envelope.id();
        if let Some(sequence) = log.stored_before(draft, number, envelope.head.position, &id) {
            return Ok(Appended::Before(sequence));
        }
        let key = &envelope.head.write_key;
        let may_write = match writer {
            Writer::Device { may_write } => may_write && log.admits(key, now),
            Writer::Replica => log.takes_from_others(draft, number, key),
        };
        if !may_write {
            return Err(Code::Forbidden);
        }
        if !(1..=limits::POSITION_MAX).contains(&envelope.head.position) {
            return Err(Code::Position);
        }
        let next_key = log.check_kind(envelope)?;
        let added = charge_of(bytes.len()).saturating_add(next_key.map_or(0, |_| KEY_CHARGE));
        if log.state.bytes.saturating_add(added) > self.log_quota_bytes {
            return Err(Code::Quota);
        }
        quota.admit(draft, log.row.account, added)?;
        if !self.foresight.has_verified(&bytes) {
            crypto::verify_envelope(envelope).map_err(|_| Code::BadSignature)?;
        }

        quota.charge(draft, log.row.account, added);
        if let Some(next_key) = next_key {
            log.change_key(draft, number, envelope.head.write_key, next_key, now);
        }
        let sequence = log.store(draft, number, envelope, &id, bytes, added);
        if let Some(seconds) = envelope.head.expiry.seconds() {
            let due_s = now.as_secs().saturating_add(seconds);
            draft.put(EXPIRIES, layout::expiry_key(due_s, number, sequence), []);
            let due = Instant::from_secs(due_s);
            self.next_expiry = Some(self.next_expiry.map_or(due, |next| next.min(due)));
        }
        Ok(Appended::New(sequence))
    }

    /// Entries in timeline order or against it, and whether there are more.
    pub(crate) fn read(
        &self,
        rows: &dyn Rows,
        number: u64,
        key: PublicKey,
        read: &Read,
    ) -> (Vec<Entry>, bool) {
        let (position, id) = &read.from;
        let mut from = layout::position_key(number, *position, id);
        let (start, end) = (layout::number_key(number), layout::number_end(number));
        let (from, to, direction) = if read.backward {
            (start, from, Direction::Backward)
        } else {
            // The smallest key behind this one.
            from.push(0);
            (from, end, Direction::Forward)
        };
        let limit = usize::try_from(read.limit).unwrap_or(usize::MAX).min(limits::PAGE_MAX);
        let mut page = Page::new(limit);
        rows.scan(
            POSITIONS,
            &from,
            &to,
            direction,
            &mut |_, value| match layout::last_u64(value) {
                Some(sequence) => page.push(rows, number, sequence, key),
                None => ControlFlow::Continue(()),
            },
        );
        (page.entries, page.more)
    }

    /// Entries by name, as many as one page holds; unknown ones are left out.
    pub(crate) fn fetch(
        &self,
        rows: &dyn Rows,
        number: u64,
        key: PublicKey,
        references: &[Reference],
    ) -> (Vec<Entry>, bool) {
        let mut page = Page::new(limits::PAGE_MAX);
        for reference in references.iter().take(limits::FETCH_MAX) {
            let row = rows.get(REFERENCES, &layout::reference_key(number, *reference));
            if let Some(sequence) = row.and_then(|row| layout::last_u64(&row))
                && page.push(rows, number, sequence, key).is_break()
            {
                break;
            }
        }
        (page.entries, page.more)
    }

    /// Removes some of the entries whose time is over and returns how many.
    pub(crate) fn sweep(&mut self, draft: &mut Draft<'_>, quota: &mut Quota, now: Instant) -> u64 {
        if self.next_expiry.is_none_or(|next| next > now) {
            return 0;
        }
        let mut due = Vec::new();
        let end = now.as_secs().saturating_add(1).to_be_bytes();
        draft.scan(EXPIRIES, &[], &end, Direction::Forward, &mut |key, _| {
            due.extend(layout::parse_expiry_key(key));
            if due.len() < SWEEP_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let mut removed = 0u64;
        for (second, number, sequence) in due {
            draft.delete(EXPIRIES, layout::expiry_key(second, number, sequence));
            removed = removed
                .saturating_add(u64::from(self.remove(draft, quota, number, sequence).is_some()));
        }
        self.next_expiry = first_expiry(draft);
        removed
    }

    /// What a log keeps was counted.
    pub(crate) fn set_fingerprint(
        &mut self,
        draft: &mut Draft<'_>,
        number: u64,
        fingerprint: Fingerprint,
    ) {
        draft.put(FINGERPRINTS, layout::number_key(number), fingerprint.0);
        if let Some(log) = self.cache.get(number, || Log::load(draft, number)) {
            log.fingerprint = Some(fingerprint);
        }
    }

    /// When [`sweep`](Self::sweep) next has work.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_expiry.into_iter().chain(self.next_drop).min()
    }

    fn create(&mut self, draft: &mut Draft<'_>, row: LogRow) -> u64 {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        let fingerprint = Fingerprint::default();
        draft.put(FINGERPRINTS, layout::number_key(number), fingerprint.0);
        let (state, fingerprint) = (StateRow::default(), Some(fingerprint));
        let log = Log { row, state, nodes: Vec::new(), standbys: Vec::new(), fingerprint };
        draft.put(NUMBERS, log.row.id.0, layout::be(number));
        draft.put(LOGS, layout::number_key(number), log.row.encode());
        draft.put(STATES, layout::number_key(number), log.state.encode());
        self.cache.insert(number, log);
        number
    }

    fn remove(
        &mut self,
        draft: &mut Draft<'_>,
        quota: &mut Quota,
        number: u64,
        sequence: u64,
    ) -> Option<()> {
        let bytes = draft.get(ENTRIES, &layout::entry_key(number, sequence))?;
        let envelope = Envelope::decode(&bytes).ok()?;
        let id = envelope.id();
        draft.delete(ENTRIES, layout::entry_key(number, sequence));
        draft.delete(POSITIONS, layout::position_key(number, envelope.head.position, &id));
        let reference = layout::reference_key(number, id.reference());
        if draft.get(REFERENCES, &reference).and_then(|row| layout::last_u64(&row))
            == Some(sequence)
        {
            draft.delete(REFERENCES, reference);
        }
        let freed = charge_of(bytes.len());
        let log = self.cache.get(number, || Log::load(draft, number))?;
        log.state.bytes = log.state.bytes.saturating_sub(freed);
        draft.put(STATES, layout::number_key(number), log.state.encode());
        quota.free(draft, log.row.account, freed);
        Some(())
    }
}

impl Log {
    fn load(rows: &dyn Rows, number: u64) -> Option<Self> {
        let row = LogRow::decode(&rows.get(LOGS, &layout::number_key(number))?)?;
        let state = StateRow::decode(&rows.get(STATES, &layout::number_key(number))?)?;
        let (nodes, standbys) = holders_of(rows, number);
        let fingerprint = rows.get(FINGERPRINTS, &layout::number_key(number));
        let fingerprint = fingerprint.and_then(|row| Fingerprint::decode(&row));
        Some(Self { row, state, nodes, standbys, fingerprint })
    }

    /// Tells whether a key may read: a device of an inbox, any key a conversation ever had.
    pub(crate) fn knows(&self, rows: &dyn Rows, number: u64, key: &PublicKey) -> bool {
        self.has(key)
            || self.row.inbox_of.is_none()
                && rows.get(KEYS, &layout::public_key_key(number, key)).is_some()
    }

    /// Tells whether what a key has signed is taken from another node that holds the log. What the
    /// other home of an account has let into its inbox comes with an invite that may be unknown here.
    fn takes_from_others(&self, rows: &dyn Rows, number: u64, key: &PublicKey) -> bool {
        if self.row.inbox_of.is_some() {
            !crypto::is_weak(key)
        } else {
            self.knows(rows, number, key)
        }
    }

    /// Tells whether a device of the inbox, or a key that may write, is this one.
    pub(crate) fn has(&self, key: &PublicKey) -> bool {
        self.row.keys.iter().any(|known| known.key == *key)
    }

    /// Tells whether the log's own rules let a key write. An inbox leaves that to invites.
    pub(crate) fn admits(&self, key: &PublicKey, now: Instant) -> bool {
        self.row.inbox_of.is_some()
            || self.row.keys.iter().any(|known| {
                known.key == *key && known.closes_s.is_none_or(|second| now.as_secs() < second)
            })
    }

    fn stored_before(
        &self,
        rows: &dyn Rows,
        number: u64,
        position: u64,
        id: &EnvelopeId,
    ) -> Option<u64> {
        if position > self.state.highest_position {
            return None;
        }
        layout::last_u64(&rows.get(POSITIONS, &layout::position_key(number, position, id))?)
    }

    /// Returns the key that an envelope announces. One that announces none although it should is
    /// invalid.
    fn check_kind(&self, envelope: &Envelope) -> Result<Option<PublicKey>, Code> {
        match envelope.head.kind {
            Kind::Entry => Ok(None),
            Kind::KeyChange if self.row.inbox_of.is_some() => Err(Code::Invalid),
            Kind::KeyChange => {
                let next_key = envelope.head.extension.announced_key().ok_or(Code::Invalid)?;
                if next_key == envelope.head.write_key || crypto::is_weak(&next_key) {
                    return Err(Code::Invalid);
                }
                Ok(Some(next_key))
            }
        }
    }

    /// Closes the key that signed and lets `next_key` write. One that is known already stays as it
    /// is: what is closed doesn't open again.
    fn change_key(
        &mut self,
        draft: &mut Draft<'_>,
        number: u64,
        signed_by: PublicKey,
        next_key: PublicKey,
        now: Instant,
    ) {
        let closes_s = now.as_secs().saturating_add(limits::WRITE_KEY_GRACE_S);
        for known in self.row.keys.iter_mut().filter(|known| known.key == signed_by) {
            known.closes_s = known.closes_s.or(Some(closes_s));
        }
        if !self.knows(draft, number, &next_key) {
            draft.put(KEYS, layout::public_key_key(number, &next_key), []);
            self.row.keys.retain(|known| known.closes_s.is_none_or(|s| now.as_secs() < s));
            self.make_room_for_a_key();
            self.row.keys.push(WriteKey { key: next_key, closes_s: None });
        }
        draft.put(LOGS, layout::number_key(number), self.row.encode());
    }

    /// Takes the key that has been closed for the longest time from those that may write.
    fn make_room_for_a_key(&mut self) {
        if self.row.keys.len() < limits::WRITE_KEYS_MAX {
            return;
        }
        let keys = self.row.keys.iter().enumerate();
        let closed = keys.min_by_key(|(_, known)| known.closes_s.unwrap_or(u64::MAX));
        if let Some(at) = closed.map(|(at, _)| at) {
            self.row.keys.remove(at);
        }
    }

    fn store(
        &mut self,
        draft: &mut Draft<'_>,
        number: u64,
        envelope: &Envelope,
        id: &EnvelopeId,
        bytes: Vec<u8>,
        charge: u64,
    ) -> u64 {
        let position = envelope.head.position;
        let sequence = self.state.last_sequence.saturating_add(1);
        self.state = StateRow {
            last_sequence: sequence,
            highest_position: self.state.highest_position.max(position),
            bytes: self.state.bytes.saturating_add(charge),
        };
        draft.put(ENTRIES, layout::entry_key(number, sequence), bytes);
        draft.put(POSITIONS, layout::position_key(number, position, id), layout::be(sequence));
        let reference = layout::reference_key(number, id.reference());
        draft.put(REFERENCES, reference, layout::be(sequence));
        draft.put(STATES, layout::number_key(number), self.state.encode());
        if let Some(fingerprint) = self.fingerprint.as_mut().filter(|_| is_kept(envelope)) {
            fingerprint.add(id);
            draft.put(FINGERPRINTS, layout::number_key(number), fingerprint.0);
        }
        sequence
    }
}

/// Entries being gathered for one answer.
struct Page {
    entries: Vec<Entry>,
    bytes: usize,
    limit: usize,
    more: bool,
}

impl Page {
    fn new(limit: usize) -> Self {
        Self { entries: Vec::new(), bytes: 0, limit, more: false }
    }

    fn push(
        &mut self,
        rows: &dyn Rows,
        number: u64,
        sequence: u64,
        key: PublicKey,
    ) -> ControlFlow<()> {
        if self.entries.len() >= self.limit {
            self.more = true;
            return ControlFlow::Break(());
        }
        let Some(bytes) = rows.get(ENTRIES, &layout::entry_key(number, sequence)) else {
            return ControlFlow::Continue(());
        };
        let total = self.bytes.saturating_add(bytes.len());
        if total > limits::PAGE_BYTES_MAX {
            self.more = true;
            return ControlFlow::Break(());
        }
        if let Ok(envelope) = Envelope::decode(&bytes) {
            self.bytes = total;
            self.entries.push(Entry::from_envelope(&envelope, sequence, key));
        }
        ControlFlow::Continue(())
    }
}

/// The numbers of the logs from this one on, so many at most.
pub(crate) fn numbers_from(rows: &dyn Rows, from: u64, most: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    let from = layout::number_key(from);
    rows.scan(LOGS, &from, &[0xFF; 9], Direction::Forward, &mut |key, _| {
        numbers.extend(layout::last_u64(key));
        if numbers.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    numbers
}

/// Who holds a log, and who of its ranking only stands by.
fn holders_of(rows: &dyn Rows, number: u64) -> (Vec<Peer>, Vec<Peer>) {
    let Some(ranking) = replica::ranking(rows, number) else { return Default::default() };
    let peer = |node: &NodeAddress| PublicKey(node.node.0);
    let nodes: Vec<Peer> = replica::holders(rows, number, &ranking).iter().map(peer).collect();
    let standbys = ranking.standbys.iter().map(peer).filter(|standby| !nodes.contains(standby));
    let standbys = standbys.collect();
    (nodes, standbys)
}

fn open_keys(keys: impl Iterator<Item = PublicKey>) -> Vec<WriteKey> {
    keys.map(|key| WriteKey { key, closes_s: None }).collect()
}

fn first_expiry(rows: &dyn Rows) -> Option<Instant> {
    let mut first = None;
    rows.scan(EXPIRIES, &[], &[0xFF; 25], Direction::Forward, &mut |key, _| {
        first = layout::parse_expiry_key(key).map(|(second, _, _)| Instant::from_secs(second));
        ControlFlow::Break(())
    });
    first
}

fn charge_of(stored: usize) -> u64 {
    (stored as u64).saturating_add(ENTRY_CHARGE)
}

/// What an account is charged for a log besides its entries: its rows in six tables.
pub(crate) const LOG_CHARGE: u64 = 320;
/// What an entry takes besides its bytes: its rows in the three indexes.
const ENTRY_CHARGE: u64 = 128;
/// What a key takes: its row, and its place in the log's.
const KEY_CHARGE: u64 = 80;
/// Signed bytes and signature.
const STORED_MAX: usize = limits::ENVELOPE_MAX + 64;
/// Logs whose state is kept at hand: about 16 MiB.
const LOGS_CACHED_MAX: usize = 65_536;
/// Entries removed at a time, so that other inputs don't wait.
const SWEEP_MAX: usize = 256;
