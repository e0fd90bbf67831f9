//! Random scenarios: small, varied and nasty. Each comes from a row of choices,
//! drawn from a seed or taken from bytes, so that a fuzzer can steer it.

use std::time::Duration;

use crate::{
    rng::Rng,
    scenario::{
        AdversaryAt, Behaviour, Churn, Disks, Fault, Scenario, Span, Talk, Weather, What, Who,
    },
};

#[cfg(test)]
mod tests;

/// The random scenario of this seed.
pub fn random(seed: u64) -> Scenario {
    let choices = Choices::Drawn(Box::new(Rng::new(seed, "scenario", 0)));
    Generator { choices }.scenario(format!("random {seed}"))
}

/// The scenario that these bytes choose. Every row of bytes makes one; where it ends, the calmest
/// choices follow.
pub fn from_bytes(bytes: &[u8]) -> Scenario {
    Generator { choices: Choices::Read(bytes) }.scenario("from bytes".to_owned())
}

enum Choices<'a> {
    Drawn(Box<Rng>),
    Read(&'a [u8]),
}

impl Choices<'_> {
    /// A number below `bound`, or 0 if that is 0.
    fn below(&mut self, bound: u64) -> u64 {
        match self {
            Self::Drawn(rng) => rng.below(bound),
            Self::Read(bytes) => {
                // Never more bytes than the choice needs: each of them should matter.
                let mut left = bound.saturating_sub(1);
                let mut number = 0u64;
                while left > 0 {
                    let (byte, rest) = bytes.split_first().unwrap_or((&0, &[]));
                    *bytes = rest;
                    number = (number << 8) | u64::from(*byte);
                    left >>= 8;
                }
                number.checked_rem(bound).unwrap_or_default()
            }
        }
    }
}

/// When and to whom the last fault happens.
#[derive(Clone, Copy)]
struct Last {
    at: Span,
    who: Who,
}

/// Makes a scenario. The choice 0 is the calm one everywhere.
struct Generator<'a> {
    choices: Choices<'a>,
}

