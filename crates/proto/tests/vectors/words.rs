//! One of each word of routing.

use proto::{
    AccountId, Contact, Fact, Gossip, Hop, HopOutcome, Key, NodeId, Query, Record, Routing,
};

pub(crate) fn words() -> Vec<(&'static str, Routing)> {
    let target = Key([0x11; 32]);
    let record = Record::Node(b"record".to_vec());
    let bundle = || Record::Account(b"bundle".to_vec());
    let hop = Hop {
        node: NodeId([0x22; 32]),
        address: Some("192.0.2.1:4440".parse().unwrap()),
        path: 2,
        round: 1,
        outcome: HopOutcome::Record,
        micros: 1_500,
        depth: 17,
    };
    let relay = Routing::RelayIs { addresses: contact().addresses, token: [0x33; 16] };
    let mut words = vec![
        ("introduce", Routing::Introduce(b"record".to_vec())),
        ("find", Routing::Find { target, record: true }),
        ("found", Routing::Found { record: Some(bundle()), contacts: vec![contact()] }),
        ("store", Routing::Store { record, age_s: 60 }),
        ("probe", Routing::Probe { contact: contact(), dial: true }),
        ("probed", Routing::Probed(Some(false))),
        ("sample", Routing::Sample),
        ("sampled", Routing::Sampled(vec![(b"record".to_vec(), 20)])),
        ("lookup", Routing::Lookup { target, trace: true }),
        ("looked_up", Routing::LookedUp { record: Some(bundle()), hops: vec![hop] }),
        ("ask_relay", Routing::AskRelay),
        ("relay_is", relay),
    ];
    words.extend(gossip().into_iter().map(|(name, word)| (name, Routing::Gossip(word))));
    words
}

fn gossip() -> Vec<(&'static str, Gossip)> {
    let query = Query { account: AccountId([0x44; 32]), origin: contact(), number: 5 };
    let spread = |fact| Gossip::Spread { fact, hops: 2 };
    let shuffle = Gossip::Shuffle { origin: contact(), contacts: vec![contact()], hops: 3 };
    vec![
        ("join", Gossip::Join(contact())),
        ("forward_join", Gossip::ForwardJoin { contact: contact(), hops: 6 }),
        ("neighbour", Gossip::Neighbour { urgent: true }),
        ("neighbour_is", Gossip::NeighbourIs { accepted: true }),
        ("part", Gossip::Part { leaving: true }),
        ("shuffle", shuffle),
        ("shuffled", Gossip::Shuffled(vec![contact()])),
        ("spread", spread(Fact::Node(b"record".to_vec()))),
        ("spread", spread(Fact::Suspicion(b"suspicion".to_vec()))),
        ("spread", spread(Fact::Query(query))),
        ("have", Gossip::Have(vec![[0x55; 16]])),
        ("graft", Gossip::Graft(vec![[0x66; 16]])),
        ("prune", Gossip::Prune),
    ]
}

fn contact() -> Contact {
    let addresses = ["192.0.2.1:4440", "[2001:db8::1]:4440"];
    Contact {
        node: NodeId([0x77; 32]),
        nonce: 70_000,
        addresses: addresses.map(|text| text.parse().unwrap()).to_vec(),
    }
}
