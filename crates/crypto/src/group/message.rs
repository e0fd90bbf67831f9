//! The ciphertexts of a conversation's envelopes. Specified in `spec/encryption.md`, sections 5
//! to 7.
//!
//! ```text
//! ┌──────┬──────────────────────────────────────────────────────────────────────────────────┐
//! │ salt │ sealed by the epoch's envelope key, bound to the envelope's head                 │
//! │      │ ┌───┬──────┬─────────┬────────────┬────────────────────────────────────────────┐ │
//! │      │ │ 1 │ leaf │ counter │ commitment │ sealed by the message's own key            │ │
//! │      │ │   │      │         │            │ ┌───────────┬──────────────────┐           │ │
//! │      │ │   │      │         │            │ │ signature │ content, padding │           │ │
//! │ 16   │ │ 1 │ ≤ 3  │ ≤ 4     │ 32         │ └─64────────┴──────────────────┘ + 16 (tag)│ │ + 16
//! └──────┴─┴───┴──────┴─────────┴────────────┴────────────────────────────────────────────┴─┘
//! ```
//!
//! What a device signed has exactly one ciphertext: numbers and padding have one encoding, and no
//! random bytes remain but the salt, which is signed. So no other member can publish a message a
//! second time as another envelope.

use std::fmt;

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use proto::{Head, LogId, PublicKey, limits};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{epoch::Epoch, key_tree::KeyTree};
use crate::signing::{SigningKey, derive_key, verify};

