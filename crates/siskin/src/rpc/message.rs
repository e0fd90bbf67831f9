//! Methods of messages.

use client::{
    Action, Reply,
    view::{self, ContactView, Range},
};
use proto::{EnvelopeId, Instant, LogId, Rows};
use serde::{Deserialize, Serialize};

use super::{
    account::Secret,
    resolve,
    types::{DeliveryStatus, Done, Item},
};
use crate::{api::Call, engine::Engine, failure::Failure};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageSend {
    pub(crate) contact: String,
    pub(crate) text: Secret,
    #[serde(default)]
    pub(crate) reply_to: Option<String>,
    /// Send even if the contact's identity is in doubt.
    #[serde(default)]
    pub(crate) force: bool,
    /// Seconds to wait until the message is stored.
    #[serde(default)]
    pub(crate) wait_s: u32,
}

/// A message that was sent, and its status.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SentMessage {
    /// `null` while it waits for the contact to accept.
    pub(crate) id: Option<String>,
    pub(crate) mark: DeliveryStatus,
}

impl Call for MessageSend {
    const METHOD: &'static str = "message.send";
    type Target = Engine;
    type Returns = SentMessage;

    async fn run(self, engine: &Engine) -> Result<SentMessage, Failure> {
        let contact = resolve::contact(engine, &self.contact).await?;
        if !self.force {
            resolve::check_trust(&contact)?;
        }
        let reply_to = match &self.reply_to {
            Some(id) => {
                let target = resolve::message(engine, resolve::conversation(&contact)?, id).await?;
                Some(target.place.id.reference())
            }
            None => None,
        };
        let text = self.text.expose().clone();
        let action = Action::Send { conversation: contact.account.into(), text, reply_to };
        say(engine, &contact, action, self.wait_s).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageEdit {
    pub(crate) contact: String,
    pub(crate) id: String,
    pub(crate) text: Secret,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

impl Call for MessageEdit {
    const METHOD: &'static str = "message.edit";
    type Target = Engine;
    type Returns = SentMessage;

    async fn run(self, engine: &Engine) -> Result<SentMessage, Failure> {
        let (contact, target) = target(engine, &self.contact, &self.id).await?;
        let text = self.text.expose().clone();
        let target = target.reference();
        let action = Action::Edit { conversation: contact.account.into(), target, text };
        say(engine, &contact, action, self.wait_s).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageDelete {
    pub(crate) contact: String,
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

impl Call for MessageDelete {
    const METHOD: &'static str = "message.delete";
    type Target = Engine;
    type Returns = SentMessage;

    async fn run(self, engine: &Engine) -> Result<SentMessage, Failure> {
        let (contact, target) = target(engine, &self.contact, &self.id).await?;
        let action =
            Action::Delete { conversation: contact.account.into(), target: target.reference() };
        say(engine, &contact, action, self.wait_s).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageReact {
    pub(crate) contact: String,
    pub(crate) id: String,
    /// Empty to remove the reaction.
    pub(crate) emoji: String,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

impl Call for MessageReact {
    const METHOD: &'static str = "message.react";
    type Target = Engine;
    type Returns = SentMessage;

    async fn run(self, engine: &Engine) -> Result<SentMessage, Failure> {
        let (contact, target) = target(engine, &self.contact, &self.id).await?;
        let (target, emoji) = (target.reference(), self.emoji);
        let action = Action::React { conversation: contact.account.into(), target, emoji };
        say(engine, &contact, action, self.wait_s).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageRead {
    pub(crate) contact: String,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

impl Call for MessageRead {
    const METHOD: &'static str = "message.read";
    type Target = Engine;
    type Returns = Done;

    async fn run(self, engine: &Engine) -> Result<Done, Failure> {
        let contact = resolve::contact(engine, &self.contact).await?.account;
        engine.ask(Action::MarkRead { conversation: contact.into() }).await?;
        engine.until(self.wait_s, move |rows| nothing_to_send(rows, contact)).await?;
        Ok(Done {})
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageList {
    pub(crate) contact: String,
    #[serde(default = "limit_default")]
    pub(crate) limit: u32,
    /// Return only messages before the one with this id.
    #[serde(default)]
    pub(crate) before: Option<String>,
}

impl Call for MessageList {
    const METHOD: &'static str = "message.list";
    type Target = Engine;
    type Returns = Vec<Item>;

    async fn run(self, engine: &Engine) -> Result<Vec<Item>, Failure> {
        let contact = resolve::contact(engine, &self.contact).await?;
        let Some(log) = contact.conversation else { return Ok(Vec::new()) };
        let range = match &self.before {
            Some(id) => Range::Before(resolve::message(engine, log, id).await?.place),
            None => Range::Latest,
        };
        let limit = usize::try_from(self.limit.clamp(1, LIMIT_MAX)).unwrap_or_default();
        let now = now();
        let items = engine.read(move |rows| view::timeline(rows, &log, range, limit, now)).await?;
        Ok(bounded(items.into_iter().map(Item::from).collect()))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConversationRekey {
    pub(crate) contact: String,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

impl Call for ConversationRekey {
    const METHOD: &'static str = "conversation.rekey";
    type Target = Engine;
    type Returns = SentMessage;

    async fn run(self, engine: &Engine) -> Result<SentMessage, Failure> {
        let contact = resolve::contact(engine, &self.contact).await?;
        let action = Action::Rekey { conversation: contact.account.into() };
        say(engine, &contact, action, self.wait_s).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConversationTyping {
    pub(crate) contact: String,
}

impl Call for ConversationTyping {
    const METHOD: &'static str = "conversation.typing";
    type Target = Engine;
    type Returns = Done;

    async fn run(self, engine: &Engine) -> Result<Done, Failure> {
        let contact = resolve::contact(engine, &self.contact).await?.account;
        engine.ask(Action::Typing { conversation: contact.into() }).await?;
        Ok(Done {})
    }
}

/// Sends something and waits until it is stored or refused.
async fn say(
    engine: &Engine,
    contact: &ContactView,
    action: Action,
    wait_s: u32,
) -> Result<SentMessage, Failure> {
    let id = match engine.ask(action).await? {
        Reply::Envelope(id) => id,
        Reply::Waiting => return Ok(SentMessage { id: None, mark: DeliveryStatus::Waiting }),
        Reply::Nothing | Reply::Link(_) | Reply::Account(_) => {
            return Err(Failure::user("nothing was sent"));
        }
    };
    let log = resolve::conversation(contact)?;
    let stored = move |rows: &dyn Rows| {
        mark(rows, &log, &id).filter(|mark| *mark > client::DeliveryStatus::Sent)
    };
    let mark = engine.until(wait_s, stored).await?.unwrap_or(client::DeliveryStatus::Sent);
    if mark == client::DeliveryStatus::Refused {
        return Err(Failure::user("the node refuses the message")
            .hint("`siskin read WHO` shows it with its status"));
    }
    Ok(SentMessage { id: Some(id.to_string()), mark: mark.into() })
}

async fn target(
    engine: &Engine,
    contact: &str,
    id: &str,
) -> Result<(ContactView, EnvelopeId), Failure> {
    let contact = resolve::contact(engine, contact).await?;
    let message = resolve::message(engine, resolve::conversation(&contact)?, id).await?;
    Ok((contact, message.place.id))
}

fn mark(rows: &dyn Rows, log: &LogId, id: &EnvelopeId) -> Option<client::DeliveryStatus> {
    view::mark(rows, log, &id.reference())
}

fn nothing_to_send(rows: &dyn Rows, account: proto::AccountId) -> Option<()> {
    let contact = view::contacts(rows).into_iter().find(|contact| contact.account == account)?;
    (contact.outgoing == 0).then_some(())
}

/// Keeps the last items of a page that fit into a response.
fn bounded(items: Vec<Item>) -> Vec<Item> {
    let mut room = PAGE_BYTES_MAX;
    let mut kept: Vec<Item> = Vec::new();
    for item in items.into_iter().rev() {
        let text = match &item {
            Item::Message(message) => message.text.as_ref().map_or(0, String::len),
            Item::Gap { .. } => 0,
        };
        let Some(left) = room.checked_sub(text.saturating_add(ITEM_BYTES)) else { break };
        room = left;
        kept.push(item);
    }
    kept.reverse();
    kept
}

/// Returns the time of the wall clock, to compute how long entries have waited.
fn now() -> Instant {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Instant::from_secs(since.map_or(0, |since| since.as_secs()))
}

fn limit_default() -> u32 {
    50
}

const LIMIT_MAX: u32 = 1000;
/// Bytes of text in one page; escaping makes them at most six times as long.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// About the size of a message without its text.
const ITEM_BYTES: usize = 512;
