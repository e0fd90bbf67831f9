//! The Unix socket of a daemon or of a node: for this user alone, everything bounded.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
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
    envelope::Notification,
    lines::{REQUEST_MAX, read_line, write_line},
    service::{Answer, Events, Service, answer},
};
use crate::failure::Failure;

/// The socket and its connections.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
    connections: JoinSet<()>,
}

impl Server {
    /// Listens at `path`. The caller holds the lock of the store, so there is one listener.
    pub(crate) fn bind(path: &Path) -> Result<Self, Failure> {
        let bind = || {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // The directory is private, so no other user connects before the mode is set.
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            Ok((listener, fs::metadata(path)?.uid()))
        };
        let (listener, owner) = bind().map_err(|error| {
            Failure::io(path.display(), &error)
                .hint("the path may be too long; choose another with --dir")
        })?;
        Ok(Self { listener, path: path.into(), owner, connections: JoinSet::new() })
    }

    /// Answers everybody who connects, until dropped.
    pub(crate) async fn serve<S: Service>(&mut self, service: &Arc<S>) -> Failure {
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
                self.connections.spawn(converse(Arc::clone(service), stream));
            } else {
                tracing::warn!(known, "refused a connection to the local API");
            }
        }
    }

    /// Closes all connections.
    pub(crate) async fn close(mut self) {
        let _ = fs::remove_file(&self.path);
        self.connections.shutdown().await;
    }
}

async fn converse<S: Service>(service: Arc<S>, stream: UnixStream) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    if let Err(error) = answer_all(&service, &mut reader, &mut writer).await {
        tracing::debug!(%error, "a connection to the local API ended");
    }
}

/// Answers requests one after the other. A connection that subscribes takes no more of them.
async fn answer_all<S: Service>(
    service: &Arc<S>,
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    while let Some(line) = read_line(reader, REQUEST_MAX).await? {
        match answer(service, &line).await {
            Answer::Response(response) => send(writer, &response).await?,
            Answer::Subscribed(response, events) => {
                send(writer, &response).await?;
                return send_events(events, reader, writer).await;
            }
        }
    }
    Ok(())
}

async fn send_events(
    mut events: impl Events,
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    loop {
        let event = tokio::select! {
            event = events.next() => event.map_err(|failure| io::Error::other(failure.message))?,
            over = ended(reader) => return over,
        };
        let Some(event) = event else { return Ok(()) };
        send(writer, &Notification::event(event)).await?;
    }
}

/// Resolves when the peer has closed the connection, or sends a request that won't be answered.
async fn ended(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
    match read_line(reader, REQUEST_MAX).await? {
        None => Ok(()),
        Some(_) => Err(io::Error::other("a subscriber sent a request")),
    }
}

/// Fails if the peer doesn't read.
async fn send<T: Serialize>(writer: &mut OwnedWriteHalf, value: &T) -> io::Result<()> {
    match timeout(WRITE_MAX, write_line(writer, value)).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it reads too slowly")),
    }
}

/// Room for a user interface, a few commands and some bots.
const CONNECTIONS_MAX: usize = 64;
const WRITE_MAX: Duration = Duration::from_secs(10);
