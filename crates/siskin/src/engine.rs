//! An account online: the client machine in its driver, which takes actions and emits notices.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use client::{Action, Client, Command, CommandError, Config, Event, Reply, transport_seed};
use net::{Counters, Driver, Events, Keys, Running, Settings};
use proto::{AccountId, ConversationId, NodeId, Rows};
use store::{Layout, Sqlite};
use tokio::{sync::broadcast, time::timeout};

use crate::{failure::Failure, keys::DeviceKeys, paths::DataDir, pending::PendingRequests};

/// The account of one data directory, online.
pub(crate) struct Engine {
    running: Running<Client>,
    dispatcher: Arc<Dispatcher>,
}

/// A hint that rows changed, or a fact that is in no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Account,
    Contacts,
    Timeline(ConversationId),
    Typing { conversation: ConversationId, account: AccountId },
    LinkChanged(NodeId, bool),
    Sent(ConversationId),
}

/// Routes the events of the machine to callers and subscribers.
struct Dispatcher {
    pending: PendingRequests<Result<Reply, CommandError>>,
    links: Mutex<BTreeMap<NodeId, bool>>,
    notices: broadcast::Sender<Notice>,
}

impl Engine {
    /// Opens the store, which no other process may have open, and goes online.
    pub(crate) async fn open(dir: &DataDir) -> Result<Arc<Self>, Failure> {
        dir.create()?;
        let keys = DeviceKeys::load(&dir.master_key())?;
        let (name, version) = client::LAYOUT;
        let layout = Layout { name, version, migrations: &[] };
        let store = Sqlite::open(&dir.store(), &keys.store, &layout)?;
        let secret = keys.transport.clone();
        let seed_of = Keys::PerPeer(Box::new(move |peer| *transport_seed(&secret, peer)));
        let config = Config { transport: keys.transport };
        let mut running = Driver::<Client>::start(Settings::new(seed_of), config, store).await?;
        let dispatcher = Arc::new(Dispatcher {
            pending: PendingRequests::new(),
            links: Mutex::default(),
            notices: broadcast::channel(NOTICES_MAX).0,
        });
        if let Some(events) = running.take_events() {
            tokio::spawn(Arc::clone(&dispatcher).dispatch(events));
        }
        Ok(Arc::new(Self { running, dispatcher }))
    }

    /// Carries out an action. Its changes are durable when this returns.
    pub(crate) async fn ask(&self, action: Action) -> Result<Reply, Failure> {
        let ended = || Failure::user("the account was closed");
        let (ticket, answered) = self.dispatcher.pending.open().ok_or_else(ended)?;
        let command = Command { ticket, action };
        self.running.commands().send(command).await.map_err(|_| ended())?;
        Ok(answered.await.map_err(|_| ended())??)
    }

    /// Reads durable rows.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Rows) -> R + Send + 'static,
    ) -> Result<R, Failure> {
        Ok(self.running.read(read).await?)
    }

    /// Waits until `look` finds something in the rows. Returns nothing after `seconds`.
    pub(crate) async fn until<R: Send + 'static>(
        &self,
        seconds: u32,
        look: impl Fn(&dyn Rows) -> Option<R> + Clone + Send + 'static,
    ) -> Result<Option<R>, Failure> {
        // Subscribes before it reads, so that it misses no change in between.
        let mut notices = self.notices();
        let found = async {
            loop {
                if let Some(found) = self.read(look.clone()).await? {
                    return Ok(found);
                }
                if let Err(broadcast::error::RecvError::Closed) = notices.recv().await {
                    return Err(Failure::user("the account was closed"));
                }
            }
        };
        timeout(Duration::from_secs(seconds.into()), found).await.ok().transpose()
    }

    /// Subscribes to notices from now on.
    pub(crate) fn notices(&self) -> broadcast::Receiver<Notice> {
        self.dispatcher.notices.subscribe()
    }

    /// Returns all nodes that were connected, and whether they still are.
    pub(crate) fn links(&self) -> BTreeMap<NodeId, bool> {
        lock(&self.dispatcher.links).clone()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.running.counters()
    }

    /// Resolves with the reason when the engine has stopped.
    pub(crate) async fn stopped(&self) -> Failure {
        self.running.stopped().await.into()
    }

    /// Sends what is queued, makes everything durable and goes offline.
    pub(crate) async fn close(self: Arc<Self>) -> Result<(), Failure> {
        match Arc::into_inner(self) {
            Some(engine) => Ok(engine.running.shutdown().await?),
            // A caller still waits for an answer; the driver ends with the last caller.
            None => Ok(()),
        }
    }
}

impl Dispatcher {
    /// Hands out what the machine emits, until it has stopped.
    async fn dispatch(self: Arc<Self>, mut events: Events<Event>) {
        while let Some(event) = events.recv().await {
            let notice = match event {
                Event::Done { ticket, result } => {
                    self.pending.resolve(ticket, result);
                    continue;
                }
                Event::Account => Notice::Account,
                Event::Contacts => Notice::Contacts,
                Event::Timeline(conversation) => Notice::Timeline(conversation),
                Event::Typing { conversation, account } => Notice::Typing { conversation, account },
                Event::LinkChanged(node, up) => {
                    lock(&self.links).insert(node, up);
                    Notice::LinkChanged(node, up)
                }
                Event::Sent(conversation) => Notice::Sent(conversation),
                Event::Convicted(node) => {
                    tracing::warn!(%node, "a home node has lost entries for which it had signed");
                    Notice::Account
                }
            };
            // There may be no subscriber.
            let _ = self.notices.send(notice);
        }
        self.pending.close();
    }
}

/// The map is consistent whenever the lock is free, so a panic elsewhere doesn't spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A few seconds of a busy account. A slower subscriber has to read everything again.
const NOTICES_MAX: usize = 1024;
