//! Pages: entries of one answer, up to the limits of a page.

use std::ops::ControlFlow;

use proto::{Entry, Envelope, PublicKey, Rows, limits};

use crate::layout::{self, ENTRIES};

/// Entries of one answer, and whether there are more.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    pub(crate) more: bool,
}

/// Entries being gathered for one answer.
pub(super) struct PageBuilder {
    page: Page,
    bytes: usize,
    limit: usize,
}

impl PageBuilder {
    pub(super) fn new(limit: usize) -> Self {
        Self { page: Page::default(), bytes: 0, limit }
    }

    pub(super) fn push(
        &mut self,
        rows: &dyn Rows,
        number: u64,
        sequence: u64,
        key: PublicKey,
    ) -> ControlFlow<()> {
        if self.page.entries.len() >= self.limit {
            self.page.more = true;
            return ControlFlow::Break(());
        }
        let Some(bytes) = rows.get(ENTRIES, &layout::entry_key(number, sequence)) else {
            return ControlFlow::Continue(());
        };
        let total = self.bytes.saturating_add(bytes.len());
        if total > limits::PAGE_BYTES_MAX {
            self.page.more = true;
            return ControlFlow::Break(());
        }
        if let Ok(envelope) = Envelope::decode(&bytes) {
            self.bytes = total;
            self.page.entries.push(Entry::from_envelope(&envelope, sequence, key));
        }
        ControlFlow::Continue(())
    }

    pub(super) fn finish(self) -> Page {
        self.page
    }
}
