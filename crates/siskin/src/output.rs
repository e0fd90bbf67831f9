//! What people and programs see: results on standard output, talk on standard error.

use std::{
    ffi::OsStr,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;

use crate::{failure::Failure, rpc::DeliveryStatus};

/// How to speak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    color: bool,
}

/// Looks of a text on a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    Bold,
    Dim,
    Green,
    Cyan,
    Yellow,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, color: wants_color(io::stdout().is_terminal()) }
    }

    /// Whether a program reads this.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// The result of a command: one JSON object, or what `human` makes of it.
    pub(crate) fn result<T: Serialize>(self, value: &T, human: impl FnOnce(&T) -> String) {
        if self.json {
            write_out(&to_json(value));
        } else {
            let text = human(value);
            if !text.is_empty() {
                write_out(&text);
            }
        }
    }

    /// A line that is no result.
    pub(crate) fn say(self, line: &str) {
        if !self.json {
            write_err(line);
        }
    }

    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            let Failure { kind, message, hint, .. } = failure;
            let error =
                serde_json::json!({"error": {"kind": kind, "message": message, "hint": hint}});
            return write_err(&to_json(&error));
        }
        write_err(&format!("error: {}", safe(&failure.message)));
        if let Some(hint) = &failure.hint {
            write_err(&format!("hint: {}", safe(hint)));
        }
    }

    /// Whether standard error takes colours.
    pub(crate) fn colors_errors(self) -> bool {
        wants_color(io::stderr().is_terminal())
    }

    pub(crate) fn styled(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Green => "32",
            Style::Cyan => "36",
            Style::Yellow => "33",
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Text of others, made harmless: what a terminal would obey is shown instead.
pub(crate) fn safe(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// As [`safe`], but line breaks stay; each further line is indented so that it can't pass for a
/// line of ours.
pub(crate) fn safe_lines(text: &str, indent: usize) -> String {
    let lines: Vec<String> = text.lines().map(safe).collect();
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// One line of JSON in which no terminal finds anything to obey.
pub(crate) fn to_json<T: Serialize>(value: &T) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        // Outside of strings JSON is ASCII, so that an escape is always in place.
        if c != visible(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// How far a message has come, in one or two characters and a word; on how many nodes it is, if that is
/// known.
pub(crate) fn tick(mark: DeliveryStatus, stored_on: usize) -> String {
    let word = match mark {
        DeliveryStatus::Waiting => "… waiting",
        DeliveryStatus::Sent => "… sent",
        DeliveryStatus::Stored => "✓ stored",
        DeliveryStatus::Delivered => "✓✓ delivered",
        DeliveryStatus::Read => "✓✓ read",
        DeliveryStatus::Refused => "✗ refused",
    };
    match (mark, stored_on) {
        (DeliveryStatus::Stored, 1..) => format!("{word} on {stored_on}"),
        (DeliveryStatus::Sent, 1..) => format!("{word}, on {stored_on}"),
        _ => word.to_owned(),
    }
}

/// Seconds since the Unix epoch as a date in UTC.
#[expect(clippy::arithmetic_side_effects, reason = "no day after DAYS_MAX is counted with")]
pub(crate) fn date(secs: u64) -> String {
    let (days, rest) = (secs / 86_400, secs % 86_400);
    // Howard Hinnant's `civil_from_days`, for days after 1970.
    let z = i64::try_from(days.min(DAYS_MAX)).unwrap_or_default().saturating_add(719_468);
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}Z", rest / 3600, rest % 3600 / 60)
}

/// Writes a line to standard output. A reader that has gone away is no failure.
pub(crate) fn write_out(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Writes a part of a line to standard output, at once.
pub(crate) fn write_part(part: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(part.as_bytes()).and_then(|()| out.flush());
}

fn wants_color(terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).unwrap_or_default();
    terminal && allows_color(&set("NO_COLOR"), &set("TERM"))
}

/// As no-color.org has it: any value but an empty one forbids colours.
fn allows_color(no_color: &OsStr, term: &OsStr) -> bool {
    no_color.is_empty() && term != "dumb"
}

fn write_err(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

fn visible(c: char) -> char {
    match c {
        '\0'..='\x1f' => char::from_u32(0x2400_u32.saturating_add(c.into())).unwrap_or(REPLACEMENT),
        '\x7f' => '\u{2421}',
        // C1 controls; marks that turn the direction of what follows; separators of lines.
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => REPLACEMENT,
        c => c,
    }
}

const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;
/// Up to the year 9999.
const DAYS_MAX: u64 = 2_932_896;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let evil = "a\x1b]0;title\x07\u{9b}31mb\u{202e}c\r\n";
        assert_eq!(safe(evil), "a␛]0;title␇\u{fffd}31mb\u{fffd}c␍␊");
        assert_eq!(safe_lines("one\ntwo\x1b", 2), "one\n  two␛");
        assert_eq!(safe("grüße 👋🏽 漢字"), "grüße 👋🏽 漢字");
    }

    #[test]
    fn colours_can_be_forbidden() {
        let allows = |no_color: &str, term: &str| allows_color(no_color.as_ref(), term.as_ref());
        assert!(allows("", "xterm") && allows("", ""));
        assert!(!allows("1", "xterm") && !allows("0", "xterm") && !allows("", "dumb"));
        let plain = Output { json: false, color: false };
        assert_eq!(plain.styled(Style::Bold, "x"), "x");
    }

    #[test]
    fn json_is_faithful_and_harmless() {
        let evil = "\u{9b}31m\u{202e}\x1b\x7f";
        let json = to_json(&evil);
        assert!(json.is_ascii(), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), evil);
    }

    #[test]
    fn dates_are_right() {
        assert_eq!(date(0), "1970-01-01 00:00Z");
        assert_eq!(date(951_825_600), "2000-02-29 12:00Z");
        assert_eq!(date(1_795_370_340), "2026-11-22 17:59Z");
        assert!(date(u64::MAX).starts_with("9999-12-31"));
    }
}
