//! Recovery phrase: 24 words that an account can be brought back from.

use std::fmt;

use bip39::{Language, Mnemonic};
use hkdf::Hkdf;
use proto::AccountId;
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::genesis::Genesis;
use crate::{SigningKey, derive_key};

/// Twenty-four English words of BIP 39, the last of which holds a checksum. Stays on a device only
/// while it is written down or typed in.
pub struct Phrase {
    words: Mnemonic,
    root: Zeroizing<[u8; 32]>,
}

impl Phrase {
    /// A new phrase.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut entropy = Zeroizing::new([0; 32]);
        rng.fill_bytes(entropy.as_mut_slice());
        Self::from_entropy(&entropy)
    }

    /// Reads a phrase as a person types it: case and the space between words don't matter.
    pub fn parse(text: &str) -> Result<Self, PhraseError> {
        let mut typed = Zeroizing::new(String::with_capacity(text.len()));
        for (i, word) in text.split_whitespace().enumerate() {
            typed.push_str(if i == 0 { "" } else { " " });
            typed.extend(word.chars().map(|c| c.to_ascii_lowercase()));
        }
        let count = typed.split(' ').filter(|word| !word.is_empty()).count();
        if count != WORDS {
            return Err(PhraseError::Count(count));
        }
        let words = Mnemonic::parse_in_normalized(Language::English, &typed);
        words.map(Self::new).map_err(|error| match error {
            bip39::Error::UnknownWord(index) => PhraseError::Unknown(index.saturating_add(1)),
            bip39::Error::InvalidChecksum
            | bip39::Error::BadWordCount(_)
            | bip39::Error::BadEntropyBitCount(_)
            | bip39::Error::AmbiguousLanguages(_) => PhraseError::Checksum,
        })
    }

    /// The words, to be shown to their owner once.
    pub fn words(&self) -> Zeroizing<String> {
        // Room for the longest words, so that growing leaves no copy behind.
        let mut text = Zeroizing::new(String::with_capacity(WORDS.saturating_mul(9)));
        for (i, word) in self.words.words().enumerate() {
            text.push_str(if i == 0 { "" } else { " " });
            text.push_str(word);
        }
        text
    }

    /// The key that signs rotations and delegations.
    pub fn recovery_key(&self) -> SigningKey {
        SigningKey::from_seed(*derive_key(&self.root, "recovery-key", b""))
    }

    /// Returns the account that starts from this phrase.
    pub fn account(&self) -> AccountId {
        self.genesis().account()
    }

    /// The genesis of that account. Its salt comes from the phrase too, so that the words alone
    /// lead to the account's id.
    pub(super) fn genesis(&self) -> Genesis {
        let salt = derive_key(&self.root, "genesis-salt", b"");
        let (salt, _) = salt.split_first_chunk().unwrap_or((&[0; 16], &[]));
        Genesis::new(self.recovery_key().public(), *salt)
    }

    #[expect(clippy::expect_used, reason = "BIP 39 makes 24 words of any 32 bytes")]
    fn from_entropy(entropy: &[u8; 32]) -> Self {
        Self::new(Mnemonic::from_entropy(entropy).expect("32 bytes make 24 words"))
    }

    fn new(words: Mnemonic) -> Self {
        let mut seed = words.to_seed_normalized("");
        let (mut root, _) = Hkdf::<Sha256>::extract(Some(ROOT_SALT), &seed);
        seed.zeroize();
        let phrase = Self { words, root: Zeroizing::new(root.into()) };
        root.as_mut_slice().zeroize();
        phrase
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { words: _, root: _ } = self;
        f.write_str("Phrase(..)")
    }
}

/// What was typed is not a recovery phrase. Says where, never what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// Another number of words.
    #[error("a recovery phrase has 24 words, this has {0}")]
    Count(usize),
    /// This word, counted from 1, is not in the list.
    #[error("word {0} is not one of the list of 2,048 words")]
    Unknown(usize),
    /// All words are in the list, but the checksum doesn't match.
    #[error("a word is wrong, or two have changed places: the checksum doesn't match")]
    Checksum,
}

const WORDS: usize = 24;
const ROOT_SALT: &[u8] = b"siskin1 phrase";
