//! What a node's rows need after they came from a backup, which is older than what others remember.

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
/// - Each log gets another incarnation. Entries that were taken after the backup had sequences that
///   will be given to others; so whoever has a cursor reads, or pushes, from the beginning.
/// - Each other node of a log may lack something, so it is called, and gives back what it has.
/// - One-time key packages go. Those that were handed out after the backup would be handed out
///   again, and their devices, asked how many are left, hand in new ones.
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

    /// The next changes to make; nothing once all are made.
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
                // This node is in the ranking too, and none of the others.
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
