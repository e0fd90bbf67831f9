//! A town for tests: real node and daemon processes on loopback, each gone when its value is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test may stop on the first thing that is not as it should be, and has a clock"
)]
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of it")]

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// A service node.
pub struct Node {
    pub directory: PathBuf,
    /// `sisknode1…@127.0.0.1:PORT`
    pub address: String,
    /// What it runs under, word by word.
    under: Vec<String>,
    child: Child,
}

impl Node {
    pub fn start(directory: &Path) -> Self {
        Self::listen(&[], directory, "127.0.0.1:0", &[])
    }

    /// Starts a node that listens on a given address, run by another program, and that joins only
    /// through the given nodes.
    pub fn start_under(under: &[String], directory: &Path, listen: &str, join: &[&str]) -> Self {
        let join = join.iter().flat_map(|through| ["--join", *through]);
        let more: Vec<_> = ["--no-mdns"].into_iter().chain(join).collect();
        Self::listen(under, directory, listen, &more)
    }

    /// A node that joins the network through another one.
    pub fn join(directory: &Path, through: &str) -> Self {
        Self::listen(&[], directory, "127.0.0.1:0", &["--join", through])
    }

    /// Kills the node without warning and starts it again where it was.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// Kills the node without warning.
    pub fn kill(&mut self) {
        end(&mut self.child);
    }

