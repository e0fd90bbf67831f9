//! Invites: keys with which others than the owner may append to an inbox.

use std::ops::ControlFlow;

use proto::{Code, Direction, Instant, PublicKey, Rows, Transaction, limits};

use crate::layout::{self, INVITES, InviteRow};

/// What an invite allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The second from which it is void.
    pub(crate) expires_s: u64,
    /// Envelopes that it may store.
    pub(crate) uses: u32,
}

/// Sets what `key` may do; with `uses` 0 the invite is withdrawn.
pub(crate) fn put(
    tx: &mut Transaction<'_>,
    inbox: u64,
    key: &PublicKey,
    Terms { expires_s, uses }: Terms,
    now: Instant,
) -> Result<(), Code> {
    let row_key = layout::public_key_key(inbox, key);
    if uses == 0 {
        tx.delete(INVITES, row_key);
        return Ok(());
    }
    if expires_s <= now.as_secs() || crypto::is_weak(key) {
        return Err(Code::Invalid);
    }
    if tx.get(INVITES, &row_key).is_none() {
        make_room(tx, inbox, now)?;
    }
    tx.put(INVITES, row_key, InviteRow { expires_s, uses, takes: uses }.encode());
    Ok(())
}

/// Returns the invite of `key`, unless it has expired. It may be used up: a guest that has stored
/// an envelope with it and missed the answer must be able to ask again.
pub(crate) fn get(rows: &dyn Rows, inbox: u64, key: &PublicKey, now: Instant) -> Option<InviteRow> {
    let row = rows.get(INVITES, &layout::public_key_key(inbox, key))?;
    InviteRow::decode(&row).filter(|invite| now.as_secs() < invite.expires_s)
}

/// Notes that `invite` stored an envelope.
pub(crate) fn use_up(tx: &mut Transaction<'_>, inbox: u64, key: &PublicKey, invite: InviteRow) {
    let invite = InviteRow { uses: invite.uses.saturating_sub(1), ..invite };
    tx.put(INVITES, layout::public_key_key(inbox, key), invite.encode());
}

/// Notes that `invite` took key packages. It gets one-time ones as often as it may store, then the
/// last resort, so that no guest can take them all.
pub(crate) fn take(tx: &mut Transaction<'_>, inbox: u64, key: &PublicKey, invite: InviteRow) {
    if let Some(takes) = invite.takes.checked_sub(1) {
        let row = InviteRow { takes, ..invite };
        tx.put(INVITES, layout::public_key_key(inbox, key), row.encode());
    }
}

/// Drops expired and used-up invites if there are too many.
fn make_room(tx: &mut Transaction<'_>, inbox: u64, now: Instant) -> Result<(), Code> {
    let (mut count, mut over) = (0usize, Vec::new());
    let (from, to) = (layout::number_key(inbox), layout::number_end(inbox));
    tx.scan(INVITES, &from, &to, Direction::Forward, &mut |key, row| {
        count = count.saturating_add(1);
        let is_live = InviteRow::decode(row)
            .is_some_and(|invite| invite.uses > 0 && now.as_secs() < invite.expires_s);
        if !is_live {
            over.push(key.to_vec());
        }
        ControlFlow::Continue(())
    });
    if count < limits::INVITES_MAX {
        return Ok(());
    }
    if over.is_empty() {
        return Err(Code::Quota);
    }
    for key in over {
        tx.delete(INVITES, key);
    }
    Ok(())
}
