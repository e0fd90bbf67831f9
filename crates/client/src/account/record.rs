//! The account's record: signing the next one, handing it to homes, and noticing that another
//! device has signed a newer one.

use crypto::identity::{Authority, Bundle, Phrase, Precedence, UnsignedRecord};
use proto::{Body, Code, NodeAddress, NodeId, limits};

use super::{Account, NewDevice};
use crate::{
    CommandError,
    contact::Refused,
    link::{InboxUse, Links, is_transient},
    step::Step,
    topics::{AccountRequest, PendingTask, Request},
};

/// Signing.
impl Account {
    /// Creates a new account, its first device and its first record.
    pub(crate) fn create(
        step: &mut Step<'_>,
        links: &mut Links,
        phrase: &Phrase,
        name: String,
        homes: Vec<NodeAddress>,
    ) -> Result<Self, CommandError> {
        check_new(&name, &homes)?;
        let authority = Authority::create(phrase, step.rng());
        let new = NewDevice { version: 1, copies: limits::COPIES_MIN, name, homes };
        let account = Self::create_device(step, &authority, new)?;
        account.publish_everywhere(step, links);
        Ok(account)
    }

    /// Makes these the homes of the account, the first of which is the primary. Done once it is on
    /// disk; the migration itself goes on until the next home has accepted the record, and then a
    /// little longer.
    pub(crate) fn migrate(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        homes: Vec<NodeAddress>,
        pinned: &[NodeId],
    ) -> Result<(), CommandError> {
        self.propose_homes(step, homes, pinned)?;
        self.propose_or_activate(step, links);
        Ok(())
    }

    /// Has so many of the homes hold all that the account has, and calls an entry stored when so
    /// many nodes have acknowledged it.
    pub(crate) fn want_copies(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        copies: u32,
        acks: u32,
    ) -> Result<(), CommandError> {
        let allowed = limits::COPIES_MIN..=limits::COPIES_MAX;
        if !allowed.contains(&copies) || !allowed.contains(&acks) {
            return Err(CommandError::BadRequest("copies and acks are two to four"));
        }
        let newest = self.next.as_ref().unwrap_or(&self.bundle);
        if newest.next_record().copies != copies {
            self.sign_next(step, |unsigned| unsigned.copies = copies)?;
        }
        self.row.set_acks_needed(acks);
        self.save(step);
        self.on_policy_changed();
        self.propose_or_activate(step, links);
        Ok(())
    }

    /// Signs the record of other homes, or of the same in another order.
    pub(super) fn propose_homes(
        &mut self,
        step: &mut Step<'_>,
        homes: Vec<NodeAddress>,
        pinned: &[NodeId],
    ) -> Result<(), CommandError> {
        check_new(self.row.name(), &homes)?;
        let once = homes.iter().enumerate().all(|(at, home)| {
            homes.iter().skip(at.saturating_add(1)).all(|other| other.node != home.node)
        });
        if !once {
            return Err(CommandError::BadRequest("a home is named twice"));
        }
        let pinned = pinned.iter().filter(|node| homes.iter().any(|home| home.node == **node));
        self.row.pin(pinned);
        let newest = self.next.as_ref().unwrap_or(&self.bundle);
        if newest.homes() != homes {
            self.sign_next(step, |unsigned| unsigned.homes = homes)?;
        }
        self.row.set_migration_trouble(String::new());
        self.save(step);
        Ok(())
    }

    fn sign_next(
        &mut self,
        step: &Step<'_>,
        change: impl FnOnce(&mut UnsignedRecord),
    ) -> Result<(), CommandError> {
        let authority = self.row.authority();
        let authority = authority.ok_or(CommandError::BadRequest("its authority can't be read"))?;
        let mut unsigned = self.next.as_ref().unwrap_or(&self.bundle).next_record();
        change(&mut unsigned);
        let next = authority
            .sign_record(unsigned)
            .map_err(|_| CommandError::BadRequest("its record would be too large"))?;
        let before = self.next_home().cloned();
        self.next = Some(next);
        // It may have accepted the record, and its answer be on the way: it must hear of the next.
        if let Some(home) = before.filter(|home| !self.is_next_home(&home.node)) {
            self.previous.add(home, step.now().as_secs());
        }
        Ok(())
    }
}

