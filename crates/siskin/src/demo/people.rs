//! The processes of the demo, and the directory in which they live.

use std::{
    collections::BTreeMap,
    env,
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
    paths::DataDir,
    rpc::{
        AccountCreate, ContactAccept, ContactAdd, ContactInvite, ContactList, ContactState,
        DeliveryStatus, Event, Item, Message, MessageList, MessageRead, MessageSend, Secret,
        StatusShow, Subscribe,
    },
};

/// All processes by name. They are gone with this value, and so is the directory.
pub(super) struct Processes {
    running: BTreeMap<String, Child>,
    directory: TempDir,
    program: PathBuf,
}

impl Processes {
    pub(super) fn new() -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("siskin-demo-").tempdir();
        let directory = directory.map_err(|error| Failure::io("no temporary directory", &error))?;
        let program = env::current_exe().map_err(|error| Failure::io("this program", &error))?;
        Ok(Self { running: BTreeMap::new(), directory, program })
    }

    /// Starts a node and returns its address.
    pub(super) async fn node(&mut self, name: &str, join: Option<&str>) -> Result<String, Failure> {
        let path = self.path(name).display().to_string();
        let mut arguments = vec!["node", "--listen", "127.0.0.1:0", "--data-dir", &path];
        arguments.extend(join.iter().flat_map(|address| ["--join", *address]));
        let first = self.start(name, &arguments).await?;
        Ok(first.get("address").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Starts a person's daemon.
    pub(super) async fn daemon(&mut self, name: &'static str) -> Result<Person, Failure> {
        let path = self.path(name);
        self.start(name, &["up", "--dir", &path.display().to_string()]).await?;
        let socket = DataDir::new(Some(&path))?.socket();
        let failed = |error| Failure::io(socket.display(), &error);
        let events = Remote::connect(&socket).await.map_err(failed)?;
        let events = events.subscribe(&Subscribe::default()).await?;
        let mut remote = Remote::connect(&socket).await.map_err(failed)?;
        let account = remote.call(StatusShow {}).await?.account.unwrap_or_default();
        Ok(Person { name, account, remote, events })
    }

    /// Starts this program again and waits for its first line, which is JSON. Its errors go to
    /// standard error.
    async fn start(&mut self, name: &str, arguments: &[&str]) -> Result<Value, Failure> {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--json", "--exit-on-stdin-close"]).env("RUST_LOG", "error");
        for variable in ["SISKIN_DIR", "SISKIN_HOME", "SISKIN_NODE", "SISKIN_JOIN"] {
            command.env_remove(variable);
        }
        // Ctrl-C is for this process, which ends its children.
        command.process_group(0).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn();
        let mut child = child.map_err(|error| Failure::io("can't start a process", &error))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            let _ = timeout(WAIT, BufReader::new(output).read_line(&mut line)).await;
        }
        self.running.insert(name.to_owned(), child);
        serde_json::from_str(&line).map_err(|_| Failure::user(format!("{name} did not start")))
    }

    /// Kills a process without warning.
    pub(super) async fn kill(&mut self, name: &str) -> Result<(), Failure> {
        let Some(mut child) = self.running.remove(name) else { return Ok(()) };
        child.kill().await.map_err(|error| Failure::io(name, &error))
    }

    /// Ends all processes and removes the directory; nothing in it is needed any more.
    pub(super) async fn end(mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill().await;
        }
        let _ = self.directory.close();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }
}

/// A daemon, and connections to it for requests and for events.
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) account: String,
    remote: Remote,
    events: EventStream<Event>,
}

impl Person {
    pub(super) async fn create_account(&mut self, node: String) -> Result<(), Failure> {
        let (name, nodes) = (self.name.to_owned(), vec![node]);
        let create = AccountCreate { name, nodes, wait_s: WAIT_S };
        self.account = self.remote.call(create).await?.account;
        Ok(())
    }

    /// Returns an invite link.
    pub(super) async fn invite(&mut self) -> Result<String, Failure> {
        let invite = ContactInvite { uses: 1, valid_s: 3600, wait_s: WAIT_S };
        Ok(self.remote.call(invite).await?.link)
    }

