//! Quotas: what each account is charged for, and the disk cap that holds at all times.

use std::ops::ControlFlow;

use proto::{Code, Direction, Gauge, OpenError, Rows, Transaction};

use crate::{
    NodeConfig,
    cache::Cache,
    layout::{self, USAGES, UsageRow},
};

/// Charges of all accounts, each known by the number of its inbox.
#[derive(Debug)]
pub(crate) struct Quota {
    disk_cap_bytes: u64,
    account_quota_bytes: u64,
    account_logs_max: u64,
    usages: Cache<UsageRow>,
    /// Returns the sum of all charges.
    charged: u64,
    /// The number of accounts.
    accounts: u64,
    /// The bytes on disk at the driver's last report.
    reported: u64,
    /// Bytes charged since. Freed bytes are not subtracted: the store gives space back at a time of
    /// its own, and the next report shows it.
    since_report: u64,
}

impl Quota {
    pub(crate) fn open(config: &NodeConfig, rows: &dyn Rows) -> Result<Self, OpenError> {
        let (mut charged, mut accounts) = (Some(0u64), 0_u64);
        rows.scan(USAGES, &[], &[0xFF; 9], Direction::Forward, &mut |_, row| {
            accounts = accounts.saturating_add(1);
            charged =
                charged.zip(UsageRow::decode(row)).map(|(sum, row)| sum.saturating_add(row.bytes));
            if charged.is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        Ok(Self {
            disk_cap_bytes: config.disk_cap_bytes,
            account_quota_bytes: config.account_quota_bytes,
            account_logs_max: config.account_logs_max,
            usages: Cache::new(USAGES_CACHED_MAX),
            charged: charged.ok_or(OpenError::Damaged("a usage row"))?,
            accounts,
            reported: 0,
            since_report: 0,
        })
    }

    /// Notes how much the store takes on disk.
    pub(crate) fn report_disk(&mut self, bytes: u64) {
        self.reported = bytes;
        self.since_report = 0;
    }

    /// Returns the sum of all charges.
    pub(crate) fn charged(&self) -> u64 {
        self.charged
    }

    /// Returns the number of accounts.
    pub(crate) fn accounts(&self) -> u64 {
        self.accounts
    }

    /// Returns the bytes that are assumed to be on disk.
    pub(crate) fn used(&self) -> u64 {
        self.charged.max(self.reported.saturating_add(self.since_report))
    }

    pub(crate) fn gauge(&self) -> Gauge {
        self.usages.gauge("cached accounts")
    }

    /// Checks that `added` bytes may be stored at all.
    pub(crate) fn admit_on_disk(&self, added: u64) -> Result<(), Code> {
        if self.used().saturating_add(added) > self.disk_cap_bytes {
            Err(Code::Full)
        } else {
            Ok(())
        }
    }

    /// Checks that `account` may be charged for `added` more bytes.
    pub(crate) fn admit(&mut self, rows: &dyn Rows, account: u64, added: u64) -> Result<(), Code> {
        self.admit_on_disk(added)?;
        let usage = self.usage(rows, account);
        if usage.bytes.saturating_add(added) > self.account_quota_bytes {
            return Err(Code::Quota);
        }
        Ok(())
    }

    /// Checks that `account` may create a log that takes `added` bytes.
    pub(crate) fn admit_log(
        &mut self,
        rows: &dyn Rows,
        account: u64,
        added: u64,
    ) -> Result<(), Code> {
        self.admit(rows, account, added)?;
        if self.usage(rows, account).logs >= self.account_logs_max {
            return Err(Code::Quota);
        }
        Ok(())
    }

    /// Charges a new account for what was admitted.
    pub(crate) fn register(&mut self, tx: &mut Transaction<'_>, account: u64, added: u64) {
        self.accounts = self.accounts.saturating_add(1);
        self.charge(tx, account, added);
    }

    /// Charges `account` for bytes that were admitted.
    pub(crate) fn charge(&mut self, tx: &mut Transaction<'_>, account: u64, added: u64) {
        self.charged = self.charged.saturating_add(added);
        self.since_report = self.since_report.saturating_add(added);
        self.change(tx, account, |usage| usage.bytes = usage.bytes.saturating_add(added));
    }

    /// Charges `account` for a log that was admitted.
    pub(crate) fn charge_log(&mut self, tx: &mut Transaction<'_>, account: u64, added: u64) {
        self.charge(tx, account, added);
        self.change(tx, account, |usage| usage.logs = usage.logs.saturating_add(1));
    }

    /// Takes bytes that are gone off an account's charge.
    pub(crate) fn free(&mut self, tx: &mut Transaction<'_>, account: u64, freed: u64) {
        self.charged = self.charged.saturating_sub(freed);
        self.change(tx, account, |usage| usage.bytes = usage.bytes.saturating_sub(freed));
    }

    /// Takes a log that is gone, and the last of its bytes, off an account's charge.
    pub(crate) fn free_log(&mut self, tx: &mut Transaction<'_>, account: u64, freed: u64) {
        self.free(tx, account, freed);
        self.change(tx, account, |usage| usage.logs = usage.logs.saturating_sub(1));
    }

    fn usage(&mut self, rows: &dyn Rows, account: u64) -> UsageRow {
        let load = || Some(load(rows, account));
        self.usages.get(account, load).map(|usage| *usage).unwrap_or_default()
    }

    fn change(&mut self, tx: &mut Transaction<'_>, account: u64, by: impl FnOnce(&mut UsageRow)) {
        if let Some(usage) = self.usages.get(account, || Some(load(tx, account))) {
            by(usage);
            tx.put(USAGES, layout::number_key(account), usage.encode());
        }
    }
}

fn load(rows: &dyn Rows, account: u64) -> UsageRow {
    let row = rows.get(USAGES, &layout::number_key(account));
    row.and_then(|row| UsageRow::decode(&row)).unwrap_or_default()
}

/// Accounts whose usage is cached: 3 MiB.
const USAGES_CACHED_MAX: usize = 65_536;
/// What an account is charged for the ranking of a log and for what is remembered of each of its
/// nodes.
pub(crate) const RANKING_CHARGE: u64 = 3200;
