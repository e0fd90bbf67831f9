//! The people of the town. Each has two home nodes and a few friends, and writes to one of them as
//! soon as the previous message was shown.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    board::{Alarm, Board, Word},
    ground::Plot,
    town::{Person, acquaint},
};

/// Someone, by number.
pub(crate) struct Citizen {
    pub(crate) person: Person,
    /// The numbers of two nodes.
    pub(crate) homes: [usize; 2],
    pub(crate) friends: Vec<usize>,
}

/// A source of chance that says the same each time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end
    }
}

/// All people and nodes.
#[derive(Clone, Copy)]
pub(crate) struct Town<'a> {
    pub(crate) citizens: &'a [Citizen],
    pub(crate) plots: &'a [Plot],
}

/// Creates accounts at two nodes each, and makes each a friend of the next one and of another.
pub(crate) fn create_accounts(
    people: &Path,
    count: usize,
    nodes: &[String],
    dice: &mut Dice,
) -> Vec<Citizen> {
    let create = |number: usize| {
        let homes = [number % nodes.len(), (number + 1 + number / nodes.len() % 2) % nodes.len()];
        let at = homes.map(|home| nodes[home].as_str());
        let person = Person::with_account_at(&people.join(name(number)), &name(number), &at);
        Citizen { person, homes, friends: Vec::new() }
    };
    let mut citizens = in_parallel((0..count).collect(), create);
    let mut pairs: Vec<_> = (0..count).map(|one| sorted(one, (one + 1) % count)).collect();
    pairs.extend((0..count / 2).map(|one| sorted(one, (one + 2 + dice.below(count - 3)) % count)));
    pairs.sort_unstable();
    pairs.dedup();
    in_parallel(pairs.clone(), |(one, other)| {
        let [one, other] = [one, other].map(|it| (&citizens[it].person, name(it)));
        acquaint((one.0, &one.1), (other.0, &other.1));
    });
    for (one, other) in pairs {
        citizens[one].friends.push(other);
        citizens[other].friends.push(one);
    }
    citizens
}

/// Some at a time: each waits for others most of the time.
fn in_parallel<T: Send + Sync, R: Send>(all: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let mut all = all.into_iter();
    let mut done = Vec::new();
    loop {
        let some: Vec<_> = all.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            return done;
        }
        thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> =
                some.into_iter().map(|one| scope.spawn(move || work(one))).collect();
            done.extend(running.into_iter().map(|one| one.join().unwrap()));
        });
    }
}

/// What its author and its reader have of a word, and what nodes say of themselves.
fn evidence(word: Word, all: &[Citizen], plots: &[Plot]) -> String {
    let author = all[word.from].evidence(word.to, word);
    let reader = all[word.to].evidence(word.from, word);
    let nodes: Vec<_> = plots.iter().map(Plot::evidence).collect();
    format!("author: {author}\nreader: {reader}\n{}", nodes.join("\n"))
}

fn sorted(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

pub(crate) fn name(number: usize) -> String {
    format!("citizen{number:02}")
}

impl Citizen {
    /// Writes on the board what is shown to this person, until the daemon is gone.
    pub(crate) fn listen(&self, number: usize, board: &Arc<Board>) {
        let (events, board) = (self.person.line().events(), Arc::clone(board));
        thread::spawn(move || {
            for event in events {
                if event["type"] == "message" && event["message"]["own"] == false {
                    board.is_shown(event["message"]["text"].as_str().unwrap_or_default(), number);
                }
            }
        });
    }

    /// Sends one message after the other to friends, until all is over.
    pub(crate) fn chat(&self, number: usize, town: Town<'_>, board: &Board, seed: u64) {
        let Town { citizens: all, plots } = town;
        let _alarm = Alarm(board);
        let mut dice = Dice::new(seed + number as u64);
        let mut line = self.person.line();
        while !board.is_over() {
            let word = board.says(number, self.friends[dice.below(self.friends.len())]);
            let to = self.person.account_of(&name(word.to));
            let said = json!({ "conversation": to, "text": word.text() });
            line.call("message.send", said);
            if board.is_shown_within(SLOW, word) {
                continue;
            }
            println!("{word:?} takes long\n{}", evidence(word, all, plots));
            let begun = Instant::now();
            let is_shown = board.is_shown_within(PATIENCE, word);
            println!("{word:?}: {is_shown} after {:?} more", begun.elapsed());
            assert!(is_shown, "not shown in time\n{}", evidence(word, all, plots));
        }
    }

    /// Describes whether this person has a word, the end of its conversation, and the state of the
    /// home nodes.
    fn evidence(&self, with: usize, word: Word) -> String {
        let latest = json!({ "conversation": self.person.account_of(&name(with)), "limit": 20 });
        let messages = self.person.call("message.list", latest);
        let messages = messages.as_array().unwrap();
        let here = messages.iter().position(|message| message["text"] == word.text());
        let last = messages.last().map(Value::to_string);
        let homes = self.person.call("home.list", json!({}));
        let status = self.person.call("status", json!({}));
        format!(
            "{here:?} of {}, it is {:?}, the last {last:?}; {homes}; {status}; {:?}",
            messages.len(),
            here.map(|at| messages[at].to_string()),
            self.homes
        )
    }

    /// Waits until both homes are connected.
    pub(crate) fn until_connected(&self) {
        self.until("both homes are connected", |person| {
            let homes = person.call("home.list", json!({}));
            homes["homes"].as_array().unwrap().iter().all(|home| home["up"] == true)
        });
    }

    /// Waits until something holds, without taking the processor from the other processes.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Person) -> bool) {
        let begun = Instant::now();
        while !holds(&self.person) {
            assert!(begun.elapsed() < PATIENCE, "timed out before {what}");
            // The daemon has no event for all that is waited for here, so it is asked again.
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// As many as a node lets in within a second.
const AT_ONCE: usize = 4;
const PATIENCE: Duration = Duration::from_secs(180);
/// Longer than anything should take: what is known of it is told.
const SLOW: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
