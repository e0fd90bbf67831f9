//! Crates: which may depend on which, and that all are linted alike.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{Problem, Source};

/// A crate of this repository.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) directory: PathBuf,
    manifest: Table,
    text: String,
}

impl Package {
    /// Files outside the usual places that the manifest names as roots of a target.
    pub(super) fn named_roots(&self) -> impl Iterator<Item = PathBuf> {
        let lists = ["bin", "test", "bench", "example"].into_iter();
        let listed = lists
            .filter_map(|kind| self.manifest.get(kind)?.as_array())
            .flatten()
            .chain(self.manifest.get("lib"));
        listed.filter_map(|target| Some(self.directory.join(target.get("path")?.as_str()?)))
    }

    fn problem(&self, sought: &str, message: impl Into<String>) -> Problem {
        let found = (1..).zip(self.text.lines()).find(|(_, line)| line.starts_with(sought));
        let line = found.map_or(1, |(number, _)| number);
        Problem::new(self.directory.join("Cargo.toml"), line, message)
    }

    /// Names of dependencies of one kind, those for single platforms included.
    fn dependencies(&self, kind: &str) -> Vec<&str> {
        let targets = self.manifest.get("target").and_then(Value::as_table);
        let tables = targets.into_iter().flat_map(|targets| targets.values());
        tables
            .filter_map(|target| target.get(kind))
            .chain(self.manifest.get(kind))
            .filter_map(Value::as_table)
            .flat_map(|table| table.keys().map(String::as_str))
            .collect()
    }
}

/// Reads the manifests of all crates.
pub(super) fn read(sources: &[Source]) -> Result<Vec<Package>, Box<dyn Error>> {
    let manifests = sources.iter().filter(|source| source.path.ends_with("Cargo.toml"));
    let mut packages = Vec::new();
    for source in manifests {
        let manifest: Table = toml::from_str(&source.text)
            .map_err(|error| format!("{}: {error}", source.path.display()))?;
        let name = manifest.get("package").and_then(|package| package.get("name"));
        let Some(name) = name.and_then(Value::as_str).map(str::to_owned) else { continue };
        let directory = source.path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        packages.push(Package { name, directory, manifest, text: source.text.clone() });
    }
    Ok(packages)
}

/// Checks edges and lints.
pub(super) fn check(packages: &[Package]) -> Vec<Problem> {
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    packages.iter().flat_map(|package| check_one(package, &ours)).collect()
}

fn check_one(package: &Package, ours: &[&str]) -> Vec<Problem> {
    // Workspaces of their own (fuzzers, which need another compiler; other systems) are no part of
    // the product.
    let apart = package.directory.starts_with(PEERS);
    if apart || package.manifest.contains_key("workspace") {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let lints = package.manifest.get("lints").and_then(|lints| lints.get("workspace"));
    if lints != Some(&Value::Boolean(true)) && package.name != CALLED_FROM_C {
        problems.push(package.problem("[lints]", "a crate says `[lints] workspace = true`"));
    }
    let Some(edges) = EDGES.iter().find(|edges| edges.from == package.name) else {
        let message = "a new crate needs a line in the table of allowed edges";
        problems.push(package.problem("name", message));
        return problems;
    };
    for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
        let edge = |to: &&str| {
            let in_tests = kind == "dev-dependencies" && edges.in_tests.contains(to);
            !ours.contains(to) || edges.to.contains(to) || edges.to == EVERYTHING || in_tests
        };
        for to in package.dependencies(kind).into_iter().filter(|to| !edge(to)) {
            let message = format!("{} must not depend on {to} ({kind})", package.name);
            problems.push(package.problem(to, message));
        }
    }
    problems
}

struct Edges {
    from: &'static str,
    to: &'static [&'static str],
    /// Further ones that only its tests may use.
    in_tests: &'static [&'static str],
}

const fn edges(
    from: &'static str,
    to: &'static [&'static str],
    in_tests: &'static [&'static str],
) -> Edges {
    Edges { from, to, in_tests }
}

const EVERYTHING: &[&str] = &["*"];
/// Comparisons with other systems.
const PEERS: &str = "bench/peers";
/// The workspace's lints forbid unsafe code, without which C can't call Rust.
const CALLED_FROM_C: &str = "sqlcipher";

const EDGES: [Edges; 15] = [
    edges("proto", &[], &[]),
    edges("reconcile", &[], &[]),
    edges("crypto", &["proto"], &[]),
    edges("routing", &["proto", "crypto"], &["testnet"]),
    edges("node", &["proto", "crypto", "reconcile", "routing"], &["store", "testnet"]),
    edges("client", &["proto", "crypto"], &["node", "store", "testnet"]),
    edges("sqlcipher", &[], &[]),
    edges("store", &["proto", "sqlcipher"], &[]),
    edges("testnet", &["proto", "store"], &[]),
    edges("net", &["proto", "store"], &[]),
    edges("siskin", EVERYTHING, &[]),
    edges("sim", EVERYTHING, &[]),
    edges("bench", EVERYTHING, &[]),
    edges("fuzz-targets", EVERYTHING, &[]),
    edges("xtask", &[], &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(manifests: &[&str]) -> Vec<String> {
        let sources: Vec<Source> = (0..)
            .zip(manifests)
            .map(|(i, text)| Source {
                path: format!("{i}/Cargo.toml").into(),
                text: (*text).to_owned(),
            })
            .collect();
        check(&read(&sources).unwrap()).iter().map(Problem::to_string).collect()
    }

    #[test]
    fn edges_point_down() {
        let proto = "[package]\nname = 'proto'\n[lints]\nworkspace = true";
        let node = "[package]\nname = 'node'\n[dependencies]\nproto.workspace = true\nserde = '1'\n\
                    [dev-dependencies]\nstore = {}\n[lints]\nworkspace = true";
        let store = "[package]\nname = 'store'\n[dependencies]\nproto = {}\n\
                     [target.'cfg(unix)'.dependencies]\nnode = {}\n[lints]\nworkspace = true";
        assert_eq!(problems(&[proto, node]), [""; 0]);
        let found = problems(&[proto, node, store]);
        assert_eq!(found, ["2/Cargo.toml:6: store must not depend on node (dependencies)"]);
    }

    #[test]
    fn tests_may_reach_further_than_the_product() {
        let node = "[package]\nname = 'node'\n[lints]\nworkspace = true";
        let in_tests = "[package]\nname = 'client'\n[dev-dependencies]\nnode = {}\n\
                        [lints]\nworkspace = true";
        assert_eq!(problems(&[node, in_tests]), [""; 0]);
        let in_product = in_tests.replace("dev-", "");
        let found = problems(&[node, &in_product]);
        assert_eq!(found, ["1/Cargo.toml:4: client must not depend on node (dependencies)"]);
    }

    #[test]
    fn every_crate_is_known_and_linted() {
        let found = problems(&["[package]\nname = 'utilities'"]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(problems(&["[workspace]\n[package]\nname = 'apart'"]), [""; 0]);
    }
}
