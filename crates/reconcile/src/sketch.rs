//! The symbols of one set, and their encoding.

use std::ops::Range;

use crate::{Item, Key, mark::Mark};

/// The most items that may be in one set only.
pub const DIFFERENCES_MAX: usize = 1 << 16;

/// The most symbols of a set that are sent: twice [`DIFFERENCES_MAX`], where 1.4 times is enough.
pub(crate) const SYMBOLS_MAX: usize = 1 << 17;

/// The most symbols in a portion; each takes 26 bytes, and 34 if forged.
pub(crate) const PORTION_MAX: usize = 2048;

/// Why two sets can't be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no portion of symbols, or not the requested one.
    #[error("not the symbols that were asked for")]
    Malformed,
    /// No two sets have such symbols, or one has changed in the meantime.
    #[error("symbols of no set")]
    Forged,
    /// More than [`DIFFERENCES_MAX`] items are in one set only.
    #[error("more than {DIFFERENCES_MAX} differences")]
    TooDifferent,
}

/// The first symbols of a set.
#[derive(Clone, Debug)]
pub struct Sketch {
    key: Key,
    symbols: Vec<Symbol>,
    /// The first symbol that items are added to.
    fresh: usize,
}

impl Sketch {
    /// Returns the sketch of a set that is still to be iterated.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self { key, symbols: Vec::new(), fresh: 0 }
    }

    /// Encodes a portion. `items` are iterated if it exceeds the computed symbols: the first time,
    /// and again beyond 64, 1,024 and 16,384 symbols.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if the range is empty, longer than 2,048, or exceeds 131,072 symbols.
    pub fn portion(
        &mut self,
        range: Range<usize>,
        items: impl IntoIterator<Item = Item>,
    ) -> Result<Vec<u8>, Error> {
        if range.is_empty() || range.len() > PORTION_MAX || range.end > SYMBOLS_MAX {
            return Err(Error::Malformed);
        }
        self.prepare(range.end, items);
        let count = self.symbols.first().map_or(0, |symbol| symbol.count);
        let mut bytes = Vec::new();
        write_number(&mut bytes, count);
        for (place, symbol) in self.symbols.iter().enumerate().take(range.end).skip(range.start) {
            let unexpected = symbol.count.wrapping_sub(expected(count, place));
            write_number(&mut bytes, unexpected);
            bytes.extend(symbol.sum.to_be_bytes());
            bytes.extend(symbol.check.to_be_bytes());
        }
        Ok(bytes)
    }

    pub(crate) fn prepare(&mut self, to: usize, items: impl IntoIterator<Item = Item>) {
        if self.grow(to) {
            self.extend(items);
        }
    }

    /// Makes room for symbols up to `to`. Returns true if the caller must then add all items with
    /// `extend`, each once, before anything else; it may do so in portions.
    pub fn grow(&mut self, to: usize) -> bool {
        if to <= self.symbols.len() || to > SYMBOLS_MAX {
            return false;
        }
        let mut prepared = PREPARED;
        while prepared < to {
            prepared = prepared.saturating_mul(16);
        }
        self.fresh = self.symbols.len();
        self.symbols.resize(prepared.min(SYMBOLS_MAX), Symbol::default());
        true
    }

    pub(crate) fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }
}

impl Extend<Item> for Sketch {
    fn extend<T: IntoIterator<Item = Item>>(&mut self, items: T) {
        for item in items {
            let mark = self.key.mark(u128::from_be_bytes(item));
            for place in mark.places().skip_while(|place| *place < self.fresh) {
                let Some(symbol) = self.symbols.get_mut(place) else { break };
                symbol.add(&mark, 1);
            }
        }
    }
}

/// The sum of all items that are mapped to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub(crate) count: i64,
    pub(crate) sum: u128,
    pub(crate) check: u64,
}

impl Symbol {
    pub(crate) fn add(&mut self, mark: &Mark, times: i64) {
        self.count = self.count.wrapping_add(times);
        self.sum ^= mark.item;
        self.check ^= mark.check;
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_sub(other.count),
            sum: self.sum ^ other.sum,
            check: self.check ^ other.check,
        }
    }
}

/// Decodes a portion.
pub(crate) fn read(range: Range<usize>, mut bytes: &[u8]) -> Result<Vec<Symbol>, Error> {
    let count = read_number(&mut bytes)?;
    let mut symbols = Vec::new();
    for place in range {
        let count = read_number(&mut bytes)?.wrapping_add(expected(count, place));
        let sum = u128::from_be_bytes(take(&mut bytes)?);
        let check = u64::from_be_bytes(take(&mut bytes)?);
        symbols.push(Symbol { count, sum, check });
    }
    if bytes.is_empty() { Ok(symbols) } else { Err(Error::Malformed) }
}

/// Returns roughly how many of so many items are in a symbol: only the deviation is encoded.
fn expected(count: i64, place: usize) -> i64 {
    let place = i64::try_from(place).unwrap_or(i64::MAX);
    count.wrapping_mul(2).checked_div(place.saturating_add(2)).unwrap_or_default()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Error> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(Error::Malformed)?;
    *bytes = rest;
    Ok(*taken)
}

/// Encodes a number as protobuf's `sint64`.
fn write_number(bytes: &mut Vec<u8>, number: i64) {
    let mut left = (number.wrapping_shl(1) ^ (number >> 63)).cast_unsigned();
    loop {
        let [low, ..] = left.to_le_bytes();
        left >>= 7;
        if left == 0 {
            return bytes.push(low & 0x7F);
        }
        bytes.push(low | 0x80);
    }
}

fn read_number(bytes: &mut &[u8]) -> Result<i64, Error> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take(bytes)?;
        number |= u64::from(byte & 0x7F).checked_shl(shift).unwrap_or_default();
        if byte & 0x80 == 0 {
            return Ok((number >> 1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg());
        }
    }
    Err(Error::Malformed)
}

/// The least number of symbols computed at once, because iterating a set costs more than they do.
const PREPARED: usize = 64;
