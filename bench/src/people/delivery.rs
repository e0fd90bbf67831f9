//! How far a message has come, as its writer is told.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use client::{DeliveryStatus, Event, Reply, view};
use proto::ConversationId;
use tokio::time::{sleep, timeout};

use super::{PATIENCE, Pair, Person};
use crate::measure::Samples;

impl Pair {
    /// Sends `count` messages, each once the one before has arrived and is stored. Returns how long
    /// each took from the command until the reader's application had it, and until the author's
    /// showed it as stored. `after` is run after each.
    pub(crate) async fn say_each(
        &mut self,
        count: u64,
        mut after: impl FnMut() -> Result<()>,
    ) -> Result<[Samples; 2]> {
        let commands = self.writer.running.commands();
        let (mut arrived, mut stored) = (Samples::default(), Samples::default());
        for number in self.sent..self.sent + count {
            let Self { writer, reader, .. } = self;
            let (from, to) = (writer.account, reader.account);
            let message = writer.message(number, to);
            let ticket = message.ticket;
            let sent = Instant::now();
            commands.send(message).await?;
            let (at, ()) = tokio::try_join!(
                writer.until_stored(to.into(), ticket),
                reader.receive(from, 1, |_| sent, &mut arrived),
            )?;
            stored.push(at.saturating_duration_since(sent));
            after()?;
            // Let the devices' acknowledgements pass.
            sleep(PAUSE).await;
            self.writer.discard_events();
        }
        self.sent += count;
        Ok([arrived, stored])
    }
}

impl Person {
    /// Waits until the message of a command is marked as stored, and returns when that was told.
    async fn until_stored(&mut self, with: ConversationId, asked: u64) -> Result<Instant> {
        let mut message = None;
        loop {
            let told = timeout(PATIENCE, self.events.recv()).await.context("it is not stored")?;
            let now = Instant::now();
            match told.context("the device has stopped")? {
                Event::Done { ticket, result } if ticket == asked => match result? {
                    Reply::Envelope(id) => message = Some(id.reference()),
                    other => bail!("no message but {other:?}"),
                },
                Event::Timeline(_) => {}
                _ => continue,
            }
            let Some(message) = message else { continue };
            match self.running.read(move |rows| view::status(rows, &with, &message)).await? {
                None | Some(DeliveryStatus::Sent) => {}
                Some(DeliveryStatus::Refused) => bail!("a message was refused"),
                Some(DeliveryStatus::Stored | DeliveryStatus::Delivered | DeliveryStatus::Read) => {
                    return Ok(now);
                }
            }
        }
    }
}

const PAUSE: Duration = Duration::from_millis(5);
