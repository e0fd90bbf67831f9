//! Rows on disk.
