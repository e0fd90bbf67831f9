//! The story of a run: lines in order of time, told once the run is over, so that a name that is
//! learnt late is good for the whole of it.

use std::time::Duration;

use proto::Instant;

use super::{Way, names::Names, words::Words};

/// What happened, and what everything is called.
#[derive(Debug)]
pub(super) struct Story {
    beginning: Instant,
    names: Names,
    happenings: Vec<(Instant, Happening)>,
}

#[derive(Debug)]
enum Happening {
    Frame(Way, Vec<u8>),
    Note(String),
}

impl Story {
    pub(super) fn new(beginning: Instant) -> Self {
        Self { beginning, names: Names::default(), happenings: Vec::new() }
    }

    pub(super) fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    pub(super) fn frame(&mut self, now: Instant, way: Way, bytes: &[u8]) {
        self.happenings.push((now, Happening::Frame(way, bytes.to_vec())));
    }

    /// Takes a note in, which stays on one line.
    pub(super) fn note(&mut self, now: Instant, text: &str) {
        self.happenings.push((now, Happening::Note(text.replace('\n', " "))));
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        let Self { beginning, names, happenings } = self;
        let mut words = Words::new(names);
        let mut lines = Vec::with_capacity(happenings.len());
        let mut last = beginning;
        for (now, happening) in happenings {
            let pause = now.since(last);
            if pause > PAUSE_MIN {
                lines.push(format!("            … {} pass", span(pause.as_secs())));
            }
            last = now;
            let text = match happening {
                Happening::Note(text) => text,
                Happening::Frame(way, bytes) => {
                    let said = words.say(now, way, &bytes);
                    let (from, to) = (words.host(way.from), words.host(way.to));
                    format!("{from:<8} ─▶ {to:<8} {said}")
                }
            };
            lines.push(format!("{}  {text}", time(now.since(beginning))));
        }
        lines
    }
}

/// Milliseconds, to the microsecond.
fn time(since: Duration) -> String {
    format!("{:>6}.{:03}", since.as_millis(), since.subsec_micros() % 1000)
}

/// A span of time in its two largest units.
pub(super) fn span(seconds: u64) -> String {
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let rest = units.iter().skip_while(|(count, _)| *count == 0).take(2);
    let parts: Vec<_> = rest
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// A longer pause has a line of its own.
const PAUSE_MIN: Duration = Duration::from_secs(5);

#[test]
fn spans_are_told_in_two_units() {
    let spans = [0, 59, 60, 200, 3600, 3661, 86_400, 90_061].map(span);
    let words = ["0 s", "59 s", "1 min", "3 min 20 s", "1 h", "1 h 1 min", "1 d", "1 d 1 h"];
    assert_eq!(spans, words);
}
