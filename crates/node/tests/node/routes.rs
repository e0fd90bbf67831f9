//! Nodes find each other, publish their accounts and look up those of others.

use crypto::{
    SigningKey,
    node::{NodeRecord, UnsignedNodeRecord},
};
use node::{NodeCommand, NodeEvent};
use proto::{AccountId, Body, Code, Hello, Input, Key, NodeId, Record, Routing, VERSIONS};

use crate::{
    network::{Network, WORK_BITS, address},
    world::{Account, record, refused},
};

#[test]
fn two_nodes_say_hello_introduce_themselves_and_join() {
    let network = Network::new(2);
    for at in [0, 1] {
        assert!(network.net.hosts[at].events.contains(&NodeEvent::Joined), "{at}");
        let mut words = network.said_by(at);
        assert!(matches!(words.next(), Some(Body::Hello(_))));
        assert!(matches!(words.next(), Some(Body::Routing(Routing::Introduce(_)))));
        assert!(network.node(at).counters().refused.is_empty(), "{at}");
    }
}

#[test]
fn an_account_of_another_node_is_found() {
    let mut network = Network::new(3);
    let account = network.register(1, 1);
    let stranger = network.connect(2, 9);
    let found = network.ask(2, stranger, Body::GetBundle(account.id()));
    assert_eq!(found, Body::BundleIs(account.bundle.as_bytes().to_vec()));
    let missing = network.ask(2, stranger, Body::GetBundle(AccountId([3; 32])));
    assert_eq!(missing, refused(Code::NotFound));
    network.net.kill(1);
    let other = network.connect(0, 8);
    let found = network.ask(0, other, Body::GetBundle(account.id()));
    assert_eq!(found, Body::BundleIs(account.bundle.as_bytes().to_vec()));
}

#[test]
fn a_changed_bundle_is_published_at_once() {
    let mut network = Network::new(3);
    let account = network.register(1, 1);
    let devices = [account.device.public(), SigningKey::from_seed([7; 32]).public()];
    let newer = account.authority.sign_record(record(2, &devices, network.id(1))).unwrap();
    let device = network.connect(1, 1);
    network.ask(1, device, Body::PutBundle(newer.as_bytes().to_vec()));
    network.pass(1);
    let stranger = network.connect(2, 9);
    let found = network.ask(2, stranger, Body::GetBundle(account.id()));
    assert_eq!(found, Body::BundleIs(newer.as_bytes().to_vec()));
}

#[test]
fn homes_publish_each_account_once_an_hour() {
    let mut network = Network::new(3);
    let accounts: Vec<Account> = (1..=5).map(|seed| network.register(1, seed)).collect();
    network.pass(60);
    // A first round comes soon after the network was found; from then on one an hour.
    let stores = |network: &Network| -> Vec<usize> {
        accounts.iter().map(|account| network.stores(account)).collect()
    };
    let before = stores(&network);
    network.pass(5 * 3600);
    for (before, after) in before.into_iter().zip(stores(&network)) {
        // To two others each time. Nodes that keep it store it again only if no other node does.
        assert!((8..=14).contains(&(after - before)), "{before} {after}");
    }
    network.pass(48 * 3600);
    let stranger = network.connect(2, 99);
    for account in &accounts {
        let found = network.ask(2, stranger, Body::GetBundle(account.id()));
        assert_eq!(found, Body::BundleIs(account.bundle.as_bytes().to_vec()), "after two days");
    }
}

#[test]
fn a_node_comes_back_from_its_rows_alone() {
    let mut network = Network::new(3);
    let account = network.register(1, 1);
    // Long enough to remember whom it met.
    network.pass(400);
    for at in [0, 1, 2] {
        network.net.kill(at);
    }
    network.pass(10);
    for at in [0, 1, 2] {
        network.net.hosts[at].events.clear();
        network.start(at, &[]);
    }
    network.pass(30);
    assert!(network.net.hosts.iter().all(|host| host.events.contains(&NodeEvent::Joined)));
    let stranger = network.connect(2, 9);
    let found = network.ask(2, stranger, Body::GetBundle(account.id()));
    assert_eq!(found, Body::BundleIs(account.bundle.as_bytes().to_vec()));
}

#[test]
fn what_was_put_before_there_was_a_network_is_published_when_there_is() {
    let mut network = Network::new(2);
    network.net.kill(0);
    network.net.kill(1);
    network.start(1, &[]);
    let account = network.register(1, 1);
    network.start(0, &[]);
    network.pass(20);
    let stranger = network.connect(0, 9);
    network.command(1, NodeCommand::Join(address(0)));
    network.pass(20);
    let found = network.ask(0, stranger, Body::GetBundle(account.id()));
    assert_eq!(found, Body::BundleIs(account.bundle.as_bytes().to_vec()));
}

