//! Churn: half of the nodes go within an hour, half of those without a word, and others come.

use std::time::Duration;

use proto::Instant;
use routing::RouterCommand;

use super::{
    Report, Size,
    figures::{per_cent, table},
    records::{Account, Lookups},
    world::World,
};

/// A network that has it for so long.
pub(super) fn run(world: &mut World, accounts: &mut [Account], size: Size) -> Report {
    let (nodes, lasts) = (size.nodes, Duration::from_secs(60 * size.minutes));
    let mut lookups = Lookups::default();
    let frames = world.tally.frames;
    let mut course = Course::new(world, nodes, accounts.len(), lasts, size.lookups);
    let end = world.now.after(lasts);
    while world.now < end {
        course.step(world, accounts, &mut lookups);
    }
    let frames = world.tally.frames - frames;
    lookups.finish(world, accounts);
    let asked = lookups.ended();
    let wrong = lookups.stale + lookups.missing;
    let rows = vec![vec![
        nodes.to_string(),
        course.gone.to_string(),
        format!("{:.3} % of {asked}", per_cent(lookups.right, asked)),
        lookups.stale.to_string(),
        lookups.missing.to_string(),
        lookups.took_ms.quantile(500).to_string(),
        lookups.took_ms.quantile(990).to_string(),
        format!("{:.1}", lookups.requests.mean()),
        format!("{:.1}", frames as f64 / f64::from(nodes) / lasts.as_secs_f64()),
    ]];
    let heading = [
        "nodes",
        "went",
        "lookups right",
        "stale",
        "missing",
        "ms p50",
        "p99",
        "requests",
        "frames/s",
    ];
    // One of 10,000.
    let allowed = asked / 10_000;
    let failures = if wrong > allowed {
        vec![format!("{wrong} of {asked} lookups went wrong, {allowed} may")]
    } else {
        Vec::new()
    };
    Report { text: table(&heading, &rows), failures, hash: world.hash().to_vec() }
}

/// What happens when.
struct Course {
    /// Between two that go.
    leave_every: Duration,
    next_leave: Instant,
    publish_every: Duration,
    next_publish: Instant,
    published: usize,
    look_every: Duration,
    next_look: Instant,
    /// Nodes that are away, with the time at which they are back.
    away: Vec<(Instant, u32)>,
    /// Nodes that say goodbye, with the time at which they are gone.
    leaving: Vec<(Instant, u32)>,
    gone: usize,
}

impl Course {
    fn new(world: &World, nodes: u32, accounts: usize, lasts: Duration, lookups: usize) -> Self {
        let now = world.now;
        Self {
            leave_every: HOUR * 2 / nodes,
            next_leave: now,
            publish_every: HOUR / accounts.max(1) as u32,
            next_publish: now,
            published: 0,
            look_every: lasts / lookups.max(1) as u32,
            next_look: now,
            away: Vec::new(),
            leaving: Vec::new(),
            gone: 0,
        }
    }

    fn step(&mut self, world: &mut World, accounts: &mut [Account], lookups: &mut Lookups) {
        let next = self.next_leave.min(self.next_publish).min(self.next_look);
        world.pass(next.since(world.now));
        lookups.hear(world, accounts);
        self.go_and_come(world);
        if world.now >= self.next_publish {
            self.next_publish = self.next_publish.after(self.publish_every);
            self.publish_one(world, accounts);
        }
        if world.now >= self.next_look {
            self.next_look = self.next_look.after(self.look_every);
            let account = world.dice.index(accounts.len());
            if let Some(at) = world.somebody_up(u32::MAX) {
                lookups.ask(world, at, account, accounts[account].key);
            }
        }
    }

    fn go_and_come(&mut self, world: &mut World) {
        let now = world.now;
        if now >= self.next_leave {
            self.next_leave = self.next_leave.after(self.leave_every);
            self.gone += 1;
            if let Some(host) = world.somebody_up(u32::MAX) {
                if world.dice.chance(0.5) {
                    world.command(host, RouterCommand::Leave);
                    self.leaving.push((now.after(Duration::from_secs(3)), host));
                } else {
                    world.kill(host);
                    self.goes(world, host);
                }
            }
        }
        let due = self.leaving.iter().take_while(|(due, _)| *due <= now).count();
        for (_, host) in self.leaving.drain(..due).collect::<Vec<_>>() {
            world.stop(host);
            self.goes(world, host);
        }
        let due: Vec<u32> =
            self.away.iter().filter(|(due, _)| *due <= now).map(|(_, host)| *host).collect();
        self.away.retain(|(due, _)| *due > now);
        for host in due {
            let through = world.somebody_up(host).into_iter().collect();
            world.start(host, through);
        }
    }

    /// Half of those that go come back after a while, with what they remember; for the others
    /// somebody else comes.
    fn goes(&mut self, world: &mut World, host: u32) {
        if world.dice.chance(0.5) {
            let back = world.dice.between(Duration::from_secs(60), Duration::from_secs(1200));
            self.away.push((world.now.after(back), host));
        } else {
            world.join_one();
        }
    }

    /// Each home publishes hourly while it is up; one account in ten has a new version then. For one
    /// whose home has gone for good somebody else is at home.
    fn publish_one(&mut self, world: &mut World, accounts: &mut [Account]) {
        let number = self.published % accounts.len().max(1);
        self.published += 1;
        let account = &mut accounts[number];
        if world.router(account.home).is_none() {
            if world.dice.chance(0.5) {
                return;
            }
            let Some(home) = world.somebody_up(u32::MAX) else { return };
            account.home = home;
        }
        account.publish(world);
    }
}

const HOUR: Duration = Duration::from_secs(3600);
