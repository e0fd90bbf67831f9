//! One lookup: it asks nodes ever closer to a key, on disjoint paths (S/Kademlia, section 4.4). It
//! names the next node to ask and takes the outcome. Specified in `spec/routing.md`, section 6.

use std::{cmp::Ordering, collections::BTreeMap, time::Duration};

use proto::{Contact, Hop, HopOutcome, Instant, Key, Network, NodeId, limits};

use crate::{
    record::{NodeRecord, Verified},
    space::Distance,
    table::Networks,
};

/// A lookup in progress.
#[derive(Debug)]
pub(crate) struct Lookup {
    target: Key,
    /// Whether it looks for the record of the target, or for the nodes nearest to it.
    record: bool,
    rules: LookupRules,
    candidates: BTreeMap<Distance, Candidate>,
    best: Option<Verified>,
    /// The nodes that answered with the best record, and their paths.
    holders: Vec<(NodeId, u32)>,
    /// The nodes that answered with an older record.
    losers: Vec<Contact>,
    hops: Vec<Hop>,
    requests: u32,
    /// How many sequential requests led to the record, or to the nearest nodes.
    rounds: u32,
}

/// The rules of lookups; the same everywhere except where the defences themselves are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookupRules {
    /// Disjoint paths (d of S/Kademlia).
    paths: u32,
    /// Pending requests (α of Kademlia), over all paths.
    parallel: u32,
    by_network: bool,
    work_bits: u32,
}

impl LookupRules {
    pub(crate) fn new(paths: u32, parallel: u32, by_network: bool, work_bits: u32) -> Self {
        Self { paths, parallel, by_network, work_bits }
    }
}

#[derive(Debug)]
struct Candidate {
    contact: Contact,
    path: u32,
    /// The paths that have named it, a bit each.
    named: u32,
    round: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Asked(Instant),
    /// Asked, and the path no longer waits for it.
    Late(Instant),
    Answered {
        had_record: bool,
    },
    Failed,
}

impl Lookup {
    /// Starts from contacts, which are dealt out among the paths.
    pub(crate) fn new(
        target: Key,
        record: bool,
        rules: LookupRules,
        nearest: Vec<Contact>,
    ) -> Self {
        let mut lookup = Self {
            target,
            record,
            rules,
            candidates: BTreeMap::new(),
            best: None,
            holders: Vec::new(),
            losers: Vec::new(),
            hops: Vec::new(),
            requests: 0,
            rounds: 0,
        };
        for (contact, path) in nearest.into_iter().zip((0..rules.paths.max(1)).cycle()) {
            lookup.consider(contact, path, 1);
        }
        lookup
    }

    /// Returns the key that is looked up.
    pub(crate) fn target(&self) -> Key {
        self.target
    }

    /// Returns whether it looks for the record of the target.
    pub(crate) fn wants_record(&self) -> bool {
        self.record
    }

    /// Starts with a record that this node has.
    pub(crate) fn knows(&mut self, record: Verified) {
        self.best = Some(record);
    }

