//! Samples: nodes drawn at random, found by looking up places drawn at random.

use std::{collections::BTreeMap, time::Duration};

use proto::{Body, Instant, NodeId, Routing, Rows, limits};

use super::{Errands, Origin, Router, Then};
use crate::{NodeRecord, RouterEvent, lookup::Lookup};

/// A sample in the making.
#[derive(Debug)]
pub(super) struct Sampling {
    pub(super) origin: Origin,
    found: BTreeMap<NodeId, (NodeRecord, Duration)>,
    lookups_left: u32,
    /// Lookups in a row that found nobody new.
    in_vain: u32,
}

impl Errands {
    /// Somebody has answered in a lookup for a sample.
    pub(super) fn sampled(&mut self, number: u64, record: NodeRecord) {
        let Some(sampling) = self.samplings.get_mut(&number) else { return };
        let is_usable = !record.says().addresses.is_empty() && !record.says().leaving;
        if sampling.found.len() < limits::SAMPLE_MAX && is_usable {
            let unknown = Duration::from_secs(3);
            sampling.found.entry(record.node()).or_insert_with(|| {
                sampling.in_vain = 0;
                (record, unknown)
            });
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
    /// Draws nodes for somebody.
    pub(in super::super) fn sample(&mut self, origin: Origin, now: Instant, rows: &dyn Rows) {
        let number = self.errands.number();
        let sampling =
            Sampling { origin, found: BTreeMap::new(), lookups_left: LOOKUPS, in_vain: 0 };
        self.errands.samplings.insert(number, sampling);
        let target = self.random_key();
        self.look_up(target, false, Then::Sample(number), now, rows);
    }

    /// A lookup of a sample has ended; another one begins, or whoever asked is told.
    pub(super) fn go_on_sampling(
        &mut self,
        number: u64,
        lookup: &Lookup,
        now: Instant,
        rows: &dyn Rows,
    ) {
        // Those who had answered before the lookup are measured by what they answer next.
        let known: Vec<NodeRecord> =
            lookup.answerers().filter_map(|node| self.links.record(node).cloned()).collect();
        for record in known {
            self.errands.sampled(number, record);
        }
        let Some(sampling) = self.errands.samplings.get_mut(&number) else { return };
        sampling.lookups_left = sampling.lookups_left.saturating_sub(1);
        sampling.in_vain = sampling.in_vain.saturating_add(1);
        let is_done = sampling.lookups_left == 0
            || sampling.found.len() >= limits::SAMPLE_MAX
            || sampling.in_vain > IN_VAIN_MAX;
        if !is_done {
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

/// Places that are looked up for one sample.
const LOOKUPS: u32 = 24;
/// The network is small when so many in a row find nobody new.
const IN_VAIN_MAX: u32 = 4;
