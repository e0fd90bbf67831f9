//! One log: who holds it, which keys may write to it, and storing an entry.

use proto::{
    Code, Envelope, EnvelopeId, Instant, Kind, Peer, PublicKey, Rows, Transaction, limits,
};

use crate::{
    fingerprint::{Fingerprint, is_kept},
    layout::{
        self, ENTRIES, FINGERPRINTS, KEYS, LOGS, LogRow, POSITIONS, REFERENCES, STATES, StateRow,
        WriteKey,
    },
    placement::{self, peer_of},
};

/// A log, as its rows say.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) row: LogRow,
    pub(crate) state: StateRow,
    /// The nodes that hold it, if a ranking was announced, reserve nodes with a copy included.
    pub(crate) nodes: Vec<Peer>,
    /// The other reserve nodes.
    pub(crate) reserve: Vec<Peer>,
    /// The fingerprint of its entries, if they were counted.
    pub(crate) fingerprint: Option<Fingerprint>,
}

impl Log {
    pub(super) fn load(rows: &dyn Rows, number: u64) -> Option<Self> {
        let row = LogRow::decode(&rows.get(LOGS, &layout::number_key(number))?)?;
        let state = StateRow::decode(&rows.get(STATES, &layout::number_key(number))?)?;
        let (nodes, reserve) = holders_of(rows, number);
        let fingerprint = rows.get(FINGERPRINTS, &layout::number_key(number));
        let fingerprint = fingerprint.and_then(|row| Fingerprint::decode(&row));
        Some(Self { row, state, nodes, reserve, fingerprint })
    }

    /// Returns whether a key may read: a device of an inbox, any key a conversation ever had.
    pub(crate) fn knows(&self, rows: &dyn Rows, number: u64, key: &PublicKey) -> bool {
        self.has(key)
            || self.row.inbox_of.is_none()
                && rows.get(KEYS, &layout::public_key_key(number, key)).is_some()
    }

    /// Returns whether entries signed with a key are taken from another node that holds the log.
    /// Another home may have admitted an entry to an inbox by an invite that is unknown here.
    pub(super) fn takes_from_others(&self, rows: &dyn Rows, number: u64, key: &PublicKey) -> bool {
        if self.row.inbox_of.is_some() {
            !crypto::is_weak(key)
        } else {
            self.knows(rows, number, key)
        }
    }

    /// Returns whether this is a device of the inbox, or a key that may write.
    pub(crate) fn has(&self, key: &PublicKey) -> bool {
        self.row.keys.iter().any(|known| known.key == *key)
    }

    /// Returns whether the log's own rules let a key write. An inbox leaves that to invites.
    pub(crate) fn admits(&self, key: &PublicKey, now: Instant) -> bool {
        self.row.inbox_of.is_some()
            || self.row.keys.iter().any(|known| {
                known.key == *key && known.closes_s.is_none_or(|second| now.as_secs() < second)
            })
    }

    pub(super) fn stored_before(
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

    /// Returns the key that an envelope announces. A key change without one is invalid.
    pub(super) fn check_kind(&self, envelope: &Envelope) -> Result<Option<PublicKey>, Code> {
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

    /// Closes the key that signed and lets `next_key` write. A known key stays as it is: a closed
    /// key doesn't open again.
    pub(super) fn change_key(
        &mut self,
        tx: &mut Transaction<'_>,
        number: u64,
        signed_by: PublicKey,
        next_key: PublicKey,
        now: Instant,
    ) {
        let closes_s = now.as_secs().saturating_add(limits::WRITE_KEY_GRACE_S);
        for known in self.row.keys.iter_mut().filter(|known| known.key == signed_by) {
            known.closes_s = known.closes_s.or(Some(closes_s));
        }
        if !self.knows(tx, number, &next_key) {
            tx.put(KEYS, layout::public_key_key(number, &next_key), []);
            self.row.keys.retain(|known| known.closes_s.is_none_or(|s| now.as_secs() < s));
            self.make_room_for_a_key();
            self.row.keys.push(WriteKey { key: next_key, closes_s: None });
        }
        tx.put(LOGS, layout::number_key(number), self.row.encode());
    }

    /// Removes the key that was closed first from those that may write.
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

    pub(super) fn store(
        &mut self,
        tx: &mut Transaction<'_>,
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
        tx.put(ENTRIES, layout::entry_key(number, sequence), bytes);
        tx.put(POSITIONS, layout::position_key(number, position, id), layout::be(sequence));
        let reference = layout::reference_key(number, id.reference());
        tx.put(REFERENCES, reference, layout::be(sequence));
        tx.put(STATES, layout::number_key(number), self.state.encode());
        if let Some(fingerprint) = self.fingerprint.as_mut().filter(|_| is_kept(envelope)) {
            fingerprint.add(id);
            tx.put(FINGERPRINTS, layout::number_key(number), fingerprint.0);
        }
        sequence
    }
}

/// Returns the nodes that hold a log, and the reserve nodes of its ranking that don't.
pub(super) fn holders_of(rows: &dyn Rows, number: u64) -> (Vec<Peer>, Vec<Peer>) {
    let Some(ranking) = placement::ranking(rows, number) else { return Default::default() };
    let nodes = placement::holders(rows, number, &ranking);
    let nodes: Vec<Peer> = nodes.iter().map(peer_of).collect();
    let reserve = ranking.reserve.iter().map(peer_of).filter(|peer| !nodes.contains(peer));
    let reserve = reserve.collect();
    (nodes, reserve)
}
