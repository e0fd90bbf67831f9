//! A machine that echoes, counts and tells all, and what tests need to run it.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use proto::{
    Body, Code, Expiry, Extension, Frame, Input, Instant, Kind, Machine, OpenError, Output, Peer,
    Reach, Reached, RelayPort, RelayToken, Rows, Seed, Table, WriteBatch,
};
use store::Store;

use crate::{Driver, DriverError, Events, Identity, Keys, Running, Settings};

/// Answers an append with `Accepted` after a commit that counts it; answers a signal with the same
/// and a request for a bundle with a bundle, without a commit.
pub(super) struct Echo {
    outputs: VecDeque<Output<Told>>,
    count: u64,
    /// What it was told to expect.
    coming: VecDeque<(Peer, Frame)>,
}

#[derive(Debug)]
pub(super) enum Told {
    Connected(Peer, Option<SocketAddr>),
    Disconnected(Peer),
    Frame(Frame),
    Relayed(Peer, Option<RelayPort>),
    Tried(Peer, bool),
}

#[derive(Debug)]
pub(super) enum Tell {
    Connect(Peer, Vec<SocketAddr>),
    Disconnect(Peer),
    Say(Peer, Frame),
    Relay(Peer),
    Tunnel(Peer, SocketAddr, RelayToken),
    Try(Peer, Vec<SocketAddr>),
}

/// Frames come in the order in which they were prefetched; those of a connection that was replaced
/// meanwhile don't.
fn check_prefetched(prefetched: &mut VecDeque<(Peer, Frame)>, peer: Peer, frame: &Frame) {
    let was_told = !prefetched.is_empty();
    let mut coming = std::iter::from_fn(|| prefetched.pop_front());
    let found = coming.any(|(next, next_frame)| (next, &next_frame) == (peer, frame));
    assert!(found || !was_told, "another frame was prefetched");
}

pub(super) const COUNT: (Table, &[u8]) = (Table(1), b"count");

pub(super) fn count(rows: &dyn Rows) -> u64 {
    rows.get(COUNT.0, COUNT.1).map_or(0, |n| u64::from_be_bytes(n.try_into().unwrap()))
}

impl Machine for Echo {
    type Config = Vec<(Peer, Vec<SocketAddr>)>;
    type Command = Tell;
    type Event = Told;

