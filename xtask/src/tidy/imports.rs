//! The import graph of a crate: which file's code names something of which other file.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::rust::{RustFile, closing, split_top_level};

/// A file's code names something that another file defines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    pub(super) line: usize,
}

/// Returns the imports between the product's files below `source`, each pair of files once, with
/// the first line that says so.
pub(super) fn of_crate(files: &[RustFile], source: &str) -> Vec<Import> {
    let graph = Graph::new(files, Path::new(source));
    let mut imports: BTreeMap<(&Path, &Path), usize> = BTreeMap::new();
    for (module, node) in &graph.modules {
        for (target, line) in graph.targets(module, node) {
            if let Some(to) = graph.resolve(&target, 0).filter(|to| *to != node.path) {
                let first = imports.entry((node.path, to)).or_insert(line);
                *first = line.min(*first);
            }
        }
    }
    let import = |((from, to), line): ((&Path, &Path), usize)| Import {
        from: from.to_owned(),
        to: to.to_owned(),
        line,
    };
    imports.into_iter().map(import).collect()
}

/// A path of names, from the root of the crate.
type ModulePath = Vec<String>;

struct Graph<'a> {
    modules: BTreeMap<ModulePath, Node<'a>>,
}

struct Node<'a> {
    path: &'a Path,
    uses: Vec<Use>,
    /// The code without its `use` items.
    rest: String,
    /// Types with an `impl` here.
    implemented: BTreeSet<String>,
}

/// One name that a `use` brings in.
struct Use {
    segments: Vec<String>,
    name: String,
    line: usize,
    /// Whether others may use it from here: the file itself need not.
    is_shown: bool,
}

impl<'a> Graph<'a> {
    fn new(files: &'a [RustFile], source: &Path) -> Self {
        let mut modules = BTreeMap::new();
        let has_library = files.iter().any(|file| file.path == source.join("lib.rs"));
        for file in files.iter().filter(|file| !file.is_test(1)) {
            let Ok(inside) = file.path.strip_prefix(source) else { continue };
            let other_root =
                inside.starts_with("bin") || (has_library && inside == Path::new("main.rs"));
            if other_root {
                continue;
            }
            modules.insert(module_path(inside), Node::new(file));
        }
        Self { modules }
    }

    /// Every path that a file names, with its line.
    fn targets(&self, module: &ModulePath, node: &Node<'_>) -> Vec<(ModulePath, usize)> {
        let words: BTreeSet<&str> = words(&node.rest).collect();
        let needed =
            node.uses.iter().filter(|item| !item.is_shown || words.contains(item.name.as_str()));
        let used = needed.map(|item| (item.segments.clone(), item.line));
        let written = (1..)
            .zip(node.rest.lines())
            .flat_map(|(line, text)| written_paths(text).map(move |path| (path, line)));
        used.chain(written)
            .filter_map(|(path, line)| Some((self.absolute(module, &path)?, line)))
            .filter(|(path, _)| !self.is_extended(module, node, path))
            .collect()
    }

    /// Whether `path` is a type of a module above that `module` adds methods to.
    fn is_extended(&self, module: &ModulePath, node: &Node<'_>, path: &[String]) -> bool {
        let Some((name, above)) = path.split_last() else { return false };
        above.len() < module.len() && module.starts_with(above) && node.implemented.contains(name)
    }

    /// Where a path leads that is written in `module`; `None` if it leaves the crate.
    fn absolute(&self, module: &ModulePath, path: &[String]) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.clone(),
            "super" => return self.absolute_above(module, rest),
            name => {
                let mut below = module.clone();
                below.push(name.to_owned());
                if !self.modules.contains_key(&below) {
                    let uses = &self.modules.get(module)?.uses;
                    let item =
                        uses.iter().find(|item| item.name == name && item.segments != path)?;
                    return self.absolute(module, &[&item.segments, rest].concat());
                }
                below
            }
        };
        Some([start.as_slice(), rest].concat())
    }

    fn absolute_above(&self, module: &ModulePath, rest: &[String]) -> Option<ModulePath> {
        let above = module.split_last().map_or_else(Vec::new, |(_, above)| above.to_vec());
        if rest.first().is_some_and(|next| next == "super") {
            return self.absolute(&above, rest);
        }
        Some([above.as_slice(), rest].concat())
    }

    /// The file in which a path from the root ends, past all re-exports.
    fn resolve(&self, path: &[String], passed: usize) -> Option<&'a Path> {
        let mut module = Vec::new();
        for (index, segment) in path.iter().enumerate() {
            let mut below = module.clone();
            below.push(segment.clone());
            if self.modules.contains_key(&below) {
                module = below;
                continue;
            }
            let shown = self.modules.get(&module)?.uses.iter().find(|item| item.name == *segment);
            return match shown {
                // No crate has chains of re-exports this long; two that name each other do.
                Some(item) if passed < 8 => {
                    let rest = path.get(index.saturating_add(1)..).unwrap_or_default();
                    let target = self.absolute(&module, &[&item.segments, rest].concat())?;
                    self.resolve(&target, passed.saturating_add(1))
                }
                _ => self.modules.get(&module).map(|node| node.path),
            };
        }
        self.modules.get(&module).map(|node| node.path)
    }
}

