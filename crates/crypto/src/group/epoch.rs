//! What one epoch of a conversation gives its members: the keys of its messages, the key of its
//! envelopes and the key that writes to the log. Specified in `spec/encryption.md`, section 3.

use std::{fmt, ops::Range};

use proto::DecodeError;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::key_tree::KeyTree;
use crate::signing::{SigningKey, derive_key};

/// The name of an epoch: of the commit that began it.
///
/// Never the epoch's number or the hash of its ratchet tree: concurrent commits share both.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub [u8; 32]);

impl CommitId {
    /// The name of a published commit that changes no leaf.
    pub(super) fn of(mls: &[u8]) -> Self {
        Self(Sha256::new().chain_update(CONTEXT).chain_update(mls).finalize().into())
    }

    /// The name of any other commit, after the tag of the epoch that it begins: who enters with
    /// that epoch has not seen the commit.
    pub(super) fn of_epoch(tag: &[u8; 32]) -> Self {
        Self::of(tag)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "CommitId({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// The secrets of one epoch, apart from MLS's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Epoch {
    commit: CommitId,
    tag: [u8; 32],
    envelope_key: Zeroizing<[u8; 32]>,
    signal_key: Zeroizing<[u8; 32]>,
    write_seed: Zeroizing<[u8; 32]>,
    key_tree: KeyTree,
}

impl Epoch {
    /// Derives them from what MLS exports. The caller must let go of `root` then: it regenerates
    /// keys that were taken.
    pub fn from_root(commit: CommitId, epoch_tag: [u8; 32], root: &[u8; 32]) -> Self {
        Self {
            commit,
            tag: epoch_tag,
            envelope_key: derive_key(root, "env", b""),
            signal_key: derive_key(root, "signal", b""),
            write_seed: derive_key(root, "write", b""),
            key_tree: KeyTree::new(derive_key(root, "tree-root", b"")),
        }
    }

    /// The commit that began it.
    pub fn commit(&self) -> CommitId {
        self.commit
    }

    /// Its unique, public name in MLS; part of every message's header.
    pub(super) fn tag(&self) -> &[u8; 32] {
        &self.tag
    }

    /// The key that signs the envelopes of this epoch. Only members have it.
    pub fn write_key(&self) -> SigningKey {
        SigningKey::from_seed(*self.write_seed)
    }

    /// Deletes the key of message `counter` by the device at `leaf`: from then on that message
    /// can't be opened, and no grant from this epoch opens it. Returns whether the key was held.
    pub fn take_key(&mut self, leaf: u32, counter: u32) -> bool {
        KeyTree::path(leaf, counter).is_some_and(|path| self.key_tree.take(path).is_some())
    }

    /// Returns what another member needs to open the messages `counters` of the device at `leaf`
    /// whose keys are still held, and no others. Specified in `spec/encryption.md`, section 4.
    pub fn grant(&self, leaf: u32, counters: Range<u32>) -> Zeroizing<Vec<u8>> {
        self.key_tree.grant(KeyTree::paths(leaf, counters)).encode()
    }

    /// Returns this epoch with the message keys of a grant that a peer encoded, in place of its
    /// own.
    pub fn with_grant(&self, grant: &[u8]) -> Result<Self, DecodeError> {
        let key_tree = KeyTree::from_grant(grant).ok_or(DecodeError::Wire)?;
        Ok(Self { key_tree, ..self.clone() })
    }

