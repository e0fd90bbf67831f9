//! Disks that refuse: one that is full, and one whose sync fails.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "these are tests"
)]
#![allow(clippy::print_stderr, reason = "a test that can't run here says so")]

mod subject;

use std::{env, fs, path::Path, process::Command};

use proto::{Rows, Table, WriteBatch};
use store::{Store, StoreError};
use subject::{Engine, FjallDisk, LAYOUT, SqliteDisk};
use tempfile::TempDir;

#[test]
fn fjall_on_a_full_disk_keeps_what_was_synced() {
    // In the journal, in the first background writes, and in later ones.
    for size in ["24m", "48m", "80m", "120m"] {
        keeps_what_was_synced_on_a_full_disk::<FjallDisk>(size);
    }
}

#[test]
fn sqlite_on_a_full_disk_keeps_what_was_synced() {
    keeps_what_was_synced_on_a_full_disk::<SqliteDisk>("12m");
}

#[test]
fn fjall_stops_permanently_when_a_sync_fails() {
    stops_permanently_when_a_sync_fails::<FjallDisk>();
}

#[test]
fn sqlite_stops_permanently_when_a_sync_fails() {
    stops_permanently_when_a_sync_fails::<SqliteDisk>();
}

/// Not a test of its own: the process whose syncs fail once a certain file exists.
#[test]
fn child() {
    let Some(directory) = env::var_os("STORE_TEST_DIRECTORY") else { return };
    let engine = env::var_os("STORE_TEST_ENGINE").unwrap();
    if engine == FjallDisk::NAME {
        sync_that_fails::<FjallDisk>(Path::new(&directory));
    } else {
        sync_that_fails::<SqliteDisk>(Path::new(&directory));
    }
}

fn keeps_what_was_synced_on_a_full_disk<E: Engine>(size: &str) {
    let Some(disk) = SmallDisk::mount(size) else {
        eprintln!("skipped: mounting takes root");
        return;
    };
    let mut store = E::open(disk.path(), &LAYOUT).unwrap();
    let mut synced = 0;
    let error = loop {
        assert!(synced < 100_000, "the disk never fills");
        let applied = (0..4).try_for_each(|i| store.apply(&numbered(synced + i)));
        match applied.and_then(|()| store.sync()) {
            Ok(()) => synced += 4,
            Err(error) => break error,
        }
    };
    assert!(synced > 100, "only {synced} batches fit");
    assert!(matches!(error, StoreError::Full(_) | StoreError::Io(_)), "{error}");
    assert_eq!(store.fault(), Some(error.clone()));
    assert_eq!(store.apply(&numbered(0)), Err(error.clone()));
    assert_eq!(store.sync(), Err(error));
    drop(store);

    disk.grow();
    let mut store = E::open(disk.path(), &LAYOUT).unwrap();
    for n in 0..synced {
        assert!(store.get(Table(1), &n.to_be_bytes()) == Some(value(n)), "{n} of {synced}");
    }
    for n in synced..synced + 8 {
        let halves = [1, 2].map(|table| store.get(Table(table), &n.to_be_bytes()).is_some());
        assert_eq!(halves[0], halves[1], "half of batch {n}");
    }
    store.apply(&numbered(synced)).unwrap();
    store.sync().unwrap();
}

fn stops_permanently_when_a_sync_fails<E: Engine>() {
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join("shim.so");
    let source = directory.path().join("shim.c");
    fs::write(&source, SHIM).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(compiled.success());
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env("LD_PRELOAD", &library)
        .env("STORE_TEST_FAIL", directory.path().join("fail"))
        .env("STORE_TEST_ENGINE", E::NAME)
        .env("STORE_TEST_DIRECTORY", directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let store = E::open(directory.path(), &LAYOUT).unwrap();
    assert!(store.get(Table(1), &0u64.to_be_bytes()).is_some(), "synced before the failure");
}

fn sync_that_fails<E: Engine>(directory: &Path) {
    let mut store = E::open(directory, &LAYOUT).unwrap();
    store.apply(&numbered(0)).unwrap();
    store.sync().unwrap();

    let fail = directory.join("fail");
    fs::write(&fail, b"").unwrap();
    store.apply(&numbered(1)).unwrap();
    let error = store.sync().unwrap_err();
    assert!(matches!(error, StoreError::Io(_)), "{error}");

    fs::remove_file(&fail).unwrap();
    assert_eq!(store.sync(), Err(error.clone()), "a second sync would lie");
    assert_eq!(store.apply(&numbered(2)), Err(error.clone()));
    assert_eq!(store.fault(), Some(error));
}

/// A file system of its own in memory.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "store-test"]).arg(directory.path());
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn grow(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,size=400m"]).arg(self.path());
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that it also goes while a failed test still has files open.
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}

fn numbered(n: u64) -> WriteBatch {
    let mut batch = WriteBatch::default();
    batch.put(Table(1), n.to_be_bytes(), value(n));
    batch.put(Table(2), n.to_be_bytes(), value(n));
    batch
}

fn value(n: u64) -> Vec<u8> {
    vec![n as u8; 3000]
}

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int failing(void) {
    const char *path = getenv("STORE_TEST_FAIL");
    return path && access(path, F_OK) == 0;
}

int fsync(int fd) {
    if (failing()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
    if (failing()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"#;
