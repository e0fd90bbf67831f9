//! A node, its store, and the devices that talk to it.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    ops::ControlFlow,
};

use crypto::{Authority, Bundle, Device, InboxKey, Phrase, RecordDraft, SigningKey, sign_envelope};
use node::{Node, NodeCommand, NodeConfig, NodeEvent};
use proto::{
    AccountId, Body, Code, Cursor, Direction, Entry, Envelope, Expiry, Extension, Frame, Head,
    Hello, Input, Instant, Kind, LogGenesis, LogId, Machine, NodeAddress, NodeId, Open, Output,
    Peer, PublicKey, Rows, Seed, Table, VERSIONS,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use store::{Memory, Store};

/// A node on a store, driven as the real driver does: what follows a commit waits for a sync.
pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) store: Memory,
    pub(crate) config: NodeConfig,
    pub(crate) now: Instant,
    pub(crate) events: Vec<NodeEvent>,
    /// Frames that reached a device and weren't looked at.
    arrived: BTreeMap<Peer, VecDeque<Frame>>,
    /// Outputs that wait for the next sync.
    held: Vec<Output<NodeEvent>>,
    /// Peers the node hung up on.
    pub(crate) hung_up: Vec<Peer>,
    /// Peers to which the node wants a connection.
    pub(crate) wanted: BTreeMap<Peer, Vec<SocketAddr>>,
    /// Sync after each input.
    pub(crate) syncs: bool,
    seeds: u8,
}

/// One connection of a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) peer: Peer,
    node: NodeId,
    node_nonce: [u8; 16],
    nonce: [u8; 16],
}

pub(crate) const NODE: NodeId = NodeId([0xAA; 32]);
pub(crate) const START: Instant = Instant::from_secs(1_800_000_000);
/// The request number of everything that is asked.
pub(crate) const REQUEST: u32 = 77;

impl World {
    pub(crate) fn new(config: NodeConfig) -> Self {
        let store = Memory::new();
        let node = Node::open(config.clone(), Seed([1; 32]), START, &store).unwrap();
        Self {
            node,
            store,
            config,
            now: START,
            events: Vec::new(),
            arrived: BTreeMap::new(),
            held: Vec::new(),
            hung_up: Vec::new(),
            wanted: BTreeMap::new(),
            syncs: true,
            seeds: 1,
        }
    }

    pub(crate) fn name(&self) -> Peer {
        PublicKey(self.config.node.0)
    }

    pub(crate) fn input(&mut self, input: Input<NodeCommand>) {
        self.node.handle(input, self.now, &self.store);
        self.drain();
    }

