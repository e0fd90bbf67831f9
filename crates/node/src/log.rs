//! Logs: who may write, what is stored, and reading it in both orders.
//!
//! Every envelope passes [`Logs::append`], which checks everything before it changes anything.
//! What an append needs of its log is mirrored in memory, so that it reads no row unless its
//! position says that it may be a duplicate.

mod dropped;
mod page;
mod rows;
mod state;

use std::ops::ControlFlow;

use proto::{
    AccountId, Code, Direction, Envelope, Gauge, Head, Instant, LogGenesis, LogId, OpenError,
    PublicKey, Read, Reference, Rows, Transaction, limits,
};

use crate::{
    batch_verifier::BatchVerifier,
    cache::Cache,
    fingerprint::Fingerprint,
    layout::{
        self, ENTRIES, EXPIRIES, FINGERPRINTS, GENESES, KEYS, LOGS, LogRow, NUMBERS, POSITIONS,
        REFERENCES, STATES, StateRow, WriteKey,
    },
    quota::Quota,
};
pub(crate) use page::Page;
use page::PageBuilder;
pub(crate) use rows::LOG_CHARGE;
use rows::{KEY_CHARGE, SWEEP_MAX, charge_of, first_dropped, first_expiry, last_used};
pub(crate) use state::Log;
use state::holders_of;

/// All logs.
#[derive(Debug)]
pub(crate) struct Logs {
    cache: Cache<Log>,
    batch_verifier: BatchVerifier,
    log_quota_bytes: u64,
    next_number: u64,
    /// When the next entry expires.
    next_expiry: Option<Instant>,
    /// When more rows of dropped copies are deleted.
    next_drop: Option<Instant>,
}

/// The writer of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// A device, whose key the log checks.
    Device {
        /// Whether the invite, if it uses one, still allows it.
        may_write: bool,
    },
    /// Another node that holds the log, which has checked the device.
    Replica,
}

