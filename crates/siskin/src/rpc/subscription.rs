//! Events for one subscriber: changes of rows, and each message once.
//!
//! Messages are read from rows after a cursor for each conversation, which is an arrival number. A
//! subscriber that returns with its cursors misses nothing, however long it was away.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use client::view;
use proto::{ConversationId, Rows};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};

use super::{resolve, types::Event};
use crate::{
    api::Events,
    engine::{Engine, Notice},
    failure::Failure,
};

/// The parameters of `events.subscribe`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscribe {
    /// The last arrival that was seen, by conversation; other conversations start from now.
    #[serde(default)]
    pub(crate) after: BTreeMap<String, u64>,
}

/// What `events.subscribe` returns.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Subscribed {
    /// The cursor at which each conversation starts.
    pub(crate) after: BTreeMap<String, u64>,
}

/// What one subscriber has yet to receive.
pub(crate) struct Subscription {
    engine: Arc<Engine>,
    notices: Receiver<Notice>,
    seen: BTreeMap<ConversationId, u64>,
    changed: BTreeSet<ConversationId>,
    ready: VecDeque<Event>,
}

impl Subscription {
    pub(super) async fn open(
        engine: Arc<Engine>,
        params: Subscribe,
    ) -> Result<(Self, Subscribed), Failure> {
        let mut after = BTreeMap::new();
        for (conversation, arrival) in params.after {
            after.insert(resolve::conversation(&conversation)?, arrival);
        }
        // Subscribes before it reads, so that it misses no change in between.
        let notices = engine.notices();
        let last = engine.read(last_arrivals).await?;
        let (mut seen, mut subscribed) = (BTreeMap::new(), BTreeMap::new());
        for (conversation, last) in last {
            // A cursor from before the conversation was created again means nothing.
            let start = after.get(&conversation).map_or(last, |after| *after.min(&last));
            seen.insert(conversation, start);
            subscribed.insert(conversation.to_string(), start);
        }
        let changed = seen.keys().copied().collect();
        let subscription = Self { engine, notices, seen, changed, ready: VecDeque::new() };
        Ok((subscription, Subscribed { after: subscribed }))
    }

    /// Reads all conversations again, because notices were lost.
    async fn resync(&mut self) -> Result<(), Failure> {
        self.changed.extend(self.engine.read(conversations).await?);
        self.ready.push_back(Event::Resync);
        Ok(())
    }

    fn on_notice(&mut self, notice: Notice) {
        let event = match notice {
            Notice::Timeline(conversation) => {
                self.changed.insert(conversation);
                return;
            }
            Notice::Account => Event::Account,
            Notice::Contacts => Event::Contacts,
            Notice::Typing { conversation, account } => {
                let (conversation, account) = (conversation.to_string(), account.to_string());
                Event::Typing { conversation, account }
            }
            Notice::LinkChanged(node, up) => Event::Link { node: node.to_string(), up },
            Notice::Sent(with) => Event::Sent { conversation: with.to_string() },
        };
        self.ready.push_back(event);
    }

    /// Emits the new messages of a conversation, and that it may have changed.
    async fn read(&mut self, id: ConversationId) -> Result<(), Failure> {
        let seen = self.seen.get(&id).copied().unwrap_or_default();
        let read = self.engine.read(move |rows| {
            let arrivals = view::arrivals(rows, &id, seen, PAGE);
            (name(rows, &id), arrivals, view::last_arrival(rows, &id))
        });
        let (Some(name), arrivals, last) = read.await? else { return Ok(()) };
        let whole = arrivals.len() < PAGE;
        let next = if whole { Some(last) } else { arrivals.last().map(|(arrival, _)| *arrival) };
        self.seen.insert(id, next.unwrap_or(seen).max(seen));
        for (arrival, message) in arrivals {
            let (conversation, name, message) = (id.to_string(), name.clone(), message.into());
            self.ready.push_back(Event::Message { conversation, name, arrival, message });
        }
        if whole {
            self.ready.push_back(Event::Timeline { conversation: id.to_string() });
        } else {
            self.changed.insert(id);
        }
        Ok(())
    }
}

impl Events for Subscription {
    type Event = Event;

    async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if let Some(conversation) = self.changed.pop_first() {
                self.read(conversation).await?;
                continue;
            }
            match self.notices.recv().await {
                Ok(notice) => self.on_notice(notice),
                Err(RecvError::Lagged(_)) => self.resync().await?,
                Err(RecvError::Closed) => return Ok(None),
            }
            // One read of the rows serves all notices that wait.
            for _ in 0..self.notices.len().min(BURST_MAX) {
                match self.notices.try_recv() {
                    Ok(notice) => self.on_notice(notice),
                    Err(TryRecvError::Lagged(_)) => self.resync().await?,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
        }
    }
}

fn last_arrivals(rows: &dyn Rows) -> Vec<(ConversationId, u64)> {
    let all = conversations(rows).into_iter();
    all.map(|conversation| (conversation, view::last_arrival(rows, &conversation))).collect()
}

fn conversations(rows: &dyn Rows) -> Vec<ConversationId> {
    let contacts = view::contacts(rows).into_iter();
    contacts.filter(|contact| contact.log.is_some()).map(|view| view.account.into()).collect()
}

/// Returns what a conversation is called: a direct one like the contact.
fn name(rows: &dyn Rows, conversation: &ConversationId) -> Option<String> {
    let ConversationId::Direct(account) = conversation else { return None };
    view::contact(rows, account).map(|contact| contact.name)
}

/// Messages read at once.
const PAGE: usize = 64;
/// Notices taken at once.
const BURST_MAX: usize = 256;
