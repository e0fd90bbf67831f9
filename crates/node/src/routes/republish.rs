//! Republishing: each account's bundle is published once an hour, one after the other, so that an
//! account stays findable while its owner is offline. Only the last account is remembered.

use std::{ops::ControlFlow, time::Duration};

use crypto::identity::Bundle;
use proto::{Direction, Instant, NodeId, Rows};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::layout::BUNDLES;

/// Which account is next.
#[derive(Debug)]
pub(super) struct Republish {
    /// The account that was published last, or where to begin.
    cursor: [u8; 32],
    /// When the next one has its turn; nothing until the network is found.
    next: Option<Instant>,
    /// Where the first round ends, in which accounts follow each other within a second.
    hurried_until: Option<[u8; 32]>,
}

impl Republish {
    /// Begins at a random account, so that a node that restarts often serves all alike.
    pub(super) fn new(rng: &mut ChaCha20Rng) -> Self {
        let mut cursor = [0; 32];
        rng.fill_bytes(&mut cursor);
        Self { cursor, next: None, hurried_until: None }
    }

    /// Begins a first round.
    pub(super) fn begin(&mut self, now: Instant) {
        self.next = Some(now);
        self.hurried_until = Some(self.cursor);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Returns the bundle that is due, if any, and names this node as a home.
    pub(super) fn due(
        &mut self,
        accounts: u64,
        node: NodeId,
        rng: &mut ChaCha20Rng,
        now: Instant,
        rows: &dyn Rows,
    ) -> Option<Vec<u8>> {
        self.next.filter(|next| *next <= now)?;
        let row = first_after(&self.cursor, rows).or_else(|| first_after(&[0; 32], rows));
        let before = self.cursor;
        let bundle = row.map(|(account, bundle)| {
            self.cursor = account;
            bundle
        });
        if self.hurried_until.is_some_and(|end| passes(before, self.cursor, end)) {
            self.hurried_until = None;
        }
        let turns = u32::try_from(accounts.max(1)).unwrap_or(u32::MAX);
        let mut pause = HOUR.checked_div(turns).unwrap_or_default();
        if self.hurried_until.is_some() {
            pause = pause.min(HURRIED);
        }
        // From three to five quarters of the pause, so that no two nodes march in step.
        let part = f64::from(rng.next_u32()) / f64::from(u32::MAX);
        self.next = Some(now.after(pause.mul_f64(0.75 + part / 2.0)));
        bundle.filter(|bytes| {
            let names_us = |bundle: Bundle| bundle.homes().iter().any(|home| home.node == node);
            Bundle::verify(bytes).is_ok_and(names_us)
        })
    }
}

/// Tells whether going on from one account to the next, round the end, comes by `end`.
fn passes(from: [u8; 32], to: [u8; 32], end: [u8; 32]) -> bool {
    if from < to { from < end && end <= to } else { from < end || end <= to }
}

fn first_after(cursor: &[u8; 32], rows: &dyn Rows) -> Option<([u8; 32], Vec<u8>)> {
    let from = [cursor.as_slice(), &[0]].concat();
    let mut found = None;
    rows.scan(BUNDLES, &from, &[0xFF; 33], Direction::Forward, &mut |key, bundle| {
        found = key.try_into().ok().map(|account| (account, bundle.to_vec()));
        ControlFlow::Break(())
    });
    found
}

const HOUR: Duration = Duration::from_secs(3600);
/// The pause between two accounts of a first round: twenty nodes store one a second, and homes that
/// restart at the same time leave room for others.
const HURRIED: Duration = Duration::from_secs(1);

#[test]
fn a_round_ends_where_it_began() {
    let at = |first| {
        let mut key = [0; 32];
        key[0] = first;
        key
    };
    assert!(!passes(at(5), at(7), at(5)), "begun");
    assert!(!passes(at(7), at(2), at(5)), "round the end");
    assert!(passes(at(2), at(6), at(5)), "passed it");
    assert!(passes(at(5), at(5), at(5)), "a single account");
}
