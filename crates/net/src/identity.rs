//! The transport keys by which a driver proves its identity to peers.

use std::fmt;

use ed25519_dalek::SigningKey;
use proto::{Peer, PublicKey};
use zeroize::Zeroizing;

/// An Ed25519 key pair that proves an identity to peers.
#[derive(Clone)]
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl Identity {
    /// Derives the key from `seed`.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let public = PublicKey(SigningKey::from_bytes(&seed).verifying_key().to_bytes());
        Self { seed: Zeroizing::new(seed), public }
    }

    /// Returns the public key: a node's [`NodeId`](proto::NodeId).
    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed: _, public } = self;
        f.debug_struct("Identity").field("public", public).finish_non_exhaustive()
    }
}

/// Which key a peer is shown.
pub enum Keys {
    /// The same key for every peer: a node.
    One(Identity),
    /// A key per peer, from this seed: a device, so that two nodes can't link its connections. Such
    /// a side can dial but not listen.
    PerPeer(SeedOf),
}

/// Derives the seed of the key that this peer is shown.
pub(crate) type SeedOf = Box<dyn Fn(&Peer) -> [u8; 32] + Send + Sync>;

impl Keys {
    pub(crate) fn towards(&self, peer: &Peer) -> Identity {
        match self {
            Self::One(identity) => identity.clone(),
            Self::PerPeer(seed_of) => Identity::from_seed(seed_of(peer)),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(identity) => f.debug_tuple("One").field(identity).finish(),
            Self::PerPeer(_) => f.write_str("PerPeer(..)"),
        }
    }
}

#[test]
fn debug_shows_no_secret() {
    let identity = Identity::from_seed([0xA5; 32]);
    let shown = format!("{identity:?} {:?}", Keys::One(identity.clone()));
    assert!(!shown.contains("165") && !shown.to_lowercase().contains("a5a5"), "{shown}");
    assert!(shown.contains("PublicKey("), "{shown}");
}
