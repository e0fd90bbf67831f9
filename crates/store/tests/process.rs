//! What needs other processes: kill -9 while writing, two openers, a kill within a migration.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "a watchdog reads the other process's output")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "these are tests"
)]

mod subject;

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use proto::{Rows, Table, WriteBatch};
use store::{Layout, Migration, OpenError, Store};
use subject::{Engine, FjallDisk, LAYOUT, SqliteDisk};
use tempfile::TempDir;

#[test]
fn fjall_keeps_what_was_synced_when_killed() {
    keeps_what_was_synced::<FjallDisk>();
}

#[test]
fn sqlite_keeps_what_was_synced_when_killed() {
    keeps_what_was_synced::<SqliteDisk>();
}

#[test]
fn fjall_refuses_a_second_opener() {
    refuses_a_second_opener::<FjallDisk>();
}

#[test]
fn sqlite_refuses_a_second_opener() {
    refuses_a_second_opener::<SqliteDisk>();
}

#[test]
fn fjall_is_old_or_new_when_killed_within_a_migration() {
    is_old_or_new_when_killed_within_a_migration::<FjallDisk>();
}

#[test]
fn sqlite_is_old_or_new_when_killed_within_a_migration() {
    is_old_or_new_when_killed_within_a_migration::<SqliteDisk>();
}

#[test]
fn fjall_is_whole_when_killed_while_it_is_made() {
    is_whole_when_killed_while_it_is_made::<FjallDisk>();
}

#[test]
fn sqlite_is_whole_when_killed_while_it_is_made() {
    is_whole_when_killed_while_it_is_made::<SqliteDisk>();
}

/// Not a test of its own: what the other processes of these tests do.
#[test]
fn child() {
    let Some(role) = env::var_os("STORE_TEST_ROLE") else { return };
    let directory = PathBuf::from(env::var_os("STORE_TEST_DIRECTORY").unwrap());
    match role.to_str().unwrap() {
        "fjall write" => write_until_killed::<FjallDisk>(&directory),
        "sqlite write" => write_until_killed::<SqliteDisk>(&directory),
        "fjall migrate" => drop(FjallDisk::open(&directory, &HANGING)),
        "sqlite migrate" => drop(SqliteDisk::open(&directory, &HANGING)),
        role => panic!("{role}"),
    }
}

/// Writes numbered batches of two rows each, several to a sync, and says how far it has synced.
fn write_until_killed<E: Engine>(directory: &Path) {
    let mut store = E::open(directory, &LAYOUT).unwrap();
    let mut next = written(&store);
    say(&format!("synced {next}"));
    loop {
        for _ in 0..=next % 4 {
            store.apply(&numbered(next)).unwrap();
            next += 1;
        }
        store.sync().unwrap();
        say(&format!("synced {next}"));
    }
}

fn keeps_what_was_synced<E: Engine>() {
    let directory = tempfile::tempdir().unwrap();
    let (mut synced, mut seed) = (0, 7);
    for round in 0..ROUNDS {
        let writer = Process::start::<E>("write", &directory);
        let opened = writer.synced();
        assert!(opened >= synced, "round {round}: {opened} of {synced} batches left");
        seed = (seed * 69_069 + 1) % 600;
        while synced < opened + seed {
            synced = writer.synced();
        }
        synced = writer.kill().iter().map(|line| number(line)).max().unwrap_or(synced);
    }
    let store = E::open(directory.path(), &LAYOUT).unwrap();
    let written = written(&store);
    assert!(written >= synced, "{written} of {synced} batches left");
    for n in 0..written + 8 {
        let expected = (n < written).then(|| value(n));
        assert!(store.get(Table(1), &n.to_be_bytes()) == expected, "batch {n} of {written}");
        assert!(store.get(Table(2), &n.to_be_bytes()) == expected, "half of batch {n}");
    }
    assert_eq!(store.fault(), None);
}

fn refuses_a_second_opener<E: Engine>() {
    let directory = tempfile::tempdir().unwrap();
    let holder = Process::start::<E>("write", &directory);
    holder.synced();
    let refusal = E::open(directory.path(), &LAYOUT).err().unwrap();
    assert!(matches!(refusal, OpenError::InUse { .. }), "{refusal}");
    assert!(refusal.to_string().contains("is in use by another process"), "{refusal}");
    holder.kill();
    let store = E::open(directory.path(), &LAYOUT).unwrap();
    let refusal = E::open(directory.path(), &LAYOUT).err().unwrap();
    assert!(matches!(refusal, OpenError::InUse { .. }), "{refusal}");
    drop(store);
    E::open(directory.path(), &LAYOUT).unwrap();
}