impl Generator<'_> {
    fn scenario(&mut self, name: String) -> Scenario {
        let nodes = self.number(1, 4);
        let people = self.number(2, 5);
        let lasts = self.millis(5_000, 90_000);
        let mut scenario = Scenario {
            name,
            about: String::new(),
            nodes,
            people,
            homes: 1,
            copies: 2,
            friends: self.number(1, people.saturating_sub(1).min(3)),
            acquainted: self.one_in(2),
            lasts,
            talk: self.talk(),
            network: self.weather(),
            disks: self.disks(),
            skew: self.pick(Span::default(), &SKEWS),
            behind_nat: Vec::new(),
            churn: self.one_in(8).then(|| self.churn()),
            adversaries: Vec::new(),
            faults: Vec::new(),
        };
        if self.one_in(6) {
            let behaviour = self.any(Behaviour::Dawdles, &BEHAVIOURS);
            scenario.adversaries.push(AdversaryAt { node: self.below(nodes), behaviour });
        }
        if nodes > 1 && self.one_in(16) {
            scenario.behind_nat.push(self.below(nodes));
        }
        self.add_faults(&mut scenario);
        // Strangers look at their devices every second until they know each other: for days on
        // end that would take long to run.
        if scenario.acquainted && self.one_in(5) {
            stretch(&mut scenario);
        }
        if nodes > 1 {
            scenario.homes = self.pick(1, &[2, 2, 3]).min(nodes);
        }
        scenario
    }

    fn talk(&mut self) -> Talk {
        // The largest chances come to 0.95 together.
        Talk {
            acts: self.number(3, 30),
            every: self.millis(100, 5_000),
            edits: self.pick(0.05, &[0.0, 0.2]),
            deletions: self.pick(0.03, &[0.0, 0.2]),
            reactions: self.pick(0.1, &[0.0, 0.2]),
            reads: self.pick(0.15, &[0.0, 0.25]),
            rekeys: self.pick(0.02, &[0.0, 0.1]),
        }
    }

    fn weather(&mut self) -> Weather {
        let mut weather = Weather { regions: self.number(1, 3), ..Weather::default() };
        if self.one_in(3) {
            weather.near = self.range(0, 50);
            weather.far = self.range(10, 600);
            weather.jitter = self.millis(0, 200);
            weather.loss = self.pick(0.0, &[0.01, 0.05, 0.1, 0.2]);
            weather.duplication = self.pick(0.0, &[0.01, 0.1, 0.5]);
            weather.reordering = self.pick(0.0, &[0.01, 0.1, 0.5]);
            weather.device_bps = self.pick(20_000_000, &[0, 64_000, 256_000, 1_000_000]);
            weather.node_bps = self.pick(200_000_000, &[0, 512_000, 4_000_000]);
        }
        weather
    }

    fn disks(&mut self) -> Disks {
        let mut disks = Disks::default();
        if self.one_in(4) {
            disks.node_sync = self.range(0, 80);
            disks.device_sync = self.range(0, 200);
        }
        if self.one_in(32) {
            disks.node_bytes = self.pick(1_000_000, &[65_536, 150_000, 400_000]);
        }
        disks
    }

    fn churn(&mut self) -> Churn {
        Churn {
            per_hour: self.pick(60.0, &[120.0, 240.0]),
            ungraceful: self.pick(0.5, &[0.0, 1.0]),
            away: self.range(100, 10_000),
        }
    }

    fn add_faults(&mut self, scenario: &mut Scenario) {
        let mut last = Last { at: Span::default(), who: Who::Node(0) };
        for _ in 0..self.below(9) {
            let mut fault = self.fault(scenario, last);
            if fault.what == What::Join {
                settle_join(scenario, &mut fault);
            }
            let who = fault.who.first().copied().unwrap_or(last.who);
            last = Last { at: fault.at, who };
            scenario.faults.push(fault);
        }
        scenario.faults.sort_by_key(|fault| fault.at);
        drop_before_joins(&mut scenario.faults);
    }

    /// A fault while people talk, or soon after the last one, or at the very beginning; of anybody,
    /// or of the same host again.
    fn fault(&mut self, scenario: &Scenario, last: Last) -> Fault {
        let what = self.any(What::Stop, &WHATS);
        let at = match self.below(8) {
            0..4 => self.millis(0, millis_of(busy(scenario))),
            4..7 => Span(last.at.0.saturating_add(self.millis(0, 2_000).0)).min(scenario.lasts),
            _ => self.millis(0, 3_000),
        };
        let host = if self.one_in(3) { last.who } else { self.host(scenario) };
        let mut who = vec![host];
        let more = if what == What::Partition { 3 } else { u64::from(self.one_in(6)) };
        for _ in 0..more {
            let another = self.host(scenario);
            if !who.contains(&another) {
                who.push(another);
            }
        }
        // Without its only node, a world has little left that can be checked.
        let may_leave = who.len() == 1 && (scenario.nodes > 1 || host != Who::Node(0));
        let lasts = match self.below(12) {
            11 if may_leave => None,
            0..6 => Some(self.millis(50, 5_000)),
            6..9 => Some(self.millis(5_000, 30_000)),
            _ => Some(self.millis(1, 100)),
        };
        Fault { at, until: None, what, who, some_nodes: 0, lasts }
    }

    fn host(&mut self, scenario: &Scenario) -> Who {
        match self.one_in(2) {
            true => Who::Person(self.below(scenario.people)),
            false => Who::Node(self.below(scenario.nodes)),
        }
    }

    fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.choices.below(bound.into())).unwrap_or_default()
    }

    fn number(&mut self, least: u32, most: u32) -> u32 {
        let bound = most.saturating_sub(least).saturating_add(1);
        least.saturating_add(self.below(bound))
    }

    fn millis(&mut self, least: u64, most: u64) -> Span {
        let bound = most.saturating_sub(least).saturating_add(1);
        Span::from_millis(least.saturating_add(self.choices.below(bound)))
    }

    fn range(&mut self, least: u64, most: u64) -> [Span; 2] {
        let first = self.millis(least, most);
        [first, self.millis(millis_of(first), most)]
    }

    fn one_in(&mut self, bound: u32) -> bool {
        self.below(bound) == bound.saturating_sub(1)
    }

    /// The calm one half of the time, else one of the others.
    fn pick<T: Copy>(&mut self, calm: T, others: &[T]) -> T {
        if self.one_in(2) { self.any(calm, others) } else { calm }
    }

    /// One of all these, each as likely.
    fn any<T: Copy>(&mut self, calm: T, others: &[T]) -> T {
        let place = self.choices.below((others.len() as u64).saturating_add(1));
        let other = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
        other.and_then(|place| others.get(place)).copied().unwrap_or(calm)
    }
}