#[test]
fn words_of_routing_are_refused_before_hello_and_to_devices() {
    let mut network = Network::new(2);
    let silent = network.connect_silently(0, 8);
    let sample = || Body::Routing(Routing::Sample);
    assert_eq!(network.ask(0, silent, sample()), refused(Code::Unexpected));
    let device = network.connect(0, 9);
    let store = Routing::Store { record: Record::Node(vec![1]), age_s: 0 };
    for word in [store, Routing::AskRelay] {
        assert_eq!(network.ask(0, device, Body::Routing(word)), refused(Code::Forbidden));
    }
    let others = record_of(&SigningKey::from_seed([50; 32]));
    let introduce = Body::Routing(Routing::Introduce(others.as_bytes().to_vec()));
    assert_eq!(network.ask(0, device, introduce), refused(Code::Forbidden), "of another node");
    let target = Key::from(network.id(1));
    let found = network.ask(0, device, Body::Routing(Routing::Find { target, record: true }));
    let Body::Routing(Routing::Found { record: Some(Record::Node(record)), .. }) = found else {
        panic!("{found:?}")
    };
    assert_eq!(NodeRecord::verify(&record, WORK_BITS).unwrap().node(), network.id(1));
    let found = network.ask(0, device, Body::Routing(Routing::Lookup { target, trace: true }));
    assert!(matches!(found, Body::Routing(Routing::LookedUp { record: Some(_), .. })));
    let sampled = network.ask(0, device, sample());
    assert!(matches!(sampled, Body::Routing(Routing::Sampled(nodes)) if nodes.len() == 1));
}

#[test]
fn who_asks_too_often_is_told_to_wait() {
    let mut network = Network::new(2);
    let device = network.connect(0, 9);
    let find = Body::Routing(Routing::Find { target: Key([1; 32]), record: false });
    let answers: Vec<Body> = (0..100).map(|_| network.ask(0, device, find.clone())).collect();
    let refusals = answers.iter().filter(|answer| **answer == refused(Code::Busy)).count();
    assert_eq!(refusals, 36);
    network.pass(1);
    assert!(matches!(network.ask(0, device, find), Body::Routing(Routing::Found { .. })));
    for number in 1..=9_u8 {
        network.say(0, device, 1000 + u32::from(number), Body::GetBundle(AccountId([number; 32])));
    }
    assert_eq!(network.answer(device, 1009), refused(Code::Busy), "the ninth at a time");
    assert_eq!(network.answer(device, 1008), refused(Code::NotFound));
}

#[test]
fn who_hangs_up_is_not_answered() {
    let mut network = Network::new(3);
    let device = network.connect(0, 9);
    network.say(0, device, 1000, Body::GetBundle(AccountId([7; 32])));
    network.hang_up(0, device);
    network.take(device);
    let other = network.connect(0, 8);
    let missing = network.ask(0, other, Body::GetBundle(AccountId([7; 32])));
    assert_eq!(missing, refused(Code::NotFound), "who joins the lookup under way is");
    network.pass(10);
    assert!(network.take(device).is_empty());
}

#[test]
fn answers_without_a_question_are_dropped() {
    let mut network = Network::new(2);
    let device = network.connect(0, 9);
    network.take(device);
    network.say(0, device, 5, Body::Accepted { channel: 0, sequence: 0 });
    network.say(0, device, 5, refused(Code::Full));
    network.say(0, network.peer(1), 4_000_000, Body::Accepted { channel: 0, sequence: 0 });
    network.say(0, network.peer(1), 4_000_000, refused(Code::Stale));
    network.pass(1);
    assert!(network.take(device).is_empty());
    assert_eq!(network.node(0).counters().dropped.values().sum::<u64>(), 2);
}

#[test]
fn the_application_asks_and_is_told() {
    let mut network = Network::new(3);
    let account = network.register(1, 1);
    let target = Key::from(account.id());
    network.command(0, NodeCommand::Lookup { ticket: 5, target, insist: false });
    network.command(0, NodeCommand::Sample(6));
    network.command(1, NodeCommand::Status(7));
    network.command(1, NodeCommand::Peers(8));
    network.pass(20);
    let events = |at: usize| network.net.hosts[at].events.clone();
    assert!(events(0).iter().any(|event| matches!(event,
        NodeEvent::LookedUp { ticket: 5, result } if result.record.is_some())));
    assert!(events(0).iter().any(|event| matches!(event,
        NodeEvent::Sampled { ticket: 6, nodes } if nodes.len() == 2)));
    let status = events(1).into_iter().find_map(|event| match event {
        NodeEvent::Status { ticket: 7, status } => Some(status),
        _ => None,
    });
    let status = status.unwrap();
    assert_eq!((status.accounts, status.logs, status.contacts), (1, 1, 2));
    assert_eq!(status.node, network.id(1));
    let peers = events(1).into_iter().find_map(|event| match event {
        NodeEvent::Peers { ticket: 8, peers } => Some(peers),
        _ => None,
    });
    let mut peers: Vec<NodeId> = peers.unwrap().iter().map(|peer| peer.record.node()).collect();
    peers.sort();
    let mut others = vec![network.id(0), network.id(2)];
    others.sort();
    assert_eq!(peers, others);
}

