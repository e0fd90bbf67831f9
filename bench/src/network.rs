//! A network of real node processes on this machine: accounts are put at some, looked up at others,
//! and some nodes are killed.

mod member;
mod visitor;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use crypto::{
    SigningKey,
    identity::{Authority, Bundle, Device, InboxKey, Phrase, UnsignedRecord},
};
use proto::{AccountId, Body, NodeAddress};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tokio::{task::JoinSet, time::sleep};

use self::member::{Figures, Member};
use crate::measure::{Samples, Scratch};

pub(crate) use member::{SERVE, serve};

/// Runs all of it, and leaves nothing behind.
pub(crate) async fn run(arguments: &[String]) -> Result<()> {
    let number = |at: usize, default: usize| -> Result<usize> {
        arguments.get(at).map_or(Ok(default), |text| text.parse().context("a number, please"))
    };
    let (nodes, accounts, killed) = (number(0, 50)?, number(1, 200)?, number(2, 15)?);
    if nodes < 2 || killed >= nodes {
        bail!("at least two nodes, and one of them must live");
    }
    println!("network: {nodes} nodes, {accounts} accounts, {killed} nodes killed at once");
    let directory = Scratch::on_disk()?;
    let mut network = Network::start(directory.path(), nodes).await?;
    let found = network.put_accounts(accounts).await?;
    network.look_up_all("all nodes", &found).await?;
    network.show_members("all nodes")?;
    network.kill(killed);
    network.look_up_all("at once after", &found).await?;
    sleep(Duration::from_secs(10)).await;
    network.look_up_all("10 s later", &found).await?;
    network.show_members("10 s later")?;
    Ok(())
}

struct Network {
    members: Vec<Member>,
    dice: ChaCha20Rng,
}

impl Network {
    /// Starts the nodes, all joined through the first, and waits until each has found the others.
    async fn start(directory: &Path, nodes: usize) -> Result<Self> {
        let begun = Instant::now();
        let mut members: Vec<Member> = Vec::new();
        for number in 0..nodes {
            let through = members.first().map(Member::address);
            members.push(Member::start(directory, number, through)?);
        }
        let enough = (nodes - 1).min(20) as u64;
        let mut network = Self { members, dice: ChaCha20Rng::from_seed([1; 32]) };
        network
            .wait("for all nodes to join", |all| all.iter().all(|one| one.contacts >= enough))
            .await?;
        let took = begun.elapsed();
        println!("  joined after {:.1} s", took.as_secs_f64());
        Ok(network)
    }

