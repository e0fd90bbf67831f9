//! The processes of the demo, and the directory in which they live.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{
    api::{Call, EventStream, Remote},
    engine::Engine,
    failure::Failure,
    output::safe,
    paths::DataDir,
    rpc::{
        AccountCreate, ContactList, ContactState, DeliveryStatus, Event, Item, Message,
        MessageList, MessageSend, Secret, Subscribe,
    },
};

/// All processes by name. They and the directory are gone when the stage is.
pub(super) struct Stage {
    directory: TempDir,
    program: PathBuf,
    processes: BTreeMap<String, Child>,
}

/// A daemon, and connections to it for requests and for events.
pub(super) struct Person {
    pub(super) name: &'static str,
    remote: Remote,
    events: EventStream<Event>,
}

impl Stage {
    pub(super) fn new() -> Result<Self, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("siskin-demo-")
            .tempdir()
            .map_err(|error| Failure::io("no temporary directory", &error))?;
        let program = env::current_exe().map_err(|error| Failure::io("this program", &error))?;
        Ok(Self { directory, program, processes: BTreeMap::new() })
    }

    /// Starts a node and returns its address.
    pub(super) async fn start_node(
        &mut self,
        name: &str,
        join: Option<&str>,
    ) -> Result<String, Failure> {
        let path = self.path(name).display().to_string();
        let mut arguments = vec!["node", "--listen", "127.0.0.1:0", "--data-dir", &path];
        arguments.extend(join.iter().flat_map(|address| ["--join", *address]));
        let first = self.start(name, &arguments).await?;
        Ok(first.get("address").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Starts a person's daemon.
    pub(super) async fn start_daemon(&mut self, name: &'static str) -> Result<Person, Failure> {
        let path = self.path(name);
        self.start(name, &["up", "--dir", &path.display().to_string()]).await?;
        let socket = DataDir::new(Some(&path))?.socket();
        let failed = |error| Failure::io(socket.display(), &error);
        let events = Remote::connect(&socket).await.map_err(failed)?;
        let events = events.subscribe(&Subscribe::default()).await?;
        Ok(Person { name, remote: Remote::connect(&socket).await.map_err(failed)?, events })
    }

    /// Starts this program again and waits for its first line, which is JSON.
    async fn start(&mut self, name: &str, arguments: &[&str]) -> Result<Value, Failure> {
        let log = self.directory.path().join(format!("{name}.log"));
        let log = fs::OpenOptions::new().create(true).append(true).open(log);
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--json", "--exit-on-stdin-close"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(log.map_err(|error| Failure::io("a log", &error))?);
        for variable in ["SISKIN_DIR", "SISKIN_HOME", "SISKIN_NODE", "SISKIN_JOIN"] {
            command.env_remove(variable);
        }
        // Ctrl-C is for this process, which ends its children in order.
        command.process_group(0).kill_on_drop(true);
        let mut child =
            command.spawn().map_err(|error| Failure::io("a process can't be started", &error))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            let _ = timeout(START_MAX, BufReader::new(output).read_line(&mut line)).await;
        }
        self.processes.insert(name.to_owned(), child);
        serde_json::from_str(&line).map_err(|_| Failure::user(format!("{name} did not start")))
    }

    /// Kills a process without warning.
    pub(super) async fn kill(&mut self, name: &str) -> Result<(), Failure> {
        match self.processes.remove(name) {
            Some(mut child) => child.kill().await.map_err(|error| Failure::io(name, &error)),
            None => Ok(()),
        }
    }

    /// Ends all processes, the people first, and removes the directory.
    pub(super) async fn end(mut self) {
        for (_, mut child) in std::mem::take(&mut self.processes) {
            drop(child.stdin.take());
            if timeout(END_MAX, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
        let _ = self.directory.close();
    }

    /// Adds the last lines of the logs to a failure.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        let last = |name: &String| {
            let text = fs::read_to_string(self.path(&format!("{name}.log"))).ok()?;
            Some(format!("{name}: {}", safe(text.lines().next_back()?)))
        };
        let said: Vec<String> = self.processes.keys().filter_map(last).collect();
        if said.is_empty() || failure.hint.is_some() {
            failure
        } else {
            failure.hint(said.join("; "))
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }
}

impl Person {
    pub(super) async fn call<C: Call<Target = Engine>>(
        &mut self,
        call: C,
    ) -> Result<C::Returns, Failure> {
        self.remote.call(call).await
    }

    pub(super) async fn create_account(&mut self, node: String) -> Result<(), Failure> {
        let create =
            AccountCreate { name: self.name.to_owned(), nodes: vec![node], wait_s: WAIT_S };
        self.call(create).await.map(|_| ())
    }

    /// Sends a message and waits until it has come as far as `goal`. Returns its id.
    pub(super) async fn send(
        &mut self,
        to: &str,
        text: &str,
        reply_to: Option<String>,
        goal: DeliveryStatus,
    ) -> Result<String, Failure> {
        let (conversation, text) = (self.account_of(to).await?, Secret::new(text.to_owned()));
        let wait_s = if goal > DeliveryStatus::Sent { WAIT_S } else { 0 };
        let send = MessageSend { conversation, text, reply_to, force: false, wait_s };
        let sent = self.call(send).await?;
        let failed = || Failure::network("a message was not stored in time");
        sent.id.filter(|_| sent.status >= goal).ok_or_else(failed)
    }

    /// Returns the account of a contact.
    pub(super) async fn account_of(&mut self, name: &str) -> Result<String, Failure> {
        let contacts = self.call(ContactList {}).await?;
        let found = contacts.into_iter().find(|contact| contact.name == name);
        found.map(|contact| contact.account).ok_or_else(|| Failure::user("no such contact"))
    }

    /// Waits until a message arrives, and returns when it did.
    pub(super) async fn hears(&mut self, id: &str) -> Result<Instant, Failure> {
        loop {
            if let Event::Message { message, .. } = self.event().await?
                && message.id == id
            {
                return Ok(Instant::now());
            }
        }
    }

    pub(super) async fn messages(&mut self, with: &str) -> Result<Vec<Message>, Failure> {
        let conversation = self.account_of(with).await?;
        let list = MessageList { conversation, limit: PAGE, before: None };
        let messages = self.call(list).await?.into_iter().filter_map(|item| match item {
            Item::Message(message) => Some(message),
            Item::Gap { .. } => None,
        });
        Ok(messages.collect())
    }

    /// Waits until a message looks as it should to this person.
    pub(super) async fn until_message(
        &mut self,
        with: &str,
        id: &str,
        fits: impl Fn(&Message) -> bool,
    ) -> Result<(), Failure> {
        let fits = |message: &Message| message.id == id && fits(message);
        while !self.messages(with).await?.iter().any(fits) {
            self.event().await?;
        }
        Ok(())
    }

    /// Waits until the contact has a state.
    pub(super) async fn until_contact(&mut self, state: ContactState) -> Result<(), Failure> {
        while !self.call(ContactList {}).await?.iter().any(|contact| contact.state == state) {
            self.event().await?;
        }
        Ok(())
    }

    async fn event(&mut self) -> Result<Event, Failure> {
        let silent = |_| Failure::network(format!("nothing happened for {WAIT_S} s"));
        let event = timeout(Duration::from_secs(WAIT_S.into()), self.events.next()).await;
        event.map_err(silent)??.ok_or_else(|| Failure::user("a daemon has ended"))
    }
}

/// Seconds for a node to answer, and in which something has to happen.
pub(super) const WAIT_S: u32 = 15;
/// More messages than the conversation has.
const PAGE: u32 = 50;
const START_MAX: Duration = Duration::from_secs(20);
const END_MAX: Duration = Duration::from_secs(5);