impl Epoch {
    /// Seals message `counter` of the device at `leaf` for the envelope that will have `head`.
    /// Nothing if the key of that message is gone, or if no envelope can hold it.
    ///
    /// The caller must have stored `counter + 1` as the next one before it lets the ciphertext out.
    pub fn seal_message(
        &self,
        device: &SigningKey,
        leaf: u32,
        counter: u32,
        head: &Head,
        content: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Option<Vec<u8>> {
        let salt = random_salt(rng);
        let keys = MessageKeys::new(self, &head.log, leaf, counter, &salt)?;
        let head = head.encode();
        let signature = device.sign(SIGNATURE_CONTEXT, &keys.signed(&head, content));

        let mut plaintext = Zeroizing::new(signature.to_vec());
        plaintext.extend_from_slice(&pad(content));
        let payload = Payload { msg: &plaintext, aad: &keys.aad() };
        let sealed = keys.aead().encrypt(&[0; 12].into(), payload).ok()?;

        let mut inner = vec![TYPE_MESSAGE];
        push_varint(&mut inner, leaf);
        push_varint(&mut inner, counter);
        inner.extend(*keys.commitment);
        inner.extend(sealed);
        seal_envelope(self, &head, &salt, &inner)
    }

    /// Seals a commit that follows this epoch, for the envelope that will have `head`. MLS has
    /// signed it. Nothing if no envelope can hold it.
    pub fn seal_commit(
        &self,
        head: &Head,
        mls: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Option<Vec<u8>> {
        let inner = [&[TYPE_COMMIT][..], &pad(mls)].concat();
        seal_envelope(self, &head.encode(), &random_salt(rng), &inner)
    }

    /// Opens the ciphertext of an envelope of this epoch. `device_of` says which device is at a
    /// leaf.
    ///
    /// What comes back was signed by that device for exactly this envelope, or, if it is a commit,
    /// has still to be processed. Whether the author says the truth about positions and
    /// dependencies is for the caller to check.
    pub fn open(
        &self,
        head: &Head,
        ciphertext: &[u8],
        device_of: &dyn Fn(u32) -> Option<PublicKey>,
    ) -> Result<Opened, OpenError> {
        let (salt, sealed) = ciphertext.split_first_chunk::<16>().ok_or(OpenError::Malformed)?;
        let head_bytes = head.encode();
        let inner = XChaCha20Poly1305::new(self.envelope_key().into())
            .decrypt(&extended(salt).into(), Payload { msg: sealed, aad: &head_bytes })
            .map_err(|_| OpenError::Altered)?;
        let inner = Zeroizing::new(inner);
        match inner.split_first().ok_or(OpenError::Malformed)? {
            (&TYPE_MESSAGE, message) => {
                open_message(self, &head.log, &head_bytes, salt, message, device_of)
            }
            (&TYPE_COMMIT, padded) => Ok(Opened::Commit { mls: unpad(padded)?.to_vec() }),
            _ => Err(OpenError::Unknown),
        }
    }

    /// Seals a signal, which is not stored. Nothing if it is too large.
    ///
    /// It is not signed either: any member can say it comes from any `leaf`, so nothing may rest on
    /// it.
    pub fn seal_signal(
        &self,
        log: &LogId,
        leaf: u32,
        content: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Option<Vec<u8>> {
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        let mut plaintext = Zeroizing::new(leaf.to_be_bytes().to_vec());
        plaintext.extend_from_slice(&pad(content));
        let sealed = XChaCha20Poly1305::new(self.signal_key().into())
            .encrypt(&nonce.into(), Payload { msg: &plaintext, aad: &log.0 })
            .ok()?;
        let signal = [&nonce[..], &sealed].concat();
        (signal.len() <= limits::SIGNAL_MAX).then_some(signal)
    }

    /// Opens a signal: the leaf it says it comes from, and its content.
    pub fn open_signal(
        &self,
        log: &LogId,
        signal: &[u8],
    ) -> Result<(u32, Zeroizing<Vec<u8>>), OpenError> {
        let (nonce, sealed) = signal.split_first_chunk::<24>().ok_or(OpenError::Malformed)?;
        let plaintext = XChaCha20Poly1305::new(self.signal_key().into())
            .decrypt(&(*nonce).into(), Payload { msg: sealed, aad: &log.0 })
            .map_err(|_| OpenError::Altered)?;
        let plaintext = Zeroizing::new(plaintext);
        let (leaf, padded) = plaintext.split_first_chunk::<4>().ok_or(OpenError::Malformed)?;
        Ok((u32::from_be_bytes(*leaf), Zeroizing::new(unpad(padded)?.to_vec())))
    }
}

/// Returns how many bytes the ciphertext of a message has whose content has so many. (Of a device's
/// first messages in an epoch; later ones have a byte or two more.)
pub fn sealed_len(content: usize) -> usize {
    SEALED_OVERHEAD.saturating_add(padded_len(content))
}

/// What was in an envelope.
#[derive(Clone, PartialEq, Eq)]
pub enum Opened {
    /// A message, its author verified.
    Message {
        /// Where in the epoch's tree its author is.
        leaf: u32,
        /// Which of the author's messages in the epoch it is. Two with the same number are proof
        /// that the author's device was set back or lies.
        counter: u32,
        /// The device that is its author.
        device: PublicKey,
        /// What it says: an encoded [`proto::Content`].
        content: Zeroizing<Vec<u8>>,
        /// By the device over header, commitment, head and content.
        signature: [u8; 64],
    },
    /// A commit, to be given to [`Cgka::process`](crate::group::Cgka::process).
    Commit {
        /// What MLS wrote.
        mls: Vec<u8>,
    },
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { leaf, counter, device, content: _, signature: _ } => f
                .debug_struct("Message")
                .field("leaf", leaf)
                .field("counter", counter)
                .field("device", device)
                .finish_non_exhaustive(),
            Self::Commit { mls } => f.debug_struct("Commit").field("bytes", &mls.len()).finish(),
        }
    }
}

/// Why a ciphertext does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not of this epoch, not under this head, or changed on the way.
    #[error("not sealed for this epoch and envelope")]
    Altered,
    /// A member sealed something that is not laid out as it must be.
    #[error("malformed")]
    Malformed,
    /// A member sealed something of a later version.
    #[error("of a kind that this version does not know")]
    Unknown,
    /// The message's key was taken, or never granted.
    #[error("the key of this message is not held")]
    KeyGone,
    /// The message's key is not the one that its author used.
    #[error("the message's key is not the one its author used")]
    Commitment,
    /// No device is at the leaf that the message names.
    #[error("the author is not a member of the epoch")]
    NotAMember,
    /// The author's device did not sign it for this envelope.
    #[error("not signed by its author for this envelope")]
    Signature,
}

fn open_message(
    epoch: &Epoch,
    log: &LogId,
    head: &[u8],
    salt: &[u8; 16],
    message: &[u8],
    device_of: &dyn Fn(u32) -> Option<PublicKey>,
) -> Result<Opened, OpenError> {
    let (leaf, rest) = split_varint(message).ok_or(OpenError::Malformed)?;
    let (counter, rest) = split_varint(rest).ok_or(OpenError::Malformed)?;
    let (commitment, sealed) = rest.split_first_chunk::<32>().ok_or(OpenError::Malformed)?;
    let keys = MessageKeys::new(epoch, log, leaf, counter, salt).ok_or(OpenError::KeyGone)?;
    if !bool::from(keys.commitment.ct_eq(commitment)) {
        return Err(OpenError::Commitment);
    }
    let plaintext = keys
        .aead()
        .decrypt(&[0; 12].into(), Payload { msg: sealed, aad: &keys.aad() })
        .map_err(|_| OpenError::Altered)?;
    let plaintext = Zeroizing::new(plaintext);
    let (signature, padded) = plaintext.split_first_chunk::<64>().ok_or(OpenError::Malformed)?;
    let content = unpad(padded)?;
    let device = device_of(leaf).ok_or(OpenError::NotAMember)?;
    verify(&device, SIGNATURE_CONTEXT, &keys.signed(head, content), signature)
        .map_err(|_| OpenError::Signature)?;
    let content = Zeroizing::new(content.to_vec());
    Ok(Opened::Message { leaf, counter, device, content, signature: *signature })
}

