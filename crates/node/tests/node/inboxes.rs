//! Inboxes at two homes: what one of them takes is at both, even if a home is away meanwhile.

use crypto::SigningKey;
use proto::{Body, Code, Cursor, Frame, Hello, Input, LogGenesis, Peer, Replicate, VERSIONS};

use crate::{
    neighbours::{config, name, peer},
    restore::renew,
    town::{Town, is_append},
    world::{Account, Client, World, append, envelope, record_at, refused},
};

/// An account at the first two of three nodes, whose device is connected to both, and an invite.
struct Home {
    town: Town,
    account: Account,
    invite: SigningKey,
}

fn put_invite(invite: &SigningKey, uses: u32) -> Body {
    Body::PutInvite { channel: 1, key: invite.public(), expires_s: u64::MAX, uses }
}

fn is_accepted(answer: &Body) -> bool {
    matches!(answer, Body::Accepted { .. })
}

impl Home {
    fn new(uses: u32) -> Self {
        let mut town = Town::of(3);
        let account = Account::at_all(1, &[name(0), name(1), name(2)]);
        let invite = SigningKey::from_seed([77; 32]);
        for n in [0, 1] {
            let device = town.devices[n];
            town.worlds[n].register(&device, &account);
            assert!(is_accepted(&town.worlds[n].ask(&device, put_invite(&invite, uses))));
        }
        town.pass(10);
        Self { town, account, invite }
    }

    fn guest(&mut self, n: usize) -> Client {
        let guest = self.town.worlds[n].connect(9);
        let inbox = self.account.inbox();
        let opened = self.town.worlds[n].open(&guest, 7, inbox, &self.invite, None, None);
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
        guest
    }

    fn ask_for(&mut self, n: usize, guest: &Client, text: &str) -> Body {
        let request = envelope(&self.invite, self.account.inbox(), 1, text.as_bytes());
        self.town.worlds[n].ask(guest, append(7, &request))
    }

    /// What the owner finds at a node.
    fn texts(&mut self, n: usize) -> Vec<String> {
        let owner = self.town.worlds[n].connect(8);
        let (inbox, tail) = (self.account.inbox(), Some(Cursor::default()));
        let opened = self.town.worlds[n].open(&owner, 1, inbox, &self.account.device, None, tail);
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
        let entries = self.town.worlds[n].delivered(&owner).into_iter();
        entries.map(|(_, entry)| String::from_utf8(entry.ciphertext).unwrap()).collect()
    }

    fn tell(&mut self, n: usize, version: u64, homes: &[usize]) {
        let homes: Vec<_> = homes.iter().map(|n| name(*n)).collect();
        let record = record_at(version, &[self.account.device.public()], &homes);
        let bundle = self.account.authority.sign_record(record).unwrap();
        let (device, put) = (self.town.devices[n], Body::PutBundle(bundle.as_bytes().to_vec()));
        assert!(is_accepted(&self.town.worlds[n].ask(&device, put)));
    }
}

fn greet(world: &mut World, peer: Peer) {
    world.input(Input::Connected(peer, None));
    let hello = Hello { versions: VERSIONS, nonce: [1; 16] };
    world.input(Input::Frame(peer, Frame::new(Body::Hello(hello))));
}

#[test]
fn what_one_home_takes_is_at_both_and_takes_one_use_at_each() {
    let mut home = Home::new(2);
    let guests = [home.guest(0), home.guest(1)];
    for n in [0, 1] {
        assert!(is_accepted(&home.ask_for(n, &guests[n], &format!("at {n}"))));
        home.town.carry();
    }
    for n in [0, 1] {
        assert_eq!(home.texts(n), ["at 0", "at 1"]);
        assert_eq!(home.ask_for(n, &guests[n], "one more"), refused(Code::Forbidden), "{n}");
        assert!(is_accepted(&home.ask_for(n, &guests[n], "at 0")), "{n}: what is there already");
    }
    assert_eq!(home.town.count_all(is_append), 2, "each went once");
    assert!(home.town.worlds[2].wanted.is_empty(), "in reserve");
    home.town.pass(60);
    assert_eq!(home.town.dirty(), 0);
}

