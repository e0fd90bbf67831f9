//! The task of one connection: moves bytes between its streams and its [`Link`].

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use proto::{Body, Code, DecodeError, Frame, FrameReader, Lane};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::time::timeout;

use crate::{
    keepalive::{Counts, Keepalive},
    link::{Ending, LANES, Link},
    registry::Registry,
};

/// The streams of a connection, by number of [`Lane`].
pub(crate) struct Lanes([Stream; LANES]);

struct Stream {
    send: SendStream,
    recv: RecvStream,
    reader: FrameReader,
    /// Taken from the link, not yet by QUIC.
    writing: Bytes,
    /// The peer has finished this stream.
    finished: bool,
}

impl Lanes {
    /// Opens the lanes; the first byte on each stream says which it is.
    pub(crate) async fn open(connection: &Connection) -> Option<Self> {
        let mut lanes = Vec::with_capacity(LANES);
        for number in 0..LANES {
            let (mut send, recv) = connection.open_bi().await.ok()?;
            send.write_all(&[u8::try_from(number).ok()?]).await.ok()?;
            lanes.push(Stream::new(send, recv, number));
        }
        lanes.try_into().ok().map(Self)
    }

    /// Accepts the lanes that the other side opens.
    pub(crate) async fn accept(connection: &Connection) -> Option<Self> {
        let mut lanes: [Option<Stream>; LANES] = Default::default();
        for _ in 0..LANES {
            let (send, mut recv) = connection.accept_bi().await.ok()?;
            let mut number = [0];
            recv.read_exact(&mut number).await.ok()?;
            let number = usize::from(number[0]);
            let lane = lanes.get_mut(number).filter(|lane| lane.is_none())?;
            *lane = Some(Stream::new(send, recv, number));
        }
        let lanes: Vec<_> = lanes.into_iter().flatten().collect();
        lanes.try_into().ok().map(Self)
    }
}

impl Stream {
    fn new(send: SendStream, recv: RecvStream, number: usize) -> Self {
        // Control before messages before bulk.
        let _ = send.set_priority(i32::try_from(LANES.saturating_sub(number)).unwrap_or_default());
        let (reader, writing) = (FrameReader::default(), Bytes::new());
        Self { send, recv, reader, writing, finished: false }
    }
}

/// Carries frames until the connection ends.
pub(crate) async fn run(registry: Arc<Registry>, link: Arc<Link>, lanes: Lanes) {
    let interval = registry.settings().keep_alive;
    let keepalive =
        link.is_dialled().then(|| Box::new(Keepalive::new(interval, link.connection())));
    let mut task = Task { registry, link, lanes, keepalive, malformed: 0, frames: Vec::new() };
    let ending = poll_fn(|cx| task.poll(cx)).await;
    if let Ending::Flushed(code) | Ending::Now(code) = ending {
        if matches!(ending, Ending::Flushed(_)) {
            let _ = Box::pin(timeout(FLUSH_MAX, task.flush())).await;
        }
        task.link.connection().close(VarInt::from_u32(code as u32), b"");
    }
    task.registry.tally().keep(&task.link.connection().stats());
    task.registry.leave(&task.link);
}

struct Task {
    registry: Arc<Registry>,
    link: Arc<Link>,
    lanes: Lanes,
    /// On the side that dialled.
    keepalive: Option<Box<Keepalive>>,
    malformed: u32,
    frames: Vec<(Frame, usize)>,
}

impl Task {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if let Some(ending) = self.link.register(cx.waker()) {
            return Poll::Ready(ending);
        }
        match self.advance(cx) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    /// Moves what can be moved now.
    fn advance(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for number in 0..LANES {
                moved |= self.write(number, cx)?;
            }
            for number in 0..LANES {
                moved |= self.read(number, cx)?;
            }
            if !moved {
                return self.check_keepalive(cx);
            }
        }
        // Other tasks need this thread as well.
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn write(&mut self, number: usize, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let Some(lane) = self.lanes.0.get_mut(number) else { return Ok(false) };
        if lane.writing.is_empty() {
            lane.writing = Bytes::from(self.link.take_out(number));
            if lane.writing.is_empty() {
                return Ok(false);
            }
        }
        // The answer may come before this task continues.
        let before = self.keepalive.as_ref().map(|_| Counts::of(self.link.connection()));
        let mut chunks = [std::mem::take(&mut lane.writing)];
        let poll = pin!(lane.send.write_chunks(&mut chunks)).poll(cx);
        let [rest] = chunks;
        lane.writing = rest;
        match poll {
            Poll::Ready(Ok(written)) => {
                self.link.mark_written(number, written.bytes);
                if let (Some(keepalive), Some(before)) = (&mut self.keepalive, before) {
                    keepalive.sent(before);
                }
                Ok(true)
            }
            Poll::Ready(Err(_)) => Err(Ending::Lost),
            Poll::Pending => Ok(false),
        }
    }

