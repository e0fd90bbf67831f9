//! Homes in reserve: an active home of an account that is unreachable for long is replaced by the
//! next one, with all that the account has, while every device sleeps; and it gets its place back.

use node::{Drained, NodeCommand, NodeConfig, NodeEvent, Registration};
use proto::{Body, Code, Cursor, Input, LogGenesis, Open, Ranking, Recruit};

use crate::{
    neighbours::{config, name, peer, ranking},
    strangers::{ask, greet},
    town::Town,
    world::{Account, Conversation, World, append, open_frame, refused},
};

/// Ann's homes are the nodes 0, 1, 2 and 3, of which two serve; Ben's is 4. They have a
/// conversation.
struct Pair {
    town: Town,
    ann: Account,
    talk: Conversation,
}

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 3600;

fn told() -> Ranking {
    Ranking { reserve: ranking(1, &[2, 3]).nodes, ..ranking(1, &[0, 4, 1]) }
}

fn is_recruit(body: &Body) -> bool {
    matches!(body, Body::Recruit(_))
}

impl Pair {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl Fn(&mut [World])) -> Self {
        let (mut town, talk) = (Town::of(5), Conversation::new(60));
        change(&mut town.worlds);
        let ann = Account::at_all(1, &[0, 1, 2, 3].map(name));
        let mut pair = Self { town, ann, talk };
        for n in [0, 1, 4] {
            pair.open_at(n);
        }
        pair.town.pass(10);
        pair
    }

    /// The device at a node registers its account there, and opens the conversation.
    fn open_at(&mut self, n: usize) {
        let Self { town, ann, talk } = self;
        let (ben, device) = (Account::at(2, name(4)), town.devices[n]);
        town.worlds[n].register(&device, if n == 4 { &ben } else { ann });
        let Conversation { genesis, log, key } = talk;
        let tail = Some(Cursor::default());
        let open = Open {
            ranking: Some(Box::new(told())),
            ..open_frame(&device, 2, *log, key, Some(*genesis), tail)
        };
        let opened = town.worlds[n].ask(&device, Body::Open(open));
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
    }

    fn say(&mut self, n: usize, position: u64, text: &str) {
        let (device, envelope) =
            (self.town.devices[n], self.talk.envelope(position, text.as_bytes()));
        let stored = self.town.worlds[n].ask(&device, append(2, &envelope));
        assert!(matches!(stored, Body::Accepted { .. }), "{stored:?}");
    }

    fn texts(&mut self, n: usize) -> Vec<String> {
        self.town.held(n, &self.talk)
    }

    /// Whether a node has a copy of the conversation.
    fn finds_copy(&mut self, n: usize) -> bool {
        let reader = self.town.worlds[n].connect(8);
        let opened =
            self.town.worlds[n].open(&reader, 1, self.talk.log, &self.talk.key, None, None);
        opened != refused(Code::NotFound)
    }

    fn recruit(&self) -> Recruit {
        let Conversation { genesis, .. } = &self.talk;
        let conversation = Some((genesis.encode(), told()));
        Recruit { bundle: self.ann.bundle.as_bytes().to_vec(), conversation }
    }
}

#[test]
fn the_next_home_takes_the_place_of_one_that_is_gone_and_gives_it_back() {
    let mut pair = Pair::new();
    for position in 1..=300 {
        pair.say(0, position, &position.to_string());
    }
    pair.town.pass(10);
    pair.town.kill(0);
    pair.town.pass(9 * MINUTE);
    assert!(!pair.finds_copy(2), "it may be back soon");
    pair.town.pass(3 * MINUTE);
    assert_eq!(pair.texts(2).len(), 300);
    assert!(!pair.finds_copy(3), "one is enough");

    // With that the other one may go as well: what Ben says gets there.
    pair.town.kill(1);
    pair.say(4, 301, "to every home that is there");
    pair.town.pass(12 * MINUTE);
    assert_eq!(pair.texts(2).last().unwrap(), "to every home that is there");
    assert_eq!(pair.texts(3).len(), 301, "and it has a second home again");

    // They are back: they get all, and a day later the others have nothing any more.
    let charged = |pair: &Pair, n: usize| pair.town.worlds[n].machine().counters().charged_bytes;
    let before = charged(&pair, 2);
    for n in [0, 1] {
        pair.town.revive(n);
    }
    pair.town.pass(10 * MINUTE);
    for n in [0, 1] {
        assert_eq!(pair.texts(n).len(), 301, "{n}");
    }
    pair.town.pass(DAY - 20 * MINUTE);
    assert!(pair.finds_copy(2), "they may go again");
    pair.town.pass(2 * 3600);
    for n in [2, 3] {
        assert!(!pair.finds_copy(n), "{n}");
        let of_entries = |table: u8| [4, 5, 6, 8, 20, 23].contains(&table);
        let rows = pair.town.worlds[n]
            .dump()
            .into_iter()
            .filter(|(table, ..)| of_entries(table.0))
            .count();
        assert_eq!(rows, 0, "{n}");
    }
    assert!(charged(&pair, 2) < before - 300 * 128, "and what they took is free again");
    assert_eq!(charged(&pair, 2), charged(&pair, 3));

    // Who has not heard of that finds out once, and tells them nothing from then on.
    pair.say(4, 302, "as ever");
    pair.town.pass(MINUTE);
    let said = pair.town.said.len();
    pair.say(4, 303, "and so on");
    pair.town.pass(MINUTE);
    let told = pair.town.said.split_off(said);
    let told = told.iter().filter(|(from, to, _)| [*from, *to].iter().any(|n| [2, 3].contains(n)));
    assert_eq!(told.collect::<Vec<_>>(), Vec::<&(usize, usize, proto::Frame)>::new());
    assert_eq!(pair.town.dirty(), 0);

    // And if it has to be, they do it once more.
    pair.town.kill(1);
    pair.town.pass(12 * MINUTE);
    assert_eq!(pair.texts(2).len(), 303);
}

