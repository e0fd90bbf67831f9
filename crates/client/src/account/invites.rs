//! Invites: capabilities to ask this account, registered at its homes.

use prost::Message;
use proto::{Body, NodeId, PublicKey, Rows, Table, limits};
use rand_core::Rng;

use super::{Account, key_packages::note};
use crate::{
    CommandError, Event, InviteLink, Reply,
    invite_link::invite_key,
    link::Links,
    rows,
    step::Step,
    topics::{AccountRequest, Request},
};

/// Invite key → [`InviteRow`].
const INVITES: Table = Table(3);

/// A capability that was given away.
#[derive(Clone, PartialEq, Message)]
struct InviteRow {
    #[prost(bytes = "vec", tag = "1")]
    token: Vec<u8>,
    #[prost(uint64, tag = "2")]
    expires_s: u64,
    #[prost(uint32, tag = "3")]
    uses: u32,
    /// How many have come by it: another home is told of the rest.
    #[prost(uint32, tag = "5")]
    used: u32,
    /// The homes that know it.
    #[prost(bytes = "vec", repeated, tag = "6")]
    homes: Vec<Vec<u8>>,
}

impl InviteRow {
    fn is_at(&self, home: &NodeId) -> bool {
        self.homes.iter().any(|node| node == &home.0)
    }
}

fn all(rows: &dyn Rows) -> Vec<(Vec<u8>, InviteRow)> {
    rows::load_all(rows, INVITES, b"")
}

fn save(step: &mut Step<'_>, key: &PublicKey, invite: &InviteRow) {
    step.put(INVITES, key.0, invite.encode_to_vec());
}

pub(crate) fn are_published(rows: &dyn Rows) -> bool {
    all(rows).iter().all(|(_, invite)| !invite.homes.is_empty())
}

pub(crate) fn are_all_at(rows: &dyn Rows, home: &NodeId) -> bool {
    all(rows).iter().all(|(_, invite)| invite.is_at(home))
}

pub(crate) fn on_used(step: &mut Step<'_>, key: &PublicKey) {
    if let Some(mut invite) = rows::load::<InviteRow>(step.rows(), INVITES, &key.0) {
        invite.used = invite.used.saturating_add(1);
        save(step, key, &invite);
    }
}

pub(super) fn on_registered(step: &mut Step<'_>, node: &NodeId, key: &PublicKey) {
    if let Some(mut invite) = rows::load::<InviteRow>(step.rows(), INVITES, &key.0) {
        note(&mut invite.homes, node);
        save(step, key, &invite);
        step.emit(Event::Account);
    }
}

impl Account {
    /// Makes a link that lets `uses` strangers ask to become contacts.
    pub(crate) fn invite(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        uses: u32,
        valid_s: u64,
    ) -> Result<Reply, CommandError> {
        if uses == 0 || valid_s == 0 {
            return Err(CommandError::BadRequest("an invite that no one can use"));
        }
        let now_s = step.now().as_secs();
        let mut open = 0_usize;
        for (key, invite) in all(step.rows()) {
            if invite.expires_s <= now_s {
                step.delete(INVITES, key);
            } else {
                open = open.saturating_add(1);
            }
        }
        if open >= limits::INVITES_MAX {
            return Err(CommandError::TooMany(limits::INVITES_MAX));
        }
        let mut token = [0; 16];
        step.rng().fill_bytes(&mut token);
        let invite = InviteRow {
            token: token.to_vec(),
            expires_s: now_s.saturating_add(valid_s),
            uses: uses.max(1),
            used: 0,
            homes: Vec::new(),
        };
        let key = invite_key(&token).public();
        save(step, &key, &invite);
        for home in self.active_homes() {
            self.register(step, links, &home.node, key, &invite);
        }
        let nodes = self.bundle.homes().iter().take(2).cloned().collect();
        Ok(Reply::Link(InviteLink { account: self.id, nodes, token }))
    }

    /// The inbox is open at a home: registers all invites that it does not know.
    pub(super) fn register_invites(&self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        for (key, invite) in all(step.rows()) {
            if let (Ok(key), false) = (PublicKey::try_from(key.as_slice()), invite.is_at(node)) {
                self.register_again(step, links, node, &key);
            }
        }
    }

    /// Registers an invite that a home has not accepted yet, unless its time is over.
    pub(super) fn register_again(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        key: &PublicKey,
    ) {
        let Some(invite) = rows::load::<InviteRow>(step.rows(), INVITES, &key.0) else { return };
        if invite.expires_s <= step.now().as_secs() {
            step.delete(INVITES, key.0);
            step.emit(Event::Account);
        } else if !invite.is_at(node) && invite.used < invite.uses {
            self.register(step, links, node, *key, &invite);
        }
    }

    fn register(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        key: PublicKey,
        invite: &InviteRow,
    ) {
        let Some(channel) = self.inbox_at(links, node) else { return };
        let (expires_s, uses) = (invite.expires_s, invite.uses.saturating_sub(invite.used));
        let body = Body::PutInvite { channel, key, expires_s, uses };
        links.request(step, node, Request::Account(AccountRequest::PutInvite(key)), body);
    }
}
