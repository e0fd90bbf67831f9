//! The node and its router: what each tells the other, and what the node does for the router.

use proto::{Body, Code, Frame, Instant, Key, Output, Peer, Query, Reached, Rows, Transaction};
use routing::{LookedUp, RouterCommand, RouterEvent};

use super::{Durability, Node};
use crate::{
    Registration,
    account::{self, Refusal},
    command::{NodeCommand, NodeEvent},
    counters::Dropped,
    replica::copies_behind,
    routes::{Requester, Routes},
    session::{Asker, Question},
    status::{NodePeer, Status},
};

impl Node {
    /// Does what the router wants before the first input.
    pub(super) fn begin(&mut self, rows: &dyn Rows, now: Instant) {
        let mut tx = Transaction::new(rows);
        self.carry_out(&mut tx, now);
        self.finish_step(tx, Durability::Needed, now);
    }

    /// Does what the application asks.
    pub(super) fn on_command(
        &mut self,
        command: NodeCommand,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        match command {
            NodeCommand::DiskUsed(bytes) => {
                self.quota.report_disk(bytes);
                let left = self.config.disk_cap_bytes.saturating_sub(self.quota.used());
                if let Some(routes) = &mut self.routes {
                    routes.capacity(left, now, tx);
                }
            }
            NodeCommand::Join(address) => {
                self.tell_router(RouterCommand::Join(address), tx, now);
            }
            NodeCommand::Addresses(addresses) => {
                self.tell_router(RouterCommand::Addresses(addresses), tx, now);
            }
            NodeCommand::Leave => match &mut self.routes {
                Some(routes) => routes.command(RouterCommand::Leave, now, tx),
                None => self.emit(NodeEvent::Left),
            },
            NodeCommand::Lookup { ticket, target, insist } => {
                self.look_up(ticket, target, insist, tx, now);
            }
            NodeCommand::Sample(ticket) => self.sample(ticket, tx, now),
            NodeCommand::Status(ticket) => {
                let status = Box::new(self.status(tx));
                self.emit(NodeEvent::Status { ticket, status });
            }
            NodeCommand::Drain(ticket) => {
                self.config.registration = Registration::Closed;
                self.drain(ticket, now);
            }
            NodeCommand::Peers(ticket) => {
                let peers = self.routes.as_ref().map(peers).unwrap_or_default();
                self.emit(NodeEvent::Peers { ticket, peers });
            }
        }
        self.carry_out(tx, now);
    }

    /// Takes a routing frame from a peer that has said Hello.
    pub(super) fn on_routing(
        &mut self,
        Question { peer, request }: Question,
        body: Body,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let routes = self.routes.as_mut().ok_or(Code::Unexpected)?;
        // The router limits what nodes ask; what other peers may ask is limited here.
        let introduces = matches!(body, Body::Routing(proto::Routing::Introduce(_)));
        if introduces || !routes.is_node(&peer) {
            self.sessions.admit_question(peer, now.as_secs())?;
        }
        if introduces {
            routes.introduces(peer, self.sessions.met_at(peer), now, tx);
        }
        routes.on_frame(peer, Frame { request, body }, now, tx);
        self.carry_out(tx, now);
        Ok(())
    }

