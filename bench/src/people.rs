//! Two people with real devices: client machines over encrypted SQLite, and their conversation.

mod delivery;

use std::{
    cell::RefCell,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use client::{
    Action, Client, Command, Config, ContactState, Event, LAYOUT, Reply, transport_seed,
    view::{self, MessageView},
};
use crypto::identity::Phrase;
use net::{Counters, Driver, Events, Keys, Running, Settings};
use proto::{AccountId, NodeAddress, Rows};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use store::{Layout, Sqlite};
use tokio::time::{sleep, sleep_until, timeout};
use zeroize::Zeroizing;

use crate::{
    measure::Samples,
    timed::{Timed, Timings},
    watched::{Moments, Watched},
};

/// One person with one device.
#[derive(Debug)]
pub(crate) struct Person {
    running: Running<Watched<Client>>,
    events: Events<Event>,
    account: AccountId,
    tickets: u64,
    /// How far the application has read what arrived.
    arrivals: u64,
    pub(crate) timings: Arc<Timings>,
    moments: Arc<Moments>,
}

/// Two who have accepted each other, and their conversation.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) writer: Person,
    pub(crate) reader: Person,
    sent: u64,
    /// Of messages sent alone.
    pub(crate) legs: Legs,
}

/// The parts of a message's way.
#[derive(Debug, Default)]
pub(crate) struct Legs {
    /// From the application to its device's thread.
    pub(crate) command: Samples,
    pub(crate) sealing: Samples,
    /// Over the node, its sync included, to the reader's thread.
    pub(crate) transit: Samples,
    pub(crate) opening: Samples,
    /// From that thread to the application.
    pub(crate) event: Samples,
}

impl Legs {
    fn note(&mut self, sent: Instant, writer: &Person, reader: &Person, took: Duration) {
        let [Some((sealing, sealed)), _] = writer.moments.read() else { return };
        let [_, Some((opening, opened))] = reader.moments.read() else { return };
        self.command.push(sealing.saturating_duration_since(sent));
        self.sealing.push(sealed.saturating_duration_since(sealing));
        self.transit.push(opening.saturating_duration_since(sealed));
        self.opening.push(opened.saturating_duration_since(opening));
        self.event.push((sent + took).saturating_duration_since(opened));
    }
}

/// When the next message follows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// When the one before has arrived.
    AfterArrival,
    /// So many a second, whatever has arrived.
    PerSecond(u32),
}

impl Pace {
    pub(crate) const AT_ONCE: Self = Self::PerSecond(u32::MAX);
}

impl Pair {
    /// Two users with these homes, whose devices store in a directory.
    pub(crate) async fn meet(directory: &Path, homes: [Vec<NodeAddress>; 2]) -> Result<Self> {
        let [writers, readers] = homes;
        let mut writer = Person::start(directory, 1, writers).await?;
        let mut reader = Person::start(directory, 2, readers).await?;
        let link = match writer.ask(Action::Invite { uses: 1, valid_s: 3600 }).await? {
            Reply::Link(link) => link,
            other => bail!("no invite but {other:?}"),
        };
        // The node should know the invite before it is used.
        sleep(Duration::from_millis(200)).await;
        reader.ask(Action::AddContact { link, name: "Writer".into() }).await?;
        writer.wait_for(reader.account, ContactState::Asking).await?;
        writer.ask(Action::Accept { contact: reader.account }).await?;
        writer.wait_for(reader.account, ContactState::Established).await?;
        reader.wait_for(writer.account, ContactState::Established).await?;
        let mut pair = Self { writer, reader, sent: 0, legs: Legs::default() };
        pair.quiesce().await;
        Ok(pair)
    }

    /// Sends `count` messages of 100 bytes and returns how long each took from the command to the
    /// reader's hand. `pause` is run after each that is sent alone.
    pub(crate) async fn converse(
        &mut self,
        pace: Pace,
        count: u64,
        mut pause: impl FnMut() -> Result<()>,
    ) -> Result<Samples> {
        let commands = self.writer.running.commands();
        let mut arrived = Samples::default();
        let (first, start) = (self.sent, Instant::now());
        self.sent += count;
        match pace {
            Pace::AfterArrival => {
                for number in first..self.sent {
                    let sent = Instant::now();
                    commands.send(self.writer.message(number, self.reader.account)).await?;
                    self.reader.receive(self.writer.account, 1, |_| sent, &mut arrived).await?;
                    self.legs.note(sent, &self.writer, &self.reader, arrived.last());
                    self.writer.discard_events();
                    pause()?;
                }
            }
            Pace::PerSecond(rate) => {
                let due = |number: u64| {
                    start + Duration::from_secs_f64((number - first) as f64 / f64::from(rate))
                };
                let messages: Vec<Command> = (first..self.sent)
                    .map(|number| self.writer.message(number, self.reader.account))
                    .collect();
                // A timer may be a millisecond late, so the moment is noted.
                let sent = RefCell::new(Vec::new());
                let sending = async {
                    for (number, message) in (first..).zip(messages) {
                        sleep_until(due(number).into()).await;
                        sent.borrow_mut().push(Instant::now());
                        commands.send(message).await?;
                    }
                    Ok(())
                };
                // Who sends does not read its events here, so they are let go of beside it.
                let Person { events, account, .. } = &mut self.writer;
                let discarding = async {
                    while events.recv().await.is_some() {}
                    bail!("the writer has stopped")
                };
                let sent_at = |number: u64| {
                    let at = usize::try_from(number - first).unwrap_or_default();
                    sent.borrow().get(at).copied().unwrap_or(start)
                };
                let receiving = self.reader.receive(*account, count, sent_at, &mut arrived);
                tokio::select! {
                    both = async { tokio::try_join!(sending, receiving) } => { both?; }
                    stopped = discarding => return stopped,
                }
            }
        }
        Ok(arrived)
    }

