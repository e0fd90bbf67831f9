//! Accounts: the bundles of this node's own users. An account is here once its bundle is; with the
//! bundle comes the inbox, and who else holds it.

use crypto::Bundle;
use proto::{AccountId, Code, Draft, LogGenesis, NodeId, PublicKey, Ranking, Rows, limits};

use crate::{
    NodeConfig, Registration, key_package,
    layout::BUNDLES,
    log::{LOG_CHARGE, Logs},
    quota::{Quota, RANKING_CHARGE},
};

/// What a bundle that was taken in changed.
#[derive(Debug)]
pub(crate) enum Change {
    /// Nothing: it is the one that is here.
    None,
    /// There is a new account.
    Registered(AccountId, Home),
    /// An account has these devices now.
    Devices(Vec<PublicKey>, Home),
}

/// What an account has here.
#[derive(Debug)]
pub(crate) struct Home {
    /// The number of its inbox.
    pub(crate) inbox: u64,
    /// Who holds that.
    pub(crate) ranking: Ranking,
    /// How many homes are to hold what the account has; none if this is none of them.
    pub(crate) copies: usize,
    /// SHA-256 of its record.
    pub(crate) record: [u8; 32],
}

/// A record is refused, perhaps because of a better one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) newer: Vec<u8>,
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self { code, newer: Vec::new() }
    }
}

/// Stores a bundle if it verifies and wins over the one that is here.
pub(crate) fn put_bundle(
    draft: &mut Draft<'_>,
    config: &NodeConfig,
    logs: &mut Logs,
    quota: &mut Quota,
    bytes: &[u8],
    incarnation: u64,
) -> Result<Change, Refusal> {
    let bundle = Bundle::verify(bytes).map_err(|_| Code::Invalid)?;
    let account = bundle.account();
    let devices: Vec<PublicKey> = bundle.devices().iter().map(|device| device.key).collect();
    let Some(stored) = draft.get(BUNDLES, &account.0) else {
        if config.registration == Registration::Closed {
            return Err(Code::Closed.into());
        }
        if bundle.homes().iter().all(|home| home.node != config.node) {
            return Err(Code::Forbidden.into());
        }
        quota.admit_on_disk(ACCOUNT_CHARGE)?;
        draft.put(BUNDLES, account.0, bytes);
        let inbox = logs.create_inbox(draft, account, devices.into_iter(), incarnation);
        quota.register(draft, inbox, ACCOUNT_CHARGE);
        return Ok(Change::Registered(account, Home::of(&bundle, inbox, config.node)));
    };
    if stored == bytes {
        return Ok(Change::None);
    }
    // What does not verify any more is worth less than anything that does.
    if let Ok(held) = Bundle::verify(&stored)
        && !bundle.replaces(&held)
    {
        return Err(Refusal { code: Code::Stale, newer: stored });
    }
    let inbox = LogGenesis::Inbox(account).id();
    let (inbox, log) = logs.find(draft, &inbox).ok_or(Code::NotFound)?;
    // Never refused for want of room, which registration has reserved: it may take a stolen
    // device's rights away.
    draft.put(BUNDLES, account.0, bytes);
    let gone: Vec<PublicKey> =
        log.row.keys.iter().map(|known| known.key).filter(|key| !devices.contains(key)).collect();
    for device in gone {
        key_package::remove(draft, quota, inbox, &device);
    }
    logs.set_devices(draft, inbox, devices.iter().copied());
    Ok(Change::Devices(devices, Home::of(&bundle, inbox, config.node)))
}

impl Home {
    fn of(bundle: &Bundle, inbox: u64, node: NodeId) -> Self {
        let is_home = bundle.homes().iter().any(|home| home.node == node);
        let copies = if is_home { bundle.copies() } else { 0 };
        let (ranking, record) = (inbox_ranking(bundle, node), bundle.hash());
        Self { inbox, ranking, copies, record }
    }
}

/// Who holds an account's inbox, as this node has to know: nobody else, unless there are two that
/// serve and this is one of the homes. The bundle decides, and not the version: of two bundles the
/// better one is here.
pub(crate) fn inbox_ranking(bundle: &Bundle, node: NodeId) -> Ranking {
    let is_home = bundle.homes().iter().any(|home| home.node == node);
    let (nodes, standbys) = match bundle.homes().split_at_checked(HOMES_SERVED) {
        Some((nodes, standbys)) if is_home => (nodes.to_vec(), standbys.to_vec()),
        _ => (Vec::new(), Vec::new()),
    };
    Ranking { version: bundle.rank().2, nodes, standbys }
}

/// The bundle of one of this node's accounts.
pub(crate) fn bundle(rows: &dyn Rows, account: AccountId) -> Result<Vec<u8>, Code> {
    rows.get(BUNDLES, &account.0).ok_or(Code::NotFound)
}

/// The newest bundle of an account that was at home here, if it is so no longer.
pub(crate) fn moved_to(rows: &dyn Rows, account: AccountId, node: NodeId) -> Option<Vec<u8>> {
    let bytes = rows.get(BUNDLES, &account.0)?;
    let bundle = Bundle::verify(&bytes).ok()?;
    bundle.homes().iter().all(|home| home.node != node).then_some(bytes)
}

/// How many of an account's homes a device talks with, the first ones of its bundle: its home, and
/// one to stand in for it. If the account wants more copies than these, the others stand by and
/// have them.
const HOMES_SERVED: usize = limits::COPIES_MIN as usize;

/// What an account is charged for being here: the largest bundle, its inbox with its ranking, and
/// all its invites, so that none of these can fail for want of room later.
pub(crate) const ACCOUNT_CHARGE: u64 =
    LOG_CHARGE + RANKING_CHARGE + limits::BUNDLE_MAX as u64 + limits::INVITES_MAX as u64 * 64;
