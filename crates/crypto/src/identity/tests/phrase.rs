//! Recovery phrases as people type them.

use super::*;

/// The 32 bytes 0, 1, … 31.
const WORDS: &str = "abandon amount liar amount expire adjust cage candy arch gather drum bullet \
                     absurd math era live bid rhythm alien crouch range attend journey unaware";

#[test]
fn reads_words_as_people_type_them() {
    let typed = format!("  {} \n", WORDS.to_uppercase().replace(' ', "  \t"));
    assert_eq!(*Phrase::parse(&typed).unwrap().words(), WORDS);
}

#[test]
fn refuses_another_number_of_words() {
    assert_eq!(Phrase::parse("").err(), Some(PhraseError::Count(0)));
    let (but_one, _) = WORDS.rsplit_once(' ').unwrap();
    assert_eq!(Phrase::parse(but_one).err(), Some(PhraseError::Count(23)));
    assert_eq!(Phrase::parse(&format!("{WORDS} zoo")).err(), Some(PhraseError::Count(25)));
    // A valid phrase of twelve words is not ours.
    let twelve = "abandon ".repeat(11) + "about";
    assert_eq!(Phrase::parse(&twelve).err(), Some(PhraseError::Count(12)));
}

#[test]
fn names_the_word_that_is_not_in_the_list() {
    let mistyped = WORDS.replace("candy", "kandy");
    let error = Phrase::parse(&mistyped).unwrap_err();
    assert_eq!(error, PhraseError::Unknown(8));
    assert!(!error.to_string().contains("kandy"), "errors are logged, words are secret");
    let foreign = WORDS.replace("unaware", "生");
    assert_eq!(Phrase::parse(&foreign).err(), Some(PhraseError::Unknown(24)));
}

#[test]
fn notices_words_that_changed_places() {
    let words: Vec<&str> = WORDS.split(' ').collect();
    let mut refused = 0;
    for i in 1..words.len() {
        let mut swapped = words.clone();
        swapped.swap(i - 1, i);
        refused += usize::from(Phrase::parse(&swapped.join(" ")).is_err());
    }
    assert_eq!(refused, 23, "the checksum lets one in 256 pass; none of these");
}

#[test]
fn notices_nearly_every_other_word() {
    let list = bip39::Language::English.word_list();
    let accepted: Vec<_> = list
        .iter()
        .filter_map(|word| Phrase::parse(&WORDS.replacen("abandon", word, 1)).ok())
        .map(|phrase| phrase.account())
        .collect();
    // Eight bits of checksum: one in 256 passes. Each of those leads to another account, which is
    // why the client shows the id before it goes on.
    assert!(accepted.len() <= 20, "{} of 2,048 pass", accepted.len());
    let right = Phrase::parse(WORDS).unwrap().account();
    assert_eq!(accepted.iter().filter(|account| **account == right).count(), 1);
}
