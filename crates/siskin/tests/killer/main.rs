//! Nodes of a town of real processes are killed and stopped, their disks fill up and their cables
//! are cut, while all people write. Nothing is lost, nothing is shown twice, and messages keep
//! arriving within seconds. Needs root, `ip`, `mkfs.ext4` and loop devices.
//!
//! A few people and one blow of each kind by default. The long run is
//!
//! ```text
//! SISKIN_PEOPLE=20 SISKIN_MESSAGES=100000 SISKIN_BLOWS=75 \
//!     cargo nextest run --release -p siskin --test killer --no-capture
//! ```
//!
//! which also prints how long it took until those who are at home at the node were heard and told
//! something that was said after the blow. `SISKIN_SEED` chooses who is struck.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test may stop on the first thing that is not as it should be, and has a clock"
)]

mod board;
mod folk;
mod ground;
#[path = "../town/mod.rs"]
mod town;

use std::{
    collections::BTreeSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use board::{Alarm, Board, Word};
use folk::{Citizen, Dice, Town, name};
use ground::Plot;
use town::Node;

/// What befalls a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// `kill -9`; it is started again once everybody goes on.
    Kill,
    /// `SIGSTOP`: it is there and says nothing; it goes on later.
    Stop,
    /// Its disk is full, so it ends; it is started again when there is room.
    Fill,
    /// Nothing reaches it and nothing comes from it, for a while.
    Cut,
}

const BLOWS: [Blow; 4] = [Blow::Kill, Blow::Stop, Blow::Fill, Blow::Cut];

impl Blow {
    /// One of each kind first; two of three are kills.
    fn of_round(round: usize) -> Self {
        BLOWS.get(round % 9).copied().unwrap_or(Self::Kill)
    }

    /// How long it lasts at least.
    fn lasts(self, is_long: bool) -> Duration {
        let seconds = match self {
            Self::Kill => 0,
            Self::Stop if is_long => 30,
            Self::Cut if is_long => 15,
            Self::Fill if is_long => 5,
            Self::Stop | Self::Fill | Self::Cut => 1,
        };
        Duration::from_secs(seconds)
    }
}

#[test]
fn nothing_is_lost_and_all_go_on_while_a_killer_goes_about() {
    let Some(place) = ground::place() else {
        return ground::run_apart("nothing_is_lost_and_all_go_on_while_a_killer_goes_about");
    };
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>().unwrap());
    let is_long = number("SISKIN_MESSAGES").is_some();
    let (messages, blows) =
        (number("SISKIN_MESSAGES").unwrap_or(300), number("SISKIN_BLOWS").unwrap_or(BLOWS.len()));
    let (count, seed) = (number("SISKIN_PEOPLE").unwrap_or(6), number("SISKIN_SEED").unwrap_or(1));
    let mut dice = Dice::new(seed as u64);

    ground::prepare(&place.join("people"));
    let disk_mib = if is_long { 4096 } else { 512 };
    let plots: Vec<_> = (0..NODES).map(|plot| Plot::new(&place, plot, disk_mib)).collect();
    let mut nodes: Vec<Node> = Vec::new();
    for plot in &plots {
        let join: Vec<_> = nodes.first().map(|first| first.address.as_str()).into_iter().collect();
        let (under, at) = (plot.under(), plot.listens());
        let node = Node::start_under(&under, &plot.directory(), &at, &join);
        nodes.push(node);
    }
    let addresses: Vec<_> = nodes.iter().map(|node| node.address.clone()).collect();
    let citizens = folk::create_accounts(&place.join("people"), count, &addresses, &mut dice);
    let board = Arc::new(Board::default());
    let begun = Instant::now();
    let mut struck = Vec::new();
    thread::scope(|scope| {
        let _alarm = Alarm(&board);
        for (number, citizen) in citizens.iter().enumerate() {
            citizen.listen(number, &board);
        }
        for (number, citizen) in citizens.iter().enumerate() {
            let (board, town) = (&board, Town { citizens: &citizens, plots: &plots });
            scope.spawn(move || citizen.chat(number, town, board, seed as u64));
        }
        for round in 0..blows {
            board.until_shown_in_all(messages * round / blows);
            let (blow, victim) = (Blow::of_round(round), dice.below(NODES));
            let at_home = citizens.iter().enumerate();
            let at_home = at_home.filter(|(_, citizen)| citizen.homes.contains(&victim));
            board.watch(at_home.map(|(number, _)| number).collect());
            let took = strike(blow, &mut nodes[victim], &plots[victim], &board, is_long);
            struck.push((blow, took));
            citizens.iter().for_each(Citizen::until_connected);
        }
        board.until_shown_in_all(messages);
        board.end();
    });
    let (took, shown) = (begun.elapsed(), board.shown());
    println!("{shown} messages in {:.0} s, {blows} blows, seed {seed}", took.as_secs_f64());
    report(&struck);
    check(&citizens, &board);
}

