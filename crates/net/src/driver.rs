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

use proto::{Machine, OpenError, Rows, Seed};
use store::{Snapshot, Store, StoreError};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use crate::{
    Counters, Events, Settings,
    accept::accept,
    clock::Clock,
    endpoint::Endpoints,
    engine::{Engine, Question, Work},
    events::EventQueue,
    hub::Hub,
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
    /// Opens the machine from the rows in `store` and runs it, on the tokio runtime of the caller
    /// and a thread of its own.
    pub async fn start<S: Store + 'static>(
        settings: Settings,
        config: M::Config,
        store: S,
    ) -> Result<Running<M>, StartError> {
        let endpoints = Endpoints::bind(&settings)?;
        let hub = Hub::new(settings, endpoints);
        let mut seed = Seed([0; 32]);
        getrandom::fill(&mut seed.0).map_err(|error| StartError::System(error.into()))?;
        let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
        let (questions, questions_in) = mpsc::channel(QUESTIONS_MAX);
        let (queue, events) = EventQueue::open();
        let stop = Arc::new(AtomicBool::new(false));
        let (opened, is_open) = oneshot::channel();
        let (ended, is_ended) = watch::channel(None);
        let engine = {
            let (hub, stop) = (Arc::clone(&hub), Arc::clone(&stop));
            move || {
                hub.runs_on(thread::current());
                queue.wakes(thread::current());
                let clock = Clock::start();
                let run = || match M::open(config, seed, clock.now(), store.as_rows()) {
                    Ok(machine) => {
                        let _ = opened.send(Ok(()));
                        let (events, work) = (Arc::clone(&queue), Work::default());
                        let (commands, questions) = (commands_in, questions_in);
                        Engine {
                            machine,
                            store,
                            clock,
                            hub,
                            commands,
                            questions,
                            events,
                            stop,
                            work,
                        }
                        .run()
                        .map_err(DriverError::Store)
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
        for endpoint in hub.endpoints.listening() {
            tokio::spawn(accept(Arc::clone(&hub), endpoint.clone()));
        }
        let (closed, is_closed) = watch::channel(false);
        tokio::spawn(wind_up(Arc::clone(&hub), is_ended.clone(), closed));
        let stop = Stop { flag: stop, hub: Arc::clone(&hub) };
        let reader = Reader { questions };
        Ok(Running { commands, events: Some(events), reader, hub, is_ended, is_closed, stop })
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
    hub: Arc<Hub>,
    is_ended: watch::Receiver<Option<Result<(), DriverError>>>,
    is_closed: watch::Receiver<bool>,
    stop: Stop,
}

impl<M: Machine> Running<M> {
    /// Where to send commands; cheap to clone. Sending waits while too many wait already, and fails
    /// once the driver has stopped.
    pub fn commands(&self) -> mpsc::Sender<M::Command> {
        self.commands.clone()
    }

    /// What the machine tells the application. Take it, or drop it, unless the machine has no
    /// events: while thousands wait it takes no frames from its peers. `None` the second time.
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

    /// Something to read rows with that can be cloned and outlives `self`.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Where this listens, with the port that the system chose if it was to choose one.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.hub.endpoints.addresses()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.hub.counters()
    }

    /// Something to read the counters with that can be cloned and outlives `self`.
    pub fn meter(&self) -> Meter {
        Meter(Arc::downgrade(&self.hub))
    }

    /// Dials every peer that should be connected and is not, at once: the network has changed.
    pub fn dial_now(&self) {
        self.hub.dial_now();
    }

    /// Resolves when the driver has stopped by itself: why.
    pub async fn stopped(&self) -> DriverError {
        let mut ended = self.is_ended.clone();
        let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        end.and_then(Result::err).unwrap_or(DriverError::Stopped)
    }

    /// Handles what waits, makes it durable, sends what is to be sent, says goodbye to every peer
    /// and closes. Takes two or three seconds if a peer does not answer.
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
pub struct Meter(Weak<Hub>);

impl Meter {
    /// What was counted so far; nothing once the driver is gone.
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
    /// As [`Running::read`].
    pub async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Rows) -> R + Send + 'static,
    ) -> Result<R, DriverError> {
        self.ask(|store| read(store.as_rows())).await
    }

    /// The durable rows of one moment, to be read later and elsewhere; nothing if the store has none.
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
    hub: Arc<Hub>,
}

impl Stop {
    fn now(&self) {
        self.flag.store(true, Ordering::Release);
        self.hub.wake_machine();
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.now();
    }
}

/// Closes all connections when the machine has ended: after the last word if it was asked to stop,
/// at once if its store has failed.
async fn wind_up(
    hub: Arc<Hub>,
    mut ended: watch::Receiver<Option<Result<(), DriverError>>>,
    closed: watch::Sender<bool>,
) {
    let in_peace =
        ended.wait_for(Option::is_some).await.is_ok_and(|end| matches!(*end, Some(Ok(()))));
    hub.dial_no_more();
    if in_peace {
        let _ = timeout(FAREWELL_MAX, async {
            while !hub.is_empty() {
                sleep(FAREWELL_STEP).await;
            }
        })
        .await;
    }
    hub.endpoints.close();
    let _ = timeout(CLOSE_MAX, hub.endpoints.closed()).await;
    closed.send_replace(true);
}

/// The driver could not start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error("can't listen on {0}: {1}")]
    Bind(SocketAddr, #[source] io::Error),
    /// To listen takes [`Keys::One`](crate::Keys::One).
    #[error("a side that listens must have one identity")]
    NoIdentity,
    /// The TLS library does not take the key.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The machine can't open the rows.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system gives no thread or no randomness.
    #[error("the system refuses: {0}")]
    System(#[source] io::Error),
}

/// Why a driver has stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// The store failed. Nothing that follows the last successful sync was transmitted.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine broke its promise and panicked.
    #[error("the machine panicked")]
    Panicked,
    /// It was asked to.
    #[error("the driver was stopped")]
    Stopped,
}

/// Commands that wait for the machine; enough to fill a batch.
const COMMANDS_MAX: usize = 1024;
const QUESTIONS_MAX: usize = 256;
/// Longer than a link may take to flush.
const FAREWELL_MAX: Duration = Duration::from_secs(3);
const FAREWELL_STEP: Duration = Duration::from_millis(2);
/// The packets that tell peers of the close leave at once; QUIC then stays for three times its
/// timeout to repeat them, and a command on a far node should not.
const CLOSE_MAX: Duration = Duration::from_millis(100);
