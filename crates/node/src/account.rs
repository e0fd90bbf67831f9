//! Accounts: the bundles of this node's own users. An account is here once its bundle is; with the
//! bundle comes the inbox, and who else holds it.

use crypto::identity::Bundle;
use proto::{AccountId, Code, LogGenesis, NodeId, PublicKey, Ranking, Rows, Transaction, limits};

use crate::{
    NodeConfig, Registration, key_package,
    layout::BUNDLES,
    log::{LOG_CHARGE, Logs},
    quota::{Quota, RANKING_CHARGE},
};

/// What taking a bundle has changed.
#[derive(Debug)]
pub(crate) enum Change {
    /// Nothing: it is the one that is here.
    None,
    /// A new account was registered.
    Registered(AccountId, Home),
    /// An account has these devices now.
    Devices(Vec<PublicKey>, Home),
}

/// What an account has at this node.
#[derive(Debug)]
pub(crate) struct Home {
    /// The number of its inbox.
    pub(crate) inbox: u64,
    /// Which nodes hold it.
    pub(crate) ranking: Ranking,
    /// How many homes are to hold the account's logs; 0 if this node is not a home.
    pub(crate) copies: usize,
    /// SHA-256 of its record.
    pub(crate) record: [u8; 32],
}

/// A refusal, with the newer record if there is one.
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
    tx: &mut Transaction<'_>,
    config: &NodeConfig,
    logs: &mut Logs,
    quota: &mut Quota,
    bytes: &[u8],
    incarnation: u64,
) -> Result<Change, Refusal> {
    let bundle = Bundle::verify(bytes).map_err(|_| Code::Invalid)?;
    let account = bundle.account();
    let devices: Vec<PublicKey> = bundle.devices().iter().map(|device| device.key).collect();
    let Some(stored) = tx.get(BUNDLES, &account.0) else {
        if config.registration == Registration::Closed {
            return Err(Code::Closed.into());
        }
        if bundle.homes().iter().all(|home| home.node != config.node) {
            return Err(Code::Forbidden.into());
        }
        quota.admit_on_disk(ACCOUNT_CHARGE)?;
        tx.put(BUNDLES, account.0, bytes);
        let inbox = logs.create_inbox(tx, account, devices.into_iter(), incarnation);
        quota.register(tx, inbox, ACCOUNT_CHARGE);
        return Ok(Change::Registered(account, Home::of(&bundle, inbox, config.node)));
    };
    if stored == bytes {
        return Ok(Change::None);
    }
    // A stored record that no longer verifies loses against any that does.
    if let Ok(held) = Bundle::verify(&stored)
        && !bundle.replaces(&held)
    {
        return Err(Refusal { code: Code::Stale, newer: stored });
    }
    let inbox = LogGenesis::Inbox(account).id();
    let (inbox, log) = logs.find(tx, &inbox).ok_or(Code::NotFound)?;
    // Never refused for want of room, which registration has reserved: the record may remove a
    // stolen device.
    tx.put(BUNDLES, account.0, bytes);
    let gone: Vec<PublicKey> =
        log.row.keys.iter().map(|known| known.key).filter(|key| !devices.contains(key)).collect();
    for device in gone {
        key_package::remove(tx, quota, inbox, &device);
    }
    logs.set_devices(tx, inbox, devices.iter().copied());
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

/// Returns the ranking of an account's inbox: empty unless the bundle names two active homes and
/// this node as a home. The bundle decides, not the version: the better of two bundles is here.
pub(crate) fn inbox_ranking(bundle: &Bundle, node: NodeId) -> Ranking {
    let is_home = bundle.homes().iter().any(|home| home.node == node);
    let (nodes, reserve) = match bundle.homes().split_at_checked(ACTIVE_HOMES) {
        Some((nodes, reserve)) if is_home => (nodes.to_vec(), reserve.to_vec()),
        _ => (Vec::new(), Vec::new()),
    };
    Ranking { version: bundle.rank().2, nodes, reserve }
}

/// Returns the bundle of one of this node's accounts.
pub(crate) fn bundle(rows: &dyn Rows, account: AccountId) -> Result<Vec<u8>, Code> {
    rows.get(BUNDLES, &account.0).ok_or(Code::NotFound)
}

/// Returns the newest bundle of an account that has moved away from this node.
pub(crate) fn moved_to(rows: &dyn Rows, account: AccountId, node: NodeId) -> Option<Vec<u8>> {
    let bytes = rows.get(BUNDLES, &account.0)?;
    let bundle = Bundle::verify(&bytes).ok()?;
    bundle.homes().iter().all(|home| home.node != node).then_some(bytes)
}

/// The homes with which devices talk, the first of the bundle: the primary and the secondary home.
/// The others are in reserve, and hold copies if the account wants more than two.
const ACTIVE_HOMES: usize = limits::COPIES_MIN as usize;

/// What an account is charged on registration: the largest bundle, its inbox with its ranking, and
/// all its invites, so that none of these can fail for want of room later.
pub(crate) const ACCOUNT_CHARGE: u64 =
    LOG_CHARGE + RANKING_CHARGE + limits::BUNDLE_MAX as u64 + limits::INVITES_MAX as u64 * 64;
