//! The phases of a run: people become contacts, talk while faults happen, then the run quiesces and
//! the rules are checked. In full: `spec/faults.md`, section 1.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use client::view;

use crate::{Milestone, Rule, Tally, model::Timeline, scenario::Who, world::World};

mod hosts;

impl World<'_> {
    /// Runs from the beginning to the end, or to the first panic.
    pub(crate) fn run(&mut self, passes: &mut dyn FnMut(Milestone, &Tally)) {
        // What was written down until then must not be lost, so the world is looked at afterwards.
        let ended = catch_unwind(AssertUnwindSafe(|| self.run_phases(passes)));
        if let Err(panic) = ended {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            self.report(Rule::Panic, text.unwrap_or("of an unknown kind").to_owned());
        }
    }

    fn run_phases(&mut self, passes: &mut dyn FnMut(Milestone, &Tally)) {
        self.start_all();
        self.wake_people();
        if self.scenario.acquainted {
            self.wait_for(ACQUAINTED_MAX, Self::all_are_settled);
            if !self.all_are_settled() {
                self.report(
                    Rule::Progress,
                    "people don't become contacts before the faults".into(),
                );
            }
        }
        passes(Milestone::Beginning, self.count());
        self.talking = true;
        self.plan_faults();
        self.pass(self.scenario.lasts.0);
        passes(Milestone::Quiesce, self.count());
        self.quiesced_at = Some(self.env.now);
        self.quiesce();
        self.pass(QUIESCE);
        self.wait_for(ACQUAINTED_MAX, Self::all_are_settled);
        self.talking = false;
        self.check_settled();
        self.check_progress();
        self.check_quiet();
        self.check_timelines();
        self.check_nodes();
    }

    fn wait_for(&mut self, most: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.env.now.after(most);
        while !done(self) && self.env.now < end {
            self.pass(STEP);
        }
    }

    /// Everybody who can has every friend as a contact.
    fn all_are_settled(&self) -> bool {
        self.pairs()
            .into_iter()
            .all(|(a, b)| self.is_excused(a, b) || self.knows(a, b) && self.knows(b, a))
    }

    fn knows(&self, a: u32, b: u32) -> bool {
        self.people.get(a as usize).is_some_and(|person| person.established.contains(&b))
    }

    /// All who want to know each other, the smaller number first.
    pub(crate) fn pairs(&self) -> Vec<(u32, u32)> {
        let people = (0..).zip(&self.people);
        people
            .flat_map(|(a, person)| person.friends.iter().map(move |b| (a, *b)))
            .filter(|(a, b)| a < b)
            .collect()
    }

    fn called(&self, person: u32) -> &str {
        self.people.get(person as usize).map_or("unnamed", |person| &person.name)
    }

    fn check_settled(&mut self) {
        for (a, b) in self.pairs() {
            for (a, b) in [(a, b), (b, a)] {
                if !self.is_excused(a, b) && !self.knows(a, b) {
                    let text =
                        format!("{} does not get to know {}", self.called(a), self.called(b));
                    self.report(Rule::Progress, text);
                }
            }
        }
    }

    /// Everybody says something to each friend: it must arrive soon.
    fn check_progress(&mut self) {
        let pairs: Vec<_> = self.pairs().into_iter().flat_map(|(a, b)| [(a, b), (b, a)]).collect();
        let said = self.env.now;
        for (a, b) in &pairs {
            if self.knows(*a, *b) && !self.is_excused(*a, *b) {
                self.say(*a, *b);
            }
        }
        let soon = if self.scenario.network.loss > 0.0 { LOSSY_PROGRESS_MAX } else { PROGRESS_MAX };
        self.pass(soon);
        for (a, b) in self.model.unseen(said) {
            if !self.is_excused(a, b) {
                let (a, b) = (self.called(a), self.called(b));
                let text = format!("what {a} says to {b} has not arrived after {soon:?}");
                self.report(Rule::Progress, text);
            }
        }
    }

    /// Checks that an idle network is silent.
    fn check_quiet(&mut self) {
        // Whatever changed is compared once more before all must be quiet: with back-off, if it
        // differs, and by the other node, if this one finds nothing to name.
        self.pass(CALM_AFTER.max(self.scenario.disks.checked_every.0.saturating_mul(20)));
        // Devices ask homes, with back-off, for what only a host knows that never comes back.
        let is_person_gone =
            (0..self.scenario.people).any(|person| self.is_gone(Who::Person(person)));
        let frames = |world: &Self| {
            let tally = &world.env.tally;
            tally.frames.saturating_sub(if is_person_gone { tally.fetches } else { 0 })
        };
        let before = frames(self);
        self.pass(CALM);
        let said = frames(self).saturating_sub(before);
        // Devices whose home is unusable retry with back-off.
        let homeless = (0..self.scenario.nodes).any(|node| self.scenario.excused(node));
        // And if the answer is lost on its way, the other home takes over.
        let hesitates = is_person_gone && self.scenario.network.loss > 0.0;
        if said > 0 && !homeless && !hesitates {
            self.report(Rule::Quiet, format!("{said} frames while all were idle"));
        }
    }

    fn check_timelines(&mut self) {
        // Of a device that never came back there is what its disk has, as after a restart.
        for person in 0..self.scenario.people {
            if self.is_gone(Who::Person(person)) {
                self.looks_again(person);
            }
        }
        for (a, b) in self.pairs() {
            let timelines =
                [(a, b), (b, a)].map(|(person, with)| self.whole_timeline(person, with));
            if self.is_excused(a, b) {
                self.model.excuse(a, b);
            }
            let [ours, theirs] = &timelines;
            let one = Timeline { person: a, messages: ours };
            let other = Timeline { person: b, messages: theirs };
            let found = self.model.compare(one, other, self.env.now);
            self.accuse(found);
            if !self.is_excused(a, b) {
                self.check_outboxes(a, b);
            }
        }
    }

    fn whole_timeline(&self, person: u32, with: u32) -> Vec<view::MessageView> {
        let Some(device) = self.devices.get(person as usize) else { return Vec::new() };
        let Some(account) = self.account_of(with) else { return Vec::new() };
        self.timeline(device.rows(), &account.into(), device.local(self.env.now))
    }

    fn check_outboxes(&mut self, a: u32, b: u32) {
        for (person, with) in [(a, b), (b, a)] {
            let contact = self.contact(person, with);
            let waiting =
                contact.map_or(0, |contact| contact.outgoing.saturating_add(contact.waiting));
            if waiting > 0 {
                let text = format!("{waiting} entries of {} are never sent", self.called(person));
                self.report(Rule::Quiet, text);
            }
        }
    }
}

const STEP: Duration = Duration::from_secs(1);
const ACQUAINTED_MAX: Duration = Duration::from_secs(600);
/// Silence is noticed after 80 s, a dial takes 5 s and comes again after 30 s at most.
const QUIESCE: Duration = Duration::from_secs(180);
/// Once all is well.
const PROGRESS_MAX: Duration = Duration::from_secs(10);
/// Where packets get lost, a packet is sat out for 10 s at most; it may happen to each of those
/// that a message's way takes.
const LOSSY_PROGRESS_MAX: Duration = Duration::from_secs(60);
/// Devices put off to later what they did much of, for ten minutes.
const CALM_AFTER: Duration = Duration::from_secs(660);
const CALM: Duration = Duration::from_secs(600);
