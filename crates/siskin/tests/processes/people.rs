//! People, nodes and daemons for the tests.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// A data directory on an empty machine.
pub(crate) struct Person {
    directory: TempDir,
}

/// A process that runs until it is dropped.
pub(crate) struct Running {
    child: Child,
    /// What it said first.
    pub(crate) first: Value,
}

impl Person {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// An account at home at a node.
    pub(crate) fn with_account(name: &str, node: &str) -> Self {
        let person = Self::new();
        person.json(&["account", "create", "--node", node, "--name", name]);
        person
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = siskin(arguments);
        command.env("SISKIN_DIR", self.home());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command with something on standard input.
    pub(crate) fn pipe(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must succeed and returns its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stdout(&output)))
    }

    /// Runs a command that must succeed and returns what it prints.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    /// Asks again until the answer fits; each asking is a process, so this is no busy loop.
    pub(crate) fn until(&self, arguments: &[&str], fits: impl Fn(&Value) -> bool) -> Value {
        for () in tries() {
            let answer = self.json(arguments);
            if fits(&answer) {
                return answer;
            }
        }
        panic!("{arguments:?} never fits: {}", self.json(arguments));
    }

    /// Keeps the account online.
    pub(crate) fn up(&self) -> Running {
        Running::start(&mut self.command(&["up", "--json"]))
    }
}

impl Running {
    /// Starts a node on a port of the system's choice.
    pub(crate) fn node(directory: &Path) -> Self {
        let mut command = siskin(&["node", "--json", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(directory);
        Self::start(&mut command)
    }

    /// Starts a node that joins through others, and waits until it has found the network.
    pub(crate) fn joined(directory: &Path, through: &[&str]) -> Self {
        let mut command = siskin(&["node", "--json", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(directory);
        through.iter().for_each(|address| _ = command.args(["--join", address]));
        let node = Self::start(&mut command);
        if !through.is_empty() {
            status_until(directory, |status| status["joined"] == true);
        }
        node
    }

    /// The address of a node.
    pub(crate) fn address(&self) -> &str {
        self.first["address"].as_str().unwrap()
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn terminate(mut self) -> std::process::ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap()
    }

    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut running = Self { child, first: Value::Null };
        running.first = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it says {line:?}"));
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Queries the status of a node until it fits. Each query is a process.
pub(crate) fn status_until(directory: &Path, fits: impl Fn(&Value) -> bool) -> Value {
    let mut status = Value::Null;
    for () in tries() {
        let mut command = siskin(&["node", "status", "--json", "--data-dir"]);
        let output = command.arg(directory).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        status = serde_json::from_slice(&output.stdout).unwrap();
        if fits(&status) {
            return status;
        }
    }
    panic!("never fits: {status}");
}

/// The program, without a data directory.
pub(crate) fn siskin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.args(arguments).stdin(Stdio::null());
    for variable in
        ["SISKIN_DIR", "SISKIN_HOME", "SISKIN_NODE", "SISKIN_JOIN", "RUST_LOG", "XDG_RUNTIME_DIR"]
    {
        command.env_remove(variable);
    }
    command
}

/// Checks how a command failed: its exit code, the error, and that it says what to do about it
/// where it is not what was asked that can't be done.
#[track_caller]
pub(crate) fn assert_fails(output: &Output, code: i32, error: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let line = said.lines().find(|line| line.starts_with("error: "));
    assert!(line.is_some_and(|line| line.contains(error)), "{said}");
    if code != 1 {
        assert!(said.contains("\nhint: "), "{said}");
    }
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Says when to ask once more what may become so, as long as a test has time.
pub(crate) fn tries() -> impl Iterator<Item = ()> {
    let began = Instant::now();
    std::iter::from_fn(move || (began.elapsed() < WAIT_MAX).then_some(()))
}

const WAIT_MAX: Duration = Duration::from_secs(15);