#[test]
fn an_invite_for_one_that_is_used_at_both_at_once_brings_both_requests() {
    let mut home = Home::new(1);
    let guests = [home.guest(0), home.guest(1)];
    for n in [0, 1] {
        assert!(is_accepted(&home.ask_for(n, &guests[n], &format!("at {n}"))));
    }
    home.town.carry();
    assert_eq!(home.texts(0), ["at 0", "at 1"]);
    assert_eq!(home.texts(1), ["at 1", "at 0"], "each in the order in which it came");
    assert_eq!(home.ask_for(0, &guests[0], "one more"), refused(Code::Forbidden));
}

#[test]
fn an_invite_that_the_second_home_has_not_heard_of_counts_there_too() {
    let mut home = Home::new(9);
    let device = home.town.devices[1];
    home.town.worlds[1].ask(&device, put_invite(&home.invite, 0));
    let guest = home.guest(0);
    assert!(is_accepted(&home.ask_for(0, &guest, "request")));
    // And what a device writes to its own inbox.
    let device = home.town.devices[0];
    let note = envelope(&home.account.device, home.account.inbox(), 1, b"note");
    assert!(is_accepted(&home.town.worlds[0].ask(&device, append(1, &note))));
    home.town.carry();
    assert_eq!(home.texts(1), ["request", "note"]);
}

#[test]
fn a_home_that_was_away_catches_up() {
    let mut home = Home::new(9);
    home.town.kill(1);
    let guest = home.guest(0);
    for text in ["one", "two"] {
        assert!(is_accepted(&home.ask_for(0, &guest, text)));
    }
    home.town.pass(3600);
    home.town.revive(1);
    home.town.pass(700);
    assert_eq!(home.texts(1), ["one", "two"]);
    assert_eq!(home.town.dirty(), 0);
    let guest = home.guest(1);
    for n in 0..7 {
        assert!(is_accepted(&home.ask_for(1, &guest, &format!("later {n}"))));
    }
    assert_eq!(home.ask_for(1, &guest, "too many"), refused(Code::Forbidden));
}

#[test]
fn who_is_none_of_the_two_is_refused() {
    let mut home = Home::new(9);
    let inbox = home.account.inbox();
    let world = &mut home.town.worlds[0];
    let head = Cursor { incarnation: 5, sequence: 1 };
    let mut ask = |peer: Peer, body: Body| {
        greet(world, peer);
        world.input(Input::Frame(peer, Frame { request: 8, body }));
        let mut answers = world.take(peer);
        answers.pop().unwrap().body
    };
    // An inbox that is unknown, and one that is not at home here.
    for stranger in [proto::PublicKey([0xCC; 32]), peer(3)] {
        let body = Body::Replicate(Replicate { channel: 1, log: inbox, head });
        assert_eq!(ask(stranger, body), refused(Code::Forbidden));
    }
    let unknown = LogGenesis::Inbox(Account::new(5).id()).id();
    let body = Body::Replicate(Replicate { channel: 1, log: unknown, head });
    assert_eq!(ask(peer(1), body), refused(Code::NotFound));
}