    /// Takes an `Accepted` or `Refused` that answers the router; returns whether it does. The
    /// frames by which devices accept what was delivered on a channel have no request.
    pub(super) fn on_routing_answer(
        &mut self,
        peer: Peer,
        frame: &Frame,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> bool {
        let Some(routes) = self.routes.as_mut() else { return false };
        let answers = matches!(frame.body, Body::Accepted { .. } | Body::Refused { .. });
        if !answers || frame.request == 0 || !routes.is_node(&peer) {
            return false;
        }
        routes.on_frame(peer, frame.clone(), now, tx);
        self.carry_out(tx, now);
        true
    }

    /// Both sides of a connection have said Hello.
    pub(super) fn on_routing_greeted(
        &mut self,
        peer: Peer,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        if let Some(routes) = &mut self.routes {
            routes.greeted(peer, self.sessions.met_at(peer), now, tx);
            self.carry_out(tx, now);
        }
    }

    /// A connection is gone.
    pub(super) fn on_routing_disconnected(
        &mut self,
        peer: Peer,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        if let Some(routes) = &mut self.routes {
            routes.disconnected(peer, now, tx);
            self.carry_out(tx, now);
        }
    }

    pub(super) fn on_routing_timeout(&mut self, tx: &mut Transaction<'_>, now: Instant) {
        if let Some(routes) = &mut self.routes {
            routes.timeout(now, tx);
            routes.publish_due(self.quota.accounts(), now, tx);
            self.carry_out(tx, now);
        }
    }

    /// Publishes a bundle that is new or was changed.
    pub(super) fn publish(&mut self, bundle: &[u8], tx: &mut Transaction<'_>, now: Instant) {
        if let Some(routes) = &mut self.routes {
            routes.publish(bundle.to_vec(), now, tx);
            self.carry_out(tx, now);
        }
    }

    /// Hands the driver's answer to the router.
    pub(super) fn on_reached(&mut self, reached: Reached, tx: &mut Transaction<'_>, now: Instant) {
        if let Some(routes) = &mut self.routes {
            routes.on_reached(reached, now, tx);
            self.carry_out(tx, now);
        }
    }

    /// Does what the router wants, until it wants nothing more.
    pub(super) fn carry_out(&mut self, tx: &mut Transaction<'_>, now: Instant) {
        while let Some(output) = self.routes.as_mut().and_then(Routes::poll_output) {
            match output {
                // Notes wait for nothing, so they stay apart from the commit.
                Output::Note(batch) => self.replies.push_back(Output::Note(batch)),
                Output::Commit(batch) => {
                    for (table, key, value) in batch.iter() {
                        match value {
                            Some(value) => tx.put(table, key, value),
                            None => tx.delete(table, key),
                        }
                    }
                }
                Output::Transmit(peer, frame) => self.transmit_for(Asker::Router, peer, frame),
                Output::Connect(peer, addresses) => {
                    self.replies.push_back(Output::Connect(peer, addresses));
                    // The peer may have dialled this node already.
                    if let (Ok(()), Some(routes)) =
                        (self.sessions.check_greeted(peer), &mut self.routes)
                    {
                        routes.greeted(peer, self.sessions.met_at(peer), now, tx);
                    }
                }
                Output::Disconnect(peer) => {
                    // The connection has ended for the router even if other parts keep it.
                    if let Some(routes) = &mut self.routes {
                        routes.disconnected(peer, now, tx);
                    }
                    if !self.sessions.has_channels(peer) && !self.replicas.wants(&peer) {
                        self.hang_up(peer, tx, now);
                    }
                }
                Output::Reach(reach) => self.replies.push_back(Output::Reach(reach)),
                Output::Event(event) => self.on_router_event(event, tx, now),
            }
        }
    }

    fn on_router_event(&mut self, event: RouterEvent, tx: &Transaction<'_>, now: Instant) {
        match event {
            RouterEvent::Joined => {
                if let Some(routes) = &mut self.routes {
                    routes.joined(now);
                }
                self.emit(NodeEvent::Joined);
            }
            RouterEvent::LookedUp { ticket, result } => self.on_looked_up(ticket, result),
            RouterEvent::Sampled { ticket, nodes } => {
                let requester = self.routes.as_mut().and_then(|routes| routes.answered(ticket));
                if let Some(Requester::Application(ticket)) = requester {
                    self.emit(NodeEvent::Sampled { ticket, nodes });
                }
            }
            RouterEvent::Asked(query) => self.on_query(query, tx, now),
            RouterEvent::Unreachable => self.emit(NodeEvent::Unreachable),
            RouterEvent::Addresses(addresses) => self.emit(NodeEvent::Addresses(addresses)),
            RouterEvent::Dead(node) => self.emit(NodeEvent::Dead(node)),
            RouterEvent::Left => self.emit(NodeEvent::Left),
            // The newest record comes when the lookup ends; publications are not awaited.
            RouterEvent::Found { .. } | RouterEvent::Published { .. } => {}
        }
    }

    fn on_looked_up(&mut self, ticket: u64, result: LookedUp) {
        let Some(routes) = &mut self.routes else { return };
        match routes.answered(ticket) {
            Some(Requester::Application(ticket)) => {
                let result = Box::new(result);
                self.emit(NodeEvent::LookedUp { ticket, result });
            }
            Some(Requester::Devices(account)) => {
                for (peer, frame) in routes.answer_devices(account, result) {
                    if let Body::Refused { code, .. } = frame.body {
                        self.counting.refused(code);
                    }
                    self.transmit(peer, frame);
                }
            }
            None => self.counting.dropped(Dropped::Unasked),
        }
    }

    fn on_query(&mut self, query: Query, tx: &Transaction<'_>, now: Instant) {
        if let (Ok(bundle), Some(routes)) = (account::bundle(tx, query.account), &mut self.routes) {
            routes.command(RouterCommand::Answer { query, bundle }, now, tx);
        }
    }

    fn look_up(
        &mut self,
        ticket: u64,
        target: Key,
        insist: bool,
        tx: &Transaction<'_>,
        now: Instant,
    ) {
        let Some(routes) = &mut self.routes else {
            let result = Box::default();
            return self.emit(NodeEvent::LookedUp { ticket, result });
        };
        let ticket = routes.ticket(Requester::Application(ticket));
        routes.command(RouterCommand::Lookup { ticket, target, insist }, now, tx);
    }

    fn sample(&mut self, ticket: u64, tx: &Transaction<'_>, now: Instant) {
        let Some(routes) = &mut self.routes else {
            let nodes = Vec::new();
            return self.emit(NodeEvent::Sampled { ticket, nodes });
        };
        let ticket = routes.ticket(Requester::Application(ticket));
        routes.command(RouterCommand::Sample { ticket }, now, tx);
    }

    fn tell_router(&mut self, command: RouterCommand, tx: &Transaction<'_>, now: Instant) {
        if let Some(routes) = &mut self.routes {
            routes.command(command, now, tx);
        }
    }

    fn status(&self, rows: &dyn Rows) -> Status {
        let mut status = Status {
            node: self.config.node,
            connections: self.sessions.len() as u64,
            accounts: self.quota.accounts(),
            logs: self.logs.count(),
            copies_behind: copies_behind(rows),
            copies_lacking: self.copies.lacking(),
            nodes_gone: self.replicas.unreachable_count(),
            disk_used_bytes: self.quota.used(),
            disk_cap_bytes: self.config.disk_cap_bytes,
            gauges: self.gauges(),
            counters: self.counting.counters.clone(),
            ..Status::default()
        };
        if let Some(Routes { router, .. }) = &self.routes {
            let (contacts, records, neighbours) = router.sizes();
            let says = router.record().says();
            status.addresses.clone_from(&says.addresses);
            status.since_s = says.since_s;
            status.reachable = router.is_reachable();
            status.links = router.peers().len() as u64;
            status.contacts = contacts as u64;
            status.records = records as u64;
            status.neighbours = neighbours as u64;
            status.routing = router.counters();
        }
        status
    }
}

fn peers(routes: &Routes) -> Vec<NodePeer> {
    let peer = |record: routing::NodeRecord| {
        let neighbour = routes.router.is_neighbour(&record.node());
        NodePeer { record, neighbour }
    };
    routes.router.peers().into_iter().map(peer).collect()
}