    /// Lets receipts and acknowledgements pass.
    pub(crate) async fn quiesce(&mut self) {
        sleep(QUIESCE).await;
        self.writer.discard_events();
        self.reader.discard_events();
    }
}

impl Person {
    async fn start(directory: &Path, seed: u8, homes: Vec<NodeAddress>) -> Result<Self> {
        let (name, version) = LAYOUT;
        let layout = Layout { name, version, migrations: &[] };
        let path = directory.join(format!("person-{seed}"));
        let (store, timings) = Timed::new(Sqlite::open(&path, &[seed; 32], &layout)?);
        let secret = Zeroizing::new([seed; 32]);
        let derive = {
            let secret = secret.clone();
            Keys::PerPeer(Box::new(move |node| *transport_seed(&secret, node)))
        };
        let config = Config { transport: secret };
        let moments = Arc::<Moments>::default();
        let config = (config, Arc::clone(&moments));
        let settings = Settings::new(derive);
        let mut running = Driver::<Watched<Client>>::start(settings, config, store).await?;
        let events = running.take_events().context("no events")?;
        let account = AccountId([0; 32]);
        let mut person =
            Self { running, events, account, tickets: 0, arrivals: 0, timings, moments };
        let phrase = Phrase::generate(&mut ChaCha20Rng::from_seed([seed; 32]));
        let name = format!("Person {seed}");
        match person.ask(Action::CreateAccount { phrase, name, homes }).await? {
            Reply::Account(account) => person.account = account,
            other => bail!("no account but {other:?}"),
        }
        person.until(is_published).await.context("the node does not take the account")?;
        Ok(person)
    }

    pub(crate) fn counters(&self) -> Counters {
        self.running.counters()
    }

    async fn ask(&mut self, action: Action) -> Result<Reply> {
        self.tickets += 1;
        let asked = self.tickets;
        self.running.commands().send(Command { ticket: asked, action }).await?;
        loop {
            match timeout(PATIENCE, self.events.recv()).await?.context("the device has stopped")? {
                Event::Done { ticket, result } if ticket == asked => return Ok(result?),
                _ => {}
            }
        }
    }

    /// Waits until the two have come so far.
    async fn wait_for(&self, contact: AccountId, state: ContactState) -> Result<()> {
        let is_so = move |rows: &dyn Rows| {
            let mut contacts = view::contacts(rows).into_iter();
            contacts.any(|view| view.account == contact && view.state == state)
        };
        self.until(is_so).await.with_context(|| format!("the two are not {state:?}"))
    }

    /// Waits until the device shows something. Not all of it has an event.
    async fn until(
        &self,
        is_so: impl Fn(&dyn Rows) -> bool + Clone + Send + 'static,
    ) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if self.running.read(is_so.clone()).await? {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!("nothing of it for {PATIENCE:?}")
    }

    fn message(&mut self, number: u64, contact: AccountId) -> Command {
        self.tickets += 1;
        let text = format!("{number:0>8}{}", "x".repeat(MESSAGE_BYTES - 8));
        let action = Action::Send {
            conversation: contact.into(),
            text: Zeroizing::new(text),
            reply_to: None,
        };
        Command { ticket: self.tickets, action }
    }

    fn discard_events(&mut self) {
        while self.events.try_recv().is_some() {}
    }

    /// Waits for `count` messages. One counts as arrived when the application is told that there
    /// is something new and finds it there.
    async fn receive(
        &mut self,
        from: AccountId,
        count: u64,
        sent_at: impl Fn(u64) -> Instant,
        arrived: &mut Samples,
    ) -> Result<()> {
        let mut missing = count;
        while missing > 0 {
            let told = timeout(PATIENCE, self.events.recv()).await.context("nothing arrives")?;
            if !matches!(told.context("the device has stopped")?, Event::Timeline(_)) {
                continue;
            }
            let now = Instant::now();
            let (with, after) = (from.into(), self.arrivals);
            let arrivals = self.running.read(move |rows| view::arrivals(rows, &with, after, 4096));
            for (number, message) in arrivals.await? {
                self.arrivals = number;
                if let Some(number) = number_of(&message) {
                    arrived.push(now.saturating_duration_since(sent_at(number)));
                    missing = missing.saturating_sub(1);
                }
            }
        }
        Ok(())
    }
}

fn is_published(rows: &dyn Rows) -> bool {
    view::account(rows).is_some_and(|account| account.published)
}

/// The number that [`Person::message`] wrote; nothing in one's own.
fn number_of(message: &MessageView) -> Option<u64> {
    if message.own {
        return None;
    }
    message.text.as_ref()?.get(..8)?.parse().ok()
}

pub(crate) const MESSAGE_BYTES: usize = 100;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a receipt waits.
const QUIESCE: Duration = Duration::from_millis(800);