/// Stretches a scenario to days: some bugs appear only after a host was away for a day.
fn stretch(scenario: &mut Scenario) {
    let longer = |span: Span, factor| Span(span.0.saturating_mul(factor));
    scenario.talk.every = longer(scenario.talk.every, STRETCH);
    scenario.lasts = Span(longer(scenario.lasts, STRETCH).0.saturating_add(DAY));
    for fault in &mut scenario.faults {
        fault.at = longer(fault.at, STRETCH);
        fault.lasts = fault.lasts.map(|lasts| longer(lasts, AWAY_STRETCH).min(AWAY_MAX));
    }
    if let Some(churn) = &mut scenario.churn {
        churn.per_hour *= 1.0 / f64::from(STRETCH);
        churn.away = churn.away.map(|away| longer(away, STRETCH));
    }
}

/// Makes a join one that may be, or something else.
fn settle_join(scenario: &Scenario, fault: &mut Fault) {
    let joins = |who: &Who| {
        let mut joins = scenario.faults.iter().filter(|other| other.what == What::Join);
        joins.any(|other| other.who.contains(who))
    };
    if scenario.acquainted || fault.who.iter().any(joins) {
        fault.what = What::Kill;
    } else {
        fault.lasts = None;
    }
}

/// When people are about to fall silent.
fn busy(scenario: &Scenario) -> Span {
    let talk = scenario.talk.every.0.saturating_mul(scenario.talk.acts);
    Span(talk.saturating_add(Duration::from_secs(5))).min(scenario.lasts)
}

/// Takes hosts out of what would happen to them before they join.
fn drop_before_joins(faults: &mut Vec<Fault>) {
    let joins: Vec<_> = faults.iter().filter(|fault| fault.what == What::Join).cloned().collect();
    for fault in &mut *faults {
        let at = fault.at;
        let early = |who: &Who| joins.iter().any(|join| join.at > at && join.who.contains(who));
        fault.who.retain(|who| !early(who));
    }
    faults.retain(|fault| !fault.who.is_empty());
}

fn millis_of(span: Span) -> u64 {
    u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX)
}

/// Moments become minutes, and who was away for seconds is so for hours.
const STRETCH: u32 = 1_000;
const AWAY_STRETCH: u32 = 7_200;
const AWAY_MAX: Span = Span::from_millis(30 * 3_600_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What goes wrong, more often where more bugs are.
const WHATS: [What; 15] = [
    What::Crash,
    What::Crash,
    What::CrashInSync,
    What::CrashInSync,
    What::CrashInSync,
    What::CrashInSync,
    What::Kill,
    What::Stall,
    What::Partition,
    What::Partition,
    What::SlowDisk,
    What::FullDisk,
    What::BadLink,
    What::Join,
    What::Join,
];

const BEHAVIOURS: [Behaviour; 8] = [
    Behaviour::DropsAccepted,
    Behaviour::Withholds,
    Behaviour::Replays,
    Behaviour::Forges,
    Behaviour::Equivocates,
    Behaviour::Floods,
    Behaviour::Shuffles,
    Behaviour::Refuses,
];

const SKEWS: [Span; 5] = [
    Span::from_millis(50),
    Span::from_millis(2_000),
    Span::from_millis(5 * 60_000),
    Span::from_millis(26 * 3_600_000),
    Span::from_millis(3 * 24 * 3_600_000),
];
