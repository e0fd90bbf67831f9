//! Key packages: what a device leaves here so that it can be added to groups while it is offline.

use std::ops::ControlFlow;

use proto::{Code, Direction, PublicKey, PutKeyPackages, Rows, Transaction, limits};

use crate::{
    layout::{self, LAST_RESORT, PACKAGES},
    log::Logs,
    quota::Quota,
};

/// Stores packages of one of the inbox's devices; returns how many one-time ones it has now.
pub(crate) fn put(
    tx: &mut Transaction<'_>,
    logs: &mut Logs,
    quota: &mut Quota,
    inbox: u64,
    put: &PutKeyPackages,
) -> Result<u32, Code> {
    let PutKeyPackages { channel: _, device, one_time, last_resort } = put;
    if !logs.get(tx, inbox).is_some_and(|log| log.has(device)) {
        return Err(Code::Forbidden);
    }
    let fits = |package: &Vec<u8>| package.len() <= limits::KEY_PACKAGE_BYTES_MAX;
    if !one_time.iter().all(|package| fits(package) && !package.is_empty()) || !fits(last_resort) {
        return Err(Code::Malformed);
    }
    let held = Held::of(tx, inbox, device);
    let count = held.one_time.saturating_add(one_time.len());
    if count > limits::KEY_PACKAGES_MAX {
        return Err(Code::Quota);
    }
    let sizes = one_time.iter().chain(Some(last_resort).filter(|package| !package.is_empty()));
    let added = sizes.map(|package| charge(package.len())).fold(0, u64::saturating_add);
    quota.admit(tx, inbox, added)?;

    if added > 0 {
        quota.charge(tx, inbox, added);
    }
    for (place, package) in (held.next_place..).zip(one_time) {
        tx.put(PACKAGES, layout::package_key(inbox, device, place), package.as_slice());
    }
    if !last_resort.is_empty() {
        if let Some(replaced) = held.last_resort_charge {
            quota.free(tx, inbox, replaced);
        }
        let key = layout::package_key(inbox, device, LAST_RESORT);
        tx.put(PACKAGES, key, last_resort.as_slice());
    }
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Hands out one package for each device of the inbox's account. One-time ones, if they may be
/// taken, are gone then.
pub(crate) fn take(
    tx: &mut Transaction<'_>,
    logs: &mut Logs,
    quota: &mut Quota,
    inbox: u64,
    may_take_one_time: bool,
) -> Result<Vec<Vec<u8>>, Code> {
    let log = logs.get(tx, inbox).ok_or(Code::NotFound)?;
    let devices: Vec<PublicKey> = log.row.keys.iter().map(|known| known.key).collect();
    let mut packages = Vec::with_capacity(devices.len());
    for device in devices {
        let first = if may_take_one_time { 0 } else { LAST_RESORT };
        let mut found = None;
        let from = layout::package_key(inbox, &device, first);
        tx.scan(PACKAGES, &from, &end(inbox, &device), Direction::Forward, &mut |key, row| {
            found = layout::last_u64(key).map(|place| (place, row.to_vec()));
            ControlFlow::Break(())
        });
        let Some((place, package)) = found else { continue };
        if place != LAST_RESORT {
            tx.delete(PACKAGES, layout::package_key(inbox, &device, place));
            quota.free(tx, inbox, charge(package.len()));
        }
        packages.push(package);
    }
    if packages.is_empty() { Err(Code::NotFound) } else { Ok(packages) }
}

/// Removes all packages of a device that is gone.
pub(crate) fn remove(tx: &mut Transaction<'_>, quota: &mut Quota, inbox: u64, device: &PublicKey) {
    let mut gone = Vec::new();
    let from = layout::public_key_key(inbox, device);
    tx.scan(PACKAGES, &from, &end(inbox, device), Direction::Forward, &mut |key, row| {
        gone.push((key.to_vec(), charge(row.len())));
        ControlFlow::Continue(())
    });
    for (key, freed) in gone {
        tx.delete(PACKAGES, key);
        quota.free(tx, inbox, freed);
    }
}

/// The packages of a device.
#[derive(Default)]
struct Held {
    one_time: usize,
    next_place: u64,
    last_resort_charge: Option<u64>,
}

impl Held {
    fn of(rows: &dyn Rows, inbox: u64, device: &PublicKey) -> Self {
        let mut held = Self::default();
        let from = layout::public_key_key(inbox, device);
        rows.scan(PACKAGES, &from, &end(inbox, device), Direction::Forward, &mut |key, row| {
            match layout::last_u64(key) {
                Some(LAST_RESORT) | None => held.last_resort_charge = Some(charge(row.len())),
                Some(place) => {
                    held.one_time = held.one_time.saturating_add(1);
                    held.next_place = place.saturating_add(1);
                }
            }
            ControlFlow::Continue(())
        });
        held
    }
}

/// The first key behind all packages of a device.
fn end(inbox: u64, device: &PublicKey) -> Vec<u8> {
    let mut end = layout::package_key(inbox, device, LAST_RESORT);
    end.push(0);
    end
}

/// What a package takes: its bytes and its row.
pub(crate) fn charge(bytes: usize) -> u64 {
    (bytes as u64).saturating_add(64)
}
