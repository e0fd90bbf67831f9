//! What one epoch of a conversation gives its members: the keys of its messages, the key of its
//! envelopes and the key that writes to the log. Specified in `spec/encryption.md`, section 3.

use std::fmt;

use proto::PublicKey;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::key_tree::{KeyTree, NotATree};
use crate::signing::{SigningKey, derive_key};

/// The name of an epoch: of the commit that began it.
///
/// Never the epoch's number or the hash of its ratchet tree: concurrent commits share both.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub [u8; 32]);

impl CommitId {
    /// The name of a commit that is published.
    pub fn of(mls: &[u8]) -> Self {
        Self(Sha256::new().chain_update(CONTEXT).chain_update(mls).finalize().into())
    }

    /// The name of the first epoch that creator and invited share. Its commit is never published,
    /// so that the epoch's tag stands for it.
    pub fn first(epoch_tag: &[u8; 32]) -> Self {
        Self::of(epoch_tag)
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
    pub fn tag(&self) -> &[u8; 32] {
        &self.tag
    }

    /// The key that signs the envelopes of this epoch. Only members have it.
    pub fn write_key(&self) -> SigningKey {
        SigningKey::from_seed(*self.write_seed)
    }

    /// By what readers know that an envelope belongs to this epoch.
    pub fn write_public(&self) -> PublicKey {
        self.write_key().public()
    }

    /// The keys of its messages.
    pub fn key_tree(&self) -> &KeyTree {
        &self.key_tree
    }

    /// The keys of its messages, to take some.
    pub fn key_tree_mut(&mut self) -> &mut KeyTree {
        &mut self.key_tree
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
    pub fn decode(bytes: &[u8]) -> Result<Self, NotATree> {
        let (&[version], rest) = bytes.split_first_chunk::<1>().ok_or(NotATree)?;
        if version != ENCODING_VERSION {
            return Err(NotATree);
        }
        let (commit, rest) = rest.split_first_chunk::<32>().ok_or(NotATree)?;
        let (tag, rest) = rest.split_first_chunk::<32>().ok_or(NotATree)?;
        let (envelope_key, rest) = rest.split_first_chunk::<32>().ok_or(NotATree)?;
        let (signal_key, rest) = rest.split_first_chunk::<32>().ok_or(NotATree)?;
        let (write_seed, rest) = rest.split_first_chunk::<32>().ok_or(NotATree)?;
        Ok(Self {
            commit: CommitId(*commit),
            tag: *tag,
            envelope_key: Zeroizing::new(*envelope_key),
            signal_key: Zeroizing::new(*signal_key),
            write_seed: Zeroizing::new(*write_seed),
            key_tree: KeyTree::decode(rest)?,
        })
    }

    pub(crate) fn envelope_key(&self) -> &[u8; 32] {
        &self.envelope_key
    }

    pub(crate) fn signal_key(&self) -> &[u8; 32] {
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
        epoch.key_tree_mut().take(5).unwrap();
        let bytes = epoch.encode();
        assert_eq!(Epoch::decode(&bytes), Ok(epoch));
        assert_eq!(Epoch::decode(&bytes[..bytes.len() - 1]), Err(NotATree));
        assert_eq!(Epoch::decode(&bytes[..100]), Err(NotATree));
        assert_eq!(Epoch::decode(&[]), Err(NotATree));
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
