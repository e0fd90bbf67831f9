//! Churn: half of the nodes go within an hour, half of those without a word, and others come.

use std::time::Duration;

use proto::Instant;
use routing::RouterCommand;

use super::{
    mesh::Mesh,
    records::{Account, Lookups, Sheet},
    trial::{Report, Size},
};
use crate::driver::Ending;

/// A network that has it for so long.
pub(super) fn run(mesh: &mut Mesh, accounts: &mut [Account], size: Size) -> Report {
    let (nodes, lasts) = (size.nodes, Duration::from_secs(60 * size.minutes));
    let mut lookups = Lookups::default();
    let frames = mesh.env.tally.frames;
    let mut schedule = Schedule::new(mesh, nodes, accounts.len(), lasts, size.lookups);
    let end = mesh.env.now.after(lasts);
    while mesh.env.now < end {
        schedule.step(mesh, accounts, &mut lookups);
    }
    let frames = mesh.env.tally.frames - frames;
    lookups.finish(mesh, accounts);
    let asked = lookups.ended();
    let wrong = lookups.stale + lookups.missing;
    let mut sheet = Sheet::new("nodes", &["went", "frames/s"]);
    let frames_per_s = frames as f64 / f64::from(nodes) / lasts.as_secs_f64();
    let further = [schedule.gone.to_string(), format!("{frames_per_s:.1}")];
    sheet.push(&nodes.to_string(), asked, &lookups, &further);
    // One of 10,000.
    let allowed = asked / 10_000;
    let failures = if wrong > allowed {
        vec![format!("{wrong} of {asked} lookups went wrong, {allowed} may")]
    } else {
        Vec::new()
    };
    Report { text: sheet.text(), failures, hash: mesh.env.trace.hash().to_vec() }
}

/// What happens when.
struct Schedule {
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

impl Schedule {
    fn new(mesh: &Mesh, nodes: u32, accounts: usize, lasts: Duration, lookups: usize) -> Self {
        let now = mesh.env.now;
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

    fn step(&mut self, mesh: &mut Mesh, accounts: &mut [Account], lookups: &mut Lookups) {
        let next = self.next_leave.min(self.next_publish).min(self.next_look);
        mesh.pass(next.since(mesh.env.now));
        lookups.hear(mesh, accounts);
        self.go_and_come(mesh);
        if mesh.env.now >= self.next_publish {
            self.next_publish = self.next_publish.after(self.publish_every);
            self.publish_one(mesh, accounts);
        }
        if mesh.env.now >= self.next_look {
            self.next_look = self.next_look.after(self.look_every);
            let account = mesh.rng.index(accounts.len());
            if let Some(at) = mesh.some_router(u32::MAX) {
                lookups.ask(mesh, at, account, accounts[account].key);
            }
        }
    }

    fn go_and_come(&mut self, mesh: &mut Mesh) {
        let now = mesh.env.now;
        if now >= self.next_leave {
            self.next_leave = self.next_leave.after(self.leave_every);
            self.gone += 1;
            if let Some(host) = mesh.some_router(u32::MAX) {
                if mesh.rng.chance(0.5) {
                    mesh.command(host, RouterCommand::Leave);
                    self.leaving.push((now.after(Duration::from_secs(3)), host));
                } else {
                    mesh.end(host, Ending::Kill);
                    self.goes(mesh, host);
                }
            }
        }
        let due = self.leaving.iter().take_while(|(due, _)| *due <= now).count();
        for (_, host) in self.leaving.drain(..due).collect::<Vec<_>>() {
            mesh.end(host, Ending::Stop);
            self.goes(mesh, host);
        }
        let due: Vec<u32> =
            self.away.iter().filter(|(due, _)| *due <= now).map(|(_, host)| *host).collect();
        self.away.retain(|(due, _)| *due > now);
        for host in due {
            mesh.restart(host);
        }
    }

    /// Half of the nodes that leave come back with their rows; a new node replaces each of the
    /// others.
    fn goes(&mut self, mesh: &mut Mesh, host: u32) {
        if mesh.rng.chance(0.5) {
            let back = mesh.rng.between(Duration::from_secs(60), Duration::from_secs(1200));
            self.away.push((mesh.env.now.after(back), host));
        } else {
            mesh.join_one();
        }
    }

    /// Each home publishes hourly while it is up; one account in ten has a new version then. If
    /// the home has left permanently, another node is the account's home.
    fn publish_one(&mut self, mesh: &mut Mesh, accounts: &mut [Account]) {
        let number = self.published % accounts.len().max(1);
        self.published += 1;
        let account = &mut accounts[number];
        if mesh.router(account.home).is_none() {
            if mesh.rng.chance(0.5) {
                return;
            }
            let Some(home) = mesh.some_router(u32::MAX) else { return };
            account.home = home;
        }
        account.publish(mesh);
    }
}

const HOUR: Duration = Duration::from_secs(3600);
