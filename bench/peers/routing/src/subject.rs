//! What is compared: a network of nodes in this process.

use std::time::Duration;

use anyhow::Result;
use tokio::runtime::Handle;

/// A distributed hash table, many nodes of it.
pub(crate) trait Subject: Sized {
    /// A signed record of a number, with what it takes to find and check it.
    type Record;

    const NAME: &'static str;

    /// A record; the same number is the same record.
    fn record(number: u64) -> Result<Self::Record>;

    /// Starts so many nodes that all join through one, each on the runtime that `runtime` gives for
    /// its number, and waits until each has joined.
    async fn start(nodes: usize, runtime: impl Fn(usize) -> Handle) -> Result<Self>;

    /// Returns whether a node keeps a record itself, so that to ask it for that measures nothing.
    async fn holds(&self, node: usize, record: &Self::Record) -> bool;

    async fn put(&mut self, node: usize, record: &Self::Record) -> Result<Put>;

    /// Looks a record up and checks it.
    async fn get(&mut self, node: usize, record: &Self::Record) -> Result<Get>;

    /// Lets go of these nodes, whose runtime has ended without a word to anybody.
    fn kill(&mut self, nodes: &[usize]) -> Result<()>;

    /// Open connections of each of these nodes.
    async fn connections(&self, nodes: &[usize]) -> Result<Vec<usize>>;
}

/// How a put went.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) took: Duration,
    /// Nodes that say they keep it.
    pub(crate) copies: usize,
    pub(crate) requests: Option<u32>,
}

/// How a get went.
#[derive(Debug)]
pub(crate) struct Get {
    /// Until the first valid answer.
    pub(crate) first: Duration,
    /// Until it is known to be the newest, as far as the subject can tell.
    pub(crate) end: Duration,
    /// Until the end.
    pub(crate) requests: Option<u32>,
}

/// The longest that one operation may take.
pub(crate) const OPERATION_MAX: Duration = Duration::from_secs(30);
/// The longest that one node may take to join.
pub(crate) const JOIN_MAX: Duration = Duration::from_secs(60);
