//! A node, its store, and the devices that talk to it.

use std::ops::{Deref, DerefMut};

use crypto::{
    SigningKey,
    identity::{Authority, Bundle, Device, InboxKey, Phrase, UnsignedRecord},
    sign_envelope,
};
use node::{Node, NodeConfig};
use proto::{
    AccountId, Body, Code, Cursor, Entry, Envelope, Expiry, Extension, Frame, Head, Hello, Input,
    Instant, Kind, LogGenesis, LogId, Machine, NodeAddress, NodeId, Open, Peer, PublicKey, Read,
    VERSIONS,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use testnet::Host;

/// A node, and the devices that talk to it.
pub(crate) struct World {
    pub(crate) host: Host<Node>,
    pub(crate) config: NodeConfig,
}

impl Deref for World {
    type Target = Host<Node>;

    fn deref(&self) -> &Host<Node> {
        &self.host
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Host<Node> {
        &mut self.host
    }
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
        let given = config.clone();
        let mut host = Host::new([1, 1], move || given.clone(), Node::gauges);
        host.commits_once = true;
        host.start();
        Self { host, config }
    }

    pub(crate) fn name(&self) -> Peer {
        PublicKey(self.config.node.0)
    }

    /// Loses what was not synced, and opens the node from what is left. All connections are gone.
    pub(crate) fn crash(&mut self) {
        self.host.crash();
        self.reopen();
    }

    /// Opens the node from its rows with its current configuration. All connections are gone.
    pub(crate) fn reopen(&mut self) {
        let config = self.config.clone();
        self.host.set_config(move || config.clone());
        self.host.start();
    }

    /// Tells the node which frames come next.
    pub(crate) fn prefetch(&mut self, coming: &[(Peer, Frame)]) {
        let node = self.host.machine.as_mut().unwrap();
        node.prefetch(coming, &self.host.store);
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now = Instant::from_secs(self.now.as_secs() + seconds);
        while self.poll_timeout().is_some_and(|due| due <= self.now) {
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
        self.host.take(peer);
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
        let answer = self.take_first(client.peer, |frame| frame.request == REQUEST);
        answer.map(|frame| frame.body)
    }

    /// Asks and returns the answer.
    pub(crate) fn ask(&mut self, client: &Client, body: Body) -> Body {
        self.try_ask(client, body).unwrap()
    }

    /// Takes the first frames for a peer.
    pub(crate) fn take_some(&mut self, peer: Peer, most: usize) -> Vec<Frame> {
        std::iter::from_fn(|| self.take_first(peer, |_| true)).take(most).collect()
    }

    /// The sequences and ciphertexts that were delivered on a channel.
    pub(crate) fn delivered(&mut self, client: &Client) -> Vec<(u32, Entry)> {
        let frames = self.take(client.peer).into_iter();
        let delivered = frames.filter_map(|frame| match frame.body {
            Body::Deliver { channel, entry } => Some((channel, entry)),
            _ => None,
        });
        delivered.collect()
    }

    /// Everything of a log that a client has open, in timeline order.
    pub(crate) fn entries(
        &mut self,
        client: &Client,
        channel: u32,
        talk: &Conversation,
    ) -> Vec<Entry> {
        let (mut from, mut all) = (Default::default(), Vec::new());
        loop {
            let read = Read { channel, from, backward: false, limit: 256 };
            let page = self.ask(client, Body::Read(read));
            let Body::Page { entries, more } = page else { panic!("{page:?}") };
            if let Some(last) = entries.last() {
                let key = talk.key.public();
                from = (last.position, last.clone().into_envelope(talk.log, key, [0; 64]).id());
            }
            all.extend(entries);
            if !more {
                return all;
            }
        }
    }

    /// Opens a log.
    pub(crate) fn open(
        &mut self,
        client: &Client,
        channel: u32,
        log: LogId,
        key: &SigningKey,
        genesis: Option<LogGenesis>,
        tail: Option<Cursor>,
    ) -> Body {
        self.ask(client, Body::Open(open_frame(client, channel, log, key, genesis, tail)))
    }

    /// Registers an account and opens its inbox as channel 1.
    pub(crate) fn register(&mut self, client: &Client, account: &Account) {
        let put = Body::PutBundle(account.bundle.as_bytes().to_vec());
        assert!(matches!(self.ask(client, put), Body::Accepted { .. }));
        let opened = self.open(client, 1, account.inbox(), &account.device, None, None);
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
    }

    /// Creates a conversation as `channel`, followed.
    pub(crate) fn create(&mut self, client: &Client, channel: u32, seed: u8) -> Conversation {
        let conversation = Conversation::new(seed);
        let Conversation { genesis, log, key } = &conversation;
        let tail = Some(Cursor::default());
        let opened = self.open(client, channel, *log, key, Some(*genesis), tail);
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
        conversation
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
        let bundle = authority.sign_record(record_at(1, &[device.public()], homes)).unwrap();
        Self { phrase, authority, device, bundle }
    }

    pub(crate) fn id(&self) -> AccountId {
        self.bundle.account()
    }

    pub(crate) fn inbox(&self) -> LogId {
        LogGenesis::Inbox(self.id()).id()
    }
}

pub(crate) fn record(version: u64, devices: &[PublicKey], home: NodeId) -> UnsignedRecord {
    record_at(version, devices, &[home])
}

pub(crate) fn record_at(version: u64, devices: &[PublicKey], homes: &[NodeId]) -> UnsignedRecord {
    let home = |node: &NodeId| {
        let addresses = vec!["127.0.0.1:4440".parse().unwrap()];
        NodeAddress { node: *node, addresses }
    };
    let homes = homes.iter().map(home).collect();
    let devices = devices.iter().map(|key| Device { key: *key, added_s: 1 }).collect();
    let inbox_key = InboxKey::from_seed([3; 32]).public();
    UnsignedRecord { version, devices, homes, copies: 2, inbox_key }
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

pub(crate) fn append(channel: u32, envelope: &Envelope) -> Body {
    let entry = Entry::from_envelope(envelope, 0, envelope.head.write_key);
    Body::Append { channel, entry, signature: envelope.signature }
}

pub(crate) fn open_frame(
    client: &Client,
    channel: u32,
    log: LogId,
    key: &SigningKey,
    genesis: Option<LogGenesis>,
    tail: Option<Cursor>,
) -> Open {
    let Client { peer, node, node_nonce, nonce } = client;
    let message = crypto::open_proof_message(node_nonce, nonce, peer, node, &log, channel);
    let proof = key.sign(crypto::OPEN_CONTEXT, &message);
    let genesis = genesis.map(|genesis| genesis.encode());
    Open { channel, log, key: key.public(), proof, genesis, tail, announce: false, ranking: None }
}

pub(crate) fn refused(code: Code) -> Body {
    Body::Refused { code, newer: Vec::new() }
}
