//! Texts that wait for a contact to accept.

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
    let drafts = rows::all(step.rows(), DRAFTS, &contact.0);
    if drafts.len() >= DRAFTS_MAX {
        return Err(CommandError::TooMany(DRAFTS_MAX));
    }
    let last = drafts.last().and_then(|(key, _)| key.first_chunk::<8>());
    let number = last.map_or(0, |last| u64::from_be_bytes(*last));
    let row = Draft { text: text.to_owned(), written_s: step.now().as_secs() };
    let number = number.saturating_add(1).to_be_bytes();
    step.put(DRAFTS, [contact.0.as_slice(), &number].concat(), row.encode_to_vec());
    Ok(())
}

/// Returns the texts that wait for a contact, each with the key of its row.
pub(super) fn drafts_of(rows: &dyn Rows, contact: &AccountId) -> Vec<(Vec<u8>, String)> {
    let drafts = rows::load_all::<Draft>(rows, DRAFTS, &contact.0).into_iter();
    drafts.map(|(number, draft)| ([contact.0.as_slice(), &number].concat(), draft.text)).collect()
}

pub(super) fn forget(step: &mut Step<'_>, row_key: Vec<u8>) {
    step.delete(DRAFTS, row_key);
}

pub(crate) fn count_drafts(rows: &dyn Rows, contact: &AccountId) -> usize {
    rows::count(rows, DRAFTS, &contact.0)
}

pub(crate) fn forget_drafts(step: &mut Step<'_>, contact: &AccountId) {
    step.erase(DRAFTS, &contact.0);
}

/// Texts that wait for a contact to accept: more than anyone writes to who has not answered.
const DRAFTS_MAX: usize = 256;