    /// Lets the node do nothing, or go on.
    pub fn stall(&self, stalls: bool) {
        let signal = if stalls { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Starts a killed node again where it was.
    pub fn restart(&mut self) {
        let port = self.address.split('@').nth(1).unwrap().to_owned();
        let more: &[&str] = if self.under.is_empty() { &[] } else { &["--no-mdns"] };
        *self = Self::listen(&self.under.clone(), &self.directory.clone(), &port, more);
    }

    /// Checks whether the node has ended by itself.
    pub fn poll_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn listen(under: &[String], directory: &Path, listen: &str, more: &[&str]) -> Self {
        let mut command = siskin_under(under);
        command.args(["node", "--json", "--exit-on-stdin-close", "--listen", listen, "--data-dir"]);
        let (child, first) = start(command.arg(directory).args(more));
        let address = first["address"].as_str().unwrap().to_owned();
        Self { directory: directory.to_owned(), address, under: under.to_vec(), child }
    }

    /// Ends the node in order, so that all it holds is on disk.
    pub fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A person with a daemon.
pub struct Person {
    pub home: PathBuf,
    child: Option<Child>,
}

impl Person {
    /// Starts a daemon and makes an account at a node.
    pub fn with_account(home: &Path, name: &str, node: &str) -> Self {
        Self::with_account_at(home, name, &[node])
    }

    /// The same at several nodes.
    pub fn with_account_at(home: &Path, name: &str, nodes: &[&str]) -> Self {
        let mut person = Self { home: home.to_owned(), child: None };
        person.come_online();
        person.call("account.create", json!({ "name": name, "nodes": nodes }));
        person.until("the account is published", |person| {
            person.call("account.show", json!({}))["published"] == true
        });
        person
    }

    pub fn come_online(&mut self) {
        let mut command = siskin();
        command.args(["up", "--json", "--exit-on-stdin-close"]).env("SISKIN_DIR", &self.home);
        self.child = Some(start(&mut command).0);
    }

    /// Kills the daemon without warning.
    pub fn go_offline(&mut self) {
        if let Some(mut child) = self.child.take() {
            end(&mut child);
        }
    }

    pub fn call(&self, method: &str, params: Value) -> Value {
        let answer = self.try_call(method, params);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub fn try_call(&self, method: &str, params: Value) -> Result<Value, Value> {
        self.line().try_call(method, params)
    }

    /// A connection to the daemon.
    pub fn line(&self) -> Line {
        let socket = UnixStream::connect(self.home.join("siskin.sock")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Line(BufReader::new(socket))
    }

    /// Waits until something is so.
    pub fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "timed out before {what}");
            // Each turn queries the daemon; in between, other processes get the processor.
            std::thread::yield_now();
        }
    }

    pub fn say(&self, to: &str, text: &str) {
        self.call("message.send", json!({ "conversation": self.account_of(to), "text": text }));
    }

    /// All messages with a contact, in timeline order.
    pub fn messages(&self, contact: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        let with = self.account_of(contact);
        loop {
            let before = all.first().map(|message| message["id"].clone());
            let params = json!({ "conversation": with, "limit": 500, "before": before });
            let page = self.call("message.list", params);
            let page = page.as_array().unwrap();
            if page.is_empty() {
                return all;
            }
            all.splice(0..0, page.iter().filter(|item| item["type"] == "message").cloned());
        }
    }

    pub fn texts(&self, contact: &str) -> Vec<String> {
        let messages = self.messages(contact).into_iter();
        messages.map(|message| message["text"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The account of a contact, which is also the id of the conversation with it.
    pub fn account_of(&self, name: &str) -> Value {
        self.contact(name).unwrap_or_else(|| panic!("no contact {name}"))["account"].take()
    }

    pub fn contact(&self, name: &str) -> Option<Value> {
        let all = self.call("contact.list", json!({}));
        all.as_array().unwrap().iter().find(|contact| contact["name"] == name).cloned()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.go_offline();
    }
}

/// A connection to a daemon.
pub struct Line(BufReader<UnixStream>);

impl Line {
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.try_call(method, params);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        writeln!(self.0.get_mut(), "{call}").unwrap();
        let mut answer = self.next().expect("an answer");
        if answer["error"].is_null() { Ok(answer["result"].take()) } else { Err(answer) }
    }

    /// What comes, until the daemon is gone: events, once they are subscribed to.
    pub fn events(mut self) -> impl Iterator<Item = Value> {
        self.call("events.subscribe", json!({}));
        self.0.get_ref().set_read_timeout(None).unwrap();
        std::iter::from_fn(move || Some(self.next()?["params"].take()))
    }

    /// Events after these cursors, until none comes for a while.
    pub fn events_after(mut self, cursors: Value) -> Box<dyn Iterator<Item = Value>> {
        self.call("events.subscribe", json!({ "after": cursors }));
        Box::new(std::iter::from_fn(move || Some(self.next()?["params"].take())))
    }

    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        Some(serde_json::from_str(&line).unwrap())
    }
}

/// Runs a command to its end; what it prints is JSON.
pub fn command(home: &Path, arguments: &[&str]) -> Value {
    let output = siskin().env("SISKIN_DIR", home).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The first invites the second, who asks; the first accepts.
pub fn acquaint(inviter: (&Person, &str), asker: (&Person, &str)) {
    let invite = inviter.0.call("contact.invite", json!({}));
    let link = invite["link"].as_str().unwrap();
    asker.0.call("contact.add", json!({ "link": link, "name": inviter.1 }));
    inviter.0.until("the request has arrived", |person| {
        person.contact(asker.1).is_some_and(|contact| contact["state"] == "asking")
    });
    let account = inviter.0.account_of(asker.1);
    inviter.0.call("contact.accept", json!({ "contact": account }));
    asker.0.until("the request is accepted", |person| {
        person.contact(inviter.1).is_some_and(|contact| contact["state"] == "established")
    });
}

fn siskin() -> Command {
    siskin_under(&[])
}

/// The binary, run by another program.
fn siskin_under(under: &[String]) -> Command {
    let mut words = under.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_siskin")]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command.env_remove("SISKIN_DIR").env_remove("SISKIN_NODE");
    command
}

/// Starts a process and waits for its first line, which is JSON.
fn start(command: &mut Command) -> (Child, Value) {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let first = serde_json::from_str(&line).unwrap_or_else(|_| panic!("said {line:?}"));
    (child, first)
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// How long anything may take; far more than it does.
const PATIENCE: Duration = Duration::from_secs(60);
