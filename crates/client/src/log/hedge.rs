//! Hedging: an entry that the primary accepted but too few nodes acknowledged within the response
//! timeout is also sent to the secondary home. Specified in `spec/delivery.md`, section 6.

use std::collections::BTreeSet;

use proto::{Body, Entry, Gauge, NodeId, PublicKey, limits};

use super::{Log, WriteKeys, outbox};
use crate::{
    DeliveryStatus, entries,
    link::{Channel, ChannelUse, Links, LogUse, OpenLog, back_off_time},
    rows::TimelineKey,
    step::Step,
    topics::{ConversationTimer, LogRequest, Request, Timer},
};

/// What has left the outbox and is not stored.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    keys: BTreeSet<TimelineKey>,
    /// How often in a row the secondary home was given something without success.
    tries: u32,
}

impl Awaited {
    pub(super) fn gauge(&self) -> Gauge {
        let name = "entries of a conversation that await acks";
        Gauge::new(name, self.keys.len(), AWAITED_MAX)
    }

    /// An entry is stored.
    pub(super) fn remove(&mut self, key: &TimelineKey) {
        self.keys.remove(key);
    }

    /// Something has changed for the better: pauses begin with the shortest one.
    pub(super) fn restart(&mut self) {
        self.tries = 0;
    }
}

impl Log {
    /// A node has accepted an own entry. If not enough nodes acknowledge it soon, another one is
    /// given it.
    pub(super) fn await_acks(
        &mut self,
        step: &mut Step<'_>,
        links: &Links,
        key: TimelineKey,
        node: &NodeId,
    ) {
        if entries::status(step.rows(), &self.id, key) != Some(DeliveryStatus::Sent) {
            return;
        }
        self.awaited.keys.insert(key);
        self.awaited.restart();
        while self.awaited.keys.len() > AWAITED_MAX {
            // Sent again on the next connection.
            self.awaited.keys.pop_first();
        }
        let timeout = links.response_timeout(node);
        let timer = Timer::Conversation(ConversationTimer::Hedge, self.id);
        step.arm_by(timeout, timer);
    }

    /// Too few nodes hold what the primary has accepted: the secondary home is given it as well.
    pub(crate) fn hedge(&mut self, step: &mut Step<'_>, links: &mut Links, keys: &impl WriteKeys) {
        let sent = Some(DeliveryStatus::Sent);
        self.awaited.keys.retain(|key| entries::status(step.rows(), &self.id, *key) == sent);
        let Some(node) = self.secondary().filter(|node| links.is_up(node)) else { return };
        // What it has acknowledged it need not be given: other nodes have to be.
        let lacks = |key: &&TimelineKey| !self.is_acked_by(step, &node, **key);
        let lacking: Vec<TimelineKey> = self.awaited.keys.iter().filter(lacks).copied().collect();
        if lacking.is_empty() {
            return;
        }
        let later = back_off_time(self.awaited.tries);
        self.awaited.tries = self.awaited.tries.saturating_add(1);
        for key in lacking.into_iter().take(HEDGED_MAX) {
            let Some(envelope) = outbox::unacked(step.rows(), &self.id, key) else { continue };
            let write_key = envelope.head.write_key;
            let fits = |channel: &Channel| channel.writes(&self.id, &write_key);
            let Some(channel) = links.find(&node, fits) else {
                self.open_to_hedge(step, links, keys, &node, &write_key);
                break;
            };
            let log = self.id;
            let is_asked = |request: &Request| matches!(request, Request::Log(at, LogRequest::Hedge(asked)) if *at == log && *asked == key);
            if links.pending(&node, is_asked) == 0 {
                let entry = Entry::from_envelope(&envelope, 0, write_key);
                let body = Body::Append { channel, entry, signature: envelope.signature };
                links.request(step, &node, Request::Log(log, LogRequest::Hedge(key)), body);
            }
        }
        self.arm(step, later, ConversationTimer::Hedge);
    }

    /// Opens the log at the secondary home with the write key of an entry that it is to be given.
    fn open_to_hedge(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        keys: &impl WriteKeys,
        node: &NodeId,
        key: &PublicKey,
    ) {
        let of_another_key =
            |channel: &Channel| channel.serves(&self.id, LogUse::Write) && channel.key() != *key;
        links.close_at(step, node, of_another_key);
        if let Some(key) = keys.find(key) {
            links.open(step, node, OpenLog::to_write(self.id, key, ChannelUse::Log(LogUse::Write)));
        }
    }
}

/// Entries of a log that wait for acks: as many as may wait for one peer.
const AWAITED_MAX: usize = limits::QUEUE_FRAMES_MAX;
/// Entries that are given to the secondary home at a time.
const HEDGED_MAX: usize = 64;
