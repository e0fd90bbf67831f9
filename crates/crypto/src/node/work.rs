//! Proof of work: what a node's key in the DHT costs.
//!
//! The key is SHA-256("siskin1 place\x01" ‖ node ‖ nonce), and the SHA-256 of that must begin with
//! so many zero bits (the static puzzle of S/Kademlia, section 4.1). An attacker who wants a key
//! near another one pays for each key it tries. Specified in `spec/routing.md`, section 2.

use proto::{Key, NodeId};
use sha2::{Digest, Sha256};

/// Returns the key of a node, if the work was done.
pub(super) fn dht_key(node: &NodeId, nonce: u64, bits: u32) -> Option<Key> {
    let key = hash(node, nonce);
    let puzzle = Key(Sha256::digest(key.0).into());
    (puzzle.shared_bits(&Key::default()) >= bits).then_some(key)
}

/// Does the work: returns the smallest nonce. Takes about 2^`bits` tries.
pub(super) fn prove(node: &NodeId, bits: u32) -> u64 {
    (0..u64::MAX).find(|nonce| dht_key(node, *nonce, bits).is_some()).unwrap_or_default()
}

fn hash(node: &NodeId, nonce: u64) -> Key {
    let mut hash = Sha256::new();
    hash.update(CONTEXT);
    hash.update(node.0);
    hash.update(nonce.to_be_bytes());
    Key(hash.finalize().into())
}

const CONTEXT: &[u8] = b"siskin1 place\x01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_proved_and_bound_to_the_node() {
        let (node, other) = (NodeId([7; 32]), NodeId([8; 32]));
        let nonce = prove(&node, 12);
        assert!(dht_key(&node, nonce, 12).is_some());
        assert!((0..nonce).all(|earlier| dht_key(&node, earlier, 12).is_none()));
        assert_ne!(dht_key(&node, nonce, 12), dht_key(&other, nonce, 0));
    }
}
