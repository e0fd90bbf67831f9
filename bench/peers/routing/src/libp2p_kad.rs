//! Kademlia of rust-libp2p over QUIC, as the library is set up by default, but for a check of each
//! record before it is kept.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, identity,
    kad::{self, GetRecordOk, QueryId, QueryResult, Quorum, store::RecordStore},
    swarm::{NetworkBehaviour, SwarmEvent},
};
use sha2::{Digest, Sha256};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::subject::{Get, JOIN_MAX, OPERATION_MAX, Put, Subject};

/// Swarms at work.
pub(crate) struct Libp2p(Vec<Node>);

struct Node {
    asks: mpsc::Sender<Ask>,
    held: Held,
}

/// Keys of the records that a node keeps.
type Held = Arc<Mutex<BTreeSet<Vec<u8>>>>;

enum Ask {
    Joined(oneshot::Sender<()>),
    Put(kad::Record, oneshot::Sender<(usize, u32)>),
    Get(kad::RecordKey, oneshot::Sender<Found>),
    Connections(oneshot::Sender<usize>),
}

/// A lookup that has found a record.
struct Found {
    record: kad::Record,
    first: Duration,
    requests: u32,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    kad: kad::Behaviour<kad::store::MemoryStore>,
    identify: identify::Behaviour,
}

impl Subject for Libp2p {
    type Record = kad::Record;

    const NAME: &'static str = "libp2p";

    fn record(number: u64) -> Result<kad::Record> {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let key = SigningKey::from_bytes(&seed);
        let public = key.verifying_key().to_bytes();
        let said = vec![number as u8; RECORD_BYTES - 96];
        let value = [&public, &key.sign(&said).to_bytes()[..], &said].concat();
        Ok(kad::Record::new(Sha256::digest(public).to_vec(), value))
    }

    async fn start(nodes: usize, runtime: impl Fn(usize) -> Handle) -> Result<Self> {
        let mut door = None;
        let mut started = Vec::new();
        for number in 0..nodes {
            let (node, address) = runtime(number).spawn(start_node(number, door.clone())).await??;
            if door.is_some() {
                let (joined, has_joined) = oneshot::channel();
                node.asks.send(Ask::Joined(joined)).await?;
                timeout(JOIN_MAX, has_joined).await.context("not joined")??;
            } else {
                door = Some(address);
            }
            started.push(node);
        }
        Ok(Self(started))
    }

    async fn holds(&self, node: usize, record: &kad::Record) -> bool {
        self.0.get(node).is_some_and(|node| node.holds(record))
    }

    async fn put(&mut self, node: usize, record: &kad::Record) -> Result<Put> {
        let node = self.0.get(node).context("no such node")?;
        let (answer, answered) = oneshot::channel();
        let began = Instant::now();
        node.asks.send(Ask::Put(record.clone(), answer)).await?;
        let (copies, requests) = timeout(OPERATION_MAX, answered).await??;
        Ok(Put { took: began.elapsed(), copies, requests: Some(requests) })
    }

    async fn get(&mut self, node: usize, record: &kad::Record) -> Result<Get> {
        let node = self.0.get(node).context("no such node")?;
        let (answer, answered) = oneshot::channel();
        let began = Instant::now();
        node.asks.send(Ask::Get(record.key.clone(), answer)).await?;
        let found = timeout(OPERATION_MAX, answered).await?.context("not found")?;
        ensure!(found.record.value == record.value, "another record");
        Ok(Get { first: found.first, end: began.elapsed(), requests: Some(found.requests) })
    }

    fn kill(&mut self, _nodes: &[usize]) -> Result<()> {
        // Their tasks ended with their runtime.
        Ok(())
    }

    async fn connections(&self, nodes: &[usize]) -> Result<Vec<usize>> {
        let mut connections = Vec::new();
        for node in nodes {
            let (answer, answered) = oneshot::channel();
            let node = self.0.get(*node).context("no such node")?;
            node.asks.send(Ask::Connections(answer)).await?;
            connections.push(timeout(OPERATION_MAX, answered).await??);
        }
        Ok(connections)
    }
}

impl Node {
    fn holds(&self, record: &kad::Record) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.contains(&record.key.to_vec())
    }
}

