//! The other side of a local socket: a command that calls the methods of a daemon or of a node.

use std::{io, marker::PhantomData, path::Path};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::BufReader,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{
    call::Call,
    envelope::{Notification, Request, Response, Version},
    lines::{RESPONSE_MAX, read_line, write_line},
    service::SUBSCRIBE,
};
use crate::failure::Failure;

/// A connection to a process that answers requests.
pub(crate) struct Remote {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    asked: u64,
}

/// Events of such a process.
pub(crate) struct EventStream<E> {
    reader: BufReader<OwnedReadHalf>,
    /// The process ends the subscription when this side of the connection is closed.
    _writer: OwnedWriteHalf,
    event: PhantomData<fn() -> E>,
}

impl Remote {
    pub(crate) async fn connect(socket: &Path) -> io::Result<Self> {
        let (reader, writer) = UnixStream::connect(socket).await?.into_split();
        Ok(Self { reader: BufReader::new(reader), writer, asked: 0 })
    }

    pub(crate) async fn call<C: Call>(&mut self, call: C) -> Result<C::Returns, Failure> {
        let result = self.request(C::METHOD, &call).await?;
        serde_json::from_value(result).map_err(|error| broken(&error.into()))
    }

    /// Subscribes to events of type `E`. The connection takes no more requests.
    pub(crate) async fn subscribe<E>(
        mut self,
        params: &impl Serialize,
    ) -> Result<EventStream<E>, Failure> {
        self.request(SUBSCRIBE, params).await?;
        Ok(EventStream { reader: self.reader, _writer: self.writer, event: PhantomData })
    }

    async fn request(&mut self, method: &str, params: &impl Serialize) -> Result<Value, Failure> {
        self.asked = self.asked.wrapping_add(1);
        let (jsonrpc, id) = (Version::Two, Value::from(self.asked));
        let params = serde_json::to_value(params).map_err(|error| broken(&error.into()))?;
        let request = Request { jsonrpc, id, method: method.to_owned(), params };
        write_line(&mut self.writer, &request).await.map_err(|error| broken(&error))?;
        let line = read_line(&mut self.reader, RESPONSE_MAX).await;
        let line = line.map_err(|error| broken(&error))?;
        let line = line.ok_or_else(|| broken(&io::ErrorKind::UnexpectedEof.into()))?;
        let response: Response =
            serde_json::from_slice(&line).map_err(|error| broken(&error.into()))?;
        match response {
            Response { error: Some(error), .. } => Err(error.into()),
            Response { result, .. } => Ok(result.unwrap_or_default()),
        }
    }
}

impl<E: DeserializeOwned> EventStream<E> {
    /// Returns the next event, or nothing once the process has closed the connection.
    pub(crate) async fn next(&mut self) -> Result<Option<E>, Failure> {
        let line = read_line(&mut self.reader, RESPONSE_MAX).await;
        let Some(line) = line.map_err(|error| broken(&error))? else { return Ok(None) };
        let event: Notification<E> =
            serde_json::from_slice(&line).map_err(|error| broken(&error.into()))?;
        Ok(Some(event.params))
    }
}

fn broken(error: &io::Error) -> Failure {
    let hint = "look at the output of `siskin up` or `siskin node`";
    Failure::io("the daemon does not answer", error).hint(hint)
}
