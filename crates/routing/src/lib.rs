//! Who is alive and who holds what.

mod record;
mod work;

pub use record::{NodeDraft, NodeRecord, RecordError, Suspicion};
pub use work::prove_work;
