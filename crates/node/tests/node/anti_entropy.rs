//! Nodes that hold the same logs compare them now and then, and repair what one of them lacks.

use std::{ops::ControlFlow, time::Duration};

use node::NodeConfig;
use proptest::prelude::*;
use prost::Message;
use proto::{
    Body, Code, Compare, Cursor, Direction, Expiry, Frame, Hello, Input, LogId, Part, Peer,
    PublicKey, Reference, Replicate, Rows, Table, VERSIONS, WriteBatch, limits,
};
use store::Store;

use crate::{
    town::{OTHER, Town, is_append},
    world::{Conversation, NODE, World, append, expiring, refused},
};

const DIRTY: Table = Table(22);
const ENTRIES: Table = Table(4);
/// Where an entry is, and the two ways to it.
pub(crate) const ALL: [Table; 3] = [ENTRIES, Table(5), Table(6)];
const COMPARED: Duration = Duration::from_secs(60);
const COUNTED: Duration = Duration::from_secs(120);

fn config(node: proto::NodeId) -> NodeConfig {
    NodeConfig { anti_entropy_every: COMPARED, scrub_every: COUNTED, ..NodeConfig::new(node) }
}

/// Two nodes that hold the same texts, and at rest.
fn town(texts: u64) -> (Town, Conversation) {
    let (mut town, talk) = Town::acquainted_with([config(NODE), config(OTHER)]);
    for number in 1..=texts {
        let stored = town.append(0, 2, &talk.envelope(number, format!("{number}").as_bytes()));
        assert!(matches!(stored, Body::Accepted { .. }), "{stored:?}");
    }
    town.pass(600);
    assert_eq!(town.texts(1, 2, &talk).len() as u64, texts);
    town.said.clear();
    (town, talk)
}

/// The disk loses the entries of a log whose numbers are chosen, in some tables.
pub(crate) fn lose(world: &mut World, tables: &[Table], is_chosen: impl Fn(u64) -> bool) -> usize {
    let (mut batch, mut lost) = (WriteBatch::default(), 0);
    for table in tables {
        let mut visit = |key: &[u8], value: &[u8]| {
            let of = if *table == ENTRIES { key } else { value };
            let sequence = u64::from_be_bytes(*of.last_chunk().unwrap());
            if is_chosen(sequence) {
                batch.delete(*table, key);
                lost += usize::from(*table == tables[0]);
            }
            ControlFlow::Continue(())
        };
        let end = [0xFF; 80];
        world.store.scan(*table, &[], &end, Direction::Forward, &mut visit);
    }
    world.store.apply(&batch).unwrap();
    world.store.sync().unwrap();
    lost
}

fn bytes(said: &[(usize, usize, Frame)]) -> usize {
    said.iter().map(|(.., frame)| proto::wire::Frame::from(frame).encoded_len()).sum()
}

fn is_comparison(body: &Body) -> bool {
    matches!(body, Body::Compare(_) | Body::Symbols(_) | Body::Lacking { .. })
}

#[test]
fn what_the_rows_of_a_node_have_lost_comes_back_and_nothing_else() {
    let cases: [&[Table]; 4] = [&ALL, &[ENTRIES], &[ENTRIES, Table(5)], &[Table(5), Table(6)]];
    for tables in cases {
        let (mut town, talk) = town(60);
        let before = town.texts(0, 2, &talk);
        let lost = lose(&mut town.worlds[1], tables, |sequence| sequence % 12 == 5);
        assert_eq!(lost, 5);
        town.pass(600);
        assert_eq!(town.texts(1, 2, &talk), before, "{tables:?}");
        let [here, there] = [0, 1].map(|side| town.worlds[side].machine().counters());
        // What is still there is found by itself.
        let expected = if tables.contains(&ENTRIES) { 5 } else { 0 };
        assert_eq!(town.count(0, is_append), expected, "{tables:?}");
        assert_eq!(town.count(1, is_append), 0);
        assert_eq!((here.repaired + there.repaired) as usize, expected);
        assert_eq!(town.count(0, is_comparison) > 0, expected > 0);
        let seen = node::verify(&town.worlds[1].store, proto::Seed([1; 32]));
        assert_eq!((seen.faults, seen.shown), (0, vec![]));
    }
}

