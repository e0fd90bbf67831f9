//! Figures: what is drawn from many values, and how tables look.

use std::fmt::Write as _;

/// Many values of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(Vec<u64>);

impl Values {
    pub(super) fn add(&mut self, value: u64) {
        self.0.push(value);
    }

    pub(super) fn mean(&self) -> f64 {
        let sum: u64 = self.0.iter().sum();
        sum as f64 / self.0.len().max(1) as f64
    }

    pub(super) fn max(&self) -> u64 {
        self.0.iter().copied().max().unwrap_or_default()
    }

    /// The value below which so many of a thousand lie.
    pub(super) fn quantile(&self, thousandths: usize) -> u64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * thousandths / 1000).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or_default()
    }
}

impl FromIterator<u64> for Values {
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Rows of words under a heading, in columns.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(heading.get(column).map(|word| word.len())).max().unwrap_or_default()
    };
    let mut text = String::new();
    let mut line = |cells: Vec<&str>| {
        for (column, cell) in cells.iter().enumerate() {
            let _ = if column == 0 {
                write!(text, "{cell:<0$}", width(0))
            } else {
                write!(text, "  {cell:>0$}", width(column))
            };
        }
        text.push('\n');
    };
    line(heading.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
    text
}

/// What share of `all` these are, in per cent.
pub(super) fn per_cent(part: usize, all: usize) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}
