//! Crashes and restarts: what was accepted is there, and a node opened from its rows goes on as
//! if nothing had happened.

use std::collections::BTreeMap;

use crypto::SigningKey;
use node::NodeConfig;
use proptest::prelude::*;
use proto::{
    Body, Cursor, EnvelopeId, Expiry, Frame, Input, Output, PublicKey, PutKeyPackages, Read,
    Reference,
};

use crate::world::{
    Account, Client, Conversation, NODE, World, append, envelope, expiring, key_change,
};

#[test]
fn nothing_leaves_before_it_is_durable() {
    let mut world = World::new(NodeConfig::new(NODE));
    let (a, b) = (world.connect(1), world.connect(2));
    world.register(&a, &Account::new(1));
    let talk = world.create(&a, 2, 9);
    world.open(&b, 1, talk.log, &talk.key, None, Some(Cursor::default()));
    world.syncs = false;
    let body = append(2, &talk.envelope(1, b"x"));
    world.input(Input::Frame(a.peer, Frame { request: 1, body }));
    assert!(world.take(a.peer).is_empty() && world.take(b.peer).is_empty());
    world.sync();
    assert!(matches!(world.take(a.peer)[0].body, Body::Accepted { .. }));
    assert!(matches!(world.take(b.peer)[0].body, Body::Deliver { .. }));
}

