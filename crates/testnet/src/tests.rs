//! The network itself, with a machine that counts what it hears.

use std::{collections::VecDeque, time::Duration};

use proto::{
    Body, Code, Frame, Input, Instant, Machine, OpenError, Output, Peer, PublicKey, Rows, Seed,
    Table, WriteBatch,
};

use crate::{Fate, Keys, Net, START, Sent};

/// Wants connections to the peers of its configuration, and notes the handle of each signal.
struct Counter {
    outputs: VecDeque<Output<u32>>,
    alarm: Option<Instant>,
}

enum Ask {
    Say(Peer, u32),
    Wake(Duration),
}

impl Machine for Counter {
    type Config = Vec<Peer>;
    type Command = Ask;
    type Event = u32;

    fn open(peers: Vec<Peer>, _: Seed, _: Instant, _: &dyn Rows) -> Result<Self, OpenError> {
        let outputs = peers.into_iter().map(|peer| Output::Connect(peer, Vec::new())).collect();
        Ok(Self { outputs, alarm: None })
    }

    fn handle(&mut self, input: Input<Ask>, now: Instant, _: &dyn Rows) {
        match input {
            Input::Command(Ask::Say(peer, channel)) => {
                self.outputs.push_back(Output::Transmit(peer, signal(channel)));
            }
            Input::Command(Ask::Wake(after)) => self.alarm = Some(now.after(after)),
            Input::Frame(_, Frame { body: Body::Signal { channel, .. }, .. }) => {
                let mut batch = WriteBatch::default();
                batch.put(HEARD, channel.to_be_bytes(), Vec::new());
                self.outputs.push_back(Output::Commit(batch));
                self.outputs.push_back(Output::Event(channel));
            }
            Input::Frame(_, frame) => assert_eq!(frame.body, Body::Goodbye(Code::Done)),
            Input::Connected(..) => self.outputs.push_back(Output::Event(UP)),
            Input::Disconnected(_) => self.outputs.push_back(Output::Event(DOWN)),
            Input::Timeout => {
                self.alarm = None;
                self.outputs.push_back(Output::Event(ALARM));
            }
            Input::Reached(_) => panic!("not asked for"),
        }
    }

    fn poll_output(&mut self) -> Option<Output<u32>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.alarm
    }
}

fn signal(channel: u32) -> Frame {
    Frame::new(Body::Signal { channel, ciphertext: vec![1] })
}

fn key(number: u8) -> Peer {
    PublicKey([number; 32])
}

/// Two hosts, the first of which wants a connection to the second.
fn pair(latency: Duration) -> Net<Counter> {
    let mut net = Net::new(1);
    net.latency = latency;
    for number in 0..2 {
        let peers = if number == 0 { vec![key(1)] } else { Vec::new() };
        net.add(Keys::One(key(number)), None, move || peers.clone(), |_| Vec::new());
        net.start(usize::from(number));
    }
    net.pass(SECOND);
    assert_eq!((take(&mut net, 0), take(&mut net, 1)), (vec![UP], vec![UP]));
    net
}

fn say(net: &mut Net<Counter>, from: usize, handles: &[u32]) {
    for channel in handles {
        net.command(from, Ask::Say(key(u8::from(from == 0)), *channel));
    }
}

fn take(net: &mut Net<Counter>, host: usize) -> Vec<u32> {
    std::mem::take(&mut net.hosts[host].events)
}

#[test]
fn frames_take_their_time_and_keep_their_order() {
    let mut net = pair(20 * MILLI);
    say(&mut net, 0, &[1, 2]);
    net.pass(19 * MILLI);
    assert_eq!(take(&mut net, 1), []);
    net.pass(MILLI);
    assert_eq!(take(&mut net, 1), [1, 2]);
    assert_eq!(net.sent.len(), 2);
}

#[test]
fn a_timeout_is_due_when_the_machine_says_and_not_before() {
    let mut net = pair(Duration::ZERO);
    net.command(0, Ask::Wake(SECOND));
    assert!(!net.fire(net.now.after(MILLI)));
    net.pass(2 * SECOND);
    assert_eq!(take(&mut net, 0), [ALARM]);
    assert_eq!(net.now, START.after(3 * SECOND));
}

