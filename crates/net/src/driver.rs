//! Starting a driver, and what the application holds of it while it runs.

use std::{
    fmt, io,
    marker::PhantomData,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use proto::{Machine, Rows, Seed};
use store::{Snapshot, Store};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use crate::{
    Counters, Events, Settings,
    endpoint::Endpoints,
    engine::{Engine, Inbox, Question, Tasks},
    error::{DriverError, StartError},
    events::EventQueue,
    registry::Registry,
    spawner::Spawner,
};

/// Runs machines of one kind.
pub struct Driver<M>(PhantomData<fn() -> M>);

impl<M> Driver<M>
where
    M: Machine + 'static,
    M::Config: Send,
    M::Command: Send,
    M::Event: Send,
{
    /// Opens the machine from the rows in `store` and runs it on a thread of its own, with its
    /// tasks on the caller's tokio runtime.
    pub async fn start<S: Store + 'static>(
        settings: Settings,
        config: M::Config,
        store: S,
    ) -> Result<Running<M>, StartError> {
        let endpoints = Endpoints::bind(&settings)?;
        let registry = Arc::new(Registry::new(settings));
        let spawner = Arc::new(Spawner::new(Arc::clone(&registry), endpoints));
        let mut seed = Seed([0; 32]);
        getrandom::fill(&mut seed.0).map_err(|error| StartError::System(error.into()))?;
        let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
        let (questions, questions_in) = mpsc::channel(QUESTIONS_MAX);
        let (queue, events) = EventQueue::open();
        let stop = Arc::new(AtomicBool::new(false));
        let inbox = Inbox::new(commands_in, questions_in, Arc::clone(&stop));
        let (opened, is_open) = oneshot::channel();
        let (ended, is_ended) = watch::channel(None);
        let engine = {
            let (registry, spawner) = (Arc::clone(&registry), Arc::clone(&spawner));
            move || {
                registry.set_machine(thread::current());
                queue.set_machine(thread::current());
                let tasks = Tasks::new(registry, spawner);
                let open = || Engine::<M, S>::open(config, seed, store, tasks, inbox, &queue);
                let run = || match open() {
                    Ok(engine) => {
                        let _ = opened.send(Ok(()));
                        engine.run().map_err(DriverError::Store)
                    }
                    Err(error) => {
                        let _ = opened.send(Err(error));
                        Ok(())
                    }
                };
                let end = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(DriverError::Panicked));
                ended.send_replace(Some(end));
                queue.close();
            }
        };
        thread::Builder::new().name("machine".into()).spawn(engine).map_err(StartError::System)?;
        match is_open.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(StartError::Open(error)),
            Err(_) => return Err(StartError::System(io::Error::other("the machine panicked"))),
        }
        spawner.accept();
        let (closed, is_closed) = watch::channel(false);
        tokio::spawn(wind_up(
            Arc::clone(&registry),
            Arc::clone(&spawner),
            is_ended.clone(),
            closed,
        ));
        let stop = Stop { flag: stop, registry: Arc::clone(&registry) };
        let reader = Reader { questions };
        let events = Some(events);
        Ok(Running { commands, events, reader, registry, spawner, is_ended, is_closed, stop })
    }
}

impl<M> fmt::Debug for Driver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver")
    }
}

/// A machine at work. Dropping this ends it as [`shutdown`](Self::shutdown) does, without waiting.
pub struct Running<M: Machine> {
    commands: mpsc::Sender<M::Command>,
    events: Option<Events<M::Event>>,
    reader: Reader,
    registry: Arc<Registry>,
    spawner: Arc<Spawner>,
    is_ended: watch::Receiver<Option<Result<(), DriverError>>>,
    is_closed: watch::Receiver<bool>,
    stop: Stop,
}

impl<M: Machine> Running<M> {
    /// Returns where to send commands; cheap to clone. Sending waits while the queue is full, and
    /// fails once the driver has stopped.
    pub fn commands(&self) -> mpsc::Sender<M::Command> {
        self.commands.clone()
    }

    /// Takes the machine's events; `None` the second time. Read or drop them unless the machine has
    /// none: while thousands wait it takes no frames from its peers.
    pub fn take_events(&mut self) -> Option<Events<M::Event>> {
        self.events.take()
    }

