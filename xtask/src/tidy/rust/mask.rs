//! Tells code from comments and strings.

use std::{iter::Peekable, str::Chars};

/// Splits `text` into code and prose of the same length: what belongs to the other is a space.
pub(super) fn split(text: &str) -> (String, String) {
    let mut mask =
        Mask { rest: text.chars().peekable(), code: String::new(), prose: String::new() };
    while let Some(c) = mask.rest.next() {
        mask.step(c);
    }
    (mask.code, mask.prose)
}

struct Mask<'a> {
    rest: Peekable<Chars<'a>>,
    code: String,
    prose: String,
}

impl Mask<'_> {
    fn step(&mut self, c: char) {
        match (c, self.rest.peek().copied()) {
            ('/', Some('/')) => {
                self.prose(c);
                while let Some(c) = self.rest.next_if(|c| *c != '\n') {
                    self.prose(c);
                }
            }
            ('/', Some('*')) => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            ('r', Some('"' | '#')) if !self.inside_word() => self.raw_string(),
            _ => self.code(c),
        }
    }

    fn block_comment(&mut self) {
        self.prose('/');
        let mut depth = 0_usize;
        while let Some(c) = self.rest.next() {
            self.prose(c);
            if c == '*' && self.rest.peek() == Some(&'/') {
                self.rest.next().into_iter().for_each(|c| self.prose(c));
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return;
                }
            } else if (c == '*' && depth == 0) || (c == '/' && self.rest.peek() == Some(&'*')) {
                depth = depth.saturating_add(1);
            }
        }
    }

    fn string(&mut self) {
        self.code('"');
        while let Some(c) = self.rest.next() {
            match c {
                '"' => return self.code('"'),
                '\\' => {
                    self.prose(c);
                    self.rest.next().into_iter().for_each(|c| self.prose(c));
                }
                _ => self.prose(c),
            }
        }
    }

    /// After an `r` that may begin `r"…"`, `r#"…"#` or a raw identifier.
    fn raw_string(&mut self) {
        self.code('r');
        let mut hashes = 0_usize;
        while self.rest.next_if_eq(&'#').is_some() {
            self.code('#');
            hashes = hashes.saturating_add(1);
        }
        if self.rest.next_if_eq(&'"').is_none() {
            return;
        }
        self.code('"');
        let mut closing = None;
        while let Some(c) = self.rest.next() {
            self.prose(c);
            closing = match (c, closing) {
                ('"', _) => Some(0_usize),
                ('#', Some(seen)) => Some(seen.saturating_add(1)),
                _ => None,
            };
            if closing == Some(hashes) {
                return;
            }
        }
    }

    /// A character or the beginning of a lifetime.
    fn quote(&mut self) {
        self.code('\'');
        let mut ahead = self.rest.clone();
        let (first, second) = (ahead.next(), ahead.next());
        if first != Some('\\') && second != Some('\'') {
            return;
        }
        while let Some(c) = self.rest.next() {
            match c {
                '\'' => return self.code(c),
                '\\' => {
                    self.prose(c);
                    self.rest.next().into_iter().for_each(|c| self.prose(c));
                }
                _ => self.prose(c),
            }
        }
    }

    fn inside_word(&self) -> bool {
        let before = self.code.chars().next_back();
        before.is_some_and(|c| (c.is_alphanumeric() && c != 'b') || c == '_')
    }

    fn code(&mut self, c: char) {
        self.code.push(c);
        self.prose.push(if c == '\n' { c } else { ' ' });
    }

    fn prose(&mut self, c: char) {
        self.prose.push(c);
        self.code.push(if c == '\n' { c } else { ' ' });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_are_blanked() {
        let (code, prose) =
            split("let a = \"b // \\\" c\"; // d 'e\nf('\"', 'g: &'h str) /* { /* } */ */ i");
        assert_eq!(code, "let a = \"         \";        \nf(' ', 'g: &'h str)                 i");
        assert_eq!(prose.lines().next(), Some("         b // \\\" c   // d 'e"));
        assert!(prose.ends_with("/* { /* } */ */  "), "{prose}");
    }

    #[test]
    fn raw_strings_end_with_as_many_hashes() {
        let (code, _) = split("r#\"a\"b\"# + br\"c\" + r#type + '\\'' + for r");
        assert_eq!(code, "r#\"      + br\"   + r#type + '  ' + for r");
    }
}
