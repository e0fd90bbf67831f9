//! Two devices and a node that lies.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::LazyLock,
    time::Duration,
};

use client::{
    Action, Client, Command, Config, Event, InviteLink, Reply, transport_seed,
    view::{self, Item, Range},
};
use crypto::{SigningKey, identity::Phrase};
use node::{Node, NodeCommand, NodeConfig};
use proto::{
    AccountId, Frame, Input, Instant, Machine, NodeAddress, Output, Peer, PublicKey, Seed,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use store::{Memory, Store};

use crate::secrets::NODE;

/// Two people who know each other, and what their node tells them: as the bytes say, frames are
/// dropped, repeated, bent and made up, while both talk and now and then lose power. Whatever
/// happens, no user is shown a text that the other didn't write, or a text twice.
pub fn client_machine(bytes: &[u8]) {
    let mut talk = ACQUAINTED.clone().wake();
    let mut rest = bytes;
    while let Some((step, after)) = rest.split_first() {
        rest = after;
        let who = usize::from(step >> 3 & 1);
        match step & 7 {
            0 => _ = talk.carry(who, |_| {}),
            1 => {
                let (at, mask) = (usize::from(next(&mut rest)), next(&mut rest));
                talk.carry(who, |bytes| {
                    let length = bytes.len().max(1);
                    if let Some(byte) = bytes.get_mut(at * at % length) {
                        *byte ^= mask;
                    }
                });
            }
            2 => _ = talk.people[who].mail.pop_front(),
            3 => {
                let mail = &mut talk.people[who].mail;
                mail.extend(mail.front().cloned());
            }
            4 => {
                let length = usize::from(next(&mut rest));
                let (frame, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                rest = after;
                talk.people[who].mail.push_front(frame.to_vec());
                talk.carry(who, |_| {});
            }
            5 => talk.speak(who, next(&mut rest)),
            6 => talk.pass(next(&mut rest)),
            _ => talk.crash(who),
        }
    }
    talk.check();
}

/// The next byte, or 0.
fn next(rest: &mut &[u8]) -> u8 {
    let Some((byte, after)) = rest.split_first() else { return 0 };
    *rest = after;
    *byte
}

/// A device, and what its node has told it and didn't arrive yet.
struct Person {
    client: Client,
    store: Memory,
    mail: VecDeque<Vec<u8>>,
    account: AccountId,
    said: BTreeSet<String>,
    invite: Option<InviteLink>,
}

struct Talk {
    now: Instant,
    node: Node,
    node_store: Memory,
    people: [Person; 2],
}

/// What is left of a talk when all are asleep.
#[derive(Clone)]
struct Asleep {
    node: Memory,
    people: [(Memory, AccountId); 2],
}

impl Asleep {
    fn wake(self) -> Talk {
        let now = START.after(Duration::from_secs(60));
        let [first, second] = self.people;
        let person = |(store, account): (Memory, AccountId), number| Person {
            client: open_client(number, now, &store),
            store,
            mail: VecDeque::new(),
            account,
            said: BTreeSet::new(),
            invite: None,
        };
        let mut talk = Talk {
            now,
            node: open_node(now, &self.node),
            node_store: self.node,
            people: [person(first, 0), person(second, 1)],
        };
        talk.connect(0);
        talk.connect(1);
        talk
    }
}

impl Talk {
    /// Hands the next frame of a device's mail over, after something was done to it.
    fn carry(&mut self, who: usize, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(mut bytes) = self.people[who].mail.pop_front() else { return false };
        change(&mut bytes);
        if let Ok(frame) = Frame::decode(&bytes) {
            self.tell(who, Input::Frame(PublicKey(NODE.0), frame));
        }
        true
    }

    fn carry_all(&mut self) {
        for _ in 0..10_000 {
            if !self.carry(0, |_| {}) && !self.carry(1, |_| {}) {
                return;
            }
        }
        panic!("frames without end");
    }

    fn speak(&mut self, who: usize, what: u8) {
        let contact = self.people[1 - who].account;
        let (store, with) = (&self.people[who].store, contact.into());
        let items = view::timeline(store, &with, Range::Latest, 8, self.now);
        let target = items.iter().find_map(|item| match item {
            Item::Message(message) => Some(message.key.id.reference()),
            Item::Gap { .. } => None,
        });
        let text = format!("{who} says {}", self.people[who].said.len());
        let action = match (what % 6, target) {
            (0, Some(target)) => {
                let reaction = if what < 128 { "👍" } else { "" };
                Action::React { conversation: contact.into(), target, emoji: reaction.to_owned() }
            }
            (1, Some(target)) => {
                Action::Edit { conversation: contact.into(), target, text: text.clone().into() }
            }
            (2, Some(target)) => Action::Delete { conversation: contact.into(), target },
            (3, _) => Action::MarkRead { conversation: contact.into() },
            (4, _) if what >= 128 => Action::Rekey { conversation: contact.into() },
            (_, reply_to) => {
                Action::Send { conversation: contact.into(), text: text.clone().into(), reply_to }
            }
        };
        self.people[who].said.insert(text);
        self.tell(who, Input::Command(Command { ticket: 1, action }));
    }

    fn pass(&mut self, seconds: u8) {
        let seconds = u64::from(seconds);
        self.now = self.now.after(Duration::from_secs(seconds * seconds));
        for _ in 0..200 {
            let due = |timeout: Option<Instant>| timeout.is_some_and(|due| due <= self.now);
            if due(self.node.poll_timeout()) {
                self.ask_node(Input::Timeout);
            } else if due(self.people[0].client.poll_timeout()) {
                self.tell(0, Input::Timeout);
            } else if due(self.people[1].client.poll_timeout()) {
                self.tell(1, Input::Timeout);
            } else {
                return;
            }
        }
        panic!("timeouts without end");
    }

    /// The power fails at a device, and comes back.
    fn crash(&mut self, who: usize) {
        let person = &mut self.people[who];
        person.mail.clear();
        person.store = std::mem::take(&mut person.store).crash();
        person.client = open_client(who, self.now, &person.store);
        self.ask_node(Input::Disconnected(peer(who)));
        self.connect(who);
    }

    fn connect(&mut self, who: usize) {
        self.ask_node(Input::Connected(peer(who), None));
        self.tell(who, Input::Connected(PublicKey(NODE.0), None));
    }

    fn tell(&mut self, who: usize, input: Input<Command>) {
        let person = &mut self.people[who];
        person.client.handle(input, self.now, &person.store);
        let mut said = Vec::new();
        while let Some(output) = person.client.poll_output() {
            match output {
                Output::Commit(batch) => {
                    person.store.apply(&batch).unwrap();
                    person.store.sync().unwrap();
                }
                Output::Note(batch) => person.store.apply(&batch).unwrap(),
                Output::Transmit(to, frame) => {
                    assert_eq!(to.0, NODE.0, "a stranger is told something");
                    said.push(frame);
                }
                Output::Event(Event::Done { result: Ok(Reply::Link(link)), .. }) => {
                    person.invite = Some(link);
                }
                Output::Reach(_) => {
                    panic!("not of a device")
                }
                Output::Connect(..) | Output::Disconnect(_) | Output::Event(_) => {}
            }
        }
        for frame in said {
            self.ask_node(Input::Frame(peer(who), frame));
        }
    }

    fn ask_node(&mut self, input: Input<NodeCommand>) {
        self.node.handle(input, self.now, &self.node_store);
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Commit(batch) => {
                    self.node_store.apply(&batch).unwrap();
                    self.node_store.sync().unwrap();
                }
                Output::Transmit(to, frame) => {
                    let who = usize::from(to == peer(1));
                    let bytes = prost::Message::encode_to_vec(&proto::wire::Frame::from(&frame));
                    self.people[who].mail.push_back(bytes);
                }
                Output::Note(_) | Output::Reach(_) => {
                    panic!("not of a node")
                }
                Output::Connect(..) | Output::Disconnect(_) | Output::Event(_) => {}
            }
        }
    }

    fn check(&self) {
        for who in 0..2 {
            let store = &self.people[who].store;
            drop(open_client(who, self.now, store));
            let with = self.people[1 - who].account.into();
            let items = view::timeline(store, &with, Range::Latest, 10_000, self.now);
            let mut shown = BTreeSet::new();
            for item in items {
                let Item::Message(message) = item else { continue };
                let author = if message.own { who } else { 1 - who };
                assert!(shown.insert(message.key.id), "shown twice");
                if let Some(text) = message.text {
                    assert!(self.people[author].said.contains(&text), "{text:?} was never written");
                }
            }
        }
    }
}

