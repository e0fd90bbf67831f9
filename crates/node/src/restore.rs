//! What a node's rows need after they came from a backup, which is older than what other nodes and
//! devices remember.

use std::ops::ControlFlow;

use proto::{Direction, PublicKey, Rows, Seed, WriteBatch};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::{
    key_package::charge,
    layout::{self, DIRTY, LAST_RESORT, LOGS, LogRow, PACKAGES, USAGES, UsageRow},
    placement::{holders, ranking, received},
};

/// Makes restored rows fit to be served, some at a time.
///
/// - Each log gets another incarnation. The sequences of entries after the backup will be given to
///   other entries, so peers with a cursor read, or push, from the beginning.
/// - Each other node of a log is marked as lacking entries, so it is called, and pushes back what
///   it has.
/// - One-time key packages are deleted. Those that were handed out after the backup would be handed
///   out again. Devices put new ones when they see how many are left.
#[derive(Debug)]
pub struct Restore {
    rng: ChaCha20Rng,
    /// Logs before this number are done.
    next: u64,
}

impl Restore {
    /// Starts with the first log. `seed` must be fresh.
    pub fn new(seed: Seed) -> Self {
        Self { rng: ChaCha20Rng::from_seed(seed.0), next: 0 }
    }

    /// Returns the next changes to make, or nothing once all are made.
    pub fn next(&mut self, rows: &dyn Rows) -> Option<WriteBatch> {
        let mut logs = Vec::new();
        let from = layout::number_key(self.next);
        rows.scan(LOGS, &from, &[0xFF; 9], Direction::Forward, &mut |key, row| {
            logs.extend(layout::last_u64(key).map(|number| (number, LogRow::decode(row))));
            if logs.len() < LOGS_AT_A_TIME {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        self.next = logs.last()?.0.saturating_add(1);
        let mut batch = WriteBatch::default();
        for (number, row) in logs {
            // A row that can't be read is no log for the node either.
            let Some(row) = row else { continue };
            let row = LogRow { incarnation: self.rng.next_u64().max(1), ..row };
            batch.put(LOGS, layout::number_key(number), row.encode());
            let ranking = ranking(rows, number);
            for node in ranking.iter().flat_map(|ranking| holders(rows, number, ranking)) {
                let peer = PublicKey(node.node.0);
                // This node is in the ranking too, but has no row.
                if received(rows, &peer, number).is_some() {
                    batch.put(DIRTY, layout::peer_key(&peer, number), []);
                }
            }
            if row.inbox_of.is_some() {
                drop_packages(&mut batch, rows, number);
            }
        }
        Some(batch)
    }
}

fn drop_packages(batch: &mut WriteBatch, rows: &dyn Rows, inbox: u64) {
    let mut freed = 0_u64;
    let (from, to) = (layout::number_key(inbox), layout::number_key(inbox.saturating_add(1)));
    rows.scan(PACKAGES, &from, &to, Direction::Forward, &mut |key, package| {
        if layout::last_u64(key).is_some_and(|place| place != LAST_RESORT) {
            freed = freed.saturating_add(charge(package.len()));
            batch.delete(PACKAGES, key);
        }
        ControlFlow::Continue(())
    });
    let key = layout::number_key(inbox);
    if let Some(usage) = rows.get(USAGES, &key).and_then(|row| UsageRow::decode(&row)) {
        let usage = UsageRow { bytes: usage.bytes.saturating_sub(freed), ..usage };
        batch.put(USAGES, key, usage.encode());
    }
}

const LOGS_AT_A_TIME: usize = 128;