/// Homes.
impl Account {
    /// Hands the record to all active homes, whose inboxes are opened then.
    pub(super) fn publish_everywhere(&self, step: &mut Step<'_>, links: &mut Links) {
        for home in self.active_homes() {
            links.want(step, home);
            self.publish(step, links, &home.node);
        }
    }

    /// Hands the record to a home: first it must know the account's newest bundle.
    pub(super) fn publish(&self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        if !self.is_locked_out() {
            put(step, links, node, &self.bundle);
        }
    }

    pub(super) fn on_record_accepted(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        version: u64,
    ) {
        if self.is_next_home(node) {
            if self.next.as_ref().is_some_and(|next| next.rank().2 == version) {
                self.activate_record(step, links, Some(node));
            } else {
                self.propose(step, links, node);
            }
            return;
        }
        let is_newest = self.bundle.rank().2 == version;
        if self.is_active_home(node) && is_newest {
            self.set_trouble(step, node, None);
            self.open_inbox(step, links, node, InboxUse::Current);
        } else if self.is_active_home(node) {
            self.publish(step, links, node);
        } else if self.previous.contains(node) && is_newest {
            self.on_previous_informed(step, links, node);
        } else if self.previous.contains(node) {
            put(step, links, node, &self.bundle);
        }
    }

    pub(super) fn on_record_refused(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        Refused { code, newer }: Refused<'_>,
    ) {
        if code == Code::Stale {
            self.check_superseded(step, newer);
        }
        if self.is_next_home(node) {
            self.set_migration_trouble(step, code);
            self.back_off(step, links, node, PendingTask::Propose, code);
            if !is_transient(code) {
                self.cancel_migration(step, links);
            }
        } else if self.previous.contains(node) && !self.is_active_home(node) {
            // While a record waits for the next home, this one may know that.
            let waits = self.next.is_some();
            self.back_off(step, links, node, PendingTask::InformPrevious, code);
            if !is_transient(code) && !waits {
                self.on_previous_done(step, links, node);
            }
        } else {
            self.on_home_refused(step, links, node, code);
        }
    }

    /// A home refused the bundle because it knows a newer one: if that does not list this device,
    /// it is locked out.
    fn check_superseded(&mut self, step: &mut Step<'_>, newer: &[u8]) {
        let Ok(newer) = Bundle::verify(newer) else { return };
        // What lists this device only this device has signed: it is about to move.
        let ours = newer.account() == self.id && !newer.has_device(&self.device.public());
        if ours && self.bundle.compare(&newer) == Precedence::Older {
            self.row.supersede(&newer);
            self.row.save(step);
        }
    }

    /// Remembers why a home does not serve the account, or that it does.
    pub(super) fn set_trouble(&mut self, step: &mut Step<'_>, node: &NodeId, code: Option<Code>) {
        let why = match code {
            None => None,
            Some(Code::Closed) => Some("the home node takes no new accounts".to_owned()),
            Some(Code::Full | Code::Quota) => Some("the home node is full".to_owned()),
            Some(Code::Stale) => Some("a newer record of the account is out".to_owned()),
            Some(refused) => Some(format!("the home node refused ({refused:?})")),
        };
        if self.row.set_refusal(node, why, &self.active) {
            self.row.save(step);
        }
    }
}

/// Hands a record to a node that is up, unless one is on its way.
pub(super) fn put(step: &mut Step<'_>, links: &mut Links, node: &NodeId, record: &Bundle) {
    let puts =
        |request: &Request| matches!(request, Request::Account(AccountRequest::PutBundle(_)));
    if links.is_up(node) && links.pending(node, puts) == 0 {
        let request = Request::Account(AccountRequest::PutBundle(record.rank().2));
        links.request(step, node, request, Body::PutBundle(record.as_bytes().to_vec()));
    }
}

/// Checks what the user chose for a new account or record.
pub(super) fn check_new(name: &str, homes: &[NodeAddress]) -> Result<(), CommandError> {
    if name.len() > limits::NAME_MAX {
        return Err(CommandError::TooLong(limits::NAME_MAX));
    }
    // Others refuse a request under such a name.
    if name.chars().any(char::is_control) {
        return Err(CommandError::BadRequest("a name has no control characters"));
    }
    if homes.is_empty() || homes.len() > limits::RANKING_MAX {
        return Err(CommandError::NoHome);
    }
    Ok(())
}
