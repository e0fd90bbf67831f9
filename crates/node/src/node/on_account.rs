//! Requests of devices and guests about accounts: bundles, inboxes, key packages, invites.

use proto::{AccountId, Body, Code, Instant, Peer, PublicKey, PutKeyPackages, Rows, Transaction};

use super::Node;
use crate::{
    account::{self, Change, Refusal},
    command::NodeEvent,
    invite::{self, Terms},
    key_package,
    session::{Channel, Question, Role},
};

impl Node {
    pub(super) fn put_bundle(
        &mut self,
        tx: &mut Transaction<'_>,
        bundle: &[u8],
        now: Instant,
    ) -> Result<Body, Refusal> {
        let incarnation = self.incarnation();
        let (logs, quota) = (&mut self.logs, &mut self.quota);
        match account::put_bundle(tx, &self.config, logs, quota, bundle, incarnation)? {
            Change::None => {}
            Change::Registered(account, home) => {
                self.rank_inbox(home.inbox, &home.ranking, false, tx, now);
                self.want_copies(&home, tx, now);
                self.emit(NodeEvent::Registered(account));
                self.publish(bundle, tx, now);
            }
            Change::Devices(devices, home) => {
                let before = Self::inbox_holders(home.inbox, tx);
                self.rank_inbox(home.inbox, &home.ranking, false, tx, now);
                self.pass_record_on(&home, &before, tx);
                self.want_copies(&home, tx, now);
                for channel in self.sessions.strangers(home.inbox, &devices) {
                    // The channel was just found, so closing it can't fail.
                    let _ = self.close(channel);
                }
                self.publish(bundle, tx, now);
            }
        }
        Ok(Body::Accepted { channel: 0, sequence: 0 })
    }

    /// Answers with the bundle of an account of this node, or looks up that of any other account.
    pub(super) fn on_get_bundle(
        &mut self,
        question: Question,
        account: AccountId,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<Option<Body>, Refusal> {
        match (account::bundle(tx, account), &mut self.routes) {
            (Ok(bundle), _) => Ok(Some(Body::BundleIs(bundle))),
            (Err(code), None) => Err(code.into()),
            (Err(_), Some(routes)) => {
                routes.ask_bundle(question, account, now, tx)?;
                self.carry_out(tx, now);
                Ok(None)
            }
        }
    }

    pub(super) fn on_put_key_packages(
        &mut self,
        peer: Peer,
        put: &PutKeyPackages,
        tx: &mut Transaction<'_>,
    ) -> Result<Body, Code> {
        let inbox = self.owned(Channel { peer, number: put.channel })?;
        let left = key_package::put(tx, &mut self.logs, &mut self.quota, inbox, put)?;
        Ok(Body::KeyPackages { packages: Vec::new(), left })
    }

    pub(super) fn on_put_invite(
        &self,
        channel: Channel,
        key: &PublicKey,
        terms: Terms,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<Body, Code> {
        let inbox = self.owned(channel)?;
        invite::put(tx, inbox, key, terms, now)?;
        Ok(Body::Accepted { channel: channel.number, sequence: 0 })
    }

    pub(super) fn on_take_key_packages(
        &mut self,
        channel: Channel,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Result<Body, Refusal> {
        self.check_host(channel, tx)?;
        let access = self.sessions.access(channel)?;
        let invite = match access.role {
            Role::Owner => None,
            Role::Guest => {
                let invite = invite::get(tx, access.log, &access.key, now);
                Some(invite.filter(|invite| invite.uses > 0).ok_or(Code::Forbidden)?)
            }
            Role::Member | Role::Replica => return Err(Code::Forbidden.into()),
        };
        let one_time = invite.is_none_or(|invite| invite.takes > 0);
        let (logs, quota) = (&mut self.logs, &mut self.quota);
        let packages = key_package::take(tx, logs, quota, access.log, one_time)?;
        if let Some(invite) = invite {
            invite::take(tx, access.log, &access.key, invite);
        }
        Ok(Body::KeyPackages { packages, left: 0 })
    }

    /// Returns the inbox that a connection has open on a channel as its owner.
    fn owned(&self, channel: Channel) -> Result<u64, Code> {
        let access = self.sessions.access(channel)?;
        if access.role == Role::Owner { Ok(access.log) } else { Err(Code::Forbidden) }
    }

    /// Refuses a guest of an account that has moved away, with the record that says where to.
    pub(super) fn check_host(&mut self, channel: Channel, rows: &dyn Rows) -> Result<(), Refusal> {
        let access = self.sessions.access(channel)?;
        if access.role == Role::Guest { self.check_home(access.log, rows) } else { Ok(()) }
    }

    pub(super) fn check_home(&mut self, inbox: u64, rows: &dyn Rows) -> Result<(), Refusal> {
        let account = self.logs.get(rows, inbox).and_then(|log| log.row.inbox_of);
        match account.and_then(|account| account::moved_to(rows, account, self.config.node)) {
            Some(newer) => Err(Refusal { code: Code::Stale, newer }),
            None => Ok(()),
        }
    }
}