    /// Runs `read` on the machine's thread, between two batches of inputs: it sees durable rows.
    /// Keep it short, for the machine waits.
    pub async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Rows) -> R + Send + 'static,
    ) -> Result<R, DriverError> {
        self.reader.read(read).await
    }

    /// Returns a handle to read rows that can be cloned and outlives `self`.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Returns the listening addresses, with the ports that the system chose.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.spawner.addresses()
    }

    /// Returns the counters so far.
    pub fn counters(&self) -> Counters {
        self.registry.counters()
    }

    /// Returns a handle to read the counters that can be cloned and outlives `self`.
    pub fn meter(&self) -> Meter {
        Meter(Arc::downgrade(&self.registry))
    }

    /// Dials every peer that should be connected and is not, at once. Call this when the network
    /// has changed.
    pub fn dial_now(&self) {
        self.spawner.dial_now();
    }

    /// Resolves when the driver has stopped by itself, with the reason.
    pub async fn stopped(&self) -> DriverError {
        let mut ended = self.is_ended.clone();
        let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        end.and_then(Result::err).unwrap_or(DriverError::Stopped)
    }

    /// Handles what waits, makes it durable, transmits, says goodbye to every peer and closes.
    /// Takes two or three seconds if a peer does not answer.
    pub async fn shutdown(mut self) -> Result<(), DriverError> {
        self.stop.now();
        let end = match self.is_ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(Err(DriverError::Stopped)),
            Err(_) => Err(DriverError::Panicked),
        };
        let _ = self.is_closed.wait_for(|closed| *closed).await;
        end
    }
}

impl<M: Machine> fmt::Debug for Running<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

/// Reads what a driver counts while it runs.
#[derive(Clone, Debug)]
pub struct Meter(Weak<Registry>);

impl Meter {
    /// Returns the counters so far; `None` once the driver is gone.
    pub fn read(&self) -> Option<Counters> {
        Some(self.0.upgrade()?.counters())
    }
}

/// Reads a machine's rows while it runs.
#[derive(Clone)]
pub struct Reader {
    questions: mpsc::Sender<Question>,
}

impl Reader {
    /// Reads rows as [`Running::read`] does.
    pub async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Rows) -> R + Send + 'static,
    ) -> Result<R, DriverError> {
        self.ask(|store| read(store.as_rows())).await
    }

    /// Returns the durable rows of one instant, to be read later and elsewhere; `None` if the store
    /// has none.
    pub async fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>, DriverError> {
        self.ask(|store| store.snapshot()).await
    }

    async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Store) -> R + Send + 'static,
    ) -> Result<R, DriverError> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |store| {
            let _ = answer.send(question(store));
        });
        self.questions.send(question).await.map_err(|_| DriverError::Stopped)?;
        answered.await.map_err(|_| DriverError::Stopped)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

/// Ends the machine's thread, at the latest when dropped.
struct Stop {
    flag: Arc<AtomicBool>,
    registry: Arc<Registry>,
}

impl Stop {
    fn now(&self) {
        self.flag.store(true, Ordering::Release);
        self.registry.wake_machine();
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.now();
    }
}

/// Closes all connections when the machine has ended: flushed if the application stopped it, at
/// once if its store has failed.
async fn wind_up(
    registry: Arc<Registry>,
    spawner: Arc<Spawner>,
    mut ended: watch::Receiver<Option<Result<(), DriverError>>>,
    closed: watch::Sender<bool>,
) {
    let is_orderly =
        ended.wait_for(Option::is_some).await.is_ok_and(|end| matches!(*end, Some(Ok(()))));
    spawner.stop();
    if is_orderly {
        let _ = timeout(FAREWELL_MAX, async {
            while !registry.is_empty() {
                // Links end in tasks that outlive this one if a peer is slow, and report to none.
                sleep(FAREWELL_STEP).await;
            }
        })
        .await;
    }
    spawner.close().await;
    closed.send_replace(true);
}

/// Commands that wait for the machine; enough to fill a batch.
const COMMANDS_MAX: usize = 1024;
const QUESTIONS_MAX: usize = 256;
/// Longer than a link may take to flush.
const FAREWELL_MAX: Duration = Duration::from_secs(3);
const FAREWELL_STEP: Duration = Duration::from_millis(2);
