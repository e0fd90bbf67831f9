//! Events for one subscriber: changes of rows, and each message once.
//!
//! Messages are read from rows after a cursor for each conversation, its log and an arrival number.
//! A subscriber that returns with its cursors misses nothing, however long it was away.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use client::view;
use proto::{ConversationId, LogId, Rows};
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
    /// The last message that was seen, by conversation; other conversations start from now.
    #[serde(default)]
    pub(crate) after: BTreeMap<String, Cursor>,
}

/// How far a subscriber has read a conversation. Arrivals are numbered per log: a conversation that
/// begins again, after a recovery or a removal, has another log and counts from one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    pub(crate) log: String,
    pub(crate) arrival: u64,
}

/// What `events.subscribe` returns.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Subscribed {
    /// The cursor at which each conversation starts.
    pub(crate) after: BTreeMap<String, Cursor>,
}

/// What one subscriber has yet to receive.
pub(crate) struct Subscription {
    engine: Arc<Engine>,
    notices: Receiver<Notice>,
    seen: BTreeMap<ConversationId, (LogId, u64)>,
    changed: BTreeSet<ConversationId>,
    ready: VecDeque<Event>,
}

impl Subscription {
    pub(super) async fn open(
        engine: Arc<Engine>,
        params: Subscribe,
    ) -> Result<(Self, Subscribed), Failure> {
        let mut after = BTreeMap::new();
        for (conversation, cursor) in params.after {
            if after.insert(resolve::conversation(&conversation)?, cursor).is_some() {
                return Err(Failure::usage(format!("`{conversation}` is named twice")));
            }
        }
        // Subscribes before it reads, so that it misses no change in between.
        let notices = engine.notices();
        let last = engine.read(last_arrivals).await?;
        let (mut seen, mut subscribed) = (BTreeMap::new(), BTreeMap::new());
        for (conversation, log, last) in last {
            let arrival = after.get(&conversation).map_or(last, |cursor| cursor.arrival_in(&log));
            let arrival = arrival.min(last);
            seen.insert(conversation, (log, arrival));
            subscribed.insert(conversation.to_string(), Cursor { log: log.to_string(), arrival });
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
        let seen = self.seen.get(&id).copied();
        let read = self.engine.read(move |rows| {
            let log = view::log(rows, &id)?;
            let seen = seen.filter(|(before, _)| *before == log).map_or(0, |(_, arrival)| arrival);
            let arrivals = view::arrivals(rows, &id, seen, PAGE);
            Some((log, seen, name(rows, &id)?, arrivals, view::last_arrival(rows, &id)))
        });
        let Some((log, seen, name, arrivals, last)) = read.await? else { return Ok(()) };
        let whole = arrivals.len() < PAGE;
        let next = if whole { Some(last) } else { arrivals.last().map(|(arrival, _)| *arrival) };
        self.seen.insert(id, (log, next.unwrap_or(seen).max(seen)));
        for (arrival, message) in arrivals {
            self.ready.push_back(Event::Message {
                conversation: id.to_string(),
                name: name.clone(),
                log: log.to_string(),
                arrival,
                message: Box::new(message.into()),
            });
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

impl Cursor {
    /// Returns the last arrival that was seen in `log`: none, if the cursor is of another one.
    fn arrival_in(&self, log: &LogId) -> u64 {
        if self.log == log.to_string() { self.arrival } else { 0 }
    }
}

fn last_arrivals(rows: &dyn Rows) -> Vec<(ConversationId, LogId, u64)> {
    let all = conversations(rows).into_iter();
    all.filter_map(|conversation| {
        let log = view::log(rows, &conversation)?;
        Some((conversation, log, view::last_arrival(rows, &conversation)))
    })
    .collect()
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
