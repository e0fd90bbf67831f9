//! Decoding: the other side's symbols minus this side's, peeled.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    Item, Key,
    mark::Mark,
    sketch::{DIFFERENCES_MAX, Error, PORTION_MAX, SYMBOLS_MAX, Sketch, Symbol, read},
};

/// A comparison with a set whose symbols arrive in portions.
#[derive(Clone, Debug)]
pub struct Comparison {
    key: Key,
    ours: Sketch,
    /// The symbols of the difference, without the items found so far.
    left: Vec<Symbol>,
    /// Items of the difference: 1 for theirs, −1 for ours.
    found: BTreeMap<u128, i64>,
}

/// The items that only one of two sets has, in rising order. A dishonest side may make this name
/// any items, so check that they exist before acting on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Items that only this side has.
    pub ours: Vec<Item>,
    /// Items that only the other side has.
    pub theirs: Vec<Item>,
}

impl Comparison {
    /// Starts a comparison. The key must be fresh and shared with the other side.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self { key, ours: Sketch::new(key), left: Vec::new(), found: BTreeMap::new() }
    }

    /// Returns the range of symbols to request next: eight, then four times as many up to 512, then
    /// half as many again.
    #[must_use]
    pub fn wants(&self) -> Range<usize> {
        let told = self.left.len();
        let next = match told {
            0 => FIRST,
            1..512 => told.saturating_mul(4),
            _ => told.saturating_add((told / 2).min(PORTION_MAX)),
        };
        told..next.min(SYMBOLS_MAX)
    }

    /// Does what [`Sketch::grow`] does for the next range; then [`Self::hear`] iterates no items.
    pub fn grow(&mut self) -> bool {
        self.ours.grow(self.wants().end)
    }

    /// Handles a portion of [`Self::wants`]. `ours` are the items of this side, iterated as those
    /// of a [`Sketch`] are. Returns the difference once it is known.
    ///
    /// # Errors
    ///
    /// After any error the comparison is over.
    pub fn hear(
        &mut self,
        portion: &[u8],
        ours: impl IntoIterator<Item = Item>,
    ) -> Result<Option<Difference>, Error> {
        let range = self.wants();
        if range.is_empty() {
            return Err(Error::TooDifferent);
        }
        let theirs = read(range.clone(), portion)?;
        self.ours.prepare(range.end, ours);
        let known = self.ours.symbols().iter().skip(range.start);
        self.left.extend(theirs.iter().zip(known).map(|(theirs, ours)| theirs.minus(*ours)));
        for (item, times) in self.found.clone() {
            let mark = self.key.mark(item);
            self.take_out(&mark, times, range.start, |_| {});
        }
        self.peel(range)?;
        match self.left.first() {
            Some(first) if *first == Symbol::default() => self.difference().map(Some),
            _ => Ok(None),
        }
    }

    /// Removes items that are alone in a symbol until there are none.
    fn peel(&mut self, mut changed: Range<usize>) -> Result<(), Error> {
        let mut again = Vec::new();
        while let Some(place) = again.pop().or_else(|| changed.next()) {
            let Some(symbol) = self.left.get(place).copied() else { continue };
            if symbol.count.unsigned_abs() != 1 {
                continue;
            }
            let mark = self.key.mark(symbol.sum);
            if mark.check != symbol.check || !is_at(&mark, place) {
                continue;
            }
            if self.found.insert(mark.item, symbol.count).is_some() {
                return Err(Error::Forged);
            }
            if self.found.len() > DIFFERENCES_MAX {
                return Err(Error::TooDifferent);
            }
            self.take_out(&mark, symbol.count, 0, |place| again.push(place));
        }
        Ok(())
    }

    fn take_out(&mut self, mark: &Mark, times: i64, from: usize, mut seen: impl FnMut(usize)) {
        for place in mark.places().skip_while(|place| *place < from) {
            let Some(symbol) = self.left.get_mut(place) else { break };
            symbol.add(mark, times.wrapping_neg());
            seen(place);
        }
    }

    fn difference(&self) -> Result<Difference, Error> {
        // Every item is in the first symbol, so nothing may be left in the others.
        if self.left.iter().any(|symbol| *symbol != Symbol::default()) {
            return Err(Error::Forged);
        }
        let mut difference = Difference::default();
        for (item, times) in &self.found {
            let side = if *times > 0 { &mut difference.theirs } else { &mut difference.ours };
            side.push(item.to_be_bytes());
        }
        Ok(difference)
    }
}

impl Extend<Item> for Comparison {
    fn extend<T: IntoIterator<Item = Item>>(&mut self, items: T) {
        self.ours.extend(items);
    }
}

fn is_at(mark: &Mark, place: usize) -> bool {
    mark.places().find(|at| *at >= place) == Some(place)
}

const FIRST: usize = 8;
