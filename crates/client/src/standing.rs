//! Standing in: an account's second home takes the place of the first within a moment. Specified in
//! `spec/delivery.md`, section 8.
//!
//! ```text
//!  home ──── Deliver ───▶ device ◀──── Brief (names) ──── stand-in
//!    silent for a moment, or gone ──▶ they change places: logs are opened anew, from the cursor
//!    up to which everything was named, and what the home has not answered goes to the stand-in
//! ```
//!
//! Both homes hold everything. The stand-in only names what it has, which costs little, so that the
//! device knows at all times up to where it has all of it, and notices what its home withholds.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    time::Duration,
};

use proto::{Body, Instant, LogId, NodeAddress, NodeId, Reference, Rows, limits};

use crate::{
    Client, Event,
    conversation::Conversation,
    link::{Ask, Handle, Purpose},
    machine::{Timer, pause},
    outbox::opening_at,
    schema::{self, DEFERRED, REFERENCES, join},
    step::{Durability, Step},
    sync,
    trust::{Offence, Trust},
};

/// How often home and stand-in have changed places of late, for all one knows without need.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    changed: Option<Instant>,
    changes: u32,
    /// How often in a row none of the two was to be trusted.
    in_need: u32,
    pub(crate) trust: Trust,
}

impl Standing {
    /// Until when home and stand-in keep their places.
    fn rests_until(&self, now: Instant) -> Instant {
        let Some(changed) = self.changed else { return now };
        changed.after(REST_MIN.saturating_mul(1 << self.changes.min(REST_DOUBLINGS)))
    }

    /// The same if neither is to be trusted: until when one that fails keeps its place, and one that refuses.
    fn rests_in_need_until(&self) -> (Instant, Instant) {
        let Some(changed) = self.changed else { return Default::default() };
        let rest = |doublings: u32| REST_SHUNNED.saturating_mul(1_u32 << doublings);
        let least = self.rests_until(changed);
        (least.after(rest(0)), least.after(rest(self.in_need.min(REST_SHUNNED_DOUBLINGS))))
    }

    fn change(&mut self, now: Instant, in_need: bool) {
        self.in_need = if in_need { self.in_need.saturating_add(1) } else { 0 };
        let calm = self.changed.map_or(0, |changed| now.since(changed).as_secs() / CALM_S);
        let left = self.changes.saturating_sub(u32::try_from(calm).unwrap_or(u32::MAX));
        (self.changed, self.changes) = (Some(now), left.saturating_add(1));
    }

    /// The home that was given up is really gone.
    fn was_right(&mut self) {
        (self.changed, self.changes) = (None, 0);
    }
}

/// What the stand-in has named of one conversation.
#[derive(Debug, Default)]
pub(crate) struct Briefs {
    /// The last sequence that was named.
    seen: u64,
    /// What is not here, and its sequence there.
    missing: BTreeMap<Reference, u64>,
    /// What of that the stand-in was asked for.
    asked: BTreeSet<Reference>,
    /// How often opening the log there was refused.
    tries: u32,
}

impl Briefs {
    pub(crate) fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Up to where everything that was named is here.
    fn complete(&self) -> u64 {
        self.missing.values().min().map_or(self.seen, |first| first.saturating_sub(1))
    }
}

/// Two homes.
impl Client {
    /// Sees to it that the better one of the two is the home, and that one which fails is noticed. Called
    /// when all of an input is done.
    pub(crate) fn watch_home(&mut self, step: &mut Step<'_>) {
        let Some(me) = self.me.as_ref().filter(|me| !me.locked_out()) else { return };
        let (Some(home), Some(stand_in)) = (me.home(), me.stand_in()) else { return };
        let (home, stand_in) = (home.node, stand_in.node);
        if self.is_better(step.now, &stand_in, &home) {
            return self.change_homes(step);
        }
        if self.is_armed(Timer::Silence) || !self.links.is_up(&stand_in) {
            return;
        }
        let soon = step.now.after(self.links.patience(&home).min(LOOK_AGAIN));
        if self.is_failing(step.now, &home) {
            self.arm(soon.max(self.standing.rests_until(step.now)), Timer::Silence);
        } else if self.links.silent_since(&home).is_some() {
            self.arm(soon, Timer::Silence);
        }
    }

