//! What devices and guests ask of accounts: bundles, inboxes, key packages.

use proto::{Body, Code, Draft, Instant, Output, Peer, PublicKey, PutKeyPackages, Rows};

use super::{Node, NodeEvent};
use crate::{
    account::{self, Change, Refusal},
    invite, key_package,
    session::Role,
};

impl Node {
    pub(super) fn put_bundle(
        &mut self,
        draft: &mut Draft<'_>,
        bundle: &[u8],
        now: Instant,
    ) -> Result<Body, Refusal> {
        let incarnation = self.incarnation();
        let (logs, quota) = (&mut self.logs, &mut self.quota);
        match account::put_bundle(draft, &self.config, logs, quota, bundle, incarnation)? {
            Change::None => {}
            Change::Registered(account, home) => {
                self.rank_inbox(home.inbox, &home.ranking, false, draft, now);
                self.copies_are_wanted(&home, draft, now);
                self.replies.push_back(Output::Event(NodeEvent::Registered(account)));
                self.publish(bundle, draft, now);
            }
            Change::Devices(devices, home) => {
                let before = Self::inbox_holders(home.inbox, draft);
                self.rank_inbox(home.inbox, &home.ranking, false, draft, now);
                self.tell_of_record(&home, &before, draft);
                self.copies_are_wanted(&home, draft, now);
                for (peer, handle) in self.sessions.strangers(home.inbox, &devices) {
                    // The handle is there: it was just found.
                    let _ = self.close(peer, handle);
                }
                self.publish(bundle, draft, now);
            }
        }
        Ok(Body::Accepted { handle: 0, sequence: 0 })
    }

    pub(super) fn put_packages(
        &mut self,
        peer: Peer,
        put: &PutKeyPackages,
        draft: &mut Draft<'_>,
    ) -> Result<Body, Code> {
        let inbox = self.owned(peer, put.handle)?;
        let left = key_package::put(draft, &mut self.logs, &mut self.quota, inbox, put)?;
        Ok(Body::KeyPackages { packages: Vec::new(), left })
    }

    pub(super) fn put_invite(
        &self,
        (peer, handle): (Peer, u32),
        key: &PublicKey,
        (expires_s, uses): (u64, u32),
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<Body, Code> {
        let inbox = self.owned(peer, handle)?;
        invite::put(draft, inbox, key, expires_s, uses, now)?;
        Ok(Body::Accepted { handle, sequence: 0 })
    }

    pub(super) fn take_packages(
        &mut self,
        peer: Peer,
        number: u32,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<Body, Refusal> {
        self.check_host(peer, number, draft)?;
        let handle = self.sessions.handle(peer, number)?;
        let invite = match handle.role {
            Role::Owner => None,
            Role::Guest => {
                let invite = invite::get(draft, handle.log, &handle.key, now);
                Some(invite.filter(|invite| invite.uses > 0).ok_or(Code::Forbidden)?)
            }
            Role::Member | Role::Replica => return Err(Code::Forbidden.into()),
        };
        let one_time = invite.is_none_or(|invite| invite.takes > 0);
        let (logs, quota) = (&mut self.logs, &mut self.quota);
        let packages = key_package::take(draft, logs, quota, handle.log, one_time)?;
        if let Some(invite) = invite {
            invite::take(draft, handle.log, &handle.key, invite);
        }
        Ok(Body::KeyPackages { packages, left: 0 })
    }

    /// The inbox that the connection has open as `number`, as its owner.
    pub(super) fn owned(&self, peer: Peer, number: u32) -> Result<u64, Code> {
        let handle = self.sessions.handle(peer, number)?;
        if handle.role == Role::Owner { Ok(handle.log) } else { Err(Code::Forbidden) }
    }

    /// Refuses a guest of an account that has moved away, and tells where to.
    pub(super) fn check_host(
        &mut self,
        peer: Peer,
        number: u32,
        rows: &dyn Rows,
    ) -> Result<(), Refusal> {
        let handle = self.sessions.handle(peer, number)?;
        if handle.role == Role::Guest { self.check_home(handle.log, rows) } else { Ok(()) }
    }

    pub(super) fn check_home(&mut self, inbox: u64, rows: &dyn Rows) -> Result<(), Refusal> {
        let account = self.logs.get(rows, inbox).and_then(|log| log.row.inbox_of);
        match account.and_then(|account| account::moved_to(rows, account, self.config.node)) {
            Some(newer) => Err(Refusal { code: Code::Stale, newer }),
            None => Ok(()),
        }
    }
}
