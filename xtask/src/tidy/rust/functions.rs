//! Finds functions and what their signatures say.

/// A function's signature and size.
#[derive(Debug)]
pub(in crate::tidy) struct Function {
    pub(in crate::tidy) name: String,
    pub(in crate::tidy) line: usize,
    /// One text each, `&mut self` included.
    pub(in crate::tidy) parameters: Vec<String>,
    /// From the `fn` to the closing brace.
    pub(in crate::tidy) lines: usize,
}

impl Function {
    /// Returns the types of the parameters, without references, lifetimes and paths before them.
    pub(in crate::tidy) fn types(&self) -> impl Iterator<Item = &str> {
        let types =
            self.parameters.iter().filter_map(|parameter| Some(parameter.split_once(": ")?.1));
        types.map(|kind| {
            let kind = kind.split_whitespace().filter(|word| !word.starts_with("&'"));
            let word = kind.map(|word| word.trim_start_matches('&')).find(|word| *word != "mut");
            let path = word.unwrap_or_default().split('<').next().unwrap_or_default();
            path.rsplit("::").next().unwrap_or_default()
        })
    }
}

/// Reads the functions of code without comments and strings.
pub(super) fn read(code: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    let (mut line, mut counted) = (1_usize, 0);
    for (at, _) in code.match_indices("fn ") {
        let before = code.get(..at).unwrap_or_default();
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let passed = code.get(counted..at).unwrap_or_default().matches('\n').count();
        (line, counted) = (line.saturating_add(passed), at);
        functions.extend(code.get(at..).and_then(|rest| read_one(rest, line)));
    }
    functions
}

fn read_one(text: &str, line: usize) -> Option<Function> {
    let rest = text.strip_prefix("fn ")?;
    let name_end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    let (name, rest) = rest.split_at_checked(name_end)?;
    let after_generics = if rest.starts_with('<') { closing(rest)? } else { 0 };
    let rest = rest.get(after_generics..)?;
    let after_parameters = closing(rest)?;
    let inside = rest.get(1..after_parameters.saturating_sub(1))?;
    let tail = rest.get(after_parameters..)?;
    let length = match top_level(tail, "{;")? {
        (at, '{') => at.saturating_add(closing(tail.get(at..)?)?),
        (at, _) => at,
    };
    let end = text.len().saturating_sub(tail.len()).saturating_add(length);
    Some(Function {
        name: name.to_owned(),
        line,
        parameters: split_top_level(inside),
        lines: text.get(..end)?.matches('\n').count().saturating_add(1),
    })
}

/// Returns where the bracket that `text` begins with is closed, past the closing one.
pub(in crate::tidy) fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        // In an expression `<` and `>` compare; they are brackets only where types stand.
        let angled = text.starts_with('<') && before != '-' && before != '=';
        match c {
            '(' | '[' | '{' => depth = depth.saturating_add(1),
            '<' if angled => depth = depth.saturating_add(1),
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '>' if angled => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = c;
        if depth == 0 {
            return Some(at.saturating_add(c.len_utf8()));
        }
    }
    None
}

/// Returns the first of `sought` that stands in no bracket.
fn top_level(text: &str, sought: &str) -> Option<(usize, char)> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        if depth == 0 && sought.contains(c) {
            return Some((at, c));
        }
        match c {
            '(' | '[' | '{' => depth = depth.saturating_add(1),
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Splits a list at its own commas.
pub(in crate::tidy) fn split_top_level(list: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut depth, mut before) = (0_usize, ' ');
    for c in list.chars() {
        match c {
            '(' | '[' | '{' | '<' => depth = depth.saturating_add(1),
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '>' if before != '-' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = c;
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let words = |part: &String| part.split_whitespace().collect::<Vec<_>>().join(" ");
    parts.iter().map(words).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_read() {
        let code = "impl A {\n    pub fn b<F: Fn(u8) -> u8>(\n        &mut self,\n        (c, d): (C, D),\n    \
                    ) -> [u8; 4] {\n        {}\n    }\n}\nfn e();\nfn f(g: &'a mut h::I<'_>, j: &K) {}";
        let found = read(code);
        let told: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(told, [("b", 2, 6), ("e", 9, 1), ("f", 10, 1)]);
        assert_eq!(found[0].parameters, ["&mut self", "(c, d): (C, D)"]);
        assert_eq!(found[2].types().collect::<Vec<_>>(), ["I", "K"]);
    }

    #[test]
    fn pointers_to_functions_are_none() {
        assert!(read("let a: fn(u8) = b; often c();").is_empty());
    }
}
