//! Samples: random nodes, found by looking up random keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::{Body, Instant, Network, NodeId, Routing, Rows, limits, networks};

use super::{
    Operations,
    then::{Origin, Then},
};
use crate::{NodeRecord, RouterEvent, lookup::Lookup, router::Router};

/// A sample in progress.
#[derive(Debug)]
pub(super) struct Sampling {
    origin: Origin,
    found: BTreeMap<NodeId, (NodeRecord, Duration)>,
    /// The networks of the found nodes: one node of each is enough.
    networks: BTreeSet<Network>,
    by_network: bool,
    /// In progress.
    lookups: u32,
    lookups_left: u32,
    /// Successive lookups that found no new node.
    fruitless: u32,
}

impl Sampling {
    /// Returns who asked for it.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Operations {
    /// Adds a node that answered in a lookup of a sample.
    pub(super) fn sampled(&mut self, number: u64, record: NodeRecord) {
        let Some(sampling) = self.samplings.get_mut(&number) else { return };
        let says = record.says();
        let of_known_network = sampling.by_network
            && networks(&says.addresses).any(|network| sampling.networks.contains(&network));
        let is_usable = !says.addresses.is_empty() && !says.leaving && !of_known_network;
        let is_new = is_usable && !sampling.found.contains_key(&record.node());
        if is_new && sampling.found.len() < limits::SAMPLE_MAX {
            sampling.networks.extend(networks(&says.addresses));
            sampling.fruitless = 0;
            sampling.found.insert(record.node(), (record, UNMEASURED));
        }
    }

    /// Records a round trip; the shortest counts.
    pub(crate) fn measured(&mut self, node: &NodeId, took: Duration) {
        for sampling in self.samplings.values_mut() {
            if let Some((_, shortest)) = sampling.found.get_mut(node) {
                *shortest = took.min(*shortest);
            }
        }
    }
}

impl Router {
    /// Starts a sample.
    pub(crate) fn sample(&mut self, origin: Origin, now: Instant, rows: &dyn Rows) {
        let number = self.operations.number();
        let sampling = Sampling {
            origin,
            found: BTreeMap::new(),
            networks: BTreeSet::new(),
            by_network: self.config.defences.by_network,
            lookups: PARALLEL,
            lookups_left: LOOKUPS,
            fruitless: 0,
        };
        self.operations.samplings.insert(number, sampling);
        for _ in 0..PARALLEL {
            let target = self.random_key();
            self.look_up(target, false, Then::Sample(number), now, rows);
        }
    }

    /// Returns the record of a connected node, if its address is proved: one node of a network
    /// counts, and claiming another network costs nothing.
    pub(super) fn proved(&self, node: &NodeId) -> Option<NodeRecord> {
        self.links.record(node).filter(|record| self.links.is_where_it_says(record))
    }

    /// Continues after a lookup of a sample: starts another one, or reports the result.
    pub(super) fn continue_sampling(
        &mut self,
        number: u64,
        lookup: &Lookup,
        now: Instant,
        rows: &dyn Rows,
    ) {
        // Nodes known before the lookup are measured by their next answer.
        let known: Vec<NodeRecord> =
            lookup.answerers().filter_map(|node| self.proved(node)).collect();
        for record in known {
            self.operations.sampled(number, record);
        }
        let Some(sampling) = self.operations.samplings.get_mut(&number) else { return };
        sampling.lookups_left = sampling.lookups_left.saturating_sub(1);
        sampling.fruitless = sampling.fruitless.saturating_add(1);
        let is_done = sampling.lookups_left == 0
            || sampling.found.len() >= limits::SAMPLE_MAX
            || sampling.fruitless > FRUITLESS_MAX;
        sampling.lookups = sampling.lookups.saturating_sub(1);
        if is_done && sampling.lookups > 0 {
            return;
        }
        if !is_done {
            sampling.lookups = sampling.lookups.saturating_add(1);
            let target = self.random_key();
            return self.look_up(target, false, Then::Sample(number), now, rows);
        }
        let Some(sampling) = self.operations.samplings.remove(&number) else { return };
        let nodes: Vec<(NodeRecord, Duration)> = sampling.found.into_values().collect();
        match sampling.origin {
            Origin::Command { ticket, .. } => self.emit(RouterEvent::Sampled { ticket, nodes }),
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

/// The round trip of a node until one was measured.
const UNMEASURED: Duration = Duration::from_secs(3);
/// Keys that are looked up for one sample, and how many at the same time.
const LOOKUPS: u32 = 48;
const PARALLEL: u32 = 3;
/// A network is small if so many successive lookups find no new node.
const FRUITLESS_MAX: u32 = 6;
