//! Publications: a record goes to the nodes nearest to its key, and is published when enough of
//! them say that they keep it.

use std::collections::{BTreeMap, VecDeque};

use proto::{Code, Contact, Instant, NodeId, Record, Routing, Rows, limits};

use super::{PUBLICATIONS_MAX, Purpose, Router, Then, WAITING_MAX, Waiting};
use crate::{RouterEvent, lookup::Lookup, record::Verified};

/// A publication under way.
#[derive(Debug)]
pub(super) struct Publication {
    record: Record,
    age_s: u32,
    ticket: Option<u64>,
    /// Whom to ask next, nearest first.
    left: VecDeque<Contact>,
    /// Who was asked and may yet answer, and whether that takes long.
    awaited: BTreeMap<NodeId, bool>,
    copies: usize,
    requests: u32,
}

impl Router {
    /// Publishes a record as soon as there is room.
    pub(in super::super) fn publish(
        &mut self,
        record: Record,
        age_s: u32,
        ticket: Option<u64>,
        now: Instant,
        rows: &dyn Rows,
    ) {
        if self.errands.waiting.len() >= WAITING_MAX {
            return self.published(ticket, 0, 0);
        }
        self.errands.waiting.push_back(Waiting { record, age_s, ticket });
        self.start_waiting(now, rows);
    }

    /// Starts what waits, as far as there is room.
    pub(super) fn start_waiting(&mut self, now: Instant, rows: &dyn Rows) {
        while self.under_way() < PUBLICATIONS_MAX
            && let Some(waiting) = self.errands.waiting.pop_front()
        {
            let Waiting { record, age_s, ticket } = waiting;
            let Ok(verified) = Verified::verify(&record, &self.config.verifier) else {
                self.published(ticket, 0, 0);
                continue;
            };
            let then = Then::Publish { record, age_s, ticket };
            self.look_up(verified.key(), false, then, now, rows);
        }
    }

    fn under_way(&self) -> usize {
        let lookups = self.errands.lookups.values();
        let lookups = lookups.filter(|running| matches!(running.then, Then::Publish { .. }));
        lookups.count().saturating_add(self.errands.publications.len())
    }

    /// The nearest nodes are known.
    pub(super) fn start_publication(
        &mut self,
        lookup: &Lookup,
        (record, age_s): (Record, u32),
        ticket: Option<u64>,
        now: Instant,
        rows: &dyn Rows,
    ) {
        let nearest = lookup.nearest(limits::BUCKET_MAX.saturating_mul(2));
        let mut copies = 0;
        let farthest = nearest.get(limits::BUCKET_MAX.saturating_sub(1));
        if self.is_nearer_than(farthest, &lookup.target)
            && self.keep_record(&record, age_s, now, rows).is_ok()
        {
            copies = 1;
        }
        let publication = Publication {
            record,
            age_s,
            ticket,
            left: nearest.into(),
            awaited: BTreeMap::new(),
            copies,
            requests: lookup.requests(),
        };
        let number = self.errands.number();
        self.errands.publications.insert(number, publication);
        self.errands.touched.insert(number);
    }

    /// Asks further nodes, as long as those that keep the record or may yet say so are too few.
    pub(super) fn advance_publication(&mut self, number: u64, now: Instant) {
        let Some(mut publication) = self.errands.publications.remove(&number) else { return };
        while publication.copies.saturating_add(publication.in_time()) < limits::BUCKET_MAX
            && let Some(contact) = publication.left.pop_front()
        {
            let (record, age_s) = (publication.record.clone(), publication.age_s);
            if self.ask(&contact, Purpose::Store(number), Routing::Store { record, age_s }, now) {
                publication.awaited.insert(contact.node, false);
                publication.requests = publication.requests.saturating_add(1);
            }
        }
        // Late nodes have the record in flight, and the next publication comes within the hour.
        let enough = if publication.in_time() == 0 { ENOUGH } else { limits::BUCKET_MAX };
        if publication.copies >= enough || publication.awaited.is_empty() {
            return self.published(publication.ticket, publication.copies, publication.requests);
        }
        self.errands.publications.insert(number, publication);
    }

    pub(in super::super) fn publication_answered(
        &mut self,
        number: u64,
        from: NodeId,
        answer: Result<(), (Code, Vec<u8>)>,
        now: Instant,
        rows: &dyn Rows,
    ) {
        self.errands.touched.insert(number);
        let Some(publication) = self.errands.publications.get_mut(&number) else { return };
        publication.awaited.remove(&from);
        match answer {
            Ok(()) => publication.copies = publication.copies.saturating_add(1),
            // A node stores a better one: that is to be published, if it verifies.
            Err((Code::Stale, newer)) => {
                let (ticket, copies) = (publication.ticket, publication.copies);
                let better = Record::decode(&newer).ok();
                let better = better.filter(|better| self.beats(better, number));
                let Some(better) = better else { return };
                self.errands.publications.remove(&number);
                self.published(ticket, copies, 0);
                self.publish(better, 0, None, now, rows);
            }
            Err(_) => {}
        }
    }

    fn beats(&self, better: &Record, number: u64) -> bool {
        let verifier = &self.config.verifier;
        let Some(publication) = self.errands.publications.get(&number) else { return false };
        match (Verified::verify(better, verifier), Verified::verify(&publication.record, verifier))
        {
            (Ok(better), Ok(ours)) => better.key() == ours.key() && better.compare(&ours).is_gt(),
            _ => false,
        }
    }

    /// A node is late; another one is asked as well, and the late answer still counts.
    pub(in super::super) fn publication_late(&mut self, number: u64, node: &NodeId) {
        self.errands.touched.insert(number);
        let publication = self.errands.publications.get_mut(&number);
        if let Some(late) = publication.and_then(|publication| publication.awaited.get_mut(node)) {
            *late = true;
        }
    }

    /// A node does not answer.
    pub(in super::super) fn publication_lost(&mut self, number: u64, node: &NodeId) {
        self.errands.touched.insert(number);
        if let Some(publication) = self.errands.publications.get_mut(&number) {
            publication.awaited.remove(node);
        }
    }

    fn published(&mut self, ticket: Option<u64>, copies: usize, requests: u32) {
        if let Some(ticket) = ticket {
            self.event(RouterEvent::Published { ticket, copies, requests });
        }
    }
}

impl Publication {
    /// How many may yet answer in time.
    fn in_time(&self) -> usize {
        self.awaited.values().filter(|late| !**late).count()
    }
}

/// Copies with which a publication is over if all that are left are late.
const ENOUGH: usize = limits::BUCKET_MAX * 3 / 4;
