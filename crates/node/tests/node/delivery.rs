//! Following logs: each reader gets each entry once, in sequence order, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use node::NodeConfig;
use proptest::prelude::*;
use proto::{Body, Cursor, Frame, Input, limits};

use crate::world::{Account, Client, Conversation, NODE, World, append};

fn start() -> (World, Client, Conversation) {
    let mut world = World::new(NodeConfig::new(NODE));
    let owner = world.connect(1);
    world.register(&owner, &Account::new(1));
    let talk = world.create(&owner, 2, 9);
    (world, owner, talk)
}

fn follow(world: &mut World, client: &Client, channel: u32, talk: &Conversation) {
    let opened = world.open(client, channel, talk.log, &talk.key, None, Some(Cursor::default()));
    assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
}

#[test]
fn what_is_not_accepted_stops_at_the_window() {
    let (mut world, owner, talk) = start();
    let reader = world.connect(2);
    follow(&mut world, &reader, 1, &talk);
    for n in 0..600u64 {
        world.ask(&owner, append(2, &talk.envelope(1 + n, b"x")));
    }
    let mut seen = 0;
    loop {
        let delivered = world.delivered(&reader);
        assert!(delivered.len() as u64 <= limits::DELIVER_WINDOW);
        let Some((channel, entry)) = delivered.last() else { break };
        seen += delivered.len();
        world.tell(&reader, Body::Accepted { channel: *channel, sequence: entry.sequence });
    }
    assert_eq!(seen, 600);
}

#[test]
fn what_waits_for_one_connection_stays_below_its_queue() {
    let (mut world, owner, talk) = start();
    for n in 0..30u64 {
        world.ask(&owner, append(2, &talk.envelope(1 + n, &[0; 60_000])));
    }
    let reader = world.connect(2);
    for channel in 1..20 {
        follow(&mut world, &reader, channel, &talk);
    }
    let bytes = |delivered: &[(u32, proto::Entry)]| -> usize {
        delivered.iter().map(|(_, entry)| entry.ciphertext.len()).sum()
    };
    let mut seen = BTreeMap::<u32, u64>::new();
    loop {
        let delivered = world.delivered(&reader);
        assert!(bytes(&delivered) <= limits::QUEUE_BYTES_MAX);
        if delivered.is_empty() {
            break;
        }
        for (channel, entry) in delivered {
            let last = seen.insert(channel, entry.sequence).unwrap_or_default();
            assert_eq!(entry.sequence, last + 1);
            world.tell(&reader, Body::Accepted { channel, sequence: entry.sequence });
        }
    }
    assert_eq!(seen, (1..20).map(|channel| (channel, 30)).collect());
}

#[test]
fn a_reader_that_accepts_nothing_holds_up_no_other() {
    let (mut world, owner, talk) = start();
    let (idle, eager) = (world.connect(2), world.connect(3));
    follow(&mut world, &idle, 1, &talk);
    follow(&mut world, &eager, 1, &talk);
    for n in 0..400u64 {
        world.ask(&owner, append(2, &talk.envelope(1 + n, b"x")));
        let delivered = world.delivered(&eager);
        assert_eq!(delivered.len(), 1);
        world.tell(&eager, Body::Accepted { channel: 1, sequence: delivered[0].1.sequence });
    }
}

#[test]
fn closing_a_channel_gives_its_window_to_others() {
    let (mut world, owner, talk) = start();
    for n in 0..300u64 {
        world.ask(&owner, append(2, &talk.envelope(1 + n, b"x")));
    }
    let reader = world.connect(2);
    follow(&mut world, &reader, 1, &talk);
    assert_eq!(world.delivered(&reader).len() as u64, limits::DELIVER_WINDOW);
    follow(&mut world, &reader, 2, &talk);
    assert!(world.delivered(&reader).is_empty());
    world.tell(&reader, Body::Close { channel: 1 });
    let delivered = world.delivered(&reader);
    assert_eq!(delivered.len() as u64, limits::DELIVER_WINDOW);
    assert!(delivered.iter().all(|(channel, _)| *channel == 2));
}

#[test]
fn signals_reach_the_other_readers_and_no_disk() {
    let (mut world, owner, talk) = start();
    let (reader, elsewhere) = (world.connect(2), world.connect(3));
    follow(&mut world, &reader, 5, &talk);
    follow(&mut world, &reader, 6, &talk);
    let before = world.dump();
    world.tell(&owner, Body::Signal { channel: 2, ciphertext: b"typing".to_vec() });
    let signal = Body::Signal { channel: 5, ciphertext: b"typing".to_vec() };
    assert_eq!(world.take(reader.peer), vec![Frame::new(signal)], "once to a connection");
    assert!(world.take(owner.peer).is_empty() && world.take(elsewhere.peer).is_empty());
    assert_eq!(world.dump(), before);

    world.input(Input::Disconnected(reader.peer));
    world.tell(&owner, Body::Signal { channel: 2, ciphertext: b"typing".to_vec() });
    assert!(world.take(reader.peer).is_empty(), "gone");
}

#[test]
fn counters_are_told_slowly_and_only_when_they_changed() {
    let (mut world, owner, talk) = start();
    world.pass(20);
    world.events.clear();
    assert_eq!(world.poll_timeout(), None, "an idle node sleeps");
    world.ask(&owner, append(2, &talk.envelope(1, b"x")));
    world.ask(&owner, append(2, &talk.envelope(2, b"x")));
    assert!(world.events.is_empty());
    world.pass(10);
    let told = node::NodeEvent::Counters(world.machine().counters().clone());
    assert_eq!(world.events, vec![told]);
    assert_eq!(world.poll_timeout(), None);
}