#[test]
fn a_node_that_drains_goes_on_until_others_have_all_and_takes_nothing_new() {
    let mut pair = Pair::new();
    for position in 1..=100 {
        pair.say(0, position, &position.to_string());
    }
    pair.town.pass(10);
    let drained = |pair: &mut Pair, ticket: u64| {
        pair.town.worlds[0].input(Input::Command(NodeCommand::Drain(ticket)));
        pair.town.pass(5);
        let told = pair.town.worlds[0].events.drain(..).find_map(|event| match event {
            NodeEvent::Drained { ticket: t, drained } if t == ticket => Some(drained),
            _ => None,
        });
        told.unwrap()
    };
    assert_eq!(drained(&mut pair, 1), Drained { safe: 0, left: 2, stuck: 0 });
    pair.say(0, 101, "it goes on");
    pair.town.pass(30);
    assert_eq!(drained(&mut pair, 2), Drained { safe: 2, left: 0, stuck: 0 });
    assert_eq!(pair.texts(2).len(), 101);
    let device = pair.town.devices[0];
    let other = Conversation::new(61);
    let opened =
        pair.town.worlds[0].open(&device, 5, other.log, &other.key, Some(other.genesis), None);
    assert_eq!(opened, refused(Code::Busy));
    let bundle = Account::at(7, name(0)).bundle.as_bytes().to_vec();
    let put = pair.town.worlds[0].ask(&device, Body::PutBundle(bundle));
    assert_eq!(put, refused(Code::Closed));

    // No other account is at home at node 4.
    pair.town.worlds[4].input(Input::Command(NodeCommand::Drain(3)));
    pair.town.pass(5);
    let events = &pair.town.worlds[4].events;
    let stuck = Drained { safe: 0, left: 0, stuck: 2 };
    assert!(events.contains(&NodeEvent::Drained { ticket: 3, drained: stuck }), "{events:?}");
}

#[test]
fn who_is_back_in_time_is_not_replaced() {
    let mut pair = Pair::new();
    pair.town.kill(0);
    pair.town.pass(9 * MINUTE);
    pair.town.revive(0);
    pair.town.pass(DAY);
    assert_eq!(pair.town.count_all(is_recruit), 0);
}

#[test]
fn a_node_that_has_dropped_its_copy_is_asked_for_it_once() {
    for draws in 0..8 {
        asks_once_for_what_was_dropped(draws);
    }
}

/// Which of two begins to compare is drawn, and so depends on how often they have drawn before.
fn asks_once_for_what_was_dropped(draws: usize) {
    let mut pair = Pair::new();
    pair.say(0, 1, "hello");
    // Nodes 2 and 4 have something else in common.
    let other = Conversation::new(61);
    let opens = |pair: &mut Pair, n: usize| {
        let (device, Conversation { genesis, log, key }) = (pair.town.devices[n], &other);
        let tail = Some(Cursor::default());
        let open = Open {
            ranking: Some(Box::new(ranking(1, &[2, 4]))),
            ..open_frame(&device, 5, *log, key, Some(*genesis), tail)
        };
        let opened = pair.town.worlds[n].ask(&device, Body::Open(open));
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
    };
    let cid = Account::at(3, name(2));
    let device = pair.town.devices[2];
    pair.town.worlds[2].register(&device, &cid);
    opens(&mut pair, 2);
    opens(&mut pair, 4);
    pair.town.kill(0);
    pair.town.pass(12 * MINUTE);
    assert!(pair.finds_copy(2));
    pair.town.revive(0);
    pair.town.pass(DAY + 2 * 3600);
    assert!(!pair.finds_copy(2));

    let before = pair.town.said.len();
    for _ in 0..draws {
        pair.town.cut(2, 4);
        pair.town.carry();
    }
    let device = pair.town.devices[4];
    for position in 1..=5 {
        let envelope = other.envelope(position, b"of something else");
        pair.town.worlds[4].ask(&device, append(5, &envelope));
        pair.town.pass(DAY / 2);
        let said = pair.town.said.len();
        pair.town.pass(DAY / 2);
        assert_eq!(pair.town.said.len(), said, "all is quiet");
    }
    let about = |log| {
        let is_of = move |body: &Body| matches!(body, Body::Compare(c) if c.log == Some(log));
        let said = pair.town.said[before..].iter();
        said.filter(|(_, to, frame)| *to == 2 && is_of(&frame.body)).count()
    };
    assert!(about(pair.talk.log) <= 1, "{}", about(pair.talk.log));
}

