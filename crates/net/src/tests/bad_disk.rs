//! What leaves, and when, with a disk that is slow or broken.

use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use proto::{AccountId, Body, Direction, Rows, Table, Visit, WriteBatch};
use store::{Memory, Store, StoreError};

use super::harness::*;
use crate::DriverError;

/// A store whose disk does what a test says.
#[derive(Clone, Default)]
struct Disk(Arc<Knobs>, Memory);

#[derive(Default)]
struct Knobs {
    closed: Mutex<bool>,
    opens: Condvar,
    in_sync: AtomicBool,
    sync_fails: AtomicBool,
    apply_fails: AtomicBool,
    read_fails: AtomicBool,
}

impl Knobs {
    fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opens.notify_all();
    }
}

impl Store for Disk {
    fn apply(&mut self, batch: &WriteBatch) -> Result<(), StoreError> {
        failure(&self.0.apply_fails).map_or(Ok(()), Err)?;
        self.1.apply(batch)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.0.in_sync.store(true, SeqCst);
        let closed = self.0.closed.lock().unwrap();
        drop(self.0.opens.wait_while(closed, |closed| *closed).unwrap());
        self.0.in_sync.store(false, SeqCst);
        failure(&self.0.sync_fails).map_or(Ok(()), Err)?;
        self.1.sync()
    }

    fn fault(&self) -> Option<StoreError> {
        failure(&self.0.read_fails)
    }

    fn disk_bytes(&self) -> u64 {
        self.1.disk_bytes()
    }

    fn as_rows(&self) -> &dyn Rows {
        self
    }

    fn snapshot(&self) -> Option<Box<dyn store::Snapshot>> {
        None
    }
}

impl Rows for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.1.get(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        self.1.scan(table, from, to, direction, visit);
    }
}

fn failure(knob: &AtomicBool) -> Option<StoreError> {
    knob.load(SeqCst).then(broken)
}

fn broken() -> StoreError {
    StoreError::Io("on purpose".into())
}

async fn pair() -> (Side, Side, Arc<Knobs>) {
    let disk = Disk::default();
    let knobs = Arc::clone(&disk.0);
    let mut node = start(node(1, 0), disk).await;
    let mut device = start(device(2), Memory::new()).await;
    device.connect(&mut node).await;
    (node, device, knobs)
}

#[tokio::test]
async fn nothing_that_follows_a_commit_leaves_before_the_sync() {
    let (mut node, mut device, knobs) = pair().await;
    knobs.close();
    device.say(node.key, 1, Body::GetBundle(AccountId([3; 32]))).await;
    device.say(node.key, 2, append(300)).await;
    assert_eq!(device.frame().await.request, 1, "what precedes the commit does not wait");
    until(|| knobs.in_sync.load(SeqCst)).await;

    for request in 3..=102 {
        device.say(node.key, request, append(300)).await;
    }
    until(|| node.running.counters().frames_in == 102).await;
    let held = node.running.counters();
    assert_eq!((held.frames_out, held.commits, held.syncs), (1, 1, 0));
    while let Some(told) = node.events.try_recv() {
        assert!(!matches!(told, Told::Frame(frame) if frame.request > 1), "an event left early");
    }

    knobs.open();
    for request in 2..=102 {
        assert_eq!(device.frame().await.request, request);
    }
    let free = node.running.counters();
    assert_eq!((free.commits, free.syncs), (101, 2), "a hundred appends share one sync");
    assert!(free.inputs_synced >= 101);
    assert_eq!(node.running.read(count).await, Ok(101));
}

#[tokio::test]
async fn a_failed_sync_stops_everything() {
    let (node, device, knobs) = pair().await;
    knobs.close();
    knobs.sync_fails.store(true, SeqCst);
    device.say(node.key, 1, append(300)).await;
    until(|| knobs.in_sync.load(SeqCst)).await;
    device.say(node.key, 2, Body::GetBundle(AccountId([3; 32]))).await;
    knobs.open();
    stops(node, device).await;
}

#[tokio::test]
async fn a_failed_apply_stops_everything() {
    let (node, device, knobs) = pair().await;
    knobs.apply_fails.store(true, SeqCst);
    device.say(node.key, 1, append(300)).await;
    stops(node, device).await;
}

#[tokio::test]
async fn a_failed_read_stops_everything() {
    let (node, device, knobs) = pair().await;
    knobs.read_fails.store(true, SeqCst);
    device.say(node.key, 1, Body::GetBundle(AccountId([3; 32]))).await;
    stops(node, device).await;
}

/// The node stops and says why; the device hears nothing but the end.
async fn stops(mut node: Side, mut device: Side) {
    assert_eq!(within(node.running.stopped()).await, DriverError::Store(broken()));
    assert_eq!(node.running.counters().frames_out, 0);
    assert!(matches!(device.told().await, Told::Disconnected(_)));
    while within(node.events.recv()).await.is_some() {}
    assert_eq!(node.running.read(count).await, Err(DriverError::Stopped));
    assert_eq!(node.shutdown().await, Err(DriverError::Store(broken())));
}

#[tokio::test]
async fn a_machine_that_is_behind_reads_no_more() {
    let (node, device, knobs) = pair().await;
    knobs.close();
    let frames: u32 = 2_000;
    let sender = {
        let commands = device.running.commands();
        tokio::spawn(async move {
            for request in 1..=frames {
                let frame = proto::Frame { request, body: append(60_000) };
                commands.send(Tell::Say(node.key, frame)).await.unwrap();
                // As a machine with a window would: what is queued stays below the limit.
                if request % 200 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    };
    until(|| device.running.counters().dropped_frames > 0).await;
    let taken = node.running.counters().bytes_in;
    assert!(taken < 1 << 20, "{taken} bytes were read for a machine that stands still");
    knobs.open();
    within(sender).await.unwrap();
}