#[test]
fn each_gets_what_only_the_other_has() {
    let (mut town, talk) = town(60);
    let before = town.texts(0, 2, &talk);
    lose(&mut town.worlds[0], &ALL, |sequence| sequence % 20 == 3);
    lose(&mut town.worlds[1], &ALL, |sequence| sequence % 10 == 7);
    town.pass(600);
    assert_eq!(town.texts(0, 2, &talk), before);
    assert_eq!(town.texts(1, 2, &talk), before);
    assert_eq!((town.count(0, is_append), town.count(1, is_append)), (6, 3));
    let said = town.said.len();
    town.pass(3600);
    assert_eq!(town.said.len(), said, "all is quiet");
}

#[test]
fn equal_copies_cost_less_than_a_kibibyte_and_nothing_while_idle() {
    let (mut town, talk) = town(60);
    town.pass(3600);
    assert_eq!(town.said.len(), 0, "they were compared before");
    town.append(0, 2, &talk.envelope(61, b"new"));
    town.carry();
    town.said.clear();
    town.pass(3600);
    assert!(town.said.iter().all(|(.., frame)| is_comparison(&frame.body)), "{:?}", town.said);
    assert_eq!(town.said.len(), 2, "one asks, the other answers");
    assert!(bytes(&town.said) < 512, "{}", bytes(&town.said));
    let compared = |side: usize| town.worlds[side].machine().counters().compared;
    assert!(compared(0) + compared(1) > 1);
    assert_eq!(
        town.worlds.iter().map(|world| world.machine().counters().differing).sum::<u64>(),
        0
    );
}

#[test]
fn what_was_mistaken_as_pushed_is_pushed() {
    let (mut town, talk) = town(10);
    town.cut(0, 1);
    for number in 11..=15 {
        town.append(0, 2, &talk.envelope(number, format!("{number}").as_bytes()));
    }
    let mut batch = WriteBatch::default();
    town.worlds[0].store.scan(DIRTY, &[], &[0xFF; 80], Direction::Forward, &mut |key, _| {
        batch.delete(DIRTY, key);
        ControlFlow::Continue(())
    });
    assert!(!batch.is_empty());
    town.worlds[0].store.apply(&batch).unwrap();
    town.worlds[0].store.sync().unwrap();
    town.crash(0);
    town.link();
    town.open(0, 2, &talk);
    town.carry();
    assert_eq!(town.texts(1, 2, &talk).len(), 10, "no node knows that it lacks entries");
    town.pass(600);
    assert_eq!(town.texts(1, 2, &talk).len(), 15);
}

#[test]
fn what_has_expired_does_not_come_back() {
    let (mut town, talk) = town(3);
    town.cut(0, 1);
    town.append(0, 2, &expiring(&talk.key, talk.log, b"short", Expiry::Day));
    town.worlds.iter_mut().for_each(|world| world.pass(12 * 3600));
    town.link();
    town.pass(600);
    assert_eq!(town.texts(1, 2, &talk).len(), 4);
    town.pass(12 * 3600);
    town.append(0, 2, &talk.envelope(4, b"a reason to compare"));
    town.pass(600);
    assert_eq!((town.texts(0, 2, &talk).len(), town.texts(1, 2, &talk).len()), (4, 5));
    town.pass(24 * 3600);
    assert_eq!(town.texts(0, 2, &talk), town.texts(1, 2, &talk));
    assert_eq!(
        town.worlds.iter().map(|world| world.machine().counters().differing).sum::<u64>(),
        0
    );
}

