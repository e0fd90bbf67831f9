//! The node's part in the routing network: its router, the requests that wait for it, and the
//! hourly publication of its accounts. Specified in `spec/routing.md`, section 7, and
//! `spec/frames.md`, section 9.

mod pending_lookups;
mod republish;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use proto::{
    AccountId, Body, Code, Frame, Gauge, Input, Instant, Key, Machine, OpenError, Output, Peer,
    Reached, Record, Rows, Seed,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use routing::{LookedUp, Router, RouterCommand, RouterConfig, RouterEvent};

use self::{pending_lookups::PendingLookups, republish::Republish};
use crate::session::Question;

/// The router and what the node has asked of it.
#[derive(Debug)]
pub(crate) struct Routes {
    pub(crate) router: Router,
    rng: ChaCha20Rng,
    /// Peers of whose connection the router knows.
    told: BTreeSet<Peer>,
    tickets: BTreeMap<u64, Requester>,
    last_ticket: u64,
    lookups: PendingLookups,
    republish: Republish,
    capacity_bytes: u64,
}

/// What waits for an answer of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requester {
    /// The application, under its own ticket.
    Application(u64),
    /// Devices that want this account's bundle.
    Devices(AccountId),
}

impl Routes {
    /// Opens the router from its rows.
    pub(crate) fn open(
        config: RouterConfig,
        seed: &Seed,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<Self, OpenError> {
        // Apart from the node's generator, which draws the same numbers with and without routing.
        let mut rng = ChaCha20Rng::from_seed(seed.0);
        rng.set_stream(STREAM);
        let mut router_seed = Seed([0; 32]);
        rng.fill_bytes(&mut router_seed.0);
        let capacity_bytes = config.capacity_bytes;
        Ok(Self {
            router: Router::open(config, router_seed, now, rows)?,
            republish: Republish::new(&mut rng),
            rng,
            told: BTreeSet::new(),
            tickets: BTreeMap::new(),
            last_ticket: 0,
            lookups: PendingLookups::default(),
            capacity_bytes,
        })
    }

    pub(crate) fn gauges(&self) -> Vec<Gauge> {
        let mut gauges = self.router.gauges();
        gauges.extend(self.lookups.gauges());
        gauges
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.router.poll_timeout(), self.republish.poll_timeout()].into_iter().flatten().min()
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output<RouterEvent>> {
        self.router.poll_output()
    }

    pub(crate) fn command(&mut self, command: RouterCommand, now: Instant, rows: &dyn Rows) {
        self.router.handle(Input::Command(command), now, rows);
    }

    /// Returns a ticket under which the router will answer.
    pub(crate) fn ticket(&mut self, requester: Requester) -> u64 {
        self.last_ticket = self.last_ticket.saturating_add(1);
        self.tickets.insert(self.last_ticket, requester);
        self.last_ticket
    }

    /// Takes what waits under a ticket.
    pub(crate) fn answered(&mut self, ticket: u64) -> Option<Requester> {
        self.tickets.remove(&ticket)
    }

    /// Both sides have said Hello. The router is told if it has dialled; a node that dials
    /// introduces itself.
    pub(crate) fn greeted(
        &mut self,
        peer: Peer,
        met_at: Option<SocketAddr>,
        now: Instant,
        rows: &dyn Rows,
    ) {
        if self.router.needs(&peer) && self.told.insert(peer) {
            self.router.handle(Input::Connected(peer, met_at), now, rows);
        }
    }

    /// A peer introduces itself, which makes it a node.
    pub(crate) fn introduces(
        &mut self,
        peer: Peer,
        met_at: Option<SocketAddr>,
        now: Instant,
        rows: &dyn Rows,
    ) {
        if self.told.insert(peer) {
            self.router.handle(Input::Connected(peer, met_at), now, rows);
        }
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self, peer: Peer, now: Instant, rows: &dyn Rows) {
        self.lookups.disconnected(peer);
        // The router may be dialling again already while an old connection ends.
        if self.told.remove(&peer) {
            self.router.handle(Input::Disconnected(peer), now, rows);
        }
    }

    /// Returns whether a peer is a node that the router knows. Others are devices, or nodes that
    /// have not introduced themselves.
    pub(crate) fn is_node(&self, peer: &Peer) -> bool {
        self.router.needs(peer)
    }

    pub(crate) fn on_frame(&mut self, peer: Peer, frame: Frame, now: Instant, rows: &dyn Rows) {
        self.router.handle(Input::Frame(peer, frame), now, rows);
    }

    /// Hands the driver's answer to the router.
    pub(crate) fn on_reached(&mut self, reached: Reached, now: Instant, rows: &dyn Rows) {
        self.router.handle(Input::Reached(reached), now, rows);
    }

    pub(crate) fn timeout(&mut self, now: Instant, rows: &dyn Rows) {
        if self.router.poll_timeout().is_some_and(|due| due <= now) {
            self.router.handle(Input::Timeout, now, rows);
        }
    }

    /// Publishes the bundle of the account whose turn it is.
    pub(crate) fn publish_due(&mut self, accounts: u64, now: Instant, rows: &dyn Rows) {
        let node = self.router.record().node();
        if let Some(bundle) = self.republish.due(accounts, node, &mut self.rng, now, rows) {
            self.publish(bundle, now, rows);
        }
    }

    /// Publishes a bundle. One that has to wait too long is published within the hour.
    pub(crate) fn publish(&mut self, bundle: Vec<u8>, now: Instant, rows: &dyn Rows) {
        self.command(RouterCommand::Publish { ticket: PUBLISHED, bundle }, now, rows);
    }

    /// The network is found: accounts published before reached no node.
    pub(crate) fn joined(&mut self, now: Instant) {
        self.republish.begin(now);
    }

    /// A device asks for the bundle of an account that is not here.
    pub(crate) fn ask_bundle(
        &mut self,
        question: Question,
        account: AccountId,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<(), Code> {
        let (contacts, ..) = self.router.sizes();
        if contacts == 0 || question.request == 0 {
            return Err(Code::NotFound);
        }
        if self.lookups.ask(account, question)? {
            let ticket = self.ticket(Requester::Devices(account));
            let target = Key::from(account);
            self.command(RouterCommand::Lookup { ticket, target, insist: false }, now, rows);
        }
        Ok(())
    }

    /// Returns the answers to the devices that wait for an account's bundle.
    pub(crate) fn answer_devices(
        &mut self,
        account: AccountId,
        result: LookedUp,
    ) -> Vec<(Peer, Frame)> {
        let refused = |code| Body::Refused { code, newer: Vec::new() };
        let body = match result.record {
            Some(Record::Account(bundle)) => Body::BundleIs(bundle),
            // The router had no room for one more lookup.
            _ if result.requests == 0 => refused(Code::Busy),
            Some(Record::Node(_)) | None => refused(Code::NotFound),
        };
        let waiting = self.lookups.answered(&account).into_iter();
        let answer = |Question { peer, request }| (peer, Frame { request, body: body.clone() });
        waiting.map(answer).collect()
    }

    /// Sets how much the node may store. Other nodes are told if it is half or twice of what they
    /// know.
    pub(crate) fn capacity(&mut self, bytes: u64, now: Instant, rows: &dyn Rows) {
        if bytes < self.capacity_bytes / 2 || bytes / 2 > self.capacity_bytes {
            self.capacity_bytes = bytes;
            self.command(RouterCommand::Capacity(bytes), now, rows);
        }
    }
}

/// The node's own generator draws from stream 0 of the same seed, the batch verifier from stream 1.
const STREAM: u64 = 2;
/// The ticket of publications, which are not awaited.
const PUBLISHED: u64 = 0;
/// The most outputs of the router for one input: all requests of all its links, and each of those
/// dialled, introduced to and closed.
pub(crate) const OUTPUTS_MAX: u64 = 58 * (64 + 3);
