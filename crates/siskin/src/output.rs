//! Output for people and programs: results to standard output, everything else to standard error.

use std::{
    ffi::OsStr,
    io::{self, IsTerminal, Write},
};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use crate::{failure::Failure, rpc::DeliveryStatus};

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    color: bool,
}

/// The style of a text on a terminal.
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

    /// Returns whether results are printed as JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints the result of a command: as one JSON object, or as `human` formats it.
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

    /// Prints a line that is not part of the result.
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

    /// Returns whether standard error shows colours.
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

/// Replaces characters that a terminal obeys, in text from others.
pub(crate) fn safe(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// Like [`safe`], but keeps line breaks. Indents further lines, so that none passes for a line of
/// ours.
pub(crate) fn safe_lines(text: &str, indent: usize) -> String {
    let lines: Vec<String> = text.lines().map(safe).collect();
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// One line of JSON without characters that a terminal obeys.
pub(crate) fn to_json<T: Serialize>(value: &T) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    // Such characters stand only in strings, where they can be escaped; each is one UTF-16 unit.
    let escape = |c: char| format!("\\u{:04x}", u32::from(c));
    text.chars().map(|c| if c == visible(c) { c.to_string() } else { escape(c) }).collect()
}

/// Formats a delivery status, with the number of nodes that have signed for the message.
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

/// Formats seconds since the Unix epoch in the local time zone, or in UTC if that is unknown.
pub(crate) fn date(secs: u64) -> String {
    date_in(secs, TimeZone::system())
}

fn date_in(secs: u64, zone: TimeZone) -> String {
    let second = i64::try_from(secs).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
    let format = if zone.is_unknown() { "%Y-%m-%d %H:%MZ" } else { "%Y-%m-%d %H:%M" };
    time.to_zoned_datetime(zone).strftime(format).to_string()
}

/// Writes a line to standard output. A reader that has closed it is no failure.
pub(crate) fn write_out(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Writes part of a line to standard output and flushes it.
pub(crate) fn write_part(part: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(part.as_bytes()).and_then(|()| out.flush());
}

fn wants_color(terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).unwrap_or_default();
    terminal && allows_color(&set("NO_COLOR"), &set("TERM"))
}

/// Follows no-color.org: any value but an empty one forbids colours.
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
        // C1 controls, marks that change the text direction, line separators.
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        // Those without width, with which one name passes for another. The joiner of emojis stays.
        | '\u{ad}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2060}'..='\u{2064}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => REPLACEMENT,
        c => c,
    }
}

const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let evil = "a\x1b]0;title\x07\u{9b}31mb\u{202e}c\r\n";
        assert_eq!(safe(evil), "a␛]0;title␇\u{fffd}31mb\u{fffd}c␍␊");
        assert_eq!(safe_lines("one\ntwo\x1b", 2), "one\n  two␛");
        assert_eq!(safe("Ben\u{200b}"), "Ben\u{fffd}", "another name is not shown as this one");
        assert_eq!(safe("grüße 👋🏽 👩‍🚀 漢字"), "grüße 👋🏽 👩‍🚀 漢字");
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
    fn dates_are_local_or_name_utc() {
        let unknown = |secs| date_in(secs, TimeZone::unknown());
        assert_eq!(unknown(0), "1970-01-01 00:00Z");
        assert_eq!(unknown(951_825_600), "2000-02-29 12:00Z");
        assert_eq!(unknown(1_795_370_340), "2026-11-22 17:59Z");
        assert!(unknown(u64::MAX).starts_with("9999-12-"));
        let auckland = TimeZone::posix("NZST-12NZDT,M9.5.0,M4.1.0/3").unwrap();
        assert_eq!(date_in(1_795_370_340, auckland), "2026-11-23 06:59");
    }
}
