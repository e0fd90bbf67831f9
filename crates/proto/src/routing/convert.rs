//! Between words of routing and their wire form.

use std::net::{IpAddr, SocketAddr};

use prost::Message;

use super::{Contact, Fact, FactId, Gossip, Hop, HopOutcome, Query, Record, Routing};
use crate::{
    AccountId, DecodeError, Key, NodeId,
    decode::{at_most, each},
    limits, wire,
};
use wire::routing::Word;

impl From<&Routing> for wire::Routing {
    fn from(from: &Routing) -> Self {
        let word = match from {
            Routing::Introduce(record) => Word::Introduce(record.clone()),
            Routing::Find { target, record } => {
                Word::Find(wire::Find { target: target.0.to_vec(), record: *record })
            }
            Routing::Found { record, contacts } => Word::Found(wire::Found {
                record: record.as_ref().map(Record::encode).unwrap_or_default(),
                contacts: contacts.iter().map(Into::into).collect(),
            }),
            Routing::Store { record, age_s } => {
                Word::Store(wire::Store { record: record.encode(), age_s: *age_s })
            }
            Routing::Probe { contact, dial } => {
                Word::Probe(wire::Probe { contact: Some(contact.into()), dial: *dial })
            }
            Routing::Probed(outcome) => Word::Probed(wire::Probed {
                outcome: outcome.map_or(0, |reached| if reached { 1 } else { 2 }),
            }),
            Routing::Sample => Word::Sample(wire::Sample {}),
            Routing::Sampled(nodes) => Word::Sampled(wire::Sampled {
                nodes: nodes
                    .iter()
                    .map(|(record, round_trip_ms)| wire::SampledNode {
                        record: record.clone(),
                        round_trip_ms: *round_trip_ms,
                    })
                    .collect(),
            }),
            Routing::Lookup { target, trace } => {
                Word::Lookup(wire::Lookup { target: target.0.to_vec(), trace: *trace })
            }
            Routing::LookedUp { record, hops } => Word::LookedUp(wire::LookedUp {
                record: record.as_ref().map(Record::encode).unwrap_or_default(),
                hops: hops.iter().map(Into::into).collect(),
            }),
            Routing::AskRelay => Word::AskRelay(wire::AskRelay {}),
            Routing::RelayIs { addresses, token } => Word::RelayIs(wire::RelayIs {
                addresses: addresses.iter().map(pack).collect(),
                token: token.to_vec(),
            }),
            Routing::Gossip(gossip) => gossip.into(),
        };
        Self { word: Some(word) }
    }
}

impl TryFrom<wire::Routing> for Routing {
    type Error = DecodeError;

    fn try_from(from: wire::Routing) -> Result<Self, DecodeError> {
        Ok(match from.word.ok_or(DecodeError::Kind)? {
            Word::Introduce(record) => Self::Introduce(at_most(record, limits::NODE_RECORD_MAX)?),
            Word::Find(find) => {
                Self::Find { target: Key::try_from(find.target.as_slice())?, record: find.record }
            }
            Word::Found(found) => Self::Found {
                record: maybe_record(&found.record)?,
                contacts: contacts(found.contacts)?,
            },
            Word::Store(store) => {
                Self::Store { record: Record::decode(&store.record)?, age_s: store.age_s }
            }
            Word::Probe(probe) => {
                Self::Probe { contact: contact(probe.contact)?, dial: probe.dial }
            }
            Word::Probed(probed) => Self::Probed(match probed.outcome {
                1 => Some(true),
                2 => Some(false),
                _ => None,
            }),
            Word::Sample(wire::Sample {}) => Self::Sample,
            Word::Sampled(sampled) => {
                Self::Sampled(each(sampled.nodes, limits::SAMPLE_MAX, |n| {
                    Ok((at_most(n.record, limits::NODE_RECORD_MAX)?, n.round_trip_ms))
                })?)
            }
            Word::Lookup(lookup) => Self::Lookup {
                target: Key::try_from(lookup.target.as_slice())?,
                trace: lookup.trace,
            },
            Word::LookedUp(looked_up) => Self::LookedUp {
                record: maybe_record(&looked_up.record)?,
                hops: each(looked_up.hops, limits::HOPS_MAX, Hop::try_from)?,
            },
            Word::AskRelay(wire::AskRelay {}) => Self::AskRelay,
            Word::RelayIs(relay) => Self::RelayIs {
                addresses: addresses(&relay.addresses)?,
                token: relay.token.try_into().map_err(|_| DecodeError::Length)?,
            },
            word @ (Word::Join(_)
            | Word::ForwardJoin(_)
            | Word::Neighbour(_)
            | Word::NeighbourIs(_)
            | Word::Part(_)
            | Word::Shuffle(_)
            | Word::Shuffled(_)
            | Word::Spread(_)
            | Word::Have(_)
            | Word::Graft(_)
            | Word::Prune(_)) => Self::Gossip(word.try_into()?),
        })
    }
}

