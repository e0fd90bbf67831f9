//! The shape of every protocol part: a value that takes inputs and is drained of outputs.

use std::{fmt, net::SocketAddr};

use crate::{Frame, Instant, Peer, Reach, Reached, Rows, WriteBatch};

/// A protocol part. It has no clock, socket, disk, thread or randomness of its own.
///
/// The contract: after each [`handle`](Self::handle), drain [`poll_output`](Self::poll_output) to
/// `None` and carry the outputs out in order. **A `Commit` is durable before any later output
/// leaves**; the driver may merge the commits of many inputs into one disk sync as long as it
/// holds back what follows them. Rows show a commit as soon as it was carried out, durable or not.
/// An empty commit is a barrier: it makes earlier notes durable.
///
/// A machine cannot fail: bad input is dropped and counted, a refused command becomes an event.
pub trait Machine: Sized {
    /// Local settings.
    type Config;
    /// A command of the application.
    type Command;
    /// A hint that rows have changed; never the data itself.
    type Event;

    /// Opens the machine from rows alone: start-up and recovery from a crash are the same.
    /// `seed` must be fresh: it is the machine's only source of randomness.
    fn open(
        config: Self::Config,
        seed: Seed,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<Self, OpenError>;

    /// Announces the frames that will be handed in next, in this order, so that the machine may
    /// batch work such as signature checks. A hint: it changes only the cost of handling them, and
    /// the frames may come changed, between other inputs, or not at all.
    fn prefetch(&mut self, coming: &[(Peer, Frame)], rows: &dyn Rows) {
        let _ = (coming, rows);
    }

    /// Handles one input.
    fn handle(&mut self, input: Input<Self::Command>, now: Instant, rows: &dyn Rows);

    /// Returns the next output; see the contract above.
    fn poll_output(&mut self) -> Option<Output<Self::Event>>;

    /// Returns when [`Input::Timeout`] is due next.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// An input of a machine.
#[derive(Debug)]
pub enum Input<C> {
    /// A command of the application.
    Command(C),
    /// A peer is connected and authenticated; frames may flow. The address is the one at which the
    /// peer has answered; `None` behind a relay.
    Connected(Peer, Option<SocketAddr>),
    /// A frame of a peer.
    Frame(Peer, Frame),
    /// The connection to a peer is gone; what was not accepted may be lost.
    Disconnected(Peer),
    /// The driver answers an [`Output::Reach`].
    Reached(Reached),
    /// The time that [`Machine::poll_timeout`] named has come.
    Timeout,
}

/// An output of a machine.
#[derive(Debug)]
pub enum Output<E> {
    /// Make these changes, all or none, and hold back the following outputs until they are durable.
    Commit(WriteBatch),
    /// Make these changes, all or none, without waiting: they become durable with the next commit.
    /// For data that can be fetched again, such as entries that a node has delivered and still
    /// holds.
    Note(WriteBatch),
    /// Keep a connection to this peer, at one of these addresses.
    Connect(Peer, Vec<SocketAddr>),
    /// Close the connection to this peer after what was transmitted before.
    Disconnect(Peer),
    /// Send this frame. Dropped if there is no connection.
    Transmit(Peer, Frame),
    /// Help peers that cannot be dialled to be reached. Only nodes ask for this.
    Reach(Reach),
    /// Report an event to the application.
    Event(E),
}

/// Thirty-two fresh random bytes from the driver.
#[derive(Clone)]
pub struct Seed(pub [u8; 32]);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// The machine cannot open the rows. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// They were written by a newer version.
    #[error("the data was written by a newer version (layout {found}, this one knows {known})")]
    Newer {
        /// Layout of the rows.
        found: u32,
        /// Newest layout this build knows.
        known: u32,
    },
    /// A row that must be there is missing or does not parse.
    #[error("the data is damaged: {0}")]
    Damaged(&'static str),
}