#[test]
fn what_is_committed_comes_before_every_answer() {
    let mut world = World::new(NodeConfig::new(NODE));
    let a = world.connect(1);
    let bundle = Account::new(1).bundle.as_bytes().to_vec();
    let frame = Frame { request: 1, body: Body::PutBundle(bundle) };
    let now = world.now;
    let node = world.host.machine.as_mut().unwrap();
    proto::Machine::handle(node, Input::Frame(a.peer, frame), now, &world.host.store);
    let first = proto::Machine::poll_output(node);
    assert!(matches!(first, Some(Output::Commit(_))), "{first:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Sync,
    Crash,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_accepted_survives_every_crash(
        steps in proptest::collection::vec(
            prop_oneof![
                6 => any::<u8>().prop_map(Step::Append),
                2 => Just(Step::Sync),
                1 => Just(Step::Crash),
            ],
            1..60,
        ),
    ) {
        let mut world = World::new(NodeConfig::new(NODE));
        let mut a = world.connect(1);
        world.register(&a, &Account::new(1));
        let talk = world.create(&a, 2, 9);
        let mut sent = Vec::<EnvelopeId>::new();
        let mut accepted = BTreeMap::<EnvelopeId, u64>::new();
        world.syncs = false;
        for step in steps.into_iter().chain([Step::Sync, Step::Crash]) {
            match step {
                Step::Append(byte) => {
                    let position = 1 + u64::from(byte % 5);
                    let envelope = talk.envelope(position, &[sent.len() as u8, byte]);
                    let request = 1 + sent.len() as u32;
                    sent.push(envelope.id());
                    let body = append(2, &envelope);
                    world.input(Input::Frame(a.peer, Frame { request, body }));
                }
                Step::Sync => world.sync(),
                Step::Crash => {
                    world.crash();
                    a = world.connect(1);
                    let opened = open(&mut world, &a, 2, &talk);
                    world.sync();
                    for (id, sequence) in &accepted {
                        let references = vec![id.reference()];
                        let page = world.ask(&a, Body::Fetch { channel: 2, references });
                        let Body::Page { entries, .. } = page else { panic!("{page:?}") };
                        prop_assert_eq!(entries.len(), 1, "accepted and lost");
                        prop_assert_eq!(entries[0].sequence, *sequence);
                    }
                    let Body::Opened { head, .. } = opened else { panic!("{opened:?}") };
                    prop_assert!(head.sequence >= accepted.values().copied().max().unwrap_or(0));
                }
            }
            for frame in world.take(a.peer) {
                if let Body::Accepted { sequence, .. } = frame.body {
                    accepted.insert(sent[frame.request as usize - 1], sequence);
                }
            }
        }
    }
}

/// One input of a script that is played to two nodes.
#[derive(Clone, Debug)]
enum Play {
    Append {
        member: bool,
        position: u64,
        byte: u8,
        expires: bool,
    },
    ChangeKey(u8),
    Read {
        backward: bool,
        position: u64,
        limit: u32,
    },
    Fetch(u8),
    Packages(u8),
    Take,
    Invite(u8),
    Request(u8),
    Pass(u64),
    /// Everyone reconnects; one of the nodes is opened again.
    Restart,
}

fn plays() -> impl Strategy<Value = Vec<Play>> {
    let play = prop_oneof![
        8 => (any::<bool>(), 0u64..9, 0u8..30, any::<bool>()).prop_map(
            |(member, position, byte, expires)| Play::Append { member, position, byte, expires }
        ),
        1 => (0u8..4).prop_map(Play::ChangeKey),
        2 => (any::<bool>(), 0u64..9, 0u32..20)
            .prop_map(|(backward, position, limit)| Play::Read { backward, position, limit }),
        1 => (0u8..30).prop_map(Play::Fetch),
        1 => (0u8..4).prop_map(Play::Packages),
        1 => Just(Play::Take),
        1 => (0u8..3).prop_map(Play::Invite),
        2 => (0u8..9).prop_map(Play::Request),
        1 => (1u64..60_000).prop_map(Play::Pass),
        3 => Just(Play::Restart),
    ];
    proptest::collection::vec(play, 1..60)
}

/// Two people on one node, and everything they are told.
struct Stage {
    world: World,
    clients: [Client; 2],
    account: Account,
    talk: Conversation,
    told: Vec<Body>,
}

impl Stage {
    fn new() -> Self {
        let mut world = World::new(NodeConfig::new(NODE));
        let account = Account::new(1);
        let owner = world.connect(1);
        world.register(&owner, &account);
        let talk = world.create(&owner, 2, 9);
        let mut stage =
            Self { clients: [owner, world.connect(2)], world, account, talk, told: Vec::new() };
        stage.connect();
        stage
    }

    fn connect(&mut self) {
        self.clients = [self.world.connect(1), self.world.connect(2)];
        let [owner, member] = self.clients;
        let (inbox, device) = (self.account.inbox(), self.account.device.clone());
        let mut told = vec![self.world.open(&owner, 1, inbox, &device, None, None)];
        told.push(open(&mut self.world, &owner, 2, &self.talk));
        told.push(open(&mut self.world, &member, 2, &self.talk));
        told.push(self.world.open(&member, 1, inbox, &invite(), None, None));
        self.told.extend(told);
    }

    fn play(&mut self, play: &Play, reopens: bool) {
        let [owner, member] = self.clients;
        let (log, key) = (self.talk.log, self.talk.key.clone());
        let (client, body) = match *play {
            Play::Append { member: by_member, position, byte, expires } => {
                let mut envelope = self.talk.envelope(position, &[byte]);
                if expires {
                    envelope = expiring(&key, log, &[byte], Expiry::Day);
                }
                (if by_member { member } else { owner }, append(2, &envelope))
            }
            Play::ChangeKey(n) => {
                let next = SigningKey::from_seed([60 + n; 32]);
                (owner, append(2, &key_change(&key, log, 1, &next)))
            }
            Play::Read { backward, position, limit } => {
                let from = (position, EnvelopeId([0x80; 32]));
                (owner, Body::Read(Read { channel: 2, from, backward, limit }))
            }
            Play::Fetch(byte) => {
                let name = self.talk.envelope(3, &[byte]).id().reference();
                let references = vec![name, Reference([1; 16])];
                (member, Body::Fetch { channel: 2, references })
            }
            Play::Packages(count) => {
                let device: PublicKey = self.account.device.public();
                let one_time = vec![vec![count; 9]; usize::from(count)];
                let last_resort = vec![9; usize::from(count)];
                let put = PutKeyPackages { channel: 1, device, one_time, last_resort };
                (owner, Body::PutKeyPackages(put))
            }
            Play::Take => (member, Body::TakeKeyPackages { channel: 1 }),
            Play::Invite(uses) => {
                let (key, expires_s) = (invite().public(), self.world.now.as_secs() + 90_000);
                let uses = u32::from(uses);
                (owner, Body::PutInvite { channel: 1, key, expires_s, uses })
            }
            Play::Request(byte) => {
                (member, append(1, &envelope(&invite(), self.account.inbox(), 1, &[byte])))
            }
            Play::Pass(seconds) => return self.world.pass(seconds),
            Play::Restart => {
                if reopens {
                    self.world.reopen();
                }
                return self.connect();
            }
        };
        let answer = self.world.ask(&client, body);
        self.told.push(answer);
        for client in self.clients {
            self.told.extend(self.world.take(client.peer).into_iter().map(|frame| frame.body));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_node_opened_again_continues_as_before(plays in plays()) {
        let (mut steady, mut restarted) = (Stage::new(), Stage::new());
        for play in &plays {
            steady.play(play, false);
            restarted.play(play, true);
            prop_assert_eq!(&steady.told, &restarted.told);
            prop_assert!(steady.world.dump() == restarted.world.dump(), "rows differ");
        }
    }
}

fn open(world: &mut World, client: &Client, channel: u32, talk: &Conversation) -> Body {
    world.open(client, channel, talk.log, &talk.key, None, Some(Cursor::default()))
}

fn invite() -> SigningKey {
    SigningKey::from_seed([50; 32])
}