    /// Whether the stand-in should take the home's place.
    fn is_better(&self, now: Instant, stand_in: &NodeId, home: &NodeId) -> bool {
        if self.is_failing(now, stand_in) {
            return false;
        }
        let rests_until = self.standing.rests_until(now);
        let shunned = |node| self.standing.trust.shunned_until(node, now);
        match (shunned(home), shunned(stand_in)) {
            (None, None) => {
                let is_worse =
                    self.is_failing(now, home) || self.links.is_much_slower(home, stand_in);
                is_worse && now >= rests_until
            }
            // Only in need.
            (None, Some(_)) => self.is_gone(now, home) && now >= rests_until,
            (Some(_), None) => true,
            // Neither is to be trusted: whatever the one would not do, the other is asked.
            (Some(of_home), Some(of_stand_in)) => {
                let (if_it_fails, if_it_refuses) = self.standing.rests_in_need_until();
                self.is_failing(now, home) && now >= if_it_fails
                    || of_stand_in < of_home && now >= if_it_refuses
            }
        }
    }

    /// Whether a node is gone, silent although it was asked something, or does not serve this account.
    pub(crate) fn is_failing(&self, now: Instant, node: &NodeId) -> bool {
        let patience = self.links.patience(node);
        let is_silent = |since: Instant| now >= since.after(patience);
        !self.links.is_up(node)
            || self.links.silent_since(node).is_some_and(is_silent)
            || self.is_shut(node)
    }

    /// The same of one that nobody would wait for any longer.
    fn is_gone(&self, now: Instant, node: &NodeId) -> bool {
        let is_silent = |since: Instant| now >= since.after(PATIENCE_IN_NEED);
        !self.links.is_up(node)
            || self.links.silent_since(node).is_some_and(is_silent)
            || self.is_shut(node)
    }

    /// Whether a node would not let this account in.
    fn is_shut(&self, node: &NodeId) -> bool {
        let is_home = |handle: &Handle| handle.purpose == Purpose::Home;
        self.links.awaited(node, |ask| matches!(ask, Ask::PutBundle(_))) == 0
            && !self.links.has(node, is_home)
    }

    /// The connection to a home is gone.
    pub(crate) fn home_is_gone(&mut self, node: &NodeId) {
        if self.me.as_ref().is_some_and(|me| me.own().stand_in == Some(*node)) {
            self.standing.was_right();
        }
    }

    /// A home has done what speaks against it; of other nodes nothing better is expected.
    pub(crate) fn offended(&mut self, now: Instant, node: &NodeId, offence: Offence) {
        if self.me.as_ref().is_some_and(|me| me.is_served(node)) {
            self.standing.trust.note(*node, offence, now);
        }
    }

    /// A node said what no honest one says.
    pub(crate) fn caught(&mut self, now: Instant, node: &NodeId) {
        self.count_dropped();
        self.offended(now, node, Offence::Caught);
    }

    /// Whether the stand-in has a conversation's log open.
    pub(crate) fn is_briefed(&self, log: &LogId) -> bool {
        let node = self.conversations.get(log).and_then(Conversation::stand_in);
        let briefed = |handle: &Handle| handle.log == *log && handle.purpose == Purpose::Brief;
        node.is_some_and(|node| self.links.find(&node, briefed).is_some())
    }

    fn change_homes(&mut self, step: &mut Step<'_>) {
        step.must_last();
        self.disarm(Timer::Silence);
        let Some(me) = &mut self.me else { return };
        let (home, stand_in) = (me.home(), me.stand_in());
        let is_shunned =
            |home: &NodeAddress| self.standing.trust.shunned_until(&home.node, step.now).is_some();
        let in_need = home.is_some_and(is_shunned) && stand_in.is_some_and(is_shunned);
        me.change_places();
        self.standing.change(step.now, in_need);
        self.reopen_at_homes(step);
        step.event(Event::Account);
    }

