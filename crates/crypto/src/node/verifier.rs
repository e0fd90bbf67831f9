//! A verifier: what others have to prove, and what has been proved already.

use std::{
    collections::BTreeSet,
    fmt, mem,
    sync::{Arc, Mutex},
};

use sha2::{Digest, Sha256};

use super::{NodeRecord, RecordError, Suspicion};

/// Verifies what nodes sign, and may remember what was right: the same record comes by gossip, by
/// introductions, and from nodes that store it. Clones share their memory, so that a process with
/// many routers verifies a signature once.
#[derive(Clone)]
pub struct Verifier {
    work_bits: u32,
    memory: Option<Arc<Mutex<Memory>>>,
}

/// Hashes of what was right. The newer half makes room for the older one when it is full.
#[derive(Default)]
struct Memory {
    most: usize,
    newer: BTreeSet<[u8; 16]>,
    older: BTreeSet<[u8; 16]>,
}

impl Verifier {
    /// Remembers nothing. Nodes must prove so many bits of work.
    pub fn new(work_bits: u32) -> Self {
        Self { work_bits, memory: None }
    }

    /// Remembers up to so many, 32 bytes each and what a set takes besides.
    #[must_use]
    pub fn remembering(self, most: usize) -> Self {
        let memory = Memory { most, ..Memory::default() };
        Self { memory: Some(Arc::new(Mutex::new(memory))), ..self }
    }

    /// Leading zero bits of a proof of work.
    pub fn work_bits(&self) -> u32 {
        self.work_bits
    }

    /// Checks a node's record: signature, work and limits.
    pub fn record(&self, bytes: &[u8]) -> Result<NodeRecord, RecordError> {
        self.verify(
            bytes,
            |bytes| NodeRecord::verify(bytes, self.work_bits),
            |bytes| NodeRecord::reread(bytes).ok_or(RecordError::Malformed),
        )
    }

    /// Checks a suspicion: signature, work and limits.
    pub fn suspicion(&self, bytes: &[u8]) -> Result<Suspicion, RecordError> {
        self.verify(bytes, |bytes| Suspicion::verify(bytes, self.work_bits), Suspicion::reread)
    }

    fn verify<T>(
        &self,
        bytes: &[u8],
        verify: impl FnOnce(&[u8]) -> Result<T, RecordError>,
        reread: impl FnOnce(&[u8]) -> Result<T, RecordError>,
    ) -> Result<T, RecordError> {
        let Some(memory) = &self.memory else { return verify(bytes) };
        // What is right stays right: one who panicked with the memory in its hands spoiled nothing.
        let lock = || memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = name(bytes);
        if lock().knows(&name) {
            return reread(bytes);
        }
        let verified = verify(bytes)?;
        lock().remember(name);
        Ok(verified)
    }
}

impl Memory {
    fn knows(&self, name: &[u8; 16]) -> bool {
        self.newer.contains(name) || self.older.contains(name)
    }

    fn remember(&mut self, name: [u8; 16]) {
        if self.newer.len() >= self.most / 2 {
            self.older = mem::take(&mut self.newer);
        }
        self.newer.insert(name);
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} bits)", self.work_bits)
    }
}

/// Of the whole record, so that no bit may differ; finding a second preimage of 128 bits is
/// infeasible.
fn name(bytes: &[u8]) -> [u8; 16] {
    let hash = Sha256::digest(bytes);
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SigningKey, node::UnsignedNodeRecord};

    fn record(seed: u8) -> Vec<u8> {
        let key = SigningKey::from_seed([seed; 32]);
        let nonce = NodeRecord::prove_work(&proto::NodeId(key.public().0), 2);
        let says = UnsignedNodeRecord { nonce, serial: 1, ..UnsignedNodeRecord::default() };
        NodeRecord::sign(&key, &says, 2).unwrap().as_bytes().to_vec()
    }

    #[test]
    fn what_was_right_is_not_verified_again_and_what_was_wrong_is() {
        let verifier = Verifier::new(2).remembering(4);
        let right = record(1);
        let first = verifier.record(&right).unwrap();
        assert!(verifier.memory.as_ref().unwrap().lock().unwrap().knows(&name(&right)));
        assert_eq!(verifier.record(&right).unwrap(), first);
        let mut forged = right;
        *forged.last_mut().unwrap() ^= 1;
        for _ in 0..2 {
            assert_eq!(verifier.record(&forged), Err(RecordError::Signature));
        }
    }

    #[test]
    fn the_memory_has_an_end() {
        let verifier = Verifier::new(2).remembering(4);
        for seed in 0..20 {
            verifier.record(&record(seed)).unwrap();
            let memory = verifier.memory.as_ref().unwrap().lock().unwrap();
            assert!(memory.newer.len() + memory.older.len() <= 4);
        }
    }
}