    fn read(&mut self, number: usize, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let Some(lane) = self.lanes.0.get_mut(number) else { return Ok(false) };
        if lane.finished || self.link.stalls() {
            return Ok(false);
        }
        match pin!(lane.recv.read_chunk(READ_MAX, true)).poll(cx) {
            Poll::Ready(Ok(Some(chunk))) => lane.reader.push(&chunk.bytes),
            Poll::Ready(Ok(None)) => lane.finished = true,
            Poll::Ready(Err(_)) => return Err(Ending::Lost),
            Poll::Pending => return Ok(false),
        }
        if let Some(keepalive) = &mut self.keepalive {
            keepalive.received();
        }
        if self.lanes.0.iter().all(|lane| lane.finished) {
            return Err(Ending::Flushed(Code::Done));
        }
        self.split(number)?;
        if !self.frames.is_empty() {
            self.link.put(&mut self.frames);
            self.registry.mark_ready(&self.link);
            self.frames = Vec::new();
        }
        Ok(true)
    }

    /// Splits what was read into frames, and refuses malformed ones.
    fn split(&mut self, number: usize) -> Result<(), Ending> {
        let Some(lane) = self.lanes.0.get_mut(number) else { return Ok(()) };
        let tally = self.registry.tally();
        loop {
            let (code, request) = match lane.reader.next_frame() {
                Ok(None) => return Ok(()),
                Ok(Some((frame, size))) => {
                    tally.count_frame_in(size);
                    self.frames.push((frame, size));
                    continue;
                }
                Err(DecodeError::UnknownFrame(request)) => (Code::UnknownFrame, request),
                Err(DecodeError::TooLarge) => {
                    tally.count_malformed_frame();
                    self.link.queue(&Frame::new(Body::Goodbye(Code::Malformed)), tally);
                    return Err(Ending::Flushed(Code::Malformed));
                }
                Err(
                    DecodeError::Wire
                    | DecodeError::Truncated
                    | DecodeError::Length
                    | DecodeError::Kind
                    | DecodeError::Version,
                ) => (Code::Malformed, 0),
            };
            tally.count_malformed_frame();
            self.malformed = self.malformed.saturating_add(1);
            if self.malformed > MALFORMED_MAX {
                self.link.queue(&Frame::new(Body::Goodbye(Code::Malformed)), tally);
                return Err(Ending::Flushed(Code::Malformed));
            }
            let body = Body::Refused { code, newer: Vec::new() };
            self.link.queue(&Frame { request, body }, tally);
        }
    }

    fn check_keepalive(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        let Some(keepalive) = &mut self.keepalive else { return Ok(()) };
        match keepalive.poll_gone(cx, self.link.connection()) {
            Poll::Ready(()) => Err(Ending::Now(Code::Done)),
            Poll::Pending => Ok(()),
        }
    }

    /// Writes what waits, until it is acknowledged.
    async fn flush(&mut self) -> Option<()> {
        poll_fn(|cx| {
            // Only QUIC makes room, so only its wakers matter here.
            for number in 0..LANES {
                loop {
                    match self.write(number, cx) {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(_) => return Poll::Ready(None),
                    }
                }
            }
            let empty = self.lanes.0.iter().all(|lane| lane.writing.is_empty());
            if empty { Poll::Ready(Some(())) } else { Poll::Pending }
        })
        .await?;
        for lane in &mut self.lanes.0 {
            lane.send.finish().ok()?;
        }
        for lane in &self.lanes.0 {
            lane.send.stopped().await.ok()?;
        }
        Some(())
    }
}

const _: () = assert!(
    Lane::Control as usize == 0 && Lane::Messages as usize == 1 && Lane::Bulk as usize == 2
);
/// How much is read at once.
const READ_MAX: usize = 64 * 1024;
/// Rounds before other tasks get their turn.
const ROUNDS_MAX: usize = 32;
/// Malformed frames after which the connection is closed.
const MALFORMED_MAX: u32 = 16;
/// How long a last frame may take.
const FLUSH_MAX: Duration = Duration::from_secs(2);
