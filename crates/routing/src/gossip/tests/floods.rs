//! One node that is told anything: what is forged, too much, or without end.

use std::time::Duration;

use crypto::{
    SigningKey,
    node::{Suspicion, UnsignedNodeRecord, Verifier},
};
use proptest::prelude::*;
use proto::{AccountId, Contact, Fact, Instant, NodeId, Query};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::world::{BITS, START, address};
use crate::{
    gossip::{Gossip, GossipConfig, GossipOutput, News},
    record::NodeRecord,
};

/// One node, and others that are played by the test.
struct Alone {
    gossip: Gossip,
    now: Instant,
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32])
}

fn says(number: u8, serial: u64) -> UnsignedNodeRecord {
    let nonce = NodeRecord::prove_work(&NodeId(key(number).public().0), BITS);
    let addresses = vec![address(number.into())];
    UnsignedNodeRecord { nonce, serial, addresses, ..UnsignedNodeRecord::default() }
}

fn record(number: u8, serial: u64) -> NodeRecord {
    NodeRecord::sign(&key(number), &says(number, serial), BITS).unwrap()
}

fn id(number: u8) -> NodeId {
    record(number, 1).node()
}

fn fact(number: u8, serial: u64) -> Fact {
    Fact::Node(record(number, serial).as_bytes().to_vec())
}

impl Alone {
    /// The node, and its neighbours 1 to `count`.
    fn with_neighbours(count: u8) -> Self {
        let own = record(0, START.as_secs());
        let config =
            GossipConfig { key: key(0), nonce: own.says().nonce, verifier: Verifier::new(BITS) };
        let gossip = Gossip::new(config, ChaCha20Rng::from_seed([5; 32]));
        let mut alone = Self { gossip, now: START };
        alone.gossip.set_own(own, START);
        for number in 1..=count {
            alone.say(number, proto::Gossip::Neighbour { urgent: true });
            assert!(alone.gossip.is_neighbour(&id(number)));
        }
        alone
    }

