//! What was said and what was shown, when, as everybody in the town sees it.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// The board.
#[derive(Default)]
pub(crate) struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What each person says to another, by its number: when it was said, until it is shown.
    awaited: BTreeMap<Word, Instant>,
    /// How much each has said to another.
    said: BTreeMap<(usize, usize), usize>,
    shown: usize,
    /// Shown but not awaited: shown twice, or never said.
    unasked: Vec<Word>,
    watch: Option<Watch>,
    is_over: bool,
}

/// Who says it, to whom, and which of all things it is that they have said to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Word {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) number: usize,
}

impl Word {
    pub(crate) fn text(&self) -> String {
        format!("{} {} {}", self.from, self.to, self.number)
    }

    fn read(text: &str) -> Option<Self> {
        let numbers: Vec<_> = text.split(' ').map(|number| number.parse().ok()).collect();
        let [Some(from), Some(to), Some(number)] = numbers[..] else { return None };
        Some(Self { from, to, number })
    }
}

/// Which people are watched since an instant, and how long it took until a message from each and
/// one to each was shown.
struct Watch {
    since: Instant,
    people: Vec<usize>,
    heard: BTreeMap<usize, Duration>,
    told: BTreeMap<usize, Duration>,
}

impl Watch {
    fn is_done(&self) -> bool {
        self.heard.len() == self.people.len() && self.told.len() == self.people.len()
    }
}

impl Board {
    /// Records that a person sends the next message to another.
    pub(crate) fn says(&self, from: usize, to: usize) -> Word {
        let mut state = self.lock();
        let said = state.said.entry((from, to)).or_default();
        let word = Word { from, to, number: *said };
        *said += 1;
        state.awaited.insert(word, Instant::now());
        word
    }

    /// Records that a text is shown to a person.
    pub(crate) fn is_shown(&self, text: &str, to: usize) {
        let Some(word) = Word::read(text) else { return };
        let mut state = self.lock();
        match state.awaited.remove(&word).filter(|_| word.to == to) {
            None => state.unasked.push(word),
            Some(at) => {
                state.shown += 1;
                if let Some(watch) = state.watch.as_mut().filter(|watch| at >= watch.since) {
                    let took = watch.since.elapsed();
                    if watch.people.contains(&word.from) {
                        watch.heard.entry(word.from).or_insert(took);
                    }
                    if watch.people.contains(&to) {
                        watch.told.entry(to).or_insert(took);
                    }
                }
            }
        }
        self.changed.notify_all();
    }

    /// Waits until a word is shown, for so long; tells whether it is.
    pub(crate) fn is_shown_within(&self, time: Duration, word: Word) -> bool {
        self.within(time, |state| !state.awaited.contains_key(&word))
    }

    /// Waits until so much has been shown.
    pub(crate) fn until_shown_in_all(&self, count: usize) {
        self.until("more is shown", |state| state.shown >= count);
    }

    /// From now on these are watched.
    pub(crate) fn watch(&self, people: Vec<usize>) {
        let (heard, told) = Default::default();
        self.lock().watch = Some(Watch { since: Instant::now(), people, heard, told });
    }

    /// Waits until every watched person has sent and received a message. Returns how long each of
    /// them took.
    pub(crate) fn until_all_go_on(&self) -> BTreeMap<usize, Duration> {
        self.until("all go on", |state| state.watch.as_ref().is_none_or(Watch::is_done));
        let Some(watch) = self.lock().watch.take() else { return BTreeMap::new() };
        let slower = |(person, heard): (usize, Duration)| (person, heard.max(watch.told[&person]));
        watch.heard.into_iter().map(slower).collect()
    }

    /// What was said, by whom and to whom, and how often.
    pub(crate) fn said(&self) -> BTreeMap<(usize, usize), usize> {
        self.lock().said.clone()
    }

    pub(crate) fn shown(&self) -> usize {
        self.lock().shown
    }

    pub(crate) fn unasked(&self) -> Vec<Word> {
        self.lock().unasked.clone()
    }

    /// Ends the conversation.
    pub(crate) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        if !self.within(PATIENCE, holds) {
            let awaited: Vec<_> = self.lock().awaited.keys().copied().collect();
            panic!("timed out before {what}; awaited: {awaited:?}");
        }
    }

    /// Whether something becomes so, or all is over, within that time.
    fn within(&self, time: Duration, holds: impl Fn(&State) -> bool) -> bool {
        let going_on = |state: &mut State| !holds(state) && !state.is_over;
        let waited = self.changed.wait_timeout_while(self.lock(), time, going_on);
        !waited.unwrap().1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// Ends everything when a person fails, so that the others don't wait.
pub(crate) struct Alarm<'a>(pub(crate) &'a Board);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end();
        }
    }
}

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);