#[test]
fn who_leaves_hands_over_and_says_so() {
    let mut network = Network::new(3);
    let contacts = |network: &mut Network, ticket| {
        network.command(0, NodeCommand::Status(ticket));
        network.net.hosts[0].events.iter().find_map(|event| match event {
            NodeEvent::Status { ticket: t, status } if *t == ticket => Some(status.contacts),
            _ => None,
        })
    };
    assert_eq!(contacts(&mut network, 1), Some(2));
    network.command(1, NodeCommand::Leave);
    assert!(!network.net.hosts[1].events.contains(&NodeEvent::Left), "not before it is accepted");
    network.pass(1);
    assert!(network.net.hosts[1].events.contains(&NodeEvent::Left));
    assert_eq!(contacts(&mut network, 2), Some(1), "no node is referred there any more");
}

#[test]
fn what_a_node_may_still_store_is_told_to_others_when_it_has_halved() {
    let mut network = Network::new(2);
    let capacity = |network: &Network| {
        let told = network.said_by(0).rev().find_map(|body| match body {
            Body::Routing(Routing::Introduce(record)) => Some(record.clone()),
            _ => None,
        });
        NodeRecord::verify(&told.unwrap(), WORK_BITS).unwrap().says().capacity_bytes
    };
    let all = 8_u64 << 30;
    assert_eq!(capacity(&network), all);
    network.command(0, NodeCommand::DiskUsed(all / 4));
    assert_eq!(capacity(&network), all, "hardly news");
    network.command(0, NodeCommand::DiskUsed(all / 2 + 1));
    assert_eq!(capacity(&network), all / 2 - 1);
}

#[test]
fn an_answer_to_the_router_is_no_answer_to_replication() {
    let mut network = Network::new(1);
    let key = SigningKey::from_seed([50; 32]);
    let (peer, own) = (key.public(), network.id(0));
    let address = "127.0.0.1:4999".parse().unwrap();
    network.net.input(0, Input::Connected(peer, Some(address)));
    network.say(0, peer, 0, Body::Hello(Hello { versions: VERSIONS, nonce: [9; 16] }));
    let record = record_of(&key).as_bytes().to_vec();
    network.say(0, peer, 0, Body::Routing(Routing::Introduce(record)));
    network.command(0, NodeCommand::Lookup { ticket: 8, target: Key([1; 32]), insist: false });
    // An account whose second home the peer is: its inbox is replicated, its record published
    // there.
    let account = Account::at_all(1, &[own, NodeId(peer.0)]);
    let device = network.connect(0, 1);
    let put = Body::PutBundle(account.bundle.as_bytes().to_vec());
    assert!(matches!(network.ask(0, device, put), Body::Accepted { .. }));
    network.pass(5);
    let told = network.take(peer);
    let requests = |is_one: fn(&Body) -> bool| -> Vec<u32> {
        let frames = told.iter().filter(|frame| frame.request != 0 && is_one(&frame.body));
        frames.map(|frame| frame.request).collect()
    };
    let of_router = requests(|body| matches!(body, Body::Routing(_)));
    let replicate = requests(|body| matches!(body, Body::Replicate(_)));
    assert!(!of_router.is_empty());
    assert_eq!(replicate.len(), 1);
    for request in &of_router {
        network.say(0, peer, *request, refused(Code::NotFound));
    }
    network.command(0, NodeCommand::Status(9));
    let behind = network.net.hosts[0].events.iter().find_map(|event| match event {
        NodeEvent::Status { ticket: 9, status } => Some(status.copies_behind),
        _ => None,
    });
    assert_eq!(behind, Some(1), "the inbox is yet to be opened there");
    assert!(!of_router.contains(&replicate[0]));
}

/// Returns the record of a node that does not run.
fn record_of(key: &SigningKey) -> NodeRecord {
    let nonce = NodeRecord::prove_work(&NodeId(key.public().0), WORK_BITS);
    let addresses = vec!["127.0.0.1:4999".parse().unwrap()];
    let says = UnsignedNodeRecord { nonce, serial: 1, addresses, ..UnsignedNodeRecord::default() };
    NodeRecord::sign(key, &says, WORK_BITS).unwrap()
}
