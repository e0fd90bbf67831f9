//! Tables as plain aligned text, and numbers in their cells.

use std::{fmt, time::Duration};

/// Rows of cells: the first column to the left, the others to the right.
#[derive(Debug, Default)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// Returns a table with this header.
    pub fn new(header: &[&str]) -> Self {
        Self(vec![header.iter().map(|&cell| cell.to_owned()).collect()])
    }

    /// Adds a row.
    pub fn push(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.0 {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &self.0 {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                line += &match column {
                    0 => format!("{cell:width$}"),
                    _ => format!("  {cell:>width$}"),
                };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (left, digit) in (0..digits.len()).rev().zip(digits.chars()) {
        text.push(digit);
        if left > 0 && left.is_multiple_of(3) {
            text.push(',');
        }
    }
    text
}

/// A number of the smallest units, with so many decimals: `1234` and 2 is `12.34`.
pub fn fixed(number: u64, decimals: u32) -> String {
    if decimals == 0 {
        return number.to_string();
    }
    let unit = 10_u64.saturating_pow(decimals);
    let whole = number.checked_div(unit).unwrap_or_default();
    let rest = number.checked_rem(unit).unwrap_or_default();
    let width = usize::try_from(decimals).unwrap_or_default();
    format!("{whole}.{rest:0width$}")
}

/// Microseconds as tenths of milliseconds, for [`fixed`] with one decimal.
pub fn tenths_of_ms(micros: u64) -> u64 {
    micros.saturating_add(50) / 100
}

/// A length of time in two units at most.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{}.{} s", seconds, time.subsec_millis() / 100),
        60..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} m", grouped(seconds / 3600), seconds / 60 % 60),
    }
}

/// `part / whole` in units of so many decimals, rounded; nothing if there is no whole.
pub fn ratio(part: u64, whole: u64, decimals: u32) -> Option<u64> {
    let unit = 10_u128.saturating_pow(decimals);
    let half = u128::from(whole / 2);
    let rounded = u128::from(part).saturating_mul(unit).saturating_add(half);
    rounded.checked_div(u128::from(whole)).map(|found| u64::try_from(found).unwrap_or(u64::MAX))
}

/// The smallest value that at least `percent` of a hundred do not exceed.
pub fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100).max(1);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_without_trailing_space() {
        let mut table = Table::new(&["what", "n", "time"]);
        table.push(vec!["Zürich".to_owned(), "1,000".to_owned(), "3 s".to_owned()]);
        table.push(vec!["a".to_owned(), "2".to_owned(), String::new()]);
        assert_eq!(
            table.to_string(),
            "what        n  time\n\
             Zürich  1,000   3 s\n\
             a           2\n"
        );
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(fixed(1234, 0), "1234");
        assert_eq!(fixed(1234, 2), "12.34");
        assert_eq!(fixed(5, 3), "0.005");
        let spans = [0, 1_999, 59_999, 60_000, 3_723_000, 36_000_000];
        assert_eq!(
            spans.map(|ms| span(Duration::from_millis(ms))),
            ["0.0 s", "1.9 s", "59.9 s", "1 m 00 s", "1 h 02 m", "10 h 00 m"]
        );
    }

    #[test]
    fn ratios_are_rounded() {
        assert_eq!(ratio(2, 3, 2), Some(67));
        assert_eq!(ratio(1, 3, 2), Some(33));
        assert_eq!(ratio(7, 1, 0), Some(7));
        assert_eq!(ratio(7, 0, 2), None);
        assert_eq!(ratio(u64::MAX, 1, 3), Some(u64::MAX));
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!([1, 50, 99, 100].map(|p| percentile(&hundred, p)), [1, 50, 99, 100].map(Some));
        assert_eq!([50, 99].map(|p| percentile(&[10, 20, 30], p)), [Some(20), Some(30)]);
        assert_eq!([0, 50, 99].map(|p| percentile(&[7], p)), [Some(7); 3]);
        assert_eq!(percentile(&[], 50), None);
    }
}
