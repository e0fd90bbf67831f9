//! The layout of the node's rows. Drawn in `spec/logs.md`, section 10.
//!
//! Logs are interned to a number of eight bytes, so that everything about one log lies together in
//! each table. An account is known by the number of its inbox. All numbers are big-endian, which
//! makes the order of keys the order of numbers.

use proto::{AccountId, Cursor, EnvelopeId, LogId, Peer, PublicKey, Ranking, Reference, Table};

/// What the rows are called.
pub const LAYOUT_NAME: &str = "node";
/// The version of the rows that this build writes.
pub const LAYOUT_VERSION: u32 = 3;

/// Log id → number.
pub(crate) const NUMBERS: Table = Table(1);
/// Number → [`LogRow`].
pub(crate) const LOGS: Table = Table(2);
/// Number → [`StateRow`]. Apart from [`LOGS`] because every append writes it.
pub(crate) const STATES: Table = Table(3);
/// Number ‖ sequence → envelope.
pub(crate) const ENTRIES: Table = Table(4);
/// Number ‖ position ‖ id → sequence.
pub(crate) const POSITIONS: Table = Table(5);
/// Number ‖ reference → sequence.
pub(crate) const REFERENCES: Table = Table(6);
/// Second ‖ number ‖ sequence → nothing; the entry is due for removal at that second.
pub(crate) const EXPIRIES: Table = Table(7);
/// Number ‖ key → nothing; every key a conversation ever had. What may write is in [`LOGS`].
pub(crate) const KEYS: Table = Table(8);
/// Number of the inbox → [`UsageRow`].
pub(crate) const USAGES: Table = Table(9);
/// Account → bundle.
pub(crate) const BUNDLES: Table = Table(10);
/// Number of the inbox ‖ device ‖ place in the queue → key package; the last place is that of the
/// last resort.
pub(crate) const PACKAGES: Table = Table(11);
/// Number of the inbox ‖ key → [`InviteRow`].
pub(crate) const INVITES: Table = Table(12);
/// Number → the ranking that a member announced.
pub(crate) const RANKINGS: Table = Table(20);
/// Other node ‖ number → up to where its copy is here; for each other node of each ranking.
pub(crate) const REPLICAS: Table = Table(21);
/// Other node ‖ number → nothing; there may be entries here that the other node lacks.
pub(crate) const DIRTY: Table = Table(22);
/// Number → the genesis of a conversation, which a reserve node needs to make a copy.
pub(crate) const GENESES: Table = Table(23);
/// Number → nothing; this copy is dropped, and its rows are deleted bit by bit.
pub(crate) const DROPS: Table = Table(24);
/// Number → nothing; this node is in the reserve of that log.
pub(crate) const RESERVE_COPIES: Table = Table(25);
/// Number → the sum of the ids of the entries that don't expire; absent until they are counted.
pub(crate) const FINGERPRINTS: Table = Table(26);
/// Number of the inbox → nothing; its account wants more copies than two.
pub(crate) const MORE_COPIES: Table = Table(27);
/// Other node ‖ number of the inbox → SHA-256 of the account's record that the other node has yet
/// to get.
pub(crate) const UNANNOUNCED_RECORDS: Table = Table(28);

/// What a log is; written when its keys change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogRow {
    pub(crate) id: LogId,
    /// Number of the inbox of the account that is charged for it; an inbox's own.
    pub(crate) account: u64,
    /// Names this copy in cursors.
    pub(crate) incarnation: u64,
    /// Whose inbox it is, or nothing for a conversation.
    pub(crate) inbox_of: Option<AccountId>,
    /// An inbox: the account's devices. A conversation: the keys that may write.
    pub(crate) keys: Vec<WriteKey>,
}

/// A key that may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriteKey {
    pub(crate) key: PublicKey,
    /// The second from which it no longer may, if its epoch is closed.
    pub(crate) closes_s: Option<u64>,
}

/// What every append changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateRow {
    pub(crate) last_sequence: u64,
    pub(crate) highest_position: u64,
    pub(crate) bytes: u64,
}

/// What an account is charged for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsageRow {
    pub(crate) bytes: u64,
    /// Conversation logs it created.
    pub(crate) logs: u64,
}

/// Who may append to an inbox without being its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InviteRow {
    pub(crate) expires_s: u64,
    /// Envelopes it may still store.
    pub(crate) uses: u32,
    /// Times it may still take one-time key packages.
    pub(crate) takes: u32,
}

