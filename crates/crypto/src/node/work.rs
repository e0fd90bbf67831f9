//! Proof of work: what a place in the key space costs.
//!
//! A node's place is SHA-256("siskin1 place\x01" ‖ node ‖ nonce), and the SHA-256 of that must
//! begin with so many zero bits (the static puzzle of S/Kademlia, section 4.1). An attacker who
//! wants a certain place pays for each place it tries. Specified in `spec/routing.md`, section 2.

use proto::{Key, NodeId};
use sha2::{Digest, Sha256};

/// Where a node is, if the work was done.
pub fn place(node: &NodeId, nonce: u64, bits: u32) -> Option<Key> {
    let place = hash(node, nonce);
    (leading_zeros(&Sha256::digest(place.0)) >= bits).then_some(place)
}

/// Does the work: the smallest nonce. Takes about 2^`bits` tries.
pub fn prove_work(node: &NodeId, bits: u32) -> u64 {
    (0..u64::MAX).find(|nonce| place(node, *nonce, bits).is_some()).unwrap_or_default()
}

fn hash(node: &NodeId, nonce: u64) -> Key {
    let mut hash = Sha256::new();
    hash.update(CONTEXT);
    hash.update(node.0);
    hash.update(nonce.to_be_bytes());
    Key(hash.finalize().into())
}

/// Leading zero bits.
pub fn leading_zeros(bytes: &[u8]) -> u32 {
    let mut zeros = 0_u32;
    for byte in bytes {
        zeros = zeros.saturating_add(byte.leading_zeros());
        if *byte != 0 {
            break;
        }
    }
    zeros
}

const CONTEXT: &[u8] = b"siskin1 place\x01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_proved_and_bound_to_the_node() {
        let (node, other) = (NodeId([7; 32]), NodeId([8; 32]));
        let nonce = prove_work(&node, 12);
        assert!(place(&node, nonce, 12).is_some());
        assert!((0..nonce).all(|earlier| place(&node, earlier, 12).is_none()));
        assert_ne!(place(&node, nonce, 12), place(&other, nonce, 0));
    }

    #[test]
    fn zeros_are_counted_over_bytes() {
        assert_eq!(leading_zeros(&[0, 0x10, 0]), 11);
        assert_eq!(leading_zeros(&[0x80]), 0);
        assert_eq!(leading_zeros(&[0; 4]), 32);
    }
}