impl<'a> Node<'a> {
    fn new(file: &'a RustFile) -> Self {
        let (mut uses, mut rest) = (Vec::new(), String::new());
        let mut lines = file.product();
        while let Some((number, line)) = lines.next() {
            let Some((is_shown, tree)) = use_item(line) else {
                // `pub(in crate::a)` names no item.
                rest.push_str(&line.replace("pub(in crate::", "pub(in "));
                rest.push('\n');
                continue;
            };
            let mut tree = tree.to_owned();
            rest.push('\n');
            while !tree.contains(';') {
                let Some((_, line)) = lines.next() else { break };
                tree.push_str(line);
                rest.push('\n');
            }
            let tree = tree.split(';').next().unwrap_or_default();
            let expanded = expand(tree, &[]).into_iter();
            uses.extend(expanded.map(|(segments, name)| Use {
                segments,
                name,
                line: number,
                is_shown,
            }));
        }
        let implemented = rest.lines().filter_map(implemented).collect();
        Self { path: &file.path, uses, rest, implemented }
    }
}

/// The type of a line that begins an `impl` without a trait.
fn implemented(line: &str) -> Option<String> {
    let rest = line.trim_start().strip_prefix("impl")?;
    let generics = if rest.starts_with('<') { closing(rest)? } else { 0 };
    let rest = rest.get(generics..)?.trim_start();
    let path = rest.split(['<', ' ', '{']).next()?;
    (!rest.contains(" for ")).then(|| path.rsplit("::").next().unwrap_or(path).to_owned())
}

/// The tree of a line that begins a `use` item, and whether it is a re-export.
fn use_item(line: &str) -> Option<(bool, &str)> {
    let line = line.trim_start();
    if let Some(tree) = line.strip_prefix("use ") {
        return Some((false, tree));
    }
    let rest = line.strip_prefix("pub")?;
    let rest = match rest.strip_prefix('(') {
        Some(scoped) => scoped.split_once(')')?.1,
        None => rest,
    };
    Some((true, rest.trim_start().strip_prefix("use ")?))
}

/// All paths of a `use` tree, each with the name that it brings in.
fn expand(tree: &str, prefix: &[String]) -> Vec<(Vec<String>, String)> {
    let segments = |path: &str| -> Vec<String> {
        let named = path.split("::").map(str::trim).filter(|name| !name.is_empty());
        [prefix, &named.map(str::to_owned).collect::<Vec<_>>()].concat()
    };
    if let Some((before, inside)) = tree.split_once('{') {
        let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
        let prefix = segments(before);
        return split_top_level(inside).iter().flat_map(|part| expand(part, &prefix)).collect();
    }
    let (path, name) =
        tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
    let mut path = segments(path);
    if path.last().is_some_and(|last| (last == "self" && path.len() > 1) || last == "*") {
        let is_glob = path.pop().is_some_and(|last| last == "*");
        let name = if is_glob { "*".to_owned() } else { path.last().cloned().unwrap_or_default() };
        return vec![(path, name)];
    }
    let last = path.last().cloned().unwrap_or_default();
    vec![(path, name.map_or(last, |name| name.trim().to_owned()))]
}

/// Paths such as `crate::a::B` in a line of code.
fn written_paths(line: &str) -> impl Iterator<Item = Vec<String>> {
    let runs = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    runs.filter(|run| run.contains("::") && !run.starts_with(':'))
        .map(|run| run.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// `a/b.rs` and `a/b/mod.rs` are the module `a::b`; `lib.rs` and `main.rs` are the root.
fn module_path(inside: &Path) -> ModulePath {
    let parts = inside.with_extension("");
    let names = parts.iter().map(|part| part.to_string_lossy().into_owned());
    names.filter(|name| !["mod", "lib", "main"].contains(&name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<RustFile> =
            files.iter().map(|(path, text)| RustFile::new(Path::new(path), text)).collect();
        let told = |import: &Import| {
            let name = |path: &Path| {
                path.strip_prefix("src").unwrap().with_extension("").display().to_string()
            };
            format!("{} {} {}", name(&import.from), name(&import.to), import.line)
        };
        let mut told: Vec<String> = of_crate(&files, "src").iter().map(told).collect();
        told.sort();
        told
    }

    #[test]
    fn trees_are_expanded() {
        let told: Vec<String> = expand("a::{self, b::{C, D as E}, f::*}", &[])
            .iter()
            .map(|(path, name)| format!("{} {name}", path.join("::")))
            .collect();
        assert_eq!(told, ["a a", "a::b::C C", "a::b::D E", "a::f *"]);
    }

    #[test]
    fn paths_lead_to_files() {
        let files = [
            ("src/lib.rs", "mod a;\nmod b;\npub(in crate::b) fn x() {}"),
            ("src/a.rs", "use std::fmt;\nuse crate::{\n    b::C,\n};\nfn d() { e::f() }\nmod e;"),
            ("src/a/e.rs", "use super::super::b;\nfn g() { b::c::H::i(); super::j(); }"),
            ("src/b/mod.rs", "mod c;"),
            ("src/b/c.rs", ""),
        ];
        assert_eq!(
            imports(&files),
            ["a a/e 5", "a b/mod 2", "a/e a 2", "a/e b/c 2", "a/e b/mod 1"]
        );
    }

    #[test]
    fn names_that_pass_through_are_followed() {
        let files = [
            ("src/lib.rs", "mod a;\nmod b;\npub use a::A;\nuse std::fmt::Debug;"),
            ("src/a.rs", "pub struct A;"),
            ("src/b.rs", "use crate::{A, Debug};"),
        ];
        assert_eq!(imports(&files), ["b a 1"]);
    }
}
