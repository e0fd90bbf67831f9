//! A network of real node processes on this machine: accounts are put at some, looked up at others,
//! and some nodes are killed.

mod visitor;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use crypto::identity::Bundle;
use proto::{AccountId, Body, NodeAddress, NodeId};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    measure::{Samples, Scratch, millis},
    process::{Figures, NodeProcess},
    signed::Account,
};

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
    members: Vec<NodeProcess>,
    rng: ChaCha20Rng,
}

impl Network {
    /// Starts the nodes, all joined through the first, and waits until each has found the others.
    async fn start(directory: &Path, nodes: usize) -> Result<Self> {
        let begun = Instant::now();
        let mut members: Vec<NodeProcess> = Vec::new();
        for number in 0..nodes {
            let through = members.first().map(NodeProcess::address);
            let member = NodeProcess::join(number, &directory.join(number.to_string()), through)?;
            members.push(member);
        }
        let enough = (nodes - 1).min(20) as u64;
        let mut network = Self { members, rng: ChaCha20Rng::from_seed([1; 32]) };
        while network.figures()?.iter().any(|one| one.contacts < enough) {
            if begun.elapsed() > PATIENCE {
                bail!("not all nodes join: {:?}", network.figures()?);
            }
            sleep(Duration::from_millis(100)).await;
        }
        println!("  joined after {:.1} s", begun.elapsed().as_secs_f64());
        Ok(network)
    }

    /// Puts accounts at homes drawn at random, and waits until they are published.
    async fn put_accounts(&mut self, accounts: usize) -> Result<Vec<(AccountId, NodeId)>> {
        let before = self.requests()?;
        let (mut put, mut took) = (Vec::new(), Samples::default());
        for _ in 0..accounts {
            let home = self.draw(None);
            let mut seed = [0; 32];
            self.rng.fill_bytes(&mut seed);
            let bundle = Account::new(seed, vec![home.clone()])?.bundle;
            let (body, node) = (Body::PutBundle(bundle.as_bytes().to_vec()), home.node);
            let answer = visitor::ask(home, body).await?;
            let Body::Accepted { .. } = answer.body else { bail!("{:?}", answer.body) };
            took.push(answer.took);
            put.push((bundle.account(), node));
        }
        println!("  put at a home     {}", took.show());
        // A record is published once no node is asked to store it any more.
        let (mut last, begun) = (0, Instant::now());
        loop {
            let requests = self.requests()?;
            if requests == last || begun.elapsed() > PATIENCE {
                let each = (requests - before) as f64 / accounts.max(1) as f64;
                println!(
                    "  published         {each:.1} requests each, {:.1} s",
                    begun.elapsed().as_secs_f64()
                );
                return Ok(put);
            }
            last = requests;
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Looks each account up, from an unknown device, at a node that isn't its home.
    async fn look_up_all(&mut self, when: &str, accounts: &[(AccountId, NodeId)]) -> Result<()> {
        let before = self.requests()?;
        let begun = Instant::now();
        let (mut under_way, mut answers) = (JoinSet::new(), Vec::new());
        let mut left: Vec<_> = accounts.to_vec();
        while !left.is_empty() || !under_way.is_empty() {
            if under_way.len() < AT_ONCE
                && let Some((account, home)) = left.pop()
            {
                let address = self.draw(Some(home));
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
        let each = (self.requests()? - before) as f64 / all.max(1) as f64;
        println!("  {when:16}  {}", took.show());
        println!(
            "    found {}/{all}, {each:.1} requests each, {:.1} s, {AT_ONCE} at a time; handshake p50 {:.1} ms",
            good.len(),
            begun.elapsed().as_secs_f64(),
            millis(met.percentile(50)),
        );
        Ok(())
    }

    fn show_members(&mut self, when: &str) -> Result<()> {
        let show = |name: &str, mut values: Vec<u64>| {
            values.sort_unstable();
            format!("{name} {} (most {})", values[values.len() / 2], values[values.len() - 1])
        };
        let figures = self.figures()?;
        let of = |figure: fn(&Figures) -> u64| figures.iter().map(figure).collect();
        let memory = self.members.iter().map(NodeProcess::memory_kib).collect::<Result<_>>()?;
        println!(
            "  {when:16}  per node: {}, {}, {}, {}, {}",
            show("links", of(|one| one.links)),
            show("contacts", of(|one| one.contacts)),
            show("neighbours", of(|one| one.neighbours)),
            show("records", of(|one| one.records)),
            show("memory in KiB", memory),
        );
        Ok(())
    }

    /// Kills some of them, without warning and at once.
    fn kill(&mut self, killed: usize) {
        for _ in 0..killed {
            let at = self.rng.next_u32() as usize % self.members.len();
            drop(self.members.swap_remove(at));
        }
    }

    fn figures(&mut self) -> Result<Vec<Figures>> {
        self.members.iter_mut().map(NodeProcess::figures).collect()
    }

    /// How many requests all of them have made.
    fn requests(&mut self) -> Result<u64> {
        Ok(self.figures()?.iter().map(|one| one.requests).sum())
    }

    /// A node that lives, drawn at random, but not this one.
    fn draw(&mut self, but: Option<NodeId>) -> NodeAddress {
        loop {
            let drawn = self.rng.next_u32() as usize % self.members.len();
            let address = self.members[drawn].address();
            if Some(address.node) != but {
                return address.clone();
            }
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
/// Devices that ask at the same time.
const AT_ONCE: usize = 4;
