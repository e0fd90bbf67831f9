//! The store of a node.

use std::path::Path;

use ::node::{LAYOUT_NAME, LAYOUT_VERSION};
use proto::WriteBatch;
use store::{Fjall, Layout, Migration};

use crate::failure::Failure;

/// Opens the rows of a node, which no other process may have open.
pub(super) fn open(directory: &Path) -> Result<Fjall, Failure> {
    Ok(Fjall::open(directory, &LAYOUT)?)
}

pub(super) const LAYOUT: Layout =
    Layout { name: LAYOUT_NAME, version: LAYOUT_VERSION, migrations: &[TO_3] };
/// Version 3 has more tables; what older logs lack there is counted later, or omitted.
const TO_3: Migration = Migration { from: 2, run: |_| WriteBatch::default() };
