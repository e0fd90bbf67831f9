//! Errands: what a device wants of a node besides its conversations, done again later if the node
//! would not do it for now. Specified in `spec/delivery.md`, section 3.

use std::time::Duration;

use proto::{AccountId, Code, LogGenesis, NodeId, PublicKey};
use rand_core::Rng;

use crate::{
    Client, contact,
    link::Links,
    machine::{Timer, pause},
    step::Step,
};

/// Something to get done at a node. Each starts where it stands, and twice does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Errand {
    /// Hand in the account's record and open its inbox.
    Home,
    /// Hand in key packages.
    KeyPackages,
    /// Register an invite.
    Invite(PublicKey),
    /// Add a contact.
    Add(AccountId),
    /// Learn the record of the account that is being brought back.
    Recover,
    /// Hand the account's next record to its next home.
    Offer,
    /// Hand the account's record to a home that it has left.
    Former,
    /// Tell who holds the conversations.
    Tell,
}

/// Whether what was refused may be taken another time.
pub(crate) fn may_pass(code: Code) -> bool {
    matches!(code, Code::Busy | Code::Full | Code::Quota | Code::Unexpected)
}

impl Client {
    /// A node refused a part of an errand: if that may pass, the errand is taken up again after a
    /// pause, which grows with each refusal on this connection.
    pub(crate) fn put_off(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        errand: Errand,
        code: Code,
    ) {
        if !may_pass(code) {
            return;
        }
        let pause = pause(self.links.count_refusal(node, errand)).min(PAUSE_MAX);
        let errand =
            if code == Code::Unexpected { self.reopen(step, node, errand) } else { errand };
        // Those whom the node was too busy for don't come back all at once.
        let jitter_us = u128::from(step.rng.next_u32()).saturating_mul(pause.as_micros() / 4) >> 32;
        let jitter = Duration::from_micros(u64::try_from(jitter_us).unwrap_or_default());
        self.arm(step.now.after(pause.saturating_add(jitter)), Timer::Errand(*node, errand));
    }

    /// The node does not know a handle any more: the errand starts with opening it anew.
    fn reopen(&mut self, step: &mut Step<'_>, node: &NodeId, errand: Errand) -> Errand {
        let (inbox, first) = match errand {
            Errand::Home | Errand::KeyPackages | Errand::Invite(_) => {
                (self.me.as_ref().map(|me| me.inbox_log()), Errand::Home)
            }
            Errand::Add(account) => (Some(LogGenesis::Inbox(account).id()), errand),
            Errand::Recover | Errand::Offer | Errand::Former | Errand::Tell => (None, errand),
        };
        if let Some(inbox) = inbox {
            for handle in self.links.close_at(step, node, |handle| handle.log == inbox) {
                self.unaccepted.remove(&handle);
            }
        }
        first
    }

    /// Takes an errand up where it stands.
    pub(crate) fn take_up(&mut self, step: &mut Step<'_>, node: &NodeId, errand: Errand) {
        if matches!(errand, Errand::Offer | Errand::Former | Errand::Tell) {
            return self.take_moving_up(step, node);
        }
        let Self { me, links, recovery, .. } = self;
        if !links.is_up(node) {
            return;
        }
        let me = me.as_ref().filter(|me| me.is_served(node) && !me.locked_out());
        match (errand, me) {
            (Errand::Home, Some(me)) => me.home_is_up(step, links, node),
            (Errand::KeyPackages, Some(me)) => me.upload_key_packages(step, links, node),
            (Errand::Invite(key), Some(me)) => me.register_again(step, links, node, &key),
            (Errand::Home | Errand::KeyPackages | Errand::Invite(_), None)
            | (Errand::Offer | Errand::Former | Errand::Tell, _) => {}
            (Errand::Add(account), _) => {
                let contact = contact::load(&step.draft, &account);
                if let Some(link) = contact.as_ref().and_then(contact::adding) {
                    self.knock_with(step, node, &account, &link);
                }
            }
            (Errand::Recover, _) => {
                if let Some(recovery) = recovery {
                    recovery.node_is_up(step, links, node);
                }
            }
        }
    }

    /// The connection is gone; the next one begins all errands by itself.
    pub(crate) fn drop_errands(&mut self, node: &NodeId) {
        self.disarm_all(|timer| matches!(timer, Timer::Errand(at, _) if at == node));
    }
}

impl Links {
    /// An errand has come to its end.
    pub(crate) fn errand_done(&mut self, node: &NodeId, errand: Errand) {
        self.refusals(node).map(|refusals| refusals.remove(&errand));
    }

    /// How often an errand was refused on this connection.
    pub(crate) fn refusals_of(&mut self, node: &NodeId, errand: Errand) -> u32 {
        self.refusals(node).and_then(|refusals| refusals.get(&errand).copied()).unwrap_or_default()
    }

    /// Counts a refusal; returns how often the errand was refused before.
    fn count_refusal(&mut self, node: &NodeId, errand: Errand) -> u32 {
        let Some(refusals) = self.refusals(node) else { return 0 };
        let refused = refusals.entry(errand).or_default();
        *refused = refused.saturating_add(1);
        refused.saturating_sub(1)
    }
}

/// The longest pause: a node that has room again is noticed while its user still looks.
const PAUSE_MAX: Duration = Duration::from_secs(300);
