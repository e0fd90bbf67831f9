//! One node of libp2p: its swarm, its settings, and the queries that are on their way.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify,
    identity::Keypair,
    kad::{
        self, QueryId, QueryResult, QueryStats, RecordKey, store::MemoryStore, store::RecordStore,
    },
    swarm::{DialError, NetworkBehaviour, SwarmEvent},
};
use tokio::sync::{mpsc, oneshot};

use crate::record::verify;

/// What a node is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Join { entrance: (PeerId, Multiaddr), reply: oneshot::Sender<Answer> },
    Put { key: RecordKey, bytes: Vec<u8>, reply: oneshot::Sender<Answer> },
    Get { key: RecordKey, version: u32, reply: oneshot::Sender<Answer> },
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answer {
    pub(super) success: bool,
    pub(super) requests: u32,
}

/// Runs a node until its commands end, and tells its address once it listens.
pub(super) async fn run(
    seed: [u8; 32],
    mut commands: mpsc::Receiver<Command>,
    connections: Arc<AtomicUsize>,
    ready: oneshot::Sender<(PeerId, Multiaddr)>,
) -> Result<()> {
    let mut node = Node { swarm: swarm(seed)?, waiting: Vec::new(), ready: Some(ready) };
    node.swarm.listen_on(super::anywhere())?;
    loop {
        tokio::select! {
            event = node.swarm.select_next_some() => node.happened(event),
            command = commands.recv() => match command {
                Some(command) => node.begin(command),
                None => return Ok(()),
            },
        }
        let network = node.swarm.network_info();
        let established = network.connection_counters().num_established();
        connections.store(established as usize, Ordering::Relaxed);
    }
}

struct Node {
    swarm: Swarm<Behaviour>,
    /// Few at a time, so a list will do.
    waiting: Vec<Waiting>,
    ready: Option<oneshot::Sender<(PeerId, Multiaddr)>>,
}

/// A query whose asker waits.
struct Waiting {
    query: QueryId,
    /// The version that a value must have.
    version: u32,
    reply: oneshot::Sender<Answer>,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    kad: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
}

impl Node {
    fn begin(&mut self, command: Command) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let (query, version, reply) = match command {
            Command::Join { entrance: (peer, address), reply } => {
                kad.add_address(&peer, address);
                (kad.bootstrap().ok(), 0, reply)
            }
            Command::Put { key, bytes, reply } => {
                let record = kad::Record::new(key, bytes);
                (kad.put_record(record, kad::Quorum::Majority).ok(), 0, reply)
            }
            Command::Get { key, version, reply } => (Some(kad.get_record(key)), version, reply),
        };
        // Without a query the reply is dropped, which tells the asker that it failed.
        if let Some(query) = query {
            self.waiting.push(Waiting { query, version, reply });
        }
    }

    fn happened(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                let peer = *self.swarm.local_peer_id();
                if let Some(ready) = self.ready.take() {
                    // Whoever asked may be gone; then nobody waits.
                    let _ = ready.send((peer, address));
                }
            }
            // Kademlia itself never drops a peer's last address, so dead peers would cost each
            // lookup a handshake's time for good.
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error: DialError::Transport(_),
                ..
            } => {
                self.swarm.behaviour_mut().kad.remove_peer(&peer);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) if info.protocols.contains(&PROTOCOL) => {
                for address in info.listen_addrs {
                    self.swarm.behaviour_mut().kad.add_address(&peer_id, address);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => self.progressed(event),
            _ => {}
        }
    }

    fn progressed(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest {
                request: kad::InboundRequest::PutRecord { record: Some(record), .. },
            } => self.store(record),
            kad::Event::OutboundQueryProgressed { id, result, stats, step } => {
                self.answer(id, &result, &stats, step.last);
            }
            _ => {}
        }
    }

    /// Stores a record that is signed and no older than what is there. Whoever sent it was told
    /// that it is stored before this is asked; the library has no other order.
    fn store(&mut self, record: kad::Record) {
        let store = self.swarm.behaviour_mut().kad.store_mut();
        let Some(version) = verify(&record.value, record.key.as_ref()) else { return };
        let held = store.get(&record.key).and_then(|held| verify(&held.value, held.key.as_ref()));
        if held.is_none_or(|held| held <= version) {
            // A full store refuses, which the sender never hears of either.
            let _ = store.put(record);
        }
    }

    fn answer(&mut self, query: QueryId, result: &QueryResult, stats: &QueryStats, last: bool) {
        let Some(at) = self.waiting.iter().position(|waiting| waiting.query == query) else {
            return;
        };
        let version = self.waiting.get(at).map_or(0, |waiting| waiting.version);
        let success = match result {
            QueryResult::Bootstrap(result) => last.then_some(result.is_ok()),
            QueryResult::PutRecord(result) => Some(result.is_ok()),
            QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))) => {
                let found = verify(&found.record.value, found.record.key.as_ref());
                // A forged or an old value is no answer; the query goes on.
                found.is_some_and(|found| found >= version).then_some(true)
            }
            _ => None,
        };
        let Some(success) = success.or_else(|| last.then_some(false)) else { return };
        let waiting = self.waiting.swap_remove(at);
        let _ = waiting.reply.send(Answer { success, requests: stats.num_requests() });
        if !last && let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&query) {
            query.finish();
        }
    }
}

fn swarm(seed: [u8; 32]) -> Result<Swarm<Behaviour>> {
    let key = Keypair::ed25519_from_bytes(seed)?;
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_quic_config(|mut config| {
            config.handshake_timeout = HANDSHAKE_MAX;
            config
        })
        .with_behaviour(|key| {
            let id = key.public().to_peer_id();
            let mut kad = kad::Behaviour::with_config(id, MemoryStore::new(id), kademlia());
            kad.set_mode(Some(kad::Mode::Server));
            let identify = identify::Config::new("/bench/1".to_owned(), key.public());
            Behaviour { kad, identify: identify::Behaviour::new(identify) }
        })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_MAX))
        .build();
    Ok(swarm)
}

fn kademlia() -> kad::Config {
    let mut config = kad::Config::new(PROTOCOL);
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    config.set_kbucket_inserts(kad::BucketInserts::Manual);
    config.set_parallelism(PATHS);
    config.disjoint_query_paths(true);
    config.set_query_timeout(QUERY_MAX);
    config.set_substreams_timeout(REQUEST_MAX);
    config.set_caching(kad::Caching::Disabled);
    // Whoever publishes a record keeps it alive; nodes that hold it need not.
    config.set_replication_interval(None);
    config.set_publication_interval(None);
    config
}

const PROTOCOL: StreamProtocol = StreamProtocol::new("/bench/kad/1");
/// Disjoint paths of a lookup, each with one request at a time.
const PATHS: NonZeroUsize = NonZeroUsize::new(6).unwrap();
/// The default of 5 s is what each dead peer on the way would cost.
const HANDSHAKE_MAX: Duration = Duration::from_secs(2);
const QUERY_MAX: Duration = Duration::from_secs(10);
const REQUEST_MAX: Duration = Duration::from_secs(3);
/// With much more, 200 nodes stay a full mesh.
const IDLE_MAX: Duration = Duration::from_secs(20);