/// Nothing if no envelope can hold it.
fn seal_envelope(epoch: &Epoch, head: &[u8], salt: &[u8; 16], inner: &[u8]) -> Option<Vec<u8>> {
    let sealed = XChaCha20Poly1305::new(epoch.envelope_key().into())
        .encrypt(&extended(salt).into(), Payload { msg: inner, aad: head })
        .ok()?;
    let ciphertext = [&salt[..], &sealed].concat();
    (head.len().saturating_add(ciphertext.len()) <= limits::ENVELOPE_MAX).then_some(ciphertext)
}

/// The two keys of a message, and the header they are for: version, log, epoch tag, leaf, counter,
/// salt. It is not sent, since both sides know its parts.
struct MessageKeys {
    header: Vec<u8>,
    key: Zeroizing<[u8; 32]>,
    commitment: Zeroizing<[u8; 32]>,
}

impl MessageKeys {
    /// Nothing if the epoch's key tree does not hold the message's leaf.
    fn new(epoch: &Epoch, log: &LogId, leaf: u32, counter: u32, salt: &[u8; 16]) -> Option<Self> {
        let leaf_key = epoch.key_tree().get(KeyTree::path(leaf, counter)?)?;
        let (leaf, counter) = (leaf.to_be_bytes(), counter.to_be_bytes());
        let header = [&[MESSAGE_VERSION][..], &log.0, epoch.tag(), &leaf, &counter, salt].concat();
        let hash = Sha256::digest(&header);
        Some(Self {
            key: derive_key(&leaf_key, "key", &hash),
            commitment: derive_key(&leaf_key, "commit", &hash),
            header,
        })
    }

    /// What the message's ciphertext is bound to.
    fn aad(&self) -> Vec<u8> {
        [&self.header[..], &*self.commitment].concat()
    }

    /// What the device signs: the envelope's head too, so that no other member can put the message
    /// into an envelope with another head.
    fn signed(&self, head: &[u8], content: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&self.header[..], &*self.commitment, head, content].concat())
    }

    fn aead(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new((&*self.key).into())
    }
}

/// Appends 0x80 and zeros (ISO/IEC 7816-4), to the next step.
fn pad(content: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = padded_len(content.len());
    let mut padded = Vec::with_capacity(length);
    padded.extend_from_slice(content);
    padded.push(PADDING_MARK);
    padded.resize(length, 0);
    Zeroizing::new(padded)
}

/// Removes the padding of [`pad`], and refuses any other.
fn unpad(padded: &[u8]) -> Result<&[u8], OpenError> {
    let end = padded.iter().rposition(|byte| *byte != 0).ok_or(OpenError::Malformed)?;
    let (content, rest) = padded.split_at_checked(end).ok_or(OpenError::Malformed)?;
    if rest.first() != Some(&PADDING_MARK) || padded.len() != padded_len(content.len()) {
        return Err(OpenError::Malformed);
    }
    Ok(content)
}

fn padded_len(content: usize) -> usize {
    let marked = content.saturating_add(1);
    let step = if marked <= PADDING_FINE_MAX { PADDING_FINE } else { PADDING_COARSE };
    marked.div_ceil(step).saturating_mul(step)
}

/// Appends a number in groups of seven bits, lowest first; the top bit says that more follow.
fn push_varint(bytes: &mut Vec<u8>, mut number: u32) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Reads what [`push_varint`] wrote, in its shortest form only.
fn split_varint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (mut number, mut rest) = (0, bytes);
    for shift in [0, 7, 14, 21] {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (byte != 0 || shift == 0).then_some((number, rest));
        }
    }
    None
}

fn random_salt(rng: &mut impl CryptoRng) -> [u8; 16] {
    let mut salt = [0; 16];
    rng.fill_bytes(&mut salt);
    salt
}

/// The salt is also the outer nonce: fresh for every envelope, and 16 bytes less on the wire.
fn extended(salt: &[u8; 16]) -> [u8; 24] {
    let mut nonce = [0; 24];
    let (start, _) = nonce.split_at_mut(salt.len());
    start.copy_from_slice(salt);
    nonce
}

const SIGNATURE_CONTEXT: &[u8] = b"siskin1 sig\x01";
const MESSAGE_VERSION: u8 = 1;
const TYPE_MESSAGE: u8 = 1;
const TYPE_COMMIT: u8 = 2;
/// Salt and two tags, type, leaf and counter, commitment, signature.
const SEALED_OVERHEAD: usize = 16 + 2 * 16 + 3 + 32 + 64;
const PADDING_MARK: u8 = 0x80;
const PADDING_FINE: usize = 64;
const PADDING_FINE_MAX: usize = 1024;
const PADDING_COARSE: usize = 256;

#[cfg(test)]
mod tests;
