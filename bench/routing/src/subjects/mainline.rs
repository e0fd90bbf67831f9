//! BitTorrent's Mainline with signed mutable items (BEP 44): a private network, plain UDP, one
//! thread for each node.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Instant};

use anyhow::{Result, ensure};
use futures::{FutureExt, StreamExt};
use mainline::{Dht as Library, MutableItem, SigningKey, async_dht::AsyncDht};

use super::{Dht, Outcome};
use crate::record::Record;

/// Nodes by number; those that died are none.
#[derive(Debug)]
pub(super) struct Network {
    nodes: Vec<Option<AsyncDht>>,
    mortal: BTreeSet<usize>,
}

impl Dht for Network {
    async fn start(count: usize, mortal: &BTreeSet<usize>) -> Result<Self> {
        let mut nodes: Vec<Option<AsyncDht>> = Vec::new();
        let mut entrance: Vec<String> = Vec::new();
        for number in 0..count {
            let mut builder = Library::builder();
            builder.server_mode().bind_address(Ipv4Addr::LOCALHOST);
            if number == 0 {
                builder.no_bootstrap();
            } else {
                builder.bootstrap(&entrance);
            }
            let node = builder.build()?.as_async();
            if number == 0 {
                entrance.push(node.info().await.local_addr().to_string());
            } else {
                ensure!(node.bootstrapped().await, "a node could not join");
            }
            nodes.push(Some(node));
        }
        Ok(Self { nodes, mortal: mortal.clone() })
    }

    async fn put(&self, from: usize, record: &Record) -> Outcome {
        let start = Instant::now();
        let Some(node) = self.node(from) else { return failed(start) };
        let owner = SigningKey::from_bytes(&record.owner().to_bytes());
        let item = MutableItem::new(owner, record.payload(), record.version().into(), None);
        // A put looks its nodes up first, and does not tell how many it asked. A get of the same
        // key shares that lookup, and does tell.
        let lookup = node.get_mutable_detailed(item.key(), None, None).outcome;
        let put = node.put_mutable(item, None).await;
        let took = start.elapsed();
        let stored = put.as_ref().map_or(0, |outcome| outcome.stored_at);
        let requests = async move { Some(lookup.recv().await.queried.saturating_add(stored)) };
        Outcome { took, success: put.is_ok(), requests: requests.boxed(), stored: Some(stored) }
    }

    async fn get(&self, at: usize, sought: &Record) -> Outcome {
        let start = Instant::now();
        let Some(node) = self.node(at) else { return failed(start) };
        let key = sought.owner().verifying_key().to_bytes();
        let mut lookup = node.get_mutable_detailed(&key, None, None);
        let mut success = false;
        // The library has checked the signatures.
        while let Some(item) = lookup.items.next().await {
            if item.seq() >= sought.version().into() {
                success = item.value() == sought.payload();
                break;
            }
        }
        let took = start.elapsed();
        // The query goes on behind the answer, until all nodes have answered or are late.
        let requests = async move { Some(lookup.outcome.recv().await.queried) };
        Outcome { took, success, requests: requests.boxed(), stored: None }
    }

    fn kill(&mut self) {
        // The thread ends when nobody can ask it any more, and says nothing to anybody.
        for number in &self.mortal {
            if let Some(node) = self.nodes.get_mut(*number) {
                *node = None;
            }
        }
    }

    fn connections(&self) -> Vec<usize> {
        self.nodes.iter().flatten().map(|_| 0).collect()
    }
}

impl Network {
    fn node(&self, number: usize) -> Option<&AsyncDht> {
        self.nodes.get(number)?.as_ref()
    }
}

fn failed(start: Instant) -> Outcome {
    Outcome::told(start.elapsed(), false, None)
}
