//! Texts that wait for a contact to accept.

use std::ops::ControlFlow;

use prost::Message;
use proto::{AccountId, Rows, Table};

use crate::{CommandError, rows, step::Step};

/// Account ‖ number → [`Draft`].
const DRAFTS: Table = Table(19);

/// A text that waits for the contact to accept.
#[derive(Clone, PartialEq, Message)]
struct Draft {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(uint64, tag = "2")]
    written_s: u64,
}

/// Keeps a text until the contact accepts.
pub(crate) fn keep_draft(
    step: &mut Step<'_>,
    contact: &AccountId,
    text: &str,
) -> Result<(), CommandError> {
    let (mut number, mut count) = (0_u64, 0_usize);
    rows::each(&step.rows, DRAFTS, &contact.0, &mut |key, _| {
        count = count.saturating_add(1);
        number = key.first_chunk::<8>().map_or(0, |last| u64::from_be_bytes(*last));
        ControlFlow::Continue(())
    });
    if count >= DRAFTS_MAX {
        return Err(CommandError::TooMany(DRAFTS_MAX));
    }
    let row = Draft { text: text.to_owned(), written_s: step.now.as_secs() };
    let number = number.saturating_add(1).to_be_bytes();
    step.rows.put(DRAFTS, [contact.0.as_slice(), &number].concat(), row.encode_to_vec());
    Ok(())
}

/// Returns the texts that wait for a contact, each with the key of its row.
pub(super) fn drafts_of(rows: &dyn Rows, contact: &AccountId) -> Vec<(Vec<u8>, String)> {
    let drafts = rows::load_all::<Draft>(rows, DRAFTS, &contact.0).into_iter();
    drafts.map(|(number, draft)| ([contact.0.as_slice(), &number].concat(), draft.text)).collect()
}

/// A text waits no longer.
pub(super) fn forget(step: &mut Step<'_>, row_key: Vec<u8>) {
    step.rows.delete(DRAFTS, row_key);
}

/// Counts the texts that wait for a contact.
pub(crate) fn count_drafts(rows: &dyn Rows, contact: &AccountId) -> usize {
    rows::count(rows, DRAFTS, &contact.0)
}

/// Forgets what waits for a contact.
pub(crate) fn forget_drafts(step: &mut Step<'_>, contact: &AccountId) {
    rows::erase(&mut step.rows, DRAFTS, &contact.0);
}

/// Texts that wait for a contact to accept: more than anyone writes to who has not answered.
const DRAFTS_MAX: usize = 256;