    /// All of it, secrets included.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let parts = [
            &[ENCODING_VERSION][..],
            &self.commit.0,
            &self.tag,
            &*self.envelope_key,
            &*self.signal_key,
            &*self.write_seed,
            &self.key_tree.encode(),
        ];
        Zeroizing::new(parts.concat())
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&version, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
        if version != ENCODING_VERSION {
            return Err(DecodeError::Version);
        }
        let (secrets, tree) =
            rest.split_first_chunk::<{ 5 * 32 }>().ok_or(DecodeError::Truncated)?;
        let ([commit, tag, envelope_key, signal_key, write_seed], []) = secrets.as_chunks() else {
            return Err(DecodeError::Truncated);
        };
        Ok(Self {
            commit: CommitId(*commit),
            tag: *tag,
            envelope_key: Zeroizing::new(*envelope_key),
            signal_key: Zeroizing::new(*signal_key),
            write_seed: Zeroizing::new(*write_seed),
            key_tree: KeyTree::decode(tree).ok_or(DecodeError::Wire)?,
        })
    }

    pub(super) fn key_tree(&self) -> &KeyTree {
        &self.key_tree
    }

    pub(super) fn envelope_key(&self) -> &[u8; 32] {
        &self.envelope_key
    }

    pub(super) fn signal_key(&self) -> &[u8; 32] {
        &self.signal_key
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoch")
            .field("commit", &self.commit)
            .field("key_tree", &self.key_tree)
            .finish_non_exhaustive()
    }
}

const CONTEXT: &[u8] = b"siskin1 commit\x01";
const ENCODING_VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch() -> Epoch {
        Epoch::from_root(CommitId([1; 32]), [2; 32], &[3; 32])
    }

    #[test]
    fn survives_its_encoding() {
        let mut epoch = epoch();
        assert!(epoch.take_key(0, 5));
        let bytes = epoch.encode();
        assert_eq!(Epoch::decode(&bytes), Ok(epoch));
        assert_eq!(Epoch::decode(&bytes[..bytes.len() - 1]), Err(DecodeError::Wire));
        assert_eq!(Epoch::decode(&bytes[..100]), Err(DecodeError::Truncated));
        assert_eq!(Epoch::decode(&[]), Err(DecodeError::Truncated));
        let later = [&[2], &bytes[1..]].concat();
        assert_eq!(Epoch::decode(&later), Err(DecodeError::Version));
    }

    #[test]
    fn a_key_is_taken_once() {
        let mut epoch = epoch();
        assert!(epoch.take_key(3, 9));
        assert!(!epoch.take_key(3, 9));
        assert!(epoch.take_key(3, 10));
        assert!(!epoch.take_key(u32::MAX, 0), "no such leaf");
        assert!(!epoch.take_key(0, u32::MAX), "no such message");
    }

    #[test]
    fn a_grant_gives_the_keys_that_are_held_and_no_others() {
        let mut epoch = epoch();
        epoch.take_key(3, 9);
        let grant = epoch.grant(3, 8..12);
        let mut granted = epoch.with_grant(&grant).unwrap();
        let held: Vec<u32> = (0..20).filter(|counter| granted.take_key(3, *counter)).collect();
        assert_eq!(held, [8, 10, 11]);
        assert!(!granted.take_key(4, 8));
        assert_eq!(epoch.with_grant(&grant[1..]), Err(DecodeError::Wire));
        let nothing = epoch.with_grant(&epoch.grant(u32::MAX, 0..u32::MAX)).unwrap();
        assert!(nothing.key_tree().encode().is_empty());
    }

    #[test]
    fn the_last_message_of_a_leaf_can_be_granted() {
        let epoch = epoch();
        let mut granted = epoch.with_grant(&epoch.grant(3, 5..u32::MAX)).unwrap();
        assert!(granted.take_key(3, (1 << 28) - 1));
        assert!(!granted.take_key(4, 0), "the first of the next device");
    }

    #[test]
    fn different_secrets_for_different_uses() {
        let epoch = epoch();
        let tree_root = epoch.key_tree().encode()[7..].to_vec();
        let mut secrets = vec![
            tree_root,
            epoch.envelope_key.to_vec(),
            epoch.signal_key.to_vec(),
            epoch.write_seed.to_vec(),
            vec![3; 32],
        ];
        secrets.sort();
        secrets.dedup();
        assert_eq!(secrets.len(), 5);
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(
            format!("{:?}", epoch()),
            "Epoch { commit: CommitId(01010101…), key_tree: KeyTree { nodes: 1, .. }, .. }"
        );
    }
}
