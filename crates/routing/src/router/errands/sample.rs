//! Samples: nodes drawn at random, found by looking up places drawn at random.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::{Body, Instant, Network, NodeId, Routing, Rows, limits, networks};

use super::{Errands, Origin, Router, Then};
use crate::{NodeRecord, RouterEvent, lookup::Lookup};

/// A sample in the making.
#[derive(Debug)]
pub(super) struct Sampling {
    pub(super) origin: Origin,
    found: BTreeMap<NodeId, (NodeRecord, Duration)>,
    /// Of those that were found: one node of a network is enough.
    networks: BTreeSet<Network>,
    by_network: bool,
    /// Under way.
    lookups: u32,
    lookups_left: u32,
    /// Lookups in a row that found no new node.
    in_vain: u32,
}

impl Errands {
    /// A node has answered in a lookup for a sample.
    pub(super) fn sampled(&mut self, number: u64, record: NodeRecord) {
        let Some(sampling) = self.samplings.get_mut(&number) else { return };
        let says = record.says();
        let of_known_network = sampling.by_network
            && networks(&says.addresses).any(|network| sampling.networks.contains(&network));
        let is_usable = !says.addresses.is_empty() && !says.leaving && !of_known_network;
        let is_new = is_usable && !sampling.found.contains_key(&record.node());
        if is_new && sampling.found.len() < limits::SAMPLE_MAX {
            sampling.networks.extend(networks(&says.addresses));
            sampling.in_vain = 0;
            sampling.found.insert(record.node(), (record, UNMEASURED));
        }
    }

    /// An answer took so long: the shortest time counts.
    pub(in super::super) fn measured(&mut self, node: &NodeId, took: Duration) {
        for sampling in self.samplings.values_mut() {
            if let Some((_, shortest)) = sampling.found.get_mut(node) {
                *shortest = took.min(*shortest);
            }
        }
    }
}

impl Router {
    /// Samples nodes for a peer.
    pub(in super::super) fn sample(&mut self, origin: Origin, now: Instant, rows: &dyn Rows) {
        let number = self.errands.number();
        let sampling = Sampling {
            origin,
            found: BTreeMap::new(),
            networks: BTreeSet::new(),
            by_network: self.config.defences.by_network,
            lookups: PARALLEL,
            lookups_left: LOOKUPS,
            in_vain: 0,
        };
        self.errands.samplings.insert(number, sampling);
        for _ in 0..PARALLEL {
            let target = self.random_key();
            self.look_up(target, false, Then::Sample(number), now, rows);
        }
    }

    /// What a connected node says of itself, if it has proved to be there: of one network counts
    /// one node, and saying that one is elsewhere costs nothing.
    pub(super) fn proved(&self, node: &NodeId) -> Option<NodeRecord> {
        self.links.record(node).filter(|record| self.links.is_where_it_says(record))
    }

    /// A lookup of a sample has ended; another one begins, or the requester is answered.
    pub(super) fn continue_sampling(
        &mut self,
        number: u64,
        lookup: &Lookup,
        now: Instant,
        rows: &dyn Rows,
    ) {
        // Those who had answered before the lookup are measured by what they answer next.
        let known: Vec<NodeRecord> =
            lookup.answerers().filter_map(|node| self.proved(node)).collect();
        for record in known {
            self.errands.sampled(number, record);
        }
        let Some(sampling) = self.errands.samplings.get_mut(&number) else { return };
        sampling.lookups_left = sampling.lookups_left.saturating_sub(1);
        sampling.in_vain = sampling.in_vain.saturating_add(1);
        let is_done = sampling.lookups_left == 0
            || sampling.found.len() >= limits::SAMPLE_MAX
            || sampling.in_vain > IN_VAIN_MAX;
        sampling.lookups = sampling.lookups.saturating_sub(1);
        if is_done && sampling.lookups > 0 {
            return;
        }
        if !is_done {
            sampling.lookups = sampling.lookups.saturating_add(1);
            let target = self.random_key();
            return self.look_up(target, false, Then::Sample(number), now, rows);
        }
        let Some(sampling) = self.errands.samplings.remove(&number) else { return };
        let nodes: Vec<(NodeRecord, Duration)> = sampling.found.into_values().collect();
        match sampling.origin {
            Origin::Command { ticket, .. } => self.event(RouterEvent::Sampled { ticket, nodes }),
            Origin::Peer { peer, request, .. } => {
                let shown = nodes.iter().map(|(record, took)| {
                    let round_trip_ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
                    (record.as_bytes().to_vec(), round_trip_ms)
                });
                let word = Routing::Sampled(shown.collect());
                self.reply(peer, request, Body::Routing(word));
            }
        }
    }
}

/// What counts until an answer was measured.
const UNMEASURED: Duration = Duration::from_secs(3);
/// Places that are looked up for one sample, and how many of them at the same time.
const LOOKUPS: u32 = 48;
const PARALLEL: u32 = 3;
/// The network is small when so many in a row find no new node.
const IN_VAIN_MAX: u32 = 6;
