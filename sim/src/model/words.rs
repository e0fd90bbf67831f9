//! What people say: texts that tell which operation they are of.

use super::operation::Operation;

/// Begins every text. Only the two devices of a conversation may hold it as plaintext.
pub(crate) const MARKER: &str = "~overheard!~";

/// The text of an operation: short mostly, up to 2,000 bytes sometimes.
pub(super) fn text_of(operation: Operation) -> String {
    let mixed = u64::from(operation.0).wrapping_mul(MIXER) >> 32;
    let len = if mixed.is_multiple_of(16) { mixed % 2_000 } else { mixed % 160 };
    let (len, first) = (usize::try_from(len).unwrap_or(0), usize::try_from(mixed % 8).unwrap_or(0));
    let mut text = format!("{MARKER} {}", operation.0);
    for word in WORDS.iter().cycle().skip(first) {
        if text.len().saturating_add(word.len()) >= len {
            return text;
        }
        text.push(' ');
        text.push_str(word);
    }
    text
}

/// The operation whose text this is, to the last byte.
pub(super) fn operation_of(text: &str) -> Option<Operation> {
    let number = text.strip_prefix(MARKER)?.split(' ').nth(1)?;
    let operation = Operation(number.parse().ok()?);
    (text_of(operation) == text).then_some(operation)
}

/// Returns whether bytes hold the marker of all plaintexts.
pub(crate) fn holds_marker(bytes: &[u8]) -> bool {
    let sought = MARKER.as_bytes();
    let Some(first) = sought.first() else { return false };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = rest.get(at..).unwrap_or_default();
        if rest.starts_with(sought) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

const WORDS: [&str; 8] = ["bread", "to", "tomorrow", "Grüße", "or", "никогда", "rain", "好"];
/// The golden ratio's fraction in 64 bits: neighbours get very different lengths.
const MIXER: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_names_its_operation() {
        let operations = (0..5_000).map(Operation);
        let lens: Vec<_> = operations
            .map(|operation| {
                let text = text_of(operation);
                assert_eq!(operation_of(&text), Some(operation));
                text.len()
            })
            .collect();
        assert!(lens.iter().all(|len| *len <= 2_000));
        assert!(lens.iter().any(|len| *len > 1_900) && lens.iter().any(|len| *len < 20));
    }

    #[test]
    fn an_altered_text_belongs_to_no_operation() {
        let text = text_of(Operation(7));
        assert_eq!(operation_of(&format!("{text} ")), None);
        assert_eq!(operation_of(&text[1..]), None);
        assert_eq!(operation_of(&format!("{MARKER} +7")), None);
        assert_eq!(operation_of(&format!("{MARKER} 99999999999")), None);
    }
}