/// Starts a node, which joins through another if there is one. Returns where it is as well.
async fn start_node(
    number: usize,
    door: Option<(PeerId, Multiaddr)>,
) -> Result<(Node, (PeerId, Multiaddr))> {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let keys = identity::Keypair::ed25519_from_bytes(seed)?;
    let peer = keys.public().to_peer_id();
    let mut swarm = SwarmBuilder::with_existing_identity(keys)
        .with_tokio()
        .with_quic()
        .with_behaviour(behaviour)?
        .build();
    swarm.listen_on("/ip4/127.0.0.1/udp/0/quic-v1".parse()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    let mut bootstrap = None;
    if let Some((peer, address)) = door {
        swarm.behaviour_mut().kad.add_address(&peer, address);
        bootstrap = Some(swarm.behaviour_mut().kad.bootstrap()?);
    }
    let (asks, asked) = mpsc::channel(16);
    let held = Held::default();
    let at_work = AtWork {
        swarm,
        held: Arc::clone(&held),
        bootstrap,
        joined: None,
        puts: HashMap::new(),
        gets: HashMap::new(),
    };
    tokio::spawn(at_work.run(asked));
    Ok((Node { asks, held }, (peer, address)))
}

fn behaviour(keys: &identity::Keypair) -> Behaviour {
    let peer = keys.public().to_peer_id();
    let mut config = kad::Config::new(StreamProtocol::new("/bench/kad/1"));
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    let mut kad = kad::Behaviour::with_config(peer, kad::store::MemoryStore::new(peer), config);
    kad.set_mode(Some(kad::Mode::Server));
    let identify = identify::Config::new("/bench/1".to_owned(), keys.public());
    Behaviour { kad, identify: identify::Behaviour::new(identify) }
}

/// A node in its task.
struct AtWork {
    swarm: Swarm<Behaviour>,
    held: Held,
    /// The query that joins.
    bootstrap: Option<QueryId>,
    joined: Option<oneshot::Sender<()>>,
    puts: HashMap<QueryId, oneshot::Sender<(usize, u32)>>,
    gets: HashMap<QueryId, Getting>,
}

/// A lookup under way.
struct Getting {
    began: Instant,
    first: Option<(Duration, kad::Record)>,
    valid: usize,
    answer: oneshot::Sender<Found>,
}

impl AtWork {
    async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        loop {
            tokio::select! {
                ask = asked.recv() => match ask {
                    Some(ask) => self.ask(ask),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.event(event),
            }
        }
    }

    fn ask(&mut self, ask: Ask) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        match ask {
            Ask::Joined(answer) => {
                self.joined = Some(answer);
                self.tell_joined();
            }
            Ask::Put(record, answer) => {
                self.hold(&record.key);
                // It waits for as many copies as the other subjects do.
                let put = self.swarm.behaviour_mut().kad.put_record(record, Quorum::All);
                if let Ok(query) = put {
                    self.puts.insert(query, answer);
                }
            }
            Ask::Get(key, answer) => {
                let query = kad.get_record(key);
                let getting = Getting { began: Instant::now(), first: None, valid: 0, answer };
                self.gets.insert(query, getting);
            }
            Ask::Connections(answer) => {
                let _ = answer.send(self.swarm.network_info().num_peers());
            }
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => {
                for address in info.listen_addrs {
                    self.swarm.behaviour_mut().kad.add_address(&peer_id, address);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::InboundRequest {
                request: kad::InboundRequest::PutRecord { record: Some(record), .. },
            })) if verify(&record).is_ok() => {
                self.hold(&record.key);
                let _ = self.swarm.behaviour_mut().kad.store_mut().put(record);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                id,
                result,
                stats,
                step,
            })) => self.progressed(id, result, stats.num_requests(), step.last),
            _ => {}
        }
    }

    fn progressed(&mut self, query: QueryId, result: QueryResult, requests: u32, last: bool) {
        match result {
            QueryResult::Bootstrap(_) if last && self.bootstrap == Some(query) => {
                self.bootstrap = None;
                self.tell_joined();
            }
            QueryResult::PutRecord(result) => {
                let copies = match result {
                    Ok(_) => kad::K_VALUE.get(),
                    Err(
                        kad::PutRecordError::QuorumFailed { success, .. }
                        | kad::PutRecordError::Timeout { success, .. },
                    ) => success.len(),
                };
                if let Some(answer) = self.puts.remove(&query) {
                    let _ = answer.send((copies, requests));
                }
            }
            QueryResult::GetRecord(result) => self.got(query, result, requests, last),
            _ => {}
        }
    }

    /// Takes an answer in. As in routing, three nodes that agree are enough.
    fn got(&mut self, query: QueryId, result: kad::GetRecordResult, requests: u32, last: bool) {
        let Some(getting) = self.gets.get_mut(&query) else { return };
        if let Ok(GetRecordOk::FoundRecord(found)) = result
            && verify(&found.record).is_ok()
        {
            getting.valid += 1;
            let began = getting.began;
            getting.first.get_or_insert_with(|| (began.elapsed(), found.record));
        }
        if (last || getting.valid >= AGREEING)
            && let Some(getting) = self.gets.remove(&query)
        {
            if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&query) {
                query.finish();
            }
            if let Some((first, record)) = getting.first {
                let _ = getting.answer.send(Found { record, first, requests });
            }
        }
    }

    fn hold(&self, key: &kad::RecordKey) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(key.to_vec());
    }

    fn tell_joined(&mut self) {
        if self.bootstrap.is_none()
            && let Some(joined) = self.joined.take()
        {
            let _ = joined.send(());
        }
    }
}

/// Checks that a record is signed by the key whose hash is its own.
fn verify(record: &kad::Record) -> Result<()> {
    let (public, rest) = record.value.split_first_chunk::<32>().context("too short")?;
    let (signature, said) = rest.split_first_chunk::<64>().context("too short")?;
    if record.key.as_ref() != Sha256::digest(public).as_slice() {
        bail!("not its key");
    }
    let key = VerifyingKey::from_bytes(public)?;
    Ok(key.verify_strict(said, &Signature::from_bytes(signature))?)
}

const RECORD_BYTES: usize = 500;
/// Nodes with the same record for it to be believed.
const AGREEING: usize = 3;
const _: () = assert!(kad::K_VALUE.get() == 20);
