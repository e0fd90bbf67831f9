//! The record that every subject carries: about 500 bytes, signed by its owner, as large as what
//! says where an account lives.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use sha2::{Digest, Sha256};

/// A record and the key that signs it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    owner: SigningKey,
    version: u32,
    payload: Vec<u8>,
}

impl Record {
    /// Draws an owner and the first version of a record.
    pub(crate) fn draw(dice: &mut ChaCha20Rng) -> Self {
        let mut seed = [0; 32];
        dice.fill_bytes(&mut seed);
        let mut payload = vec![0; PAYLOAD_LEN];
        dice.fill_bytes(&mut payload);
        Self { owner: SigningKey::from_bytes(&seed), version: 1, payload }
    }

    /// The same record, one version later.
    pub(crate) fn succeeded(&self) -> Self {
        Self { version: self.version.saturating_add(1), ..self.clone() }
    }

    pub(crate) fn owner(&self) -> &SigningKey {
        &self.owner
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Where the record is found: the hash of its owner's public key.
    pub(crate) fn key(&self) -> [u8; 32] {
        Sha256::digest(self.owner.verifying_key().as_bytes()).into()
    }

    /// Owner, signature, version, payload. The signature covers the last two.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let signed = [&self.version.to_be_bytes()[..], &self.payload].concat();
        let signature = self.owner.sign(&signed).to_bytes();
        [&self.owner.verifying_key().as_bytes()[..], &signature, &signed].concat()
    }
}

/// The version of an encoded record, if it is signed by the one whose key this is.
pub(crate) fn verify(bytes: &[u8], key: &[u8]) -> Option<u32> {
    let (owner, rest) = bytes.split_first_chunk::<32>()?;
    let (signature, signed) = rest.split_first_chunk::<64>()?;
    let (version, payload) = signed.split_first_chunk::<4>()?;
    if payload.len() > PAYLOAD_LEN || Sha256::digest(owner).as_slice() != key {
        return None;
    }
    let owner = VerifyingKey::from_bytes(owner).ok()?;
    owner.verify_strict(signed, &Signature::from_bytes(signature)).ok()?;
    Some(u32::from_be_bytes(*version))
}

/// 500 bytes with owner, signature and version.
const PAYLOAD_LEN: usize = 400;

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn only_what_the_owner_signed_is_valid() {
        let mut dice = ChaCha20Rng::seed_from_u64(1);
        let record = Record::draw(&mut dice);
        let bytes = record.encode();
        assert_eq!(bytes.len(), 500);
        assert_eq!(verify(&bytes, &record.key()), Some(1));
        assert_eq!(verify(&record.succeeded().encode(), &record.key()), Some(2));
        assert_eq!(verify(&bytes, &Record::draw(&mut dice).key()), None);
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            assert_eq!(verify(&forged, &record.key()), None, "byte {at}");
        }
    }
}