    /// Has a connected node say something, and returns what comes of it.
    fn say(&mut self, from: u8, word: proto::Gossip) -> Vec<GossipOutput> {
        self.gossip.word(id(from), word, self.now);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<GossipOutput> {
        let mut outputs = Vec::new();
        while let Some(output) = self.gossip.poll() {
            if let GossipOutput::Connect(contact) = &output {
                // The connection on which it has just said something.
                let peer = (1..=PEERS).find(|number| id(*number) == contact.node);
                match peer {
                    Some(number) => {
                        let record = record(number, 1);
                        self.gossip.connected(contact.node, &record, self.now);
                    }
                    None => self.gossip.disconnected(contact.node, self.now),
                }
            }
            outputs.push(output);
        }
        for gauge in self.gossip.gauges() {
            assert!(gauge.value <= gauge.limit, "{gauge:?}");
        }
        outputs
    }

    /// Lets time pass, in steps if something is due.
    fn wait(&mut self, time: Duration) -> Vec<GossipOutput> {
        let until = self.now.after(time);
        let mut outputs = Vec::new();
        while let Some(at) = self.gossip.poll_timeout()
            && at <= until
        {
            self.now = self.now.max(at);
            self.gossip.timeout(self.now);
            outputs.extend(self.outputs());
        }
        self.now = until;
        outputs
    }
}

/// To how many a fact was passed on.
fn passed(outputs: &[GossipOutput]) -> usize {
    let is_fact = |output: &&GossipOutput| {
        matches!(output, GossipOutput::Say(_, proto::Gossip::Spread { .. }))
    };
    outputs.iter().filter(is_fact).count()
}

fn news(outputs: &[GossipOutput]) -> usize {
    outputs.iter().filter(|output| matches!(output, GossipOutput::News(News::Node(_)))).count()
}

fn spread(fact: Fact) -> proto::Gossip {
    proto::Gossip::Spread { fact, hops: 3 }
}

#[test]
fn a_fact_is_passed_on_once_and_who_says_it_again_is_pruned() {
    let mut node = Alone::with_neighbours(4);
    let outputs = node.say(1, spread(fact(9, 50)));
    assert_eq!((passed(&outputs), news(&outputs)), (3, 1));
    let outputs = node.say(2, spread(fact(9, 50)));
    assert_eq!((passed(&outputs), news(&outputs)), (0, 0));
    assert!(matches!(
        outputs.as_slice(),
        [GossipOutput::Say(to, proto::Gossip::Prune)] if *to == id(2)
    ));
    // From now on that one is only told names.
    let outputs = node.say(1, spread(fact(9, 51)));
    assert_eq!(passed(&outputs), 2);
    let told = node.wait(Duration::from_millis(200));
    assert!(matches!(
        told.as_slice(),
        [GossipOutput::Say(to, proto::Gossip::Have(names))] if *to == id(2) && names.len() == 1
    ));
}

#[test]
fn an_older_record_is_no_news() {
    let mut node = Alone::with_neighbours(4);
    assert_eq!(news(&node.say(1, spread(fact(9, 50)))), 1);
    let outputs = node.say(1, spread(fact(9, 49)));
    assert_eq!((passed(&outputs), news(&outputs)), (0, 0));
}

#[test]
fn who_says_something_forged_is_parted_from() {
    let bytes = record(9, 50).as_bytes().to_vec();
    let mut forged = bytes.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut oversized = bytes;
    oversized.extend([0; 600]);
    let origin = Contact { node: id(9), nonce: u64::MAX, addresses: vec![address(9)] };
    let unpaid = (0..).map(|nonce| Contact { nonce, ..origin.clone() });
    let unpaid = { unpaid }.find(|contact| NodeRecord::key_of(contact, BITS).is_none()).unwrap();
    let query = Query { account: AccountId([1; 32]), origin: unpaid, number: 1 };
    let own = record(9, 50).contact();
    let of_itself = Suspicion::sign(&key(9), &own, id(9), 1, START.as_secs());
    let facts = [
        Fact::Node(forged),
        Fact::Node(oversized),
        Fact::Query(query),
        Fact::Suspicion(of_itself),
        Fact::Suspicion(vec![0; 300]),
    ];
    for fact in facts {
        let mut node = Alone::with_neighbours(4);
        let outputs = node.say(1, spread(fact.clone()));
        assert_eq!((passed(&outputs), news(&outputs)), (0, 0), "{fact:?}");
        assert!(!node.gossip.is_neighbour(&id(1)), "{fact:?}");
        node.say(1, proto::Gossip::Neighbour { urgent: true });
        assert!(!node.gossip.is_neighbour(&id(1)), "not so soon");
        node.wait(Duration::from_secs(700));
        node.say(1, proto::Gossip::Neighbour { urgent: true });
        assert!(node.gossip.is_neighbour(&id(1)));
    }
}

#[test]
fn a_flood_is_cut_off() {
    let mut node = Alone::with_neighbours(4);
    let said = (0..10_000_u64).take_while(|n| {
        node.say(1, spread(fact(9, 50 + n)));
        node.gossip.is_neighbour(&id(1))
    });
    assert_eq!(said.count(), 256);
    let mut node = Alone::with_neighbours(4);
    let named = (0..100_u8).take_while(|n| {
        node.say(2, proto::Gossip::Have(vec![[*n; 16]; 64]));
        node.gossip.is_neighbour(&id(2))
    });
    assert_eq!(named.count(), 4);
}

#[test]
fn of_one_node_few_facts_are_passed_on_in_an_hour() {
    let mut node = Alone::with_neighbours(4);
    let mut facts = 0;
    for serial in 0..360 {
        facts += news(&node.say(1, spread(fact(9, 50 + serial))));
        node.wait(Duration::from_secs(10));
    }
    assert_eq!(facts, 8 + 7);
}

#[test]
fn of_all_nodes_a_second_passes_on_few_facts() {
    let mut node = Alone::with_neighbours(5);
    let mut passed_on = 0;
    for number in 20..=220 {
        passed_on += usize::from(passed(&node.say(number % 5 + 1, spread(fact(number, 50)))) > 0);
    }
    assert_eq!(passed_on, 128, "four seconds' worth");
    node.wait(Duration::from_secs(1));
    for number in 20..=220 {
        passed_on += usize::from(passed(&node.say(number % 5 + 1, spread(fact(number, 51)))) > 0);
    }
    assert_eq!(passed_on, 160);
}

#[test]
fn a_missing_fact_is_asked_for_from_one_after_the_other() {
    let mut node = Alone::with_neighbours(4);
    let name = [7; 16];
    let who = |outputs: Vec<GossipOutput>| {
        outputs.into_iter().find_map(|output| {
            if let GossipOutput::Say(to, proto::Gossip::Graft(names)) = output {
                Some((to, names))
            } else {
                None
            }
        })
    };
    node.say(1, proto::Gossip::Have(vec![name]));
    node.say(3, proto::Gossip::Have(vec![name]));
    assert_eq!(who(node.wait(Duration::from_millis(400))), None);
    assert_eq!(who(node.wait(Duration::from_millis(200))), Some((id(1), vec![name])));
    assert_eq!(who(node.wait(Duration::from_millis(400))), Some((id(3), vec![name])));
    assert_eq!(who(node.wait(Duration::from_secs(5))), None);
}

#[test]
fn a_node_is_suspected_if_two_of_three_dont_reach_it_and_the_third_does_not_either() {
    let suspects = |answers: [Option<bool>; 3]| {
        let mut node = Alone::with_neighbours(5);
        node.gossip.lost(&record(9, 1), node.now);
        let asked: Vec<NodeId> = node
            .outputs()
            .into_iter()
            .filter_map(|output| {
                let GossipOutput::Probe { of, through } = output else { return None };
                assert_eq!(of.node, id(9));
                Some(through)
            })
            .collect();
        assert_eq!(asked.len(), 3);
        for (by, reached) in asked.into_iter().zip(answers) {
            node.gossip.probed(id(9), by, reached, node.now);
        }
        passed(&node.wait(Duration::from_secs(16))) > 0
    };
    assert!(suspects([Some(false); 3]));
    assert!(suspects([None, Some(false), Some(false)]));
    assert!(!suspects([Some(false), Some(false), Some(true)]));
    assert!(!suspects([Some(true), Some(false), Some(false)]));
    assert!(!suspects([Some(false), None, None]), "one might lie");
    assert!(!suspects([None; 3]), "this node is cut off");
}

#[test]
fn the_passive_view_is_not_filled_with_contacts_of_one_network() {
    let mut node = Alone::with_neighbours(5);
    let contact = |number: u8, address: String| {
        let UnsignedNodeRecord { nonce, .. } = says(number, 1);
        Contact { node: id(number), nonce, addresses: vec![address.parse().unwrap()] }
    };
    let shuffle = |from: u8, contacts: Vec<Contact>| {
        (from, proto::Gossip::Shuffle { origin: record(from, 1).contact(), contacts, hops: 0 })
    };
    for number in 100..110 {
        let honest = contact(number, format!("13.0.{number}.1:1"));
        let (from, word) = shuffle(1, vec![honest]);
        node.say(from, word);
    }
    for number in 110..250 {
        let evil = contact(number, format!("14.0.0.{number}:1"));
        let (from, word) = shuffle(2, vec![evil]);
        node.say(from, word);
        node.now = node.now.after(Duration::from_millis(100));
    }
    let honest = (100..110).filter(|n| node.gossip.contacts().any(|c| c.node == id(*n)));
    assert_eq!(honest.count(), 10);
}

#[test]
fn a_neighbour_of_its_own_choice_is_not_displaced_by_those_who_ask() {
    let mut node = Alone::with_neighbours(0);
    node.gossip.join(record(1, 1).contact(), node.now);
    node.outputs();
    assert!(node.gossip.is_neighbour(&id(1)));
    for number in 2..=PEERS {
        node.say(number, proto::Gossip::Neighbour { urgent: true });
        node.now = node.now.after(Duration::from_secs(1));
        assert!(node.gossip.is_neighbour(&id(1)), "{number}");
        assert!(node.gossip.is_neighbour(&id(number)), "{number}");
    }
    // A node that has neighbours can be refused.
    node.say(2, proto::Gossip::Neighbour { urgent: false });
    assert!(!node.gossip.is_neighbour(&id(2)));
}

#[test]
fn a_leaving_node_says_so_to_all() {
    let mut node = Alone::with_neighbours(3);
    // One of them is beside the tree.
    node.say(3, proto::Gossip::Prune);
    let leaving = UnsignedNodeRecord { leaving: true, ..says(0, START.as_secs() + 1) };
    node.gossip.set_own(NodeRecord::sign(&key(0), &leaving, BITS).unwrap(), node.now);
    node.gossip.leave(node.now);
    let outputs = node.outputs();
    assert_eq!(passed(&outputs), 3);
    let parts = outputs.iter().filter(|output| {
        matches!(output, GossipOutput::Say(_, proto::Gossip::Part { leaving: true }))
    });
    assert_eq!((parts.count(), node.gossip.poll_timeout()), (3, None));
}

fn contacts() -> impl Strategy<Value = Contact> {
    let addresses = prop::collection::vec((0..40_usize).prop_map(address), 0..6);
    (1..=40_u8, any::<Option<u64>>(), addresses).prop_map(|(number, nonce, addresses)| {
        let nonce = nonce.unwrap_or_else(|| says(number, 1).nonce);
        Contact { node: id(number), nonce, addresses }
    })
}

fn facts() -> impl Strategy<Value = Fact> {
    prop_oneof![
        (0..60_u8, 0..6_u64, any::<bool>()).prop_map(|(number, ahead, leaving)| {
            let says = UnsignedNodeRecord { leaving, ..says(number, START.as_secs() + ahead) };
            Fact::Node(NodeRecord::sign(&key(number), &says, BITS).unwrap().as_bytes().to_vec())
        }),
        (0..60_u8, 0..60_u8, (0..2000_u64, 0..1500_u64)).prop_map(|(observer, node, (a, b))| {
            let contact = record(observer, 1).contact();
            let (serial, at_s) = (START.as_secs() - 500 + a, START.as_secs() - 750 + b);
            Fact::Suspicion(Suspicion::sign(&key(observer), &contact, id(node), serial, at_s))
        }),
        (contacts(), any::<(u8, u64)>()).prop_map(|(origin, (account, number))| {
            Fact::Query(Query { account: AccountId([account; 32]), origin, number })
        }),
        prop::collection::vec(any::<u8>(), 0..600).prop_map(Fact::Node),
    ]
}

fn words() -> impl Strategy<Value = proto::Gossip> {
    let many = || prop::collection::vec(contacts(), 0..20);
    let names = || prop::collection::vec(any::<u8>().prop_map(|n| [n; 16]), 0..70);
    prop_oneof![
        contacts().prop_map(proto::Gossip::Join),
        (contacts(), any::<u32>())
            .prop_map(|(contact, hops)| proto::Gossip::ForwardJoin { contact, hops }),
        any::<bool>().prop_map(|urgent| proto::Gossip::Neighbour { urgent }),
        any::<bool>().prop_map(|accepted| proto::Gossip::NeighbourIs { accepted }),
        any::<bool>().prop_map(|leaving| proto::Gossip::Part { leaving }),
        (contacts(), many(), 0..9_u32).prop_map(|(origin, contacts, hops)| {
            proto::Gossip::Shuffle { origin, contacts, hops }
        }),
        many().prop_map(proto::Gossip::Shuffled),
        (facts(), 0..80_u32).prop_map(|(fact, hops)| proto::Gossip::Spread { fact, hops }),
        names().prop_map(proto::Gossip::Have),
        names().prop_map(proto::Gossip::Graft),
        Just(proto::Gossip::Prune),
    ]
}

#[derive(Clone, Debug)]
enum Act {
    Says(u8, proto::Gossip),
    Waits(u64),
    Up(u8, u64),
    Down(u8),
    Lost(u8),
    Probed(u8, u8, Option<bool>),
    Asks(u8),
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (1..=PEERS, words()).prop_map(|(from, word)| Act::Says(from, word)),
        2 => (0..20_000_u64).prop_map(Act::Waits),
        3 => (1..=PEERS, 0..9_u64).prop_map(|(node, serial)| Act::Up(node, serial)),
        1 => (1..=40_u8).prop_map(Act::Down),
        1 => (1..=40_u8).prop_map(Act::Lost),
        1 => (1..=40_u8, 1..=PEERS, any::<Option<bool>>())
            .prop_map(|(of, by, reached)| Act::Probed(of, by, reached)),
        1 => any::<u8>().prop_map(Act::Asks),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_said_nothing_panics_and_limits_hold(acts in prop::collection::vec(acts(), 1..150)) {
        let mut node = Alone::with_neighbours(2);
        for act in acts {
            let now = node.now;
            match act {
                Act::Says(from, word) => {
                    node.say(from, word);
                }
                Act::Waits(ms) => {
                    node.wait(Duration::from_millis(ms));
                }
                Act::Up(number, serial) => {
                    node.gossip.connected(id(number), &record(number, serial), now);
                }
                Act::Down(number) => node.gossip.disconnected(id(number), now),
                Act::Lost(number) => node.gossip.lost(&record(number, 1), now),
                Act::Probed(of, by, reached) => {
                    node.gossip.probed(id(of), id(by), reached, now);
                }
                Act::Asks(account) => {
                    node.gossip.query(AccountId([account; 32]), now);
                    node.gossip.answered(AccountId([account.wrapping_add(1); 32]));
                }
            }
            node.outputs();
            prop_assert!(node.gossip.state_bytes() < 40 * 1024);
        }
        // It falls silent again but for what recurs.
        node.wait(Duration::from_secs(60));
    }
}

/// Nodes to which connections stand.
const PEERS: u8 = 12;
