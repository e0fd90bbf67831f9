//! What is compared: one file for each distributed hash table, all behind one trait.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, bail};
use futures::future::{BoxFuture, FutureExt, ready};

use crate::{course, figures::Figures, record::Record};

mod libp2p;
mod mainline;
mod siskin;

/// A network of nodes on loopback, all in this process.
///
/// Nodes are numbered from 0. Latencies are taken by the subject, from the request to the answer
/// that a user would act on, so that work which goes on behind it does not count.
pub(crate) trait Dht: Sized {
    /// Starts so many nodes, each joined through node 0, and returns when all have joined. Those
    /// in `mortal` are those that [`Self::kill`] takes away; they may need threads of their own
    /// for that.
    async fn start(nodes: usize, mortal: &BTreeSet<usize>) -> Result<Self>;

    /// Publishes a record from a node. It succeeds if the network says so.
    async fn put(&self, from: usize, record: &Record) -> Outcome;

    /// Looks a record up by its key, without any other knowledge of it. It succeeds with the first
    /// value that is signed by the owner and no older than `sought`.
    async fn get(&self, at: usize, sought: &Record) -> Outcome;

    /// Takes the mortal nodes away, at once and without a word to anybody.
    fn kill(&mut self);

    /// Open connections of each node that lives; 0 where there is no such thing.
    fn connections(&self) -> Vec<usize>;
}

/// What came of one operation.
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    pub(crate) success: bool,
    /// Requests sent for it, also those without an answer. Some subjects know it only when the
    /// query has run out, after the answer. None were needed if a node had the record itself.
    pub(crate) requests: BoxFuture<'static, Option<u32>>,
    /// Nodes that acknowledged the record, if the library tells.
    pub(crate) stored: Option<u32>,
}

impl Outcome {
    /// An outcome that is known whole.
    pub(crate) fn told(took: Duration, success: bool, requests: Option<u32>) -> Self {
        Self { took, success, requests: ready(requests).boxed(), stored: None }
    }
}

/// In the order of the columns: ours, then those it is compared with.
pub(crate) const NAMES: [&str; 3] = [OURS, "libp2p", "mainline"];
pub(crate) const OURS: &str = "siskin";

/// Measures one subject in this process.
pub(crate) async fn measure(name: &str, nodes: usize, at_once: usize) -> Result<Figures> {
    match name {
        OURS => course::run::<siskin::Network>(name, nodes, at_once).await,
        "libp2p" => course::run::<libp2p::Network>(name, nodes, at_once).await,
        "mainline" => course::run::<mainline::Network>(name, nodes, at_once).await,
        _ => bail!("{name} is not here yet"),
    }
}