#[test]
fn rows_of_an_older_version_are_counted_before_they_are_compared() {
    let (mut town, talk) = town(20);
    let fingerprints = Table(26);
    for side in [0, 1] {
        let mut batch = WriteBatch::default();
        let store = &mut town.worlds[side].store;
        store.scan(fingerprints, &[], &[0xFF; 80], Direction::Forward, &mut |key, _| {
            batch.delete(fingerprints, key);
            ControlFlow::Continue(())
        });
        store.apply(&batch).unwrap();
        store.sync().unwrap();
    }
    let before = town.texts(0, 2, &talk);
    town.crash(0);
    town.crash(1);
    lose(&mut town.worlds[1], &ALL, |sequence| sequence == 4);
    town.link();
    (0..2).for_each(|side| town.open(side, 2, &talk));
    town.append(0, 2, &talk.envelope(21, b"while it is not counted"));
    town.pass(900);
    assert_eq!(town.texts(1, 2, &talk)[..20], before);
    let seen = node::verify(&town.worlds[0].store, proto::Seed([1; 32]));
    assert_eq!((seen.faults, seen.shown), (0, vec![]));
}

#[test]
fn what_an_interrupted_comparison_has_not_repaired_the_next_one_does() {
    for frames in 0..12 {
        let (mut town, talk) = town(40);
        let before = town.texts(0, 2, &talk);
        lose(&mut town.worlds[1], &ALL, |sequence| sequence % 2 == 0);
        // Until one of them has noticed.
        while town.carry_some(1) == 0 {
            let due = town.worlds.iter().filter_map(|world| world.poll_timeout()).min();
            for world in &mut town.worlds {
                world.now = world.now.max(due.unwrap());
                world.input(Input::Timeout);
            }
        }
        for _ in 0..frames {
            town.carry_some(1);
            town.worlds.iter_mut().for_each(|world| world.pass(1));
        }
        if frames % 2 == 0 {
            town.crash(1);
            town.link();
            town.open(1, 2, &talk);
        } else {
            town.cut(0, 1);
            town.link();
        }
        town.pass(900);
        assert_eq!(town.texts(1, 2, &talk), before, "after {frames}");
    }
}

fn compare(log: Option<LogId>, symbols: (u32, u32)) -> Body {
    Body::Compare(Compare { log, key: [7; 16], part: Part::ALL, symbols })
}

#[test]
fn a_node_that_does_not_hold_a_log_learns_nothing_of_it() {
    let (mut town, talk) = town(5);
    let device = town.devices[0];
    let world = &mut town.worlds[0];
    let stranger = world.connect(9);
    for client in [device, stranger] {
        for log in [talk.log, LogId([3; 32])] {
            let references = vec![Reference([1; 16])];
            assert_eq!(world.ask(&client, compare(Some(log), (0, 8))), refused(Code::NotFound));
            let lacking = Body::Lacking { log, references };
            assert_eq!(world.ask(&client, lacking), refused(Code::Unexpected));
        }
        assert_eq!(world.ask(&client, compare(None, (0, 8))), refused(Code::NotFound));
        world.tell(&client, Body::Symbols(vec![1, 2, 3]));
        world.tell(&client, compare(None, (0, 8)));
        world.pass(60);
        let frames = world.take(client.peer);
        assert!(!frames.iter().any(|frame| is_comparison(&frame.body)), "{frames:?}");
    }
}

/// A node whose only friend is played by the test.
struct Stage {
    world: World,
    talk: Conversation,
    friend: Peer,
}

impl Stage {
    fn new(texts: u64) -> Self {
        let mut town = Town::with([config(NODE), config(OTHER)]);
        let talk = Conversation::new(60);
        town.open(0, 2, &talk);
        let mut world = town.worlds.remove(0);
        for number in 1..=texts {
            let text = format!("{number}");
            world.ask(&town.devices[0], append(2, &talk.envelope(number, text.as_bytes())));
        }
        let friend = PublicKey(OTHER.0);
        world.input(Input::Connected(friend, None));
        let mut stage = Self { world, talk, friend };
        stage.say(0, Body::Hello(Hello { versions: VERSIONS, nonce: [9; 16] }));
        let head = Cursor { incarnation: 5, sequence: 0 };
        let log = stage.talk.log;
        stage.say(1, Body::Replicate(Replicate { channel: 1, log, head }));
        stage.accept_all();
        stage
    }

    fn say(&mut self, request: u32, body: Body) {
        self.world.input(Input::Frame(self.friend, Frame { request, body }));
    }

