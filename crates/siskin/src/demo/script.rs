//! The text file that the demo plays.

use crate::failure::Failure;

/// One line of the play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Somebody says or does something.
    Act(Who, Act),
    /// Somebody's daemon dies.
    Offline(Who),
    /// It starts again.
    Online(Who),
}

/// The two people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Ada,
    Ben,
}

/// What they do; all but the first concern an earlier message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Say(String),
    /// Answers the last message.
    Reply(String),
    /// Replaces one's own last message.
    Edit(String),
    /// Takes one's own last message back.
    Delete,
    /// Reacts to the other's last message.
    React(String),
}

impl Who {
    pub(super) const BOTH: [Self; 2] = [Self::Ada, Self::Ben];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ada => "ada",
            Self::Ben => "ben",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Ada => Self::Ben,
            Self::Ben => Self::Ada,
        }
    }
}

/// Reads a script; says which line is wrong.
pub(super) fn parse(text: &str) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = parse_line(line).ok_or_else(|| {
            Failure::usage(format!("line {number} of the conversation can't be played"))
                .hint("a line is `ada: text` or `ben: text`, `offline ben` or `online ben`")
        })?;
        lines.push(parsed);
    }
    check(&lines)?;
    Ok(lines)
}

fn parse_line(line: &str) -> Option<Line> {
    if let Some(who) = line.strip_prefix("offline ") {
        return Some(Line::Offline(person(who)?));
    }
    if let Some(who) = line.strip_prefix("online ") {
        return Some(Line::Online(person(who)?));
    }
    let (who, text) = line.split_once(':')?;
    let (who, text) = (person(who)?, text.trim());
    let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = || Some(rest.trim().to_owned()).filter(|rest| !rest.is_empty());
    let act = match command {
        "" => return None,
        "/reply" => Act::Reply(rest()?),
        "/edit" => Act::Edit(rest()?),
        "/react" => Act::React(rest()?),
        "/delete" => Act::Delete,
        _ => Act::Say(text.to_owned()),
    };
    Some(Line::Act(who, act))
}

fn person(name: &str) -> Option<Who> {
    Who::BOTH.into_iter().find(|who| who.name() == name.trim().to_ascii_lowercase())
}

/// Nobody acts while dead, and whoever dies comes back.
fn check(lines: &[Line]) -> Result<(), Failure> {
    let mut dead = None;
    let mut said = Vec::new();
    for line in lines {
        let possible = match line {
            Line::Offline(who) => dead.replace(*who).is_none(),
            Line::Online(who) => dead.take() == Some(*who),
            Line::Act(who, act) => {
                let possible = match act {
                    Act::Say(_) => true,
                    Act::Reply(_) => !said.is_empty(),
                    Act::React(_) => said.contains(&who.other()),
                    Act::Edit(_) | Act::Delete => said.contains(who),
                };
                if matches!(act, Act::Say(_) | Act::Reply(_)) {
                    said.push(*who);
                }
                possible && dead != Some(*who)
            }
        };
        if !possible {
            return Err(Failure::usage(format!("the conversation can't be played: {line:?}"))
                .hint("nobody acts while offline, or on a message that is not there"));
        }
    }
    match (dead, said.is_empty()) {
        (None, false) => Ok(()),
        (Some(_), _) => Err(Failure::usage("somebody stays offline at the end")),
        (None, true) => Err(Failure::usage("nobody says anything in the conversation")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read() {
        let text = "# x\n\nada: Hi: there\nBen: /reply no\noffline ben\nada: /edit b\nonline ben\n\
                    ben: /react 👍\nada: /delete";
        let wanted = [
            Line::Act(Who::Ada, Act::Say("Hi: there".into())),
            Line::Act(Who::Ben, Act::Reply("no".into())),
            Line::Offline(Who::Ben),
            Line::Act(Who::Ada, Act::Edit("b".into())),
            Line::Online(Who::Ben),
            Line::Act(Who::Ben, Act::React("👍".into())),
            Line::Act(Who::Ada, Act::Delete),
        ];
        assert_eq!(parse(text).unwrap(), wanted);
    }

    #[test]
    fn what_can_not_be_played_is_refused() {
        for wrong in [
            "",
            "eve: hi",
            "ada hi",
            "ada:",
            "ada: /edit x",
            "ada: /react x",
            "ada: hi\nada: /react x",
            "ada: hi\nada: /edit",
            "ada: hi\noffline ada\nada: hi\nonline ada",
            "ada: hi\noffline ada",
            "ada: hi\nonline ada",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_bundled_one_can_be_played() {
        assert!(parse(super::super::BUNDLED).unwrap().len() > 10);
    }
}
