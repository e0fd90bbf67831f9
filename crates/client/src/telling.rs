//! Telling, and learning, where a conversation is when somebody has moved. Specified in
//! `spec/delivery.md`, section 7.
//!
//! Whoever moves tells the other nodes of a ranking itself: their people may be asleep, and a node
//! believes no other node. Where a contact has moved to its old home knows, or the network.

use std::time::Duration;

use proto::{AccountId, Body, Code, LogGenesis, LogId, NodeId};

use crate::{
    Client, ContactState, contact,
    errand::{Errand, may_pass},
    link::{Ask, Opening, Purpose},
    machine::{Timer, pause},
    outbox::announced,
    schema::{self, CONTACTS, Contact},
    step::Step,
};

impl Client {
    /// Tells a node of all rankings that it has to know, and asks it where the contacts are: it is
    /// the home of theirs, or was.
    pub(crate) fn tell(&mut self, step: &mut Step<'_>, node: &NodeId) {
        let Some(me) = self.me.as_ref().filter(|me| !me.locked_out()) else { return };
        if !self.links.is_up(node) || me.has_to_tell(&self.links) {
            return;
        }
        let is_home = me.is_served(node);
        let logs = self.conversations.values().filter(|c| c.untold.contains(node));
        for (log, account) in logs.map(|c| (c.log, c.contact)).collect::<Vec<_>>() {
            self.ask_where(step, node, account);
            if !is_home {
                self.tell_with(step, node, &log, 0);
            }
        }
    }

    /// A node has said what it knows of a contact. The own home is told rankings when it opens logs.
    pub(crate) fn is_told_where(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        account: &AccountId,
    ) {
        if !self.me.as_ref().is_some_and(|me| me.is_served(node)) {
            return;
        }
        for conversation in self.conversations.values_mut().filter(|c| c.contact == *account) {
            if conversation.untold.remove(node) {
                conversation.save(step);
            }
        }
    }

    /// Tells a node a ranking, with the write key so many epochs back. It counts if it is one that
    /// the node takes for open, which the newest one that it knows is.
    fn tell_with(&mut self, step: &mut Step<'_>, node: &NodeId, log: &LogId, back: usize) {
        let Some(conversation) = self.conversations.get(log) else { return };
        let tells = |ask: &Purpose| matches!(ask, Purpose::Tell(_));
        if self.links.has(node, |handle| handle.log == *log && tells(&handle.purpose)) {
            return;
        }
        let keys = conversation.keys_back(&announced(&step.draft, log));
        let Some(key) = keys.get(back) else {
            return self.put_off(step, node, Errand::Tell, Code::Busy);
        };
        let (ranking, purpose) = (Some(conversation.ranking.clone()), Purpose::Tell(back));
        let opening =
            Opening { log: *log, key, purpose, genesis: None, tail: None, brief: false, ranking };
        self.links.open(step, node, opening);
    }

    /// A node knows a ranking now.
    pub(crate) fn ranking_is_told(&mut self, step: &mut Step<'_>, node: &NodeId, log: &LogId) {
        let tells = |purpose| matches!(purpose, Purpose::Tell(_));
        self.links.close_at(step, node, |handle| handle.log == *log && tells(handle.purpose));
        if let Some(conversation) = self.conversations.get_mut(log)
            && conversation.untold.remove(node)
        {
            conversation.save(step);
        }
        self.drop_idle_links(step);
    }

    /// A node did not open a log to be told of its ranking.
    pub(crate) fn telling_refused(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        (log, back): (&LogId, usize),
        code: Code,
    ) {
        if code == Code::Forbidden {
            self.tell_with(step, node, log, back.saturating_add(1));
        } else if code == Code::NotFound || may_pass(code) {
            // It may have no copy because the contact has yet to accept.
            self.put_off(step, node, Errand::Tell, Code::Busy);
        } else {
            self.ranking_is_told(step, node, log);
        }
    }

    /// The contact knows the newest record of this account, and tells its own home.
    pub(crate) fn is_known_to(&mut self, step: &mut Step<'_>, log: &LogId) {
        if let Some(conversation) = self.conversations.get_mut(log)
            && !conversation.untold.is_empty()
        {
            conversation.untold.clear();
            conversation.save(step);
            self.drop_idle_links(step);
        }
    }
}

