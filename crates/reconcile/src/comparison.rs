//! Their symbols minus ours, peeled.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    Item, Key,
    mark::Mark,
    sketch::{DIFFERENCES_MAX, Error, PORTION_MAX, SYMBOLS_MAX, Sketch, Symbol, read},
};

/// A comparison with a set that is told bit by bit.
#[derive(Clone, Debug)]
pub struct Comparison {
    key: Key,
    ours: Sketch,
    /// What is left of the symbols of the difference.
    left: Vec<Symbol>,
    /// Items of the difference, with 1 if they are theirs and −1 if they are ours.
    found: BTreeMap<u128, i64>,
}

/// The items that only one of two sets has, in ascending order. A malicious peer may have named any
/// items, so a caller checks whether they exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What we have and they lack.
    pub ours: Vec<Item>,
    /// What they have and we lack.
    pub theirs: Vec<Item>,
}

impl Comparison {
    /// Begins one. The key is new, and told to the other side.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self { key, ours: Sketch::new(key), left: Vec::new(), found: BTreeMap::new() }
    }

    /// The symbols to request next: eight, four times as many until there are 512, then half as
    /// many again.
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

    /// As [`Sketch::grow`], for what is wanted next: after that [`Self::hear`] walks through
    /// nothing.
    pub fn grow(&mut self) -> bool {
        self.ours.grow(self.wants().end)
    }

    /// Takes a portion of [`Self::wants`]. `ours` are the items of this side; they are walked
    /// through as those of a [`Sketch`] are. Returns the difference once it is known.
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

    /// Takes out items that are alone in a symbol until there are no more of them.
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
