//! What one person wants, knows and has asked.

use std::collections::{BTreeMap, BTreeSet};

use client::InviteLink;
use proto::{AccountId, LogId};

use crate::{model::Operation, rng::Rng};

/// Someone with a device.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) rng: Rng,
    pub(crate) account: Option<AccountId>,
    /// With whom they want to talk; to those in `invites` they give a link.
    pub(crate) friends: Vec<u32>,
    pub(crate) invites: BTreeSet<u32>,
    /// Friends who have got their link.
    pub(crate) invited: BTreeSet<u32>,
    /// Links that friends gave them.
    pub(crate) links: BTreeMap<u32, InviteLink>,
    /// Friends whose link the device was given.
    pub(crate) tried: BTreeSet<u32>,
    /// Friends who have become contacts.
    pub(crate) established: BTreeSet<u32>,
    pub(crate) acts_left: u32,
    /// Questions to the device that wait for an answer.
    pub(crate) asked: BTreeMap<u64, Asked>,
    pub(crate) threads: BTreeMap<LogId, Thread>,
    tickets: u64,
}

/// What the device was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Account,
    Invite(u32),
    /// To add this friend by a link.
    Link(u32),
    Operation(Operation),
    /// Nothing depends on the answer.
    Other,
}

/// A conversation as its owner looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread {
    pub(crate) with: u32,
    /// The last arrival that was seen.
    pub(crate) arrivals: u64,
}

impl Person {
    pub(crate) fn new(name: String, rng: Rng, acts: u32) -> Self {
        Self {
            name,
            rng,
            account: None,
            friends: Vec::new(),
            invites: BTreeSet::new(),
            invited: BTreeSet::new(),
            links: BTreeMap::new(),
            tried: BTreeSet::new(),
            established: BTreeSet::new(),
            acts_left: acts,
            asked: BTreeMap::new(),
            threads: BTreeMap::new(),
            tickets: 0,
        }
    }

    pub(crate) fn ask(&mut self, asked: Asked) -> u64 {
        self.tickets = self.tickets.saturating_add(1);
        self.asked.insert(self.tickets, asked);
        self.tickets
    }

    /// The device will not answer what it was asked: links may have to be given or tried again.
    pub(crate) fn forget_questions(&mut self) {
        for asked in std::mem::take(&mut self.asked).into_values() {
            match asked {
                Asked::Invite(friend) => _ = self.invited.remove(&friend),
                Asked::Link(friend) => _ = self.tried.remove(&friend),
                Asked::Account | Asked::Operation(_) | Asked::Other => {}
            }
        }
    }

    /// All friends are contacts.
    pub(crate) fn is_settled(&self) -> bool {
        self.established.len() == self.friends.len()
    }
}