    fn open(
        peers: Self::Config,
        seed: Seed,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<Self, OpenError> {
        assert!(seed.0 != [0; 32] && now > Instant::from_secs(1_700_000_000));
        let outputs = peers.into_iter().map(|(peer, at)| Output::Connect(peer, at)).collect();
        Ok(Self { outputs, count: count(rows), coming: Default::default() })
    }

    fn prefetch(&mut self, coming: &[(Peer, Frame)], _rows: &dyn Rows) {
        assert!(coming.len() > 1, "nothing to do together");
        self.coming = coming.to_vec().into();
    }

    fn handle(&mut self, input: Input<Tell>, _now: Instant, _rows: &dyn Rows) {
        let outputs = &mut self.outputs;
        match input {
            Input::Command(Tell::Connect(peer, at)) => outputs.push_back(Output::Connect(peer, at)),
            Input::Command(Tell::Disconnect(peer)) => {
                outputs.push_back(Output::Transmit(peer, Frame::new(Body::Goodbye(Code::Done))));
                outputs.push_back(Output::Disconnect(peer));
            }
            Input::Command(Tell::Say(peer, frame)) => {
                outputs.push_back(Output::Transmit(peer, frame));
            }
            Input::Command(Tell::Relay(peer)) => {
                outputs.push_back(Output::Reach(Reach::Relay(peer)));
            }
            Input::Command(Tell::Tunnel(through, at, token)) => {
                outputs.push_back(Output::Reach(Reach::Tunnel { through, at, token }));
            }
            Input::Command(Tell::Try(peer, at)) => {
                outputs.push_back(Output::Reach(Reach::Try(peer, at)));
            }
            Input::Connected(peer, met_at) => {
                outputs.push_back(Output::Event(Told::Connected(peer, met_at)));
            }
            Input::Disconnected(peer) => outputs.push_back(Output::Event(Told::Disconnected(peer))),
            Input::Frame(peer, frame) => {
                check_prefetched(&mut self.coming, peer, &frame);
                let request = frame.request;
                let answer = match &frame.body {
                    Body::Append { channel, .. } => {
                        self.count += 1;
                        let mut batch = WriteBatch::default();
                        batch.put(COUNT.0, COUNT.1, self.count.to_be_bytes());
                        outputs.push_back(Output::Commit(batch));
                        Some(Body::Accepted { channel: *channel, sequence: self.count })
                    }
                    Body::Signal { .. } if request != 0 => Some(frame.body.clone()),
                    Body::GetBundle(account) => Some(Body::BundleIs(account.0.to_vec())),
                    Body::Read(_) => Some(page(BULK_BYTES)),
                    _ => None,
                };
                if let Some(body) = answer {
                    let request = if matches!(body, Body::Signal { .. }) { 0 } else { request };
                    outputs.push_back(Output::Transmit(peer, Frame { request, body }));
                }
                outputs.push_back(Output::Event(Told::Frame(frame)));
            }
            Input::Reached(Reached::Relayed(peer, port)) => {
                outputs.push_back(Output::Event(Told::Relayed(peer, port)));
            }
            Input::Reached(Reached::Tried(peer, is_there)) => {
                outputs.push_back(Output::Event(Told::Tried(peer, is_there)));
            }
            Input::Timeout => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output<Told>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// A running machine with its events.
pub(super) struct Side {
    pub(super) running: Running<Echo>,
    pub(super) events: Events<Told>,
    pub(super) key: Peer,
}

pub(super) async fn start(settings: Settings, store: impl Store + 'static) -> Side {
    let key = match &settings.keys {
        Keys::One(identity) => identity.public(),
        Keys::PerPeer(_) => Peer::default(),
    };
    Side::new(Driver::<Echo>::start(settings, Vec::new(), store).await.unwrap(), key)
}

pub(super) fn node(seed: u8, port: u16) -> Settings {
    let keys = Keys::One(Identity::from_seed([seed; 32]));
    let listen = Some(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]);
    Settings { listen, ..Settings::new(keys) }
}

pub(super) fn device(seed: u8) -> Settings {
    Settings::new(Keys::One(Identity::from_seed([seed; 32])))
}

impl Side {
    pub(super) fn new(mut running: Running<Echo>, key: Peer) -> Self {
        let events = running.take_events().unwrap();
        Self { running, events, key }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.running.local_addresses()[0]
    }

    pub(super) async fn tell(&self, command: Tell) {
        self.running.commands().send(command).await.unwrap();
    }

    pub(super) async fn say(&self, peer: Peer, request: u32, body: Body) {
        self.tell(Tell::Say(peer, Frame { request, body })).await;
    }

    pub(super) async fn connect(&mut self, to: &mut Self) {
        self.tell(Tell::Connect(to.key, vec![to.address()])).await;
        assert_eq!(self.connected().await, to.key);
        to.connected().await;
    }

    pub(super) async fn told(&mut self) -> Told {
        within(self.events.recv()).await.expect("the driver has stopped")
    }

    /// Skips to the next connection.
    pub(super) async fn connected(&mut self) -> Peer {
        self.met().await.0
    }

    /// Skips to the next connection; where the peer has proved to be.
    pub(super) async fn met(&mut self) -> (Peer, Option<SocketAddr>) {
        loop {
            if let Told::Connected(peer, met_at) = self.told().await {
                return (peer, met_at);
            }
        }
    }

    pub(super) async fn disconnected(&mut self) -> Peer {
        loop {
            if let Told::Disconnected(peer) = self.told().await {
                return peer;
            }
        }
    }

    /// Skips to the next answer to [`Tell::Relay`].
    pub(super) async fn relayed(&mut self) -> (Peer, Option<RelayPort>) {
        loop {
            if let Told::Relayed(peer, port) = self.told().await {
                return (peer, port);
            }
        }
    }

    /// Tries to dial a peer.
    pub(super) async fn reaches(&mut self, peer: Peer, at: SocketAddr) -> bool {
        self.tell(Tell::Try(peer, vec![at])).await;
        loop {
            if let Told::Tried(tried, is_there) = self.told().await {
                assert_eq!(tried, peer);
                return is_there;
            }
        }
    }

    /// Skips to the next frame.
    pub(super) async fn frame(&mut self) -> Frame {
        loop {
            if let Told::Frame(frame) = self.told().await {
                return frame;
            }
        }
    }

    pub(super) async fn shutdown(self) -> Result<(), DriverError> {
        within(self.running.shutdown()).await
    }
}

/// Nothing here takes seconds unless it is broken.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(15), future).await.expect("took too long")
}

/// Looks again until it is so.
pub(super) async fn until(mut is_so: impl FnMut() -> bool) {
    within(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

pub(super) fn append(bytes: usize) -> Body {
    Body::Append { channel: 1, entry: entry(bytes), signature: [7; 64] }
}

pub(super) fn page(bytes: usize) -> Body {
    Body::Page { entries: vec![entry(bytes / 3), entry(bytes / 3), entry(bytes / 3)], more: true }
}

pub(super) fn entry(bytes: usize) -> proto::Entry {
    proto::Entry {
        sequence: 0,
        kind: Kind::Entry,
        expiry: Expiry::Never,
        position: 1,
        extension: Extension::default(),
        ciphertext: vec![5; bytes],
        write_key: None,
    }
}

pub(super) const BULK_BYTES: usize = 180 * 1024;