/// Strikes a node, and heals it once messages arrive again. Returns how long that took for each
/// person.
fn strike(blow: Blow, node: &mut Node, plot: &Plot, board: &Board, is_long: bool) -> Vec<Duration> {
    let begun = Instant::now();
    match blow {
        Blow::Kill => node.kill(),
        Blow::Stop => node.stall(true),
        Blow::Fill => plot.fill(),
        Blow::Cut => plot.cut(true),
    }
    let took = board.until_all_go_on();
    // Nothing is waited for: a blow lasts its time, however soon everybody goes on.
    thread::sleep(blow.lasts(is_long).saturating_sub(begun.elapsed()));
    match blow {
        Blow::Kill => node.restart(),
        Blow::Stop => node.stall(false),
        Blow::Fill => {
            until_ended(node);
            plot.clear();
            node.restart();
        }
        Blow::Cut => plot.cut(false),
    }
    took.into_values().collect()
}

/// A node that can store nothing ends, as soon as it is to store something.
fn until_ended(node: &mut Node) {
    let begun = Instant::now();
    while !node.poll_ended() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it can't have stored anything");
        // Nothing tells when a process ends, but asking.
        thread::sleep(Duration::from_millis(50));
    }
}

fn report(struck: &[(Blow, Vec<Duration>)]) {
    println!("until who is at home there was heard and told something:");
    for blow in BLOWS {
        let of_it = struck.iter().filter(|(what, _)| *what == blow).map(|(_, took)| took);
        let slowest = of_it.clone().filter_map(|took| took.iter().max().copied()).collect();
        let all: Vec<_> = of_it.flatten().copied().collect();
        let count = struck.iter().filter(|(what, _)| *what == blow).count();
        let (slowest, all) = (figures(slowest), figures(all));
        println!("  {blow:?}, {count} times: each person {all}; the slowest each time {slowest}");
    }
}

fn figures(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    let ms = |part| at(part).map_or(0, Duration::as_millis);
    format!("median {} ms, p90 {} ms, worst {} ms", ms(50), ms(90), ms(100))
}

/// Checks that each person has all messages that they sent or received, once, and that two people
/// have them in the same order.
fn check(citizens: &[Citizen], board: &Board) {
    assert_eq!(board.unasked(), [], "shown twice, or never said");
    let said = board.said();
    for (one, citizen) in citizens.iter().enumerate() {
        for other in citizen.friends.iter().copied().filter(|other| *other > one) {
            let directions = [(one, other), (other, one)];
            let words = directions.map(|(from, to)| {
                let count = said.get(&(from, to)).copied().unwrap_or(0);
                (0..count).map(move |number| Word { from, to, number }.text())
            });
            let words: BTreeSet<_> = words.into_iter().flatten().collect();
            let both = directions.map(|(reader, writer)| {
                citizens[reader].until("all is there and held by two nodes", |person| {
                    let messages = person.messages(&name(writer));
                    messages.len() >= words.len()
                        && messages.iter().all(|it| it["status"] != "sent")
                });
                citizens[reader].person.texts(&name(writer))
            });
            assert_eq!(both[0], both[1], "in one order");
            assert_eq!(both[0].len(), words.len(), "once each");
            assert_eq!(both[0].iter().cloned().collect::<BTreeSet<_>>(), words, "nothing is lost");
        }
    }
}

const NODES: usize = 5;
