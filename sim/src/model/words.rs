//! What people say: texts that tell which deed they are of.

use super::Deed;

/// Begins every text; nobody but the two who talk may ever hold or hear it in the clear.
pub(crate) const MARKER: &str = "~overheard!~";

/// The text of a deed: short mostly, up to 2,000 bytes sometimes.
pub(super) fn text_of(deed: Deed) -> String {
    let mixed = u64::from(deed.0).wrapping_mul(MIXER) >> 32;
    let len = if mixed.is_multiple_of(16) { mixed % 2_000 } else { mixed % 160 };
    let (len, first) = (usize::try_from(len).unwrap_or(0), usize::try_from(mixed % 8).unwrap_or(0));
    let mut text = format!("{MARKER} {}", deed.0);
    for word in WORDS.iter().cycle().skip(first) {
        if text.len().saturating_add(word.len()) >= len {
            return text;
        }
        text.push(' ');
        text.push_str(word);
    }
    text
}

/// The deed whose text this is, to the last byte.
pub(super) fn deed_of(text: &str) -> Option<Deed> {
    let number = text.strip_prefix(MARKER)?.split(' ').nth(1)?;
    let deed = Deed(number.parse().ok()?);
    (text_of(deed) == text).then_some(deed)
}

const WORDS: [&str; 8] = ["bread", "to", "tomorrow", "Grüße", "or", "никогда", "rain", "好"];
/// The golden ratio's fraction in 64 bits: neighbours get very different lengths.
const MIXER: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_tells_its_deed() {
        let deeds = (0..5_000).map(Deed);
        let lens: Vec<_> = deeds
            .map(|deed| {
                let text = text_of(deed);
                assert_eq!(deed_of(&text), Some(deed));
                text.len()
            })
            .collect();
        assert!(lens.iter().all(|len| *len <= 2_000));
        assert!(lens.iter().any(|len| *len > 1_900) && lens.iter().any(|len| *len < 20));
    }

    #[test]
    fn a_bent_text_is_nobodys() {
        let text = text_of(Deed(7));
        assert_eq!(deed_of(&format!("{text} ")), None);
        assert_eq!(deed_of(&text[1..]), None);
        assert_eq!(deed_of(&format!("{MARKER} +7")), None);
        assert_eq!(deed_of(&format!("{MARKER} 99999999999")), None);
    }
}
