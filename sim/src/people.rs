//! People: they make accounts, get acquainted, talk, and look at what their devices show.

use std::time::Duration;

use client::{
    Action, Command, CommandError, ContactState, DeliveryStatus, Event, Reply,
    view::{self, MessageView},
};
use crypto::identity::Phrase;
use proto::{AccountId, ConversationId, LogId, NodeId, limits};

use crate::{
    Mutant,
    driver::Host,
    env::Happening,
    model::{Act, Operation},
    person::{Asked, Thread},
    report::Rule,
    world::World,
};

impl World<'_> {
    /// Everybody has a first moment soon.
    pub(crate) fn wake_people(&mut self) {
        for number in 0..self.scenario.people {
            if let Some(person) = self.people.get_mut(number as usize) {
                let soon = person.rng.between(Duration::ZERO, MOMENT);
                self.env.queue.enter(self.env.now.after(soon), Happening::Moment(number));
            }
        }
    }

    /// A person looks at the device: to exchange invites and accept contacts, or to talk.
    pub(crate) fn moment(&mut self, number: u32) {
        let every = self.scenario.talk.every.0;
        let is_up = self.devices.get(number as usize).is_some_and(Host::is_up);
        if is_up {
            self.get_on(number);
            self.talk(number);
        }
        let Some(person) = self.people.get_mut(number as usize) else { return };
        let next = if is_up && person.is_settled() {
            if person.acts_left == 0 {
                return;
            }
            person.rng.between(Duration::ZERO, every.saturating_mul(2))
        } else {
            person.rng.between(MOMENT_MIN, MOMENT)
        };
        self.env.queue.enter(self.env.now.after(next), Happening::Moment(number));
    }

    /// Does what is next on the way to an account and contacts.
    fn get_on(&mut self, number: u32) {
        let Some(person) = self.people.get(number as usize) else { return };
        if person.is_settled() && person.account.is_some() {
            return;
        }
        if person.account.is_none() {
            return self.create_account(number);
        }
        let Some(device) = self.devices.get(number as usize) else { return };
        let contacts = view::contacts(device.rows());
        for friend in person.friends.clone() {
            let account = self.people.get(friend as usize).and_then(|friend| friend.account);
            let contact = contacts.iter().find(|contact| Some(contact.account) == account);
            let state = contact.map_or(ContactState::None, |contact| contact.state);
            let lost = contact.is_some_and(|contact| !contact.trouble.is_empty());
            if let Some(account) = account {
                self.approach(number, friend, account, state, lost);
            }
        }
    }

    fn approach(
        &mut self,
        number: u32,
        friend: u32,
        contact: AccountId,
        state: ContactState,
        lost: bool,
    ) {
        let Some(person) = self.people.get_mut(number as usize) else { return };
        match state {
            ContactState::Established => _ = person.established.insert(friend),
            ContactState::Asking => self.ask(number, Asked::Other, Action::Accept { contact }),
            ContactState::Requested => {}
            ContactState::None | ContactState::Adding => {
                if lost && person.tried.remove(&friend) {
                    // The link does not work: they ask for another one.
                    person.links.remove(&friend);
                    if let Some(friend) = self.people.get_mut(friend as usize) {
                        friend.invited.remove(&number);
                    }
                }
                self.use_link(number, friend);
                self.give_link(number, friend);
            }
        }
    }

    fn use_link(&mut self, number: u32, friend: u32) {
        let Some(person) = self.people.get_mut(number as usize) else { return };
        let Some(link) = person.links.get(&friend).cloned() else { return };
        if person.tried.insert(friend) {
            let name = name_given(friend);
            self.ask(number, Asked::Link(friend), Action::AddContact { link, name });
        }
    }

    fn give_link(&mut self, number: u32, friend: u32) {
        let Some(person) = self.people.get_mut(number as usize) else { return };
        if person.invites.contains(&friend) && person.invited.insert(friend) {
            let invite = Action::Invite { uses: 1, valid_s: INVITE_VALID_S };
            self.ask(number, Asked::Invite(friend), invite);
        }
    }

    fn create_account(&mut self, number: u32) {
        let homes = self.home_addresses(number);
        let Some(person) = self.people.get_mut(number as usize) else { return };
        if person.asked.values().any(|asked| *asked == Asked::Account) {
            return;
        }
        let phrase = Phrase::generate(person.rng.generator());
        // The marker in it reveals a name that is readable for others than friends.
        let name = name_given(number);
        let create = Action::CreateAccount { phrase, name, homes };
        self.ask(number, Asked::Account, create);
        let copies = self.scenario.copies;
        if copies > limits::COPIES_MIN {
            let acks = copies.min(ACKS_WANTED_MAX);
            self.ask(number, Asked::Other, Action::WantCopies { copies, acks });
        }
    }

    fn talk(&mut self, number: u32) {
        let talk = &self.scenario.talk;
        let Some(person) = self.people.get_mut(number as usize) else { return };
        if person.acts_left == 0 || !self.talking {
            return;
        }
        let friends: Vec<u32> = person.established.iter().copied().collect();
        let Some(friend) = person.rng.pick(&friends).copied() else { return };
        person.acts_left = person.acts_left.saturating_sub(1);
        let chances = [talk.edits, talk.deletions, talk.reactions, talk.reads, talk.rekeys];
        match person.rng.which(&chances) {
            Some(0) => self.edit(number, friend),
            Some(1) => self.delete(number, friend),
            Some(2) => self.react(number, friend),
            Some(3) => self.simply(number, friend, |contact| Action::MarkRead {
                conversation: contact.into(),
            }),
            Some(4) => self
                .simply(number, friend, |contact| Action::Rekey { conversation: contact.into() }),
            _ => self.say(number, friend),
        }
    }

    /// Says something to a friend.
    pub(crate) fn say(&mut self, number: u32, friend: u32) {
        let (operation, text) = self.model.does(number, friend, Act::Say, self.env.now);
        self.perform(number, friend, operation, |contact| Action::Send {
            conversation: contact.into(),
            text: text.into(),
            reply_to: None,
        });
    }

    fn edit(&mut self, number: u32, friend: u32) {
        let Some((old, target)) =
            self.one_of(number, |world| world.model.own_recent(number, friend))
        else {
            return self.say(number, friend);
        };
        let (operation, text) = self.model.does(number, friend, Act::Edit(old), self.env.now);
        self.perform(number, friend, operation, |contact| Action::Edit {
            conversation: contact.into(),
            target,
            text: text.into(),
        });
    }

    fn delete(&mut self, number: u32, friend: u32) {
        let Some((old, target)) =
            self.one_of(number, |world| world.model.own_recent(number, friend))
        else {
            return self.say(number, friend);
        };
        let (operation, _) = self.model.does(number, friend, Act::Delete(old), self.env.now);
        self.perform(number, friend, operation, |contact| Action::Delete {
            conversation: contact.into(),
            target,
        });
    }

    fn react(&mut self, number: u32, friend: u32) {
        let shown = self.one_of(number, |world| world.model.shown_recent(number, friend));
        let Some((old, target)) = shown else { return self.say(number, friend) };
        let Some(person) = self.people.get_mut(number as usize) else { return };
        let emoji = person.rng.pick(&["👍", "❤", "😂", ""]).copied().unwrap_or_default();
        let act = Act::React(old, emoji.into());
        let (operation, _) = self.model.does(number, friend, act, self.env.now);
        let emoji = emoji.to_owned();
        self.perform(number, friend, operation, |contact| Action::React {
            conversation: contact.into(),
            target,
            emoji,
        });
    }

    fn one_of<T: Copy>(&mut self, number: u32, of: impl FnOnce(&Self) -> Vec<T>) -> Option<T> {
        let of = of(self);
        self.people.get_mut(number as usize)?.rng.pick(&of).copied()
    }

    fn simply(&mut self, number: u32, friend: u32, act: impl FnOnce(AccountId) -> Action) {
        if let Some(contact) = self.account_of(friend) {
            self.ask(number, Asked::Other, act(contact));
        }
    }

    fn perform(
        &mut self,
        number: u32,
        friend: u32,
        operation: Operation,
        act: impl FnOnce(AccountId) -> Action,
    ) {
        match self.account_of(friend) {
            Some(contact) => self.ask(number, Asked::Operation(operation), act(contact)),
            None => self.model.refused(operation),
        }
    }

    pub(crate) fn account_of(&self, person: u32) -> Option<AccountId> {
        self.people.get(person as usize)?.account
    }

    fn ask(&mut self, number: u32, asked: Asked, action: Action) {
        let Some(person) = self.people.get_mut(number as usize) else { return };
        let ticket = person.ask(asked);
        let Some(device) = self.devices.get_mut(number as usize) else { return };
        device.command(Command { ticket, action }, &mut self.env);
        self.hears(number);
    }

    /// A person takes note of what the device says.
    pub(crate) fn hears(&mut self, number: u32) {
        let Some(device) = self.devices.get_mut(number as usize) else { return };
        for event in device.take_events() {
            match event {
                Event::Done { ticket, result } => self.answered(number, ticket, result),
                Event::Timeline(with) => self.looks_at(number, with),
                Event::Account
                | Event::Contacts
                | Event::Typing { .. }
                | Event::LinkChanged(..)
                | Event::Sent(_) => {}
                Event::Convicted(node) => self.convicts(number, &node),
            }
        }
    }

    /// A device holds a proof against one of its homes.
    fn convicts(&mut self, number: u32, convicted: &NodeId) {
        let is_it = |node: u32| {
            self.addresses.get(node as usize).is_some_and(|address| address.node == *convicted)
        };
        if !self.scenario.adversaries.iter().any(|adversary| is_it(adversary.node)) {
            let text =
                format!("the device of person {number} convicts {convicted}, which is honest");
            self.report(Rule::Slander, text);
        }
        self.env.tally.convicted = self.env.tally.convicted.saturating_add(1);
    }

    fn answered(&mut self, number: u32, ticket: u64, result: Result<Reply, CommandError>) {
        let Some(person) = self.people.get_mut(number as usize) else { return };
        let Some(asked) = person.asked.remove(&ticket) else { return };
        match (asked, result) {
            (Asked::Account, Ok(Reply::Account(account))) => {
                person.account = Some(account);
                self.accounts.insert(account, number);
                self.model.names(number, account);
                let name = person.name.clone();
                self.env.trace.name_account(account, &name);
            }
            (Asked::Invite(friend), Ok(Reply::Link(link))) => {
                if let Some(friend) = self.people.get_mut(friend as usize) {
                    friend.links.insert(number, link);
                }
            }
            (Asked::Operation(operation), Ok(reply)) => {
                let envelope = match reply {
                    Reply::Envelope(envelope) => Some(envelope),
                    Reply::Nothing | Reply::Waiting | Reply::Link(_) | Reply::Account(_) => None,
                };
                self.model.taken(operation, envelope);
            }
            (Asked::Operation(operation), Err(_)) => self.model.refused(operation),
            (Asked::Account | Asked::Invite(_) | Asked::Link(_) | Asked::Other, _) => {}
        }
    }

    /// A person looks at what is new in a conversation.
    fn looks_at(&mut self, number: u32, conversation: ConversationId) {
        let Some(device) = self.devices.get(number as usize) else { return };
        let Some(log) = view::log(device.rows(), &conversation) else { return };
        let Some(thread) = self.thread(number, conversation, log) else { return };
        let Some(device) = self.devices.get(number as usize) else { return };
        let last = view::last_arrival(device.rows(), &conversation);
        if last <= thread.arrivals {
            // A refusal is a mark: what the person says next does not depend on what was refused.
            return self.check_statuses_closely(number, thread.with, conversation);
        }
        let new = view::arrivals(device.rows(), &conversation, thread.arrivals, usize::MAX);
        let new: Vec<_> = new.into_iter().map(|(_, message)| message).collect();
        if let Some(person) = self.people.get_mut(number as usize) {
            person.threads.insert(log, Thread { arrivals: last, ..thread });
        }
        let is_new = |m: &MessageView| m.own && !self.model.knows(&m.key.id.reference());
        let resealed = new.iter().any(is_new);
        self.follow_moves(number, thread.with, conversation, &new);
        let found = self.model.shows(number, thread.with, &new, self.env.now);
        self.accuse(found);
        self.check_statuses_closely(number, thread.with, conversation);
        if resealed {
            self.look_for_refused(number, thread.with, conversation);
        }
    }

    /// Own messages that were sealed again have other names. A deleted message has no text any more
    /// and is recognised by its old name.
    fn follow_moves(
        &mut self,
        number: u32,
        with: u32,
        conversation: ConversationId,
        new: &[MessageView],
    ) {
        let is_new = |m: &&MessageView| {
            m.own && m.text.is_none() && !self.model.knows(&m.key.id.reference())
        };
        let Some(device) = self.devices.get(number as usize) else { return };
        if new.iter().find(is_new).is_none() {
            return;
        }
        for (operation, old) in self.model.on_the_way(number, with) {
            let found = view::message(device.rows(), &conversation, &old);
            if let Some(found) = found.filter(|found| found.key.id.reference() != old) {
                self.model.moved(operation, found.key);
            }
        }
    }

    /// The same as `check_statuses`, in a world that is small enough to do so each time.
    fn check_statuses_closely(&mut self, number: u32, with: u32, conversation: ConversationId) {
        if self.scenario.people <= CLOSE_LOOK_MAX {
            self.check_statuses(number, with, conversation);
        }
    }

    /// A person looks at what has become of the last own messages.
    fn check_statuses(&mut self, number: u32, with: u32, conversation: ConversationId) {
        let Some(device) = self.devices.get(number as usize) else { return };
        let now = device.local(self.env.now);
        let latest =
            view::timeline(device.rows(), &conversation, view::Range::Latest, STATUSES_SEEN, now);
        let latest: Vec<_> = latest.into_iter().filter_map(message).collect();
        let found = self.model.statuses(number, with, &latest, self.env.now);
        self.accuse(found);
    }

    /// Finds the refused message because of which others were sealed again. It may stand far above
    /// what is on the screen.
    fn look_for_refused(&mut self, number: u32, with: u32, conversation: ConversationId) {
        let Some(device) = self.devices.get(number as usize) else { return };
        let on_the_way = self.model.on_the_way(number, with);
        let on_the_way = on_the_way.iter();
        let marked: Vec<_> = on_the_way
            .filter_map(|(_, name)| view::message(device.rows(), &conversation, name))
            .filter(|message| message.status == Some(DeliveryStatus::Refused))
            .collect();
        let found = self.model.statuses(number, with, &marked, self.env.now);
        self.accuse(found);
    }

    /// Returns a friend as the person's device knows them.
    pub(crate) fn contact(&self, person: u32, friend: u32) -> Option<view::ContactView> {
        let account = self.account_of(friend)?;
        view::contact(self.devices.get(person as usize)?.rows(), &account)
    }

    /// The conversation behind a log, as its owner knows it.
    fn thread(&mut self, number: u32, conversation: ConversationId, log: LogId) -> Option<Thread> {
        let person = self.people.get(number as usize)?;
        if let Some(thread) = person.threads.get(&log) {
            return Some(*thread);
        }
        let ConversationId::Direct(contact) = conversation else { return None };
        let with = *self.accounts.get(&contact)?;
        let names = [number.min(with), number.max(with)].map(|person| {
            self.people.get(person as usize).map_or("", |person| person.name.as_str())
        });
        self.env.trace.name_log(log, &names.join(" & "));
        Some(Thread { with, arrivals: 0 })
    }

    /// After a restart a person looks at everything again.
    pub(crate) fn looks_again(&mut self, number: u32) {
        let Some(device) = self.devices.get(number as usize) else { return };
        let contacts = view::contacts(device.rows());
        let now = device.local(self.env.now);
        let Some(person) = self.people.get_mut(number as usize) else { return };
        person.threads.clear();
        for friend in person.friends.clone() {
            let account = self.account_of(friend);
            let contact = contacts.iter().find(|contact| Some(contact.account) == account);
            let log = contact.and_then(|contact| contact.log);
            let Some(device) = self.devices.get(number as usize) else { return };
            let conversation = account.filter(|_| log.is_some()).map(ConversationId::Direct);
            let timeline = conversation.map(|with| self.timeline(device.rows(), &with, now));
            let arrivals = conversation.map(|with| view::last_arrival(device.rows(), &with));
            let last = log.zip(arrivals);
            let found =
                self.model.restarted(number, friend, &timeline.unwrap_or_default(), self.env.now);
            self.accuse(found);
            if let (Some((log, arrivals)), Some(person)) =
                (last, self.people.get_mut(number as usize))
            {
                person.threads.insert(log, Thread { with: friend, arrivals });
            }
        }
        // The account may exist although its creation was never reported.
        let account = self.devices.get(number as usize).and_then(|d| view::account(d.rows()));
        if let (Some(account), Some(person)) = (account, self.people.get_mut(number as usize))
            && person.account.is_none()
        {
            person.account = Some(account.account);
            self.accounts.insert(account.account, number);
            self.model.names(number, account.account);
            let name = person.name.clone();
            self.env.trace.name_account(account.account, &name);
        }
    }

    /// A whole timeline as the device shows it.
    pub(crate) fn timeline(
        &self,
        rows: &dyn proto::Rows,
        conversation: &ConversationId,
        now: proto::Instant,
    ) -> Vec<MessageView> {
        if self.options.mutant == Some(Mutant::TimelineByArrival) {
            let all = view::arrivals(rows, conversation, 0, usize::MAX);
            return all.into_iter().map(|(_, message)| message).collect();
        }
        let items = view::timeline(rows, conversation, view::Range::Latest, usize::MAX, now);
        items.into_iter().filter_map(message).collect()
    }
}

fn message(item: view::Item) -> Option<MessageView> {
    match item {
        view::Item::Message(message) => Some(message),
        view::Item::Gap { .. } => None,
    }
}

/// A name with the marker that nodes must never see.
fn name_given(person: u32) -> String {
    format!("{} {person}", crate::model::MARKER)
}

/// The most node acks that an account with more than two copies waits for.
const ACKS_WANTED_MAX: u32 = 3;
/// How often a person without all contacts yet looks at the device.
const MOMENT: Duration = Duration::from_secs(1);
const MOMENT_MIN: Duration = Duration::from_millis(250);
const INVITE_VALID_S: u64 = 3600 * 24 * 60;
/// People in a world that is small enough to look at marks all the time.
const CLOSE_LOOK_MAX: u32 = 20;
/// Messages whose marks are on the screen.
const STATUSES_SEEN: usize = 16;