impl From<&Gossip> for Word {
    fn from(from: &Gossip) -> Self {
        match from {
            Gossip::Join(contact) => {
                Self::Join(wire::Join { contact: Some(contact.into()), hops: 0 })
            }
            Gossip::ForwardJoin { contact, hops } => {
                Self::ForwardJoin(wire::Join { contact: Some(contact.into()), hops: *hops })
            }
            Gossip::Neighbour { urgent } => Self::Neighbour(wire::Neighbour { urgent: *urgent }),
            Gossip::NeighbourIs { accepted } => {
                Self::NeighbourIs(wire::NeighbourIs { accepted: *accepted })
            }
            Gossip::Part { leaving } => Self::Part(wire::Part { leaving: *leaving }),
            Gossip::Shuffle { origin, contacts, hops } => Self::Shuffle(wire::Shuffle {
                origin: Some(origin.into()),
                contacts: contacts.iter().map(Into::into).collect(),
                hops: *hops,
            }),
            Gossip::Shuffled(contacts) => Self::Shuffled(wire::Shuffled {
                contacts: contacts.iter().map(Into::into).collect(),
            }),
            Gossip::Spread { fact, hops } => {
                Self::Spread(wire::Spread { fact: Some(fact.into()), hops: *hops })
            }
            Gossip::Have(facts) => Self::Have(wire::Have { facts: names(facts) }),
            Gossip::Graft(facts) => Self::Graft(wire::Graft { facts: names(facts) }),
            Gossip::Prune => Self::Prune(wire::Prune {}),
        }
    }
}

impl TryFrom<Word> for Gossip {
    type Error = DecodeError;

    fn try_from(from: Word) -> Result<Self, DecodeError> {
        let ids = |facts: Vec<Vec<u8>>| {
            each(facts, limits::FACTS_NAMED_MAX, |id| {
                FactId::try_from(id).map_err(|_| DecodeError::Length)
            })
        };
        Ok(match from {
            Word::Join(join) => Self::Join(contact(join.contact)?),
            Word::ForwardJoin(join) => {
                Self::ForwardJoin { contact: contact(join.contact)?, hops: join.hops }
            }
            Word::Neighbour(neighbour) => Self::Neighbour { urgent: neighbour.urgent },
            Word::NeighbourIs(is) => Self::NeighbourIs { accepted: is.accepted },
            Word::Part(part) => Self::Part { leaving: part.leaving },
            Word::Shuffle(shuffle) => Self::Shuffle {
                origin: contact(shuffle.origin)?,
                contacts: contacts(shuffle.contacts)?,
                hops: shuffle.hops,
            },
            Word::Shuffled(shuffled) => Self::Shuffled(contacts(shuffled.contacts)?),
            Word::Spread(spread) => Self::Spread {
                fact: spread.fact.ok_or(DecodeError::Kind)?.try_into()?,
                hops: spread.hops,
            },
            Word::Have(have) => Self::Have(ids(have.facts)?),
            Word::Graft(graft) => Self::Graft(ids(graft.facts)?),
            Word::Prune(wire::Prune {}) => Self::Prune,
            Word::Introduce(_)
            | Word::Find(_)
            | Word::Found(_)
            | Word::Store(_)
            | Word::Probe(_)
            | Word::Probed(_)
            | Word::Sample(_)
            | Word::Sampled(_)
            | Word::Lookup(_)
            | Word::LookedUp(_)
            | Word::AskRelay(_)
            | Word::RelayIs(_) => return Err(DecodeError::Kind),
        })
    }
}

impl Record {
    /// The bytes in which records travel and are kept.
    pub fn encode(&self) -> Vec<u8> {
        let record = match self {
            Self::Account(bundle) => wire::record::Record::Account(bundle.clone()),
            Self::Node(record) => wire::record::Record::Node(record.clone()),
        };
        wire::Record { record: Some(record) }.encode_to_vec()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = wire::Record::decode(bytes)?;
        Ok(match wire.record.ok_or(DecodeError::Kind)? {
            wire::record::Record::Account(bundle) => {
                Self::Account(at_most(bundle, limits::BUNDLE_MAX)?)
            }
            wire::record::Record::Node(record) => {
                Self::Node(at_most(record, limits::NODE_RECORD_MAX)?)
            }
        })
    }
}

impl Fact {
    /// The bytes that [`FactId`]s are made of.
    pub fn encode(&self) -> Vec<u8> {
        wire::Fact::from(self).encode_to_vec()
    }
}

