//! Any word of routing.

use std::net::{IpAddr, SocketAddr};

use proptest::{collection::vec, option, prelude::*};
use proto::{
    AccountId, Contact, Fact, Gossip, Hop, HopOutcome, Key, NodeId, Query, Record, Routing, limits,
};

pub(crate) fn word() -> impl Strategy<Value = Routing> {
    prop_oneof![questions(), answers(), gossip().prop_map(Routing::Gossip)]
}

fn questions() -> impl Strategy<Value = Routing> {
    prop_oneof![
        bytes(limits::NODE_RECORD_MAX).prop_map(Routing::Introduce),
        (target(), any::<bool>()).prop_map(|(target, record)| Routing::Find { target, record }),
        (record(), any::<u32>()).prop_map(|(record, age_s)| Routing::Store { record, age_s }),
        (contact(), any::<bool>()).prop_map(|(contact, dial)| Routing::Probe { contact, dial }),
        Just(Routing::Sample),
        (target(), any::<bool>()).prop_map(|(target, trace)| Routing::Lookup { target, trace }),
        Just(Routing::AskRelay),
    ]
}

fn answers() -> impl Strategy<Value = Routing> {
    let sampled = (bytes(limits::NODE_RECORD_MAX), any::<u32>());
    prop_oneof![
        (option::of(record()), contacts())
            .prop_map(|(record, contacts)| Routing::Found { record, contacts }),
        option::of(any::<bool>()).prop_map(Routing::Probed),
        vec(sampled, 0..4).prop_map(Routing::Sampled),
        (option::of(record()), vec(hop(), 0..4))
            .prop_map(|(record, hops)| Routing::LookedUp { record, hops }),
        (addresses(), any::<[u8; 16]>())
            .prop_map(|(addresses, token)| Routing::RelayIs { addresses, token }),
    ]
}

fn gossip() -> impl Strategy<Value = Gossip> {
    let ids = || vec(any::<[u8; 16]>(), 0..=limits::FACTS_NAMED_MAX);
    prop_oneof![
        contact().prop_map(Gossip::Join),
        (contact(), any::<u32>()).prop_map(|(contact, hops)| Gossip::ForwardJoin { contact, hops }),
        any::<bool>().prop_map(|urgent| Gossip::Neighbour { urgent }),
        any::<bool>().prop_map(|accepted| Gossip::NeighbourIs { accepted }),
        any::<bool>().prop_map(|leaving| Gossip::Part { leaving }),
        (contact(), contacts(), any::<u32>())
            .prop_map(|(origin, contacts, hops)| Gossip::Shuffle { origin, contacts, hops }),
        contacts().prop_map(Gossip::Shuffled),
        (fact(), any::<u32>()).prop_map(|(fact, hops)| Gossip::Spread { fact, hops }),
        ids().prop_map(Gossip::Have),
        ids().prop_map(Gossip::Graft),
        Just(Gossip::Prune),
    ]
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        bytes(limits::NODE_RECORD_MAX).prop_map(Fact::Node),
        bytes(limits::SUSPICION_MAX).prop_map(Fact::Suspicion),
        (any::<[u8; 32]>(), contact(), any::<u64>()).prop_map(|(account, origin, number)| {
            Fact::Query(Query { account: AccountId(account), origin, number })
        }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        bytes(limits::BUNDLE_MAX).prop_map(Record::Account),
        bytes(limits::NODE_RECORD_MAX).prop_map(Record::Node),
    ]
}

fn contacts() -> impl Strategy<Value = Vec<Contact>> {
    vec(contact(), 0..=limits::BUCKET_MAX)
}

fn contact() -> impl Strategy<Value = Contact> {
    (any::<[u8; 32]>(), any::<u64>(), addresses()).prop_map(|(node, nonce, addresses)| Contact {
        node: NodeId(node),
        nonce,
        addresses,
    })
}

fn hop() -> impl Strategy<Value = Hop> {
    let outcome = prop_oneof![
        Just(HopOutcome::Silent),
        Just(HopOutcome::Contacts),
        Just(HopOutcome::Record),
        Just(HopOutcome::Stale),
        Just(HopOutcome::Nonsense),
    ];
    let numbers = any::<(u32, u32, u32, u32)>();
    (any::<[u8; 32]>(), option::of(address()), numbers, outcome).prop_map(
        |(node, address, (path, round, micros, depth), outcome)| Hop {
            node: NodeId(node),
            address,
            path,
            round,
            outcome,
            micros,
            depth,
        },
    )
}

fn addresses() -> impl Strategy<Value = Vec<SocketAddr>> {
    vec(address(), 0..=limits::NODE_ADDRESSES_MAX)
}

fn address() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(Into::into)
}

fn target() -> impl Strategy<Value = Key> {
    any::<[u8; 32]>().prop_map(Key)
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=max)
}