    /// Accepts all that is pushed, until there is no more.
    fn accept_all(&mut self) -> usize {
        let mut pushed = 0;
        loop {
            let frames = self.world.take(self.friend);
            if frames.is_empty() {
                return pushed;
            }
            for Frame { request, body } in frames {
                match body {
                    Body::Replicate(Replicate { head, .. }) => {
                        let head = Cursor { sequence: 0, ..head };
                        self.say(request, Body::Opened { head, position: 0 });
                    }
                    Body::Append { channel, entry, .. } => {
                        pushed += 1;
                        let sequence = entry.sequence;
                        self.say(request, Body::Accepted { channel, sequence });
                    }
                    _ => {}
                }
            }
        }
    }

    /// Waits for the next question.
    fn asked(&mut self) -> (u32, Compare) {
        for _ in 0..7200 {
            self.world.pass(1);
            for Frame { request, body } in self.world.take(self.friend) {
                if let Body::Compare(compare) = body {
                    return (request, compare);
                }
            }
        }
        panic!("nothing was asked")
    }

    /// The answer to a question.
    fn answer(&mut self, request: u32, body: Body) -> Option<Body> {
        self.say(request, body);
        self.world.pass(1);
        let frames = self.world.take(self.friend);
        frames.into_iter().find(|frame| frame.request == request).map(|frame| frame.body)
    }

    fn gauge(&self, name: &str) -> u64 {
        let gauges = self.world.machine().gauges();
        gauges.into_iter().find(|gauge| gauge.name == name).unwrap().value
    }
}

#[test]
fn a_node_that_answers_with_nonsense_gets_nothing() {
    let mut stage = Stage::new(20);
    for portion in [vec![], vec![0; 5], vec![0xFF; 400], vec![1; limits::PORTION_BYTES_MAX]] {
        let (request, compare) = stage.asked();
        assert_eq!((compare.log, compare.symbols), (None, (0, 8)));
        stage.say(request, Body::Symbols(portion));
        stage.world.pass(2);
        assert_eq!(stage.gauge("comparisons begun"), 0);
        assert_eq!(stage.accept_all(), 0);
    }
    let (request, _) = stage.asked();
    stage.say(request, refused(Code::Busy));
    stage.world.pass(2);
    let (request, _) = stage.asked();
    stage.say(request, Body::Accepted { channel: 0, sequence: 0 });
    stage.world.pass(2);
    assert_eq!(stage.gauge("comparisons begun"), 0);
    stage.asked();
    assert_eq!(stage.gauge("comparisons begun"), 1);
    (0..62).for_each(|_| stage.world.pass(1));
    assert_eq!(stage.gauge("comparisons begun"), 0, "who does not answer is forgotten");
}

#[test]
fn a_node_that_makes_up_differences_gets_what_it_is_told_and_no_more() {
    let mut stage = Stage::new(20);
    let log = stage.talk.log;
    // Nothing is there, says the friend: so it gets all, once.
    let empty = |symbols: (u32, u32)| {
        let count = (symbols.1 - symbols.0) as usize;
        Body::Symbols([vec![0], vec![0; 25 * count]].concat())
    };
    let mut pushed = 0;
    let mut looked_at = Vec::new();
    for _ in 0..600 {
        stage.world.pass(1);
        for Frame { request, body } in stage.world.take(stage.friend) {
            match body {
                Body::Compare(Compare { log, symbols, .. }) => {
                    looked_at.push(log);
                    stage.say(request, empty(symbols));
                }
                Body::Append { channel, entry, .. } => {
                    pushed += 1;
                    stage.say(request, Body::Accepted { channel, sequence: entry.sequence });
                }
                _ => {}
            }
        }
        if pushed == 20 {
            break;
        }
    }
    assert_eq!(pushed, 20);
    assert!(looked_at.contains(&Some(log)));
    // Wants have an end.
    let references = |count: u8| (0..count).map(|n| Reference([n; 16])).collect::<Vec<_>>();
    let lacking = |count| Body::Lacking { log, references: references(count) };
    assert_eq!(stage.answer(9, lacking(1)), Some(refused(Code::Unexpected)), "not compared");
    let answer = stage.answer(10, compare(Some(log), (0, 8)));
    assert!(matches!(&answer, Some(Body::Symbols(_))), "{answer:?}");
    assert_eq!(stage.answer(11, lacking(9)), Some(refused(Code::Unexpected)), "nine of eight");
    let accepted = Some(Body::Accepted { channel: 0, sequence: 0 });
    assert_eq!(stage.answer(12, lacking(8)), accepted);
    assert_eq!(stage.answer(13, lacking(1)), Some(refused(Code::Unexpected)));
    assert_eq!(stage.accept_all(), 0, "there are no such entries");
    let other = Body::Lacking { log: LogId([4; 32]), references: vec![] };
    assert_eq!(stage.answer(14, other), Some(refused(Code::Unexpected)));
}

