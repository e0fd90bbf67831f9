//! Events for one subscriber: changes of rows, and each message once.
//!
//! Messages are read from rows after a cursor for each conversation, which is an arrival number. A
//! subscriber that returns with its cursors misses nothing, however long it was away.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use client::view::{self, ContactView};
use proto::{AccountId, LogId};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};

use super::types::Event;
use crate::{
    api::Events,
    engine::{Engine, Notice},
    failure::Failure,
};

/// The parameters of `events.subscribe`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscribe {
    /// The last arrival that was seen, by the contact's account; other contacts start from now.
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
    seen: BTreeMap<LogId, u64>,
    changed: BTreeSet<LogId>,
    ready: VecDeque<Event>,
}

impl Subscription {
    pub(super) async fn open(
        engine: Arc<Engine>,
        params: Subscribe,
    ) -> Result<(Self, Subscribed), Failure> {
        let mut after = BTreeMap::new();
        for (account, arrival) in params.after {
            let account: AccountId =
                account.parse().map_err(|error| Failure::usage(format!("`{account}`: {error}")))?;
            after.insert(account, arrival);
        }
        // Subscribes before it reads, so that it misses no change in between.
        let notices = engine.notices();
        let last = engine.read(last_arrivals).await?;
        let (mut seen, mut subscribed) = (BTreeMap::new(), BTreeMap::new());
        for (account, log, last) in last {
            // A cursor from before the conversation was created again means nothing.
            let start = after.get(&account).map_or(last, |after| *after.min(&last));
            seen.insert(log, start);
            subscribed.insert(account.to_string(), start);
        }
        let changed = seen.keys().copied().collect();
        let subscription = Self { engine, notices, seen, changed, ready: VecDeque::new() };
        Ok((subscription, Subscribed { after: subscribed }))
    }

    /// Reads all conversations again, because notices were lost.
    async fn resync(&mut self) -> Result<(), Failure> {
        self.changed.extend(self.engine.read(logs).await?);
        self.ready.push_back(Event::Resync);
        Ok(())
    }

    async fn noticed(&mut self, notice: Notice) -> Result<(), Failure> {
        let event = match notice {
            Notice::Timeline(log) => {
                self.changed.insert(log);
                return Ok(());
            }
            Notice::Account => Event::Account,
            Notice::Contacts => Event::Contacts,
            Notice::Typing(account) => Event::Typing { contact: account.to_string() },
            Notice::LinkChanged(node, up) => Event::Link { node: node.to_string(), up },
            Notice::Sent(log) => match self.contact(log).await? {
                Some(contact) => Event::Sent { contact: contact.account.to_string() },
                None => return Ok(()),
            },
        };
        self.ready.push_back(event);
        Ok(())
    }

    /// Emits the new messages of a conversation, and that it may have changed.
    async fn read(&mut self, log: LogId) -> Result<(), Failure> {
        let seen = self.seen.get(&log).copied().unwrap_or_default();
        let read = self.engine.read(move |rows| {
            let contact = view::contacts(rows).into_iter().find(|c| c.conversation == Some(log));
            let arrivals = view::arrivals(rows, &log, seen, PAGE);
            (contact, arrivals, view::last_arrival(rows, &log))
        });
        let (Some(ContactView { account, name, .. }), arrivals, last) = read.await? else {
            return Ok(());
        };
        let contact = account.to_string();
        let whole = arrivals.len() < PAGE;
        let next = if whole { Some(last) } else { arrivals.last().map(|(arrival, _)| *arrival) };
        self.seen.insert(log, next.unwrap_or(seen).max(seen));
        for (arrival, message) in arrivals {
            let (contact, name, message) = (contact.clone(), name.clone(), message.into());
            self.ready.push_back(Event::Message { contact, name, arrival, message });
        }
        if whole {
            self.ready.push_back(Event::Timeline { contact });
        } else {
            self.changed.insert(log);
        }
        Ok(())
    }

    async fn contact(&self, log: LogId) -> Result<Option<ContactView>, Failure> {
        let contacts = self.engine.read(view::contacts).await?;
        Ok(contacts.into_iter().find(|contact| contact.conversation == Some(log)))
    }
}

impl Events for Subscription {
    type Event = Event;

    async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if let Some(log) = self.changed.pop_first() {
                self.read(log).await?;
                continue;
            }
            match self.notices.recv().await {
                Ok(notice) => self.noticed(notice).await?,
                Err(RecvError::Lagged(_)) => self.resync().await?,
                Err(RecvError::Closed) => return Ok(None),
            }
            // One read of the rows serves all notices that wait.
            for _ in 0..self.notices.len().min(BURST_MAX) {
                match self.notices.try_recv() {
                    Ok(notice) => self.noticed(notice).await?,
                    Err(TryRecvError::Lagged(_)) => self.resync().await?,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
        }
    }
}

fn last_arrivals(rows: &dyn proto::Rows) -> Vec<(AccountId, LogId, u64)> {
    let contacts = view::contacts(rows).into_iter();
    contacts
        .filter_map(|contact| Some((contact.account, contact.conversation?)))
        .map(|(account, log)| (account, log, view::last_arrival(rows, &log)))
        .collect()
}

fn logs(rows: &dyn proto::Rows) -> Vec<LogId> {
    view::contacts(rows).into_iter().filter_map(|contact| contact.conversation).collect()
}

/// Messages read at once.
const PAGE: usize = 64;
/// Notices taken at once.
const BURST_MAX: usize = 256;
