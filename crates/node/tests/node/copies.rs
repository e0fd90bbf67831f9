//! Accounts that want more copies than the two homes that serve them have.

use proto::{Body, Code, Cursor, Open, Ranking};

use crate::{
    neighbours::{name, ranking},
    town::Town,
    world::{Account, Conversation, append, open_frame, record_at, refused},
};

/// Ann's homes are the nodes 0 to 3, of which two serve; Ben's is 4.
struct Pair {
    town: Town,
    ann: Account,
    version: u64,
    talks: Vec<Conversation>,
}

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 3600;

fn told() -> Ranking {
    Ranking { reserve: ranking(1, &[2, 3]).nodes, ..ranking(1, &[0, 4, 1]) }
}

impl Pair {
    /// With so many conversations, in each of which something was said.
    fn new(talks: u8) -> Self {
        let ann = Account::at_all(1, &[0, 1, 2, 3].map(name));
        let mut pair = Self { town: Town::of(5), ann, version: 1, talks: Vec::new() };
        for n in [0, 1, 4] {
            let ben = Account::at(2, name(4));
            let account = if n == 4 { &ben } else { &pair.ann };
            let device = pair.town.devices[n];
            pair.town.worlds[n].register(&device, account);
        }
        for _ in 0..talks {
            pair.meet();
        }
        pair.town.pass(30);
        pair
    }

    fn meet(&mut self) {
        let seed = 60 + u8::try_from(self.talks.len()).unwrap();
        let talk = Conversation::new(seed);
        for n in [0, 1, 4] {
            let (device, channel) = (self.town.devices[n], u32::from(seed));
            let tail = Some(Cursor::default());
            let open = open_frame(&device, channel, talk.log, &talk.key, Some(talk.genesis), tail);
            let open = Open { ranking: Some(Box::new(told())), ..open };
            let opened = self.town.worlds[n].ask(&device, Body::Open(open));
            assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
        }
        let (device, envelope) = (self.town.devices[0], talk.envelope(1, &[seed]));
        let stored = self.town.worlds[0].ask(&device, append(u32::from(seed), &envelope));
        assert!(matches!(stored, Body::Accepted { .. }), "{stored:?}");
        self.talks.push(talk);
    }

    /// Ann tells her first two homes how many copies she wants.
    fn want(&mut self, copies: u32) {
        self.version += 1;
        let homes = [0, 1, 2, 3].map(name);
        let mut record = record_at(self.version, &[self.ann.device.public()], &homes);
        record.copies = copies;
        let bundle = self.ann.authority.sign_record(record).unwrap();
        for n in [0, 1] {
            let device = self.town.devices[n];
            let put = Body::PutBundle(bundle.as_bytes().to_vec());
            let answer = self.town.worlds[n].ask(&device, put);
            assert!(matches!(answer, Body::Accepted { .. }), "{answer:?}");
        }
    }

    /// How many of the conversations a node has, with all that was said.
    fn copies(&mut self, n: usize) -> usize {
        let Self { town, talks, .. } = self;
        let has = |talk: &&Conversation| {
            let reader = town.worlds[n].connect(8);
            let opened = town.worlds[n].open(&reader, 1, talk.log, &talk.key, None, None);
            opened != refused(Code::NotFound) && !town.held(n, talk).is_empty()
        };
        talks.iter().filter(has).count()
    }

    fn held(&mut self) -> [usize; 5] {
        [0, 1, 2, 3, 4].map(|n| self.copies(n))
    }
}

#[test]
fn the_next_homes_get_all_at_once_while_everybody_is_there() {
    let mut pair = Pair::new(12);
    assert_eq!(pair.held(), [12, 12, 0, 0, 12]);
    pair.want(3);
    pair.town.pass(30);
    assert_eq!(pair.held(), [12, 12, 12, 0, 12]);

    // What begins and is said from then on is there too, the inbox as well.
    pair.meet();
    pair.town.pass(10);
    assert_eq!(pair.held(), [13, 13, 13, 0, 13]);
    assert_eq!(pair.town.dirty(), 0);
    let before = pair.town.said.len();
    pair.town.pass(DAY);
    assert_eq!(pair.held(), [13, 13, 13, 0, 13], "it does not only stand in");
    assert!(pair.town.said.len() - before < 200, "and then there is nothing more to be done");

    pair.want(4);
    pair.town.pass(30);
    assert_eq!(pair.held(), [13; 5]);
    let asked = pair.town.count_all(|body| matches!(body, Body::Recruit(_)));
    pair.town.pass(3600);
    let asked_since = pair.town.count_all(|body| matches!(body, Body::Recruit(_))) - asked;
    assert_eq!(asked_since, 0, "the last two know of each other");
    // Who has a copy and no device that talks with it hears of that too.
    pair.want(2);
    pair.town.pass(DAY + 2 * 3600);
    assert_eq!(pair.held(), [13, 13, 0, 0, 13]);
}

#[test]
fn any_two_may_be_lost_then() {
    let mut pair = Pair::new(3);
    pair.want(3);
    pair.town.pass(30);
    pair.town.kill(0);
    pair.town.kill(1);
    assert_eq!(pair.copies(2), 3);
    // Each unreachable home is replaced, as far as there are homes.
    pair.town.pass(13 * MINUTE);
    assert_eq!(pair.copies(3), 3);
}

#[test]
fn a_home_that_is_away_gets_them_when_it_is_there() {
    let mut pair = Pair::new(3);
    pair.town.kill(2);
    pair.want(3);
    pair.town.pass(5 * MINUTE);
    assert_eq!(pair.copies(3), 0, "it may be back soon");
    pair.town.revive(2);
    pair.town.pass(5 * MINUTE);
    assert_eq!(pair.held(), [3, 3, 3, 0, 3]);

    // It is in rows: a node that restarts continues.
    pair.town.kill(3);
    pair.want(4);
    pair.town.pass(MINUTE);
    pair.town.kill(1);
    pair.town.kill(0);
    pair.town.revive(0);
    pair.town.revive(3);
    pair.town.pass(5 * MINUTE);
    assert_eq!(pair.copies(3), 3);
}