/// Where somebody is.
impl Client {
    /// Asks a node for the newest record of an account.
    fn ask_where(&mut self, step: &mut Step<'_>, node: &NodeId, account: AccountId) {
        let asks = |ask: &Ask| matches!(ask, Ask::GetBundle(asked) if *asked == account);
        if self.links.is_up(node) && self.links.awaited(node, asks) == 0 {
            self.links.ask(step, node, Ask::GetBundle(account), Body::GetBundle(account));
        }
    }

    /// Has the own home look for the newest record of a contact.
    pub(crate) fn look_for(&mut self, step: &mut Step<'_>, account: AccountId) {
        let home = self.me.as_ref().and_then(|me| me.home()).map(|home| home.node);
        if let Some(home) = home {
            self.ask_where(step, &home, account);
        }
    }

    /// Whoever can't be reached in a moment is looked for.
    pub(crate) fn look_for_soon(&mut self, step: &Step<'_>, account: AccountId, tries: u32) {
        self.disarm_all(|timer| matches!(timer, Timer::Look(sought, _) if *sought == account));
        let wait = if tries == 0 { REACH_TIME } else { pause(tries) };
        self.arm(step.now.after(wait), Timer::Look(account, tries));
    }

    /// The same of all whose nodes this device wants to talk to.
    pub(crate) fn look_for_all(&mut self, step: &Step<'_>) {
        let contacts = schema::load_all::<Contact>(&step.draft, CONTACTS, b"");
        let adding = contacts.iter().filter(|(_, contact)| contact.state() == ContactState::Adding);
        let adding = adding.filter_map(|(account, _)| AccountId::try_from(account.as_slice()).ok());
        let untold = self.conversations.values().filter(|c| !c.untold.is_empty());
        let sought: Vec<_> = adding.chain(untold.map(|c| c.contact)).collect();
        for account in sought {
            self.look_for_soon(step, account, 0);
        }
    }

    /// Looks for a contact if none of its nodes could be reached meanwhile, and again later.
    pub(crate) fn look(&mut self, step: &mut Step<'_>, account: AccountId, tries: u32) {
        let contact = contact::load(&step.draft, &account);
        let link = contact.as_ref().and_then(contact::adding);
        let mut nodes: Vec<NodeId> =
            link.into_iter().flat_map(|link| link.nodes).map(|address| address.node).collect();
        let theirs = self.conversations.values().filter(|c| c.contact == account);
        nodes.extend(theirs.flat_map(|conversation| conversation.untold.iter().copied()));
        if nodes.is_empty() || nodes.iter().any(|node| self.links.is_up(node)) {
            return;
        }
        self.look_for(step, account);
        self.look_for_soon(step, account, tries.saturating_add(1));
    }

    /// A contact's record that is newer than the one that was known: follows them.
    pub(crate) fn follow_contact(&mut self, step: &mut Step<'_>, account: &AccountId) {
        let Some(mut contact) = contact::load(&step.draft, account) else { return };
        let (Some(mut link), Some(theirs)) = (contact::adding(&contact), contact.bundle()) else {
            return self.rank_again(step, account);
        };
        let home = theirs.homes().first().map(|home| home.node);
        if link.nodes.first().map(|address| address.node) == home {
            return;
        }
        let inbox = LogGenesis::Inbox(*account).id();
        for handle in self.links.close(step, |handle| handle.log == inbox) {
            self.unaccepted.remove(&handle);
        }
        link.nodes = theirs.homes().iter().take(2).cloned().collect();
        contact.link = link.to_string();
        contact.trouble = String::new();
        contact::save(step, account, &contact);
        for node in &link.nodes {
            self.links.want(step, node);
            self.knock(step, &node.node);
        }
        self.drop_idle_links(step);
        self.look_for_soon(step, *account, 0);
        self.rank_again(step, account);
    }
}

/// For how long a node may be out of reach before others are asked: a handshake around the world,
/// twice.
const REACH_TIME: Duration = Duration::from_secs(2);
