//! A device that does nothing but send: the smallest machine that a node takes messages from. What
//! it sends is sealed and signed as real devices do it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crypto::{
    SigningKey,
    group::{CommitId, Epoch},
    sign_envelope,
};
use proto::{
    Body, Content, ContentBody, Entry, Frame, Hello, Input, Instant, LogGenesis, Machine,
    NodeAddress, OpenError, Output, PublicKey, Ranking, Reference, Rows, Seed, VERSIONS,
};

use crate::{
    people::MESSAGE_BYTES,
    signed::{Account, Greeted, OpenLog, head},
};

/// One account with one conversation, all from one number.
#[derive(Debug)]
pub(crate) struct Author {
    pub(crate) transport: [u8; 32],
    account: Account,
    epoch: Epoch,
    write_key: SigningKey,
    genesis: LogGenesis,
    position: u64,
    last: Option<Reference>,
}

impl Author {
    pub(crate) fn new(number: u32, home: &NodeAddress) -> anyhow::Result<Self> {
        // A node started again listens elsewhere, and its accounts must stay as they were.
        let addresses = vec![([127, 0, 0, 1], 1).into()];
        Self::member(number, number, vec![NodeAddress { addresses, ..home.clone() }])
    }

    /// An account which takes part in a conversation that another may have begun.
    pub(crate) fn member(
        conversation: u32,
        account: u32,
        homes: Vec<NodeAddress>,
    ) -> anyhow::Result<Self> {
        let transport = seed(account);
        let begun = seed(conversation);
        let epoch = Epoch::from_root(CommitId(begun), begun, &begun);
        let write_key = epoch.write_key();
        let genesis = LogGenesis::Conversation { write_key: write_key.public(), salt: [0; 16] };
        let account = Account::new(transport, homes)?;
        Ok(Self { transport, account, epoch, write_key, genesis, position: 0, last: None })
    }

    /// Seals and signs the next message.
    pub(crate) fn next_message(&mut self) -> Body {
        self.next_of(MESSAGE_BYTES)
    }

    /// The same with a text of so many bytes.
    pub(crate) fn next_of(&mut self, text_bytes: usize) -> Body {
        let counter = u32::try_from(self.position).unwrap_or(u32::MAX);
        self.position += 1;
        let content = Content {
            dependencies: self.last.into_iter().collect(),
            sent_at_s: 1_800_000_000,
            body: ContentBody::Text { text: "x".repeat(text_bytes), reply_to: None },
            bundle_seen: None,
        };
        let head = head(&self.write_key, self.genesis.id(), self.position);
        let Account { device, rng, .. } = &mut self.account;
        let content = content.encode();
        let ciphertext = self.epoch.seal_message(device, 0, counter, &head, &content, rng);
        let envelope = sign_envelope(&self.write_key, head, ciphertext.unwrap_or_default());
        self.last = Some(envelope.id().reference());
        let entry = Entry::from_envelope(&envelope, 0, self.write_key.public());
        Body::Append { channel: CONVERSATION, entry, signature: envelope.signature }
    }
}

/// What the senders have done together.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Connected, with the conversation open.
    pub(crate) ready: AtomicU64,
    /// Messages that the node holds durably.
    pub(crate) stored: AtomicU64,
    /// Node acks for them, of this and of other nodes.
    pub(crate) acks: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// What a [`Sender`] starts from.
#[derive(Debug)]
pub(crate) struct SenderConfig {
    pub(crate) author: Author,
    pub(crate) node: NodeAddress,
    pub(crate) progress: Arc<Progress>,
    /// Messages that are ready to be sent; further ones are made on the fly.
    pub(crate) ready_made: VecDeque<Body>,
    /// Follow the conversation, as an idle device does.
    pub(crate) follow: bool,
    /// Who holds the conversation. With this, a message is on its way until each of them has signed
    /// for it, else until the node has accepted it.
    pub(crate) ranking: Option<Ranking>,
}

/// What a [`Sender`] is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Keep so many messages on their way.
    Window(u64),
    /// Send only what is ready-made.
    ReadyMade(u64),
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Sender {
    config: SenderConfig,
    nonce: [u8; 16],
    node_nonce: [u8; 16],
    window: u64,
    on_the_fly: bool,
    /// Answers that are still to come.
    waiting: u64,
    outputs: VecDeque<Output<()>>,
}

impl Machine for Sender {
    type Config = SenderConfig;
    type Command = Order;
    type Event = ();