#[test]
fn the_inbox_moves_too() {
    let mut pair = Pair::new();
    let invite = crypto::SigningKey::from_seed([77; 32]);
    let device = pair.town.devices[1];
    let key = invite.public();
    let put = Body::PutInvite { channel: 1, key, expires_s: u64::MAX, uses: 9 };
    pair.town.worlds[1].ask(&device, put);
    pair.town.kill(0);
    pair.town.pass(12 * MINUTE);
    let guest = pair.town.worlds[1].connect(9);
    let inbox = pair.ann.inbox();
    pair.town.worlds[1].open(&guest, 7, inbox, &invite, None, None);
    let request = crate::world::envelope(&invite, inbox, 1, b"may I?");
    let taken = pair.town.worlds[1].ask(&guest, append(7, &request));
    assert!(matches!(taken, Body::Accepted { .. }), "{taken:?}");
    pair.town.pass(10);
    let owner = pair.town.worlds[2].connect(8);
    let tail = Some(Cursor::default());
    pair.town.worlds[2].open(&owner, 1, inbox, &pair.ann.device, None, tail);
    let delivered = pair.town.worlds[2].delivered(&owner);
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0].1.ciphertext, b"may I?");
}

#[test]
fn if_one_does_not_want_to_the_one_behind_it_is_asked() {
    let closed = || NodeConfig { registration: Registration::Closed, ..config(2) };
    let mut pair = Pair::with(|worlds| worlds[2] = World::new(closed()));
    pair.say(0, 1, "hello");
    pair.town.pass(10);
    pair.town.kill(0);
    pair.town.pass(15 * MINUTE);
    assert!(!pair.finds_copy(2));
    assert_eq!(pair.texts(3), ["hello"]);
    assert!(pair.town.count_all(is_recruit) <= 8, "no home is asked too often");
}

#[test]
fn only_homes_of_the_account_are_heard_and_what_is_wrong_costs_nothing() {
    let mut pair = Pair::new();
    let rows = |pair: &Pair| pair.town.worlds[2].dump().len();
    let before = rows(&pair);
    let recruit = |pair: &mut Pair, by: usize, recruit: Recruit| {
        let (node, body) = (&mut pair.town.worlds[2], Body::Recruit(Box::new(recruit)));
        greet(node, peer(by));
        ask(node, peer(by), body).unwrap()
    };
    let right = pair.recruit();
    assert_eq!(
        recruit(&mut pair, 4, right.clone()),
        refused(Code::Forbidden),
        "it is no home of Ann's"
    );
    let bundle = b"nonsense".to_vec();
    let wrong = Recruit { bundle, ..right.clone() };
    assert_eq!(recruit(&mut pair, 1, wrong), refused(Code::Invalid));
    assert_eq!(rows(&pair), before);

    let with = |genesis: Vec<u8>, ranking: Ranking| Recruit {
        conversation: Some((genesis, ranking)),
        ..right.clone()
    };
    let genesis = pair.talk.genesis.encode();
    let inbox = LogGenesis::Inbox(pair.ann.id()).encode();
    let twice = Ranking { reserve: told().nodes, ..told() };
    for (wrong, code) in [
        (with(b"nonsense".to_vec(), told()), Code::Invalid),
        (with(inbox, told()), Code::Invalid),
        (with(genesis.clone(), ranking(1, &[0, 1])), Code::Invalid),
        (with(genesis.clone(), twice), Code::Invalid),
        (with(genesis, ranking(1, &[0, 2])), Code::Forbidden),
    ] {
        assert_eq!(recruit(&mut pair, 1, wrong), refused(code));
    }
    assert!(!pair.finds_copy(2));
    assert!(matches!(recruit(&mut pair, 1, right.clone()), Body::Accepted { .. }));
    assert!(pair.finds_copy(2));
    let after = rows(&pair);
    assert!(matches!(recruit(&mut pair, 1, right), Body::Accepted { .. }), "said twice");
    assert!(rows(&pair) <= after + 1);
}