/// Members of one conversation, each with a cursor it keeps across connections.
struct Room {
    world: World,
    talk: Conversation,
    members: Vec<Member>,
    appended: u64,
}

struct Member {
    client: Client,
    /// What it holds durably, and the cursor it would come back with.
    held: BTreeMap<u64, Vec<u8>>,
    cursor: Cursor,
    /// Delivered on this connection, not accepted.
    unaccepted: Vec<(u64, Vec<u8>)>,
    last: u64,
    /// Sequences it wrote: over this connection, and over earlier ones.
    own: BTreeSet<u64>,
    own_before: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Append(usize),
    Burst(usize, u16),
    Accept(usize, usize),
    Reconnect(usize),
    Disconnect(usize),
    Reopen,
}

impl Room {
    fn new(size: u8) -> Self {
        let (world, _, talk) = start();
        let mut room = Self { world, talk, members: Vec::new(), appended: 0 };
        for n in 0..size {
            let client = room.world.connect(100 + n);
            room.members.push(Member {
                client,
                held: BTreeMap::new(),
                cursor: Cursor::default(),
                unaccepted: Vec::new(),
                last: 0,
                own: BTreeSet::new(),
                own_before: BTreeSet::new(),
            });
            room.reconnect(usize::from(n));
        }
        room
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(n) => self.append(n),
            Step::Burst(n, count) => (0..count).for_each(|_| self.append(n)),
            Step::Accept(n, count) => self.accept(n, count),
            Step::Reconnect(n) => self.reconnect(n),
            Step::Disconnect(n) => {
                let peer = self.members[n].client.peer;
                self.world.input(Input::Disconnected(peer));
                self.reconnect(n);
            }
            Step::Reopen => {
                self.world.reopen();
                (0..self.members.len()).for_each(|n| self.reconnect(n));
            }
        }
        self.take_delivered();
    }

    fn append(&mut self, n: usize) {
        self.appended += 1;
        let envelope = self.talk.envelope(1 + self.appended % 7, &self.appended.to_be_bytes());
        let client = self.members[n].client;
        let answer = self.world.ask(&client, append(1, &envelope));
        assert_eq!(answer, Body::Accepted { channel: 1, sequence: self.appended });
        self.members[n].own.insert(self.appended);
        self.take_delivered();
    }

    fn accept(&mut self, n: usize, count: usize) {
        let member = &mut self.members[n];
        let count = count.min(member.unaccepted.len());
        for (sequence, text) in member.unaccepted.drain(..count) {
            assert!(member.held.insert(sequence, text).is_none(), "twice");
            member.cursor.sequence = sequence;
        }
        let (client, sequence) = (member.client, member.cursor.sequence);
        if count > 0 {
            self.world.tell(&client, Body::Accepted { channel: 1, sequence });
        }
    }

    fn reconnect(&mut self, n: usize) {
        let client = self.world.connect(100 + n as u8);
        let member = &mut self.members[n];
        member.client = client;
        member.unaccepted.clear();
        member.last = member.cursor.sequence;
        let own = std::mem::take(&mut member.own);
        member.own_before.extend(own);
        let tail = Some(member.cursor);
        let opened = self.world.open(&client, 1, self.talk.log, &self.talk.key, None, tail);
        let Body::Opened { head, .. } = opened else { panic!("{opened:?}") };
        self.members[n].cursor.incarnation = head.incarnation;
    }

    /// Takes in what was delivered.
    fn take_delivered(&mut self) {
        for member in &mut self.members {
            for (channel, entry) in self.world.delivered(&member.client) {
                assert_eq!(channel, 1);
                assert!(entry.sequence > member.last, "out of order, or twice");
                assert!(!member.own.contains(&entry.sequence), "back to its writer");
                assert_eq!(entry.ciphertext, entry.sequence.to_be_bytes(), "not what was sent");
                member.last = entry.sequence;
                member.unaccepted.push((entry.sequence, entry.ciphertext));
            }
            assert!(member.unaccepted.len() as u64 <= limits::DELIVER_WINDOW);
        }
    }

    fn finish(mut self) {
        for n in 0..self.members.len() {
            while !self.members[n].unaccepted.is_empty() {
                self.accept(n, usize::MAX);
                self.take_delivered();
            }
        }
        for member in &self.members {
            for sequence in 1..=self.appended {
                let is_own =
                    member.own.contains(&sequence) || member.own_before.contains(&sequence);
                assert!(is_own || member.held.contains_key(&sequence), "{sequence} is missing");
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let member = 0usize..3;
    let step = prop_oneof![
        6 => member.clone().prop_map(Step::Append),
        1 => (member.clone(), 1u16..400).prop_map(|(n, count)| Step::Burst(n, count)),
        6 => (member.clone(), 1usize..40).prop_map(|(n, count)| Step::Accept(n, count)),
        1 => (member.clone(), Just(usize::MAX)).prop_map(|(n, count)| Step::Accept(n, count)),
        1 => member.clone().prop_map(Step::Reconnect),
        1 => member.prop_map(Step::Disconnect),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_reader_gets_every_entry_once_and_in_order(steps in steps()) {
        let mut room = Room::new(3);
        for step in steps {
            room.step(step);
        }
        room.finish();
    }
}