impl LogRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.inbox_of.is_none())];
        bytes.extend(self.account.to_be_bytes());
        bytes.extend(self.incarnation.to_be_bytes());
        bytes.extend(self.id.0);
        bytes.extend(self.inbox_of.iter().flat_map(|account| account.0));
        for WriteKey { key, closes_s } in &self.keys {
            bytes.extend(key.0);
            bytes.extend(closes_s.unwrap_or(OPEN).to_be_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (account, rest) = take_u64(rest)?;
        let (incarnation, rest) = take_u64(rest)?;
        let (id, rest) = rest.split_first_chunk::<32>()?;
        let (inbox_of, rest) = match kind {
            0 => rest.split_first_chunk::<32>().map(|(id, rest)| (Some(AccountId(*id)), rest))?,
            1 => (None, rest),
            _ => return None,
        };
        let (rows, []) = rest.as_chunks::<40>() else { return None };
        let keys = rows.iter().map(|row| {
            let (key, closes_s) = row.split_first_chunk::<32>()?;
            let closes_s = Some(take_u64(closes_s)?.0).filter(|second| *second != OPEN);
            Some(WriteKey { key: PublicKey(*key), closes_s })
        });
        let keys = keys.collect::<Option<_>>()?;
        Some(Self { id: LogId(*id), account, incarnation, inbox_of, keys })
    }
}

impl StateRow {
    pub(crate) fn encode(self) -> Vec<u8> {
        join(&[&be(self.last_sequence), &be(self.highest_position), &be(self.bytes)])
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (last_sequence, rest) = take_u64(bytes)?;
        let (highest_position, rest) = take_u64(rest)?;
        let (bytes, []) = take_u64(rest)? else { return None };
        Some(Self { last_sequence, highest_position, bytes })
    }
}

impl UsageRow {
    pub(crate) fn encode(self) -> Vec<u8> {
        join(&[&be(self.bytes), &be(self.logs)])
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, rest) = take_u64(bytes)?;
        let (logs, []) = take_u64(rest)? else { return None };
        Some(Self { bytes, logs })
    }
}

impl InviteRow {
    pub(crate) fn encode(self) -> Vec<u8> {
        join(&[&be(self.expires_s), &self.uses.to_be_bytes(), &self.takes.to_be_bytes()])
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (expires_s, rest) = take_u64(bytes)?;
        let (uses, rest) = rest.split_first_chunk::<4>()?;
        let takes = rest.try_into().ok()?;
        let (uses, takes) = (u32::from_be_bytes(*uses), u32::from_be_bytes(takes));
        Some(Self { expires_s, uses, takes })
    }
}

/// Encodes a ranking: its version, and its nodes as text, reserve nodes after a sign.
pub(crate) fn encode_ranking(ranking: &Ranking) -> Vec<u8> {
    let nodes = ranking.nodes.iter().map(ToString::to_string);
    let reserve = ranking.reserve.iter().map(|node| format!("{RESERVE}{node}"));
    let lines: Vec<String> = nodes.chain(reserve).collect();
    join(&[&be(ranking.version), lines.join("\n").as_bytes()])
}

pub(crate) fn decode_ranking(bytes: &[u8]) -> Option<Ranking> {
    let (version, lines) = take_u64(bytes)?;
    let mut ranking = Ranking { version, nodes: Vec::new(), reserve: Vec::new() };
    for line in str::from_utf8(lines).ok()?.lines() {
        match line.strip_prefix(RESERVE) {
            Some(node) => ranking.reserve.push(node.parse().ok()?),
            None => ranking.nodes.push(line.parse().ok()?),
        }
    }
    Some(ranking)
}

pub(crate) fn encode_cursor(cursor: Cursor) -> Vec<u8> {
    join(&[&be(cursor.incarnation), &be(cursor.sequence)])
}

pub(crate) fn decode_cursor(bytes: &[u8]) -> Option<Cursor> {
    let (incarnation, rest) = take_u64(bytes)?;
    let (sequence, []) = take_u64(rest)? else { return None };
    Some(Cursor { incarnation, sequence })
}

/// The key of what concerns one log and one other node.
pub(crate) fn peer_key(peer: &Peer, number: u64) -> Vec<u8> {
    join(&[&peer.0, &be(number)])
}

/// The other node and the number of such a key.
pub(crate) fn parse_peer_key(key: &[u8]) -> Option<(Peer, u64)> {
    let (peer, rest) = key.split_first_chunk::<32>()?;
    let (number, []) = take_u64(rest)? else { return None };
    Some((PublicKey(*peer), number))
}

/// The key of a log's row, and the start of all keys that belong to it.
pub(crate) fn number_key(number: u64) -> Vec<u8> {
    be(number).to_vec()
}

/// The first key that no longer belongs to a log.
pub(crate) fn number_end(number: u64) -> Vec<u8> {
    be(number.saturating_add(1)).to_vec()
}

pub(crate) fn entry_key(number: u64, sequence: u64) -> Vec<u8> {
    join(&[&be(number), &be(sequence)])
}

pub(crate) fn position_key(number: u64, position: u64, id: &EnvelopeId) -> Vec<u8> {
    join(&[&be(number), &be(position), &id.0])
}

pub(crate) fn reference_key(number: u64, reference: Reference) -> Vec<u8> {
    join(&[&be(number), &reference.0])
}