    /// The device talks with another home from now on.
    pub(crate) fn reopen_at_homes(&mut self, step: &mut Step<'_>) {
        let Some(me) = &self.me else { return };
        let own = me.own();
        let homes: Vec<NodeId> = me.served().iter().map(|home| home.node).collect();
        let is_of_a_conversation = |handle: &Handle| {
            matches!(handle.purpose, Purpose::Read | Purpose::Write | Purpose::Brief)
        };
        for home in &homes {
            for handle in self.links.close_at(step, home, is_of_a_conversation) {
                self.unaccepted.remove(&handle);
            }
        }
        for conversation in self.conversations.values_mut() {
            conversation.own = own;
            conversation.flow.tries = 0;
        }
        for log in self.conversations.keys().copied().collect::<Vec<_>>() {
            self.disarm(Timer::Retry(log));
            self.open_conversation(step, &log);
        }
    }
}

/// What the stand-in names.
impl Client {
    /// Opens the log of a conversation at the stand-in, to be told what is there.
    pub(crate) fn stand_by(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let Some(node) = conversation.stand_in() else { return };
        let briefed = |handle: &Handle| handle.log == *log && handle.purpose == Purpose::Brief;
        if !self.links.is_up(&node) || self.links.has(&node, briefed) {
            return;
        }
        let tries = conversation.briefs.tries;
        conversation.briefs = Briefs { tries, ..Briefs::default() };
        let opening = opening_at(&step.draft, conversation, &node, Purpose::Brief, tries);
        let Some(opening) = opening else { return };
        self.links.open(step, &node, opening);
    }

    /// The stand-in has opened a conversation's log.
    pub(crate) fn stands_by(&mut self, step: &mut Step<'_>, log: &LogId) {
        if let Some(conversation) = self.conversations.get_mut(log) {
            conversation.briefs.tries = 0;
            conversation.awaited.begin_anew();
        }
        // It may have been away when it was to be given something.
        self.hedge(step, log);
    }

    /// The stand-in would not open a conversation's log.
    pub(crate) fn standing_by_refused(&mut self, step: &Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let later = pause(conversation.briefs.tries);
        conversation.briefs.tries = conversation.briefs.tries.saturating_add(1);
        self.arm(step.now.after(later), Timer::StandBy(*log));
    }

    /// The stand-in names an entry.
    pub(crate) fn briefed(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        number: u32,
        (sequence, reference): (u64, Reference),
    ) {
        let handle = self.links.handle(node, number).filter(|h| h.purpose == Purpose::Brief);
        let Some(handle) = handle else { return self.count_dropped() };
        if !self.links.follows(node, number, sequence) {
            self.offended(step.now, node, Offence::Caught);
        }
        let log = handle.log;
        let is_here = is_here(step, &log, &reference);
        let Some(conversation) = self.conversations.get_mut(&log) else { return };
        let briefs = &mut conversation.briefs;
        if !is_here && briefs.missing.len() >= BRIEFS_MAX {
            return self.count_dropped();
        }
        briefs.seen = briefs.seen.max(sequence);
        step.durability = Durability::Later;
        if !is_here {
            briefs.missing.insert(reference, sequence);
            let home = conversation.node().map(|address| address.node);
            let patience = home.map_or(Duration::ZERO, |home| self.links.patience(&home));
            self.arm(step.now.after(patience), Timer::Brief(log));
        }
        self.move_brief(step, node, (number, &log));
    }

    /// Something has arrived that the stand-in may have named.
    pub(crate) fn check_briefs(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        if conversation.briefs.missing.is_empty() {
            return;
        }
        conversation.briefs.missing.retain(|reference, _| !is_here(step, log, reference));
        self.move_briefs(step, log);
    }

    fn move_briefs(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(node) = self.conversations.get(log).and_then(Conversation::stand_in) else {
            return;
        };
        let briefed = |handle: &Handle| handle.log == *log && handle.purpose == Purpose::Brief;
        if let Some(number) = self.links.find(&node, briefed) {
            self.move_brief(step, &node, (number, log));
        }
    }

