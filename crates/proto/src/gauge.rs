//! Gauges: how full a machine's collections are.

/// One collection that a peer or the application can make grow, and its limit.
///
/// Where a machine has many of a kind, the gauge is about the fullest one. After each input
/// `value <= limit` holds, whatever peers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// What is counted, such as `"connections"`; no two gauges of a machine share a name.
    pub name: &'static str,
    /// The current size.
    pub value: u64,
    /// The largest allowed size.
    pub limit: u64,
}

impl Gauge {
    /// Returns the gauge of a collection in memory.
    pub const fn new(name: &'static str, value: usize, limit: usize) -> Self {
        Self { name, value: value as u64, limit: limit as u64 }
    }
}