pub(crate) fn expiry_key(second: u64, number: u64, sequence: u64) -> Vec<u8> {
    join(&[&be(second), &be(number), &be(sequence)])
}

/// The second, number and sequence of a key in [`EXPIRIES`].
pub(crate) fn parse_expiry_key(key: &[u8]) -> Option<(u64, u64, u64)> {
    let (second, rest) = take_u64(key)?;
    let (number, rest) = take_u64(rest)?;
    Some((second, number, take_u64(rest)?.0))
}

/// The key of something that a log holds by public key: [`KEYS`], [`INVITES`], and the start of
/// the keys of one device in [`PACKAGES`].
pub(crate) fn public_key_key(number: u64, key: &PublicKey) -> Vec<u8> {
    join(&[&be(number), &key.0])
}

pub(crate) fn package_key(number: u64, device: &PublicKey, place: u64) -> Vec<u8> {
    join(&[&be(number), &device.0, &be(place)])
}

/// The number that ends a key or starts a value.
pub(crate) fn last_u64(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

pub(crate) fn be(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    bytes.split_first_chunk::<8>().map(|(number, rest)| (u64::from_be_bytes(*number), rest))
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The place of a device's last-resort package: after all others.
pub(crate) const LAST_RESORT: u64 = u64::MAX;
/// Stands for no closing time.
const OPEN: u64 = u64::MAX;
/// Before a reserve node of a ranking.
const RESERVE: char = '+';

#[cfg(test)]
mod tests {
    use proto::{NodeAddress, NodeId, limits};

    use super::*;

    #[test]
    fn rows_survive_their_bytes() {
        let key = |closes_s| WriteKey { key: PublicKey([3; 32]), closes_s };
        for inbox_of in [None, Some(AccountId([4; 32]))] {
            for keys in [vec![], vec![key(None), key(Some(7))]] {
                let row = LogRow { id: LogId([1; 32]), account: 2, incarnation: 9, inbox_of, keys };
                assert_eq!(LogRow::decode(&row.encode()), Some(row));
            }
        }
        let state = StateRow { last_sequence: 1, highest_position: 2, bytes: 3 };
        assert_eq!(StateRow::decode(&state.encode()), Some(state));
        let usage = UsageRow { bytes: 1, logs: 2 };
        assert_eq!(UsageRow::decode(&usage.encode()), Some(usage));
        let invite = InviteRow { expires_s: 1, uses: 2, takes: 3 };
        assert_eq!(InviteRow::decode(&invite.encode()), Some(invite));
        assert_eq!(parse_expiry_key(&expiry_key(1, 2, 3)), Some((1, 2, 3)));
        let cursor = Cursor { incarnation: 1, sequence: 2 };
        assert_eq!(decode_cursor(&encode_cursor(cursor)), Some(cursor));
        let peer = PublicKey([7; 32]);
        assert_eq!(parse_peer_key(&peer_key(&peer, 5)), Some((peer, 5)));
    }

    #[test]
    fn the_longest_ranking_survives_and_costs_no_more_than_is_charged() {
        let address = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
        let addresses = vec![address.parse().unwrap(); limits::NODE_ADDRESSES_MAX];
        let node = |byte| NodeAddress { node: NodeId([byte; 32]), addresses: addresses.clone() };
        let nodes = [0].map(node).to_vec();
        let reserve = [1, 2, 3, 4, 5, 6, 7].map(node).to_vec();
        assert_eq!(nodes.len() + reserve.len(), limits::RANKING_MAX);
        let others = 7 * (2 * 40 + 16);
        let ranking = Ranking { version: 9, nodes, reserve };
        let row = encode_ranking(&ranking);
        assert_eq!(decode_ranking(&row), Some(ranking));
        let taken = row.len().saturating_add(8 + others);
        assert!(taken as u64 <= crate::quota::RANKING_CHARGE, "{taken}");
    }

    #[test]
    fn damaged_rows_are_no_rows() {
        let row = LogRow {
            id: LogId([1; 32]),
            account: 2,
            incarnation: 9,
            inbox_of: None,
            keys: vec![WriteKey { key: PublicKey([3; 32]), closes_s: None }],
        };
        let mut bytes = row.encode();
        bytes.pop();
        assert_eq!(LogRow::decode(&bytes), None);
        assert_eq!(LogRow::decode(&[]), None);
        assert_eq!(LogRow::decode(&[2; 200]), None);
        assert_eq!(StateRow::decode(&[0; 25]), None);
        assert_eq!(UsageRow::decode(&[0; 15]), None);
        assert_eq!(InviteRow::decode(&[0; 17]), None);
        assert_eq!(decode_ranking(&[0; 7]), None);
        assert_eq!(decode_ranking(&[7; 40]), None);
        assert_eq!(decode_cursor(&[0; 15]), None);
    }
}
