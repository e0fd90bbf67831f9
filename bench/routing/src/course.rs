//! The course that every subject runs: join, put, get, lose nodes, get, put.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::{StreamExt, stream};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tokio::time::timeout;

use crate::{
    figures::{Figures, mean, memory_kib, millis, percentile, processor_time},
    record::Record,
    subjects::{Dht, Outcome},
};

/// Runs the course with so many nodes and operations at once.
pub(crate) async fn run<D: Dht>(name: &str, nodes: usize, at_once: usize) -> Result<Figures> {
    // The same draws for all subjects: the same records, from the same nodes.
    let mut dice = ChaCha20Rng::seed_from_u64(SEED);
    let mortal = draw_mortal(nodes, &mut dice);
    let living: Vec<usize> = (0..nodes).filter(|node| !mortal.contains(node)).collect();
    let everybody: Vec<usize> = (0..nodes).collect();
    let mut figures = Figures::default();

    let (memory, processor, start) = (memory_kib()?, processor_time()?, Instant::now());
    let mut network =
        timeout(JOIN_MAX, D::start(nodes, &mortal)).await.context("joining took too long")??;
    let per_node = |all: f64| all / nodes as f64;
    figures.set("join s", start.elapsed().as_secs_f64());
    figures.set("join processor ms", per_node(millis(processor_time()?.saturating_sub(processor))));
    figures.set("memory joined", per_node(memory_kib()? - memory));
    count_connections("connections joined", &network, &mut figures);
    eprintln!("# {name}, {nodes} nodes: joined after {:.1} s", start.elapsed().as_secs_f64());

    let mut round = Round { name, at_once, dice, figures };
    let mut records: Vec<Record> = (0..RECORDS).map(|_| Record::draw(&mut round.dice)).collect();
    let publishers = round.put(&network, "put", &records, &everybody).await;
    round.get(&network, "get", &records, &publishers, &everybody).await;
    round.figures.set("memory used", per_node(memory_kib()? - memory));
    count_connections("connections used", &network, &mut round.figures);

    network.kill();
    round.get(&network, "get, loss", &records, &publishers, &living).await;
    records = records.iter().map(Record::succeeded).collect();
    round.put(&network, "put, loss", &records, &living).await;
    Ok(round.figures)
}

/// One operation for each record, at nodes drawn at random.
struct Round<'a> {
    name: &'a str,
    at_once: usize,
    dice: ChaCha20Rng,
    figures: Figures,
}

impl Round<'_> {
    /// Publishes all records and returns from where.
    async fn put<D: Dht>(
        &mut self,
        network: &D,
        round: &str,
        records: &[Record],
        nodes: &[usize],
    ) -> Vec<usize> {
        let from: Vec<usize> = records.iter().map(|_| draw(&mut self.dice, nodes)).collect();
        let operations = from.iter().zip(records);
        let operations = operations.map(|(from, record)| bounded(network.put(*from, record)));
        let outcomes = self.collect(operations).await;
        self.sum_up(round, outcomes).await;
        from
    }

    /// Fetches all records, each at a node that did not publish it.
    async fn get<D: Dht>(
        &mut self,
        network: &D,
        round: &str,
        records: &[Record],
        publishers: &[usize],
        nodes: &[usize],
    ) {
        let mut at = Vec::new();
        for publisher in publishers {
            let others: Vec<usize> = nodes.iter().copied().filter(|n| n != publisher).collect();
            at.push(draw(&mut self.dice, &others));
        }
        let operations = at.iter().zip(records);
        let operations = operations.map(|(at, record)| bounded(network.get(*at, record)));
        let outcomes = self.collect(operations).await;
        self.sum_up(round, outcomes).await;
    }

    /// Carries operations out until all are done or the round has lasted long enough.
    async fn collect<F: Future<Output = Outcome>>(
        &self,
        operations: impl Iterator<Item = F>,
    ) -> Vec<Outcome> {
        let end = Instant::now() + ROUND_MAX;
        // An operation begins only if there is time left; what has begun is always counted.
        let operations = operations.take_while(|_| Instant::now() < end);
        stream::iter(operations).buffer_unordered(self.at_once).collect().await
    }

    async fn sum_up(&mut self, round: &str, outcomes: Vec<Outcome>) {
        let (mut took, mut requests, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        let (mut good, mut own) = (0_u32, 0_u32);
        let count = outcomes.len() as f64;
        for outcome in outcomes {
            let sent = timeout(OPERATION_MAX, outcome.requests).await.ok().flatten();
            good += u32::from(outcome.success);
            stored.extend(outcome.stored.map(f64::from));
            // What a node had itself says nothing about the network.
            if outcome.success && sent == Some(0) {
                own += 1;
                continue;
            }
            requests.extend(sent.map(f64::from));
            if outcome.success {
                took.push(outcome.took);
            }
        }
        took.sort_unstable();
        let mut set = |what: &str, value: Option<f64>| {
            if let Some(value) = value {
                self.figures.set(format!("{round} {what}"), value);
            }
        };
        set("p50", percentile(&took, 50).map(millis));
        set("p99", percentile(&took, 99).map(millis));
        set("count", Some(count));
        set("success", (count > 0.0).then(|| f64::from(good) * 100.0 / count));
        set("own", (count > 0.0).then(|| f64::from(own) * 100.0 / count));
        set("requests", mean(requests));
        set("stored", mean(stored));
        eprintln!("# {}: {round}: {good} of {count} succeeded", self.name);
    }
}

async fn bounded(operation: impl Future<Output = Outcome>) -> Outcome {
    let late = |_| Outcome::told(OPERATION_MAX, false, None);
    timeout(OPERATION_MAX, operation).await.unwrap_or_else(late)
}

fn count_connections<D: Dht>(what: &str, network: &D, figures: &mut Figures) {
    let counts = network.connections();
    figures.set(format!("{what} mean"), mean(counts.iter().map(|c| *c as f64)).unwrap_or(0.0));
    figures.set(format!("{what} max"), counts.iter().max().map_or(0.0, |c| *c as f64));
}

fn draw_mortal(nodes: usize, dice: &mut ChaCha20Rng) -> BTreeSet<usize> {
    let mut mortal = BTreeSet::new();
    let all: Vec<usize> = (0..nodes).collect();
    while mortal.len() < nodes * LOST_PERCENT / 100 {
        mortal.insert(draw(dice, &all));
    }
    mortal
}

/// One of several; the bias of the remainder is far below what is measured.
fn draw(dice: &mut ChaCha20Rng, from: &[usize]) -> usize {
    let at = dice.next_u64() % from.len().max(1) as u64;
    from.get(at as usize).copied().unwrap_or_default()
}

const SEED: u64 = 1;
pub(crate) const RECORDS: usize = 200;
pub(crate) const LOST_PERCENT: usize = 30;
/// libp2p takes 0.7 s of processor time for each of 200 nodes.
const JOIN_MAX: Duration = Duration::from_secs(600);
/// After the loss some operations take seconds; a part of them tells as much as all.
const ROUND_MAX: Duration = Duration::from_secs(60);
const OPERATION_MAX: Duration = Duration::from_secs(15);