#[test]
fn what_the_other_home_brings_is_checked() {
    let mut home = Home::new(9);
    home.town.kill(1);
    let (inbox, other) = (home.account.inbox(), peer(1));
    let world = &mut home.town.worlds[0];
    greet(world, other);
    let head = Cursor { incarnation: 5, sequence: 9 };
    let mut ask = |body: Body| {
        world.input(Input::Frame(other, Frame { request: 4_000_000, body }));
        let answers = world.take(other).into_iter();
        let mut answers = answers.filter(|frame| frame.request == 4_000_000);
        answers.next().unwrap().body
    };
    ask(Body::Replicate(Replicate { channel: 1, log: inbox, head }));
    let mut push = |sequence, envelope: &proto::Envelope| {
        let key = envelope.head.write_key;
        let entry = proto::Entry::from_envelope(envelope, sequence, key);
        let entry = proto::Entry { write_key: Some(key), ..entry };
        ask(Body::Append { channel: 1, entry, signature: envelope.signature })
    };
    let unknown = SigningKey::from_seed([99; 32]);
    let good = envelope(&unknown, inbox, 1, b"let in over there");
    let mut bent = good.clone();
    bent.signature[3] ^= 1;
    assert_eq!(push(1, &bent), refused(Code::BadSignature));
    let mut weak = good.clone();
    weak.head.write_key.0 = [0; 32];
    assert_eq!(push(1, &weak), refused(Code::Forbidden), "nearly any signature would do");
    assert_eq!(push(1, &good), Body::Accepted { channel: 1, sequence: 1 });
}

#[test]
fn a_newer_record_with_another_second_home_moves_the_copy() {
    let mut home = Home::new(9);
    let guest = home.guest(0);
    assert!(is_accepted(&home.ask_for(0, &guest, "before")));
    home.town.carry();
    home.tell(0, 2, &[0, 2]);
    assert!(is_accepted(&home.ask_for(0, &guest, "between")));
    home.town.pass(700);
    assert_eq!(home.texts(1), ["before"], "no longer named");
    home.tell(2, 2, &[0, 2]);
    home.town.pass(1);
    assert_eq!(home.texts(2), ["before", "between"]);
    // What the one that was left still has is not taken any more.
    let device = home.town.devices[1];
    let note = envelope(&home.account.device, home.account.inbox(), 1, b"unheard");
    home.town.worlds[1].ask(&device, append(1, &note));
    home.town.pass(60);
    assert_eq!(home.texts(0), ["before", "between"]);
    home.tell(1, 2, &[0, 2]);
    home.town.pass(120);
    assert_eq!(home.town.dirty(), 0, "it owes no node an entry");
    assert!(home.town.worlds[1].wanted.is_empty());

    // Both change places: nothing has to be copied.
    let before = home.town.count_all(is_append);
    home.tell(0, 3, &[2, 0]);
    home.tell(2, 3, &[2, 0]);
    home.town.pass(60);
    assert_eq!(home.town.count_all(is_append), before);
    // And a single home shares with no node.
    home.tell(0, 4, &[0]);
    assert!(is_accepted(&home.ask_for(0, &guest, "alone")));
    home.town.pass(120);
    assert_eq!(home.texts(2), ["before", "between"]);
    assert!(home.town.worlds[0].wanted.is_empty());
}

#[test]
fn a_home_that_was_restored_gets_back_what_the_other_has() {
    let mut home = Home::new(9);
    let guests = [home.guest(0), home.guest(1)];
    assert!(is_accepted(&home.ask_for(0, &guests[0], "before")));
    home.town.carry();
    let backup = home.town.worlds[1].store.clone();
    assert!(is_accepted(&home.ask_for(1, &guests[1], "after")));
    home.town.carry();
    home.town.kill(1);
    home.town.worlds[1].store = backup;
    renew(&mut home.town.worlds[1]);
    home.town.revive(1);
    home.town.pass(700);
    for n in [0, 1] {
        assert_eq!(home.texts(n), ["before", "after"], "{n}");
        let verified = node::verify(&home.town.worlds[n].store, proto::Seed([1; 32]));
        assert_eq!((verified.envelopes, verified.faults), (2, 0), "{n}");
    }
}

#[test]
fn an_account_with_one_home_shares_its_inbox_with_no_node() {
    let mut world = World::new(config(0));
    let owner = world.connect(1);
    world.register(&owner, &Account::at(1, name(0)));
    assert!(world.wanted.is_empty());
    assert!(world.dump().iter().all(|(table, ..)| ![20, 21, 22].contains(&table.0)));
}
