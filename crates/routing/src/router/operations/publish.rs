//! Publications: a record is stored at the nodes nearest to its key, and is published when enough
//! of them have accepted it.

use std::collections::{BTreeMap, VecDeque};

use proto::{Code, Contact, Instant, NodeId, Record, Routing, Rows, limits};

use super::then::{Then, Unpublished};
use crate::{
    RouterEvent,
    lookup::Lookup,
    record::Verified,
    router::{Router, purpose::Purpose},
};

/// A publication in progress.
#[derive(Debug)]
pub(super) struct Publication {
    unpublished: Unpublished,
    /// The nodes to ask next, nearest first.
    left: VecDeque<Contact>,
    /// The nodes that may still answer, and whether they are late.
    awaited: BTreeMap<NodeId, bool>,
    copies: usize,
    requests: u32,
}

impl Router {
    /// Publishes a record as soon as there is room.
    pub(crate) fn publish(
        &mut self,
        record: Record,
        age_s: u32,
        ticket: Option<u64>,
        now: Instant,
        rows: &dyn Rows,
    ) {
        if self.operations.waiting.len() >= WAITING_MAX {
            return self.published(ticket, 0, 0);
        }
        self.operations.waiting.push_back(Unpublished::new(record, age_s, ticket));
        self.start_waiting(now, rows);
    }

    /// Starts waiting publications while there is room.
    pub(super) fn start_waiting(&mut self, now: Instant, rows: &dyn Rows) {
        while self.under_way() < PUBLICATIONS_MAX
            && let Some(waiting) = self.operations.waiting.pop_front()
        {
            let Ok(verified) = Verified::verify(waiting.record(), &self.config.verifier) else {
                self.published(waiting.ticket(), 0, 0);
                continue;
            };
            self.look_up(verified.key(), false, Then::Publish(waiting), now, rows);
        }
    }

    fn under_way(&self) -> usize {
        let lookups = self.operations.lookups.values();
        let lookups = lookups.filter(|running| matches!(running.then, Then::Publish(_)));
        lookups.count().saturating_add(self.operations.publications.len())
    }

    /// Starts storing at the nearest nodes, which the lookup has found.
    pub(super) fn start_publication(
        &mut self,
        lookup: &Lookup,
        unpublished: Unpublished,
        now: Instant,
        rows: &dyn Rows,
    ) {
        let nearest = lookup.nearest(limits::BUCKET_MAX.saturating_mul(2));
        let mut copies = 0;
        let farthest = nearest.get(limits::BUCKET_MAX.saturating_sub(1));
        if self.is_nearer_than(farthest, &lookup.target())
            && self.keep_record(unpublished.record(), unpublished.age_s(), now, rows).is_ok()
        {
            copies = 1;
        }
        let publication = Publication {
            unpublished,
            left: nearest.into(),
            awaited: BTreeMap::new(),
            copies,
            requests: lookup.requests(),
        };
        let number = self.operations.number();
        self.operations.publications.insert(number, publication);
        self.operations.touched.insert(number);
    }

    /// Asks further nodes while too few have accepted or may still accept in time.
    pub(super) fn advance_publication(&mut self, number: u64, now: Instant) {
        let Some(mut publication) = self.operations.publications.remove(&number) else { return };
        while publication.copies.saturating_add(publication.in_time()) < limits::BUCKET_MAX
            && let Some(contact) = publication.left.pop_front()
        {
            let unpublished = &publication.unpublished;
            let (record, age_s) = (unpublished.record().clone(), unpublished.age_s());
            if self.ask(&contact, Purpose::Store(number), Routing::Store { record, age_s }, now) {
                publication.awaited.insert(contact.node, false);
                publication.requests = publication.requests.saturating_add(1);
            }
        }
        // A late node will get the record, and the next publication comes within the hour.
        let enough = if publication.in_time() == 0 { ENOUGH } else { limits::BUCKET_MAX };
        if publication.copies >= enough || publication.awaited.is_empty() {
            let ticket = publication.unpublished.ticket();
            return self.published(ticket, publication.copies, publication.requests);
        }
        self.operations.publications.insert(number, publication);
    }

    pub(crate) fn publication_answered(
        &mut self,
        number: u64,
        from: NodeId,
        answer: Result<(), (Code, Vec<u8>)>,
        now: Instant,
        rows: &dyn Rows,
    ) {
        self.operations.touched.insert(number);
        let Some(publication) = self.operations.publications.get_mut(&number) else { return };
        publication.awaited.remove(&from);
        match answer {
            Ok(()) => publication.copies = publication.copies.saturating_add(1),
            // The node stores a better record: that one must be published, if it is valid.
            Err((Code::Stale, newer)) => {
                let (ticket, copies) = (publication.unpublished.ticket(), publication.copies);
                let better = Record::decode(&newer).ok();
                let better = better.filter(|better| self.beats(better, number));
                let Some(better) = better else { return };
                self.operations.publications.remove(&number);
                self.published(ticket, copies, 0);
                self.publish(better, 0, None, now, rows);
            }
            Err(_) => {}
        }
    }

    fn beats(&self, better: &Record, number: u64) -> bool {
        let verifier = &self.config.verifier;
        let Some(publication) = self.operations.publications.get(&number) else { return false };
        let ours = publication.unpublished.record();
        match (Verified::verify(better, verifier), Verified::verify(ours, verifier)) {
            (Ok(better), Ok(ours)) => better.key() == ours.key() && better.compare(&ours).is_gt(),
            _ => false,
        }
    }

    /// Marks a node as late: another one is asked as well, and the late answer still counts.
    pub(crate) fn publication_late(&mut self, number: u64, node: &NodeId) {
        self.operations.touched.insert(number);
        let publication = self.operations.publications.get_mut(&number);
        if let Some(late) = publication.and_then(|publication| publication.awaited.get_mut(node)) {
            *late = true;
        }
    }

    /// Handles a node that does not answer.
    pub(crate) fn publication_lost(&mut self, number: u64, node: &NodeId) {
        self.operations.touched.insert(number);
        if let Some(publication) = self.operations.publications.get_mut(&number) {
            publication.awaited.remove(node);
        }
    }

    fn published(&mut self, ticket: Option<u64>, copies: usize, requests: u32) {
        if let Some(ticket) = ticket {
            self.emit(RouterEvent::Published { ticket, copies, requests });
        }
    }
}

impl Publication {
    /// Returns how many may still answer in time.
    fn in_time(&self) -> usize {
        self.awaited.values().filter(|late| !**late).count()
    }
}

/// Copies that are enough if all pending nodes are late.
const ENOUGH: usize = limits::BUCKET_MAX * 3 / 4;
/// Publications in progress.
pub(super) const PUBLICATIONS_MAX: usize = 16;
/// Publications that wait: a second's worth of a home with many accounts.
pub(super) const WAITING_MAX: usize = 256;
