//! Key packages: with them others welcome this device into a group while it sleeps.

use std::time::Duration;

use crypto::group::{Cgka, Mls};
use prost::Message;
use proto::{Body, Instant, NodeId, PutKeyPackages, Rows, Table, limits};
use sha2::{Digest, Sha256};

use super::Account;
use crate::{
    Event,
    link::Links,
    rows,
    step::Step,
    topics::{AccountRequest, AccountTimer, PendingTask, Request, Timer},
};

/// Hash of a key package → [`KeyPackageRow`].
const KEY_PACKAGES: Table = Table(4);

/// A key package that others may use to welcome this device.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyPackageRow {
    #[prost(bytes = "vec", tag = "1")]
    public: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    secret: Vec<u8>,
    #[prost(bool, tag = "3")]
    last_resort: bool,
    #[prost(uint64, tag = "5")]
    made_s: u64,
    /// It was handed in, perhaps without success: a one-time package never is a second time, as two
    /// people would get it.
    #[prost(bool, tag = "6")]
    offered: bool,
    /// The homes that have said that they hold it, or held it: one, but for the last resort.
    #[prost(bytes = "vec", repeated, tag = "7")]
    homes: Vec<Vec<u8>>,
}

impl KeyPackageRow {
    fn is_at(&self, home: &NodeId) -> bool {
        self.homes.iter().any(|node| node == &home.0)
    }

    /// Returns whether a home has yet to get it. A one-time package is for one home.
    fn lacks(&self, home: &NodeId) -> bool {
        if self.last_resort { !self.is_at(home) } else { self.homes.is_empty() }
    }
}

fn all(rows: &dyn Rows) -> Vec<(Vec<u8>, KeyPackageRow)> {
    rows::load_all(rows, KEY_PACKAGES, b"")
}

/// Returns the secrets of all key packages, each with its hash, to find the one that a Welcome is
/// for.
pub(crate) fn secrets(rows: &dyn Rows) -> Vec<(Vec<u8>, zeroize::Zeroizing<Vec<u8>>)> {
    let all = all(rows).into_iter();
    all.map(|(hash, package)| (hash, package.secret.into())).collect()
}

/// A Welcome was for this key package: unless it is the last resort, it is not used again.
pub(crate) fn on_used(step: &mut Step<'_>, hash: &[u8]) {
    let package: Option<KeyPackageRow> = rows::load(step.rows(), KEY_PACKAGES, hash);
    if package.is_some_and(|package| !package.last_resort) {
        step.delete(KEY_PACKAGES, hash);
    }
}

pub(crate) fn are_published(rows: &dyn Rows) -> bool {
    all(rows).iter().all(|(_, package)| !package.homes.is_empty())
}

pub(crate) fn is_last_resort_at(rows: &dyn Rows, home: &NodeId) -> bool {
    all(rows).iter().any(|(_, package)| package.last_resort && package.is_at(home))
}

/// The home node took none of these key packages.
pub(super) fn on_refused(step: &mut Step<'_>, hashes: Vec<Vec<u8>>) {
    for hash in hashes {
        change(step, hash, |package| package.offered = false);
    }
}

fn change(step: &mut Step<'_>, hash: Vec<u8>, change: impl FnOnce(&mut KeyPackageRow)) {
    if let Some(mut package) = rows::load(step.rows(), KEY_PACKAGES, &hash) {
        change(&mut package);
        step.put(KEY_PACKAGES, hash, package.encode_to_vec());
    }
}

impl Account {
    pub(super) fn make_first_key_packages(&self, step: &mut Step<'_>) {
        self.make_key_packages(step, WANTED, true);
    }

    fn make_key_packages(&self, step: &mut Step<'_>, count: usize, last_resort: bool) {
        forget_oldest(step, KEPT_MAX.saturating_sub(count));
        for i in 0..count.saturating_add(usize::from(last_resort)) {
            let Ok((public, secret)) = Mls.key_package(&self.device, &self.id, step.rng()) else {
                return;
            };
            let hash = Sha256::digest(&public);
            let package = KeyPackageRow {
                public,
                secret: secret.to_vec(),
                last_resort: last_resort && i == count,
                offered: false,
                homes: Vec::new(),
                made_s: step.now().as_secs(),
            };
            step.put(KEY_PACKAGES, hash.to_vec(), package.encode_to_vec());
        }
    }