#[test]
fn questions_have_limits() {
    let mut stage = Stage::new(20);
    let log = Some(stage.talk.log);
    let refusals = [
        (compare(log, (0, 0)), Code::Malformed),
        (compare(log, (0, 20_000)), Code::Malformed),
        (compare(None, (0, 1025)), Code::Malformed),
        (compare(Some(LogId([4; 32])), (0, 8)), Code::NotFound),
    ];
    for (request, (question, code)) in (20..).zip(refusals) {
        assert_eq!(stage.answer(request, question), Some(refused(code)));
    }
    let later = Compare { log, key: [8; 16], part: Part::ALL, symbols: (8, 32) };
    assert_eq!(stage.answer(30, Body::Compare(later)), Some(refused(Code::Unexpected)));
    assert_eq!(stage.answer(31, compare(log, (0, 4000))), Some(refused(Code::Malformed)));
    for (request, key) in (40..).zip(0..100) {
        let question = Compare { log, key: [key; 16], part: Part::ALL, symbols: (0, 8) };
        stage.say(request, Body::Compare(question));
    }
    assert_eq!(stage.gauge("comparisons answered"), 1, "a newer one takes the place of an older");
    stage.world.pass(1);
    let frames = stage.world.take(stage.friend);
    let told = frames.iter().filter(|frame| matches!(frame.body, Body::Symbols(_))).count();
    assert_eq!(told, 1);
    stage.world.pass(180);
    assert_eq!(stage.gauge("comparisons answered"), 0, "and is forgotten");
}

#[test]
fn a_log_that_is_being_pushed_is_not_compared() {
    let mut stage = Stage::new(20);
    let device = stage.world.connect(8);
    stage.world.open(&device, 2, stage.talk.log, &stage.talk.key, None, None);
    let envelope = stage.talk.envelope(21, b"on its way");
    stage.world.ask(&device, append(2, &envelope));
    let log = Some(stage.talk.log);
    assert_eq!(stage.answer(50, compare(log, (0, 8))), Some(refused(Code::Busy)));
    let (request, question) = stage.asked();
    assert_eq!(question.log, None);
    let nothing = Body::Symbols([vec![0], vec![0; 25 * 8]].concat());
    stage.say(request, nothing);
    stage.world.pass(5);
    assert_eq!(stage.gauge("comparisons begun"), 0, "there is nothing else to compare");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_two_nodes_have_lost_each_gets_back_what_the_other_has(
        lost in proptest::collection::vec((0..2_usize, 1..40_u64, 0..3_usize), 0..40),
    ) {
        let (mut town, talk) = town(40);
        let before = town.texts(0, 2, &talk);
        let mut gone = [[false; 41]; 2];
        for (side, sequence, tables) in lost {
            let tables: &[Table] = [&ALL[..], &ALL[..1], &ALL[1..]][tables];
            lose(&mut town.worlds[side], tables, |s| s == sequence);
            gone[side][sequence as usize] |= tables[0] == ENTRIES;
        }
        town.pass(900);
        // Sequences are the same at both, for all came from one of them.
        let left = |at: usize| !(gone[0][at + 1] && gone[1][at + 1]);
        let left: Vec<String> =
            before.into_iter().enumerate().filter(|(at, _)| left(*at)).map(|(_, t)| t).collect();
        prop_assert_eq!(&town.texts(0, 2, &talk), &left);
        prop_assert_eq!(&town.texts(1, 2, &talk), &left);
    }
}
