//! The processes of the demo and the directory they live in. All of it is gone when the stage is.

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
    sync::mpsc,
    time::timeout,
};

use super::script::Who;
use crate::{
    api::Remote,
    failure::Failure,
    output::safe,
    paths::DataDir,
    rpc::{Event, Session, Subscribe},
};

pub(super) struct Stage {
    directory: TempDir,
    program: PathBuf,
    nodes: BTreeMap<Who, (Process, String)>,
    daemons: BTreeMap<Who, Process>,
    remotes: BTreeMap<Who, Remote>,
    /// What the daemons tell, with the time at which it was heard here.
    told: mpsc::Sender<Told>,
    pub(super) events: mpsc::Receiver<Told>,
}

/// An event, and when it was heard of.
pub(super) struct Told {
    pub(super) at: Instant,
    pub(super) event: Event,
}

/// A child. It ends when its standard input does, so that it can't outlive this process.
struct Process {
    child: Child,
}

impl Stage {
    pub(super) fn new() -> Result<Self, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("siskin-demo-")
            .tempdir()
            .map_err(|error| Failure::io("no temporary directory", &error))?;
        let program = env::current_exe().map_err(|error| Failure::io("this program", &error))?;
        let (told, events) = mpsc::channel(EVENTS_MAX);
        Ok(Self {
            directory,
            program,
            nodes: BTreeMap::new(),
            daemons: BTreeMap::new(),
            remotes: BTreeMap::new(),
            told,
            events,
        })
    }

    /// Starts a person's home node; returns its address.
    pub(super) async fn start_node(&mut self, who: Who) -> Result<String, Failure> {
        let directory = self.directory.path().join(format!("node-{}", who.name()));
        let mut command = self.command(&format!("node-{}", who.name()))?;
        command.args([
            "node",
            "--json",
            "--exit-on-stdin-close",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
        ]);
        command.arg(directory);
        if let Some((_, first)) = self.nodes.values().next() {
            command.args(["--join", first]);
        }
        let (process, first) = Process::start(command).await?;
        let address = first.get("address").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.nodes.insert(who, (process, address.clone()));
        Ok(address)
    }

    /// Starts a person's daemon and listens to what it tells.
    pub(super) async fn start_daemon(&mut self, who: Who) -> Result<(), Failure> {
        let mut command = self.command(who.name())?;
        command.args(["up", "--json", "--exit-on-stdin-close"]).env("SISKIN_HOME", self.home(who));
        let (process, _) = Process::start(command).await?;
        self.daemons.insert(who, process);
        let socket = DataDir::new(Some(&self.home(who)))?.socket();
        let connect = || async {
            let connected = Remote::connect(&socket).await;
            connected.map_err(|error| Failure::io(socket.display(), &error))
        };
        self.remotes.insert(who, connect().await?);
        let session = Session::Daemon(connect().await?);
        let mut stream = session.subscribe(Subscribe::default()).await?;
        let told = self.told.clone();
        tokio::spawn(async move {
            while let Ok(Some(event)) = stream.next().await {
                if told.send(Told { at: Instant::now(), event }).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Kills a person's daemon, without warning.
    pub(super) async fn kill_daemon(&mut self, who: Who) -> Result<(), Failure> {
        self.remotes.remove(&who);
        match self.daemons.remove(&who) {
            Some(mut process) => {
                process.child.kill().await.map_err(|error| Failure::io("a daemon", &error))
            }
            None => Ok(()),
        }
    }

    pub(super) fn remote(&mut self, who: Who) -> Result<&mut Remote, Failure> {
        let offline = || Failure::user(format!("{} is offline", who.name()));
        self.remotes.get_mut(&who).ok_or_else(offline)
    }

    pub(super) fn node(&self, who: Who) -> String {
        self.nodes.get(&who).map(|(_, address)| address.clone()).unwrap_or_default()
    }

    pub(super) fn home(&self, who: Who) -> PathBuf {
        self.directory.path().join(who.name())
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Adds what the processes said last to a failure.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        let mut said = Vec::new();
        for entry in fs::read_dir(self.directory.path()).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let last = text.lines().next_back().map(safe);
                let name = entry.file_name();
                said.extend(last.map(|last| format!("{}: {last}", name.display())));
            }
        }
        if said.is_empty() || failure.hint.is_some() {
            failure
        } else {
            failure.hint(said.join("; "))
        }
    }

    /// Ends all processes, the people first, and removes the directory.
    pub(super) async fn end(self) {
        let Self { directory, nodes, daemons, remotes, .. } = self;
        drop(remotes);
        for process in daemons.into_values().chain(nodes.into_values().map(|(node, _)| node)) {
            process.end().await;
        }
        let _ = directory.close();
    }

    /// This program again, with a log of its own.
    fn command(&self, name: &str) -> Result<Command, Failure> {
        let log = self.directory.path().join(format!("{name}.log"));
        let log = fs::OpenOptions::new().create(true).append(true).open(&log);
        let log = log.map_err(|error| Failure::io("a log", &error))?;
        let mut command = Command::new(&self.program);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .env_remove("SISKIN_HOME")
            .env_remove("SISKIN_NODE")
            .env_remove("SISKIN_JOIN")
            // Ctrl-C is for this process, which ends its children in order.
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }
}

impl Process {
    /// Starts a program and waits for its first line, which is JSON.
    async fn start(mut command: Command) -> Result<(Self, Value), Failure> {
        let mut child =
            command.spawn().map_err(|error| Failure::io("a process can't be started", &error))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            let mut output = BufReader::new(output);
            let _ = timeout(START_MAX, output.read_line(&mut line)).await;
            // What else it says nobody reads, but it must not block on it.
            tokio::spawn(async move { tokio::io::copy(&mut output, &mut tokio::io::sink()).await });
        }
        let first = serde_json::from_str(&line);
        let first = first.map_err(|_| Failure::user("a process of the demo did not start"))?;
        Ok((Self { child }, first))
    }

    async fn end(mut self) {
        drop(self.child.stdin.take());
        if timeout(END_MAX, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

const START_MAX: Duration = Duration::from_secs(20);
const END_MAX: Duration = Duration::from_secs(5);
const EVENTS_MAX: usize = 1024;