    fn open(
        config: SenderConfig,
        seed: Seed,
        _now: Instant,
        _rows: &dyn Rows,
    ) -> Result<Self, OpenError> {
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&seed.0[..16]);
        let NodeAddress { node, addresses } = config.node.clone();
        let connect = Output::Connect(PublicKey(node.0), addresses);
        Ok(Self {
            config,
            nonce,
            node_nonce: [0; 16],
            window: 0,
            on_the_fly: true,
            waiting: 0,
            outputs: VecDeque::from([connect]),
        })
    }

    fn handle(&mut self, input: Input<Order>, _now: Instant, _rows: &dyn Rows) {
        match input {
            Input::Command(Order::Window(window)) => self.window = window,
            Input::Command(Order::ReadyMade(window)) => {
                self.window = window;
                self.on_the_fly = false;
            }
            Input::Connected(..) => {
                self.say(0, Body::Hello(Hello { versions: VERSIONS, nonce: self.nonce }));
            }
            Input::Frame(_, frame) => self.frame(frame),
            Input::Disconnected(_) | Input::Reached(_) | Input::Timeout => {}
        }
        self.fill();
    }

    fn poll_output(&mut self) -> Option<Output<()>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

impl Sender {
    /// Whether its conversation is open.
    pub(crate) fn is_ready(&self) -> bool {
        self.config.progress.ready.load(Relaxed) > 0
    }

    pub(crate) fn into_author(self) -> Author {
        self.config.author
    }

    fn frame(&mut self, frame: Frame) {
        match (frame.request, frame.body) {
            (_, Body::Hello(hello)) => {
                self.node_nonce = hello.nonce;
                let bundle = self.config.author.account.bundle.as_bytes().to_vec();
                self.say(PUT, Body::PutBundle(bundle));
            }
            (PUT, Body::Accepted { .. }) => {
                let Author { account, .. } = &self.config.author;
                let open = self.open_log(INBOX, account.inbox(), &account.device, None);
                self.say(OPEN_INBOX, open);
            }
            (OPEN_INBOX, Body::Opened { .. }) => {
                let Author { write_key, genesis, .. } = &self.config.author;
                let ranking = self.config.ranking.clone();
                let open = self.open_log(CONVERSATION, *genesis, write_key, ranking);
                self.say(OPEN_CONVERSATION, open);
            }
            (OPEN_CONVERSATION, Body::Opened { .. }) => {
                self.config.progress.ready.fetch_add(1, Relaxed);
            }
            (APPEND, Body::Accepted { .. }) => {
                if self.config.ranking.is_none() {
                    self.waiting = self.waiting.saturating_sub(1);
                }
                self.config.progress.stored.fetch_add(1, Relaxed);
            }
            (_, Body::NodeAck { .. }) => {
                if self.config.ranking.is_some() {
                    self.waiting = self.waiting.saturating_sub(1);
                }
                self.config.progress.acks.fetch_add(1, Relaxed);
            }
            (request, Body::Refused { code, .. }) => {
                eprintln!("bench: request {request} was refused: {code:?}");
                self.config.progress.refused.fetch_add(1, Relaxed);
            }
            _ => {}
        }
    }

    fn fill(&mut self) {
        let each = self.config.ranking.as_ref().map_or(1, |ranking| ranking.nodes.len() as u64);
        while self.waiting + each <= self.window * each {
            let ready_made = self.config.ready_made.pop_front();
            let body = match ready_made {
                Some(body) => body,
                None if self.on_the_fly => self.config.author.next_message(),
                None => return,
            };
            self.waiting += each;
            self.say(APPEND, body);
        }
    }

    fn open_log(
        &self,
        channel: u32,
        genesis: LogGenesis,
        key: &SigningKey,
        ranking: Option<Ranking>,
    ) -> Body {
        let greeted = Greeted {
            node: self.config.node.node,
            node_nonce: self.node_nonce,
            device: SigningKey::from_seed(self.config.author.transport).public(),
            nonce: self.nonce,
        };
        greeted.open(OpenLog { channel, genesis, key, ranking, follow: self.config.follow })
    }

    fn say(&mut self, request: u32, body: Body) {
        let node = PublicKey(self.config.node.node.0);
        self.outputs.push_back(Output::Transmit(node, Frame { request, body }));
    }
}

fn seed(number: u32) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&(number + 1).to_be_bytes());
    seed
}

const INBOX: u32 = 1;
const CONVERSATION: u32 = 2;
const PUT: u32 = 1;
const OPEN_INBOX: u32 = 2;
const OPEN_CONVERSATION: u32 = 3;
const APPEND: u32 = 4;