    pub(super) async fn add_contact(&mut self, name: &str, link: String) -> Result<(), Failure> {
        let add = ContactAdd { link, name: name.to_owned(), wait_s: WAIT_S };
        self.remote.call(add).await.map(drop)
    }

    pub(super) async fn accept(&mut self, contact: &str) -> Result<(), Failure> {
        let accept = ContactAccept { contact: contact.to_owned(), wait_s: WAIT_S };
        self.remote.call(accept).await.map(drop)
    }

    /// Sends a message and waits until it has come as far as `goal`. Returns its id.
    pub(super) async fn send(
        &mut self,
        to: &str,
        text: &str,
        reply_to: Option<String>,
        goal: DeliveryStatus,
    ) -> Result<String, Failure> {
        let (conversation, text) = (to.to_owned(), Secret::new(text.to_owned()));
        let wait_s = if goal > DeliveryStatus::Sent { WAIT_S } else { 0 };
        let send = MessageSend { conversation, text, reply_to, force: false, wait_s };
        let sent = self.remote.call(send).await?;
        let failed = || Failure::network("a message was not stored in time");
        sent.id.filter(|_| sent.status >= goal).ok_or_else(failed)
    }

    /// Marks all messages as read.
    pub(super) async fn read(&mut self, with: &str) -> Result<(), Failure> {
        let read = MessageRead { conversation: with.to_owned(), wait_s: WAIT_S };
        self.remote.call(read).await.map(drop)
    }

    /// Bytes of IP packets so far: sent, received. Headers of UDP and IPv4 take 28 bytes each.
    pub(super) async fn traffic(&mut self) -> Result<(u64, u64), Failure> {
        let traffic = self.remote.call(StatusShow {}).await?.traffic;
        let bytes = |udp: u64, datagrams: u64| udp.saturating_add(datagrams.saturating_mul(28));
        let sent = bytes(traffic.udp_bytes_out, traffic.udp_datagrams_out);
        Ok((sent, bytes(traffic.udp_bytes_in, traffic.udp_datagrams_in)))
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

    /// Waits until the contact has a state.
    pub(super) async fn until_contact(&mut self, state: ContactState) -> Result<(), Failure> {
        self.until(|| ContactList {}, |all| all.iter().any(|contact| contact.state == state)).await
    }

    /// Waits until a message was read.
    pub(super) async fn until_read(&mut self, with: &str, id: &str) -> Result<(), Failure> {
        let is_read = |m: &Message| m.id == id && m.status == Some(DeliveryStatus::Read);
        self.until(|| page(with), |items| messages(items).any(is_read)).await
    }

    /// Waits until there are these messages, in this order and no others.
    pub(super) async fn until_all(&mut self, with: &str, ids: &[String]) -> Result<(), Failure> {
        self.until(|| page(with), |items| messages(items).map(|m| &m.id).eq(ids)).await
    }

    /// Calls again after each event, until the answer fits.
    async fn until<C: Call<Target = Engine>>(
        &mut self,
        call: impl Fn() -> C,
        fits: impl Fn(&C::Returns) -> bool,
    ) -> Result<(), Failure> {
        while !fits(&self.remote.call(call()).await?) {
            self.event().await?;
        }
        Ok(())
    }

    async fn event(&mut self) -> Result<Event, Failure> {
        let silent = |_| Failure::network(format!("nothing happened for {WAIT_S} s"));
        let event = timeout(WAIT, self.events.next()).await.map_err(silent)?;
        event?.ok_or_else(|| Failure::user("a daemon has ended"))
    }
}

/// More messages than the conversation has.
fn page(with: &str) -> MessageList {
    MessageList { conversation: with.to_owned(), limit: 50, before: None }
}

fn messages(items: &[Item]) -> impl Iterator<Item = &Message> {
    items.iter().filter_map(|item| match item {
        Item::Message(message) => Some(message),
        Item::Gap { .. } => None,
    })
}

/// Seconds for a node to answer, and in which something has to happen.
const WAIT_S: u32 = 15;
const WAIT: Duration = Duration::from_secs(15);
