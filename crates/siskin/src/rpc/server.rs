//! The socket of a daemon or of a node: for this user alone, everything bounded.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufRead, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
    time::timeout,
};

use super::{
    methods::{self, Refusal},
    subscription::{SUBSCRIBE, Subscribe, Subscription},
    wire::{
        EVENT, ErrorShape, INVALID_REQUEST, NO_METHOD, Notification, PARSE_ERROR, REQUEST_MAX,
        Request, Response, Version, read_line, write_line,
    },
};
use crate::{engine::Engine, failure::Failure};

/// The socket, and those who are connected.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
    connections: JoinSet<()>,
}

impl Server {
    /// Listens at `path`. Only one process may get here: who holds the store.
    pub(crate) fn bind(path: &Path) -> Result<Self, Failure> {
        let bind = || {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // The directory is private, so nobody gets in before the mode is set.
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            Ok((listener, fs::metadata(path)?.uid()))
        };
        let (listener, owner) = bind().map_err(|error| {
            Failure::io(path.display(), &error).hint("the path may be too long; try another --home")
        })?;
        Ok(Self { listener, path: path.into(), owner, connections: JoinSet::new() })
    }

    /// Serves the account until dropped.
    pub(crate) async fn serve(&mut self, engine: &Arc<Engine>) -> Failure {
        self.serve_by(|stream| converse(Arc::clone(engine), stream)).await
    }

    /// Has a conversation with each who connects, until dropped.
    pub(crate) async fn serve_by<F>(&mut self, converse: impl Fn(UnixStream) -> F) -> Failure
    where
        F: Future<Output = ()> + Send + 'static,
    {
        loop {
            while self.connections.try_join_next().is_some() {}
            let stream = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => return Failure::io(self.path.display(), &error),
                },
                Some(_) = self.connections.join_next() => continue,
            };
            let known = stream.peer_cred().is_ok_and(|peer| peer.uid() == self.owner);
            if known && self.connections.len() < CONNECTIONS_MAX {
                self.connections.spawn(converse(stream));
            } else {
                tracing::warn!(known, "a connection to the local API was turned away");
            }
        }
    }

    /// Ends all conversations.
    pub(crate) async fn close(mut self) {
        let _ = fs::remove_file(&self.path);
        self.connections.shutdown().await;
    }
}

async fn converse(engine: Arc<Engine>, stream: UnixStream) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    if let Err(error) = answer_all(&engine, &mut reader, &mut writer).await {
        tracing::debug!(%error, "a connection to the local API ended");
    }
}

async fn answer_all(
    engine: &Arc<Engine>,
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    while let Some(line) = read_line(reader, REQUEST_MAX).await? {
        let request = match parse(&line) {
            Ok(request) => request,
            Err(error) => {
                send(writer, &Response::new(Value::Null, Err(error))).await?;
                continue;
            }
        };
        let Request { id, method, params, .. } = request;
        if method == SUBSCRIBE {
            return subscribe(engine, (id, params), reader, writer).await;
        }
        let result = match methods::call(engine, &method, params).await {
            Some(result) => result.map_err(ErrorShape::from),
            None => Err(ErrorShape::new(NO_METHOD, format!("there is no method `{method}`"))),
        };
        send(writer, &Response::new(id, result)).await?;
    }
    Ok(())
}

/// Answers requests with what `call` makes of them, one after the other, until the other side has
/// gone. For a process that has no events.
pub(crate) async fn answer_by<F>(stream: UnixStream, call: impl Fn(String, Value) -> F)
where
    F: Future<Output = Option<Result<Value, Refusal>>>,
{
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Ok(Some(line)) = read_line(&mut reader, REQUEST_MAX).await {
        let response = match parse(&line) {
            Ok(Request { id, method, params, .. }) => {
                let unknown = format!("there is no method `{method}`");
                let result = match call(method, params).await {
                    Some(result) => result.map_err(ErrorShape::from),
                    None => Err(ErrorShape::new(NO_METHOD, unknown)),
                };
                Response::new(id, result)
            }
            Err(error) => Response::new(Value::Null, Err(error)),
        };
        if send(&mut writer, &response).await.is_err() {
            return;
        }
    }
}

/// Tells events from now on; the connection takes no more requests.
async fn subscribe(
    engine: &Arc<Engine>,
    (id, params): (Value, Value),
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let params =
        if params.is_null() { Ok(Subscribe::default()) } else { serde_json::from_value(params) };
    let params = params.map_err(|error| Refusal::Params(error.to_string()));
    let opened = match params {
        Ok(params) => Subscription::open(Arc::clone(engine), params).await.map_err(Refusal::Failed),
        Err(refusal) => Err(refusal),
    };
    let (mut subscription, subscribed) = match opened {
        Ok(opened) => opened,
        Err(refusal) => return send(writer, &Response::new(id, Err(refusal.into()))).await,
    };
    let subscribed = serde_json::to_value(subscribed)?;
    send(writer, &Response::new(id, Ok(subscribed))).await?;
    loop {
        let event = tokio::select! {
            event = subscription.next() => event.map_err(|failure| io::Error::other(failure.message))?,
            over = ended(reader) => return over,
        };
        let Some(params) = event else { return Ok(()) };
        let jsonrpc = Version::Two;
        send(writer, &Notification { jsonrpc, method: EVENT.into(), params }).await?;
    }
}

/// Resolves when the other side has gone, or says something that nobody will answer.
async fn ended(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
    match read_line(reader, REQUEST_MAX).await? {
        None => Ok(()),
        Some(_) => Err(io::Error::other("a subscriber asked for something")),
    }
}

fn parse(line: &[u8]) -> Result<Request, ErrorShape> {
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| ErrorShape::new(PARSE_ERROR, error.to_string()))?;
    serde_json::from_value(value)
        .map_err(|error| ErrorShape::new(INVALID_REQUEST, error.to_string()))
}

/// Who does not read is cut off.
async fn send<T: Serialize>(writer: &mut OwnedWriteHalf, value: &T) -> io::Result<()> {
    match timeout(WRITE_MAX, write_line(writer, value)).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it reads too slowly")),
    }
}

/// A page, a few command lines and some bots.
const CONNECTIONS_MAX: usize = 64;
const WRITE_MAX: Duration = Duration::from_secs(10);
