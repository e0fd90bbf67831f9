//! Deliberate bugs in the product, to see the checks fire.

use std::collections::BTreeMap;

use crypto::{SigningKey, node::sign_ack};
use proto::{
    Body, Direction, EnvelopeId, Frame, Input, LogId, NodeId, Output, Peer, PublicKey, Rows, Table,
    Visit,
};

/// Something broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Drivers of nodes let answers out before what precedes them is durable.
    AcceptBeforeCommit,
    /// Nodes don't recognise what they have stored already.
    NoDuplicateCheck,
    /// Devices show messages in the order in which they arrived.
    TimelineByArrival,
    /// Devices believe the node that takes an entry that the others of the ranking have it too.
    TrustCoordinator,
}

/// The rows of a node as one sees them that has forgotten what it stored: looking for an envelope
/// by its position and id finds none, while reading in that order still works.
pub(crate) struct Forgetful<'a>(pub(crate) &'a dyn Rows);

impl Rows for Forgetful<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        if table == POSITIONS { None } else { self.0.get(table, key) }
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        self.0.scan(table, from, to, direction, visit);
    }
}

/// A node whose word is taken for that of all others: with each acceptance devices get the acks
/// of the rest of the ranking, whether true or not.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    keys: BTreeMap<NodeId, SigningKey>,
    /// What each channel is open for.
    channels: BTreeMap<(Peer, u32), Opened>,
    /// What was appended and is not answered, by its request.
    appended: BTreeMap<(Peer, u32), (u32, EnvelopeId)>,
    /// Of the copies of others.
    incarnations: BTreeMap<(NodeId, LogId), u64>,
}

#[derive(Debug)]
struct Opened {
    log: LogId,
    key: PublicKey,
    others: Vec<NodeId>,
}

impl Coordinator {
    /// One that has the keys of these other nodes.
    pub(crate) fn new(keys: impl Iterator<Item = SigningKey>) -> Self {
        let keys = keys.map(|key| (NodeId(key.public().0), key)).collect();
        Self { keys, ..Self::default() }
    }

    /// Listens to what a device asks of the node.
    pub(crate) fn hear<C>(&mut self, input: &Input<C>) {
        if let Input::Disconnected(peer) = input {
            self.channels.retain(|(of, _), _| of != peer);
            self.appended.retain(|(of, _), _| of != peer);
        }
        let Input::Frame(peer, Frame { request, body }) = input else { return };
        if let Body::Replicate(replicate) = body {
            let incarnation = replicate.head.incarnation;
            self.incarnations.insert((NodeId(peer.0), replicate.log), incarnation);
        }
        if let Body::Open(open) = body {
            let ranking = open.ranking.iter().flat_map(|ranking| &ranking.nodes);
            let others = ranking.map(|address| address.node).collect();
            let opened = Opened { log: open.log, key: open.key, others };
            self.channels.insert((*peer, open.channel), opened);
        }
        if let Body::Append { channel, entry, signature } = body
            && let Some(Opened { log, key, .. }) = self.channels.get(&(*peer, *channel))
        {
            let id = entry.clone().into_envelope(*log, *key, *signature).id();
            self.appended.insert((*peer, *request), (*channel, id));
        }
    }

    /// What devices are told before they are told this.
    pub(crate) fn precede<E>(&mut self, output: &Output<E>) -> Vec<Output<E>> {
        let Output::Transmit(peer, Frame { request, body: Body::Accepted { .. } }) = output else {
            return Vec::new();
        };
        let Some((channel, id)) = self.appended.remove(&(*peer, *request)) else {
            return Vec::new();
        };
        let Some(Opened { log, others, .. }) = self.channels.get(&(*peer, channel)) else {
            return Vec::new();
        };
        let acks = others.iter().filter_map(|node| {
            let incarnation = *self.incarnations.get(&(*node, *log))?;
            Some((node, sign_ack(self.keys.get(node)?, log, &id, incarnation)))
        });
        let acks = acks.map(|(node, ack)| Body::NodeAck {
            channel,
            reference: id.reference(),
            node: Some(*node),
            ack,
        });
        acks.map(|body| Output::Transmit(*peer, Frame::new(body))).collect()
    }
}

/// Where a node keeps which envelopes a log has: `spec/logs.md`, section 10.
const POSITIONS: Table = Table(5);