fn open_client(who: usize, now: Instant, store: &Memory) -> Client {
    let config = Config { transport: transport(who).into() };
    Client::open(config, seed(now, who), now, store).unwrap()
}

fn open_node(now: Instant, store: &Memory) -> Node {
    Node::open(NodeConfig::new(NODE), seed(now, 2), now, store).unwrap()
}

/// Another one for everyone and at each moment.
fn seed(now: Instant, who: usize) -> Seed {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&now.as_micros().to_be_bytes());
    seed[8..16].copy_from_slice(&who.to_be_bytes());
    Seed(seed)
}

/// The key by which the node knows a device.
fn peer(who: usize) -> Peer {
    let seed = transport_seed(&transport(who), &PublicKey(NODE.0));
    SigningKey::from_seed(*seed).public()
}

fn transport(who: usize) -> [u8; 32] {
    [if who == 0 { 10 } else { 11 }; 32]
}

/// Two devices that have accepted each other.
static ACQUAINTED: LazyLock<Asleep> = LazyLock::new(|| {
    let no_account = || (Memory::new(), AccountId::default());
    let mut talk = Asleep { node: Memory::new(), people: [no_account(), no_account()] }.wake();
    talk.now = START;
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let address = NodeAddress { node: NODE, addresses: vec!["127.0.0.1:4440".parse().unwrap()] };
    for who in 0..2 {
        let (phrase, homes) = (Phrase::generate(&mut rng), vec![address.clone()]);
        let create = Action::CreateAccount { phrase, name: format!("person {who}"), homes };
        talk.command(who, create);
        talk.connect(who);
        talk.carry_all();
        let account = view::account(&talk.people[who].store).expect("an account");
        talk.people[who].account = account.account;
    }
    talk.command(0, Action::Invite { uses: 1, valid_s: 3600 });
    let link = talk.people[0].invite.take().expect("an invite");
    talk.command(1, Action::AddContact { link, name: "zero".to_owned() });
    talk.command(0, Action::Accept { contact: talk.people[1].account });
    let Talk { node_store, people: [first, second], .. } = talk;
    let people = [(first.store, first.account), (second.store, second.account)];
    Asleep { node: node_store, people }
});

impl Talk {
    fn command(&mut self, who: usize, action: Action) {
        self.tell(who, Input::Command(Command { ticket: 1, action }));
        self.carry_all();
    }
}

const START: Instant = Instant::from_secs(1_900_000_000);