    /// Puts accounts at homes drawn at random, and waits until they are published.
    async fn put_accounts(&mut self, accounts: usize) -> Result<Vec<(AccountId, usize)>> {
        let before = self.figures()?.iter().map(|one| one.requests).sum::<u64>();
        let (mut put, mut took) = (Vec::new(), Samples::default());
        for _ in 0..accounts {
            let home = self.draw(None);
            let address = self.members[home].address();
            let bundle = self.bundle(&address)?;
            let body = Body::PutBundle(bundle.as_bytes().to_vec());
            let answer = visitor::ask(address, body).await?;
            let Body::Accepted { .. } = answer.body else { bail!("{:?}", answer.body) };
            took.push(answer.took);
            put.push((bundle.account(), home));
        }
        println!("  put at a home     {}", took.show());
        // A record is published once no node is asked to store it any more.
        let (mut last, begun) = (0, Instant::now());
        loop {
            let requests = self.figures()?.iter().map(|one| one.requests).sum::<u64>();
            if requests == last || begun.elapsed() > PATIENCE {
                let each = (requests - before) as f64 / accounts.max(1) as f64;
                println!("  published         {each:.1} requests each, {:.1} s", secs(begun));
                return Ok(put);
            }
            last = requests;
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Looks each account up, from an unknown device, at a node that isn't its home.
    async fn look_up_all(&mut self, when: &str, accounts: &[(AccountId, usize)]) -> Result<()> {
        let before = self.figures()?.iter().map(|one| one.requests).sum::<u64>();
        let begun = Instant::now();
        let (mut under_way, mut answers) = (JoinSet::new(), Vec::new());
        let mut left: Vec<_> = accounts.to_vec();
        while !left.is_empty() || !under_way.is_empty() {
            if under_way.len() < AT_ONCE
                && let Some((account, home)) = left.pop()
            {
                let at = self.draw_but(home);
                let address = self.members[at].address();
                under_way.spawn(async move {
                    let answer = visitor::ask(address, Body::GetBundle(account)).await?;
                    let is_it = matches!(&answer.body, Body::BundleIs(bundle)
                        if Bundle::verify(bundle).is_ok_and(|found| found.account() == account));
                    anyhow::Ok((is_it, answer))
                });
            } else if let Some(answer) = under_way.join_next().await {
                answers.push(answer?);
            }
        }
        let all = answers.len();
        let good: Vec<_> = answers.iter().flatten().filter(|(is_it, _)| *is_it).collect();
        let took: Samples = good.iter().map(|(_, answer)| answer.took).collect();
        let met: Samples = good.iter().map(|(_, answer)| answer.met).collect();
        let after = self.figures()?.iter().map(|one| one.requests).sum::<u64>();
        let each = (after - before) as f64 / all.max(1) as f64;
        println!("  {when:16}  {}", took.show());
        println!(
            "    found {}/{all}, {each:.1} requests each, {:.1} s, {AT_ONCE} at a time; handshake p50 {:.1} ms",
            good.len(),
            secs(begun),
            met.percentile(50).as_secs_f64() * 1e3,
        );
        Ok(())
    }

    fn show_members(&mut self, when: &str) -> Result<()> {
        let figures = self.figures()?;
        let show = |name: &str, of: &dyn Fn(&Figures) -> u64| {
            let mut values: Vec<u64> = figures.iter().map(of).collect();
            values.sort_unstable();
            let (middle, most) = (values[values.len() / 2], values[values.len() - 1]);
            format!("{name} {middle} (most {most})")
        };
        let mut memory: Vec<u64> =
            self.members.iter().map(Member::memory_kib).collect::<Result<_>>()?;
        memory.sort_unstable();
        println!(
            "  {when:16}  per node: {}, {}, {}, {}, memory {:.1} MiB (most {:.1})",
            show("links", &|one| one.links),
            show("contacts", &|one| one.contacts),
            show("neighbours", &|one| one.neighbours),
            show("records", &|one| one.records),
            memory[memory.len() / 2] as f64 / 1024.0,
            memory[memory.len() - 1] as f64 / 1024.0,
        );
        Ok(())
    }

    /// Kills some of them, without warning and at once.
    fn kill(&mut self, killed: usize) {
        for _ in 0..killed {
            let at = self.draw(None);
            let mut member = self.members.swap_remove(at);
            member.kill();
        }
    }

    async fn wait(&mut self, what: &str, until: impl Fn(&[Figures]) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !until(&self.figures()?) {
            if begun.elapsed() > PATIENCE {
                bail!("timed out waiting {what}: {:?}", self.figures()?);
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    fn figures(&mut self) -> Result<Vec<Figures>> {
        self.members.iter_mut().map(Member::figures).collect()
    }

    /// A node drawn at random, but not this one.
    fn draw(&mut self, but: Option<usize>) -> usize {
        loop {
            let drawn = self.dice.next_u32() as usize % self.members.len();
            if Some(drawn) != but {
                return drawn;
            }
        }
    }

    /// A node that lives, drawn at random, but not the one that was started with this number.
    fn draw_but(&mut self, number: usize) -> usize {
        let at = self.members.iter().position(|member| member.number() == number);
        self.draw(at)
    }

    fn bundle(&mut self, home: &NodeAddress) -> Result<Bundle> {
        let authority = Authority::create(&Phrase::generate(&mut self.dice), &mut self.dice);
        let mut seed = [0; 32];
        self.dice.fill_bytes(&mut seed);
        let draft = UnsignedRecord {
            version: 1,
            devices: vec![Device { key: SigningKey::from_seed(seed).public(), added_s: 1 }],
            homes: vec![home.clone()],
            copies: 2,
            inbox_key: InboxKey::from_seed([7; 32]).public(),
        };
        Ok(authority.sign_record(draft)?)
    }
}

fn secs(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64()
}

const PATIENCE: Duration = Duration::from_secs(60);
/// Devices that ask at the same time.
const AT_ONCE: usize = 4;