    fn drain(&mut self) {
        for gauge in self.node.gauges() {
            assert!(gauge.value <= gauge.limit, "{gauge:?}");
        }
        let mut is_first = true;
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Commit(batch) => {
                    assert!(is_first, "a commit behind an answer");
                    assert!(!batch.is_empty(), "an empty commit");
                    self.store.apply(&batch).unwrap();
                }
                Output::Note(batch) => {
                    assert!(is_first, "a note behind an answer");
                    assert!(!batch.is_empty(), "an empty note");
                    self.store.apply(&batch).unwrap();
                }
                later => self.held.push(later),
            }
            is_first = false;
        }
        if self.syncs {
            self.sync();
        }
    }

    /// Makes durable what was committed and lets out what waited for it.
    pub(crate) fn sync(&mut self) {
        self.store.sync().unwrap();
        for output in std::mem::take(&mut self.held) {
            match output {
                Output::Transmit(peer, frame) => {
                    // What leaves must survive the wire.
                    let bytes = prost::Message::encode_to_vec(&proto::wire::Frame::from(&frame));
                    assert_eq!(Frame::decode(&bytes).as_ref(), Ok(&frame));
                    self.arrived.entry(peer).or_default().push_back(frame);
                }
                Output::Event(event) => self.events.push(event),
                Output::Disconnect(peer) => {
                    self.wanted.remove(&peer);
                    self.hung_up.push(peer);
                }
                Output::Connect(peer, addresses) => {
                    self.wanted.insert(peer, addresses);
                }
                Output::Commit(_) | Output::Note(_) | Output::Reach(_) => {
                    panic!("unexpected output")
                }
            }
        }
    }

    /// Loses what was not synced and opens the node from what is left. All connections are gone.
    pub(crate) fn crash(&mut self) {
        self.store = std::mem::take(&mut self.store).crash();
        self.held.clear();
        self.reopen();
    }

    /// Opens the node anew from its rows. All connections are gone.
    pub(crate) fn reopen(&mut self) {
        self.seeds += 1;
        let seed = Seed([self.seeds; 32]);
        self.node = Node::open(self.config.clone(), seed, self.now, &self.store).unwrap();
        self.arrived.clear();
        self.wanted.clear();
        self.drain();
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now = Instant::from_secs(self.now.as_secs() + seconds);
        while self.node.poll_timeout().is_some_and(|due| due <= self.now) {
            self.input(Input::Timeout);
        }
    }

    /// Connects and says Hello.
    pub(crate) fn connect(&mut self, peer: u8) -> Client {
        let client = self.connect_silently(peer);
        let hello = Hello { versions: VERSIONS, nonce: client.nonce };
        self.tell(&client, Body::Hello(hello));
        client
    }

    /// Connects without a Hello.
    pub(crate) fn connect_silently(&mut self, peer: u8) -> Client {
        let peer = PublicKey([peer; 32]);
        self.arrived.remove(&peer);
        self.input(Input::Connected(peer, None));
        if !self.syncs {
            self.sync();
        }
        let Some(Body::Hello(hello)) = self.take(peer).into_iter().next().map(|f| f.body) else {
            panic!("no hello")
        };
        Client { peer, node: self.config.node, node_nonce: hello.nonce, nonce: [9; 16] }
    }

    /// Says something that expects no answer.
    pub(crate) fn tell(&mut self, client: &Client, body: Body) {
        self.input(Input::Frame(client.peer, Frame::new(body)));
    }

    /// Asks and returns the answer, if there is one; other frames stay.
    pub(crate) fn try_ask(&mut self, client: &Client, body: Body) -> Option<Body> {
        self.input(Input::Frame(client.peer, Frame { request: REQUEST, body }));
        if !self.syncs {
            self.sync();
        }
        let frames = self.arrived.get_mut(&client.peer)?;
        let at = frames.iter().position(|frame| frame.request == REQUEST)?;
        frames.remove(at).map(|frame| frame.body)
    }

    /// Asks and returns the answer.
    pub(crate) fn ask(&mut self, client: &Client, body: Body) -> Body {
        self.try_ask(client, body).unwrap()
    }

    /// Everything that has arrived and wasn't an answer.
    pub(crate) fn take(&mut self, peer: Peer) -> Vec<Frame> {
        self.arrived.remove(&peer).unwrap_or_default().into()
    }

    /// The first of what has arrived.
    pub(crate) fn take_some(&mut self, peer: Peer, most: usize) -> Vec<Frame> {
        let Some(frames) = self.arrived.get_mut(&peer) else { return Vec::new() };
        frames.drain(..most.min(frames.len())).collect()
    }

    /// The sequences and ciphertexts that were delivered on a handle.
    pub(crate) fn delivered(&mut self, client: &Client) -> Vec<(u32, Entry)> {
        let frames = self.take(client.peer).into_iter();
        let delivered = frames.filter_map(|frame| match frame.body {
            Body::Deliver { handle, entry } => Some((handle, entry)),
            _ => None,
        });
        delivered.collect()
    }

    /// Opens a log.
    pub(crate) fn open(
        &mut self,
        client: &Client,
        handle: u32,
        log: LogId,
        key: &SigningKey,
        genesis: Option<LogGenesis>,
        tail: Option<Cursor>,
    ) -> Body {
        self.ask(client, Body::Open(open_frame(client, handle, log, key, genesis, tail)))
    }

    /// Registers an account and opens its inbox as handle 1.
    pub(crate) fn register(&mut self, client: &Client, account: &Account) {
        let put = Body::PutBundle(account.bundle.as_bytes().to_vec());
        assert!(matches!(self.ask(client, put), Body::Accepted { .. }));
        let opened = self.open(client, 1, account.inbox(), &account.device, None, None);
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
    }

    /// Creates a conversation as `handle`, followed.
    pub(crate) fn create(&mut self, client: &Client, handle: u32, seed: u8) -> Conversation {
        let conversation = Conversation::new(seed);
        let Conversation { genesis, log, key } = &conversation;
        let tail = Some(Cursor::default());
        let opened = self.open(client, handle, *log, key, Some(*genesis), tail);
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
        conversation
    }

    /// Every row there is.
    pub(crate) fn dump(&self) -> Vec<(u8, Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        for table in 0..=u8::MAX {
            let end = [0xFF; 80];
            let mut visit = |key: &[u8], value: &[u8]| {
                rows.push((table, key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            };
            self.store.scan(Table(table), &[], &end, Direction::Forward, &mut visit);
        }
        rows
    }
}

/// A person with one device.
pub(crate) struct Account {
    pub(crate) phrase: Phrase,
    pub(crate) authority: Authority,
    pub(crate) device: SigningKey,
    pub(crate) bundle: Bundle,
}

impl Account {
    pub(crate) fn new(seed: u8) -> Self {
        Self::at(seed, NODE)
    }

    pub(crate) fn at(seed: u8, home: NodeId) -> Self {
        Self::at_all(seed, &[home])
    }

    pub(crate) fn at_all(seed: u8, homes: &[NodeId]) -> Self {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let phrase = Phrase::generate(&mut rng);
        let authority = Authority::create(&phrase, &mut rng);
        let device = SigningKey::from_seed([seed; 32]);
        let bundle = authority.sign_record(draft_at(1, &[device.public()], homes)).unwrap();
        Self { phrase, authority, device, bundle }
    }

    pub(crate) fn id(&self) -> AccountId {
        self.bundle.account()
    }

    pub(crate) fn inbox(&self) -> LogId {
        LogGenesis::Inbox(self.id()).id()
    }
}

pub(crate) fn draft(version: u64, devices: &[PublicKey], home: NodeId) -> RecordDraft {
    draft_at(version, devices, &[home])
}

pub(crate) fn draft_at(version: u64, devices: &[PublicKey], homes: &[NodeId]) -> RecordDraft {
    let home = |node: &NodeId| {
        let addresses = vec!["127.0.0.1:4440".parse().unwrap()];
        NodeAddress { node: *node, addresses }
    };
    let homes = homes.iter().map(home).collect();
    let devices = devices.iter().map(|key| Device { key: *key, added_s: 1 }).collect();
    let inbox_key = InboxKey::from_seed([3; 32]).public();
    RecordDraft { version, devices, homes, copies: 2, inbox_key }
}

/// A conversation in its first epoch.
#[derive(Clone)]
pub(crate) struct Conversation {
    pub(crate) genesis: LogGenesis,
    pub(crate) log: LogId,
    pub(crate) key: SigningKey,
}

impl Conversation {
    pub(crate) fn new(seed: u8) -> Self {
        let key = SigningKey::from_seed([seed; 32]);
        let genesis = LogGenesis::Conversation { write_key: key.public(), salt: [seed; 16] };
        Self { genesis, log: genesis.id(), key }
    }

    pub(crate) fn envelope(&self, position: u64, text: &[u8]) -> Envelope {
        envelope(&self.key, self.log, position, text)
    }
}

pub(crate) fn head(key: &SigningKey, log: LogId, position: u64) -> Head {
    Head {
        kind: Kind::Entry,
        expiry: Expiry::Never,
        position,
        log,
        write_key: key.public(),
        extension: Extension::default(),
    }
}

pub(crate) fn envelope(key: &SigningKey, log: LogId, position: u64, text: &[u8]) -> Envelope {
    sign_envelope(key, head(key, log, position), text.to_vec())
}

pub(crate) fn expiring(key: &SigningKey, log: LogId, text: &[u8], expiry: Expiry) -> Envelope {
    sign_envelope(key, Head { expiry, ..head(key, log, 1) }, text.to_vec())
}

/// Announces `next`, signed with `key`.
pub(crate) fn key_change(
    key: &SigningKey,
    log: LogId,
    position: u64,
    next: &SigningKey,
) -> Envelope {
    let extension = Extension::next_key(next.public());
    let head = Head { kind: Kind::KeyChange, extension, ..head(key, log, position) };
    sign_envelope(key, head, b"commit".to_vec())
}

pub(crate) fn append(handle: u32, envelope: &Envelope) -> Body {
    let entry = Entry::from_envelope(envelope, 0, envelope.head.write_key);
    Body::Append { handle, entry, signature: envelope.signature }
}

pub(crate) fn open_frame(
    client: &Client,
    handle: u32,
    log: LogId,
    key: &SigningKey,
    genesis: Option<LogGenesis>,
    tail: Option<Cursor>,
) -> Open {
    let Client { peer, node, node_nonce, nonce } = client;
    let message = crypto::open_proof_message(node_nonce, nonce, peer, node, &log, handle);
    let proof = key.sign(crypto::OPEN_CONTEXT, &message);
    let genesis = genesis.map(|genesis| genesis.encode());
    Open { handle, log, key: key.public(), proof, genesis, tail, brief: false, ranking: None }
}

pub(crate) fn refused(code: Code) -> Body {
    Body::Refused { code, newer: Vec::new() }
}
