//! BitTorrent's Mainline DHT of the `mainline` crate, in a network of its own: UDP without
//! connections or encryption.

use std::{net::Ipv4Addr, time::Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use mainline::{Dht, MutableItem, SigningKey, async_dht::AsyncDht};
use tokio::{runtime::Handle, time::timeout};

use crate::subject::{Get, JOIN_MAX, OPERATION_MAX, Put, Subject};

/// Nodes at work. Each has a thread of its own, whatever the runtime; none where it was killed.
pub(crate) struct Mainline(Vec<Option<AsyncDht>>);

impl Subject for Mainline {
    type Record = MutableItem;

    const NAME: &'static str = "mainline";

    fn record(number: u64) -> Result<MutableItem> {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let said = [number as u8; VALUE_BYTES];
        Ok(MutableItem::new(SigningKey::from_bytes(&seed), &said, 1, None))
    }

    async fn start(nodes: usize, _runtime: impl Fn(usize) -> Handle) -> Result<Self> {
        let mut door = None;
        let mut started = Vec::new();
        for _ in 0..nodes {
            let mut builder = Dht::builder();
            builder.server_mode().bind_address(Ipv4Addr::LOCALHOST);
            match &door {
                Some(door) => builder.bootstrap(std::slice::from_ref(door)),
                None => builder.no_bootstrap(),
            };
            let node = builder.build()?.as_async();
            if door.is_some() {
                let joined = timeout(JOIN_MAX, node.bootstrapped()).await.context("not joined")?;
                ensure!(joined, "not joined");
            } else {
                door = Some(node.info().await.local_addr().to_string());
            }
            started.push(Some(node));
        }
        Ok(Self(started))
    }

    /// A node asks others even for what it keeps.
    async fn holds(&self, _node: usize, _record: &MutableItem) -> bool {
        false
    }

    async fn put(&mut self, node: usize, record: &MutableItem) -> Result<Put> {
        let node = self.node(node)?;
        let began = Instant::now();
        let put = node.put_mutable(record.clone(), None);
        let copies = timeout(OPERATION_MAX, put).await??.stored_at as usize;
        Ok(Put { took: began.elapsed(), copies, requests: None })
    }

    async fn get(&mut self, node: usize, record: &MutableItem) -> Result<Get> {
        let node = self.node(node)?;
        let began = Instant::now();
        let mut got = node.get_mutable_detailed(record.key(), None, None);
        let item = timeout(OPERATION_MAX, got.items.next()).await?.context("not found")?;
        let first = began.elapsed();
        ensure!(item.value() == record.value(), "another record");
        let outcome = timeout(OPERATION_MAX, got.outcome.recv()).await?;
        Ok(Get { first, end: began.elapsed(), requests: Some(outcome.queried) })
    }

    fn kill(&mut self, nodes: &[usize]) -> Result<()> {
        for node in nodes {
            *self.0.get_mut(*node).context("no such node")? = None;
        }
        Ok(())
    }

    /// UDP alone.
    async fn connections(&self, nodes: &[usize]) -> Result<Vec<usize>> {
        Ok(vec![0; nodes.len()])
    }
}

impl Mainline {
    fn node(&self, node: usize) -> Result<&AsyncDht> {
        self.0.get(node).and_then(Option::as_ref).context("no such node")
    }
}

/// With key, signature and sequence number about 500.
const VALUE_BYTES: usize = 396;