fn is_old_or_new_when_killed_within_a_migration<E: Engine>() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = E::open(directory.path(), &LAYOUT).unwrap();
    store.apply(&numbered(0)).unwrap();
    store.sync().unwrap();
    drop(store);
    let migration = Process::start::<E>("migrate", &directory);
    assert_eq!(migration.line(), "migrating");
    migration.kill();

    let two = Layout { version: 2, migrations: &[FIRST], ..LAYOUT };
    let store = E::open(directory.path(), &two).unwrap();
    assert_eq!(
        store.get(Table(9), b"steps").as_deref(),
        Some(&b"1"[..]),
        "the first step is whole"
    );
    assert!(store.get(Table(1), &[0; 8]).is_some());
    drop(store);
    let three = Layout { version: 3, migrations: &[FIRST, SECOND], ..LAYOUT };
    for _ in 0..2 {
        let store = E::open(directory.path(), &three).unwrap();
        assert_eq!(store.get(Table(9), b"steps").as_deref(), Some(&b"12"[..]), "once each");
    }
}

/// Kills the first opener at some moment; whatever it left must open.
fn is_whole_when_killed_while_it_is_made<E: Engine>() {
    for pause_us in [0, 2_000, 4_000, 6_000, 8_000, 10_000, 15_000, 20_000] {
        let directory = tempfile::tempdir().unwrap();
        let writer = Process::start::<E>("write", &directory);
        writer.wait(Duration::from_micros(pause_us));
        writer.kill();
        let mut store = E::open(directory.path(), &LAYOUT).unwrap();
        store.apply(&numbered(written(&store))).unwrap();
        store.sync().unwrap();
    }
}

/// This test binary in another role. Whatever it waits for has a deadline.
struct Process {
    child: Child,
    lines: Receiver<String>,
    _stdin: ChildStdin,
}

impl Process {
    fn start<E: Engine>(role: &str, directory: &TempDir) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env("STORE_TEST_ROLE", format!("{} {role}", E::NAME))
            .env("STORE_TEST_DIRECTORY", directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The test harness speaks too.
                if let Some((_, line)) = line.split_once("> ") {
                    drop(sender.send(line.to_owned()));
                }
            }
        });
        Self { child, lines, _stdin: stdin }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(WATCHDOG).expect("the other process makes no progress")
    }

    fn synced(&self) -> u64 {
        number(&self.line())
    }

    /// Waits for so long, or until it says something.
    fn wait(&self, time: Duration) {
        drop(self.lines.recv_timeout(time));
    }

    /// Kills it with no chance to tidy up, and returns what it had said.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "> {line}").unwrap();
    out.flush().unwrap();
}

fn number(line: &str) -> u64 {
    line.strip_prefix("synced ").unwrap().parse().unwrap()
}

fn numbered(n: u64) -> WriteBatch {
    let mut batch = WriteBatch::default();
    batch.put(Table(1), n.to_be_bytes(), value(n));
    batch.put(Table(2), n.to_be_bytes(), value(n));
    batch
}

/// Mostly small, with enough large ones to make background writes.
fn value(n: u64) -> Vec<u8> {
    let size = if n.is_multiple_of(4) { 60_000 } else { 500 };
    vec![n as u8; size]
}

/// How many batches there are from the first on.
fn written(rows: &impl Rows) -> u64 {
    (0..).find(|n: &u64| rows.get(Table(1), &n.to_be_bytes()).is_none()).unwrap()
}

fn count(rows: &dyn Rows, step: u8) -> WriteBatch {
    let mut steps = rows.get(Table(9), b"steps").unwrap_or_default();
    steps.push(step);
    let mut batch = WriteBatch::default();
    batch.put(Table(9), *b"steps", steps);
    batch
}

fn hang(rows: &dyn Rows) -> WriteBatch {
    say("migrating");
    let mut end = Vec::new();
    std::io::stdin().read_to_end(&mut end).unwrap();
    count(rows, b'2')
}

const FIRST: Migration = Migration { from: 1, run: |rows| count(rows, b'1') };
const SECOND: Migration = Migration { from: 2, run: |rows| count(rows, b'2') };
const HANGING: Layout =
    Layout { version: 3, migrations: &[FIRST, Migration { from: 2, run: hang }], ..LAYOUT };
const ROUNDS: u32 = 8;
const WATCHDOG: Duration = Duration::from_secs(60);