    /// Returns the next node to ask. Call until there is none.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Contact> {
        if self.is_done()
            || usize::try_from(self.requests).unwrap_or(usize::MAX) >= limits::HOPS_MAX
        {
            return None;
        }
        for path in 0..self.rules.paths {
            if self.under_way(path) >= self.per_path() || self.is_path_done(path) {
                continue;
            }
            let of_path = self.candidates.values_mut().filter(|c| c.path == path);
            let fresh = of_path.filter(|c| c.state == State::Fresh).take(1).next();
            if let Some(candidate) = fresh {
                candidate.state = State::Asked(now);
                self.requests = self.requests.saturating_add(1);
                return Some(candidate.contact.clone());
            }
        }
        None
    }

    /// Handles an answer. Returns whether its record is the first or a better one.
    pub(crate) fn answered(
        &mut self,
        node: &NodeId,
        record: Answer,
        contacts: Vec<Contact>,
        now: Instant,
    ) -> bool {
        let Some(candidate) = self.find(node) else { return false };
        let (State::Asked(asked) | State::Late(asked)) = candidate.state else { return false };
        let had_record = matches!(record, Answer::Record(_));
        candidate.state = State::Answered { had_record };
        let (path, round) = (candidate.path, candidate.round);
        let contact = candidate.contact.clone();
        let (outcome, is_better) = self.weigh(&contact, record, path, round);
        self.note(&contact, path, round, outcome, now.since(asked));
        for contact in contacts {
            self.consider(contact, path, round.saturating_add(1));
        }
        is_better
    }

    /// Handles a node that will not answer.
    pub(crate) fn failed(&mut self, node: &NodeId, now: Instant) {
        let Some(candidate) = self.find(node) else { return };
        let (State::Asked(asked) | State::Late(asked)) = candidate.state else { return };
        candidate.state = State::Failed;
        let (path, round, contact) = (candidate.path, candidate.round, candidate.contact.clone());
        self.note(&contact, path, round, HopOutcome::Silent, now.since(asked));
    }

    /// Handles a node that takes longer than nearly all; its path continues without it.
    pub(crate) fn late(&mut self, node: &NodeId) {
        if let Some(candidate) = self.find(node)
            && let State::Asked(asked) = candidate.state
        {
            candidate.state = State::Late(asked);
        }
    }

    /// Returns whether it has ended. A record is believed when enough nodes have answered with it,
    /// not all on one path, which one attacker could control. Otherwise it ends when no node is
    /// left that could know more.
    pub(crate) fn is_done(&self) -> bool {
        let first = self.holders.first().map(|(_, path)| path);
        let one_path = self.holders.iter().all(|(_, path)| Some(path) == first);
        let believed =
            self.record && self.holders.len() >= HOLDERS && (!one_path || self.rules.paths < 2);
        let exhausted = usize::try_from(self.requests).unwrap_or(usize::MAX) >= limits::HOPS_MAX
            && !self.candidates.values().any(|c| matches!(c.state, State::Asked(_)));
        believed || exhausted || (0..self.rules.paths).all(|path| self.is_path_done(path))
    }

    /// Returns the best record of all answers.
    pub(crate) fn best(&self) -> Option<&Verified> {
        self.best.as_ref()
    }

    /// Returns the nodes that answered with an older record than the best.
    pub(crate) fn losers(&self) -> &[Contact] {
        &self.losers
    }

    /// Returns the nearest node that answered without a record, and how many that answered are
    /// nearer; `None` if the first request found the record.
    pub(crate) fn to_cache_at(&self) -> Option<(Contact, u32)> {
        if self.rounds < 2 {
            return None;
        }
        let answered =
            self.candidates.values().filter(|c| matches!(c.state, State::Answered { .. }));
        let lacks = |c: &Candidate| c.state == State::Answered { had_record: false };
        let (nearer, candidate) = (0..).zip(answered).find(|(_, c)| lacks(c))?;
        Some((candidate.contact.clone(), nearer))
    }

    /// Returns the nearest nodes: first those that answered or that two paths have named, then the
    /// others, at most one of each network.
    pub(crate) fn nearest(&self, count: usize) -> Vec<Contact> {
        let usable = || {
            self.candidates.values().filter(|c| !matches!(c.state, State::Failed | State::Late(_)))
        };
        let sure =
            |c: &&Candidate| matches!(c.state, State::Answered { .. }) || c.named.count_ones() >= 2;
        let most = if self.rules.by_network { 1 } else { usize::MAX };
        let mut networks = Networks::new(most);
        let sorted = usable().filter(sure).chain(usable().filter(|c| !sure(c)));
        let fits =
            |c: &&Candidate| networks.admit(c.contact.addresses.iter().filter_map(Network::of));
        sorted.filter(fits).take(count).map(|c| c.contact.clone()).collect()
    }

    /// Returns the nodes that answered.
    pub(crate) fn answerers(&self) -> impl Iterator<Item = &NodeId> {
        let answered = |c: &&Candidate| matches!(c.state, State::Answered { .. });
        self.candidates.values().filter(answered).map(|c| &c.contact.node)
    }

    /// Returns the requests so far, in detail.
    pub(crate) fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// Returns the number of requests so far.
    pub(crate) fn requests(&self) -> u32 {
        self.requests
    }

    /// Returns how many sequential requests led to the record or to the nearest nodes.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Returns roughly how much memory this takes.
    pub(crate) fn state_bytes(&self) -> usize {
        let each = size_of::<(Distance, Candidate)>().saturating_add(32);
        let hops = self.hops.len().saturating_mul(size_of::<Hop>());
        self.candidates.len().saturating_mul(each).saturating_add(hops)
    }

    fn per_path(&self) -> usize {
        let paths = self.rules.paths.max(1);
        usize::try_from(self.rules.parallel.div_ceil(paths)).unwrap_or(1)
    }

    fn under_way(&self, path: u32) -> usize {
        let asked = |c: &&Candidate| c.path == path && matches!(c.state, State::Asked(_));
        self.candidates.values().filter(asked).count()
    }

    /// Returns whether enough of a path's nearest nodes have answered: while a record is sought and
    /// none is found, as many as keep one.
    fn is_path_done(&self, path: u32) -> bool {
        let enough = if self.record && self.best.is_none() {
            limits::BUCKET_MAX.div_ceil(usize::try_from(self.rules.paths).unwrap_or(1).max(1))
        } else if self.rules.paths > 1 {
            SETTLED
        } else {
            limits::BUCKET_MAX
        };
        let of_path = || self.candidates.values().filter(|c| c.path == path);
        let answered = |c: &Candidate| matches!(c.state, State::Answered { .. });
        let late = |c: &Candidate| matches!(c.state, State::Late(_));
        // Without any answer on the path, even a late node is waited for.
        if of_path().any(late) && !of_path().any(answered) {
            return false;
        }
        let hopeful = of_path().filter(|c| c.state != State::Failed && !late(c));
        hopeful.take(enough).all(answered)
    }

    fn find(&mut self, node: &NodeId) -> Option<&mut Candidate> {
        self.candidates.values_mut().find(|c| c.contact.node == *node)
    }

    /// Adds a contact that was named on a path.
    fn consider(&mut self, contact: Contact, path: u32, round: u32) {
        let Some(key) = NodeRecord::key_of(&contact, self.rules.work_bits) else { return };
        if contact.addresses.is_empty() {
            return;
        }
        let distance = Distance::between(&key, &self.target);
        let named = 1_u32.checked_shl(path).unwrap_or(0);
        if let Some(known) = self.candidates.get_mut(&distance) {
            known.named |= named;
            return;
        }
        // A second nonce of the same node gains nothing.
        if self.find(&contact.node).is_some() {
            return;
        }
        let state = State::Fresh;
        self.candidates.insert(distance, Candidate { contact, path, named, round, state });
        self.prune(path);
    }

    /// Drops the farthest contact of a path that has too many.
    fn prune(&mut self, path: u32) {
        let fresh = |c: &Candidate| c.path == path && c.state == State::Fresh;
        let count = self.candidates.values().filter(|c| fresh(c)).count();
        if count > FRESH_MAX
            && let Some(farthest) =
                self.candidates.iter().rev().find(|(_, c)| fresh(c)).map(|(d, _)| *d)
        {
            self.candidates.remove(&farthest);
        }
    }

    /// Compares an answer with the best one so far.
    fn weigh(
        &mut self,
        contact: &Contact,
        answer: Answer,
        path: u32,
        round: u32,
    ) -> (HopOutcome, bool) {
        let record = match answer {
            Answer::Nothing => {
                if self.best.is_none() || !self.record {
                    self.rounds = self.rounds.max(round);
                }
                return (HopOutcome::Contacts, false);
            }
            Answer::Invalid => return (HopOutcome::Nonsense, false),
            Answer::Record(record) => *record,
        };
        let standing = self.best.as_ref().map_or(Ordering::Greater, |best| record.compare(best));
        match standing {
            Ordering::Equal => {
                self.holders.push((contact.node, path));
                (HopOutcome::Record, false)
            }
            Ordering::Greater => {
                // The nodes that answered before have an older one.
                let before = std::mem::take(&mut self.holders);
                let held = |c: &&Candidate| before.iter().any(|(node, _)| *node == c.contact.node);
                let older = self.candidates.values().filter(held);
                self.losers.extend(older.map(|c| c.contact.clone()));
                self.holders.push((contact.node, path));
                self.best = Some(record);
                self.rounds = round;
                (HopOutcome::Record, true)
            }
            Ordering::Less => {
                self.losers.push(contact.clone());
                (HopOutcome::Stale, false)
            }
        }
    }

    fn note(
        &mut self,
        contact: &Contact,
        path: u32,
        round: u32,
        outcome: HopOutcome,
        took: Duration,
    ) {
        if self.hops.len() >= limits::HOPS_MAX {
            return;
        }
        let key = NodeRecord::key_of(contact, 0).unwrap_or_default();
        self.hops.push(Hop {
            node: contact.node,
            address: contact.addresses.first().copied(),
            path,
            round,
            outcome,
            micros: u32::try_from(took.as_micros()).unwrap_or(u32::MAX),
            depth: key.shared_bits(&self.target),
        });
    }
}

/// A node's answer.
#[derive(Debug)]
pub(crate) enum Answer {
    Nothing,
    Record(Box<Verified>),
    /// A record that does not verify, or was not asked for.
    Invalid,
}

/// Nodes that must answer with a record before it is believed to be the newest.
const HOLDERS: usize = 3;
/// Nearest nodes of a path that must have answered.
const SETTLED: usize = 3;
/// Contacts of one path that were not asked yet.
const FRESH_MAX: usize = 20;

#[cfg(test)]
mod tests;