    /// The cursor at the stand-in follows what is here.
    fn move_brief(&mut self, step: &mut Step<'_>, node: &NodeId, (number, log): (u32, &LogId)) {
        let Some(conversation) = self.conversations.get(log) else { return };
        let complete = conversation.briefs.complete();
        if !sync::advance(step, node, log, complete) {
            return;
        }
        let unaccepted = self.unaccepted.entry((*node, number)).or_default();
        unaccepted.sequence = complete;
        unaccepted.count = unaccepted.count.saturating_add(1);
        if unaccepted.count >= sync::ACCEPT_EVERY {
            self.accept_deliveries(step, node);
        } else {
            self.arm(step.now.after(ACCEPT_DELAY), Timer::Accept(*node));
        }
    }

    /// What was named should have come from the home by now: it is fetched from the stand-in, and the
    /// home is asked for it too, which shows whether it is still there.
    pub(crate) fn fetch_named(&mut self, step: &mut Step<'_>, log: &LogId) {
        self.check_briefs(step, log);
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let missing = conversation.briefs.missing.keys().copied();
        let references: Vec<_> = missing.take(limits::FETCH_MAX).collect();
        if references.is_empty() {
            return;
        }
        let briefs = &mut conversation.briefs;
        briefs.asked = references.iter().copied().collect();
        let home = conversation.node().map(|address| address.node);
        let nodes = [conversation.stand_in(), home];
        for node in nodes.into_iter().flatten() {
            let number = self.links.find(&node, |handle| handle.fetches(log));
            let handle = number.and_then(|number| self.links.handle(&node, number));
            if let (Some(number), Some(handle)) = (number, handle) {
                let body = Body::Fetch { handle: number, references: references.clone() };
                self.links.ask(step, &node, Ask::Fetch(*log, handle.key), body);
            }
        }
        self.arm(step.now.after(FETCH_AGAIN), Timer::Brief(*log));
    }

    /// The stand-in has handed over what it had named, unless there is `more`. What is still not here is
    /// nothing that a member may send.
    pub(crate) fn named_is_here(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        log: &LogId,
        more: bool,
    ) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        if conversation.stand_in() != Some(*node) {
            return;
        }
        let asked = std::mem::take(&mut conversation.briefs.asked);
        let missing = &mut conversation.briefs.missing;
        let before = missing.len();
        missing.retain(|reference, _| {
            !is_here(step, log, reference) && (more || !asked.contains(reference))
        });
        let is_useful = missing.len() < before;
        self.move_briefs(step, log);
        // What did not fit the answer, or the question, is asked for at once; of a node that says so
        // and hands over nothing, later.
        if is_useful {
            self.disarm(Timer::Brief(*log));
            self.fetch_named(step, log);
        }
    }
}

/// Whether an entry is shown, or waits for others.
fn is_here(step: &Step<'_>, log: &LogId, reference: &Reference) -> bool {
    let key = join(log, reference.0);
    if step.draft.get(REFERENCES, &key).is_some() {
        return true;
    }
    let mut waits = false;
    schema::each(&step.draft, DEFERRED, &key, &mut |_, _| {
        waits = true;
        ControlFlow::Break(())
    });
    waits
}

/// How long home and stand-in keep their places at least, doubled with each change after which the old home
/// was still there: slow ones must not make them change all the time.
const REST_MIN: Duration = Duration::from_millis(250);
const REST_DOUBLINGS: u32 = 3;
/// How much longer if neither is to be trusted.
const REST_SHUNNED: Duration = Duration::from_secs(8);
/// And twice as long with each such change, for one that refuses: full homes are so for hours, and each change
/// asks both for everything.
const REST_SHUNNED_DOUBLINGS: u32 = 4;
/// How long the home may be silent before one takes its place that is not to be trusted.
const PATIENCE_IN_NEED: Duration = Duration::from_secs(10);
/// For each so many seconds without a change one is forgotten.
const CALM_S: u64 = 10;
/// When to see again whether the home has answered: often enough that a second is not over.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Entries of a conversation that were named and are not here: as many as wait for one peer.
pub(crate) const BRIEFS_MAX: usize = limits::QUEUE_FRAMES_MAX;
/// How long the stand-in may wait to be told what has arrived: nobody waits for that.
const ACCEPT_DELAY: Duration = Duration::from_secs(10);
/// When to ask again for what was named.
const FETCH_AGAIN: Duration = Duration::from_secs(5);