    /// Hands in what was never handed in, in one frame. Asking without packages only asks how many
    /// are left. Of those handed in on a connection that was lost, the node's count tells enough.
    pub(super) fn upload_key_packages(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
    ) {
        let Some(channel) = self.inbox_at(links, node) else { return };
        let puts = |request: &Request| {
            matches!(request, Request::Account(AccountRequest::PutKeyPackages(_)))
        };
        if links.pending(node, puts) > 0 {
            return;
        }
        let mut put = PutKeyPackages {
            channel,
            device: self.device.public(),
            one_time: Vec::new(),
            last_resort: Vec::new(),
        };
        let mut hashes = Vec::new();
        let lacking = all(step.rows()).into_iter().filter(|(_, package)| package.lacks(node));
        for (hash, mut package) in lacking {
            if hashes.len() >= limits::KEY_PACKAGES_MAX {
                break;
            }
            if package.last_resort {
                put.last_resort = package.public;
            } else if !package.offered {
                package.offered = true;
                step.put(KEY_PACKAGES, hash.clone(), package.encode_to_vec());
                put.one_time.push(package.public);
            }
            hashes.push(hash);
        }
        let request = Request::Account(AccountRequest::PutKeyPackages(hashes));
        links.request(step, node, request, Body::PutKeyPackages(put));
    }

    /// The home node took these key packages and has `left` one-time ones. If more are wanted than
    /// may be made now, it is asked again later.
    pub(super) fn on_key_packages_accepted(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        hashes: Vec<Vec<u8>>,
        left: u32,
    ) {
        links.task_done(node, PendingTask::KeyPackages);
        for hash in hashes {
            change(step, hash, |package| note(&mut package.homes, node));
        }
        step.emit(Event::Account);
        let lacking = WANTED.saturating_sub(usize::try_from(left).unwrap_or(WANTED));
        if lacking <= WANTED / 2 {
            return;
        }
        let stored = one_time(step.rows());
        let recent: Vec<_> = stored
            .iter()
            .map(|(made_s, _)| Instant::from_secs(*made_s))
            .filter(|made| *made <= step.now() && step.now().since(*made) < REFILL_TIME)
            .collect();
        let most = REFILL_MAX.saturating_mul(self.active_homes().len());
        if recent.len().saturating_add(lacking) > most {
            if let Some(oldest) = recent.first() {
                let timer = AccountTimer::Retry(*node, PendingTask::KeyPackages);
                step.timers().arm(oldest.after(REFILL_TIME), Timer::Account(timer));
            }
            return;
        }
        self.make_key_packages(step, lacking, false);
        self.upload_key_packages(step, links, node);
    }
}

/// Notes that a home has something; of many that had it the last count.
pub(super) fn note(homes: &mut Vec<Vec<u8>>, home: &NodeId) {
    homes.retain(|node| node != &home.0);
    homes.push(home.0.to_vec());
    let excess = homes.len().saturating_sub(limits::RANKING_MAX);
    homes.drain(..excess);
}

/// Returns when each one-time key package was made, and its hash; the oldest first.
fn one_time(rows: &dyn Rows) -> Vec<(u64, Vec<u8>)> {
    let all = all(rows).into_iter().filter(|(_, package)| !package.last_resort);
    let mut all: Vec<_> = all.map(|(hash, package)| (package.made_s, hash)).collect();
    all.sort_unstable();
    all
}

/// Forgets the oldest one-time key packages beyond `kept`. Those were taken and never used, or the
/// node lost them.
fn forget_oldest(step: &mut Step<'_>, kept: usize) {
    for (_, hash) in one_time(step.rows()).into_iter().rev().skip(kept) {
        step.delete(KEY_PACKAGES, hash);
    }
}

/// One-time key packages that each home should have: more people than add one account between
/// two of its visits, and few enough to hand in in one frame.
const WANTED: usize = limits::KEY_PACKAGES_MAX / 4;
/// One-time key packages whose secrets are kept: four times what a node holds, because one that
/// was taken may be used a month later.
const KEPT_MAX: usize = 4 * limits::KEY_PACKAGES_MAX;
/// How many may be made within [`REFILL_TIME`] for each home: those of a new account, and once more
/// if they were lost on the way or taken at once. After that there is the last resort.
const REFILL_MAX: usize = 2 * WANTED;
const REFILL_TIME: Duration = Duration::from_secs(600);