impl From<&Fact> for wire::Fact {
    fn from(from: &Fact) -> Self {
        let fact = match from {
            Fact::Node(record) => wire::fact::Fact::Node(record.clone()),
            Fact::Suspicion(suspicion) => wire::fact::Fact::Suspicion(suspicion.clone()),
            Fact::Query(query) => wire::fact::Fact::Query(wire::Query {
                account: query.account.0.to_vec(),
                origin: Some((&query.origin).into()),
                number: query.number,
            }),
        };
        Self { fact: Some(fact) }
    }
}

impl TryFrom<wire::Fact> for Fact {
    type Error = DecodeError;

    fn try_from(from: wire::Fact) -> Result<Self, DecodeError> {
        Ok(match from.fact.ok_or(DecodeError::Kind)? {
            wire::fact::Fact::Node(record) => Self::Node(at_most(record, limits::NODE_RECORD_MAX)?),
            wire::fact::Fact::Suspicion(suspicion) => {
                Self::Suspicion(at_most(suspicion, limits::SUSPICION_MAX)?)
            }
            wire::fact::Fact::Query(query) => Self::Query(Query {
                account: AccountId::try_from(query.account.as_slice())?,
                origin: contact(query.origin)?,
                number: query.number,
            }),
        })
    }
}

impl From<&Contact> for wire::Contact {
    fn from(from: &Contact) -> Self {
        Self {
            node: from.node.0.to_vec(),
            nonce: from.nonce,
            addresses: from.addresses.iter().map(pack).collect(),
        }
    }
}

impl TryFrom<wire::Contact> for Contact {
    type Error = DecodeError;

    fn try_from(from: wire::Contact) -> Result<Self, DecodeError> {
        let addresses = addresses(&from.addresses)?;
        Ok(Self { node: NodeId::try_from(from.node.as_slice())?, nonce: from.nonce, addresses })
    }
}

impl From<&Hop> for wire::Hop {
    fn from(from: &Hop) -> Self {
        let Hop { node, address, path, round, outcome, micros, depth } = from;
        Self {
            node: node.0.to_vec(),
            address: address.as_ref().map(pack).unwrap_or_default(),
            path: *path,
            round: *round,
            outcome: *outcome as u32,
            micros: *micros,
            depth: *depth,
        }
    }
}

impl TryFrom<wire::Hop> for Hop {
    type Error = DecodeError;

    fn try_from(from: wire::Hop) -> Result<Self, DecodeError> {
        let outcome = OUTCOMES.into_iter().find(|outcome| *outcome as u32 == from.outcome);
        Ok(Self {
            node: NodeId::try_from(from.node.as_slice())?,
            address: if from.address.is_empty() { None } else { Some(unpack(&from.address)?) },
            path: from.path,
            round: from.round,
            outcome: outcome.ok_or(DecodeError::Kind)?,
            micros: from.micros,
            depth: from.depth,
        })
    }
}

/// The bytes of an address: 4 or 16 of IP, 2 of port.
pub fn pack(address: &SocketAddr) -> Vec<u8> {
    let mut bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend(address.port().to_be_bytes());
    bytes
}

/// Reads what [`pack`] wrote.
pub fn unpack(bytes: &[u8]) -> Result<SocketAddr, DecodeError> {
    let (ip, port) = bytes.split_last_chunk::<2>().ok_or(DecodeError::Length)?;
    let ip: IpAddr = match ip.len() {
        4 => <[u8; 4]>::try_from(ip).map_err(|_| DecodeError::Length)?.into(),
        16 => <[u8; 16]>::try_from(ip).map_err(|_| DecodeError::Length)?.into(),
        _ => return Err(DecodeError::Length),
    };
    Ok(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

fn addresses(packed: &[Vec<u8>]) -> Result<Vec<SocketAddr>, DecodeError> {
    if packed.len() > limits::NODE_ADDRESSES_MAX {
        return Err(DecodeError::TooLarge);
    }
    packed.iter().map(|bytes| unpack(bytes)).collect()
}

fn contact(contact: Option<wire::Contact>) -> Result<Contact, DecodeError> {
    contact.ok_or(DecodeError::Kind)?.try_into()
}

fn contacts(contacts: Vec<wire::Contact>) -> Result<Vec<Contact>, DecodeError> {
    each(contacts, limits::BUCKET_MAX, Contact::try_from)
}

fn maybe_record(bytes: &[u8]) -> Result<Option<Record>, DecodeError> {
    if bytes.is_empty() { Ok(None) } else { Record::decode(bytes).map(Some) }
}

fn names(facts: &[FactId]) -> Vec<Vec<u8>> {
    facts.iter().map(|id| id.to_vec()).collect()
}

const OUTCOMES: [HopOutcome; 5] = [
    HopOutcome::Silent,
    HopOutcome::Contacts,
    HopOutcome::Record,
    HopOutcome::Stale,
    HopOutcome::Nonsense,
];
