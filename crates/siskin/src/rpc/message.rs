//! Methods of messages.

use client::{
    Action, Reply,
    view::{self, Range},
};
use proto::{ConversationId, Instant, Rows};
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
    pub(crate) conversation: String,
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
    pub(crate) status: DeliveryStatus,
}

impl Call for MessageSend {
    const METHOD: &'static str = "message.send";
    type Target = Engine;
    type Returns = SentMessage;

    async fn run(self, engine: &Engine) -> Result<SentMessage, Failure> {
        let conversation = resolve::conversation(&self.conversation)?;
        if !self.force {
            resolve::check_trust(engine, conversation).await?;
        }
        let reply_to = match &self.reply_to {
            Some(id) => Some(resolve::message(engine, conversation, id).await?.key.id.reference()),
            None => None,
        };
        let text = self.text.expose().clone();
        let action = Action::Send { conversation, text, reply_to };
        send(engine, conversation, action, self.wait_s).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageEdit {
    pub(crate) conversation: String,
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
        let conversation = resolve::conversation(&self.conversation)?;
        let target = resolve::message(engine, conversation, &self.id).await?.key.id.reference();
        let action = Action::Edit { conversation, target, text: self.text.expose().clone() };
        send(engine, conversation, action, self.wait_s).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageDelete {
    pub(crate) conversation: String,
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

impl Call for MessageDelete {
    const METHOD: &'static str = "message.delete";
    type Target = Engine;
    type Returns = SentMessage;

    async fn run(self, engine: &Engine) -> Result<SentMessage, Failure> {
        let conversation = resolve::conversation(&self.conversation)?;
        let target = resolve::message(engine, conversation, &self.id).await?.key.id.reference();
        send(engine, conversation, Action::Delete { conversation, target }, self.wait_s).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageReact {
    pub(crate) conversation: String,
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
        let conversation = resolve::conversation(&self.conversation)?;
        let target = resolve::message(engine, conversation, &self.id).await?.key.id.reference();
        let action = Action::React { conversation, target, emoji: self.emoji };
        send(engine, conversation, action, self.wait_s).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageRead {
    pub(crate) conversation: String,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

impl Call for MessageRead {
    const METHOD: &'static str = "message.read";
    type Target = Engine;
    type Returns = Done;

    async fn run(self, engine: &Engine) -> Result<Done, Failure> {
        let conversation = resolve::conversation(&self.conversation)?;
        engine.ask(Action::MarkRead { conversation }).await?;
        engine.until(self.wait_s, move |rows| outbox_is_empty(rows, &conversation)).await?;
        Ok(Done {})
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageList {
    pub(crate) conversation: String,
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
        let conversation = resolve::conversation(&self.conversation)?;
        resolve::check_known(engine, conversation).await?;
        let range = match &self.before {
            Some(id) => Range::Before(resolve::message(engine, conversation, id).await?.key),
            None => Range::Latest,
        };
        let limit = usize::try_from(self.limit.clamp(1, LIMIT_MAX)).unwrap_or_default();
        let now = now();
        let read = move |rows: &dyn Rows| view::timeline(rows, &conversation, range, limit, now);
        let items = engine.read(read).await?;
        Ok(bounded(items.into_iter().map(Item::from).collect()))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConversationRekey {
    pub(crate) conversation: String,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

impl Call for ConversationRekey {
    const METHOD: &'static str = "conversation.rekey";
    type Target = Engine;
    type Returns = SentMessage;

    async fn run(self, engine: &Engine) -> Result<SentMessage, Failure> {
        let conversation = resolve::conversation(&self.conversation)?;
        send(engine, conversation, Action::Rekey { conversation }, self.wait_s).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConversationTyping {
    pub(crate) conversation: String,
}

impl Call for ConversationTyping {
    const METHOD: &'static str = "conversation.typing";
    type Target = Engine;
    type Returns = Done;

    async fn run(self, engine: &Engine) -> Result<Done, Failure> {
        let conversation = resolve::conversation(&self.conversation)?;
        engine.ask(Action::Typing { conversation }).await?;
        Ok(Done {})
    }
}

/// Sends something and waits until it is stored or refused.
async fn send(
    engine: &Engine,
    conversation: ConversationId,
    action: Action,
    wait_s: u32,
) -> Result<SentMessage, Failure> {
    let id = match engine.ask(action).await? {
        Reply::Envelope(id) => id,
        Reply::Waiting => return Ok(SentMessage { id: None, status: DeliveryStatus::Waiting }),
        Reply::Nothing | Reply::Link(_) | Reply::Account(_) => {
            return Err(Failure::user("nothing was sent"));
        }
    };
    let stored = move |rows: &dyn Rows| {
        view::status(rows, &conversation, &id.reference())
            .filter(|status| *status > client::DeliveryStatus::Sent)
    };
    let status = engine.until(wait_s, stored).await?.unwrap_or(client::DeliveryStatus::Sent);
    if status == client::DeliveryStatus::Refused {
        return Err(Failure::user("the node refuses the message")
            .hint("`siskin read WHO` shows it with its status"));
    }
    Ok(SentMessage { id: Some(id.to_string()), status: status.into() })
}

fn outbox_is_empty(rows: &dyn Rows, conversation: &ConversationId) -> Option<()> {
    let ConversationId::Direct(account) = conversation else { return Some(()) };
    (view::contact(rows, account)?.outgoing == 0).then_some(())
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