#[test]
fn a_few_frames_of_each_direction_are_carried_and_the_others_wait() {
    let mut net = pair(Duration::ZERO);
    say(&mut net, 0, &[1, 2]);
    say(&mut net, 1, &[3, 4]);
    assert!(net.carry(1));
    assert_eq!((take(&mut net, 0), take(&mut net, 1)), (vec![3], vec![1]));
    net.lose_all();
    assert!(!net.is_busy() && !net.carry(1));
}

#[test]
fn a_hook_decides_what_becomes_of_a_frame() {
    let mut net = pair(Duration::ZERO);
    net.on_frame(|Sent { frame, .. }| match frame.body {
        Body::Signal { channel: 1, .. } => Fate::Lose,
        Body::Signal { channel: 2, .. } => Fate::Hold,
        Body::Signal { channel: 3, .. } => Fate::Answer(Body::Goodbye(Code::Done)),
        Body::Signal { channel: 4, .. } => Fate::Become(vec![signal(41), signal(42)]),
        _ => Fate::Deliver,
    });
    say(&mut net, 0, &[1, 2, 3, 4, 5]);
    net.run();
    assert_eq!(take(&mut net, 1), [41, 42, 5]);
    assert_eq!(net.sent.last().map(|sent| (sent.from, sent.to)), Some((1, 0)));
    net.on_frame(|_| Fate::Deliver);
    say(&mut net, 0, &[6]);
    net.release();
    net.run();
    assert_eq!(take(&mut net, 1), [2, 6]);
}

#[test]
fn a_cut_ends_a_connection_and_what_is_on_its_way_until_it_heals() {
    let mut net = pair(20 * MILLI);
    say(&mut net, 0, &[1]);
    net.set_cut(0, 1, true);
    say(&mut net, 0, &[2]);
    net.pass(SECOND);
    assert_eq!((take(&mut net, 0), take(&mut net, 1)), (vec![DOWN], vec![DOWN]));
    net.heal();
    net.pass(SECOND);
    assert_eq!((take(&mut net, 0), take(&mut net, 1)), (vec![UP], vec![UP]));
}

#[test]
fn a_crash_loses_what_was_not_synced_and_is_noticed_in_time() {
    let mut net = pair(20 * MILLI);
    net.notice = SECOND;
    say(&mut net, 0, &[1]);
    net.pass(SECOND);
    net.hosts[1].syncs = false;
    say(&mut net, 0, &[2]);
    net.pass(SECOND / 2);
    assert_eq!(take(&mut net, 1), [1], "what follows a commit waits for the sync");
    assert_eq!(net.hosts[1].rows(HEARD).len(), 2);
    net.crash(1);
    assert_eq!(net.hosts[1].rows(HEARD).len(), 1);
    net.pass(SECOND / 2);
    assert_eq!(take(&mut net, 0), []);
    net.pass(SECOND);
    assert_eq!(take(&mut net, 0), [DOWN]);
    net.start(1);
    net.pass(SECOND);
    assert_eq!((take(&mut net, 0), net.peers(1).len()), (vec![UP], 1));
}

#[test]
fn a_host_that_dies_before_a_commit_starts_again_without_it() {
    let mut net = pair(Duration::ZERO);
    net.hosts[1].dies_before_commit = true;
    say(&mut net, 0, &[1, 2]);
    net.run();
    assert_eq!(net.hosts[1].rows(HEARD), []);
    assert_eq!((take(&mut net, 0), take(&mut net, 1)), (vec![DOWN, UP], vec![UP]));
    say(&mut net, 0, &[3]);
    net.run();
    assert_eq!(net.hosts[1].rows(HEARD).len(), 1);
}

const HEARD: Table = Table(1);
const UP: u32 = 1_000_001;
const DOWN: u32 = 1_000_002;
const ALARM: u32 = 1_000_003;
const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