/// The place of an entry in this node's copy of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryAt {
    /// The log's number.
    pub(crate) log: u64,
    pub(crate) sequence: u64,
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
        batch_verifier: BatchVerifier,
        rows: &dyn Rows,
    ) -> Result<Self, OpenError> {
        let mut last = Some(0);
        rows.scan(LOGS, &[], &[0xFF; 9], Direction::Backward, &mut |key, _| {
            last = layout::last_u64(key);
            ControlFlow::Break(())
        });
        let last = last.ok_or(OpenError::Damaged("a log's row"))?.max(last_used(rows));
        Ok(Self {
            cache: Cache::new(LOGS_CACHED_MAX),
            batch_verifier,
            log_quota_bytes,
            next_number: last.saturating_add(1),
            next_expiry: first_expiry(rows),
            next_drop: first_dropped(rows).map(|_| Instant::default()),
        })
    }

    pub(crate) fn gauges(&self) -> [Gauge; 3] {
        let keys = self.cache.values().map(|log| log.row.keys.len()).max().unwrap_or(0);
        [
            self.cache.gauge("cached logs"),
            Gauge::new("write keys of a log", keys, limits::WRITE_KEYS_MAX),
            self.batch_verifier.gauge(),
        ]
    }

    /// Returns how many numbers were given to logs.
    pub(crate) fn count(&self) -> u64 {
        self.next_number.saturating_sub(1)
    }

    /// Returns the log with this number.
    pub(crate) fn get(&mut self, rows: &dyn Rows, number: u64) -> Option<&Log> {
        self.cache.get(number, || Log::load(rows, number)).map(|log| &*log)
    }

    /// Returns the log with this name, and its number.
    pub(crate) fn find(&mut self, rows: &dyn Rows, id: &LogId) -> Option<(u64, &Log)> {
        let number = layout::last_u64(&rows.get(NUMBERS, &id.0)?)?;
        Some((number, self.get(rows, number)?))
    }

    /// Creates an account's inbox, which its own account is charged for.
    pub(crate) fn create_inbox(
        &mut self,
        tx: &mut Transaction<'_>,
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
        self.create(tx, row)
    }

    /// Creates a conversation, which `account` is charged for.
    pub(crate) fn create_conversation(
        &mut self,
        tx: &mut Transaction<'_>,
        id: LogId,
        key: PublicKey,
        genesis: &[u8],
        account: u64,
        incarnation: u64,
    ) -> u64 {
        let keys = open_keys([key].into_iter());
        let row = LogRow { id, account, incarnation, inbox_of: None, keys };
        let number = self.create(tx, row);
        tx.put(KEYS, layout::public_key_key(number, &key), []);
        tx.put(GENESES, layout::number_key(number), genesis);
        number
    }

    /// Reads again which nodes hold a log.
    pub(crate) fn ranked(&mut self, rows: &dyn Rows, number: u64) {
        if let Some(log) = self.cache.get(number, || Log::load(rows, number)) {
            (log.nodes, log.reserve) = holders_of(rows, number);
        }
    }

    /// Sets the devices of an inbox.
    pub(crate) fn set_devices(
        &mut self,
        tx: &mut Transaction<'_>,
        inbox: u64,
        devices: impl Iterator<Item = PublicKey>,
    ) {
        if let Some(log) = self.cache.get(inbox, || Log::load(tx, inbox)) {
            log.row.keys = open_keys(devices);
            tx.put(LOGS, layout::number_key(inbox), log.row.encode());
        }
    }

    /// Verifies the signatures of envelopes that are about to be appended, all at once. Only makes
    /// appending them cheaper.
    pub(crate) fn prefetch(&mut self, envelopes: &[Envelope]) {
        self.batch_verifier.verify(envelopes);
    }

    /// Returns whether appending an envelope is likely to verify its signature.
    pub(crate) fn expects(&mut self, rows: &dyn Rows, number: u64, envelope: &Envelope) -> bool {
        let Some(log) = self.get(rows, number) else { return false };
        let Head { position, write_key, .. } = &envelope.head;
        (log.row.inbox_of.is_some() || log.has(write_key))
            && (*position > log.state.highest_position
                || log.stored_before(rows, number, *position, &envelope.id()).is_none())
    }

    /// Stores an envelope. If another node has stored it, its key may be closed here: that node has
    /// checked the key at its own time, and the entry must not be missing here.
    pub(crate) fn append(
        &mut self,
        tx: &mut Transaction<'_>,
        quota: &mut Quota,
        number: u64,
        envelope: &Envelope,
        writer: Writer,
        now: Instant,
    ) -> Result<Appended, Code> {
        let log = self.cache.get(number, || Log::load(tx, number)).ok_or(Code::NotFound)?;
        let bytes = envelope.encode();
        if bytes.len() > STORED_MAX {
            return Err(Code::Malformed);
        }
        let id = envelope.id();
        if let Some(sequence) = log.stored_before(tx, number, envelope.head.position, &id) {
            return Ok(Appended::Before(sequence));
        }
        let key = &envelope.head.write_key;
        let may_write = match writer {
            Writer::Device { may_write } => may_write && log.admits(key, now),
            Writer::Replica => log.takes_from_others(tx, number, key),
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
        quota.admit(tx, log.row.account, added)?;
        if !self.batch_verifier.take_verified(&bytes) {
            crypto::verify_envelope(envelope).map_err(|_| Code::BadSignature)?;
        }

        quota.charge(tx, log.row.account, added);
        if let Some(next_key) = next_key {
            log.change_key(tx, number, envelope.head.write_key, next_key, now);
        }
        let sequence = log.store(tx, number, envelope, &id, bytes, added);
        if let Some(seconds) = envelope.head.expiry.seconds() {
            let due_s = now.as_secs().saturating_add(seconds);
            tx.put(EXPIRIES, layout::expiry_key(due_s, number, sequence), []);
            let due = Instant::from_secs(due_s);
            self.next_expiry = Some(self.next_expiry.map_or(due, |next| next.min(due)));
        }
        Ok(Appended::New(sequence))
    }

    /// Returns entries in timeline order or in reverse, and whether there are more.
    pub(crate) fn read(&self, rows: &dyn Rows, number: u64, key: PublicKey, read: &Read) -> Page {
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
        let mut page = PageBuilder::new(limit);
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
        page.finish()
    }

    /// Returns entries by reference, as many as fit in one page; unknown ones are left out.
    pub(crate) fn fetch(
        &self,
        rows: &dyn Rows,
        number: u64,
        key: PublicKey,
        references: &[Reference],
    ) -> Page {
        let mut page = PageBuilder::new(limits::PAGE_MAX);
        for reference in references.iter().take(limits::FETCH_MAX) {
            let row = rows.get(REFERENCES, &layout::reference_key(number, *reference));
            if let Some(sequence) = row.and_then(|row| layout::last_u64(&row))
                && page.push(rows, number, sequence, key).is_break()
            {
                break;
            }
        }
        page.finish()
    }

    /// Removes some of the expired entries and returns how many.
    pub(crate) fn sweep(
        &mut self,
        tx: &mut Transaction<'_>,
        quota: &mut Quota,
        now: Instant,
    ) -> u64 {
        if self.next_expiry.is_none_or(|next| next > now) {
            return 0;
        }
        let mut due = Vec::new();
        let end = now.as_secs().saturating_add(1).to_be_bytes();
        tx.scan(EXPIRIES, &[], &end, Direction::Forward, &mut |key, _| {
            due.extend(layout::parse_expiry_key(key));
            if due.len() < SWEEP_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let mut removed = 0u64;
        for (second, number, sequence) in due {
            tx.delete(EXPIRIES, layout::expiry_key(second, number, sequence));
            removed = removed
                .saturating_add(u64::from(self.remove(tx, quota, number, sequence).is_some()));
        }
        self.next_expiry = first_expiry(tx);
        removed
    }

    /// Sets the fingerprint of a log after its entries were counted.
    pub(crate) fn set_fingerprint(
        &mut self,
        tx: &mut Transaction<'_>,
        number: u64,
        fingerprint: Fingerprint,
    ) {
        tx.put(FINGERPRINTS, layout::number_key(number), fingerprint.0);
        if let Some(log) = self.cache.get(number, || Log::load(tx, number)) {
            log.fingerprint = Some(fingerprint);
        }
    }

    /// Returns when [`sweep`](Self::sweep) next has work.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_expiry.into_iter().chain(self.next_drop).min()
    }

    fn create(&mut self, tx: &mut Transaction<'_>, row: LogRow) -> u64 {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        let fingerprint = Fingerprint::default();
        tx.put(FINGERPRINTS, layout::number_key(number), fingerprint.0);
        let (state, fingerprint) = (StateRow::default(), Some(fingerprint));
        let log = Log { row, state, nodes: Vec::new(), reserve: Vec::new(), fingerprint };
        tx.put(NUMBERS, log.row.id.0, layout::be(number));
        tx.put(LOGS, layout::number_key(number), log.row.encode());
        tx.put(STATES, layout::number_key(number), log.state.encode());
        self.cache.insert(number, log);
        number
    }

    fn remove(
        &mut self,
        tx: &mut Transaction<'_>,
        quota: &mut Quota,
        number: u64,
        sequence: u64,
    ) -> Option<()> {
        let bytes = tx.get(ENTRIES, &layout::entry_key(number, sequence))?;
        let envelope = Envelope::decode(&bytes).ok()?;
        let id = envelope.id();
        tx.delete(ENTRIES, layout::entry_key(number, sequence));
        tx.delete(POSITIONS, layout::position_key(number, envelope.head.position, &id));
        let reference = layout::reference_key(number, id.reference());
        if tx.get(REFERENCES, &reference).and_then(|row| layout::last_u64(&row)) == Some(sequence) {
            tx.delete(REFERENCES, reference);
        }
        let freed = charge_of(bytes.len());
        let log = self.cache.get(number, || Log::load(tx, number))?;
        log.state.bytes = log.state.bytes.saturating_sub(freed);
        tx.put(STATES, layout::number_key(number), log.state.encode());
        quota.free(tx, log.row.account, freed);
        Some(())
    }
}

fn open_keys(keys: impl Iterator<Item = PublicKey>) -> Vec<WriteKey> {
    keys.map(|key| WriteKey { key, closes_s: None }).collect()
}

/// Signed bytes and signature.
const STORED_MAX: usize = limits::ENVELOPE_MAX + 64;
/// Logs whose state is cached: about 16 MiB.
const LOGS_CACHED_MAX: usize = 65_536;
