//! JSON-RPC 2.0, one object per line.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{self, AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

use super::methods::Refusal;
use crate::failure::{Failure, Kind};

#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) jsonrpc: Version,
    pub(super) id: Value,
    pub(super) method: String,
    #[serde(default)]
    pub(super) params: Value,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Response {
    pub(super) jsonrpc: Version,
    pub(super) id: Value,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) error: Option<ErrorShape>,
}

/// An event to a subscriber.
#[derive(Serialize, Deserialize)]
pub(super) struct Notification<E> {
    pub(super) jsonrpc: Version,
    pub(super) method: String,
    pub(super) params: E,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ErrorShape {
    pub(super) code: i32,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) data: Option<ErrorData>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ErrorData {
    kind: Kind,
    hint: Option<String>,
}

/// The text `2.0`.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum Version {
    #[serde(rename = "2.0")]
    Two,
}

impl Response {
    pub(super) fn new(id: Value, result: Result<Value, ErrorShape>) -> Self {
        let (result, error) = match result {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error)),
        };
        Self { jsonrpc: Version::Two, id, result, error }
    }
}

impl ErrorShape {
    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

impl From<Refusal> for ErrorShape {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Params(message) => Self::new(INVALID_PARAMS, message),
            Refusal::Failed(failure) => Self {
                code: failure.kind as i32,
                message: failure.message,
                data: Some(ErrorData { kind: failure.kind, hint: failure.hint }),
            },
        }
    }
}

impl From<ErrorShape> for Failure {
    fn from(error: ErrorShape) -> Self {
        let (kind, hint) = match error.data {
            Some(data) => (data.kind, data.hint),
            None => (Kind::Usage, None),
        };
        Self { kind, message: error.message, hint, passing: false }
    }
}

/// Writes one object and its line break.
pub(super) async fn write_line<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    value: &T,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await
}

/// Reads a line of at most `max` bytes; nothing at the end.
pub(super) async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    max: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let found = reader.fill_buf().await?;
        if found.is_empty() {
            return Ok(None);
        }
        let end = found.iter().position(|byte| *byte == b'\n');
        let (part, used) = match end {
            Some(end) => (found.get(..end).unwrap_or_default(), end.saturating_add(1)),
            None => (found, found.len()),
        };
        if line.len().saturating_add(part.len()) > max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
        }
        line.extend_from_slice(part);
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

pub(super) const EVENT: &str = "event";
pub(super) const PARSE_ERROR: i32 = -32700;
pub(super) const INVALID_REQUEST: i32 = -32600;
pub(super) const NO_METHOD: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
/// What a client may send: the longest text fits, every byte of it escaped.
pub(super) const REQUEST_MAX: usize = 512 * 1024;
/// What the daemon may send: the longest page fits likewise.
pub(super) const RESPONSE_MAX: usize = 64 * 1024 * 1024;
